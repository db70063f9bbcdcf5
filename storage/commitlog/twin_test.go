// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/retention"
)

// twin is the log as a slice: what it should hold, told in the simplest way.
type twin struct {
	batches  []twinBatch
	logStart kafka.Offset
	end      kafka.Offset
	epoch    kafka.LeaderEpoch
}

type twinBatch struct {
	base, last kafka.Offset
	epoch      kafka.LeaderEpoch
	ts         int64 // of the first record; the others follow by milliseconds
}

func (m *twin) append(n int, ts int64) {
	m.batches = append(m.batches, twinBatch{base: m.end, last: m.end + kafka.Offset(n) - 1, epoch: m.epoch, ts: ts})
	m.end += kafka.Offset(n)
}

func (m *twin) truncate(off kafka.Offset) {
	m.end = min(m.end, off)
	for len(m.batches) > 0 && m.batches[len(m.batches)-1].last >= off {
		m.end = min(m.end, m.batches[len(m.batches)-1].base)
		m.batches = m.batches[:len(m.batches)-1]
	}
	m.logStart = min(m.logStart, m.end)
}

// from is the batches that a read from off sees.
func (m *twin) from(off kafka.Offset) []twinBatch {
	for i, b := range m.batches {
		if b.last >= off {
			return m.batches[i:]
		}
	}
	return nil
}

// retained is where the log begins once retention has gone over it: in the
// simplest way, by what was written and by where segments begin.
func (m *twin) retained(t *rapid.T, b *bed, r retention.Rules) kafka.Offset {
	segments, err := b.l.Segments()
	if err != nil {
		t.Fatal(err)
	}
	newest := func(s Segment) int64 {
		ms := int64(-1)
		for _, w := range m.batches {
			if w.base >= s.Base && w.last < s.End {
				ms = max(ms, w.ts+int64(w.last-w.base))
			}
		}
		return ms
	}
	var bytes int64
	for _, s := range segments {
		bytes += s.SizeBytes
	}
	starts := segments[0].Base
	gone := func(s Segment) { starts, segments, bytes = s.End, segments[1:], bytes-s.SizeBytes }
	for len(segments) > 1 && segments[0].End <= m.logStart {
		gone(segments[0])
	}
	full := func() bool { return len(segments) > 0 && (len(segments) > 1 || segments[0].SizeBytes > 0) }
	for r.Bytes >= 0 && full() && bytes-segments[0].SizeBytes >= r.Bytes {
		gone(segments[0])
	}
	for r.Ms >= 0 && full() && segments[0].SizeBytes > 0 && b.now.UnixMilli()-newest(segments[0]) > r.Ms {
		gone(segments[0])
	}
	return starts
}

func (m *twin) forTime(ts int64) (kafka.Offset, int64) {
	for _, b := range m.batches {
		for off := b.base; off <= b.last; off++ {
			if at := b.ts + int64(off-b.base); off >= m.logStart && at >= ts {
				return off, at
			}
		}
	}
	return kafka.NoOffset, -1
}

// newest is the first record with the greatest timestamp.
func (m *twin) newest() (kafka.Offset, int64) {
	found, newest := kafka.NoOffset, int64(-1)
	for _, b := range m.batches {
		for off := max(b.base, m.logStart); off <= b.last; off++ {
			if at := b.ts + int64(off-b.base); at > newest {
				found, newest = off, at
			}
		}
	}
	return found, newest
}

func (m *twin) compare(t *rapid.T, b *bed) {
	tail := b.l.Tail()
	if tail.LogEnd != m.end || tail.LogStart != m.logStart {
		t.Fatalf("log holds %d to %d, want %d to %d", tail.LogStart, tail.LogEnd, m.logStart, m.end)
	}
	from := m.logStart
	if m.end > m.logStart {
		from += kafka.Offset(rapid.Int64Range(0, int64(m.end-m.logStart)).Draw(t, "from"))
	}
	got, err := b.readAll(from, rapid.IntRange(1, 3000).Draw(t, "bytes"), ToLogEnd)
	if err != nil {
		t.Fatalf("read from %d: %v", from, err)
	}
	want := m.from(from)
	if len(got) != len(want) {
		t.Fatalf("read %d batches from %d, want %d", len(got), from, len(want))
	}
	for i, h := range got {
		w := want[i]
		if h.BaseOffset != w.base || h.LastOffset() != w.last || h.LeaderEpoch != w.epoch {
			t.Fatalf("batch %d is %d to %d of epoch %d, want %d to %d of epoch %d", i, h.BaseOffset, h.LastOffset(), h.LeaderEpoch, w.base, w.last, w.epoch)
		}
	}
	ts := rapid.Int64Range(0, 3000).Draw(t, "time")
	off, at := m.forTime(ts)
	f, err := b.l.OffsetForTime(ts)
	if err != nil || f.Offset != off || f.TimestampMs != at {
		t.Fatalf("time %d is at offset %d (%d), %v; want %d (%d)", ts, f.Offset, f.TimestampMs, err, off, at)
	}
	off, at = m.newest()
	if f, err := b.l.MaxTimestamp(); err != nil || f.Offset != off || f.TimestampMs != at {
		t.Fatalf("the newest record is at offset %d (%d), %v; want %d (%d)", f.Offset, f.TimestampMs, err, off, at)
	}
}

