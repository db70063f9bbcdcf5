// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/retention"
)

func byTime(ms int64) retention.Rules  { return retention.Rules{Delete: true, Ms: ms, Bytes: -1} }
func bySize(max int64) retention.Rules { return retention.Rules{Delete: true, Ms: -1, Bytes: max} }

// filled is a log of one-record segments with these timestamps, counted from
// the bed's time, all of them committed.
func filled(b *bed, agesMs ...int64) {
	b.t.Helper()
	b.o.Config.SegmentBytes = 100
	b.mustOpen()
	for _, age := range agesMs {
		b.mustAppend(plain(1, b.now.UnixMilli()-age))
	}
	b.l.AdvanceHighWatermark(kafka.Offset(len(agesMs)))
}

func (b *bed) retain(r retention.Rules) retention.Plan {
	b.t.Helper()
	due := b.l.RetentionDue(r, b.now.UnixMilli())
	plan, _, err := b.l.Retain(r)
	if err != nil {
		b.t.Fatal(err)
	}
	if plan.Count() > 0 && !due {
		b.t.Fatalf("%+v was not due", plan)
	}
	return plan
}

func (b *bed) holds(start, end kafka.Offset) {
	b.t.Helper()
	if tail := b.l.Tail(); tail.LogStart != start || tail.LocalLogStart != start || tail.LogEnd != end {
		b.t.Fatalf("holds %d (%d) to %d, want %d to %d", tail.LogStart, tail.LocalLogStart, tail.LogEnd, start, end)
	}
	if list, err := b.readAll(start, 1<<20, ToLogEnd); err != nil || len(list) != int(end-start) {
		b.t.Fatalf("%d records from %d, %v", len(list), start, err)
	}
	if start > 0 {
		if _, err := b.readAll(start-1, 1<<20, ToLogEnd); !errors.Is(err, kafka.OffsetOutOfRange) {
			b.t.Fatalf("read below the log start: %v", err)
		}
	}
}

func (b *bed) names() []string {
	infos, err := b.fs.ReadDir(b.o.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	var list []string
	for _, i := range infos {
		list = append(list, i.Name)
	}
	slices.Sort(list)
	return list
}

// A segment goes when its newest record is too old, in the order of offsets
// and not of timestamps.
func TestRetentionByTime(t *testing.T) {
	b := memoryBed(t)
	filled(b, 5000, 9000, 1000, 8000, 7000, 500)
	if plan := b.retain(byTime(-1)); plan.Count() != 0 {
		t.Fatalf("%+v", plan)
	}
	if plan := b.retain(byTime(4000)); plan.Segments != [retention.Reasons]int{retention.Time: 2} || plan.Start != 2 {
		t.Fatalf("%+v", plan)
	}
	b.holds(2, 6)
	b.crash()
	b.mustOpen()
	b.holds(2, 6)
	b.l.AdvanceHighWatermark(6)
	b.now = b.now.Add(3001 * time.Millisecond)
	b.retain(byTime(4000)) // the third, and what it held up
	b.holds(5, 6)
	b.now = b.now.Add(-time.Hour)
	if plan := b.retain(byTime(4000)); plan.Count() != 0 {
		t.Fatalf("the clock went back: %+v", plan)
	}
	b.now = b.now.Add(2 * time.Hour)
	if plan := b.retain(byTime(4000)); !plan.Roll {
		t.Fatalf("%+v", plan)
	}
	b.holds(6, 6)
	b.crash()
	b.mustOpen()
	b.holds(6, 6)
	if a := b.mustAppend(plain(1, b.now.UnixMilli())); a.BaseOffset != 6 || a.LogStart != 6 {
		t.Fatalf("%+v", a)
	}
	if plan := b.retain(bySize(0)); plan.Count() != 0 {
		t.Fatalf("what is not committed goes: %+v", plan)
	}
}

// What a clean stop remembers tells whether something is due; only then is the
// log loaded.
func TestRetentionOfALogThatNobodyOpens(t *testing.T) {
	for name, c := range map[string]struct {
		rules, later retention.Rules
		wait         time.Duration
		start        kafka.Offset
	}{
		"time":          {byTime(10_000), byTime(10_000), 9001 * time.Millisecond, 3},
		"shorter time":  {byTime(10_000), byTime(1500), 0, 2},
		"size":          {bySize(300), bySize(0), 0, 3},
		"size, in part": {bySize(300), bySize(100), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			memory := vfs.NewMemory()
			b := newBed(t, memory, "/data/t-0")
			filled(b, 3000, 2000, 1000)
			b.stop(true)
			fault := vfs.NewFault(memory)
			b.fs, b.o.FS = fault, fault
			b.mustOpen()
			for range 3 {
				if b.l.RetentionDue(c.rules, b.now.UnixMilli()) {
					t.Fatal("due")
				}
			}
			if n := fault.Count(vfs.OpAny); n != 0 || b.l.isLoaded() {
				t.Fatalf("looking made %d calls", n)
			}
			// A stop without a use keeps what is known.
			b.stop(true)
			b.mustOpen()
			b.now = b.now.Add(c.wait)
			if !b.l.RetentionDue(c.later, b.now.UnixMilli()) {
				t.Fatal("not due")
			}
			b.retain(c.later)
			b.holds(c.start, 3)
		})
	}
}

