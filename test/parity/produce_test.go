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

const (
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrDeleteHorizon = 1 << 6
)

// to sends records to a partition at every version.
func (l *list) to(topic, name string, records []byte) {
	l.t.Helper()
	l.each(keyProduce, "Produce/"+topic+"/"+name, func(s *site, v int16) kmsg.Request {
		return producing(v, topic, s.id(topic), 0, -1, records)
	})
}

// last sends records to a partition at the newest version.
func (l *list) last(topic, name string, records []byte) {
	l.t.Helper()
	l.one("Produce/"+topic+"/"+name, func(s *site) kmsg.Request { return producing(13, topic, s.id(topic), 0, -1, records) })
}

// stored compares all that a partition holds.
func (l *list) stored(topic string) {
	l.t.Helper()
	l.one("Fetch/stored/"+topic, func(s *site) kmsg.Request {
		return fetching(16, part{topic: topic, id: s.id(topic)})
	})
}

func at[T any](v T) *T { return &v }

// produce appends batches, good ones and bad ones of all kinds.
func (l *list) produce() {
	l.topic("plain", 2)
	l.to("plain", "one", of(spec{}))
	l.to("plain", "ten", of(spec{records: 10, step: 5, headers: 2}))
	l.to("plain", "null value, no key", of(spec{nullValue: true, keyless: true}))
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		l.to("plain", codec.String(), of(spec{records: 20, value: 100, codec: codec}))
	}
	l.acks()
	l.places()
	l.batches("plain")
	l.stored("plain")
	l.misnumbered()
	for _, codec := range []compress.Codec{compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
		l.compressed(codec)
	}
	l.timestamps()
	l.stamped()
	l.compacted()
	l.recompressed()
	l.sizes()
}

func (l *list) acks() {
	for _, acks := range []int16{0, 1, -1, 2, -2, 32767} {
		l.each(keyProduce, fmt.Sprintf("Produce/acks %d", acks), func(s *site, v int16) kmsg.Request {
			return producing(v, "plain", s.id("plain"), 1, acks, of(spec{}))
		})
		l.each(keyProduce, fmt.Sprintf("Produce/acks %d, unknown partition", acks), func(s *site, v int16) kmsg.Request {
			return producing(v, "plain", s.id("plain"), 7, acks, of(spec{}))
		})
		l.each(keyProduce, fmt.Sprintf("Produce/acks %d, bad batch", acks), func(s *site, v int16) kmsg.Request {
			return producing(v, "plain", s.id("plain"), 1, acks, of(spec{crc: 1}))
		})
	}
	for _, timeout := range []int32{0, -1, math.MinInt32, math.MaxInt32} {
		l.each(keyProduce, fmt.Sprintf("Produce/timeout %d", timeout), func(s *site, v int16) kmsg.Request {
			req := producing(v, "plain", s.id("plain"), 1, -1, of(spec{}))
			req.TimeoutMillis = timeout
			return req
		})
	}
	for _, id := range []string{"t", ""} {
		l.each(keyProduce, "Produce/transactional id "+id, func(s *site, v int16) kmsg.Request {
			req := producing(v, "plain", s.id("plain"), 1, -1, of(spec{}))
			req.TransactionID = &id
			return req
		})
		l.each(keyProduce, "Produce/transactional batch, transactional id "+id, func(s *site, v int16) kmsg.Request {
			req := producing(v, "plain", s.id("plain"), 1, -1, of(spec{attributes: attrTransactional, producer: 77}))
			req.TransactionID = &id
			return req
		})
	}
}

