// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
)

// field is one primitive: how we write it, how kbin does, and how it is read
// back.
type field struct {
	name  string
	write func(a *Appender)
	kbin  func(b []byte) []byte
	read  func(r *Reader) bool
}

func drawField(t *rapid.T) field {
	i16, i32, i64 := rapid.Int16().Draw(t, "int16"), rapid.Int32().Draw(t, "int32"), rapid.Int64().Draw(t, "int64")
	u32 := rapid.Uint32().Draw(t, "uint32")
	s := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
	text := string(s)
	n := rapid.IntRange(0, 3).Draw(t, "count")
	id := kafka.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
	return rapid.SampledFrom([]field{
		{"int8", func(a *Appender) { a.Int8(int8(i16)) }, func(b []byte) []byte { return kbin.AppendInt8(b, int8(i16)) }, func(r *Reader) bool { return r.Int8() == int8(i16) }},
		{"bool", func(a *Appender) { a.Bool(i16 > 0) }, func(b []byte) []byte { return kbin.AppendBool(b, i16 > 0) }, func(r *Reader) bool { return r.Bool() == (i16 > 0) }},
		{"int16", func(a *Appender) { a.Int16(i16) }, func(b []byte) []byte { return kbin.AppendInt16(b, i16) }, func(r *Reader) bool { return r.Int16() == i16 }},
		{"int32", func(a *Appender) { a.Int32(i32) }, func(b []byte) []byte { return kbin.AppendInt32(b, i32) }, func(r *Reader) bool { return r.Int32() == i32 }},
		{"int64", func(a *Appender) { a.Int64(i64) }, func(b []byte) []byte { return kbin.AppendInt64(b, i64) }, func(r *Reader) bool { return r.Int64() == i64 }},
		{"uuid", func(a *Appender) { a.UUID(id) }, func(b []byte) []byte { return kbin.AppendUuid(b, id) }, func(r *Reader) bool { return r.UUID() == id }},
		{"uvarint", func(a *Appender) { a.Uvarint(u32) }, func(b []byte) []byte { return kbin.AppendUvarint(b, u32) }, func(r *Reader) bool { return r.Uvarint() == u32 }},
		{"varint", func(a *Appender) { a.B = AppendVarint(a.B, i32) }, func(b []byte) []byte { return kbin.AppendVarint(b, i32) }, func(r *Reader) bool { return r.Varint() == i32 }},
		{"varlong", func(a *Appender) { a.B = AppendVarlong(a.B, i64) }, func(b []byte) []byte { return kbin.AppendVarlong(b, i64) }, func(r *Reader) bool { return r.Varlong() == i64 }},
		{"string", func(a *Appender) { a.String(text) }, func(b []byte) []byte { return kbin.AppendString(b, text) }, func(r *Reader) bool { return string(r.String()) == text }},
		{"string bytes", func(a *Appender) { a.StringBytes(s) }, func(b []byte) []byte { return kbin.AppendString(b, text) }, func(r *Reader) bool { return bytes.Equal(r.NullableString(), s) }},
		{"null string", func(a *Appender) { a.StringBytes(nil) }, func(b []byte) []byte { return kbin.AppendNullableString(b, nil) }, func(r *Reader) bool { return r.NullableString() == nil }},
		{"compact string", func(a *Appender) { a.CompactString(text) }, func(b []byte) []byte { return kbin.AppendCompactString(b, text) }, func(r *Reader) bool { return string(r.CompactString()) == text }},
		{"null compact string", func(a *Appender) { a.CompactBytes(nil) }, func(b []byte) []byte { return kbin.AppendCompactNullableString(b, nil) }, func(r *Reader) bool { return r.CompactNullableString() == nil }},
		{"bytes", func(a *Appender) { a.Bytes(s) }, func(b []byte) []byte { return kbin.AppendBytes(b, s) }, func(r *Reader) bool { return bytes.Equal(r.Bytes(), s) }},
		{"null bytes", func(a *Appender) { a.Bytes(nil) }, func(b []byte) []byte { return kbin.AppendNullableBytes(b, nil) }, func(r *Reader) bool { return r.NullableBytes() == nil }},
		{"compact bytes", func(a *Appender) { a.CompactBytes(s) }, func(b []byte) []byte { return kbin.AppendCompactBytes(b, s) }, func(r *Reader) bool { return bytes.Equal(r.CompactBytes(), s) }},
		{"null compact bytes", func(a *Appender) { a.CompactBytes(nil) }, func(b []byte) []byte { return kbin.AppendCompactNullableBytes(b, nil) }, func(r *Reader) bool { return r.CompactNullableBytes() == nil }},
		{"null array", func(a *Appender) { a.ArrayLen(-1) }, func(b []byte) []byte { return kbin.AppendNullableArrayLen(b, 0, true) }, func(r *Reader) bool { return r.ArrayLen(9, 1) == -1 }},
		{"null compact array", func(a *Appender) { a.CompactArrayLen(-1) }, func(b []byte) []byte { return kbin.AppendCompactNullableArrayLen(b, 0, true) }, func(r *Reader) bool { return r.CompactArrayLen(9, 1) == -1 }},
		{"array", func(a *Appender) { a.ArrayLen(n); a.Raw(make([]byte, n)) },
			func(b []byte) []byte { return append(kbin.AppendArrayLen(b, n), make([]byte, n)...) },
			func(r *Reader) bool { return r.ArrayLen(3, 1) == n && len(r.Raw(n)) == n }},
		{"compact array", func(a *Appender) { a.CompactArrayLen(n); a.Raw(make([]byte, n)) },
			func(b []byte) []byte { return append(kbin.AppendCompactArrayLen(b, n), make([]byte, n)...) },
			func(r *Reader) bool { return r.CompactArrayLen(3, 1) == n && len(r.Raw(n)) == n }},
	}).Draw(t, "field")
}

