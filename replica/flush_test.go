// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/replica/isr"
	"gregor/storage/commitlog"
	"gregor/storage/segment"
)

// flushed is a partition that leads and that f flushes.
func flushed(t *testing.T, fs vfs.FS, f *Flusher, index int, flushMs int64) *Partition {
	t.Helper()
	return flushedIn(t, fs, "/", f, index, flushMs)
}

// flushedIn is such a partition in a log directory of that name.
func flushedIn(t *testing.T, fs vfs.FS, dir string, f *Flusher, index int, flushMs int64) *Partition {
	t.Helper()
	if err := fs.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	tp := kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionID(index)}
	p := New(kafka.TopicIDPartition{TopicID: kafka.TopicID{1}, Partition: tp.Partition}, tp, time.Now)
	p.SetRules(flushRules(flushMs))
	p.FlushWith(f)
	err := p.Open(func() (*commitlog.Log, error) {
		return commitlog.Open(commitlog.Options{FS: fs, Files: segment.NewFiles(fs, 16), Dir: filepath.Join(dir, fmt.Sprintf("t-%d", index)), TopicPartition: tp,
			TopicID: kafka.TopicID{1}, Logger: slog.New(slog.DiscardHandler), Now: time.Now, Config: p.Rules().Log})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(func(l *commitlog.Log) error { l.Kill(); return nil }) })
	lead(t, p, leading(0, 0, 1))
	return p
}

func flushRules(flushMs int64) *Rules {
	return &Rules{ISR: isr.Rules{MinInsyncReplicas: 1, LagMaxMs: 30_000}, Log: commitlog.Config{FlushMs: flushMs}}
}

func runFlusher(t *testing.T, workers int) *Flusher {
	f := NewFlusher(workers, time.Now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); over.Wait() })
	return f
}

func isFlushed(t *testing.T, p *Partition, want bool) {
	t.Helper()
	if tail, _ := p.Tail(); (tail.Flushed == tail.LogEnd) != want {
		t.Errorf("%v: flushed to %d of %d at %v", p.TopicPartition(), tail.Flushed, tail.LogEnd, time.Now())
	}
}

// A record is durable flush.ms after it came, whether or not another follows,
// and not earlier.
func TestFlushMs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		f := runFlusher(t, 2)
		quick, slow, never := flushed(t, fault, f, 0, 1000), flushed(t, fault, f, 1, 5000), flushed(t, fault, f, 2, math.MaxInt64)
		all := []*Partition{quick, slow, never}
		for _, p := range all {
			appendOne(p, "a")
			isFlushed(t, p, false)
		}
		for _, step := range []struct {
			after time.Duration
			want  [3]bool
		}{
			{999 * time.Millisecond, [3]bool{}}, {2 * time.Millisecond, [3]bool{true}},
			{3998 * time.Millisecond, [3]bool{true}}, {2 * time.Millisecond, [3]bool{true, true}}, {time.Hour, [3]bool{true, true}},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			for i, p := range all {
				isFlushed(t, p, step.want[i])
			}
		}
		// Nobody wrote: nothing was synced in that hour, nor in the next.
		before := fault.Count(vfs.OpSyncData)
		time.Sleep(time.Hour)
		if n := fault.Count(vfs.OpSyncData) - before; n != 0 {
			t.Errorf("%d syncs of idle logs", n)
		}
		// One that is written to all the time is flushed once in flush.ms.
		began := time.Now()
		for time.Since(began) < 10*time.Second {
			appendOne(quick, "b")
			time.Sleep(10 * time.Millisecond)
		}
		if n := fault.Count(vfs.OpSyncData) - before; n < 9 || n > 20 { // each flush syncs log and, where changed, indexes
			t.Errorf("%d syncs in ten seconds", n)
		}
	})
}