// places sends to topics and partitions that are not there.
func (l *list) places() {
	for _, partition := range []int32{2, -1, math.MaxInt32, math.MinInt32} {
		l.each(keyProduce, fmt.Sprintf("Produce/partition %d", partition), func(s *site, v int16) kmsg.Request {
			return producing(v, "plain", s.id("plain"), partition, -1, of(spec{}))
		})
	}
	for i, name := range append([]string{"unknown"}, badNames...) {
		l.each(keyProduce, fmt.Sprintf("Produce/topic %d", i), func(_ *site, v int16) kmsg.Request {
			return producing(v, name, [16]byte{5, byte(i)}, 0, -1, of(spec{}))
		})
	}
	l.one("Produce/zero id", func(*site) kmsg.Request { return producing(13, "", [16]byte{}, 0, -1, of(spec{})) })
	for _, v := range []int16{3, 9, 12} {
		l.one(fmt.Sprintf("Produce/internal/v%d", v), func(*site) kmsg.Request { return producing(v, "__consumer_offsets", [16]byte{}, 0, -1, of(spec{})) })
		l.one(fmt.Sprintf("Produce/metadata log/v%d", v), func(*site) kmsg.Request { return producing(v, "__cluster_metadata", [16]byte{}, 0, -1, of(spec{})) })
	}
	type partition = kmsg.ProduceRequestTopicPartition
	mixed := func(s *site, v int16, parts ...partition) kmsg.Request {
		req := producing(v, "plain", s.id("plain"), 0, -1, nil)
		req.Topics[0].Partitions = parts
		return req
	}
	l.each(keyProduce, "Produce/several", func(s *site, v int16) kmsg.Request {
		return mixed(s, v, partition{Partition: 1, Records: of(spec{})}, partition{Partition: 0, Records: of(spec{crc: 1})}, partition{Partition: 9, Records: of(spec{})})
	})
	l.each(keyProduce, "Produce/partition twice", func(s *site, v int16) kmsg.Request {
		return mixed(s, v, partition{Partition: 1, Records: of(spec{})}, partition{Partition: 1, Records: of(spec{records: 2})})
	})
	l.each(keyProduce, "Produce/topic twice", func(s *site, v int16) kmsg.Request {
		req := producing(v, "plain", s.id("plain"), 0, -1, of(spec{}))
		req.Topics = append(req.Topics, producing(v, "plain", s.id("plain"), 1, -1, of(spec{})).Topics...)
		return req
	})
	l.each(keyProduce, "Produce/known and unknown topic", func(s *site, v int16) kmsg.Request {
		req := producing(v, "plain", s.id("plain"), 0, -1, of(spec{}))
		req.Topics = append(req.Topics, producing(v, "unknown", [16]byte{1}, 1, -1, of(spec{})).Topics...)
		return req
	})
	l.each(keyProduce, "Produce/no topics", func(s *site, v int16) kmsg.Request {
		req := producing(v, "plain", s.id("plain"), 0, -1, nil)
		req.Topics = nil
		return req
	})
	l.each(keyProduce, "Produce/no partitions", func(s *site, v int16) kmsg.Request { return mixed(s, v) })
}

