// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
)

// TestReadersBesideTruncations: whatever a reader gets is a whole batch of one
// epoch's log, or its source says that it is not intact.
func TestReadersBesideTruncations(t *testing.T) {
	b := newBed(t, vfs.OS{}, t.TempDir()+"/t-0")
	b.o.Config = Config{SegmentBytes: 2000, IndexIntervalBytes: 100}
	b.mustOpen()
	defer b.l.Kill()
	var stop atomic.Bool
	var reads, cuts atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var c Cursor
			from := kafka.Offset(0)
			buf := make([]byte, 4096)
			for !stop.Load() {
				r, err := b.l.Read(&c, from, 500, ToLogEnd, true)
				if errors.Is(err, kafka.OffsetOutOfRange) {
					from = b.l.Tail().LogStart
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if r.File.LenBytes == 0 {
					from = b.l.Tail().LogStart
					continue
				}
				p := buf[:r.File.LenBytes]
				_, err = r.File.Src.ReadAt(p, r.File.PosBytes)
				intact := r.File.Src.Intact()
				r.File.Src.Release()
				if !intact {
					cuts.Add(1)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				reads.Add(1)
				for next := r.Next; len(p) > 0; {
					h, err := batch.Parse(p)
					if err == nil {
						err = batch.VerifyCRC(p[:h.SizeBytes()])
					}
					if err != nil || h.LastOffset() < from || h.NextOffset() > next {
						t.Errorf("batch %d to %d in a read of %d to %d: %v", h.BaseOffset, h.LastOffset(), from, next, err)
						return
					}
					p = p[h.SizeBytes():]
				}
				from = r.Next
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			if _, err := b.l.OffsetForTime(int64(1000)); err != nil {
				t.Error(err)
				return
			}
			if _, err := b.l.MaxTimestamp(); err != nil {
				t.Error(err)
				return
			}
			b.l.RetentionDue(bySize(100), 2000)
		}
	})
	for i := 0; i < 400 || reads.Load() == 0 && i < 100_000 && !t.Failed(); i++ { // a reader may be slow to begin
		for j := range 5 {
			b.mustAppend(plain(1+j%3, int64(i)))
		}
		tail := b.l.Tail()
		switch {
		case i%97 == 96:
			if err := b.l.TruncateFullyAndStartAt(tail.LogEnd + 5); err != nil {
				t.Fatal(err)
			}
		case i%5 == 4:
			if err := b.l.TruncateTo(max(tail.LogStart, tail.LogEnd-11)); err != nil {
				t.Fatal(err)
			}
		case i%11 == 10:
			b.l.AdvanceHighWatermark(tail.LogEnd)
			if _, err := b.l.DropSegments(tail.LogEnd - 40); err != nil {
				t.Fatal(err)
			}
		case i%13 == 12:
			b.l.AdvanceHighWatermark(tail.LogEnd)
			b.retain(bySize(tail.SizeBytes / 2))
		}
	}
	stop.Store(true)
	wg.Wait()
	if reads.Load() == 0 {
		t.Fatal("nothing was read")
	}
	t.Log(reads.Load(), "reads,", cuts.Load(), "cut")
}

// The directory's flusher tells what it has synced while segments are rolled.
func TestSyncedBesideRolls(t *testing.T) {
	b := memoryBed(t)
	b.o.Config = Config{SegmentBytes: 100}
	b.mustOpen()
	defer b.l.Kill()
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			b.l.Synced(b.l.Tail().LogEnd)
		}
	})
	for i := range int64(200) {
		b.mustAppend(plain(1, i))
	}
	stop.Store(true)
	wg.Wait()
	b.l.Synced(b.l.Tail().LogEnd)
	if tail := b.l.Tail(); tail.LogEnd != 200 || tail.Flushed != 200 {
		t.Errorf("%+v", tail)
	}
}

// A segment with readers is cut by copying: they keep the old bytes, and learn
// that they are old.
func TestTruncationLeavesReadersTheirBytes(t *testing.T) {
	b := newBed(t, vfs.OS{}, t.TempDir()+"/t-0").mustOpen()
	defer b.l.Kill()
	for range 10 {
		b.mustAppend(plain(1, 1))
	}
	r, err := b.l.Read(nil, 0, 1<<20, ToLogEnd, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	b.mustAppend(plain(4, 9))
	if r.File.Src.Intact() {
		t.Fatal("the reader was not told")
	}
	p := make([]byte, r.File.LenBytes)
	if n, err := r.File.Src.ReadAt(p, r.File.PosBytes); n != len(p) {
		t.Fatal(n, err)
	}
	r.File.Src.Release()
	if list, err := b.readAll(0, 1<<20, ToLogEnd); err != nil || len(list) != 4 || list[3].Count != 4 {
		t.Fatal(list, err)
	}
}

// TestHotPathsAllocateNothing: appends and sequential reads.
func TestHotPathsAllocateNothing(t *testing.T) {
	b := newBed(t, vfs.OS{}, t.TempDir()+"/t-0").mustOpen()
	defer b.l.Kill()
	s := plain(10, 1)
	s.pid, s.pepoch, s.seq = 1, 0, 0
	a := &Append{Batches: s.build(), ExpectedEpoch: kafka.NoLeaderEpoch, Origin: OriginReplica}
	step := func() {
		a.Origin = OriginCoordinator // sequences of one batch do not repeat in vain
		b.l.Append(a, 1)
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		b.l.AdvanceHighWatermark(a.LastOffset + 1)
	}
	for range 400 {
		step()
	}
	if n := testing.AllocsPerRun(200, step); n >= 1 {
		t.Errorf("%v allocations an append", n)
	}
	var c Cursor
	from := kafka.Offset(0)
	read := func() {
		r, err := b.l.Read(&c, from, 500, ToHighWatermark, true)
		if err != nil || r.File.LenBytes == 0 {
			t.Fatal(r, err)
		}
		r.File.Src.Release()
		from = r.Next
	}
	for range 20 {
		read()
	}
	if n := testing.AllocsPerRun(100, read); n >= 1 {
		t.Errorf("%v allocations a read", n)
	}
}
