// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
)

func faultyBed(t *testing.T) (*bed, *vfs.Fault) {
	f := vfs.NewFault(vfs.NewMemory())
	return newBed(t, f, "/data/t-0"), f
}

// A full disk is no failure: the log is cut back to its end, answers
// KAFKA_STORAGE_ERROR and goes on when there is room.
func TestFullDiskPasses(t *testing.T) {
	b, fault := faultyBed(t)
	b.mustOpen()
	s := plain(1, 1)
	s.pid, s.pepoch, s.seq = 1, 0, 0
	b.mustAppend(s)
	before := b.l.Tail()

	fault.SetBudget(100)
	first, second := s, s
	first.seq, second.seq = 1, 2
	second.size = 200
	chain := &Append{Batches: first.build(), ExpectedEpoch: kafka.NoLeaderEpoch}
	chain.Next = &Append{Batches: second.build(), ExpectedEpoch: kafka.NoLeaderEpoch}
	b.l.Append(chain, 0)
	for a := chain; a != nil; a = a.Next {
		if !errors.Is(a.Err, kafka.KafkaStorageError) || a.BaseOffset != kafka.NoOffset {
			t.Fatalf("append on a full disk: %+v", a)
		}
	}
	if got := b.l.Tail(); got != before || len(b.failed) != 0 {
		t.Fatalf("tail %+v, want %+v; failed %v", got, before, b.failed)
	}
	if info, _ := b.fs.Stat(b.l.path(0, ".log")); info.SizeBytes != before.SizeBytes {
		t.Fatalf("the file has %d bytes, the log %d", info.SizeBytes, before.SizeBytes)
	}

	fault.Clear()
	if a := b.mustAppend(first); a.Duplicate || a.BaseOffset != 1 {
		t.Fatalf("the producer's state was not taken back: %+v", a)
	}
	b.mustAppend(second)
	if list, err := b.readAll(0, 1<<20, ToLogEnd); err != nil || len(list) != 3 {
		t.Fatal(len(list), err)
	}
}

