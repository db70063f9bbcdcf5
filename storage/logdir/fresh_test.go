// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

// A partition that nobody has used costs no I/O, whether it is opened, led,
// asked for its offsets, read at its end, stopped or deleted. Its first record
// makes the folder.
func TestAPartitionThatIsNeverUsedTouchesNothing(t *testing.T) {
	memory := vfs.NewMemory()
	fault := vfs.NewFault(memory)
	d := open(t, fault)
	before, tries := names(t, memory), fault.Count(vfs.OpAny)
	var logs []*commitlog.Log
	for i := range 100 {
		log := openLog(t, d, tp("orders", i))
		ok(t, log.StartEpoch(7))
		logs = append(logs, log)
		if tail := log.Tail(); tail != (commitlog.Tail{Epoch: 7}) {
			t.Fatalf("%+v", tail)
		}
		if epoch, err := log.EpochAt(0); epoch != 7 || err != nil {
			t.Fatal(epoch, err)
		}
		if r, err := log.Read(nil, 0, 1000, commitlog.ToHighWatermark, true); err != nil || r.Next != 0 || r.More || r.File.LenBytes != 0 {
			t.Fatal(r, err)
		}
		if found, err := log.OffsetForTime(0); err != nil || found.Offset != kafka.NoOffset {
			t.Fatal(found, err)
		}
	}
	ok(t, d.DeleteLog(logs[99]))
	if n := fault.Count(vfs.OpAny) - tries; n != 0 {
		t.Errorf("%d calls of the file system", n)
	}
	if after := names(t, memory); !slices.Equal(before, after) {
		t.Errorf("%v, before that %v", after, before)
	}
	if len(d.Logs()) != 99 {
		t.Errorf("%d logs", len(d.Logs()))
	}
	appendSome(t, logs[0], 1)
	if all := names(t, memory); !slices.Contains(all, "orders-0") || slices.Contains(all, "orders-1") {
		t.Errorf("after a record in partition 0 there are %v", all)
	}
	ok(t, d.Close(1))

	d = open(t, memory)
	if found := d.Logs(); len(found) != 1 || found[0].TopicID != topicID {
		t.Fatalf("%+v", found)
	}
	log := openLog(t, d, tp("orders", 1)) // named by the manifest, without a folder
	appendSome(t, log, 3)
	if tail := log.Tail(); tail.LogEnd != 3 {
		t.Errorf("%+v", tail)
	}
}

// The epochs of both ends of a log are known after a clean stop without a look
// at its files.
func TestEpochsAreRemembered(t *testing.T) {
	memory := vfs.NewMemory()
	d := open(t, memory)
	log := openLog(t, d, tp("orders", 0))
	for epoch := range kafka.LeaderEpoch(3) {
		ok(t, log.StartEpoch(epoch))
		appendIn(t, log, epoch)
		appendIn(t, log, epoch)
	}
	log.AdvanceHighWatermark(6)
	ok(t, log.AdvanceLogStart(3))
	ok(t, d.Close(1))

	fault := vfs.NewFault(memory)
	d = open(t, fault)
	log = openLog(t, d, tp("orders", 0))
	tries := fault.Count(vfs.OpAny)
	ok(t, log.StartEpoch(9))
	for off, want := range map[kafka.Offset]kafka.LeaderEpoch{3: 1, 6: 9} {
		if epoch, err := log.EpochAt(off); epoch != want || err != nil {
			t.Errorf("epoch %d, %v at %d, want %d", epoch, err, off, want)
		}
	}
	if n := fault.Count(vfs.OpAny) - tries; n != 0 {
		t.Errorf("%d calls of the file system", n)
	}
	use(t, log)
	for off, want := range map[kafka.Offset]kafka.LeaderEpoch{3: 1, 4: 2, 6: 9} {
		if epoch, err := log.EpochAt(off); epoch != want || err != nil {
			t.Errorf("loaded: epoch %d, %v at %d, want %d", epoch, err, off, want)
		}
	}
}

