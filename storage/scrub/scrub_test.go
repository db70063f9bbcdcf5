// SPDX-License-Identifier: Apache-2.0

package scrub

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

func key(topic string, p kafka.PartitionID, base kafka.Offset) Key {
	return Key{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: p}, Base: base}
}

func TestLaterRecordsReplaceEarlierOnes(t *testing.T) {
	one := Sum{{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}, {SizeBytes: Missing}}
	two := one
	two[Log].CRC = 99
	b := AppendHead(nil)
	b = AppendSum(b, key("a", 0, 100), one)
	b = AppendProgress(b, Progress{StartedMs: 5, Last: key("a", 0, 100)})
	b = AppendSum(b, key("b", 7, 0), one)
	b = AppendSum(b, key("a", 0, 100), two)
	want := Parsed{Sums: map[Key]Sum{key("a", 0, 100): two, key("b", 7, 0): one},
		Progress: Progress{StartedMs: 5, Last: key("a", 0, 100)}, Records: 4, Bytes: int64(len(b))}
	if d := cmp.Diff(want, Parse(b)); d != "" {
		t.Fatal(d)
	}
}

// A file that was cut or changed anywhere says less, and never something else.
func TestDamagedFileSaysLess(t *testing.T) {
	b := AppendHead(nil)
	sums := map[Key]Sum{}
	for i := range 5 {
		k := key("topic", kafka.PartitionID(i), 0)
		sums[k] = Sum{{Inode: uint64(i), SizeBytes: 10, CRC: 7}}
		b = AppendSum(b, k, sums[k])
	}
	for n := range b {
		for _, damaged := range [][]byte{b[:n], append(append(bytes.Clone(b[:n]), b[n]^0x10), b[n+1:]...)} {
			p := Parse(damaged)
			if len(p.Sums) == len(sums) && n < len(b) {
				t.Fatalf("byte %d: nothing was missed", n)
			}
			for k, s := range p.Sums {
				if sums[k] != s {
					t.Fatalf("byte %d: %v became %v", n, sums[k], s)
				}
			}
			if p.Bytes > int64(len(damaged)) {
				t.Fatalf("byte %d: %d good bytes of %d", n, p.Bytes, len(damaged))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	b := AppendSum(AppendHead(nil), key("a", 1, 2), Sum{})
	f.Add(AppendProgress(b, Progress{FullMs: 3, Last: key("x", 0, 9)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Parse(b)
		if p.Bytes > int64(len(b)) || len(p.Sums) > p.Records {
			t.Fatalf("%+v of %d bytes", p, len(b))
		}
		again := AppendHead(nil)
		for k, s := range p.Sums {
			again = AppendSum(again, k, s)
		}
		if q := Parse(again); !cmp.Equal(q.Sums, p.Sums) {
			t.Fatal(cmp.Diff(p.Sums, q.Sums))
		}
	})
}

// What a log writes is judged good, and any flipped bit of it that the judge lets
// pass leads to the same batch.
func TestJudge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const base = 1000
		var batches []batch.Header
		var at []int64
		var offsets, times []byte
		off, pos, top, lastTop := kafka.Offset(base), int64(0), int64(-1), int64(-1)
		for range rapid.IntRange(1, 30).Draw(t, "batches") {
			h := batch.Header{BaseOffset: off, LastOffsetDelta: int32(rapid.IntRange(0, 3).Draw(t, "delta")), MaxTimestampMs: rapid.Int64Range(0, 20).Draw(t, "ts")}
			newTop := h.MaxTimestampMs > top
			top = max(top, h.MaxTimestampMs)
			batches, at = append(batches, h), append(at, pos)
			if rapid.Bool().Draw(t, "entry") && pos > 0 {
				offsets = binary.BigEndian.AppendUint32(offsets, uint32(h.LastOffset()-base))
				offsets = binary.BigEndian.AppendUint32(offsets, uint32(pos))
			}
			if newTop && rapid.Bool().Draw(t, "time") {
				times, lastTop = appendTime(times, top, h.LastOffset()-base), top
			}
			off, pos = h.NextOffset(), pos+int64(rapid.IntRange(61, 200).Draw(t, "size"))
		}
		if lastTop != top {
			for i := range batches {
				if batches[i].MaxTimestampMs == top {
					times = appendTime(times, top, batches[i].LastOffset()-base)
					break
				}
			}
		}
		judge := func(offsets, times []byte) error {
			j := NewJudge(base, offsets, times)
			for i := range batches {
				j.Batch(&batches[i], at[i])
			}
			return j.Done()
		}
		if err := judge(offsets, times); err != nil {
			t.Fatal(err)
		}
		if len(offsets) > 0 {
			bad := bytes.Clone(offsets)
			i := rapid.IntRange(0, len(bad)-1).Draw(t, "byte")
			bad[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			if err := judge(bad, times); err == nil && i%8 >= 4 {
				t.Fatal("another position was judged good")
			}
		}
		bad := bytes.Clone(times)
		i := rapid.IntRange(0, len(bad)-1).Draw(t, "byte of times")
		bad[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit of times")
		if err := judge(offsets, bad); err == nil && i%12 < 8 {
			t.Fatal("another timestamp was judged good")
		}
	})
}

func appendTime(b []byte, ts int64, off kafka.Offset) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, uint64(ts)), uint32(off))
}

func TestPaceHoldsItsRate(t *testing.T) {
	p := Pace{BytesPerSecond: 1000}
	now := time.Unix(100, 0)
	for range 1000 {
		now = now.Add(p.Read(10, now))
	}
	if took := now.Sub(time.Unix(100, 0)); took < 9*time.Second || took > 11*time.Second {
		t.Fatalf("10,000 bytes at 1,000 a second took %v", took)
	}
	now = now.Add(time.Hour)
	if wait := p.Read(1000, now); wait < 800*time.Millisecond {
		t.Fatalf("an hour of rest was made up for: %v", wait)
	}
}

func TestPassesBeginAnIntervalApart(t *testing.T) {
	now := time.UnixMilli(10_000)
	for _, c := range []struct {
		p    Progress
		want time.Duration
	}{
		{Progress{}, 0},
		{Progress{StartedMs: 9_000, FullMs: 8_000}, 0},
		{Progress{FullMs: 8_000}, 58 * time.Second},
		{Progress{FullMs: 1}, 50*time.Second + time.Millisecond},
		{Progress{FullMs: 10_001}, 0}, // the clock was wrong when it ended
	} {
		if got := c.p.NextPass(time.Minute, now); got != c.want {
			t.Errorf("%+v: %v, want %v", c.p, got, c.want)
		}
	}
}
