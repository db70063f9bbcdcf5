// SPDX-License-Identifier: Apache-2.0

package api

import (
	"math"

	"gregor/wire/frame"
)

// A shape is what a request's body looks like, for walking it before kmsg
// decodes it: kmsg believes an array's count as long as there are as many
// bytes, and would take 4 GB for a frame of 100 MB. The walk allocates nothing;
// after it, every count is known to be true, and all arrays together to have
// no more elements than allowed.
type shape []field

// field is one field, present from version min to max.
type field struct {
	kind     kind
	min, max int16
	of       shape // of the elements of an array, or of a struct that may be null
	// mayBeNull says that an array may be null, from version nullFrom on.
	mayBeNull bool
	nullFrom  int16
}

type kind uint8

const (
	fixed1 kind = iota
	fixed2
	fixed4
	fixed8
	fixed16
	text
	blob  // bytes, not null
	array // of structs: tags follow each element in flexible versions
	tiny  // an array of int8
	ints  // an array of int32
	texts // an array of strings
	maybe // a struct that may be null, which a byte before it says
)

// newest stands for "up to the newest version".
const newest = math.MaxInt16

func int8At(min int16) field  { return field{kind: fixed1, min: min, max: newest} }
func boolAt(min int16) field  { return field{kind: fixed1, min: min, max: newest} }
func int16At(min int16) field { return field{kind: fixed2, min: min, max: newest} }
func int32At(min int16) field { return field{kind: fixed4, min: min, max: newest} }
func int64At(min int16) field { return field{kind: fixed8, min: min, max: newest} }
func uuidAt(min int16) field  { return field{kind: fixed16, min: min, max: newest} }
func textAt(min int16) field  { return field{kind: text, min: min, max: newest} }
func bytesAt(min int16) field { return field{kind: blob, min: min, max: newest} }
func arrayAt(min int16, of ...field) field {
	return field{kind: array, min: min, max: newest, of: of}
}

func intsAt(min int16) field  { return field{kind: ints, min: min, max: newest} }
func textsAt(min int16) field { return field{kind: texts, min: min, max: newest} }

func maybeAt(min int16, of ...field) field {
	return field{kind: maybe, min: min, max: newest, of: of}
}

// until ends a field with a version.
func (f field) until(max int16) field {
	f.max = max
	return f
}

// nullable says from which version on an array may be null. Null for any other
// array ends the connection.
func (f field) nullable(from int16) field {
	f.mayBeNull, f.nullFrom = true, from
	return f
}

// walker is one walk.
type walker struct {
	r        frame.Reader
	version  int16
	flexible bool
	left     int // elements that all arrays may still have
}

// check walks a body. Bytes behind the last field are let pass, as Kafka does.
func (s shape) check(body []byte, version int16, flexible bool, elementsMax int) error {
	w := walker{r: frame.NewReader(body), version: version, flexible: flexible, left: elementsMax}
	w.fields(s)
	return w.r.Err()
}

func (w *walker) fields(s shape) {
	for i := range s {
		f := &s[i]
		if w.version >= f.min && w.version <= f.max && w.r.Err() == nil {
			w.field(f)
		}
	}
	if w.flexible && w.r.Err() == nil {
		w.r.SkipTags()
	}
}

func (w *walker) field(f *field) {
	switch f.kind {
	case fixed1, fixed2, fixed4, fixed8, fixed16:
		w.r.Raw(1 << f.kind)
	case text:
		w.text()
	case blob:
		w.blob()
	case array:
		for n := w.count(f, 1); n > 0 && w.r.Err() == nil; n-- {
			w.fields(f.of)
		}
	case maybe:
		if present := w.r.Raw(1); len(present) == 1 && present[0] != 0xff {
			w.fields(f.of)
		}
	case tiny:
		w.r.Raw(w.count(f, 1))
	case ints:
		w.r.Raw(4 * w.count(f, 4))
	case texts:
		for n := w.count(f, 1); n > 0 && w.r.Err() == nil; n-- {
			w.text()
		}
	}
}

func (w *walker) text() {
	if w.flexible {
		w.r.CompactNullableString()
	} else {
		w.r.NullableString()
	}
}

func (w *walker) blob() {
	if w.flexible {
		w.r.CompactBytes()
	} else {
		w.r.Bytes()
	}
}

// count reads an array's count; a null array has none.
func (w *walker) count(f *field, elementBytesMin int) int {
	var n int
	if w.flexible {
		n = w.r.CompactArrayLen(w.left, elementBytesMin)
	} else {
		n = w.r.ArrayLen(w.left, elementBytesMin)
	}
	if n < 0 && (!f.mayBeNull || w.version < f.nullFrom) {
		w.r.Fail("null in place of an array")
	}
	n = max(n, 0)
	w.left -= n
	return n
}
