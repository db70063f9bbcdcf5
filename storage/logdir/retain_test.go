// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/retention"
)

var nothingStays = retention.Rules{Delete: true, Ms: -1, Bytes: 0}

// retainNothing deletes what a log holds.
func retainNothing(t *testing.T, log *commitlog.Log) {
	t.Helper()
	if _, _, err := log.Retain(nothingStays); err != nil {
		t.Fatal(err)
	}
}

func deletedFiles(t *testing.T, fsys vfs.FS, folder string) (n int) {
	t.Helper()
	infos, err := fsys.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if strings.HasSuffix(i.Name, ".deleted") {
			n++
		}
	}
	return n
}

// Deleted segments go after the delay of their topic, folders after that of
// the directory, in the order in which they are due.
func TestDelaysOfTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMemory()
		d := open(t, fsys)
		logs := map[string]*commitlog.Log{}
		for topic, delayMs := range map[string]int64{"directory": 0, "now": -1, "long": 300_000, "short": 1000} {
			log, err := d.OpenLog(tp(topic, 0), topicID, commitlog.Config{FileDeleteDelayMs: delayMs})
			ok(t, err)
			appendSome(t, log, 3)
			logs[topic] = log
		}
		for _, topic := range []string{"long", "directory", "short", "now"} {
			retainNothing(t, logs[topic])
		}
		left := func() string {
			synctest.Wait()
			var all []string
			for _, topic := range []string{"directory", "long", "now", "short"} {
				if deletedFiles(t, fsys, "/data/"+topic+"-0") > 0 {
					all = append(all, topic)
				}
			}
			return strings.Join(all, " ")
		}
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{time.Millisecond, "directory long short"}, {time.Second, "directory long"}, {time.Minute, "long"}, {4 * time.Minute, ""}} {
			time.Sleep(step.wait)
			if got := left(); got != step.want {
				t.Errorf("after another %v: %q, want %q", step.wait, got, step.want)
			}
		}
		if n := d.DeletesPending(); n != 0 {
			t.Errorf("%d wait", n)
		}
		if all := d.Dropped(); all[retention.Size].Segments != 4 || all[retention.Size].Bytes < 12*60 || all[retention.Time].Segments != 0 {
			t.Errorf("%+v", all)
		}
		d.Kill()
	})
}

// The next start does not look into the folders of logs that nobody uses, so a
// stop leaves no deleted file there, or else no hint that nobody need look.
func TestStopRemovesDeletedFiles(t *testing.T) {
	for _, broken := range []bool{false, true} {
		fault := vfs.NewFault(vfs.NewMemory())
		d := open(t, fault)
		log := openLog(t, d, tp("orders", 0))
		appendSome(t, log, 3)
		retainNothing(t, log)
		if d.DeletesPending() == 0 || deletedFiles(t, fault, "/data/orders-0") == 0 {
			t.Fatal("nothing waits")
		}
		if broken {
			fault.Add(vfs.Rule{Ops: vfs.OpRemove, Path: ".index.deleted", Err: syscall.EBUSY})
		}
		ok(t, d.Close(1))
		fault.Clear()
		if n := deletedFiles(t, fault, "/data/orders-0"); (n > 0) != broken {
			t.Errorf("%d deleted files", n)
		}
		d = open(t, fault)
		log = openLog(t, d, tp("orders", 0))
		if tail := log.Tail(); tail.LogStart != 3 || tail.LogEnd != 3 {
			t.Errorf("%+v", tail)
		}
		if n := deletedFiles(t, fault, "/data/orders-0"); n > 0 {
			t.Errorf("%d deleted files after a start", n)
		}
		d.Kill()
	}
}

// A segment that went to the end of what the disk can do keeps its name for
// the next start, which goes on with it although nobody uses the log.
func TestStopWithSegmentsThatCouldNotGo(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory())
	d := open(t, fault)
	log, err := d.OpenLog(tp("orders", 0), topicID, commitlog.Config{SegmentBytes: 100})
	ok(t, err)
	appendSome(t, log, 4)
	fault.Add(vfs.Rule{Ops: vfs.OpRename, Path: "00000000000000000001.log", Err: syscall.ENOSPC})
	if _, _, err := log.Retain(retention.Rules{Delete: true, Ms: -1, Bytes: 1}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	ok(t, d.Close(1))
	fault.Clear()
	d = open(t, fault)
	defer d.Kill()
	log, err = d.OpenLog(tp("orders", 0), topicID, commitlog.Config{SegmentBytes: 100})
	ok(t, err)
	forever := retention.Rules{Delete: true, Ms: -1, Bytes: -1}
	if tail := log.Tail(); tail.LogStart != 3 || tail.LogEnd != 4 || !log.RetentionDue(forever, time.Now().UnixMilli()) {
		t.Fatalf("%+v", tail)
	}
	if plan, _, err := log.Retain(forever); err != nil || plan.Segments[retention.LogStart] != 2 {
		t.Errorf("%+v, %v", plan, err)
	}
	if segments, err := log.Segments(); err != nil || len(segments) != 1 || segments[0].Base != 3 {
		t.Errorf("%+v, %v", segments, err)
	}
}

// A removal that fails is tried again, of files and of folders.
func TestRemovalThatFailedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := vfs.NewMemory()
		fault := vfs.NewFault(memory)
		d := open(t, fault)
		kept, gone := openLog(t, d, tp("kept", 0)), openLog(t, d, tp("gone", 0))
		appendSome(t, kept, 3)
		appendSome(t, gone, 3)
		retainNothing(t, kept)
		ok(t, d.DeleteLog(gone))
		pending := d.DeletesPending()
		fault.Add(vfs.Rule{Ops: vfs.OpRemove, Err: syscall.EMFILE, Times: pending})
		time.Sleep(2*time.Minute - time.Second)
		synctest.Wait()
		if n := d.DeletesPending(); n != pending {
			t.Errorf("%d wait, of %d that failed", n, pending)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := deletedFiles(t, memory, "/data/kept-0"); n != 0 || d.DeletesPending() != 0 {
			t.Errorf("%d files are left, %d wait", n, d.DeletesPending())
		}
		for _, name := range names(t, memory) {
			if strings.HasPrefix(name, "gone-0") {
				t.Errorf("%s is left", name)
			}
		}
		ok(t, d.Close(1))
	})
}
