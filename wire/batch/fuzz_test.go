// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

func TestHotPathAllocatesNothing(t *testing.T) {
	c := good(compress.None)
	c.records, c.h.Count, c.h.LastOffsetDelta = nil, 1000, 999
	for i := range int32(1000) {
		c.records = append(c.records, raw{timestamp: 100, offset: i, key: []byte("key"), value: make([]byte, 100), headers: []RecordHeader{{Key: []byte("h")}}})
	}
	c.h.MaxTimestampMs = now
	plain := c.encode(t)
	c.h.Attributes = Attributes(compress.LZ4)
	packed := c.encode(t)
	v, r := NewValidator(&compress.Pool{}, recordErrorsMax), standard()
	for name, b := range map[string][]byte{"uncompressed": plain, "compressed, standard": packed} {
		if n := testing.AllocsPerRun(50, func() {
			if _, _, err := v.Client(b, &r, 13, now); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("validate, %s: %v allocations", name, n)
		}
		if n := testing.AllocsPerRun(50, func() {
			if _, err := Parse(b); err != nil {
				t.Fatal(err)
			}
			if err := VerifyCRC(b); err != nil {
				t.Fatal(err)
			}
			SetBaseOffset(b, 7)
			SetLeaderEpoch(b, 7)
			SetBaseOffset(b, 0)
		}); n != 0 {
			t.Errorf("header and CRC, %s: %v allocations", name, n)
		}
	}
	h, err := Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(50, func() {
		var rec Record
		it := Records(&h, plain[HeaderSize:])
		count := 0
		for it.Next(&rec) {
			count++
		}
		if it.Err() != nil || count != 1000 {
			t.Fatal(it.Err(), count)
		}
	}); n != 0 {
		t.Errorf("iterate: %v allocations", n)
	}
	if n := testing.AllocsPerRun(50, func() {
		if _, _, found, err := FirstRecordAt(&h, plain, 0, now, nil); err != nil || !found {
			t.Fatal(found, err)
		}
	}); n != 0 {
		t.Errorf("first record at a timestamp: %v allocations", n)
	}
}

// TestStrictAllocatesByBatchNotByRecord compares 10 records with 1,000.
func TestStrictAllocatesByBatchNotByRecord(t *testing.T) {
	for _, codec := range codecs[1:] {
		var counts []float64
		for _, records := range []int32{10, 1000} {
			c := good(codec)
			c.records, c.h.Count, c.h.LastOffsetDelta = nil, records, records-1
			for i := range records {
				c.records = append(c.records, raw{timestamp: 100, offset: i, key: []byte("key"), value: make([]byte, 100)})
			}
			b := c.encode(t)
			v, r := NewValidator(&compress.Pool{}, recordErrorsMax), standard()
			r.Strict = true
			counts = append(counts, testing.AllocsPerRun(50, func() {
				if _, _, err := v.Client(b, &r, 13, now); err != nil {
					t.Fatal(err)
				}
			}))
		}
		if counts[1] > counts[0]+8 || counts[1] > 24 {
			t.Errorf("%s: %v allocations for 10 records, %v for 1,000", codec, counts[0], counts[1])
		}
	}
}

func seeds(f *testing.F) [][]byte {
	var out [][]byte
	for _, c := range oracleCases(f) {
		out = append(out, c.batch)
	}
	return out
}

// FuzzClient feeds anything to the validator. What it accepts must be a batch
// that parses, whose CRC holds, and, in strict mode, whose records read.
func FuzzClient(f *testing.F) {
	for i, b := range seeds(f) {
		f.Add(b, byte(i), int8(i%6)-1)
	}
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	f.Fuzz(func(t *testing.T, b []byte, flags byte, target int8) {
		r := standard()
		r.Strict, r.Compacted = flags&1 != 0, flags&2 != 0
		if flags&4 != 0 {
			r.TimestampType = LogAppendTime
		}
		if target >= 0 && target < 5 {
			r.KeepCodec, r.Codec = false, compress.Codec(target)
			r.Level = r.Codec.DefaultLevel()
		}
		r.RecordBytesMax, r.MessageBytesMax = 1<<20, 1<<20
		// Whoever spoils the records need not spoil the CRC.
		b = bytes.Clone(b)
		if flags&8 != 0 && len(b) >= HeaderSize {
			sealCRC(b)
		}
		out, h, err := v.Client(b, &r, 13, now)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || len(e.Records) > recordErrorsMax {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if h.SizeBytes() != len(out) || len(out) > r.MessageBytesMax || VerifyCRC(out) != nil || h.Count <= 0 || h.BaseOffset != 0 {
			t.Fatalf("accepted: %+v", h)
		}
		if h.Attributes.Codec() != compress.None && !r.Strict {
			return
		}
		it, _, err := Open(&h, out, &compress.Coder{}, nil, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		count := int32(0)
		for rec := (Record{}); it.Next(&rec); count++ {
			if int32(rec.Offset) != count {
				t.Fatalf("record %d has offset %d", count, rec.Offset)
			}
		}
		if it.Err() != nil || count != h.Count {
			t.Fatalf("%d of %d records: %v", count, h.Count, it.Err())
		}
	})
}

// FuzzRead feeds anything to the readers of stored batches.
func FuzzRead(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, int64(1), now)
	}
	f.Fuzz(func(t *testing.T, b []byte, fromOffset, target int64) {
		from := kafka.Offset(fromOffset)
		h, err := Parse(b)
		if err != nil {
			return
		}
		const limit = 1 << 20
		it, buf, err := Open(&h, b, &compress.Coder{}, nil, limit)
		if cap(buf) > 4*limit {
			t.Fatalf("room for %d bytes", cap(buf))
		}
		if err != nil {
			return
		}
		var first *Record
		n := int32(0)
		for rec := (Record{}); it.Next(&rec); n++ {
			headers := 0
			for range rec.Headers() {
				headers++
			}
			if headers != rec.HeaderCount {
				t.Fatalf("%d headers of %d", headers, rec.HeaderCount)
			}
			if first == nil && rec.Offset >= from && rec.TimestampMs >= target {
				r := rec
				first = &r
			}
		}
		if it.Err() != nil || n != h.Count {
			return
		}
		offset, ts, found, err := FirstRecordAt(&h, b, from, target, &compress.Coder{})
		if err != nil || found != (first != nil) || found && (offset != first.Offset || ts != first.TimestampMs) {
			t.Fatalf("at %d: %d %d %v %v, not %+v", target, offset, ts, found, err, first)
		}
	})
}

// FuzzQuickWalk compares the quick walk over a record with the careful one.
func FuzzQuickWalk(f *testing.F) {
	for _, r := range good(compress.None).records {
		f.Add(r.append(nil), int64(0))
		f.Add(append(r.append(nil), 1, 2, 3), int64(100))
	}
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, recordBytesMax int64) {
		var quick, careful walker
		quick.inMemory(b)
		quick.recordBytesMax = recordBytesMax
		careful = quick
		careful.sink = io.Discard
		ok := quick.quick()
		err := careful.next(func(int64) error { return nil })
		if ok != (err == nil) || ok && (quick.rec != careful.rec || quick.pos != careful.pos) || !ok && quick.pos != 0 {
			t.Fatalf("quick %v %+v at %d, careful %v %+v at %d", ok, quick.rec, quick.pos, err, careful.rec, careful.pos)
		}
	})
}