// batches sends uncompressed batches that are wrong in one way each.
func (l *list) batches(topic string) {
	l.to(topic, "no batch", []byte{})
	l.to(topic, "two batches", of(spec{}, spec{}))
	l.to(topic, "5 bytes", []byte{0, 0, 0, 0, 0})
	l.to(topic, "60 bytes", of(spec{})[:60])
	l.to(topic, "61 bytes", of(spec{})[:61])
	l.to(topic, "last byte lacks", of(spec{})[:len(of(spec{}))-1])
	l.to(topic, "one byte more", append(of(spec{}), 0))
	l.to(topic, "20 bytes more", append(of(spec{}), make([]byte, 20)...))
	for name, s := range byName(map[string]spec{
		"crc": {crc: 1}, "magic 0": {magic: -2}, "magic 1": {magic: -1}, "magic 3": {magic: 1}, "magic -1": {magic: -3},
		"length +1": {length: 1}, "length -1": {length: -1}, "length small": {length: -60}, "length 0": {length: -81}, "length negative": {length: math.MinInt32}, "length huge": {length: math.MaxInt32 - 1000},
		"no records": {noRecords: true}, "no records, delta 0": {noRecords: true, lastDelta: 1}, "count 0": {count: -1}, "count 0, delta -1": {count: -1, lastDelta: -1}, "count -1": {count: -2}, "count more": {count: 1}, "count and delta more": {count: 1, lastDelta: 1},
		"count less": {records: 3, count: -1, lastDelta: -1}, "count huge": {count: math.MaxInt32 - 1, lastDelta: math.MaxInt32 - 1}, "delta more": {lastDelta: 1}, "delta less": {records: 2, lastDelta: -1}, "delta negative": {lastDelta: -1},
		"base offset 5": {baseOffset: 5}, "base offset -1": {baseOffset: -1}, "base offset max": {baseOffset: math.MaxInt64}, "leader epoch 99": {leaderEpoch: 99}, "leader epoch -1": {leaderEpoch: -1},
		"control": {attributes: attrControl}, "control and transactional": {attributes: attrControl | attrTransactional, producer: 5}, "transactional": {attributes: attrTransactional, producer: 5}, "transactional without producer": {attributes: attrTransactional},
		"log append time": {attributes: attrLogAppendTime}, "delete horizon": {attributes: attrDeleteHorizon}, "unknown attribute 7": {attributes: 1 << 7}, "unknown attribute 15": {attributes: math.MinInt16},
		"codec 5": {attributes: 5}, "codec 7": {attributes: 7},
		"record attributes": {recordAttributes: 1}, "record length +1": {recordLength: 1}, "record length -1": {recordLength: -1}, "record length 0": {recordLength: -18}, "record length negative": {recordLength: -50}, "record length huge": {recordLength: math.MaxInt32 - 100},
		"key length -2": {keyless: true, keyLength: -1}, "key length +1": {keyLength: 1}, "key length huge": {keyLength: math.MaxInt32 - 100}, "header count -1": {headerCount: -1}, "header count 1": {headerCount: 1}, "header count huge": {headerCount: math.MaxInt32},
		"bytes behind": {behind: []byte{0}}, "record behind": {behind: []byte{2, 0}}, "max timestamp lower": {maxTimestamp: at(int64(epochMs - 5))}, "max timestamp higher": {maxTimestamp: at(int64(epochMs + 5))}, "max timestamp -1": {maxTimestamp: at(int64(-1))},
		"timestamps backwards": {records: 3, step: -10}, "base timestamp -1": {baseTimestamp: at(int64(-1)), maxTimestamp: at(int64(-1))},
		"producer without sequence": {producer: 9, sequence: -1}, "producer with epoch -1": {producer: 9, epoch: -1}, "producer -2": {producer: -2, sequence: 0},
	}) {
		l.to(topic, name, of(s))
	}
}

// misnumbered sends records whose offset deltas are not 0, 1, 2.
func (l *list) misnumbered() {
	l.topic("numbered", 1)
	l.to("numbered", "0, 2", of(spec{records: 2, offsetStep: 2}))
	l.to("numbered", "backwards", of(spec{records: 3, offsetStep: -1}))
	l.to("numbered", "far", of(spec{records: 2, offsetStep: math.MaxInt32}))
	l.stored("numbered")
}

