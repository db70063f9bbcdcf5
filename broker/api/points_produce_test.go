// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// reseal computes the CRC of a batch that was changed.
func reseal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func idempotent(pid kafka.ProducerID, epoch kafka.ProducerEpoch, sequence int32, values ...string) []byte {
	o := batch.NoProducer(0, 0)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = pid, epoch, sequence
	return built(o, values...)
}

func compressed(t *testing.T, codec compress.Codec, values ...string) []byte {
	t.Helper()
	o := batch.NoProducer(0, 0)
	o.Codec, o.Level = codec, codec.DefaultLevel()
	var b batch.Builder
	b.Begin(o)
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	var pool compress.Pool
	coder := pool.Get()
	defer pool.Put(coder)
	out, err := b.Finish(nil, coder)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// 12, 13, 18: what clients may not send.
func TestPoint12BadBatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		small := n.topic("small", 1, "max.message.bytes", "200")
		c := n.dial()
		control := batch.NoProducer(0, 0)
		control.Control = true
		magic := records("x")
		magic[16] = 1
		crc := records("x")
		crc[len(crc)-1]++
		count := records("x", "y")
		binary.BigEndian.PutUint32(count[57:], 3)
		none := records("x")
		binary.BigEndian.PutUint32(none[57:], 0)
		noSequence := idempotent(5, 0, 0, "x")
		binary.BigEndian.PutUint32(noSequence[53:], 0xffffffff)
		offset := records("x")
		batch.SetBaseOffset(offset, 99)
		big := make([]byte, 4000)
		for _, tc := range []struct {
			name    string
			topic   string
			id      kafka.TopicID
			version int16
			batches []byte
			want    kafka.Code
		}{
			{"no batch", "t", id, 9, []byte{}, kafka.InvalidRecord},
			{"null", "t", id, 9, nil, kafka.InvalidRecord},
			{"two batches", "t", id, 9, append(records("a"), records("b")...), kafka.InvalidRecord},
			{"magic 1", "t", id, 9, magic, kafka.InvalidRecord},
			{"zstd before v7", "t", id, 6, compressed(t, compress.Zstd, "a"), kafka.UnsupportedCompressionType},
			{"zstd from v7 on", "t", id, 7, compressed(t, compress.Zstd, "a"), kafka.None},
			{"control batch", "t", id, 9, built(control, "x"), kafka.InvalidRecord},
			{"count is not the offset range", "t", id, 9, reseal(count), kafka.InvalidRecord},
			{"base offset 99", "t", id, 9, offset, kafka.InvalidRecord},
			{"count 0", "t", id, 9, reseal(none), kafka.InvalidRecord},
			{"producer without sequence", "t", id, 9, reseal(noSequence), kafka.InvalidRecord},
			{"bad crc", "t", id, 9, crc, kafka.CorruptMessage},
			{"larger than max.message.bytes", "small", small, 9, records(string(big)), kafka.MessageTooLarge},
			{"fits max.message.bytes", "small", small, 9, records("ok"), kafka.None},
		} {
			p := c.produce(tc.version, tc.topic, tc.id, 0, 1, tc.batches)
			if kafka.Code(p.ErrorCode) != tc.want {
				t.Errorf("%s: %v, want %v", tc.name, kafka.Code(p.ErrorCode), tc.want)
			}
			if tc.want != kafka.None && p.BaseOffset != -1 {
				t.Errorf("%s: offset %d", tc.name, p.BaseOffset)
			}
		}
	})
}

// 14: payloads stay as they are for compression.type=producer, and are
// recompressed otherwise.
func TestPoint14Recompression(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		keep, gzip := n.topic("keep", 1), n.topic("gzip", 1, "compression.type", "gzip")
		c := n.dial()
		sent := compressed(t, compress.Zstd, "a", "b")
		original := append([]byte(nil), sent...)
		c.produce(9, "keep", keep, 0, 1, sent)
		c.produce(9, "gzip", gzip, 0, 1, append([]byte(nil), original...))
		got := c.fetchOne(fetchRequest(12, place{"keep", keep, 0, 0})).RecordBatches
		if string(got[batch.HeaderSize:]) != string(original[batch.HeaderSize:]) {
			t.Error("the payload was changed")
		}
		got = c.fetchOne(fetchRequest(12, place{"gzip", gzip, 0, 0})).RecordBatches
		if h, err := batch.Parse(got); err != nil || h.Attributes.Codec() != compress.Gzip {
			t.Errorf("stored with codec %v, %v", h.Attributes.Codec(), err)
		}
	})
}

