// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// Damage is no reason to keep a segment for ever, and those behind it.
func TestRetentionOfADamagedSegment(t *testing.T) {
	memory := vfs.NewMemory()
	b := newBed(t, memory, "/data/t-0")
	filled(b, 9000, 9000, 1000)
	b.stop(false)
	for _, suffix := range []string{".log", ".timeindex"} {
		f, err := memory.Open(b.o.Dir+"/00000000000000000001"+suffix, vfs.ReadWrite, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0xff, 0xff, 0xff}, 0); err != nil {
			t.Fatal(err)
		}
		if suffix == ".timeindex" {
			err = f.Truncate(5)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	b.mustOpen()
	b.now = time.Now().Add(time.Hour) // of the clock that the file has its time from
	b.retain(byTime(5000))
	b.holds(3, 3)
}

// The names are free at once, the files go later; a start in between removes
// them, and brings nothing back.
func TestRestartBetweenRenameAndRemoval(t *testing.T) {
	for _, clean := range []bool{false, true} {
		b := memoryBed(t)
		type later struct {
			path  string
			delay time.Duration
		}
		var doomed []later
		b.o.DeleteLater = func(path string, delay time.Duration) { doomed = append(doomed, later{path, delay}) }
		b.o.Config.FileDeleteDelayMs = 1234
		filled(b, 3000, 2000, 1000)
		b.retain(byTime(1500))
		for _, d := range doomed {
			if d.delay != 1234*time.Millisecond || !strings.HasSuffix(d.path, ".deleted") {
				t.Errorf("%+v", d)
			}
			if _, err := b.fs.Stat(d.path); err != nil {
				t.Error(err)
			}
		}
		// The snapshot of the first segment was never made; the second has one.
		if len(doomed) != 2*3+1 {
			t.Errorf("%d files: %v", len(doomed), doomed)
		}
		if clean {
			b.stop(false)
		} else {
			b.crash()
		}
		b.mustOpen()
		b.holds(2, 3)
		for _, name := range b.names() {
			if strings.HasSuffix(name, ".deleted") {
				t.Errorf("%s is still there", name)
			}
		}
	}
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

// A full disk stops neither the deletion of the only segment, whatever
// preallocate asks for, nor the next try of one that failed.
func TestRetentionOnAFullDisk(t *testing.T) {
	b, fault := faultyBed(t)
	filled(b, 3000)
	config := b.o.Config
	config.Preallocate = true
	b.l.Configure(config)
	fault.SetBudget(0)
	fault.Add(vfs.Rule{Ops: vfs.OpPreallocate, Err: syscall.ENOSPC})
	b.retain(byTime(1000))
	b.holds(1, 1)
	fault.Clear()
	b.mustAppend(plain(1, b.now.UnixMilli()))
	b.l.AdvanceHighWatermark(2)
	b.holds(1, 2)
}

// Renames that fail for want of room leave no hole: what could not be renamed
// goes with the next pass, before anything behind it.
func TestRetentionIsTriedAgain(t *testing.T) {
	for _, end := range []string{"retry", "crash", "stop", "hinted stop"} {
		t.Run(end, func(t *testing.T) {
			b, fault := faultyBed(t)
			filled(b, 9000, 8000, 7000, 6000, 1000)
			fault.Add(vfs.Rule{Ops: vfs.OpRename, Path: "00000000000000000001.log", Err: syscall.ENOSPC})
			plan, _, err := b.l.Retain(byTime(5000))
			if plan.Count() != 4 || !errors.Is(err, syscall.ENOSPC) || len(b.failed) != 0 {
				t.Fatal(plan, err, b.failed)
			}
			b.holds(4, 5)
			if names := b.names(); !slices.Contains(names, "00000000000000000002.log") || slices.Contains(names, "00000000000000000000.log") {
				t.Fatalf("%v", names)
			}
			if !b.l.RetentionDue(byTime(5000), b.now.UnixMilli()) {
				t.Fatal("what is left over is not due")
			}
			switch end {
			case "retry":
				fault.Clear()
				b.retain(byTime(5000))
			case "crash": // before any checkpoint
				b.crash()
				b.o.LogStart, b.o.RecoveryPoint = 0, 0
				fault.Clear()
				b.mustOpen()
				b.holds(1, 5)
				b.l.AdvanceHighWatermark(5)
				b.retain(byTime(5000))
			default:
				b.stop(end == "hinted stop")
				fault.Clear()
				b.mustOpen()
				b.retain(byTime(5000))
			}
			b.holds(4, 5)
			if names := b.names(); slices.Contains(names, "00000000000000000002.log") {
				t.Errorf("%v", names)
			}
		})
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

// Whichever call fails during retention or DeleteRecords: what is there is the
// end of the log, at once and after a restart that knows of no log start, and
// what was to go goes in the end. EIO is final; want of room passes.
func TestRetentionWithEachCallFailing(t *testing.T) {
	rules := map[kafka.Offset]retention.Rules{4: byTime(5000), 5: byTime(0)} // the first offset that stays
	for want, rule := range rules {
		for _, fails := range []error{syscall.EIO, syscall.ENOSPC} {
			for _, deletes := range []bool{false, true} {
				calls := 0
				for n := 0; ; n++ {
					b, fault := faultyBed(t)
					filled(b, 9000, 8000, 7000, 6000, 1000)
					before := fault.Count(vfs.OpAny)
					fault.Add(vfs.Rule{Ops: vfs.OpAny, Skip: n, Times: 1, Err: fails})
					if deletes {
						_ = b.l.DeleteRecords(want)
					} else {
						_, _, _ = b.l.Retain(rule)
					}
					calls = max(calls, int(fault.Count(vfs.OpAny)-before))
					fault.Clear()
					final := errors.Is(fails, syscall.EIO)
					if len(b.failed) > 1 || len(b.failed) == 1 && !final {
						t.Fatalf("call %d, %v: failed %v", n, fails, b.failed)
					}
					if failed := len(b.failed) == 1; failed && b.l.RetentionDue(rule, b.now.UnixMilli()) {
						t.Fatal("a log that failed is due")
					} else if !failed && n%2 == 0 {
						b.retain(rule)
						b.holds(want, 5)
					}
					b.holds(b.l.Tail().LogStart, 5)
					b.crash()
					b.o.LogStart, b.o.RecoveryPoint = 0, 0
					b.mustOpen()
					b.holds(b.l.Tail().LogStart, 5)
					b.l.AdvanceHighWatermark(5)
					b.retain(rule)
					b.holds(want, 5)
					if n > calls {
						break
					}
				}
				if calls < 10 {
					t.Errorf("only %d calls were made to fail", calls)
				}
			}
		}
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

// What cannot be read ends no directory: a producer snapshot is made again from
// the log, and where that cannot be read either its segments stay.
func TestRetentionOverUnreadableFiles(t *testing.T) {
	for _, c := range []struct {
		name  string
		paths []string
		stays bool
	}{
		{"the snapshot", []string{".snapshot"}, false},
		{"the snapshot and the log", []string{".snapshot", ".log"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, fault := faultyBed(t)
			b.o.Config.SegmentBytes = 100
			b.mustOpen()
			for seq := range int32(3) {
				b.mustAppend(spec{n: 1, ts: b.now.UnixMilli() - 5000, size: 10, pid: 7, seq: seq})
			}
			b.l.AdvanceHighWatermark(3)
			for _, path := range c.paths {
				fault.Add(vfs.Rule{Ops: vfs.OpRead, Path: path, Err: syscall.EIO})
			}
			plan, _, err := b.l.Retain(bySize(100))
			if stays := plan.Count() == 0; stays != c.stays || stays != errors.Is(err, kafka.KafkaStorageError) || len(b.failed) > 0 {
				t.Fatalf("%+v, %v; failed %v", plan, err, b.failed)
			}
			fault.Clear()
			if a := b.append(spec{n: 1, ts: b.now.UnixMilli(), size: 10, pid: 7, seq: 3}, 0, OriginClient); a.Err != nil {
				t.Fatal(a.Err)
			}
			b.retain(bySize(100))
			b.crash()
			b.mustOpen()
			if list, err := b.l.Producers(); err != nil || len(list) != 1 || list[0].LastSequence != 3 {
				t.Fatalf("%+v, %v", list, err)
			}
		})
	}
}