// Segments that were not looked at since the start are judged by their time
// index, whose reading the next pass does not repeat.
func TestRetentionReadsTimestampsOnce(t *testing.T) {
	memory := vfs.NewMemory()
	b := newBed(t, memory, "/data/t-0")
	filled(b, 3000, 2000, 1000, 0)
	b.stop(false)
	fault := vfs.NewFault(memory)
	b.fs, b.o.FS = fault, fault
	b.mustOpen()
	if !b.l.RetentionDue(byTime(4000), b.now.UnixMilli()) {
		t.Fatal("a segment that was not read is not looked at")
	}
	b.retain(byTime(4000))
	before := fault.Count(vfs.OpAny)
	if b.l.RetentionDue(byTime(4000), b.now.UnixMilli()) {
		t.Fatal("due once more")
	}
	b.retain(byTime(4000))
	if n := fault.Count(vfs.OpAny) - before; n != 0 {
		t.Errorf("%d calls of the file system", n)
	}
	b.now = b.now.Add(2500 * time.Millisecond)
	b.retain(byTime(4000))
	b.holds(2, 4)
}

// Readers that look for a time read the same timestamps at the same time.
func TestRetentionBesideLookUps(t *testing.T) {
	for range 20 {
		b := memoryBed(t)
		filled(b, 6000, 5000, 4000, 3000, 2000, 1000)
		b.stop(false)
		b.mustOpen()
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for range 20 {
					if _, err := b.l.OffsetForTime(b.now.UnixMilli() - 1500); err != nil {
						t.Error(err)
					}
				}
			})
		}
		b.retain(byTime(4500))
		b.retain(byTime(3500))
		readers.Wait()
		b.holds(3, 6)
	}
}

// Records without a timestamp go by the time at which their segment was last
// written.
func TestRetentionWithoutTimestamps(t *testing.T) {
	b := memoryBed(t)
	b.o.Config.SegmentBytes = 100
	b.mustOpen()
	for range 3 {
		b.mustAppend(plain(1, -1))
	}
	b.l.AdvanceHighWatermark(3)
	info, err := b.fs.Stat(b.l.path(2, ".log"))
	if err != nil {
		t.Fatal(err)
	}
	b.now = time.Unix(0, info.ModTimeNano).Add(9 * time.Second)
	if plan := b.retain(byTime(10_000)); plan.Count() != 0 {
		t.Fatalf("%+v", plan)
	}
	b.stop(true)
	b.mustOpen()
	if b.l.RetentionDue(byTime(10_000), b.now.UnixMilli()) {
		t.Fatal("due after a restart")
	}
	b.now = b.now.Add(2 * time.Second)
	b.retain(byTime(10_000))
	b.holds(3, 3)
}

