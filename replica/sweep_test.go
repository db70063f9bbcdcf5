// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/wire/batch"
)

func producersOf(t *testing.T, p *Partition) (n int) {
	t.Helper()
	p.onLog(func(log *commitlog.Log) {
		list, err := log.Producers()
		if err != nil {
			t.Error(err)
		}
		n = len(list)
	})
	return n
}

// appendProduced appends a record of an idempotent producer.
func appendProduced(t *testing.T, p *Partition) {
	t.Helper()
	var b batch.Builder
	b.Begin(batch.Options{ProducerID: 7, ProducerEpoch: 0, BaseSequence: 0})
	b.Add(time.Now().UnixMilli(), nil, []byte("v"))
	bytes, err := b.Finish(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := Append{Batches: bytes, ExpectedEpoch: kafka.NoLeaderEpoch}
	if p.Append(&a); a.Err != nil {
		t.Fatal(a.Err)
	}
}

// A producer is forgotten a day after its last record, on a partition that
// nobody writes to any more; looking costs no call of the file system.
func TestSweepForgetsProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		table := NewTable()
		p := flushed(t, fault, nil, 0, math.MaxInt64)
		table.Add(p)
		ctx, cancel := context.WithCancel(context.Background())
		var over sync.WaitGroup
		over.Go(func() { Sweep(ctx, table, 10*time.Minute, slog.New(slog.DiscardHandler)) })
		defer func() { cancel(); over.Wait() }()

		appendProduced(t, p)
		time.Sleep(23 * time.Hour)
		synctest.Wait()
		if n := producersOf(t, p); n != 1 {
			t.Fatalf("%d producers after 23 hours, want 1", n)
		}
		before := fault.Count(vfs.OpChanges | vfs.OpOpen)
		time.Sleep(time.Hour + 10*time.Minute)
		synctest.Wait()
		if n := producersOf(t, p); n != 0 {
			t.Fatalf("%d producers after a day, want none", n)
		}
		if n := fault.Count(vfs.OpChanges|vfs.OpOpen) - before; n != 0 {
			t.Fatalf("the sweeps made %d calls of the file system", n)
		}
	})
}

// A lane that hangs in its disk holds up the sweep of its own directory, not that
// of others.
func TestSweepBesideADirectoryThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := vfs.NewMemory()
		table := NewTable()
		hangs, works := retained(t, memory, "/a", 0, minute), retained(t, memory, "/b", 1, minute)
		table.Add(hangs)
		table.Add(works)
		release := make(chan struct{})
		var over sync.WaitGroup
		over.Go(func() { hangs.onLog(func(*commitlog.Log) { <-release }) })
		ctx, cancel := context.WithCancel(context.Background())
		over.Go(func() { Sweep(ctx, table, 10*time.Minute, slog.New(slog.DiscardHandler)) })
		defer func() { close(release); cancel(); over.Wait() }()

		appendProduced(t, works)
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if n := producersOf(t, works); n != 0 {
			t.Fatalf("%d producers after a day, want none", n)
		}
	})
}
