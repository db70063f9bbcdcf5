// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

func flushed(b *bed) kafka.Offset { return b.l.Tail().Flushed }

func TestFlushMessagesAndFlushMs(t *testing.T) {
	b := memoryBed(t)
	b.o.Config = Config{FlushMessages: 5}
	b.mustOpen()
	b.mustAppend(plain(4, 1))
	if got := flushed(b); got != 0 {
		t.Fatalf("flushed to %d", got)
	}
	b.mustAppend(plain(1, 1))
	if got := flushed(b); got != 5 {
		t.Fatalf("flushed to %d, want 5", got)
	}

	b.l.Configure(Config{FlushMs: 1000})
	b.mustAppend(plain(1, 1))
	for _, step := range []struct {
		after time.Duration
		want  kafka.Offset
	}{{999 * time.Millisecond, 5}, {time.Millisecond, 6}} {
		b.now = b.now.Add(step.after)
		if err := b.l.FlushDue(); err != nil {
			t.Fatal(err)
		}
		if got := flushed(b); got != step.want {
			t.Fatalf("after %v flushed to %d, want %d", step.after, got, step.want)
		}
	}
	b.mustAppend(plain(1, 1))
	b.now = b.now.Add(2 * time.Second)
	b.mustAppend(plain(1, 1)) // an append comes when it is due
	if got := flushed(b); got != 8 {
		t.Fatalf("flushed to %d, want 8", got)
	}
}

// A flush of many rolled segments syncs each of them once.
func TestFlushSyncsOnlyWhatIsNotDurable(t *testing.T) {
	b, fault := faultyBed(t)
	b.o.Config = Config{SegmentBytes: 100}
	b.mustOpen()
	for range 5 {
		b.mustAppend(plain(1, 1))
	}
	if err := b.l.Flush(); err != nil {
		t.Fatal(err)
	}
	before := fault.Count(vfs.OpSyncData)
	if err := b.l.Flush(); err != nil || fault.Count(vfs.OpSyncData) != before {
		t.Fatalf("a second flush synced %d files more, %v", fault.Count(vfs.OpSyncData)-before, err)
	}
	b.mustAppend(plain(1, 1))
	if err := b.l.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := fault.Count(vfs.OpSyncData) - before; n < 1 || n > 4 {
		// The new segment, two indexes of the one it closed, partition.metadata with the folder.
		t.Fatalf("one more batch cost %d syncs", n)
	}
}

// Synced counts what a syncfs covered, but nothing behind a truncation that
// came in between.
func TestSyncedBesideATruncation(t *testing.T) {
	b := memoryBed(t).mustOpen()
	for range 10 {
		b.mustAppend(plain(1, 1))
	}
	b.l.Synced(4)
	if got := flushed(b); got != 4 {
		t.Fatalf("flushed to %d, want 4", got)
	}
	noted := b.l.Tail().LogEnd
	if err := b.l.TruncateTo(6); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b.mustAppend(plain(1, 1))
	}
	b.l.Synced(noted)
	if got := flushed(b); got != 6 {
		t.Fatalf("flushed to %d, want 6", got)
	}
	b.l.Synced(b.l.Tail().LogEnd)
	if got := flushed(b); got != 16 {
		t.Fatalf("flushed to %d, want 16", got)
	}
}

// Preallocated space goes back when a segment is closed, and never shows.
func TestPreallocate(t *testing.T) {
	b := newBed(t, vfs.OS{}, t.TempDir()+"/t-0")
	b.o.Config = Config{SegmentBytes: 1 << 20, Preallocate: true}
	b.mustOpen()
	a := b.mustAppend(plain(1, 1))
	if err := b.l.Roll(); err != nil {
		t.Fatal(err)
	}
	b.mustAppend(plain(1, 1))
	b.stop(true)
	b.mustOpen()
	defer b.l.Kill()
	if list, err := b.readAll(a.BaseOffset, 1<<20, ToLogEnd); err != nil || len(list) != 2 {
		t.Fatal(len(list), err)
	}
}

// What a sync fails with is final, whatever it is, beside an error that passes too;
// a file that cannot be opened for it is not.
func TestFailedSyncIsFinal(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []vfs.Rule
		final bool
	}{
		{"no memory", []vfs.Rule{{Ops: vfs.OpSyncData, Path: ".log", Err: syscall.ENOMEM}}, true},
		{"no room", []vfs.Rule{{Ops: vfs.OpSyncData, Path: ".log", Err: syscall.ENOSPC}}, true},
		{"folder, and no descriptor", []vfs.Rule{{Ops: vfs.OpOpen, Path: metadataFile, Err: syscall.EMFILE}, {Ops: vfs.OpSyncDir, Err: syscall.EIO}}, true},
		{"no descriptor", []vfs.Rule{{Ops: vfs.OpOpen, Path: metadataFile, Err: syscall.EMFILE}}, false},
	} {
		b, fault := faultyBed(t)
		b.mustOpen()
		b.mustAppend(plain(1, 1))
		for _, rule := range c.rules {
			fault.Add(rule)
		}
		if err := b.l.Flush(); !errors.Is(err, kafka.KafkaStorageError) {
			t.Fatalf("%s: %v", c.name, err)
		}
		fault.Clear()
		if err := b.l.Flush(); errors.Is(err, ErrFailed) != c.final {
			t.Errorf("%s: then %v", c.name, err)
		}
	}
}