// A flush.ms that is set, or shortened, counts for what was written before.
func TestFlushMsIsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := runFlusher(t, 2)
		p := flushed(t, vfs.NewMemory(), f, 0, math.MaxInt64)
		appendOne(p, "a")
		time.Sleep(time.Hour)
		isFlushed(t, p, false)
		p.Configure(flushRules(1000))
		time.Sleep(time.Millisecond)
		isFlushed(t, p, true)
		p.Configure(flushRules(3_600_000))
		appendOne(p, "b")
		time.Sleep(time.Second)
		p.Configure(flushRules(2000))
		time.Sleep(999 * time.Millisecond)
		isFlushed(t, p, false)
		time.Sleep(2 * time.Millisecond)
		isFlushed(t, p, true)
		appendOne(p, "c")
		p.Configure(flushRules(math.MaxInt64))
		time.Sleep(24 * time.Hour)
		isFlushed(t, p, false)
	})
}

// What a crash left in the file and no sync covered is flushed too.
func TestFlushMsAfterARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMemory()
		f := runFlusher(t, 1)
		p := flushed(t, disk, f, 0, 1000)
		appendOne(p, "a")
		p.Close(func(l *commitlog.Log) error { l.Kill(); return nil })
		again := flushed(t, disk, f, 0, 1000)
		if tail, _ := again.Tail(); tail.LogEnd != 1 {
			t.Fatalf("%+v", tail)
		}
		isFlushed(t, again, false)
		time.Sleep(1001 * time.Millisecond)
		isFlushed(t, again, true)
	})
}

// A lane that hangs in its disk holds up the flushes of its own directory, not
// those of others, however many are due there.
func TestFlushMsBesideADirectoryThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := vfs.NewMemory()
		f := runFlusher(t, 1)
		var hang []*Partition
		for i := range 3 {
			hang = append(hang, flushedIn(t, memory, "/a", f, i, 1000))
		}
		works := flushedIn(t, memory, "/b", f, 3, 1000)
		release := make(chan struct{})
		var over sync.WaitGroup
		for _, p := range append([]*Partition{works}, hang...) {
			appendOne(p, "a")
		}
		for _, p := range hang {
			over.Go(func() { p.onLog(func(*commitlog.Log) { <-release }) })
		}
		for range 3 {
			appendOne(works, "b")
			time.Sleep(1001 * time.Millisecond)
			synctest.Wait()
			isFlushed(t, works, true)
			for _, p := range hang {
				isFlushed(t, p, false)
			}
		}
		close(release)
		over.Wait()
		synctest.Wait()
		for _, p := range hang {
			isFlushed(t, p, true)
		}
	})
}

// A flush that fails for want of descriptors is tried again; one that fails
// for good is not, nor one of a partition that is gone.
func TestFlushMsThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		f := runFlusher(t, 1)
		failing := func(op vfs.Op, err error) { fault.Add(vfs.Rule{Ops: op, Err: err}) }
		p, gone := flushed(t, fault, f, 0, 1000), flushed(t, fault, f, 1, 1000)
		appendOne(p, "a")
		appendOne(gone, "a")
		gone.Close(func(l *commitlog.Log) error { l.Kill(); return nil })
		failing(vfs.OpOpen, syscall.EMFILE)
		time.Sleep(90 * time.Second)
		isFlushed(t, p, false)
		fault.Clear()
		time.Sleep(2 * time.Second)
		isFlushed(t, p, true)
		failing(vfs.OpSyncData, syscall.EIO)
		appendOne(p, "b")
		time.Sleep(10 * time.Second)
		before := fault.Count(vfs.OpSyncData)
		time.Sleep(time.Hour)
		if n := fault.Count(vfs.OpSyncData) - before; n != 0 {
			t.Errorf("%d syncs after one failed for good", n)
		}
		if a := appendOne(p, "c"); !errors.Is(a.Err, kafka.KafkaStorageError) {
			t.Errorf("append: %v", a.Err)
		}
	})
}
