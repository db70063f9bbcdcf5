// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"fmt"
	"math"

	"gregor/base/kafka"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// Options are the fields of a batch that its records do not decide.
type Options struct {
	BaseOffset    kafka.Offset
	LeaderEpoch   kafka.LeaderEpoch
	Codec         compress.Codec
	Level         int
	Transactional bool
	Control       bool
	// AppendTimeMs makes the batch one of LogAppendTime, unless it is 0.
	AppendTimeMs int64

	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
	BaseSequence  int32
}

// NoProducer is Options of a batch that no idempotent producer wrote.
func NoProducer(base kafka.Offset, epoch kafka.LeaderEpoch) Options {
	return Options{
		BaseOffset: base, LeaderEpoch: epoch, ProducerID: kafka.NoProducerID,
		ProducerEpoch: kafka.NoProducerEpoch, BaseSequence: NoSequence,
	}
}

// Builder makes one batch after another. The zero value needs Begin.
type Builder struct {
	o             Options
	records       []byte
	baseTimestamp int64
	maxTimestamp  int64
	lastOffset    kafka.Offset
	count         int32
}

// Begin starts a batch.
func (b *Builder) Begin(o Options) {
	*b = Builder{o: o, records: b.records[:0], lastOffset: o.BaseOffset - 1, maxTimestamp: NoTimestamp}
}

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Add appends a record at the next offset.
func (b *Builder) Add(timestampMs int64, key, value []byte, headers ...RecordHeader) {
	b.AddAt(b.lastOffset+1, timestampMs, key, value, headers...)
}

// AddAt appends a record at an offset behind the last one: a compacted batch
// has gaps.
func (b *Builder) AddAt(offset kafka.Offset, timestampMs int64, key, value []byte, headers ...RecordHeader) {
	if b.count == 0 {
		b.baseTimestamp = timestampMs
	}
	b.maxTimestamp = max(b.maxTimestamp, timestampMs)
	b.lastOffset = offset
	b.count++
	tsDelta, offsetDelta := timestampMs-b.baseTimestamp, int32(offset-b.o.BaseOffset)
	size := 1 + frame.VarlongSize(tsDelta) + frame.VarintSize(offsetDelta) + varBytesSize(key) + varBytesSize(value) +
		frame.VarintSize(int32(len(headers)))
	for i := range headers {
		size += frame.VarintSize(int32(len(headers[i].Key))) + len(headers[i].Key) + varBytesSize(headers[i].Value)
	}
	r := frame.AppendVarint(b.records, int32(size))
	r = append(r, 0)
	r = frame.AppendVarlong(r, tsDelta)
	r = frame.AppendVarint(r, offsetDelta)
	r = appendVarBytes(r, key)
	r = appendVarBytes(r, value)
	r = frame.AppendVarint(r, int32(len(headers)))
	for i := range headers {
		r = frame.AppendVarint(r, int32(len(headers[i].Key)))
		r = append(r, headers[i].Key...)
		r = appendVarBytes(r, headers[i].Value)
	}
	b.records = r
}

// Finish appends the batch to dst. c is needed for compressed batches only.
func (b *Builder) Finish(dst []byte, c *compress.Coder) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	if b.o.Codec == compress.None {
		dst = append(dst, b.records...)
	} else {
		var err error
		if dst, err = c.Compress(dst, b.o.Codec, b.o.Level, b.records); err != nil {
			return dst[:start], err
		}
	}
	if int64(len(dst)-start) > math.MaxInt32 {
		return dst[:start], fmt.Errorf("a batch of %d bytes: %w", len(dst)-start, kafka.RecordListTooLarge)
	}
	h := Header{
		BaseOffset: b.o.BaseOffset, LeaderEpoch: b.o.LeaderEpoch, Attributes: Attributes(b.o.Codec),
		LastOffsetDelta: int32(b.lastOffset - b.o.BaseOffset), BaseTimestampMs: b.baseTimestamp, MaxTimestampMs: b.maxTimestamp,
		ProducerID: b.o.ProducerID, ProducerEpoch: b.o.ProducerEpoch, BaseSequence: b.o.BaseSequence, Count: b.count,
	}
	if b.o.Transactional {
		h.Attributes |= AttrTransactional
	}
	if b.o.Control {
		h.Attributes |= AttrControl
	}
	if b.o.AppendTimeMs != 0 {
		h.Attributes |= AttrLogAppendTime
		h.MaxTimestampMs = b.o.AppendTimeMs
	}
	putHeader(dst[start:], &h)
	return dst, nil
}

func varBytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return frame.VarintSize(int32(len(b))) + len(b)
}

func appendVarBytes(dst, b []byte) []byte {
	if b == nil {
		return frame.AppendVarint(dst, -1)
	}
	return append(frame.AppendVarint(dst, int32(len(b))), b...)
}