// TestPrimitivesAgainstKbin writes random sequences of fields, wants kbin's
// bytes, reads them back, and reads every prefix without a panic and to an
// error.
func TestPrimitivesAgainstKbin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Appender
		var want []byte
		var fields []field
		for range rapid.IntRange(1, 8).Draw(t, "fields") {
			f := drawField(t)
			fields = append(fields, f)
			f.write(&a)
			want = f.kbin(want)
			if !bytes.Equal(a.B, want) {
				t.Fatalf("%s: % x, kbin says % x", f.name, a.B, want)
			}
		}
		r := NewReader(a.B)
		for _, f := range fields {
			if !f.read(&r) || r.Err() != nil {
				t.Fatalf("%s: %v", f.name, r.Err())
			}
		}
		if r.Remaining() != 0 {
			t.Fatalf("%d bytes left", r.Remaining())
		}
		cut := rapid.IntRange(0, len(a.B)-1).Draw(t, "cut")
		r = NewReader(a.B[:cut])
		for _, f := range fields {
			f.read(&r)
		}
		var malformed *MalformedError
		if !errors.As(r.Err(), &malformed) || malformed.Pos > cut {
			t.Fatalf("cut at %d of %d: %v", cut, len(a.B), r.Err())
		}
	})
}

func TestVarintSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, i, l := rapid.Uint32().Draw(t, "u"), rapid.Int32().Draw(t, "i"), rapid.Int64().Draw(t, "l")
		if uvarintSize(u) != len(appendUvarint(nil, u)) || VarintSize(i) != len(AppendVarint(nil, i)) || VarlongSize(l) != len(AppendVarlong(nil, l)) {
			t.Fatal(u, i, l)
		}
	})
}

func TestLengthsAndCountsThatDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		read func(r *Reader)
	}{
		"string length -2":                {[]byte{0xff, 0xfe}, func(r *Reader) { r.NullableString() }},
		"null where a string must be":     {[]byte{0xff, 0xff}, func(r *Reader) { r.String() }},
		"null compact string must not be": {[]byte{0}, func(r *Reader) { r.CompactString() }},
		"bytes length -2":                 {[]byte{0xff, 0xff, 0xff, 0xfe}, func(r *Reader) { r.NullableBytes() }},
		"bytes length 2^31-1":             {[]byte{0x7f, 0xff, 0xff, 0xff}, func(r *Reader) { r.Bytes() }},
		"compact length 2^32-1":           {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, func(r *Reader) { r.CompactBytes() }},
		"compact string length 2^15":      {append([]byte{0x81, 0x80, 0x02}, make([]byte, 1<<15)...), func(r *Reader) { r.CompactString() }},
		"varint of six bytes":             {[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, func(r *Reader) { r.Uvarint() }},
		"varlong of eleven bytes":         {append(bytes.Repeat([]byte{0x80}, 10), 0), func(r *Reader) { r.Varlong() }},
		"array count -2":                  {[]byte{0xff, 0xff, 0xff, 0xfe}, func(r *Reader) { r.ArrayLen(10, 1) }},
		"array count above the limit":     {append([]byte{0, 0, 0, 11}, make([]byte, 100)...), func(r *Reader) { r.ArrayLen(10, 1) }},
		"array count above the bytes":     {append([]byte{0, 0, 0, 10}, make([]byte, 39)...), func(r *Reader) { r.ArrayLen(10, 4) }},
		"array count 2^31-1":              {[]byte{0x7f, 0xff, 0xff, 0xff}, func(r *Reader) { r.ArrayLen(math.MaxInt, 8) }},
		"compact array above the bytes":   {append([]byte{11}, make([]byte, 39)...), func(r *Reader) { r.CompactArrayLen(10, 4) }},
		"tag count":                       {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, func(r *Reader) { r.SkipTags() }},
		"tag length":                      {[]byte{1, 0, 5, 1, 2}, func(r *Reader) { r.SkipTags() }},
	} {
		r := NewReader(c.b)
		c.read(&r)
		if r.Err() == nil {
			t.Errorf("%s: taken", name)
		}
		if r.Int64() != 0 || r.Remaining() != 0 {
			t.Errorf("%s: reads on after an error", name)
		}
	}
}

func TestUnknownTagsAreSkipped(t *testing.T) {
	r := NewReader([]byte{2, 5, 3, 'a', 'b', 'c', 9, 0, 7})
	if r.SkipTags(); r.Int8() != 7 || r.Err() != nil {
		t.Fatal(r.Err())
	}
}

// TestRequestHeaders takes headers as kgo's formatter writes them.
func TestRequestHeaders(t *testing.T) {
	for _, c := range []struct {
		version  int16
		flexible bool
	}{{0, false}, {3, true}} {
		for _, id := range []string{"", "a client"} {
			req := kmsg.NewPtrApiVersionsRequest()
			req.Version = c.version
			raw := kmsg.NewRequestFormatter(kmsg.FormatterClientID(id)).AppendRequest(nil, req, 42)
			if int(Size(raw)) != len(raw)-SizeBytes {
				t.Fatal("size prefix")
			}
			peeked, err := Peek(raw[SizeBytes:])
			if err != nil || peeked.Key != 18 || peeked.Version != c.version || peeked.CorrelationID != 42 {
				t.Fatal(peeked, err)
			}
			h, body, err := ParseRequest(raw[SizeBytes:], c.flexible)
			if err != nil || h.CorrelationID != 42 || string(h.ClientID) != id || !bytes.Equal(body, req.AppendTo(nil)) {
				t.Fatalf("%+v % x %v", h, body, err)
			}
			var a Appender
			a.RequestHeader(h, c.flexible)
			a.Raw(body)
			if !bytes.Equal(a.B, raw[SizeBytes:]) {
				t.Fatalf("% x\n% x", a.B, raw)
			}
		}
	}
}

func TestNullClientID(t *testing.T) {
	h, _, err := ParseRequest([]byte{0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff}, false)
	if err != nil || h.ClientID != nil {
		t.Fatal(h, err)
	}
	if _, _, err := ParseRequest([]byte{0, 3, 0, 1, 0, 0, 0, 9, 0, 5}, false); err == nil {
		t.Fatal("a client id that is not there was taken")
	}
}

func TestHeaderParseAllocatesNothing(t *testing.T) {
	var a Appender
	a.RequestHeader(RequestHeader{Key: 1, Version: 12, ClientID: []byte("client")}, true)
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := ParseRequest(a.B, true); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte{0, 18, 0, 3, 0, 0, 0, 9, 0, 1, 'c', 1, 5, 2, 0, 0}, true)
	f.Add([]byte{0, 3, 0, 1, 0, 0, 0, 9, 0xff, 0xff}, false)
	f.Fuzz(func(t *testing.T, b []byte, flexible bool) {
		h, body, err := ParseRequest(b, flexible)
		if err == nil && len(h.ClientID)+len(body)+10 > len(b) {
			t.Fatal("more was read than is there")
		}
		if _, body, err := ParseResponse(b, flexible); err == nil && len(body)+4 > len(b) {
			t.Fatal("more was read than is there")
		}
	})
}
