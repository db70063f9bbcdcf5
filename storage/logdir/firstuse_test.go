// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

// firstUse reads a log whose every file operation takes a second, and calls end
// after so many half seconds of it; false when the reader was quicker.
func firstUse(t *testing.T, slow *vfs.Fault, log *commitlog.Log, halves int, end func()) bool {
	t.Helper()
	slow.Add(vfs.Rule{Ops: vfs.OpAny, Path: "/orders-0", Delay: time.Second})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := log.Segments(); err != nil && !errors.Is(err, commitlog.ErrClosed) {
			t.Errorf("after %d half seconds: the reader: %v", halves, err)
		}
	}()
	time.Sleep(time.Duration(halves) * time.Second / 2)
	synctest.Wait()
	select {
	case <-done:
		return false
	default:
	}
	end()
	<-done
	slow.Clear()
	return true
}

// ages are logs that are loaded by their first use: of a new topic, of a clean
// start, and of one that was used and stopped without a record.
func ages(t *testing.T, f func(t *testing.T, fresh func() vfs.FS)) {
	for name, before := range map[string]func(*Dir){
		"new":   func(*Dir) {},
		"empty": func(d *Dir) { use(t, openLog(t, d, tp("orders", 0))) },
		"full":  func(d *Dir) { appendSome(t, openLog(t, d, tp("orders", 0)), 5) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f(t, func() vfs.FS {
					memory := vfs.NewMemory()
					d := open(t, memory)
					before(d)
					ok(t, d.Close(1))
					return memory
				})
			})
		})
	}
}

// A topic that is deleted while a reader loads its log leaves the name free for
// the next, and the directory in peace.
func TestDeletionMeetsFirstUse(t *testing.T) {
	ages(t, func(t *testing.T, fresh func() vfs.FS) {
		halves := 0
		for met := true; met; halves++ {
			fsys := fresh()
			slow := vfs.NewFault(fsys)
			d := open(t, slow)
			log := openLog(t, d, tp("orders", 0))
			met = firstUse(t, slow, log, halves, func() { ok(t, d.DeleteLog(log)) })
			if !met {
				ok(t, d.DeleteLog(log))
			}
			if err := d.Offline(); err != nil {
				t.Fatalf("after %d half seconds: %v", halves, err)
			}
			if slices.Contains(names(t, fsys), "orders-0") {
				t.Fatalf("after %d half seconds: the folder is there", halves)
			}
			next, err := d.OpenLog(tp("orders", 0), kafka.TopicID{1}, commitlog.Config{})
			ok(t, err)
			use(t, next)
			ok(t, d.Close(1))
		}
		if halves < 3 {
			t.Errorf("%d moments", halves)
		}
	})
}

// A clean stop waits for a reader that loads a log: nothing is written behind
// the marker of the stop, and the next start finds what was there.
func TestStopMeetsFirstUse(t *testing.T) {
	ages(t, func(t *testing.T, fresh func() vfs.FS) {
		halves := 0
		for met := true; met; halves++ {
			fsys := fresh()
			slow := vfs.NewFault(fsys)
			d := open(t, slow)
			log := openLog(t, d, tp("orders", 0))
			end := log.Tail().LogEnd
			calls := int64(0)
			met = firstUse(t, slow, log, halves, func() {
				ok(t, d.Close(1))
				calls = slow.Count(vfs.OpAny)
			})
			if !met {
				ok(t, d.Close(1))
			} else if now := slow.Count(vfs.OpAny); now != calls {
				t.Errorf("after %d half seconds: %d calls behind the stop", halves, now-calls)
			}
			if err := d.Offline(); err != nil {
				t.Fatalf("after %d half seconds: %v", halves, err)
			}
			d = open(t, fsys)
			if now := openLog(t, d, tp("orders", 0)).Tail().LogEnd; now != end {
				t.Errorf("after %d half seconds: the log ended at %d, and ends at %d", halves, end, now)
			}
			ok(t, d.Close(2))
		}
		if halves < 3 {
			t.Errorf("%d moments", halves)
		}
	})
}
