// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/compress"
)

// idempotence sends sequences as producers do, and as they should not.
func (l *list) idempotence() {
	for _, acks := range []int16{1, -1} {
		l.sequences(fmt.Sprintf("sequences-%d", acks), acks)
	}
	l.topic("wrap", 1)
	n := int32(math.MaxInt32)
	for i, s := range []spec{
		{sequence: n - 1, records: 2}, {sequence: 0}, {sequence: 0}, {sequence: n - 1, records: 2}, {sequence: 2}, {sequence: 1},
	} {
		s.producer = 3000
		l.last("wrap", fmt.Sprintf("step %d", i), of(s))
	}
	for i, s := range []spec{{sequence: n, records: 3}, {sequence: n, records: 3}, {sequence: 2}, {sequence: n}} {
		s.producer = 3001
		l.last("wrap", fmt.Sprintf("within a batch, step %d", i), of(s))
	}
	l.stored("wrap")
	l.again()
}

func (l *list) sequences(topic string, acks int16) {
	l.topic(topic, 2)
	for i, c := range []struct {
		name string
		spec
	}{
		{"first", spec{}}, {"again", spec{}}, {"next", spec{sequence: 1, records: 3}}, {"again", spec{sequence: 1, records: 3}}, {"first again", spec{}},
		{"part of an old one", spec{sequence: 1, records: 2}}, {"over two old ones", spec{sequence: 0, records: 4}}, {"gap", spec{sequence: 10}}, {"right", spec{sequence: 4}}, {"5", spec{sequence: 5}}, {"6", spec{sequence: 6}}, {"7", spec{sequence: 7}},
		{"the first again, forgotten", spec{}}, {"the second again, the oldest known", spec{sequence: 1, records: 3}}, {"4 again", spec{sequence: 4}},
		{"old epoch -1", spec{epoch: -1, sequence: 8}}, {"new epoch, not at 0", spec{epoch: 1, sequence: 8}}, {"new epoch", spec{epoch: 1}}, {"new epoch again", spec{epoch: 1}}, {"old epoch", spec{epoch: 0, sequence: 8}}, {"old epoch, known sequence", spec{epoch: 0, sequence: 7}},
		{"epoch 5", spec{epoch: 5}}, {"epoch 5, gap", spec{epoch: 5, sequence: 5}}, {"epoch 3", spec{epoch: 3}}, {"other content, same sequence", spec{epoch: 5, value: 33}}, {"epoch max", spec{epoch: math.MaxInt16}}, {"epoch max next", spec{epoch: math.MaxInt16, sequence: 1}},
		{"sequence -1", spec{epoch: math.MaxInt16, sequence: -1}}, {"sequence -2", spec{epoch: math.MaxInt16, sequence: -2}}, {"compressed", spec{epoch: math.MaxInt16, sequence: 2, records: 2, codec: compress.Snappy}},
	} {
		c.producer = 1000
		l.one(fmt.Sprintf("Produce/%s/%d %s", topic, i, c.name), func(s *site) kmsg.Request { return producing(9, topic, s.id(topic), 0, acks, of(c.spec)) })
	}
	// A producer that the partition does not know may start anywhere.
	for i, c := range []spec{{sequence: 42}, {sequence: 42}, {sequence: 0}, {sequence: 44}, {sequence: 43}, {sequence: 44, epoch: 1}, {sequence: 0, epoch: 1}} {
		c.producer = 2000
		l.one(fmt.Sprintf("Produce/%s/from the middle, step %d", topic, i), func(s *site) kmsg.Request { return producing(13, topic, s.id(topic), 0, acks, of(c)) })
	}
	for i, c := range []spec{{sequence: 7, epoch: 9}, {sequence: 8, epoch: 9}, {sequence: 9, epoch: 8}, {sequence: 0, epoch: 10}} {
		c.producer = 2001
		l.one(fmt.Sprintf("Produce/%s/from a later epoch, step %d", topic, i), func(s *site) kmsg.Request { return producing(7, topic, s.id(topic), 1, acks, of(c)) })
	}
	for v := served[keyProduce][0]; v <= served[keyProduce][1]; v++ {
		for i, c := range []spec{{sequence: 0}, {sequence: 0}, {sequence: 5}, {sequence: 0, epoch: 1}, {sequence: 1, epoch: 0}, {sequence: 5, epoch: 2}} {
			c.producer = 5000 + int64(v)
			l.one(fmt.Sprintf("Produce/%s/step %d/v%d", topic, i, v), func(s *site) kmsg.Request { return producing(v, topic, s.id(topic), 1, acks, of(c)) })
		}
	}
	l.stored(topic)
}

// again deletes a topic with all its producers and makes it anew.
func (l *list) again() {
	l.topic("reborn", 1)
	l.last("reborn", "before", of(spec{producer: 4000}))
	l.one("DeleteTopics/reborn", func(*site) kmsg.Request {
		return &kmsg.DeleteTopicsRequest{Version: 5, TimeoutMillis: aMinute, TopicNames: []string{"reborn"}}
	})
	l.gone("reborn")
	for _, s := range l.sites {
		s.kept["old"] = 0
		s.names[s.ids["reborn"]] = "the old reborn"
		s.ids["the old reborn"] = s.ids["reborn"]
	}
	l.topic("reborn", 1)
	l.last("reborn", "a gap that is none", of(spec{producer: 4000, sequence: 17}))
	l.one("Produce/reborn/old id", func(s *site) kmsg.Request {
		return producing(13, "reborn", s.id("the old reborn"), 0, -1, of(spec{}))
	})
	l.one("Fetch/reborn/old id", func(s *site) kmsg.Request {
		return fetching(13, part{topic: "reborn", id: s.id("the old reborn")})
	})
	l.stored("reborn")
}

func initProducerID(id *string, timeoutMs int32, producer int64, epoch int16) *kmsg.InitProducerIDRequest {
	return &kmsg.InitProducerIDRequest{TransactionalID: id, TransactionTimeoutMillis: timeoutMs, ProducerID: producer, ProducerEpoch: epoch}
}

// producerIDs asks for producer ids. Transactional ids have no coordinator in
// gregor yet, so only what is refused before one is needed is asked.
func (l *list) producerIDs() {
	for i, c := range []*kmsg.InitProducerIDRequest{
		initProducerID(nil, 60_000, -1, -1), initProducerID(nil, 0, -1, -1), initProducerID(nil, -1, -1, -1), initProducerID(nil, math.MaxInt32, -1, -1),
		initProducerID(nil, 60_000, 5, 0), initProducerID(nil, 60_000, 5, -1), initProducerID(nil, 60_000, -1, 0), initProducerID(nil, 60_000, -2, -2), initProducerID(nil, 60_000, 5, 5),
		initProducerID(kmsg.StringPtr(""), 60_000, -1, -1),
		initProducerID(kmsg.StringPtr(""), 60_000, 5, -1),
	} {
		l.each(keyInitProducerID, fmt.Sprintf("InitProducerId/%d", i), func(*site, int16) kmsg.Request {
			again := *c
			return &again
		})
	}
}
