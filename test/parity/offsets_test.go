// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/compress"
)

// offsetOf is one partition of a ListOffsets request.
type offsetOf struct {
	topic     string
	partition int32
	timestamp int64
	epoch     *int32
}

func listing(replica int32, isolation int8, asked ...offsetOf) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel, req.TimeoutMillis = replica, isolation, aMinute
	for _, a := range asked {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = a.partition, a.timestamp, or(a.epoch, -1)
		n := len(req.Topics)
		if n == 0 || req.Topics[n-1].Topic != a.topic {
			req.Topics = append(req.Topics, kmsg.ListOffsetsRequestTopic{Topic: a.topic})
			n++
		}
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
	}
	return req
}

// offsets asks for offsets by time.
func (l *list) offsets() {
	l.topic("offsets", 3)
	ask := func(name string, replica int32, isolation int8, asked ...offsetOf) {
		l.t.Helper()
		l.each(keyListOffsets, "ListOffsets/"+name, func(*site, int16) kmsg.Request { return listing(replica, isolation, asked...) })
	}
	special := []int64{-1, -2, -3, -4, -5, -6, -7, -100, math.MinInt64}
	for _, ts := range special {
		ask(fmt.Sprintf("empty, %d", ts), -1, 0, offsetOf{topic: "offsets", timestamp: ts})
	}
	for _, ts := range []int64{0, epochMs, math.MaxInt64} {
		ask(fmt.Sprintf("empty, at %d", ts), -1, 0, offsetOf{topic: "offsets", timestamp: ts})
	}
	l.one("Produce/offsets/ups and downs", func(*site) kmsg.Request {
		return producing(9, "offsets", [16]byte{}, 0, -1, of(spec{records: 10, step: 1000}))
	})
	for i, s := range []spec{
		{records: 3, timestamp: epochMs + 20_000, step: -1000}, {records: 5, timestamp: epochMs + 5000, step: 100, codec: compress.LZ4}, {timestamp: -1}, {records: 4, timestamp: epochMs + 30_000, codec: compress.Zstd}, {timestamp: epochMs + 25_000},
	} {
		l.one(fmt.Sprintf("Produce/offsets/%d", i), func(*site) kmsg.Request { return producing(9, "offsets", [16]byte{}, 0, -1, of(s)) })
	}
	for _, ts := range special {
		ask(fmt.Sprintf("special %d", ts), -1, 0, offsetOf{topic: "offsets", timestamp: ts})
		ask(fmt.Sprintf("special %d, committed", ts), -1, 1, offsetOf{topic: "offsets", timestamp: ts})
		ask(fmt.Sprintf("special %d, unknown partition", ts), -1, 0, offsetOf{topic: "offsets", partition: 9, timestamp: ts})
		ask(fmt.Sprintf("special %d, unknown topic", ts), -1, 0, offsetOf{topic: "unknown", timestamp: ts})
		ask(fmt.Sprintf("special %d, unknown epoch", ts), -1, 0, offsetOf{topic: "offsets", timestamp: ts, epoch: at(int32(5))})
		ask(fmt.Sprintf("special %d, stamped", ts), -1, 0, offsetOf{topic: "stamped", timestamp: ts})
		ask(fmt.Sprintf("special %d, compacted", ts), -1, 0, offsetOf{topic: "compacted", timestamp: ts})
	}
	for _, delta := range []int64{-1, 0, 1, 999, 1000, 4999, 5000, 5001, 5400, 9000, 9001, 18_000, 18_500, 19_999, 20_000, 20_001, 25_000, 29_999, 30_000, 30_001} {
		ask(fmt.Sprintf("at +%d", delta), -1, 0, offsetOf{topic: "offsets", timestamp: epochMs + delta})
	}
	for _, ts := range []int64{0, 1, math.MaxInt64} {
		ask(fmt.Sprintf("at %d", ts), -1, 1, offsetOf{topic: "offsets", timestamp: ts})
	}
	ask("stamped, in time", -1, 0, offsetOf{topic: "stamped", timestamp: 1})
	ask("stamped, tomorrow", -1, 0, offsetOf{topic: "stamped", timestamp: time.Now().UnixMilli() + 86400_000})
	for _, replica := range []int32{-2, -3, 0, 1, 2} {
		ask(fmt.Sprintf("replica %d", replica), replica, 0, offsetOf{topic: "offsets", timestamp: -1}, offsetOf{topic: "offsets", partition: 9, timestamp: -1})
	}
	for _, isolation := range []int8{2, -1} {
		ask(fmt.Sprintf("isolation %d", isolation), -1, isolation, offsetOf{topic: "offsets", timestamp: -1})
	}
	for _, e := range []int32{0, 1, -2, math.MaxInt32} {
		ask(fmt.Sprintf("epoch %d", e), -1, 0, offsetOf{topic: "offsets", timestamp: -1, epoch: &e})
	}
	for i, name := range badNames {
		ask(fmt.Sprintf("topic %d", i), -1, 0, offsetOf{topic: name, timestamp: -1})
	}
	ask("partition -1", -1, 0, offsetOf{topic: "offsets", partition: -1, timestamp: -1})
	ask("nothing", -1, 0)
	ask("twice", -1, 0, offsetOf{topic: "offsets", timestamp: -1}, offsetOf{topic: "offsets", timestamp: -2}, offsetOf{topic: "offsets", partition: 1, timestamp: -1})
	ask("topic twice", -1, 0, offsetOf{topic: "offsets", timestamp: -1}, offsetOf{topic: "read", timestamp: -1}, offsetOf{topic: "offsets", partition: 1, timestamp: -2})
	ask("several", -1, 0, offsetOf{topic: "offsets", partition: 2, timestamp: -1}, offsetOf{topic: "offsets", timestamp: -1}, offsetOf{topic: "unknown", timestamp: -1}, offsetOf{topic: "plain", partition: 1, timestamp: -2})
}

