// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const keyWriteTxnMarkers = 27

type mark struct {
	producer    int64
	epoch       int16
	commit      bool
	coordinator int32
	version     int8
	topic       string
	partitions  []int32
}

func marking(list ...mark) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	for _, m := range list {
		k := kmsg.NewWriteTxnMarkersRequestMarker()
		k.ProducerID, k.ProducerEpoch, k.Committed, k.CoordinatorEpoch, k.TransactionVersion = m.producer, m.epoch, m.commit, m.coordinator, m.version
		t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = m.topic, m.partitions
		k.Topics = append(k.Topics, t)
		req.Markers = append(req.Markers, k)
	}
	return req
}

// markers sends what coordinators of transactions send, and what the log makes
// of producers in between.
func (l *list) markers() {
	l.topic("marked", 2)
	at := []int32{0}
	for i, s := range []spec{{producer: 80_000}, {producer: 80_000, sequence: 1, records: 4}, {producer: 80_001, epoch: 3}} {
		l.last("marked", fmt.Sprintf("before markers %d", i), of(s))
	}
	for i, c := range []struct {
		name string
		list []mark
	}{
		{"nothing", nil}, {"no partitions", []mark{{producer: 80_000, topic: "marked"}}},
		{"unknown producer", []mark{{producer: 80_900, commit: true, topic: "marked", partitions: at}}},
		{"unknown producer, both partitions", []mark{{producer: 80_901, topic: "marked", partitions: []int32{0, 1}}}},
		{"unknown partitions", []mark{{producer: 80_902, topic: "marked", partitions: []int32{1, 2, -1}}}},
		{"unknown topic", []mark{{producer: 80_902, topic: "unmarked", partitions: at}}},
		{"bad name", []mark{{producer: 80_902, topic: "bad name", partitions: at}}},
		{"same epoch", []mark{{producer: 80_000, commit: true, coordinator: 4, topic: "marked", partitions: at}}},
		{"again", []mark{{producer: 80_000, commit: true, coordinator: 4, topic: "marked", partitions: at}}},
		{"old coordinator", []mark{{producer: 80_000, coordinator: 3, topic: "marked", partitions: at}}},
		{"new coordinator", []mark{{producer: 80_000, coordinator: 5, topic: "marked", partitions: at}}},
		{"old epoch", []mark{{producer: 80_001, epoch: 2, topic: "marked", partitions: at}}},
		{"old epoch of version 2", []mark{{producer: 80_001, epoch: 2, version: 2, topic: "marked", partitions: at}}},
		{"same epoch of version 2, nothing open", []mark{{producer: 80_001, epoch: 3, version: 2, topic: "marked", partitions: at}}},
		{"new epoch of version 2", []mark{{producer: 80_001, epoch: 4, version: 2, commit: true, topic: "marked", partitions: at}}},
		{"version of no kind", []mark{{producer: 80_001, epoch: 4, version: 9, topic: "marked", partitions: at}}},
		{"two producers", []mark{{producer: 80_000, coordinator: 5, topic: "marked", partitions: at}, {producer: 80_001, epoch: 4, topic: "marked", partitions: []int32{1}}}},
		{"greatest epoch", []mark{{producer: 80_903, epoch: math.MaxInt16, coordinator: math.MaxInt32, topic: "marked", partitions: at}}},
		{"internal topic that is not there", []mark{{producer: 80_000, topic: "__transaction_state", partitions: at}}},
	} {
		l.each(keyWriteTxnMarkers, fmt.Sprintf("WriteTxnMarkers/%d %s", i, c.name), func(*site, int16) kmsg.Request { return marking(c.list...) })
	}
	for i, s := range []spec{
		{producer: 80_000, sequence: 1, records: 4}, {producer: 80_000, sequence: 5}, {producer: 80_001, epoch: 3, sequence: 1}, {producer: 80_001, epoch: 4, sequence: 1},
		{producer: 80_001, epoch: 4}, {producer: 80_901, sequence: 1}, {producer: 80_901}, {producer: 80_903},
	} {
		l.last("marked", fmt.Sprintf("after markers %d", i), of(s))
	}
	l.stored("marked")
	l.each(keyDescribeProducers, "DescribeProducers/marked", func(*site, int16) kmsg.Request {
		return &kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{{Topic: "marked", Partitions: []int32{0, 1}}}}
	})
}
