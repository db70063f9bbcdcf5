// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/retention"
)

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
