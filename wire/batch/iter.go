// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// Iter gives the records of one batch in order. It allocates nothing.
//
//	for it := batch.Records(&h, payload); it.Next(&rec); { … }
//	if err := it.Err(); err != nil { … }
type Iter struct {
	r             frame.Reader
	baseOffset    kafka.Offset
	baseTimestamp int64
	appendTime    int64 // of a LogAppendTime batch
	isAppendTime  bool
	left          int32
	err           error
}

// Records iterates over uncompressed records: the bytes of a batch from
// HeaderSize on where its codec is none, else what they decompress to.
func Records(h *Header, payload []byte) Iter {
	return Iter{
		r: frame.NewReader(payload), baseOffset: h.BaseOffset, baseTimestamp: h.BaseTimestampMs,
		appendTime: h.MaxTimestampMs, isAppendTime: h.Attributes.TimestampType() == LogAppendTime, left: h.Count,
	}
}

// Open iterates over the records of b, one whole batch with header h.
// Compressed records are decompressed behind what is in scratch, at most
// limitBytes of them; buf is scratch as it then is, for the caller to keep as
// long as it uses records and to use again.
func Open(h *Header, b []byte, c *compress.Coder, scratch []byte, limitBytes int) (it Iter, buf []byte, err error) {
	if len(b) < h.SizeBytes() {
		return Iter{}, scratch, &CorruptError{Reason: fmt.Sprintf("%d bytes of %d", len(b), h.SizeBytes())}
	}
	payload := b[HeaderSize:h.SizeBytes()]
	if h.Attributes.Codec() == compress.None {
		return Records(h, payload), scratch, nil
	}
	start := len(scratch)
	buf, err = c.Decompress(scratch, h.Attributes.Codec(), payload, limitBytes)
	if err != nil {
		return Iter{}, scratch, fmt.Errorf("read the batch at offset %d: %w", h.BaseOffset, err)
	}
	return Records(h, buf[start:]), buf, nil
}

// Next reads the next record into rec; false at the end, and at the first
// record that is malformed.
func (it *Iter) Next(rec *Record) bool {
	if it.err != nil {
		return false
	}
	if it.left <= 0 {
		if it.r.Remaining() > 0 {
			it.fail("bytes follow the last record")
		}
		return false
	}
	it.left--
	size := it.r.Varint()
	body := frame.NewReader(it.r.Raw(int(size)))
	if it.r.Err() != nil {
		it.fail("a record is cut short")
		return false
	}
	body.Int8()
	rec.TimestampMs = it.baseTimestamp + body.Varlong()
	if it.isAppendTime {
		rec.TimestampMs = it.appendTime
	}
	rec.Offset = it.baseOffset + kafka.Offset(body.Varint())
	rec.Key = varBytes(&body)
	rec.Value = varBytes(&body)
	count := body.Varint()
	if count < 0 || int(count) > body.Remaining() {
		it.fail("a record's header count")
		return false
	}
	rec.HeaderCount = int(count)
	rec.headers = body.Rest()
	for range count {
		if varBytes(&body) == nil {
			it.fail("a record's header has no key")
			return false
		}
		varBytes(&body)
	}
	if body.Err() != nil || body.Remaining() != 0 {
		it.fail("a record's fields do not fill it")
		return false
	}
	return true
}

func (it *Iter) fail(reason string) {
	it.err = &CorruptError{Reason: fmt.Sprintf("%s, before the last %d records of the batch at offset %d", reason, it.left, it.baseOffset)}
}

// Err says what was wrong with the batch, nil if Next came to its end. It is a
// *CorruptError.
func (it *Iter) Err() error { return it.err }

// FirstRecordAt finds the first record of b, one whole batch, at or behind the
// offset from, whose timestamp is targetMs or later; found is false where there is none. Compressed
// records are streamed, so that memory stays small whatever the batch holds.
func FirstRecordAt(h *Header, b []byte, from kafka.Offset, targetMs int64, c *compress.Coder) (offset kafka.Offset, timestampMs int64, found bool, err error) {
	err = eachTime(h, b, c, func(off kafka.Offset, ts int64) (more bool) {
		if off >= from && ts >= targetMs {
			offset, timestampMs, found = off, ts, true
		}
		return !found
	})
	return offset, timestampMs, found, err
}

// NewestRecord finds, as FirstRecordAt, the first record with the greatest
// timestamp of those at or behind from.
func NewestRecord(h *Header, b []byte, from kafka.Offset, c *compress.Coder) (offset kafka.Offset, timestampMs int64, found bool, err error) {
	err = eachTime(h, b, c, func(off kafka.Offset, ts int64) (more bool) {
		if off >= from && (!found || ts > timestampMs) {
			offset, timestampMs, found = off, ts, true
		}
		return true
	})
	return offset, timestampMs, found, err
}

// eachTime calls do with the offset and the timestamp of each record of b, until
// it wants no more.
func eachTime(h *Header, b []byte, c *compress.Coder, do func(off kafka.Offset, timestampMs int64) (more bool)) error {
	if len(b) < h.SizeBytes() {
		return &CorruptError{Reason: fmt.Sprintf("%d bytes of %d", len(b), h.SizeBytes())}
	}
	var w walker
	if err := w.open(h, b, c, 0); err != nil {
		return err
	}
	for range h.Count {
		if err := w.next(nil); err != nil {
			return &CorruptError{Reason: err.Error()}
		}
		if !do(h.BaseOffset+kafka.Offset(w.rec.offsetDelta), h.timestamp(w.rec.timestampDelta)) {
			return nil
		}
	}
	return nil
}

// open starts a walk over the records of b, in place or streamed.
func (w *walker) open(h *Header, b []byte, c *compress.Coder, recordBytesMax int64) error {
	payload := b[HeaderSize:h.SizeBytes()]
	if h.Attributes.Codec() == compress.None {
		w.inMemory(payload)
		return nil
	}
	src, err := c.Reader(h.Attributes.Codec(), payload)
	if err != nil {
		return err
	}
	w.stream(src, c.Scratch(walkWindowBytes), recordBytesMax)
	return nil
}