// compressed sends compressed batches whose inside is wrong, each to a
// partition of its own: the modes of validation differ in what they let pass.
func (l *list) compressed(codec compress.Codec) {
	half := of(spec{records: 30, value: 50, codec: codec})[61:]
	half = half[:len(half)/2]
	raw := int16(codec)
	cases := map[string]spec{
		"no records": {noRecords: true}, "count more": {count: 1}, "count and delta more": {count: 1, lastDelta: 1}, "count less": {records: 3, count: -1, lastDelta: -1}, "record length +1": {recordLength: 1}, "record length -1": {recordLength: -1}, "key length +1": {keyLength: 1},
		"record length +1 of three": {records: 3, recordLength: 1}, "offset deltas 0, 2": {records: 2, offsetStep: 2}, "offset deltas backwards": {records: 3, offsetStep: -1}, "record attributes": {recordAttributes: 1}, "bytes behind": {behind: []byte{0}}, "header count -1": {headerCount: -1}, "header count 1": {headerCount: 1},
		"key length -2": {keyless: true, keyLength: -1}, "timestamps backwards": {records: 3, step: -10}, "max timestamp higher": {maxTimestamp: at(int64(epochMs + 5))}, "max timestamp lower": {maxTimestamp: at(int64(epochMs - 5))}, "log append time": {attributes: attrLogAppendTime},
		"crc": {crc: 1}, "noise": {text: []byte("this is not a record, nor are these many words")}, "nothing": {text: []byte{}},
	}
	for what, s := range cases {
		s.codec = codec
		cases[what] = s
	}
	cases["plain records"] = spec{attributes: raw}
	cases["not compressed"] = spec{text: []byte("this is no compressed text at all, believe me"), attributes: raw}
	cases["cut in half"] = spec{text: half, attributes: raw, count: 29, lastDelta: 29}
	topic := "opened-" + codec.String()
	l.topic(topic, int32(len(cases)))
	partition := int32(0)
	for what, s := range byName(cases) {
		l.one("Produce/"+topic+"/"+what, func(at *site) kmsg.Request { return producing(13, topic, at.id(topic), partition, -1, of(s)) })
		l.one("Fetch/stored/"+topic+"/"+what, func(at *site) kmsg.Request {
			return fetching(16, part{topic: topic, id: at.id(topic), partition: partition})
		})
		partition++
	}
}

func (l *list) timestamps() {
	l.topic("times", 1, config{"message.timestamp.before.max.ms", "3600000"}, config{"message.timestamp.after.max.ms", "60000"})
	now := time.Now().UnixMilli()
	for name, s := range byName(map[string]spec{
		"now": {timestamp: now}, "old": {timestamp: now - 2*3600_000}, "new": {timestamp: now + 2*3600_000}, "none": {timestamp: -1}, "old second": {records: 2, timestamp: now, step: -2 * 3600_000}, "new second": {records: 3, timestamp: now, step: 3600_000},
		"old gzip": {timestamp: now - 2*3600_000, codec: compress.Gzip}, "old and keyless": {timestamp: now - 2*3600_000, keyless: true}, "log append time": {attributes: attrLogAppendTime, timestamp: now}, "negative": {timestamp: -5}, "log append time and old": {attributes: attrLogAppendTime},
		"header hides old": {timestamp: now - 2*3600_000, baseTimestamp: at(now - 2*3600_000), maxTimestamp: at(now)},
	}) {
		l.to("times", name, of(s))
	}
	l.topic("strict-times", 1, config{"message.timestamp.before.max.ms", "0"})
	l.to("strict-times", "a minute old", of(spec{timestamp: now - 60_000}))
	l.topic("any-time", 1)
	l.to("any-time", "next year", of(spec{timestamp: now + 366*86400_000}))
	l.to("any-time", "1970", of(spec{timestamp: 1}))
	l.to("any-time", "the end of time", of(spec{timestamp: math.MaxInt64}))
	l.to("any-time", "none", of(spec{timestamp: -1}))
	l.to("any-time", "-2", of(spec{timestamp: -2}))
	l.stored("any-time")
}

