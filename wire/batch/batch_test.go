// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

var codecs = []compress.Codec{compress.None, compress.Gzip, compress.Snappy, compress.LZ4, compress.Zstd}

// plain is a record as a test writes it down.
type plain struct {
	Offset     kafka.Offset
	Timestamp  int64
	Key, Value []byte
	Headers    []RecordHeader
}

func read(t interface{ Fatal(...any) }, b []byte) (Header, []plain) {
	h, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyCRC(b); err != nil {
		t.Fatal(err)
	}
	it, _, err := Open(&h, b, &compress.Coder{}, nil, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	var out []plain
	for rec := (Record{}); it.Next(&rec); {
		p := plain{Offset: rec.Offset, Timestamp: rec.TimestampMs, Key: rec.Key, Value: rec.Value}
		for rh := range rec.Headers() {
			p.Headers = append(p.Headers, rh)
		}
		out = append(out, p)
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return h, out
}

func maybeBytes(t *rapid.T, label string) []byte {
	if rapid.Bool().Draw(t, label+" null") {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, label)
}

func drawRecords(t *rapid.T) []plain {
	n := rapid.IntRange(1, 40).Draw(t, "records")
	var recs []plain
	offset := kafka.Offset(0)
	for i := range n {
		p := plain{
			Offset: offset, Timestamp: rapid.Int64Range(0, 1<<42).Draw(t, "timestamp"),
			Key: maybeBytes(t, "key"), Value: maybeBytes(t, "value"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			p.Headers = append(p.Headers, RecordHeader{
				Key: []byte(fmt.Sprintf("h%d", i)), Value: maybeBytes(t, "header"),
			})
		}
		recs = append(recs, p)
		offset += kafka.Offset(rapid.IntRange(1, 3).Draw(t, "gap"))
	}
	return recs
}

func build(t interface{ Fatal(...any) }, o Options, recs []plain) []byte {
	var b Builder
	b.Begin(o)
	for _, r := range recs {
		b.AddAt(o.BaseOffset+r.Offset, r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	out, err := b.Finish(nil, &compress.Coder{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBuilderAndIterAgreeForEveryCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := NoProducer(kafka.Offset(rapid.Int64Range(0, 1<<40).Draw(t, "base")), 7)
		o.Codec = rapid.SampledFrom(codecs).Draw(t, "codec")
		o.Level = o.Codec.DefaultLevel()
		o.Transactional = rapid.Bool().Draw(t, "transactional")
		want := drawRecords(t)
		h, got := read(t, build(t, o, want))
		for i := range want {
			want[i].Offset += o.BaseOffset
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		if int(h.Count) != len(want) || h.LastOffset() != want[len(want)-1].Offset || h.BaseOffset != o.BaseOffset ||
			h.LeaderEpoch != 7 || h.Attributes.IsTransactional() != o.Transactional || h.Attributes.IsControl() {
			t.Fatalf("header %+v", h)
		}
	})
}

func TestPatchesLeaveTheCRCValid(t *testing.T) {
	b := build(t, NoProducer(0, 0), []plain{{Timestamp: 5, Value: []byte("v")}, {Offset: 1, Timestamp: 9}})
	SetBaseOffset(b, 1<<40)
	SetLeaderEpoch(b, 12)
	h, recs := read(t, b)
	if h.BaseOffset != 1<<40 || h.LeaderEpoch != 12 || recs[1].Offset != 1<<40+1 || recs[1].Timestamp != 9 {
		t.Fatalf("%+v %+v", h, recs)
	}
	SetMaxTimestamp(b, LogAppendTime, 777)
	h, recs = read(t, b)
	if h.MaxTimestampMs != 777 || recs[0].Timestamp != 777 || recs[1].Timestamp != 777 {
		t.Fatalf("LogAppendTime: %+v %+v", h, recs)
	}
	b[len(b)-1] ^= 1
	if err := VerifyCRC(b); err == nil {
		t.Fatal("a flipped bit went unnoticed")
	}
}

func TestSequencesGoOnWithZeroBehindTheGreatest(t *testing.T) {
	h := Header{BaseSequence: 1<<31 - 2, LastOffsetDelta: 3}
	if got := h.LastSequence(); got != 1 {
		t.Fatal(got)
	}
}

func TestFirstRecordAtFindsARecordNotABatch(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			o := NoProducer(100, 0)
			o.Codec, o.Level = codec, codec.DefaultLevel()
			b := build(t, o, []plain{{Timestamp: 50}, {Offset: 1, Timestamp: 40, Value: bytes.Repeat([]byte("x"), 100_000)}, {Offset: 2, Timestamp: 60}, {Offset: 3, Timestamp: 55}})
			h, _ := Parse(b)
			for _, c := range []struct {
				from   kafka.Offset
				target int64
				offset kafka.Offset
				ts     int64
				found  bool
			}{
				{0, 0, 100, 50, true}, {0, 50, 100, 50, true}, {0, 51, 102, 60, true}, {0, 60, 102, 60, true}, {0, 61, 0, 0, false},
				{101, 0, 101, 40, true}, {101, 50, 102, 60, true}, {103, 0, 103, 55, true}, {103, 60, 0, 0, false}, {104, 0, 0, 0, false},
			} {
				offset, ts, found, err := FirstRecordAt(&h, b, c.from, c.target, &compress.Coder{})
				if err != nil || offset != c.offset || ts != c.ts || found != c.found {
					t.Errorf("at %d: %d %d %v %v", c.target, offset, ts, found, err)
				}
			}
			for from, want := range map[kafka.Offset][2]int64{0: {102, 60}, 101: {102, 60}, 102: {102, 60}, 103: {103, 55}, 104: {0, 0}} {
				offset, ts, found, err := NewestRecord(&h, b, from, &compress.Coder{})
				if err != nil || int64(offset) != want[0] || ts != want[1] || found != (want[1] > 0) {
					t.Errorf("newest from %d: %d %d %v %v", from, offset, ts, found, err)
				}
			}
		})
	}
}
