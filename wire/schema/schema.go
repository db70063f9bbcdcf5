// SPDX-License-Identifier: Apache-2.0

// Package schema is what generated record codecs stand on: cursor and append
// primitives of Kafka's flexible ("compact") encoding. The notation that the
// codecs are generated from is described in the package of the generator,
// wire/schema/recgen.
//
//	uvarint      LEB128, at most 5 bytes
//	string       uvarint(length+1), bytes         0 is null
//	bytes        as string
//	array        uvarint(count+1), elements       0 is null
//	tags         uvarint(count), then for each, ascending by key:
//	             uvarint key, uvarint size, size bytes
//
// The older encoding, here called inflexible, has an int16 as the length of a
// string, an int32 as that of bytes and as an array's count, -1 for null, and no
// tags.
//
// A Reader never reads beyond its bytes and never allocates more for a count
// than the remaining bytes could hold. What it hands out is copied: records
// outlive the batch buffers that they are read from. Values are not shared
// between goroutines; there is no state outside of them.
package schema

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is the error of bytes that are no record of the version that
// they claim to be.
var ErrMalformed = errors.New("malformed record")

// Tag is a tagged field that this program does not know. It is kept so that a
// record written by a newer one survives a round trip.
type Tag struct {
	Key   uint32
	Value []byte
}

// Reader decodes from the front of a byte slice. The first error stays, and
// every later read gives zero values, so that generated code needs one check
// at its end.
type Reader struct {
	b          []byte
	err        error
	inflexible bool
}

// NewReader reads b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// NewInflexibleReader reads b in the older encoding.
func NewInflexibleReader(b []byte) Reader { return Reader{b: b, inflexible: true} }

// Inflexible says that what follows is in the older encoding.
func (r *Reader) Inflexible() { r.inflexible = true }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Rest is what was not read yet.
func (r *Reader) Rest() []byte { return r.b }

// Fail records an error unless there is one already, and stops the reading.
func (r *Reader) Fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	r.b = nil
}

// End returns the first error, or one if bytes are left over.
func (r *Reader) End() error {
	if r.err == nil && len(r.b) != 0 {
		r.Fail(fmt.Sprintf("%d bytes behind the last field", len(r.b)))
	}
	return r.err
}

