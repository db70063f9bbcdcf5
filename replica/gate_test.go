// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"errors"
	"log/slog"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/segment"
)

// gate is shut for as long as why is set.
type gate struct{ why error }

func (g *gate) Refuses() error { return g.why }

// A shut gate stops producers, and neither coordinators nor those who read or
// delete.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, vfs.NewMemory())
		g := &gate{}
		p.SetGate(g)
		lead(t, p, leading(0, 0, 1))
		if a := appendOne(p, "before"); a.Err != nil {
			t.Fatal(a.Err)
		}
		g.why = kafka.KafkaStorageError
		if a := appendOne(p, "during"); !errors.Is(a.Err, kafka.KafkaStorageError) {
			t.Errorf("a producer: %v", a.Err)
		}
		a := &Append{Batches: records("commit"), Origin: commitlog.OriginCoordinator, ExpectedEpoch: kafka.NoLeaderEpoch, AllReplicas: true}
		if p.Append(a); a.Err != nil || a.BaseOffset != 1 {
			t.Errorf("a coordinator: %+v", a)
		}
		var cursor commitlog.Cursor
		r, err := p.Read(&cursor, &Fetch{LeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch, BytesMax: 1 << 20, LeaderOnly: true})
		if err != nil || r.File.LenBytes == 0 {
			t.Errorf("a reader: %+v, %v", r, err)
		}
		r.File.Src.Release()
		if low, err := p.DeleteRecords(1); err != nil || low != 1 {
			t.Errorf("DeleteRecords: %d, %v", low, err)
		}
		g.why = nil
		if a := appendOne(p, "after"); a.Err != nil || a.BaseOffset != 2 {
			t.Errorf("after: %+v", a)
		}
	})
}

// A directory fails while the lane is in it, which may hang there: whatever the
// lane finishes later, the partition stays offline, and nobody waits for it.
func TestLostWhileTheLaneIsBusy(t *testing.T) {
	for name, work := range map[string]func(p *Partition, open func() (*commitlog.Log, error)){
		"opening": func(p *Partition, open func() (*commitlog.Log, error)) { _ = p.Open(open) },
		"leading": func(p *Partition, open func() (*commitlog.Log, error)) { _ = p.Lead(leading(1, 0, 1)) },
		"writing": func(p *Partition, open func() (*commitlog.Log, error)) { appendOne(p, "x") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := vfs.NewFault(vfs.NewMemory())
				open := func() (*commitlog.Log, error) {
					time.Sleep(time.Minute)
					return commitlog.Open(commitlog.Options{FS: disk, Files: segment.NewFiles(disk, 16), Dir: "/t-0", TopicPartition: tp, TopicID: id.TopicID,
						Logger: slog.New(slog.DiscardHandler), Now: time.Now, New: true})
				}
				p := New(id, tp, time.Now)
				p.SetRules(&Rules{})
				t.Cleanup(func() { p.Close(func(l *commitlog.Log) error { l.Kill(); return nil }) })
				if name != "opening" {
					if err := p.Open(open); err != nil {
						t.Fatal(err)
					}
					lead(t, p, leading(0, 0, 1))
				}
				disk.Add(vfs.Rule{Ops: vfs.OpAny, Delay: time.Minute})
				done := make(chan struct{})
				go func() { work(p, open); close(done) }()
				time.Sleep(time.Second)
				began := time.Now()
				p.Lose(syscall.EIO)
				if time.Since(began) != 0 {
					t.Error("it waited for the lane")
				}
				<-done
				if s := p.Status(); s.Role != Offline || !errors.Is(s.Err, kafka.KafkaStorageError) {
					t.Errorf("%+v", s)
				}
				lead(t, p, leading(9, 9, 1))
				p.Follow(10)
				if a := appendOne(p, "x"); !errors.Is(a.Err, kafka.KafkaStorageError) {
					t.Errorf("an append: %v", a.Err)
				}
			})
		})
	}
}
