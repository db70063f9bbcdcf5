// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"iter"

	"gregor/base/kafka"
	"gregor/wire/frame"
)

// Record is one record of a batch. Its bytes alias the batch, or the buffer
// into which the batch was decompressed.
type Record struct {
	Offset      kafka.Offset
	TimestampMs int64
	Key         []byte // nil is null
	Value       []byte // nil is null
	HeaderCount int

	headers []byte // encoded, already checked
}

// RecordHeader is one header of a record.
type RecordHeader struct {
	Key   []byte
	Value []byte // nil is null
}

// Headers gives the record's headers in order.
func (r *Record) Headers() iter.Seq[RecordHeader] {
	return func(yield func(RecordHeader) bool) {
		c := frame.NewReader(r.headers)
		for range r.HeaderCount {
			h := RecordHeader{Key: varBytes(&c), Value: varBytes(&c)}
			if c.Err() != nil || !yield(h) {
				return
			}
		}
	}
}

// varBytes reads bytes with a varint length; -1 is null.
func varBytes(r *frame.Reader) []byte {
	n := r.Varint()
	if n < 0 {
		return nil
	}
	return r.Raw(int(n))
}
