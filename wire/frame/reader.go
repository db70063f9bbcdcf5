// SPDX-License-Identifier: Apache-2.0

// Package frame holds the primitives of Kafka's wire encoding: a cursor that
// reads them, an appender that writes them, and the headers of requests and
// responses.
//
//	frame    := size:int32 payload[size]
//	request  := key:int16 version:int16 correlation:int32 clientID:nullable_string [tags] body
//	response := correlation:int32 [tags] body
//
// The header's tags are there in flexible versions only; the table of APIs
// knows which those are. Nothing here allocates except the Appender's own
// buffer, and nothing that is read is copied: byte slices alias the frame and
// live as long as it does.
//
// A Reader or Appender belongs to one goroutine.
package frame

import (
	"encoding/binary"
	"fmt"
	"math"

	"gregor/base/kafka"
)

// MalformedError says that bytes from a peer are not what their place in the
// protocol calls for. Whoever sent them loses the connection.
type MalformedError struct {
	What string // what was being read
	Pos  int    // where in the frame's body
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed %s at byte %d", e.What, e.Pos)
}

// Reader is a cursor over the bytes of a frame. The first thing that does not
// fit makes every later read give zero values, and Err says what it was: a
// codec reads all of its fields and looks at Err once.
//
// Invariant: every length and count is checked against the bytes that remain
// before it is used, so no caller can be made to allocate more than the frame
// is long times the size of an element.
type Reader struct {
	b   []byte
	pos int
	err *MalformedError
}

// NewReader reads b from its start.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Err gives the first thing that was wrong.
func (r *Reader) Err() error {
	if r.err == nil {
		return nil
	}
	return r.err
}

// Remaining is the number of bytes not yet read.
func (r *Reader) Remaining() int { return len(r.b) - r.pos }

// Rest gives the unread bytes without reading them.
func (r *Reader) Rest() []byte { return r.b[r.pos:len(r.b):len(r.b)] }

// Fail marks the reader as failed, unless it already is.
func (r *Reader) Fail(what string) {
	if r.err == nil {
		r.err = &MalformedError{What: what, Pos: r.pos}
	}
	r.pos = len(r.b)
}

// Raw reads n bytes, an alias of the frame.
func (r *Reader) Raw(n int) []byte {
	if n < 0 || n > len(r.b)-r.pos {
		r.Fail("bytes")
		return nil
	}
	s := r.b[r.pos : r.pos+n : r.pos+n]
	r.pos += n
	return s
}

// Int8 reads an int8.
func (r *Reader) Int8() int8 {
	if r.pos >= len(r.b) {
		r.Fail("int8")
		return 0
	}
	v := r.b[r.pos]
	r.pos++
	return int8(v)
}

// Bool reads a boolean: any byte but 0 is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int16 reads an int16.
func (r *Reader) Int16() int16 {
	if len(r.b)-r.pos < 2 {
		r.Fail("int16")
		return 0
	}
	v := binary.BigEndian.Uint16(r.b[r.pos:])
	r.pos += 2
	return int16(v)
}

// Int32 reads an int32.
func (r *Reader) Int32() int32 {
	if len(r.b)-r.pos < 4 {
		r.Fail("int32")
		return 0
	}
	v := binary.BigEndian.Uint32(r.b[r.pos:])
	r.pos += 4
	return int32(v)
}

// Int64 reads an int64.
func (r *Reader) Int64() int64 {
	if len(r.b)-r.pos < 8 {
		r.Fail("int64")
		return 0
	}
	v := binary.BigEndian.Uint64(r.b[r.pos:])
	r.pos += 8
	return int64(v)
}

// UUID reads a 16 byte id.
func (r *Reader) UUID() kafka.UUID {
	if len(r.b)-r.pos < 16 {
		r.Fail("uuid")
		return kafka.UUID{}
	}
	u := kafka.UUID(r.b[r.pos : r.pos+16])
	r.pos += 16
	return u
}

// Uvarint reads an unsigned varint of at most 32 bits.
func (r *Reader) Uvarint() uint32 {
	v, n := Uvarint(r.b[r.pos:])
	if n <= 0 {
		r.Fail("unsigned varint")
		return 0
	}
	r.pos += n
	return v
}

// Varint reads a zigzag varint of at most 32 bits.
func (r *Reader) Varint() int32 {
	v, n := Varint(r.b[r.pos:])
	if n <= 0 {
		r.Fail("varint")
		return 0
	}
	r.pos += n
	return v
}

