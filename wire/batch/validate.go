// SPDX-License-Identifier: Apache-2.0

package batch

import (
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
}

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is and kafka.CodeOf find the code.
func (e *Error) Unwrap() error { return e.Code }
