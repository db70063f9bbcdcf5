// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func TestUvarintBounds(t *testing.T) {
	for _, v := range []uint32{0, 1, 127, 128, 300, 1 << 28, math.MaxUint32} {
		r := NewReader(AppendUvarint(nil, v))
		if got := r.Uvarint(); got != v || r.End() != nil {
			t.Errorf("%d: read %d, %v", v, got, r.End())
		}
	}
	r := NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0x1f})
	if r.Uvarint(); !errors.Is(r.Err(), ErrMalformed) {
		t.Errorf("33 bits: %v", r.Err())
	}
}

// TestCountsAreBounded: a count is believed only as far as bytes are left.
func TestCountsAreBounded(t *testing.T) {
	for _, c := range []struct {
		count, left, elementMin int
		ok                      bool
	}{
		{3, 48, 16, true}, {3, 47, 16, false}, {0, 0, 16, true}, {math.MaxInt32 - 1, 1000, 1, false}, {1000, 1000, 1, true},
	} {
		r := NewReader(append(AppendCount(nil, c.count), make([]byte, c.left)...))
		n := r.Count(c.elementMin)
		if ok := r.Err() == nil; ok != c.ok || ok && n != c.count {
			t.Errorf("%+v: %d, %v", c, n, r.Err())
		}
	}
}

func TestEndTag(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 20000} {
		value := bytes.Repeat([]byte{7}, size)
		b, mark := BeginTag([]byte{0xaa}, 300)
		b = EndTag(append(b, value...), mark)
		want := AppendTags([]byte{0xaa}, []Tag{{Key: 300, Value: value}})
		if !bytes.Equal(b, want) {
			t.Errorf("size %d: %x..., want %x...", size, b[:4], want[:4])
		}
	}
}

// TestTagMustBeReadWhole: a tagged field whose value does not fill its size is
// malformed, since the writer meant something else.
func TestTagMustBeReadWhole(t *testing.T) {
	r := NewReader([]byte{1, 5, 3, 1, 2, 3})
	for tags := r.Tags(); tags.Next(); {
		tags.Value().Int16()
	}
	if !errors.Is(r.End(), ErrMalformed) {
		t.Errorf("a byte left over in a tagged field: %v", r.End())
	}
}