// 15: base offset, leader epoch and LogAppendTime are the broker's; the
// client's leader epoch does not matter.
func TestPoint15WhatTheBrokerWrites(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1, "message.timestamp.type", "LogAppendTime")
		time.Sleep(time.Hour)
		c := n.dial()
		c.produce(9, "t", id, 0, 1, records("first"))
		b := records("second")
		batch.SetLeaderEpoch(b, 77)
		p := c.produce(9, "t", id, 0, 1, b)
		if now := time.Now().UnixMilli(); p.LogAppendTime != now {
			t.Errorf("%v: log append time %d, want %d", kafka.Code(p.ErrorCode), p.LogAppendTime, now)
		}
		got := c.fetchOne(fetchRequest(12, place{"t", id, 0, 1})).RecordBatches
		h, err := batch.Parse(got)
		if err != nil || batch.VerifyCRC(got) != nil {
			t.Fatal(err)
		}
		if h.BaseOffset != 1 || h.LeaderEpoch != 0 || h.MaxTimestampMs != time.Now().UnixMilli() || h.Attributes.TimestampType() != batch.LogAppendTime {
			t.Errorf("stored as %+v", h)
		}
	})
}

// 16: a record without a key on a compacted topic is refused, and named.
func TestPoint16KeylessOnCompacted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1, "cleanup.policy", "compact")
		c := n.dial()
		for v := int16(3); v <= 13; v++ {
			p := c.produce(v, "t", id, 0, 1, records("keyless", "as well"))
			if kafka.Code(p.ErrorCode) != kafka.InvalidRecord {
				t.Errorf("v%d: %v", v, kafka.Code(p.ErrorCode))
			}
			if v >= 8 && (len(p.ErrorRecords) != 2 || p.ErrorRecords[1].RelativeOffset != 1 || p.ErrorMessage == nil) {
				t.Errorf("v%d: records %+v, message %v", v, p.ErrorRecords, p.ErrorMessage)
			}
		}
	})
}

// 17: timestamps outside of the window are refused; -1 is not; the
// LogAppendTime bit is not the client's to set.
func TestPoint17Timestamps(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1, "message.timestamp.before.max.ms", "1000")
		c := n.dial()
		now := time.Now().UnixMilli()
		for _, tc := range []struct {
			ms   int64
			want kafka.Code
		}{
			{now, 0}, {now + 3600_000, 0}, {now + 3600_001, kafka.InvalidTimestamp}, {now - 1000, 0}, {now - 1001, kafka.InvalidTimestamp}, {-1, 0},
		} {
			var b batch.Builder
			b.Begin(batch.NoProducer(0, 0))
			b.Add(tc.ms, nil, []byte("x"))
			out, _ := b.Finish(nil, nil)
			if p := c.produce(9, "t", id, 0, 1, out); kafka.Code(p.ErrorCode) != tc.want {
				t.Errorf("%+d ms: %v, want %v", tc.ms-now, kafka.Code(p.ErrorCode), tc.want)
			}
		}
		// The LogAppendTime bit is refused where the broker sets it itself, and
		// taken away elsewhere, as Kafka does.
		o := batch.NoProducer(0, 0)
		o.AppendTimeMs = now
		stamped := n.topic("stamped", 1, "message.timestamp.type", "LogAppendTime")
		if p := c.produce(9, "stamped", stamped, 0, 1, built(o, "x")); kafka.Code(p.ErrorCode) != kafka.InvalidTimestamp {
			t.Errorf("LogAppendTime bit on a LogAppendTime topic: %v", kafka.Code(p.ErrorCode))
		}
		p := c.produce(9, "t", id, 0, 1, built(o, "x"))
		got := c.fetchOne(fetchRequest(12, place{"t", id, 0, p.BaseOffset})).RecordBatches
		if h, err := batch.Parse(got); err != nil || h.Attributes.TimestampType() != batch.CreateTime {
			t.Errorf("LogAppendTime bit on a CreateTime topic: code %v, stored as %v, %v", kafka.Code(p.ErrorCode), h.Attributes, err)
		}
	})
}

// 18: a batch larger than a segment.
func TestPoint18LargerThanASegment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1, "segment.bytes", "1048576", "max.message.bytes", "3000000")
		if p := n.dial().produce(9, "t", id, 0, 1, records(string(make([]byte, 2<<20)))); kafka.Code(p.ErrorCode) != kafka.RecordListTooLarge {
			t.Errorf("%v", kafka.Code(p.ErrorCode))
		}
	})
}

// 19: a repeat of one of the last five batches gets its original offset.
func TestPoint19Duplicates(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		for i := range int32(6) {
			if p := c.produce(9, "t", id, 0, -1, idempotent(7, 0, 2*i, "a", "b")); p.BaseOffset != int64(2*i) {
				t.Fatalf("batch %d: code %v, offset %d", i, kafka.Code(p.ErrorCode), p.BaseOffset)
			}
		}
		for i := int32(1); i < 6; i++ {
			if p := c.produce(9, "t", id, 0, -1, idempotent(7, 0, 2*i, "a", "b")); p.ErrorCode != 0 || p.BaseOffset != int64(2*i) {
				t.Errorf("repeat of %d: code %v, offset %d", i, kafka.Code(p.ErrorCode), p.BaseOffset)
			}
		}
		if p := c.produce(9, "t", id, 0, -1, idempotent(7, 0, 40, "a")); kafka.Code(p.ErrorCode) != kafka.OutOfOrderSequenceNumber {
			t.Errorf("gap: %v", kafka.Code(p.ErrorCode))
		}
		if got := len(values(t, c.fetchOne(fetchRequest(12, place{"t", id, 0, 0})).RecordBatches)); got != 12 {
			t.Errorf("%d records are in the log, want 12", got)
		}
	})
}