func (r *Reader) take(n int) []byte {
	if n > len(r.b) {
		r.Fail("ends within a field")
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// Int8 reads one byte.
func (r *Reader) Int8() int8 {
	if p := r.take(1); p != nil {
		return int8(p[0])
	}
	return 0
}

// Bool reads one byte; as in Kafka anything but zero is true.
func (r *Reader) Bool() bool { return r.Int8() != 0 }

// Int16 reads two bytes.
func (r *Reader) Int16() int16 { return int16(r.Uint16()) }

// Uint16 reads two bytes.
func (r *Reader) Uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// Int32 reads four bytes.
func (r *Reader) Int32() int32 {
	if p := r.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

// Int64 reads eight bytes.
func (r *Reader) Int64() int64 {
	if p := r.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

// Float64 reads eight bytes.
func (r *Reader) Float64() float64 { return math.Float64frombits(uint64(r.Int64())) }

// UUID reads sixteen bytes.
func (r *Reader) UUID() (u [16]byte) {
	copy(u[:], r.take(16))
	return u
}

// Uvarint reads an unsigned varint of at most 32 bits.
func (r *Reader) Uvarint() uint32 {
	var v uint32
	for i := 0; i < 5; i++ {
		p := r.take(1)
		if p == nil {
			return 0
		}
		if i == 4 && p[0] > 0x0f {
			break
		}
		v |= uint32(p[0]&0x7f) << (7 * i)
		if p[0] < 0x80 {
			return v
		}
	}
	r.Fail("varint of more than 32 bits")
	return 0
}

// nullableBytes gives an alias of a length-prefixed field; ok is false for
// null.
func (r *Reader) nullableBytes() (p []byte, ok bool) {
	if r.inflexible {
		return r.takeNullable(int64(r.Int32()))
	}
	n := int64(r.Uvarint()) - 1
	return r.takeNullable(n)
}

func (r *Reader) takeNullable(n int64) (p []byte, ok bool) {
	if n < 0 {
		return nil, false
	}
	if n > int64(len(r.b)) {
		r.Fail("length beyond the end")
		return nil, false
	}
	return r.take(int(n)), true
}

// nullableText is nullableBytes of a string, whose length the older encoding
// has in two bytes.
func (r *Reader) nullableText() (p []byte, ok bool) {
	if r.inflexible {
		return r.takeNullable(int64(r.Int16()))
	}
	return r.nullableBytes()
}

// String reads a string that must not be null.
func (r *Reader) String() string {
	p, ok := r.nullableText()
	if !ok {
		r.Fail("null for a string that has to be there")
	}
	return string(p)
}

// NullableString reads a string; nil is null.
func (r *Reader) NullableString() *string {
	p, ok := r.nullableText()
	if !ok {
		return nil
	}
	s := string(p)
	return &s
}

// Bytes reads bytes that must not be null. The result is nil if empty.
func (r *Reader) Bytes() []byte {
	p, ok := r.nullableBytes()
	if !ok {
		r.Fail("null for bytes that have to be there")
	}
	return append([]byte(nil), p...)
}

// NullableBytes reads bytes; nil is null.
func (r *Reader) NullableBytes() []byte {
	p, ok := r.nullableBytes()
	if !ok {
		return nil
	}
	return append([]byte{}, p...)
}

// NullableCount reads the count of an array whose elements take at least
// elementBytesMin bytes each. ok is false for null. A count that the remaining
// bytes cannot hold is an error, so callers may allocate by it.
func (r *Reader) NullableCount(elementBytesMin int) (n int, ok bool) {
	var c int64
	if r.inflexible {
		c = int64(r.Int32())
	} else {
		c = int64(r.Uvarint()) - 1
	}
	if c < 0 {
		return 0, false
	}
	if c*int64(elementBytesMin) > int64(len(r.b)) {
		r.Fail("array count beyond the end")
		return 0, false
	}
	return int(c), true
}

// Count is NullableCount for an array that must not be null.
func (r *Reader) Count(elementBytesMin int) int {
	n, ok := r.NullableCount(elementBytesMin)
	if !ok {
		r.Fail("null for an array that has to be there")
	}
	return n
}

// Tags walks over the tagged fields at the end of a struct:
//
//	for t := r.Tags(); t.Next(); {
//		switch t.Key { … t.Value() … default: keep = t.Keep(keep) }
//	}
type Tags struct {
	Key  uint32
	r    *Reader
	left uint32
	seen bool
	body []byte
	sub  Reader
}

// Tags starts the walk. In the older encoding there are none.
func (r *Reader) Tags() Tags {
	if r.inflexible {
		return Tags{r: r}
	}
	return Tags{r: r, left: r.Uvarint()}
}

// Next moves to the next tagged field. It reports false at the end and on an
// error, which then is the reader's.
func (t *Tags) Next() bool {
	if t.sub.err != nil || len(t.sub.b) != 0 {
		t.r.Fail("size of a tagged field")
	}
	if t.left == 0 || t.r.err != nil {
		return false
	}
	t.left--
	key := t.r.Uvarint()
	if t.seen && key <= t.Key {
		t.r.Fail("tags that do not ascend")
		return false
	}
	size := t.r.Uvarint()
	if uint64(size) > uint64(len(t.r.b)) {
		t.r.Fail("tagged field beyond the end")
		return false
	}
	t.Key, t.seen = key, true
	t.body = t.r.take(int(size))
	t.sub = Reader{}
	return t.r.err == nil
}

// Value reads the current field; it has to be read to its end.
func (t *Tags) Value() *Reader {
	t.sub = Reader{b: t.body}
	return &t.sub
}

// Keep appends a copy of the current field to unknown ones.
func (t *Tags) Keep(unknown []Tag) []Tag {
	return append(unknown, Tag{Key: t.Key, Value: append([]byte(nil), t.body...)})
}
