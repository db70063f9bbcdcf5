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
	p.OnLane(func(log *commitlog.Log) {
		list, err := log.Producers()
		if err != nil {
			t.Error(err)
		}
		n = len(list)
	})
	return n
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
