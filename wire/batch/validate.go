// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

// Rules are what a topic demands of the batches that clients send to it. They
// are built once per change of the topic's configuration.
type Rules struct {
	// Strict is gregor.produce.validation=strict: look at the records of
	// compressed batches even where nothing else demands it.
	Strict bool
	// Compacted topics take no records without a key.
	Compacted bool
	// KeepCodec is compression.type=producer; otherwise batches are stored
	// with Codec at Level.
	KeepCodec bool
	Codec     compress.Codec
	Level     int
	// TimestampType is message.timestamp.type.
	TimestampType TimestampType
	// BeforeMaxMs and AfterMaxMs are message.timestamp.before.max.ms and
	// message.timestamp.after.max.ms.
	BeforeMaxMs int64
	AfterMaxMs  int64
	// RecordBytesMax is max.decompressed.message.bytes, the limit on one record
	// that comes out of a compressed batch.
	RecordBytesMax int64
	// MessageBytesMax is max.message.bytes, the limit on a batch as it is sent
	// and as it is stored.
	MessageBytesMax int
}

// RecordError names a record that made its whole batch fail.
type RecordError struct {
	BatchIndex int32 // the record's place in the batch
	Message    string
}

// Error says why a batch was refused. It carries the code that the client is
// to see; Records is empty unless single records were at fault.
type Error struct {
	Code    kafka.Code
	Message string
	Records []RecordError
	// Unread says that the fault was found before any log was asked: what was
	// sent is not one batch of a kind that the request may carry.
	Unread bool
}

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is and kafka.CodeOf find the code.
func (e *Error) Unwrap() error { return e.Code }

// Validator judges the batches of one connection.
//
//	shape ─► header ─► CRC ─► offsets, producer ─► records? ─► stored form
//
// What comes first is cheapest, and the order is that in which Kafka finds
// fault, so that a batch with several gets Kafka's answer. The records are
// walked where Rules or a doubtful header demand it; uncompressed ones
// always, in place and without an allocation. Of compressed ones that are not
// walked only the codec's header is looked at; walked, they are streamed
// through a small window: memory does not depend on what they grow to. A
// batch that must change (its codec, or offsets that are not 0, 1, 2, …) is
// streamed once more, into a buffer bounded by max.message.bytes. Rejected: to
// decompress into memory first, as a megabyte may hold gigabytes.
//
// A Validator belongs to one goroutine. Decoders are borrowed from the node's
// pool while a compressed batch is looked at.
type Validator struct {
	pool            *compress.Pool
	recordErrorsMax int
	out             boundedWriter
	w               walker
}

// NewValidator returns a Validator that borrows decoders from pool. An error
// names no more than recordErrorsMax records.
func NewValidator(pool *compress.Pool, recordErrorsMax int) *Validator {
	return &Validator{pool: pool, recordErrorsMax: recordErrorsMax}
}

// Client judges what a producer sent for one partition and gives the batch as
// it is to be stored, with base offset 0 and the producer's leader epoch: the
// log writes over both. out is a part of b, which may have been changed in
// place, or memory of the Validator that is valid until its next use. A batch
// of LogAppendTime carries nowMs as its greatest timestamp. The error is an
// *Error.
func (v *Validator) Client(b []byte, rules *Rules, apiVersion int16, nowMs int64) (out []byte, h Header, err error) {
	out, h, e := v.client(b, rules, apiVersion, nowMs)
	if e != nil {
		return nil, h, e
	}
	return out, h, nil
}

func (v *Validator) client(b []byte, rules *Rules, apiVersion int16, nowMs int64) ([]byte, Header, *Error) {
	b, e := single(b, apiVersion)
	if e != nil {
		e.Unread = true
		return nil, Header{}, e
	}
	h, e := header(b, rules)
	if e != nil {
		return nil, h, e
	}
	codec, target := h.Attributes.Codec(), rules.Codec
	if rules.KeepCodec {
		target = codec
	}
	maxTimestampMs := h.MaxTimestampMs
	if codec == compress.None || target != codec || rules.walks() || doubtful(&h, rules, nowMs) {
		found := findings{errorsMax: v.recordErrorsMax, rules: rules, nowMs: nowMs, maxTimestampMs: NoTimestamp}
		if e := v.walk(b, &h, &found); e != nil {
			return nil, h, e
		}
		maxTimestampMs = found.maxTimestampMs
		if target != codec || found.misplaced {
			if b, e = v.rewrite(b, &h, target, rules); e != nil {
				return nil, h, e
			}
		}
	} else if err := compress.CheckStart(codec, b[HeaderSize:]); err != nil {
		return nil, h, invalid("%v", err)
	}
	if rules.TimestampType == LogAppendTime {
		maxTimestampMs = nowMs
	}
	if maxTimestampMs != h.MaxTimestampMs || rules.TimestampType != h.Attributes.TimestampType() {
		SetMaxTimestamp(b, rules.TimestampType, maxTimestampMs)
		h, _ = Parse(b)
	}
	return b, h, nil
}

