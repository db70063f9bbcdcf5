// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/scrub"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// rig makes rapid's T do for a bed.
type rig struct {
	testing.TB
	r *rapid.T
}

func (r rig) Helper()                   {}
func (r rig) Fatal(a ...any)            { r.r.Fatal(a...) }
func (r rig) Fatalf(f string, a ...any) { r.r.Fatalf(f, a...) }

// answers is all that a client can ask a log: where each offset and timestamp
// is, and what was aborted.
type answers struct {
	Reads   []string
	Times   []string
	Aborted []string
}

func (b *bed) answers() (a answers) {
	b.t.Helper()
	t := b.l.Tail()
	for off := t.LogStart; off < t.LogEnd; off++ {
		r, err := b.l.Read(nil, off, 1, ToLogEnd, true)
		if err != nil {
			a.Reads = append(a.Reads, fmt.Sprintf("%d: %v", off, errors.Is(err, kafka.CorruptMessage)))
			continue
		}
		p := make([]byte, r.File.LenBytes)
		if _, err := r.File.Src.ReadAt(p, r.File.PosBytes); err != nil {
			b.t.Fatal(err)
		}
		r.File.Src.Release()
		h, err := batch.Parse(p)
		if err == nil {
			err = batch.VerifyCRC(p[:h.SizeBytes()])
		}
		a.Reads = append(a.Reads, fmt.Sprintf("%d: %d to %d %v", off, h.BaseOffset, h.LastOffset(), err))
	}
	for ts := int64(95); ts < 165; ts++ {
		f, err := b.l.OffsetForTime(ts)
		a.Times = append(a.Times, fmt.Sprintf("%d: %+v %v", ts, f, err))
	}
	f, err := b.l.MaxTimestamp()
	a.Times = append(a.Times, fmt.Sprintf("greatest: %+v %v", f, err))
	for off := t.LogStart; off < t.LastStable; off++ {
		r, err := b.l.Read(nil, off, 1, ToLastStable, true)
		if err != nil {
			b.t.Fatal(err)
		}
		r.File.Src.Release()
		a.Aborted = append(a.Aborted, fmt.Sprintf("%d: %v", off, r.Aborted))
	}
	return a
}

// populate appends batches with timestamps that do not always rise, many of them
// equal, and transactions, into several segments.
func (b *bed) populate(t *rapid.T, batches int) {
	ts := int64(100)
	var seq [3]int32
	for range batches {
		ts = max(100, min(150, ts+int64(rapid.IntRange(-3, 4).Draw(t, "time"))))
		s := plain(rapid.IntRange(1, 3).Draw(t, "records"), ts)
		if pid := rapid.IntRange(0, 5).Draw(t, "producer"); pid < 3 {
			s.pid, s.pepoch, s.txn = kafka.ProducerID(pid+1), 0, true
			if rapid.IntRange(0, 2).Draw(t, "end") == 0 {
				s.marker, s.n, s.seq = rapid.SampledFrom([]string{"commit", "abort"}).Draw(t, "marker"), 1, batch.NoSequence
				if a := b.append(s, 0, OriginCoordinator); a.Err != nil {
					t.Fatal(a.Err)
				}
				continue
			}
			s.seq = seq[pid]
			seq[pid] += int32(s.n)
		}
		b.mustAppend(s)
	}
	b.l.AdvanceHighWatermark(b.l.Tail().LogEnd)
}

