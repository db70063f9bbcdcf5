// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/index"
	"gregor/storage/segment"
)

// A recovery reads next to nothing below the recovery point: no header in front
// of the last entries of the indexes, and no record in front of the last producer
// snapshot. What is not there, or cannot be right, is found by the headers; the
// indexes are those of before in the end.
func TestRecoveryReadsFromTheRecoveryPoint(t *testing.T) {
	const batches = 2000
	zeros := func(from, to int64) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	none := func([]byte) []byte { return nil }
	for _, c := range []struct {
		name     string
		suffix   string
		change   func(b []byte) []byte
		snapshot int64
		from, to int64 // how many reads it takes
	}{
		{"all is there", "", nil, 1 << 20, 0, 800},
		{"no .index", segment.IndexSuffix, none, 1 << 20, batches, 2 * batches},
		{"no .timeindex", segment.TimeIndexSuffix, none, 1 << 20, batches, 2 * batches},
		{"a block of .index", segment.IndexSuffix, zeros(1000*index.OffsetEntryBytes, 1064*index.OffsetEntryBytes), 1 << 20, batches / 2, 3 * batches / 2},
		{"a block of .timeindex", segment.TimeIndexSuffix, zeros(1000*index.TimeEntryBytes, 1042*index.TimeEntryBytes), 1 << 20, batches, 2 * batches},
		{"the end of .index", segment.IndexSuffix, func(b []byte) []byte { return b[:1500*index.OffsetEntryBytes] }, 1 << 20, batches / 4, batches},
		{"the end of .timeindex", segment.TimeIndexSuffix, func(b []byte) []byte { return b[:1500*index.TimeEntryBytes] }, 1 << 20, batches, 2 * batches},
		{"no snapshots", "", nil, 1 << 40, batches, 2 * batches},
	} {
		memory := vfs.NewMemory()
		b := newBed(t, memory, "/data/t-0")
		b.o.snapshotBytes = c.snapshot
		b.mustOpen()
		s := plain(1, 1)
		s.size = 9000 // a header of its own to read
		for i := range batches {
			s.ts = int64(i)
			b.mustAppend(s)
		}
		if err := b.l.Flush(); err != nil {
			t.Fatal(err)
		}
		after := memory.CrashClone(vfs.Loss{})
		if err := b.l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		read := func(fs vfs.FS, suffix string) []byte {
			content, err := vfs.ReadFile(fs, filepath.Join(b.o.Dir, segment.Name(0, suffix)), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
		if c.change != nil {
			path := filepath.Join(b.o.Dir, segment.Name(0, c.suffix))
			content := c.change(read(after, c.suffix))
			if err := after.Remove(path); err != nil {
				t.Fatal(err)
			}
			if content != nil {
				if err := vfs.WriteFileAtomic(after, path, content); err != nil {
					t.Fatal(err)
				}
			}
		}
		fault := vfs.NewFault(after)
		b.crash()
		b.fs, b.o.FS = fault, fault
		b.mustOpen()
		if reads := fault.Count(vfs.OpRead); reads < c.from || reads > c.to {
			t.Errorf("%s: %d reads for %d batches", c.name, reads, batches)
		}
		if f, err := b.l.OffsetForTime(batches - 1); f.Offset != batches-1 || err != nil {
			t.Errorf("%s: %+v, %v", c.name, f, err)
		}
		if err := b.l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{segment.IndexSuffix, segment.TimeIndexSuffix} {
			if !bytes.Equal(read(after, suffix), read(memory, suffix)) {
				t.Errorf("%s: %s is another one", c.name, suffix)
			}
		}
		b.l.Kill()
	}
}

// told is what a test knows of a batch that it appended.
type told struct {
	off kafka.Offset
	ts  int64
	pid kafka.ProducerID
	seq int32
}

// indexLoad appends batches of one record, each of which gets its entry in the
// index, with times that jump, and flushes, spills and rolls now and then.
type indexLoad struct {
	b       *bed
	random  *rand.Rand
	all     []told
	seqs    [3]int32
	durable kafka.Offset
}

func (w *indexLoad) step() {
	x := told{off: kafka.Offset(len(w.all)), ts: int64(1000 + len(w.all)/3), pid: kafka.NoProducerID, seq: -1}
	switch w.random.IntN(10) {
	case 0:
		x.ts += w.random.Int64N(300)
	case 1:
		x.ts -= w.random.Int64N(300)
	case 2, 3, 4:
		x.pid = kafka.ProducerID(w.random.IntN(len(w.seqs)))
		x.seq = w.seqs[x.pid]
		w.seqs[x.pid]++
	}
	s := plain(1, x.ts)
	if s.pid = x.pid; x.pid >= 0 {
		s.pepoch, s.seq = 0, x.seq
	}
	w.all = append(w.all, x)
	w.b.mustAppend(s)
	switch w.random.IntN(120) {
	case 0, 1:
		if err := w.b.l.Flush(); err != nil {
			w.b.t.Fatal(err)
		}
		w.durable = w.b.l.Tail().LogEnd
	case 2:
		if err := w.b.l.Checkpoint(); err != nil {
			w.b.t.Fatal(err)
		}
	case 3:
		if w.random.IntN(4) > 0 {
			return
		}
		w.b.l.AdvanceHighWatermark(w.durable)
		if err := w.b.l.DeleteRecords(max(w.durable-kafka.Offset(w.random.IntN(1500)), 0)); err != nil {
			w.b.t.Fatal(err)
		}
	}
}

// judge opens what a crash left and compares all that indexes and snapshots tell
// with what was written.
func (w *indexLoad) judge(image *vfs.Memory) error {
	b := newBed(w.b.t, image, w.b.o.Dir)
	b.now = w.b.now
	b.o.Config, b.o.snapshotBytes, b.o.RecoveryPoint = w.b.o.Config, w.b.o.snapshotBytes, w.durable
	if err := b.open(); err != nil {
		return err
	}
	defer b.l.Kill()
	start, end := b.l.Tail().LogStart, b.l.Tail().LogEnd
	if end < w.durable || start > w.b.l.Tail().LogStart {
		return fmt.Errorf("the log holds %d to %d, and %d were flushed", start, end, w.durable)
	}
	newest := told{off: kafka.NoOffset, ts: -1}
	seqs := map[kafka.ProducerID]int32{}
	for _, x := range w.all[:end] {
		if x.pid >= 0 {
			seqs[x.pid] = x.seq
		}
		if x.off >= start && x.ts > newest.ts {
			newest = x
		}
	}
	kept := w.all[start:end]
	if f, err := b.l.MaxTimestamp(); err != nil || f.Offset != newest.off {
		return fmt.Errorf("the newest is %+v, %v; want %+v", f, err, newest)
	}
	for range 8 {
		ts := 900 + w.random.Int64N(int64(end/3+400))
		want := kafka.NoOffset
		for _, x := range kept {
			if x.ts >= ts {
				want = x.off
				break
			}
		}
		if f, err := b.l.OffsetForTime(ts); err != nil || f.Offset != want {
			return fmt.Errorf("time %d is at %+v, %v; want %d", ts, f, err, want)
		}
	}
	for range 2 {
		from := start + kafka.Offset(w.random.IntN(len(kept)+1))
		if list, err := b.readAll(from, 5000, ToLogEnd); err != nil || len(list) != int(end-from) || len(list) > 0 && list[0].BaseOffset != from {
			return fmt.Errorf("%d batches from %d to %d, %v", len(list), from, end, err)
		}
	}
	list, err := b.l.Producers()
	if err != nil || len(list) != len(seqs) {
		return fmt.Errorf("producers %v, %v; want %v", list, err, seqs)
	}
	for _, p := range list {
		if p.LastSequence != seqs[p.ID] {
			return fmt.Errorf("producer %d ends with sequence %d, want %d", p.ID, p.LastSequence, seqs[p.ID])
		}
	}
	return nil
}

// Power cuts at any call of a load whose indexes are spilled several times between
// two flushes, with every kind of loss: what indexes and snapshots say of what is
// left is what was written, and mostly they need not be made anew.
func TestIndexesBelowTheRecoveryPointAfterAPowerCut(t *testing.T) {
	crash := vfs.NewCrash(diskWithData(t))
	b := newBed(t, crash, "/data/t-0")
	b.o.Config = Config{SegmentBytes: 120_000, IndexIntervalBytes: 1}
	b.o.snapshotBytes = 20_000
	b.now = time.UnixMilli(2000) // no producer expires
	w := &indexLoad{b: b, random: rand.New(rand.NewPCG(7, 7))}
	cuts := 0
	crash.Observe(func(number int64, call vfs.Call) {
		if number%61 != 0 {
			return
		}
		for i, data := range []vfs.Keep{vfs.KeepAll, vfs.KeepNone, vfs.KeepPrefix, vfs.KeepTorn} {
			loss := vfs.Loss{Data: data, Entries: []vfs.Keep{vfs.KeepAll, vfs.KeepNone, vfs.KeepPrefix}[cuts%3], Seed: uint64(number)*7 + uint64(i)}
			cuts++
			if err := w.judge(crash.Image(loss)); err != nil {
				t.Fatalf("cut before call %d (%v %s), loss %+v, %d batches, %d flushed: %v", number, call.Op, call.Path, loss, len(w.all), w.durable, err)
			}
		}
	})
	b.mustOpen()
	for range 4 * index.SpillEntries * 6 {
		w.step()
	}
	if cuts < 150 {
		t.Fatalf("only %d cuts were tried", cuts)
	}
}

// Snapshots inside a segment stay until the segment behind it is closed, and not
// over a truncation, a deletion or a clean stop.
func TestSnapshotsInsideSegmentsGo(t *testing.T) {
	b := memoryBed(t)
	b.o.snapshotBytes = 300
	b.mustOpen()
	inside := func() (list []kafka.Offset) {
		t.Helper()
		files, err := b.l.list()
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range files.snapshots {
			if _, start := b.l.pub.index(at); !start {
				list = append(list, at)
			}
		}
		return list
	}
	expect := func(what string, want ...kafka.Offset) {
		t.Helper()
		if got := inside(); !slices.Equal(got, want) {
			t.Fatalf("%s: snapshots inside segments at %v, want %v", what, got, want)
		}
	}
	segmentOf := func(batches int) {
		t.Helper()
		for range batches {
			b.mustAppend(plain(1, 1)) // 78 bytes
		}
		if err := b.l.Roll(); err != nil {
			t.Fatal(err)
		}
	}
	segmentOf(9)
	expect("one segment", 4, 8)
	segmentOf(9)
	expect("two segments", 13, 17)
	segmentOf(9)
	expect("three segments", 22, 26)
	if err := b.l.TruncateTo(24); err != nil {
		t.Fatal(err)
	}
	expect("a truncation", 22)
	segmentOf(10)
	expect("another segment", 22, 28, 32)
	b.l.AdvanceHighWatermark(34)
	if err := b.l.DeleteRecords(34); err != nil {
		t.Fatal(err)
	}
	expect("a deletion")
	segmentOf(4) // ends where a snapshot was taken inside it
	b.l.AdvanceHighWatermark(38)
	if err := b.l.DeleteRecords(38); err != nil {
		t.Fatal(err)
	}
	if _, err := b.fs.Stat(b.l.path(38, segment.SnapshotSuffix)); err != nil {
		t.Fatal(err)
	}
	for range 9 {
		b.mustAppend(plain(1, 1))
	}
	expect("before the stop", 42, 46)
	b.stop(true)
	b.mustOpen()
	if _, err := b.readAll(40, 1<<20, ToLogEnd); err != nil {
		t.Fatal(err)
	}
	expect("after the stop", 47)
}