// walks reports whether the topic wants the records of every batch looked at.
func (r *Rules) walks() bool {
	return r.Strict || r.Compacted || r.TimestampType == LogAppendTime
}

// doubtful reports whether the header's timestamps are such that Kafka may
// refuse single records.
func doubtful(h *Header, r *Rules, nowMs int64) bool {
	if h.Attributes.TimestampType() == LogAppendTime {
		return true
	}
	return h.BaseTimestampMs != NoTimestamp && outside(h.BaseTimestampMs, nowMs, r.BeforeMaxMs, r.AfterMaxMs) ||
		h.MaxTimestampMs != NoTimestamp && outside(h.MaxTimestampMs, nowMs, r.BeforeMaxMs, r.AfterMaxMs)
}

// findings gathers what a walk over a batch's records shows.
type findings struct {
	rules          *Rules
	nowMs          int64
	maxTimestampMs int64
	misplaced      bool // an offset delta is not the record's index
	badTimestamp   bool
	errors         []RecordError
	errorsMax      int
	errorCount     int
}

func (v *Validator) walk(b []byte, h *Header, found *findings) *Error {
	var c *compress.Coder
	if h.Attributes.Codec() != compress.None {
		c = v.pool.Get()
		defer v.pool.Put(c)
	}
	if err := v.w.open(h, b, c, found.rules.RecordBytesMax); err != nil {
		return invalid("%v", err)
	}
	defer v.w.release()
	for i := range h.Count {
		if err := v.w.next(nil); err != nil {
			return invalid("record %d: %v", i, err)
		}
		found.record(h, &v.w.rec, i)
	}
	if err := v.w.finish(); err != nil {
		return invalid("%v", err)
	}
	return found.verdict()
}

func (f *findings) record(h *Header, rec *walked, index int32) {
	timestampMs := h.timestamp(rec.timestampDelta)
	switch {
	case f.rules.Compacted && !rec.hasKey:
		f.add(index, "a compacted topic does not take records without a key")
		return
	case f.rules.TimestampType == CreateTime && timestampMs != NoTimestamp:
		if outside(timestampMs, f.nowMs, f.rules.BeforeMaxMs, f.rules.AfterMaxMs) {
			f.timestamp(index, timestampMs)
			return
		}
	case h.Attributes.TimestampType() == LogAppendTime:
		f.badTimestamp = true
		f.add(index, "producers may not set the timestamp type to LogAppendTime")
		return
	}
	f.maxTimestampMs = max(f.maxTimestampMs, timestampMs)
	if rec.offsetDelta != index {
		f.misplaced = true
	}
}

func (f *findings) timestamp(index int32, timestampMs int64) {
	f.badTimestamp = true
	if f.errorCount >= f.errorsMax {
		f.errorCount++
		return
	}
	f.add(index, fmt.Sprintf("timestamp %d is outside %d ms before and %d ms after the broker's %d",
		timestampMs, f.rules.BeforeMaxMs, f.rules.AfterMaxMs, f.nowMs))
}

func (f *findings) add(index int32, message string) {
	f.errorCount++
	if len(f.errors) < f.errorsMax {
		f.errors = append(f.errors, RecordError{BatchIndex: index, Message: message})
	}
}

func (f *findings) verdict() *Error {
	switch {
	case f.errorCount == 0:
		return nil
	case f.badTimestamp:
		return &Error{Code: kafka.InvalidTimestamp, Records: f.errors,
			Message: fmt.Sprintf("%d records have an invalid timestamp or other faults", f.errorCount)}
	default:
		return &Error{Code: kafka.InvalidRecord, Records: f.errors,
			Message: fmt.Sprintf("%d records are invalid; the first: %s", f.errorCount, f.errors[0].Message)}
	}
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: kafka.InvalidRecord, Message: fmt.Sprintf(format, args...)}
}