// stamped sends to a topic whose times are the broker's.
func (l *list) stamped() {
	l.topic("stamped", 1, config{"message.timestamp.type", "LogAppendTime"})
	for _, codec := range []compress.Codec{compress.None, compress.LZ4} {
		l.to("stamped", "records "+codec.String(), of(spec{records: 3, step: 10, codec: codec}))
		l.to("stamped", "with the bit "+codec.String(), of(spec{records: 3, attributes: attrLogAppendTime, codec: codec}))
		l.to("stamped", "far future "+codec.String(), of(spec{timestamp: time.Now().UnixMilli() + 1e10, codec: codec}))
		l.to("stamped", "none "+codec.String(), of(spec{timestamp: -1, codec: codec}))
	}
	l.last("stamped", "lz4, wrong inside", of(spec{count: 1, lastDelta: 1, codec: compress.LZ4}))
	time.Sleep(5 * time.Millisecond) // so that nothing else has the greatest timestamp
	l.last("stamped", "the last", of(spec{records: 3}))
	l.stored("stamped")
}

func (l *list) compacted() {
	l.topic("compacted", 1, config{"cleanup.policy", "compact"})
	l.topic("compacted-deleted", 1, config{"cleanup.policy", "compact,delete"})
	for _, topic := range []string{"compacted", "compacted-deleted"} {
		for _, codec := range []compress.Codec{compress.None, compress.Gzip, compress.Zstd} {
			l.to(topic, "keyed "+codec.String(), of(spec{records: 2, codec: codec}))
			l.to(topic, "keyless "+codec.String(), of(spec{records: 2, keyless: true, codec: codec}))
			l.to(topic, "tombstone "+codec.String(), of(spec{nullValue: true, codec: codec}))
		}
		l.to(topic, "keyless and log append time", of(spec{keyless: true, attributes: attrLogAppendTime}))
	}
	l.stored("compacted")
}

// recompressed sends to topics that store another codec.
func (l *list) recompressed() {
	for _, codec := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
		topic := "stores-" + codec
		l.topic(topic, 1, config{"compression.type", codec})
		for _, sent := range []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd} {
			l.last(topic, "sent "+sent.String(), of(spec{records: 10, value: 50, step: 3, headers: 1, codec: sent}))
			l.last(topic, "sent with a producer "+sent.String(), of(spec{records: 2, value: 50, codec: sent, producer: 600 + int64(sent)}))
			if sent.String() != codec { // otherwise nobody needs to look inside
				l.last(topic, "sent wrong count "+sent.String(), of(spec{count: 1, lastDelta: 1, codec: sent}))
			}
			l.last(topic, "sent old "+sent.String(), of(spec{timestamp: -1, codec: sent}))
		}
		l.stored(topic)
		for _, v := range []int16{4, 9, 10} {
			l.one(fmt.Sprintf("Fetch/%s/v%d", topic, v), func(s *site) kmsg.Request { return fetching(v, part{topic: topic}) })
		}
	}
}

func (l *list) sizes() {
	l.topic("small", 1, config{"max.message.bytes", "1000"})
	overhead := len(of(spec{value: 1000})) - 1000
	for _, size := range []int{999, 1000, 1001, 5000} {
		l.to("small", fmt.Sprintf("%d bytes", size), of(spec{value: size - overhead}))
	}
	l.to("small", "gzip that grows", of(spec{value: 5000, codec: compress.Gzip}))
	l.to("small", "big and corrupt", of(spec{value: 5000, crc: 1}))
	l.to("small", "big, two batches", of(spec{value: 600}, spec{value: 600}))
	l.topic("small-unpacked", 1, config{"max.message.bytes", "1000"}, config{"compression.type", "uncompressed"})
	l.to("small-unpacked", "gzip that grows", of(spec{value: 5000, codec: compress.Gzip}))
	l.topic("small-segment", 1, config{"segment.bytes", "1048576"}, config{"max.message.bytes", "3000000"})
	l.to("small-segment", "bigger than a segment", of(spec{value: 1 << 20}))
	l.topic("default-size", 1)
	l.to("default-size", "a little too big", of(spec{value: 1048588}))
	l.last("default-size", "just right", of(spec{value: 1048588 - overhead - 2}))
	l.topic("empty-config", 1, config{"max.message.bytes", "0"})
	l.to("empty-config", "one", of(spec{}))
}