// A flipped bit, a lost end or a lost file of an index never changes an answer.
func TestDamagedIndexesAnswerAlike(tb *testing.T) {
	rapid.Check(tb, func(t *rapid.T) {
		b := newBed(rig{tb, t}, vfs.NewMemory(), "/data/t-0")
		b.o.Config = Config{SegmentBytes: 1500, IndexIntervalBytes: 100}
		b.mustOpen()
		b.populate(t, 60)
		want := b.answers()
		b.stop(rapid.Bool().Draw(t, "hint"))
		infos, err := b.fs.ReadDir(b.o.Dir)
		if err != nil {
			t.Fatal(err)
		}
		var files []vfs.FileInfo
		for _, i := range infos {
			if _, suffix, ok := segment.ParseName(i.Name); ok && i.SizeBytes > 0 && strings.HasSuffix(suffix, "index") {
				files = append(files, i)
			}
		}
		for range rapid.IntRange(1, 3).Draw(t, "faults") {
			i := rapid.SampledFrom(files).Draw(t, "file")
			f, err := b.fs.Open(filepath.Join(b.o.Dir, i.Name), vfs.ReadWrite, 0)
			if err != nil {
				t.Fatal(err)
			}
			at := rapid.Int64Range(0, i.SizeBytes-1).Draw(t, "at")
			var p [1]byte
			if n, _ := f.ReadAt(p[:], at); n == 1 {
				p[0] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				if _, err := f.WriteAt(p[:], at); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.IntRange(0, 4).Draw(t, "cut") == 0 {
				if err := f.Truncate(at); err != nil {
					t.Fatal(err)
				}
			}
			_ = f.Close()
		}
		b.mustOpen()
		if d := cmp.Diff(want, b.answers()); d != "" {
			t.Fatalf("other answers with damaged indexes (-good +damaged):\n%s", d)
		}
		b.stop(false)
	})
}

// Any bit of the indexes of a last segment, whose newest record is in its middle,
// may flip between two starts.
func TestEachBitOfAnIndex(t *testing.T) {
	image := vfs.NewMemory()
	b := newBed(t, image, "/data/t-0")
	b.o.Config = Config{IndexIntervalBytes: 1}
	b.mustOpen()
	for _, ts := range []int64{100, 105, 150, 120, 130, 110} {
		b.mustAppend(plain(1, ts))
	}
	want := b.answers()
	b.stop(false)
	for _, clean := range []bool{true, false} {
		for _, suffix := range []string{segment.IndexSuffix, segment.TimeIndexSuffix} {
			name := segment.Name(0, suffix)
			for bit := range b.size(name) * 8 {
				c := newBed(t, image.CrashClone(vfs.Loss{Data: vfs.KeepAll, Entries: vfs.KeepAll}), "/data/t-0")
				c.o = b.o
				c.o.FS, c.o.CleanStart = c.fs, clean
				c.flip(name, bit/8, int(bit%8))
				if err := c.open(); err != nil {
					t.Errorf("clean %v, bit %d of %s: %v", clean, bit, name, err)
					continue
				}
				if d := cmp.Diff(want, c.answers()); d != "" {
					t.Errorf("clean %v, bit %d of %s (-good +damaged):\n%s", clean, bit, name, d)
				}
				if err := c.l.TruncateTo(5); err != nil {
					t.Errorf("truncation, clean %v, bit %d of %s: %v", clean, bit, name, err)
				}
				c.l.Kill()
			}
		}
	}
}

// With checksums of the very files, damage shows at the first use, and a
// transaction index that somebody removed is missed.
func TestIndexesAreComparedWithTheirChecksums(t *testing.T) {
	b := memoryBed(t)
	b.o.Config = Config{SegmentBytes: 400, IndexIntervalBytes: 50}
	b.mustOpen()
	for i := range 12 {
		s := plain(1, 100+int64(i))
		s.pid, s.pepoch, s.txn, s.seq = 1, 0, true, int32(i)
		b.mustAppend(s)
		s.marker, s.seq = "abort", batch.NoSequence
		if a := b.append(s, 0, OriginCoordinator); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b.l.AdvanceHighWatermark(b.l.Tail().LogEnd)
	want := b.answers()
	sums := map[kafka.Offset]scrub.Sum{}
	segments, err := b.l.Segments()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments[:len(segments)-1] {
		found, ok, err := b.l.Scrub(&Scrub{After: s.Base - 1, Read: func(int64) bool { return true }, Sum: func(kafka.Offset) (scrub.Sum, bool) { return scrub.Sum{}, false }})
		if err != nil || !ok || !found.Whole || found.Base != s.Base || found.Indexes != nil {
			t.Fatal(found, ok, err)
		}
		sums[s.Base] = found.Sum
	}
	b.stop(false)
	var lines bytes.Buffer
	b.o.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	b.o.Sum = func(base kafka.Offset) (scrub.Sum, bool) { s, ok := sums[base]; return s, ok }
	b.mustOpen()
	if d := cmp.Diff(want, b.answers()); d != "" || lines.Len() > 0 {
		t.Fatal("whole:", d, lines.String())
	}
	b.stop(false)

	second := segments[1].Base
	if err := b.fs.Remove(filepath.Join(b.o.Dir, segment.Name(second, segment.TxnIndexSuffix))); err != nil {
		t.Fatal(err)
	}
	sum := sums[0]
	sum[scrub.TimeIndex].CRC ^= 1 // as if a bit had flipped under the same modification time
	sums[0] = sum
	b.mustOpen()
	if d := cmp.Diff(want, b.answers()); d != "" {
		t.Fatal("damaged:", d)
	}
	if n := strings.Count(lines.String(), "index is rebuilt"); n < 2 {
		t.Fatalf("%d indexes were rebuilt:\n%s", n, lines.String())
	}
	b.stop(false)
}