// Varlong reads a zigzag varint of at most 64 bits.
func (r *Reader) Varlong() int64 {
	v, n := Varlong(r.b[r.pos:])
	if n <= 0 {
		r.Fail("varlong")
		return 0
	}
	r.pos += n
	return v
}

// NullableString reads a string with a two byte length; null is nil, and an
// empty string is not.
func (r *Reader) NullableString() []byte {
	n := r.Int16()
	if n < 0 {
		if n != -1 {
			r.Fail("string length")
		}
		return nil
	}
	if r.err != nil {
		return nil
	}
	return r.Raw(int(n))
}

// String reads a string that may not be null.
func (r *Reader) String() []byte { return r.notNull(r.NullableString(), "string") }

// NullableBytes reads bytes with a four byte length; null is nil.
func (r *Reader) NullableBytes() []byte {
	n := r.Int32()
	if n < 0 {
		if n != -1 {
			r.Fail("bytes length")
		}
		return nil
	}
	if r.err != nil {
		return nil
	}
	return r.Raw(int(n))
}

// Bytes reads bytes that may not be null.
func (r *Reader) Bytes() []byte { return r.notNull(r.NullableBytes(), "bytes") }

// CompactNullableString reads a flexible version's string; null is nil.
func (r *Reader) CompactNullableString() []byte {
	n := r.Uvarint()
	if n == 0 || r.err != nil {
		return nil
	}
	if n-1 > math.MaxInt16 {
		r.Fail("string length")
		return nil
	}
	return r.Raw(int(n - 1))
}

// CompactString reads a flexible version's string that may not be null.
func (r *Reader) CompactString() []byte { return r.notNull(r.CompactNullableString(), "string") }

// CompactNullableBytes reads a flexible version's bytes; null is nil.
func (r *Reader) CompactNullableBytes() []byte {
	n := r.Uvarint()
	if n == 0 || r.err != nil {
		return nil
	}
	if n-1 > math.MaxInt32 {
		r.Fail("bytes length")
		return nil
	}
	return r.Raw(int(n - 1))
}

// CompactBytes reads a flexible version's bytes that may not be null.
func (r *Reader) CompactBytes() []byte { return r.notNull(r.CompactNullableBytes(), "bytes") }

func (r *Reader) notNull(b []byte, what string) []byte {
	if b == nil {
		r.Fail(what + ": null")
	}
	return b
}

// ArrayLen reads an array's count, -1 for null. It fails for a count above
// countMax, and for one that the remaining bytes cannot hold when each element
// takes at least elementBytesMin.
func (r *Reader) ArrayLen(countMax, elementBytesMin int) int {
	n := r.Int32()
	if r.err != nil {
		return -1
	}
	if n < 0 {
		if n != -1 {
			r.Fail("array count")
		}
		return -1
	}
	return r.checkCount(int64(n), countMax, elementBytesMin)
}

// CompactArrayLen is ArrayLen in the flexible versions' encoding.
func (r *Reader) CompactArrayLen(countMax, elementBytesMin int) int {
	n := r.Uvarint()
	if r.err != nil || n == 0 {
		return -1
	}
	return r.checkCount(int64(n)-1, countMax, elementBytesMin)
}

func (r *Reader) checkCount(n int64, countMax, elementBytesMin int) int {
	if n > int64(countMax) {
		r.Fail("array count: above the limit")
		return -1
	}
	if n*int64(max(elementBytesMin, 1)) > int64(r.Remaining()) {
		r.Fail("array count: more than the frame holds")
		return -1
	}
	return int(n)
}

// Tags begins a section of tagged fields and gives how many there are; Tag
// reads each.
func (r *Reader) Tags() int {
	n := r.Uvarint()
	if r.err != nil {
		return 0
	}
	// A tag takes two bytes at least.
	if int64(n)*2 > int64(r.Remaining()) {
		r.Fail("tagged field count")
		return 0
	}
	return int(n)
}

// Tag reads one tagged field's number and its bytes.
func (r *Reader) Tag() (tag uint32, value []byte) {
	tag = r.Uvarint()
	n := r.Uvarint()
	if r.err != nil {
		return 0, nil
	}
	if int64(n) > int64(r.Remaining()) {
		r.Fail("tagged field length")
		return 0, nil
	}
	return tag, r.Raw(int(n))
}

// SkipTags reads over a section of tagged fields.
func (r *Reader) SkipTags() {
	for n := r.Tags(); n > 0 && r.err == nil; n-- {
		r.Tag()
	}
}