// TestRandomHistoriesAgainstASlice appends, truncates, rolls, restarts and
// crashes at random and compares what can be read with a slice.
func TestRandomHistoriesAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tb := failer{t: t}
		memory := vfs.NewMemory()
		b := newBed(tb, memory, "/data/t-0")
		b.o.Config = Config{
			SegmentBytes:       rapid.Int32Range(200, 4000).Draw(t, "segment bytes"),
			IndexIntervalBytes: rapid.Int32Range(1, 600).Draw(t, "index interval"),
			IndexBytes:         rapid.Int32Range(100, 2000).Draw(t, "index bytes"),
		}
		b.mustOpen()
		m := &twin{}
		ts := int64(1000)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				var chain, last *Append
				for range rapid.IntRange(1, 4).Draw(t, "chain") {
					n := rapid.IntRange(1, 4).Draw(t, "records")
					ts += rapid.Int64Range(-20, 30).Draw(t, "later")
					ts = max(ts, 0)
					a := &Append{Batches: plain(n, ts).build(), ExpectedEpoch: m.epoch}
					if chain == nil {
						chain = a
					} else {
						last.Next = a
					}
					last = a
					m.append(n, ts)
				}
				b.l.Append(chain, m.epoch)
				for a := chain; a != nil; a = a.Next {
					if a.Err != nil {
						t.Fatal(a.Err)
					}
				}
			},
			"truncate": func(t *rapid.T) {
				off := m.end
				if n := len(m.batches); n > 0 {
					at := m.batches[n-1-rapid.IntRange(0, min(n-1, 8)).Draw(t, "batches")]
					off = kafka.Offset(rapid.Int64Range(int64(at.base), int64(at.last)).Draw(t, "to"))
				}
				first, err := b.l.Segments()
				if err := errors.Join(err, b.l.TruncateTo(off)); err != nil {
					t.Fatal(err)
				}
				if off < first[0].Base || len(m.batches) == 0 {
					m.batches, m.end, m.logStart = nil, off, off
				}
				m.truncate(off)
				tail := b.l.Tail()
				m.logStart = tail.LogStart
			},
			"roll": func(t *rapid.T) {
				if err := b.l.Roll(); err != nil {
					t.Fatal(err)
				}
			},
			"leader": func(t *rapid.T) {
				m.epoch++
				if err := b.l.StartEpoch(m.epoch); err != nil {
					t.Fatal(err)
				}
			},
			"delete records": func(t *rapid.T) {
				b.l.AdvanceHighWatermark(m.end)
				off := m.logStart + kafka.Offset(rapid.Int64Range(0, int64(m.end-m.logStart)).Draw(t, "below"))
				if err := b.l.AdvanceLogStart(off); err != nil {
					t.Fatal(err)
				}
				m.logStart = off
				if rapid.Bool().Draw(t, "drop") {
					if _, err := b.l.DropSegments(off); err != nil {
						t.Fatal(err)
					}
				}
			},
			"retain": func(t *rapid.T) {
				b.l.AdvanceHighWatermark(m.end)
				rules := retention.Rules{Delete: true, Ms: rapid.Int64Range(-1, 300).Draw(t, "ms"), Bytes: rapid.Int64Range(-1, 5000).Draw(t, "retained")}
				b.now = time.UnixMilli(ts + rapid.Int64Range(-100, 200).Draw(t, "now")) // the clock jumps
				starts := m.retained(t, b, rules)
				due := b.l.RetentionDue(rules, b.now.UnixMilli())
				plan, _, err := b.l.Retain(rules)
				if err != nil {
					t.Fatal(err)
				}
				if plan.Count() > 0 && !due {
					t.Fatalf("%+v was not due", plan)
				}
				m.logStart = max(m.logStart, starts)
			},
			"stop": func(t *rapid.T) {
				b.stop(rapid.Bool().Draw(t, "hinted"))
				b.mustOpen()
			},
			"crash": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "flushed") {
					if err := b.l.Flush(); err != nil {
						t.Fatal(err)
					}
				}
				b.crash()
				b.mustOpen()
			},
			"": func(t *rapid.T) { m.compare(t, b) },
		})
	})
}

// failer lets a bed report to rapid.
type failer struct {
	testing.TB
	t *rapid.T
}

func (f failer) Helper()           {}
func (f failer) Fatal(args ...any) { f.t.Fatal(args...) }

func TestFailedReadNamesTheLog(t *testing.T) {
	b := memoryBed(t).mustOpen()
	b.mustAppend(plain(1, 1))
	_, err := b.l.Read(nil, 5, 100, ToLogEnd, true)
	var out *OffsetOutOfRangeError
	if !errors.As(err, &out) || out.Tail.LogEnd != 1 {
		t.Fatal(err)
	}
	if got := fmt.Sprint(out); got != "offset 5 is out of range: the log holds 0 to 1" {
		t.Fatal(got)
	}
}