type epochAsked struct {
	topic          string
	partition      int32
	current, epoch int32
}

func epochOf(replica int32, asked ...epochAsked) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = replica
	for _, a := range asked {
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = a.partition, a.current, a.epoch
		n := len(req.Topics)
		if n == 0 || req.Topics[n-1].Topic != a.topic {
			req.Topics = append(req.Topics, kmsg.OffsetForLeaderEpochRequestTopic{Topic: a.topic})
			n++
		}
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
	}
	return req
}

// epochs asks where leader epochs end.
func (l *list) epochs() {
	ask := func(name string, replica int32, asked ...epochAsked) {
		l.t.Helper()
		l.each(keyOffsetForLeaderEpoch, "OffsetForLeaderEpoch/"+name, func(*site, int16) kmsg.Request { return epochOf(replica, asked...) })
	}
	for _, current := range []int32{-1, 0, 1, -2, math.MaxInt32} {
		for _, epoch := range []int32{-2, -1, 0, 1, 50, math.MaxInt32} {
			ask(fmt.Sprintf("current %d, asked %d", current, epoch), -1, epochAsked{"offsets", 0, current, epoch})
			ask(fmt.Sprintf("empty, current %d, asked %d", current, epoch), -1, epochAsked{"offsets", 1, current, epoch})
		}
	}
	for _, replica := range []int32{-2, -3, 0, 1, 2} {
		ask(fmt.Sprintf("replica %d", replica), replica, epochAsked{"offsets", 0, -1, 0}, epochAsked{"offsets", 9, -1, 0})
	}
	ask("unknown", -1, epochAsked{"unknown", 0, -1, 0}, epochAsked{"offsets", 9, -1, 0}, epochAsked{"offsets", -1, -1, 0}, epochAsked{"offsets", 2, -1, 0})
	ask("twice", -1, epochAsked{"offsets", 0, -1, 0}, epochAsked{"offsets", 0, -1, 5}, epochAsked{"plain", 0, -1, 0}, epochAsked{"offsets", 1, -1, 0})
	for i, name := range badNames {
		ask(fmt.Sprintf("topic %d", i), -1, epochAsked{name, 0, -1, 0})
	}
	ask("nothing", -1)
}
