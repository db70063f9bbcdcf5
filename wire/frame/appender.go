// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"encoding/binary"

	"gregor/base/kafka"
)

// Appender writes the primitives to the end of B. Nil slices are null where
// null is possible.
type Appender struct {
	B []byte
}

// Int8 appends an int8.
func (a *Appender) Int8(v int8) { a.B = append(a.B, byte(v)) }

// Bool appends a boolean.
func (a *Appender) Bool(v bool) {
	if v {
		a.B = append(a.B, 1)
	} else {
		a.B = append(a.B, 0)
	}
}

// Int16 appends an int16.
func (a *Appender) Int16(v int16) { a.B = binary.BigEndian.AppendUint16(a.B, uint16(v)) }

// Int32 appends an int32.
func (a *Appender) Int32(v int32) { a.B = binary.BigEndian.AppendUint32(a.B, uint32(v)) }

// Int64 appends an int64.
func (a *Appender) Int64(v int64) { a.B = binary.BigEndian.AppendUint64(a.B, uint64(v)) }

// UUID appends a 16 byte id.
func (a *Appender) UUID(u kafka.UUID) { a.B = append(a.B, u[:]...) }

// Uvarint appends an unsigned varint.
func (a *Appender) Uvarint(v uint32) { a.B = appendUvarint(a.B, v) }

// Raw appends bytes as they are.
func (a *Appender) Raw(b []byte) { a.B = append(a.B, b...) }

// String appends a string with a two byte length.
func (a *Appender) String(s string) {
	a.Int16(int16(len(s)))
	a.B = append(a.B, s...)
}

// CompactString appends a string as flexible versions do.
func (a *Appender) CompactString(s string) {
	a.Uvarint(uint32(len(s)) + 1)
	a.B = append(a.B, s...)
}

// StringBytes appends a string given as bytes; nil is null.
func (a *Appender) StringBytes(s []byte) {
	if s == nil {
		a.Int16(-1)
		return
	}
	a.Int16(int16(len(s)))
	a.B = append(a.B, s...)
}

// CompactBytes appends bytes, or a string given as bytes, as flexible versions
// do; nil is null.
func (a *Appender) CompactBytes(b []byte) {
	if b == nil {
		a.Uvarint(0)
		return
	}
	a.Uvarint(uint32(len(b)) + 1)
	a.B = append(a.B, b...)
}

// Bytes appends bytes with a four byte length; nil is null.
func (a *Appender) Bytes(b []byte) {
	if b == nil {
		a.Int32(-1)
		return
	}
	a.Int32(int32(len(b)))
	a.B = append(a.B, b...)
}

// ArrayLen appends an array's count; -1 is null.
func (a *Appender) ArrayLen(n int) { a.Int32(int32(n)) }

// CompactArrayLen appends an array's count as flexible versions do; -1 is null.
func (a *Appender) CompactArrayLen(n int) { a.Uvarint(uint32(n + 1)) }

// NoTags appends an empty section of tagged fields.
func (a *Appender) NoTags() { a.B = append(a.B, 0) }

// PutInt32 overwrites four bytes at pos, for lengths known only later.
func (a *Appender) PutInt32(pos int, v int32) {
	binary.BigEndian.PutUint32(a.B[pos:], uint32(v))
}