// EIO and a failed sync are final: the directory hears of it once, and nothing
// is written any more. What is there can still be read.
func TestFailuresAreFinal(t *testing.T) {
	cases := map[string]struct {
		rule vfs.Rule
		do   func(b *bed) error
	}{
		"write":             {vfs.Rule{Ops: vfs.OpWrite, Path: ".log", Err: syscall.EIO}, func(b *bed) error { return b.append(plain(1, 1), 0, OriginClient).Err }},
		"torn write":        {vfs.Rule{Ops: vfs.OpWrite, Path: ".log", Err: syscall.EIO, ShortBytes: 20}, func(b *bed) error { return b.append(plain(1, 1), 0, OriginClient).Err }},
		"sync":              {vfs.Rule{Ops: vfs.OpSyncData, Path: ".log", Err: syscall.EIO}, func(b *bed) error { return b.l.Flush() }},
		"sync without room": {vfs.Rule{Ops: vfs.OpSyncData, Path: ".log", Err: syscall.ENOSPC}, func(b *bed) error { return b.l.Flush() }},
		"truncate":          {vfs.Rule{Ops: vfs.OpTruncate, Path: ".log", Err: syscall.EIO}, func(b *bed) error { return b.l.TruncateTo(1) }},
		"index":             {vfs.Rule{Ops: vfs.OpWrite, Path: "index", Err: syscall.EIO}, func(b *bed) error { return b.l.Roll() }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b, fault := faultyBed(t)
			b.mustOpen()
			for range 3 {
				b.mustAppend(plain(1, 1))
			}
			fault.Add(c.rule)
			if err := c.do(b); !errors.Is(err, kafka.KafkaStorageError) {
				t.Fatal(err)
			}
			fault.Clear()
			if a := b.append(plain(1, 1), 0, OriginClient); !errors.Is(a.Err, ErrFailed) {
				t.Fatalf("append behind a failure: %v", a.Err)
			}
			if err := b.l.Flush(); !errors.Is(err, ErrFailed) {
				t.Fatalf("flush behind a failure: %v", err)
			}
			if len(b.failed) != 1 {
				t.Fatalf("failures told: %v", b.failed)
			}
			if _, err := b.readAll(0, 1<<20, ToLogEnd); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What stands beside the log may be missing for a while.
func TestIndexesAndCheckpointsWaitForRoom(t *testing.T) {
	b, fault := faultyBed(t)
	b.o.Config = Config{SegmentBytes: 200, IndexIntervalBytes: 10}
	b.mustOpen()
	fault.Add(vfs.Rule{Ops: vfs.OpWrite, Path: "index", Err: syscall.ENOSPC})
	fault.Add(vfs.Rule{Ops: vfs.OpOpen, Path: ".snapshot", Err: syscall.ENOSPC})
	fault.Add(vfs.Rule{Ops: vfs.OpOpen, Path: "leader-epoch", Err: syscall.ENOSPC})
	for range 10 {
		b.mustAppend(plain(1, 1))
	}
	if list, err := b.readAll(0, 100, ToLogEnd); err != nil || len(list) != 10 {
		t.Fatal(len(list), err)
	}
	fault.Clear()
	if err := b.l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	b.stop(true)
	b.mustOpen()
	if list, err := b.readAll(0, 100, ToLogEnd); err != nil || len(list) != 10 {
		t.Fatal(len(list), err)
	}
	if e, err := b.l.EpochAt(3); e != 0 || err != nil {
		t.Fatal(e, err)
	}
}

// A directory error while loading does not stick, and cuts nothing.
func TestReadErrorWhileLoadingCutsNothing(t *testing.T) {
	b, fault := faultyBed(t)
	b.mustOpen()
	for range 5 {
		b.mustAppend(plain(1, 1))
	}
	b.crash()
	fault.Add(vfs.Rule{Ops: vfs.OpRead, Path: ".log", Err: syscall.EIO})
	if err := b.open(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	fault.Clear()
	b.mustOpen()
	if end := b.l.Tail().LogEnd; end != 5 {
		t.Fatalf("log end %d", end)
	}
}

// oldMessage is a message set of one message in format 0 or 1.
func oldMessage(magic byte) []byte {
	body := []byte{magic, 0}
	if magic == 1 {
		body = append(body, 0, 0, 0, 0, 0, 0, 0, 9)
	}
	body = append(body, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 2, 'h', 'i')
	return appendOld(nil, body)
}

// Decision 2: formats 0 and 1 stay offline and untouched.
func TestOldFormatsStayUntouched(t *testing.T) {
	for magic := range byte(2) {
		b := memoryBed(t)
		if err := b.fs.MkdirAll(b.o.Dir); err != nil {
			t.Fatal(err)
		}
		write := func(name string, p []byte) {
			f, err := b.fs.Open(filepath.Join(b.o.Dir, name), vfs.ReadWrite|vfs.Create, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(p, 0); err != nil {
				t.Fatal(err)
			}
		}
		write("00000000000000000000.log", oldMessage(magic))
		write("00000000000000000001.log", plain(1, 1).build())
		write("00000000000000000001.log.deleted", []byte("x"))
		var old *OldFormatError
		if err := b.open(); !errors.As(err, &old) || old.Magic != int8(magic) || filepath.Base(old.File) != "00000000000000000000.log" {
			t.Fatalf("magic %d: %v", magic, err)
		}
		if infos, _ := b.fs.ReadDir(b.o.Dir); len(infos) != 4 { // partition.metadata was added
			t.Fatalf("the folder was touched: %v", infos)
		}
	}
}

// Point 23: a topic that was created again under its old name is another one.
func TestPoint23OtherTopicID(t *testing.T) {
	b := memoryBed(t).mustOpen()
	b.mustAppend(plain(1, 1))
	b.stop(false)
	b.o.TopicID = kafka.TopicID{2}
	var other *TopicIDError
	if err := b.open(); !errors.As(err, &other) || other.Has != (kafka.TopicID{1}) || !errors.Is(err, kafka.InconsistentTopicID) {
		t.Fatal(err)
	}
}

// Decision 4: a hint that does not fit the last segment means an ordinary load.
func TestStaleHintIsNotBelieved(t *testing.T) {
	b := memoryBed(t).mustOpen()
	for range 3 {
		b.mustAppend(plain(1, 1))
	}
	b.stop(true)
	f, err := b.fs.Open(filepath.Join(b.o.Dir, "00000000000000000000.log"), vfs.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	more := plain(2, 1).build()
	batch.SetBaseOffset(more, 3)
	if _, err := f.WriteAt(more, size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	b.mustOpen()
	if end := b.l.Tail().LogEnd; end != 3 {
		t.Fatalf("log end %d before the first use", end)
	}
	if a := b.mustAppend(plain(1, 1)); a.BaseOffset != 5 {
		t.Fatalf("the append got offset %d, which is taken", a.BaseOffset)
	}
}

// R15: no acknowledgement behind a failed sync that was promised before it.
func TestFailedFlushOfAnAppendIsItsError(t *testing.T) {
	for name, config := range map[string]Config{"flush.messages": {FlushMessages: 1}, "flush.ms": {FlushMs: -1}} {
		b, fault := faultyBed(t)
		b.o.Config = config
		b.mustOpen()
		b.mustAppend(plain(1, 1))
		fault.Add(vfs.Rule{Ops: vfs.OpSyncData, Path: ".log", Err: syscall.EIO, Times: 1})
		if a := b.append(plain(1, 1), 0, OriginClient); !errors.Is(a.Err, kafka.KafkaStorageError) || a.BaseOffset != kafka.NoOffset || len(b.failed) != 1 {
			t.Fatalf("%s: %+v, %v", name, a, b.failed)
		}
	}
}

// Where the log fails between the records of a chain, those in front of it are
// written and never synced: who was promised that hears so.
func TestNoPromiseBesideAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		config   Config
		promised bool
	}{"flush.messages": {Config{FlushMessages: 1}, true}, "flush.ms": {Config{FlushMs: -1}, true}, "none": {Config{}, false}} {
		b, fault := faultyBed(t)
		b.o.Config = c.config
		b.o.Config.SegmentBytes = 200
		b.mustOpen()
		b.mustAppend(plain(1, 1))
		fault.Add(vfs.Rule{Ops: vfs.OpWrite, Path: "index", Err: syscall.EIO})
		large := plain(1, 1)
		large.size = 100
		chain := &Append{Batches: plain(1, 1).build(), ExpectedEpoch: kafka.NoLeaderEpoch}
		chain.Next = &Append{Batches: large.build(), ExpectedEpoch: kafka.NoLeaderEpoch}
		b.l.Append(chain, 0)
		if !errors.Is(chain.Next.Err, kafka.KafkaStorageError) || len(b.failed) != 1 {
			t.Fatalf("%s: the segment could not be rolled: %v, %v", name, chain.Next.Err, b.failed)
		}
		if got := errors.Is(chain.Err, kafka.KafkaStorageError); got != c.promised || b.l.Tail().Flushed == b.l.Tail().LogEnd && !c.promised {
			t.Fatalf("%s: the record in front of the failure: %v, %+v", name, chain.Err, b.l.Tail())
		}
	}
}

// A segment file for which there was no room is empty, and the next start finds
// the log as it was left.
func TestNoRoomForASegmentThenStop(t *testing.T) {
	b, fault := faultyBed(t)
	b.o.Config = Config{SegmentBytes: 100, Preallocate: true}
	b.mustOpen()
	b.mustAppend(plain(1, 1))
	fault.Add(vfs.Rule{Ops: vfs.OpPreallocate, Err: syscall.ENOSPC})
	if a := b.append(plain(1, 1), 0, OriginClient); !errors.Is(a.Err, kafka.KafkaStorageError) {
		t.Fatal(a.Err)
	}
	if info, err := b.fs.Stat(b.l.path(1, ".log")); err != nil || info.SizeBytes != 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	b.stop(true)
	var said strings.Builder
	b.o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	b.mustOpen()
	if list, err := b.readAll(0, 1<<20, ToLogEnd); err != nil || len(list) != 1 {
		t.Fatal(len(list), err)
	}
	if said.Len() > 0 {
		t.Error(&said)
	}
}
