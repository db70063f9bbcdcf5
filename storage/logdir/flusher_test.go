// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

func TestCheckpointsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := vfs.NewMemory()
		fsys := vfs.NewFault(memory)
		d := open(t, fsys)
		log := openLog(t, d, tp("orders", 0))
		appendSome(t, log, 2)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := read(t, fsys, highWatermarkFile); got != "0\n1\norders 0 2\n" {
			t.Fatalf("%q", got)
		}
		if tail := log.Tail(); tail.Flushed != 0 {
			t.Fatalf("flushed before its time: %+v", tail)
		}
		time.Sleep(55 * time.Second)
		synctest.Wait()
		if got := read(t, fsys, recoveryPointFile); got != "0\n1\norders 0 2\n" {
			t.Fatalf("%q", got)
		}
		if tail := log.Tail(); tail.Flushed != 2 {
			t.Fatalf("the log was not told: %+v", tail)
		}
		// An idle directory writes nothing.
		before := fsys.Count(vfs.OpChanges | vfs.OpSyncs)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := fsys.Count(vfs.OpChanges|vfs.OpSyncs) - before; n != 0 {
			t.Fatalf("%d changes while idle", n)
		}
		d.Kill()
	})
}

func TestFlushByVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMemory()
		o := options(fsys)
		o.FlushBytes = 1000
		d, err := Open(o)
		ok(t, err)
		defer d.Kill()
		log := openLog(t, d, tp("orders", 0))
		appendSome(t, log, 3)
		synctest.Wait()
		if tail := log.Tail(); tail.Flushed != 0 {
			t.Fatalf("flushed after %d bytes: %+v", tail.SizeBytes, tail)
		}
		ok(t, appendTo(log, strings.Repeat("x", 1000)))
		synctest.Wait()
		if tail := log.Tail(); tail.Flushed != 4 {
			t.Fatalf("not flushed after %d bytes: %+v", tail.SizeBytes, tail)
		}
	})
}

func TestFailedFlushTakesTheDirectoryOffline(t *testing.T) {
	memory := vfs.NewMemory()
	fsys := vfs.NewFault(memory)
	d := open(t, fsys)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 2)
	ok(t, d.Offline())
	fsys.Add(vfs.Rule{Ops: vfs.OpSyncFS, Times: 1, Err: syscall.EIO})
	if err := d.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	<-d.WentOffline()
	var offline *OfflineError
	if err := d.Offline(); !errors.As(err, &offline) || !errors.Is(err, kafka.KafkaStorageError) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context()); !errors.Is(err, kafka.KafkaStorageError) {
		t.Fatal("a second flush claimed success:", err)
	}
	if tail := log.Tail(); tail.Flushed != 0 {
		t.Fatalf("%+v", tail)
	}
	if _, err := d.OpenLog(tp("orders", 1), topicID, commitlog.Config{}); !errors.Is(err, kafka.KafkaStorageError) {
		t.Fatal(err)
	}
	if err := d.Close(1); !errors.Is(err, kafka.KafkaStorageError) {
		t.Fatal(err)
	}
	if all := names(t, memory); slices.Contains(all, markerFile) || slices.Contains(all, highWatermarkFile) {
		t.Fatal("an offline directory was written to:", all)
	}
	if b, err := vfs.ReadFile(memory, "/data/"+recoveryPointFile, 100); err != nil || string(b) != "0\n0\n" {
		t.Fatalf("an offline directory was written to: %q, %v", b, err)
	}
	open(t, memory) // the lock was given back
}

func TestFullDiskPasses(t *testing.T) {
	fsys := vfs.NewFault(vfs.NewMemory())
	d := open(t, fsys)
	appendSome(t, openLog(t, d, tp("orders", 0)), 2)
	fsys.Add(vfs.Rule{Ops: vfs.OpWrite, Path: recoveryPointFile, Times: 1, Err: syscall.ENOSPC})
	if err := d.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	ok(t, d.Offline())
	ok(t, d.Flush(t.Context()))
	if got := read(t, fsys, recoveryPointFile); got != "0\n1\norders 0 2\n" {
		t.Fatalf("%q", got)
	}
	if all := names(t, fsys); slices.Contains(all, recoveryPointFile+".tmp") {
		t.Fatal(all)
	}
}
