// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// crashLoad appends, rolls, truncates and flushes; durable tells what the log
// must hold whatever happens from now on.
func crashLoad(b *bed, durable func(end kafka.Offset, batches int)) {
	epoch := kafka.LeaderEpoch(0)
	batches := 0
	add := func(n int) {
		s := plain(n, int64(1000+batches))
		if batches%2 == 0 {
			s.pid, s.pepoch, s.seq = kafka.ProducerID(batches), 0, 0
		}
		if a := b.append(s, epoch, OriginClient); a.Err != nil {
			b.t.Fatal(a.Err)
		}
		batches++
	}
	flush := func() {
		if err := b.l.Flush(); err != nil {
			b.t.Fatal(err)
		}
		durable(b.l.Tail().LogEnd, batches)
	}
	for round := range 6 {
		for i := range 8 {
			add(1 + i%3)
		}
		flush()
		for i := range 3 {
			add(1 + i)
		}
		switch round {
		case 1, 4:
			epoch++
			if err := b.l.StartEpoch(epoch); err != nil {
				b.t.Fatal(err)
			}
		case 2:
			// A diverged follower cuts what was never flushed.
			if err := b.l.TruncateTo(b.l.Tail().Flushed); err != nil {
				b.t.Fatal(err)
			}
			batches -= 3
		case 3:
			if err := b.l.Roll(); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// TestWhatWasFlushedSurvivesEveryPowerCut cuts the power in front of every
// call that the load makes, with every kind of loss.
func TestWhatWasFlushedSurvivesEveryPowerCut(t *testing.T) {
	crash := vfs.NewCrash(diskWithData(t))
	b := newBed(t, crash, "/data/t-0")
	b.o.Config = Config{SegmentBytes: 900, IndexIntervalBytes: 100}
	var end kafka.Offset
	durableBatches := 0
	cuts := 0
	crash.Observe(func(number int64, call vfs.Call) {
		for i, loss := range []vfs.Loss{{}, {Data: vfs.KeepNone, Entries: vfs.KeepNone}, {Data: vfs.KeepPrefix, Entries: vfs.KeepPrefix}, {Data: vfs.KeepTorn, Entries: vfs.KeepTorn}} {
			loss.Seed = uint64(number)*7 + uint64(i)
			cuts++
			if err := survives(t, crash.Image(loss), b.o.Config, end, durableBatches); err != nil {
				t.Fatalf("cut before call %d (%v %s), loss %+v: %v", number, call.Op, call.Path, loss, err)
			}
		}
	})
	b.mustOpen()
	crashLoad(b, func(e kafka.Offset, n int) { end, durableBatches = e, n })
	if cuts < 400 {
		t.Fatalf("only %d cuts were tried", cuts)
	}
}

// survives opens what a crash left and checks that nothing flushed is missing,
// that the log reads whole to its end, and that it takes more.
func survives(t *testing.T, image *vfs.Memory, config Config, end kafka.Offset, batches int) error {
	b := newBed(t, image, "/data/t-0")
	b.o.Config, b.o.RecoveryPoint = config, end
	if err := b.open(); err != nil {
		return err
	}
	defer b.l.Kill()
	list, err := b.readAll(0, 300, ToLogEnd)
	if err != nil {
		return err
	}
	if tail := b.l.Tail(); tail.LogEnd < end || len(list) < batches {
		return fmt.Errorf("log ends at %d with %d batches, %d with %d were flushed", tail.LogEnd, len(list), end, batches)
	}
	next := kafka.Offset(0)
	for _, h := range list {
		if h.BaseOffset != next {
			return fmt.Errorf("batch at %d, want %d", h.BaseOffset, next)
		}
		next = h.NextOffset()
	}
	if a := b.append(plain(1, 5000), 9, OriginClient); a.Err != nil || a.BaseOffset != next {
		return fmt.Errorf("append behind the crash: offset %d, %w", a.BaseOffset, a.Err)
	}
	again, err := b.readAll(next, 300, ToLogEnd)
	if err != nil || len(again) != 1 {
		return fmt.Errorf("read behind the crash: %d batches, %w", len(again), err)
	}
	return nil
}

// TestDuplicatesAreKnownAfterACrash: producers come back from snapshots and
// batches.
func TestDuplicatesAreKnownAfterACrash(t *testing.T) {
	b := memoryBed(t)
	b.o.Config = Config{SegmentBytes: 400}
	b.mustOpen()
	s := plain(1, 1)
	s.pid, s.pepoch = 5, 0
	var last Append
	for seq := range int32(20) {
		s.seq, s.ts = seq, int64(b.now.UnixMilli())
		last = b.mustAppend(s)
	}
	for _, clean := range []bool{true, false} {
		if clean {
			b.stop(true)
		} else {
			b.crash()
		}
		b.mustOpen()
		if a := b.append(s, 0, OriginClient); !a.Duplicate || a.BaseOffset != last.BaseOffset || a.AppendTimeMs != s.ts {
			t.Fatalf("clean %v: the repeat got %+v", clean, a)
		}
		over := s
		over.seq = 25
		if a := b.append(over, 0, OriginClient); a.Err != kafka.OutOfOrderSequenceNumber {
			t.Fatalf("clean %v: a gap got %v", clean, a.Err)
		}
	}
}

// A producer snapshot of records that a truncation has cut must not come back
// with the power and be taken for one of those that stand in their place.
func TestSnapshotsBehindATruncationStayGone(t *testing.T) {
	memory := vfs.NewMemory()
	b := newBed(t, memory, "/data/t-0").mustOpen()
	s := plain(1, b.now.UnixMilli())
	s.pid, s.pepoch = 7, 0
	for s.seq = range int32(10) {
		b.mustAppend(s)
	}
	b.stop(false)
	syncer, err := memory.OpenSyncer("/data")
	if err != nil {
		t.Fatal(err)
	}
	b.mustOpen() // with a snapshot at 10
	if err := errors.Join(syncer.SyncFS(), b.l.TruncateTo(5)); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		b.mustAppend(plain(1, b.now.UnixMilli()))
	}
	if err := b.l.Flush(); err != nil {
		t.Fatal(err)
	}
	end := b.l.Tail().LogEnd
	b.l.Kill()
	after := newBed(t, memory.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone}), "/data/t-0")
	after.o.RecoveryPoint = end
	after.mustOpen()
	list, err := after.l.Producers()
	if err != nil || len(list) != 1 || list[0].LastSequence != 4 {
		t.Fatalf("producers %v, %v; want the last sequence 4", list, err)
	}
}