// A folder that somebody removes between a clean stop and the next start is
// missed, once, with what was in it: the log begins anew, and says so. A topic
// that was created again, and a partition that was never used, are not missed.
func TestARemovedFolderIsMissed(t *testing.T) {
	memory := vfs.NewMemory()
	o := options(memory)
	var log *said
	start := func() *Dir {
		t.Helper()
		log = &said{}
		o.Logger = slog.New(slog.NewTextHandler(log, nil))
		d, err := Open(o)
		ok(t, err)
		t.Cleanup(d.Kill)
		return d
	}
	d := start()
	appendSome(t, openLog(t, d, tp("orders", 0)), 5)
	appendSome(t, openLog(t, d, tp("orders", 1)), 1)
	appendSome(t, openLog(t, d, tp("again", 0)), 1)
	appendSome(t, openLog(t, d, tp("deleted", 0)), 1)
	openLog(t, d, tp("unused", 0))
	emptied := openLog(t, d, tp("gone", 0))
	appendSome(t, emptied, 3)
	ok(t, d.DeleteLog(emptied))
	ok(t, d.Close(1))
	for _, folder := range []string{"orders-0", "again-0", "deleted-0"} {
		removeAll(t, memory, "/data/"+folder)
	}

	lost, err := LostSince(o)
	ok(t, err)
	var all []string
	for _, l := range lost {
		all = append(all, fmt.Sprint(l.Folder, " ", l.LogEnd))
	}
	if want := []string{"/data/again-0 1", "/data/deleted-0 1", "/data/orders-0 5"}; !slices.Equal(all, want) {
		t.Errorf("lost are %q, want %q", all, want)
	}
	d = start()
	for _, p := range []kafka.TopicPartition{tp("orders", 1), tp("unused", 0), tp("gone", 0)} {
		openLog(t, d, p)
	}
	if _, err := d.OpenLog(tp("again", 0), kafka.TopicID{7}, commitlog.Config{}); err != nil || strings.Contains(log.String(), "ERROR") {
		t.Errorf("%v, said %s", err, log)
	}
	anew := openLog(t, d, tp("orders", 0))
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "partition=orders-0 dir=/data lost_log_end=5") {
		t.Errorf("said %s", text)
	}
	if end := anew.Tail().LogEnd; end != 0 {
		t.Errorf("the log ends at %d", end)
	}
	ok(t, d.Close(2))
	d = start()
	openLog(t, d, tp("orders", 0))
	if strings.Contains(log.String(), "ERROR") {
		t.Errorf("said again: %s", log)
	}
	ok(t, d.Close(3))
	if lost, err := LostSince(o); err != nil || len(lost) > 0 {
		t.Errorf("lost are %v, %v", lost, err)
	}
}

func removeAll(t *testing.T, fsys vfs.FS, folder string) {
	t.Helper()
	infos, err := fsys.ReadDir(folder)
	ok(t, err)
	for _, i := range infos {
		ok(t, fsys.Remove(folder+"/"+i.Name))
	}
	ok(t, fsys.Remove(folder))
}

// A topic that is deleted while its partition is used for the first time leaves
// the name free for the next.
func TestFirstUseMeetsDeletion(t *testing.T) {
	for range 200 {
		memory := vfs.NewMemory()
		d := open(t, memory)
		log := openLog(t, d, tp("orders", 0))
		var reader sync.WaitGroup
		reader.Go(func() {
			if _, err := log.Segments(); err != nil && !errors.Is(err, commitlog.ErrClosed) {
				t.Error(err)
			}
		})
		ok(t, d.DeleteLog(log))
		reader.Wait()
		if slices.Contains(names(t, memory), "orders-0") {
			t.Fatal("the folder is there")
		}
		next, err := d.OpenLog(tp("orders", 0), kafka.TopicID{1}, commitlog.Config{})
		ok(t, err)
		use(t, next)
		d.Kill()
	}
}