// 20: sequences wrap to 0, a new epoch starts at 0, an unknown producer may
// start anywhere.
func TestPoint20Sequences(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		steps := []struct {
			epoch    kafka.ProducerEpoch
			sequence int32
			want     kafka.Code
		}{
			{0, 1<<31 - 2, 0}, // unknown before
			{0, 1<<31 - 1, 0}, {0, 0, 0}, {0, 1, 0},
			{1, 5, kafka.OutOfOrderSequenceNumber}, {1, 0, 0}, {1, 1, 0},
		}
		for i, s := range steps {
			if p := c.produce(9, "t", id, 0, 1, idempotent(8, s.epoch, s.sequence, "x")); kafka.Code(p.ErrorCode) != s.want {
				t.Errorf("step %d: %v, want %v", i, kafka.Code(p.ErrorCode), s.want)
			}
		}
		// 21: a stale epoch is INVALID_PRODUCER_EPOCH.
		if p := c.produce(9, "t", id, 0, 1, idempotent(8, 0, 2, "x")); kafka.Code(p.ErrorCode) != kafka.InvalidProducerEpoch {
			t.Errorf("stale epoch: %v", kafka.Code(p.ErrorCode))
		}
	})
}

// 23: producer state dies with the topic.
func TestPoint23RecreatedTopicStartsEmpty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("t", 1)
		c := n.dial()
		c.produce(9, "t", kafka.TopicID{}, 0, 1, idempotent(7, 3, 0, "x"))
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TopicNames, req.TimeoutMillis = 5, []string{"t"}, 1000
		c.do(req)
		id := n.topic("t", 1)
		if p := c.produce(9, "t", id, 0, 1, idempotent(7, 0, 17, "y")); p.ErrorCode != 0 || p.BaseOffset != 0 {
			t.Errorf("code %v, offset %d", kafka.Code(p.ErrorCode), p.BaseOffset)
		}
	})
}

// 24: with acks=all and too small an ISR nothing is written; min.insync.replicas
// above the number of replicas counts as that number.
func TestPoint24MinInsyncReplicas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1, "min.insync.replicas", "3")
		if p := n.dial().produce(9, "t", id, 0, -1, records("x")); p.ErrorCode != 0 {
			t.Errorf("the only replica: %v", kafka.Code(p.ErrorCode))
		}
	})
}

// acks other than 0, 1 and -1, transactional batches and internal topics.
func TestRefusedProduce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		internal := n.topic("__consumer_offsets", 1)
		c := n.dial()
		if p := c.produce(9, "t", id, 0, 2, records("x")); kafka.Code(p.ErrorCode) != kafka.InvalidRequiredAcks {
			t.Errorf("acks=2: %v", kafka.Code(p.ErrorCode))
		}
		o := batch.NoProducer(0, 0)
		o.Transactional, o.ProducerID, o.ProducerEpoch, o.BaseSequence = true, 5, 0, 0
		if p := c.produce(9, "t", id, 0, 1, built(o, "x")); kafka.Code(p.ErrorCode) != kafka.TransactionalIDAuthorizationFailed {
			t.Errorf("transactional batch without a transactional id: %v", kafka.Code(p.ErrorCode))
		}
		if p := c.produce(9, "t", id, 5, 2, records("x")); kafka.Code(p.ErrorCode) != kafka.UnknownTopicOrPartition {
			t.Errorf("acks=2, partition 5: %v", kafka.Code(p.ErrorCode))
		}
		o.Transactional, o.BaseSequence = false, 7
		p := c.produce(9, "t", id, 0, 1, append(built(o, "x"), built(o, "x")...))
		if kafka.Code(p.ErrorCode) != kafka.InvalidRecord || p.LogStartOffset != -1 {
			t.Errorf("two batches: %v, log start %d", kafka.Code(p.ErrorCode), p.LogStartOffset)
		}
		o.BaseSequence = -1
		if p := c.produce(9, "t", id, 0, 1, built(o, "x")); kafka.Code(p.ErrorCode) != kafka.InvalidRecord || p.LogStartOffset != 0 {
			t.Errorf("a record that the log refuses: %v, log start %d", kafka.Code(p.ErrorCode), p.LogStartOffset)
		}
		if p := c.produce(9, "__consumer_offsets", internal, 0, 1, records("x")); kafka.Code(p.ErrorCode) != kafka.InvalidTopicException {
			t.Errorf("internal topic: %v", kafka.Code(p.ErrorCode))
		}
		if p := c.produce(9, "t", id, 5, 1, records("x")); kafka.Code(p.ErrorCode) != kafka.UnknownTopicOrPartition {
			t.Errorf("partition 5: %v", kafka.Code(p.ErrorCode))
		}
		if p := c.produce(13, "", kafka.TopicID{5}, 0, 1, records("x")); kafka.Code(p.ErrorCode) != kafka.UnknownTopicID {
			t.Errorf("unknown id: %v", kafka.Code(p.ErrorCode))
		}
	})
}