// Whoever reads a segment reads on when it is deleted under them.
func TestReaderOfADeletedSegment(t *testing.T) {
	b := memoryBed(t)
	filled(b, 3000, 2000, 1000)
	r, err := b.l.Read(nil, 0, 1000, ToHighWatermark, true)
	if err != nil || r.File.LenBytes == 0 {
		t.Fatal(r, err)
	}
	var cursor Cursor
	if r, err := b.l.Read(&cursor, 0, 10, ToHighWatermark, true); err != nil {
		t.Fatal(err)
	} else {
		r.File.Src.Release()
	}
	b.retain(byTime(500))
	p := make([]byte, r.File.LenBytes)
	if n, err := r.File.Src.ReadAt(p, r.File.PosBytes); n != len(p) {
		t.Errorf("%d bytes, %v", n, err)
	}
	r.File.Src.Release()
	if _, err := b.l.Read(&cursor, 1, 1000, ToHighWatermark, true); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("a cursor into a deleted segment: %v", err)
	}
	b.holds(3, 3)
}

// Leader epochs and producers are those of what is left.
func TestRetentionTrimsEpochsAndSnapshots(t *testing.T) {
	b := memoryBed(t)
	b.o.Config.SegmentBytes = 100
	b.mustOpen()
	for i := range 6 {
		epoch := kafka.LeaderEpoch(i / 2)
		s := plain(1, b.now.UnixMilli()-int64(6-i)*1000)
		s.pid, s.pepoch, s.seq = kafka.ProducerID(i), 0, 0
		if a := b.append(s, epoch, OriginClient); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b.l.AdvanceHighWatermark(6)
	b.retain(byTime(3500))
	b.holds(3, 6)
	if got, want := fmt.Sprint(b.l.pub.epochs), "[{1 3} {2 4}]"; got != want {
		t.Errorf("epochs %s, want %s", got, want)
	}
	for range 2 {
		var snapshots []string
		for _, name := range b.names() {
			if strings.HasSuffix(name, ".snapshot") {
				snapshots = append(snapshots, name)
			}
		}
		if len(snapshots) < 3 || snapshots[0] != "00000000000000000003.snapshot" {
			t.Errorf("snapshots %v", snapshots)
		}
		if list, err := b.l.Producers(); err != nil || len(list) != 6 {
			t.Errorf("%v, %v: a producer whose records are gone still repeats them", list, err)
		}
		b.stop(false)
		b.mustOpen()
	}
	b.l.AdvanceHighWatermark(6)
	b.retain(byTime(0))
	b.holds(6, 6)
	b.crash()
	b.mustOpen()
	if list, err := b.l.Producers(); err != nil || len(list) != 6 {
		t.Errorf("%v, %v after the log became empty", list, err)
	}
}

// Many segments leave the log at once, and their files a few at a time, so that
// appends need not wait for all of them. Nothing may come between them and a new
// segment of the same name.
func TestRetentionOfManySegments(t *testing.T) {
	ages := make([]int64, 5*renamesMax/2)
	for i := range ages {
		ages[i] = 9000
	}
	end := kafka.Offset(len(ages))
	logs := func(b *bed) (n int) {
		for _, name := range b.names() {
			if strings.HasSuffix(name, ".log") {
				n++
			}
		}
		return n
	}
	for _, then := range []string{"go on", "crash", "stop", "truncate"} {
		t.Run(then, func(t *testing.T) {
			b := memoryBed(t)
			filled(b, ages...)
			plan, more, err := b.l.Retain(byTime(5000))
			if err != nil || !more || plan.Count() != len(ages) || logs(b) != len(ages)-renamesMax+1 {
				t.Fatal(plan, more, err, logs(b))
			}
			b.holds(end, end)
			switch then {
			case "go on":
				b.mustAppend(plain(1, b.now.UnixMilli()))
				rounds := 0
				for ; more; rounds++ {
					if !b.l.RetentionDue(retention.Rules{}, b.now.UnixMilli()) {
						t.Fatal("what is left over is not due")
					}
					if plan, more, err = b.l.Retain(byTime(5000)); err != nil || plan.Count() != 0 {
						t.Fatal(plan, err)
					}
				}
				if b.holds(end, end+1); rounds != 2 || logs(b) != 1 {
					t.Errorf("%d rounds, %d log files", rounds, logs(b))
				}
			case "crash":
				b.crash()
				b.mustOpen()
				b.holds(end, end)
				b.l.AdvanceHighWatermark(end)
				b.retain(byTime(5000))
				b.holds(end, end)
			case "stop":
				b.stop(true)
				if logs(b) != 1 {
					t.Errorf("%d log files", logs(b))
				}
			case "truncate":
				base := kafka.Offset(renamesMax + 3)
				if err := b.l.TruncateFullyAndStartAt(base); err != nil {
					t.Fatal(err)
				}
				b.mustAppend(plain(1, b.now.UnixMilli()))
				b.retain(byTime(5000))
				b.holds(base, base+1)
				b.crash()
				b.mustOpen()
				b.holds(base, base+1)
			}
		})
	}
}

// A record of the future holds its segment, and is told once.
func TestRetentionOfTheFuture(t *testing.T) {
	b := memoryBed(t)
	filled(b, -2*3600_000, 9000, 1000)
	for range 3 {
		if b.l.RetentionDue(byTime(1000), b.now.UnixMilli()) {
			t.Fatal("due")
		}
	}
	if b.l.pub.futureMs == 0 {
		t.Error("it was not told")
	}
	b.now = b.now.Add(2*time.Hour + 1001*time.Millisecond)
	b.retain(byTime(1000))
	b.holds(3, 3)
}

// Time does not wait for open transactions: those whose beginning is gone hold
// the last stable offset at the log start, over restarts too, until they end.
func TestRetentionOfAnOpenTransaction(t *testing.T) {
	b := memoryBed(t)
	b.o.Config.SegmentBytes = 100
	b.mustOpen()
	for i := range int32(5) {
		s := inTxn(i)
		s.ts = b.now.UnixMilli() - int64(5-i)*1000
		b.mustAppend(s)
	}
	b.l.AdvanceHighWatermark(5)
	b.retain(byTime(2500))
	for _, end := range []string{"", "crash", "stop", "hinted stop"} {
		switch end {
		case "crash":
			b.crash()
			b.mustOpen()
		case "stop", "hinted stop":
			b.stop(end == "hinted stop")
			b.mustOpen()
		}
		b.l.AdvanceHighWatermark(5)
		if tail := b.l.Tail(); tail.LastStable != 3 {
			t.Errorf("%s: %+v", end, tail)
		}
		b.holds(3, 5)
		if list, err := b.readAll(3, 1<<20, ToLastStable); err != nil || len(list) != 0 {
			t.Errorf("%s: %d batches of an open transaction, %v", end, len(list), err)
		}
	}
	if a := b.append(spec{n: 1, ts: b.now.UnixMilli(), pid: 7, marker: "abort", seq: -1}, 0, OriginCoordinator); a.Err != nil {
		t.Fatal(a.Err)
	}
	b.l.AdvanceHighWatermark(6)
	r, err := b.l.Read(nil, 3, 1<<20, ToLastStable, true)
	if err != nil || len(r.Aborted) != 1 || r.Aborted[0].ProducerID != 7 || r.Tail.LastStable != 6 {
		t.Fatalf("%+v, %v", r, err)
	}
	r.File.Src.Release()
	b.retain(byTime(0))
	b.now = b.now.Add(time.Millisecond)
	b.retain(byTime(0))
	b.holds(6, 6)
	if tail := b.l.Tail(); tail.LastStable != 6 {
		t.Errorf("%+v", tail)
	}
}

func BenchmarkRetentionThatIsNotDue(bench *testing.B) {
	b := memoryBed(bench)
	filled(b, 3000, 2000, 1000)
	nowMs := b.now.UnixMilli()
	bench.ReportAllocs()
	for bench.Loop() {
		if b.l.RetentionDue(byTime(7*24*3600*1000), nowMs) {
			bench.Fatal("due")
		}
	}
}
