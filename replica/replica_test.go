// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/base/vfs"
	"gregor/replica/isr"
	"gregor/storage/commitlog"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

var (
	id = kafka.TopicIDPartition{TopicID: kafka.TopicID{1}}
	tp = kafka.TopicPartition{Topic: "t"}
)

func opened(t testing.TB, fs vfs.FS) *Partition {
	t.Helper()
	p := New(id, tp, time.Now)
	p.SetRules(&Rules{ISR: isr.Rules{MinInsyncReplicas: 1, LagMaxMs: 30_000}})
	err := p.Open(func() (*commitlog.Log, error) {
		return commitlog.Open(commitlog.Options{FS: fs, Files: segment.NewFiles(fs, 16), Dir: "/t-0", TopicPartition: tp, TopicID: id.TopicID,
			Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(func(l *commitlog.Log) error { l.Kill(); return nil }) })
	return p
}

func leading(epoch kafka.LeaderEpoch, partitionEpoch kafka.PartitionEpoch, members ...kafka.NodeID) isr.Leadership {
	return isr.Leadership{Self: 1, Epoch: epoch, PartitionEpoch: partitionEpoch, Replicas: members, ISR: members}
}

func lead(t testing.TB, p *Partition, l isr.Leadership) {
	t.Helper()
	if err := p.Lead(l); err != nil {
		t.Fatal(err)
	}
}

func records(values ...string) []byte {
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err)
	}
	return out
}

func appendOne(p *Partition, values ...string) *Append {
	a := &Append{Batches: records(values...), ExpectedEpoch: kafka.NoLeaderEpoch}
	p.Append(a)
	return a
}

func TestAppendNeedsALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(id, tp, time.Now)
		if a := appendOne(p, "x"); !errors.Is(a.Err, kafka.NotLeaderForPartition) {
			t.Errorf("before it has a log: %v", a.Err)
		}
		p = opened(t, vfs.NewMemory())
		if a := appendOne(p, "x"); !errors.Is(a.Err, kafka.NotLeaderForPartition) {
			t.Errorf("a follower: %v", a.Err)
		}
		lead(t, p, leading(3, 0, 1))
		if a := appendOne(p, "x"); a.Err != nil || a.BaseOffset != 0 || a.Epoch != 3 || !a.Committed {
			t.Errorf("a leader: %+v", a)
		}
		a := &Append{Batches: records("x"), ExpectedEpoch: 2}
		if p.Append(a); !errors.Is(a.Err, kafka.NotLeaderForPartition) {
			t.Errorf("another epoch: %v", a.Err)
		}
		p.Follow(4)
		if a := appendOne(p, "x"); !errors.Is(a.Err, kafka.NotLeaderForPartition) {
			t.Errorf("a follower again: %v", a.Err)
		}
		p.Lose(errors.New("the disk is gone"))
		if a := appendOne(p, "x"); !errors.Is(a.Err, kafka.KafkaStorageError) {
			t.Errorf("offline: %v", a.Err)
		}
	})
}

// Many at once: every append gets its own offsets, dense and in order, and a
// batch that is refused takes none.
func TestConcurrentAppends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, vfs.NewMemory())
		lead(t, p, leading(0, 0, 1))
		var mu sync.Mutex
		at := map[kafka.Offset]string{}
		var work sync.WaitGroup
		for w := range 16 {
			work.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(w)))
				a := &Append{}
				for i := range 50 {
					values := make([]string, 1+random.IntN(3))
					for k := range values {
						values[k] = fmt.Sprintf("%d/%d/%d", w, i, k)
					}
					a.Batches, a.ExpectedEpoch = records(values...), kafka.NoLeaderEpoch
					if random.IntN(5) == 0 {
						a.ExpectedEpoch = 9 // refused
					}
					p.Append(a)
					if a.ExpectedEpoch == 9 {
						if !errors.Is(a.Err, kafka.NotLeaderForPartition) {
							t.Errorf("got %v", a.Err)
						}
						continue
					}
					if a.Err != nil || a.LastOffset != a.BaseOffset+kafka.Offset(len(values)-1) || !a.Committed {
						t.Errorf("%+v", a)
						return
					}
					mu.Lock()
					for k, v := range values {
						at[a.BaseOffset+kafka.Offset(k)] = v
					}
					mu.Unlock()
				}
			})
		}
		work.Wait()
		tail, _ := p.Tail()
		if int(tail.LogEnd) != len(at) || tail.HighWatermark != tail.LogEnd {
			t.Fatalf("log end %d, high watermark %d, %d records were acknowledged", tail.LogEnd, tail.HighWatermark, len(at))
		}
		// What was acknowledged is what is read.
		var c commitlog.Cursor
		for next := kafka.Offset(0); next < tail.LogEnd; {
			got, err := p.Read(&c, &Fetch{Offset: next, LeaderEpoch: -1, LastFetchedEpoch: -1, BytesMax: 1 << 20, OneBatchAtLeast: true, Bound: commitlog.ToHighWatermark})
			if err != nil || got.File.LenBytes == 0 {
				t.Fatalf("read at %d: %v", next, err)
			}
			b := make([]byte, got.File.LenBytes)
			got.File.Src.ReadAt(b, got.File.PosBytes)
			got.File.Src.Release()
			for len(b) > 0 {
				h, err := batch.Parse(b)
				if err != nil {
					t.Fatal(err)
				}
				var rec batch.Record
				for it := batch.Records(&h, b[batch.HeaderSize:h.SizeBytes()]); it.Next(&rec); {
					if at[rec.Offset] != string(rec.Value) {
						t.Fatalf("offset %d holds %s, want %s", rec.Offset, rec.Value, at[rec.Offset])
					}
				}
				next = h.NextOffset()
				b = b[h.SizeBytes():]
			}
		}
	})
}

// Who waits for an offset hears of it, and of every change of role.
func TestWaitersAreWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, vfs.NewMemory())
		lead(t, p, leading(0, 0, 1, 2)) // the other never fetches: the high watermark stands
		parker := park.NewParker()
		entry := func(bound commitlog.Bound, at kafka.Offset) *park.Entry {
			e := &park.Entry{Parker: parker}
			p.Await(bound, e, at)
			return e
		}
		end, later, mark := entry(commitlog.ToLogEnd, 1), entry(commitlog.ToLogEnd, 2), entry(commitlog.ToHighWatermark, 1)
		appendOne(p, "x")
		if got := parker.Ready(); got != end || parker.Ready() != nil {
			t.Fatal("the wrong ones were woken by an append")
		}
		lead(t, p, leading(0, 1, 1)) // the ISR shrinks
		got := map[*park.Entry]bool{parker.Ready(): true, parker.Ready(): true}
		if !got[mark] || !got[later] {
			t.Fatal("a change of the ISR did not wake all")
		}
		for i, change := range []func(){
			func() { p.Follow(1) },
			func() { lead(t, p, leading(2, 2, 1)) },
			func() { p.Lose(errors.New("gone")) },
			func() { p.Close(func(l *commitlog.Log) error { l.Kill(); return nil }) },
		} {
			e := entry(commitlog.ToLastStable, 1<<40)
			if change(); parker.Ready() != e {
				t.Errorf("change %d did not wake", i)
			}
		}
	})
}

func TestAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, vfs.NewMemory())
		p.SetRules(&Rules{ISR: isr.Rules{MinInsyncReplicas: 2, LagMaxMs: 30_000}})
		lead(t, p, leading(5, 0, 1, 2))
		a := appendOne(p, "x")
		if a.Committed {
			t.Fatal("committed without the other replica")
		}
		check := func(what string, wantDone bool, wantErr error) {
			t.Helper()
			if done, err := p.Acknowledged(a.LastOffset, a.Epoch); done != wantDone || !errors.Is(err, wantErr) {
				t.Errorf("%s: %v, %v", what, done, err)
			}
		}
		check("the other lags", false, nil)
		// The ISR shrinks below the minimum: the high watermark may not move, and nobody is told.
		l := leading(5, 1, 1)
		l.Replicas = []kafka.NodeID{1, 2}
		lead(t, p, l)
		check("alone", false, nil)
		// The minimum is lowered: it is kept.
		p.Configure(&Rules{ISR: isr.Rules{MinInsyncReplicas: 1, LagMaxMs: 30_000}})
		check("one is enough", true, nil)
		p.Configure(&Rules{ISR: isr.Rules{MinInsyncReplicas: 2, LagMaxMs: 30_000}})
		check("too few after the append", true, kafka.NotEnoughReplicasAfterAppend)
		p.Follow(6)
		check("another leads", true, kafka.NotLeaderForPartition)
	})
}

// An image that was overtaken changes nothing; a newer epoch is written down.
func TestLeadInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := opened(t, vfs.NewMemory())
		lead(t, p, leading(5, 0, 1))
		appendOne(p, "a")
		lead(t, p, leading(4, 9, 1, 2))
		if s := p.Status(); s.Epoch != 5 || s.Role != Leader || len(s.ISR) != 1 {
			t.Errorf("%+v", s)
		}
		lead(t, p, leading(7, 1, 1))
		appendOne(p, "b")
		for epoch, want := range map[kafka.LeaderEpoch]kafka.Offset{5: 1, 6: 1, 7: 2} {
			end, err := p.EndOffsetForEpoch(epoch, kafka.NoLeaderEpoch)
			if err != nil || end.End != want {
				t.Errorf("epoch %d ends at %d, %v; want %d", epoch, end.End, err, want)
			}
		}
	})
}

func TestOpenThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(id, tp, time.Now)
		err := p.Open(func() (*commitlog.Log, error) { return nil, errors.New("bad disk") })
		if err == nil || p.Status().Role != Offline {
			t.Fatalf("%v, %+v", err, p.Status())
		}
		lead(t, p, leading(0, 0, 1))
		if a := appendOne(p, "x"); !errors.Is(a.Err, kafka.KafkaStorageError) {
			t.Errorf("append: %v", a.Err)
		}
		if _, err := p.Read(new(commitlog.Cursor), &Fetch{LeaderEpoch: -1, LastFetchedEpoch: -1}); !errors.Is(err, kafka.KafkaStorageError) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestSettledWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(id, tp, time.Now)
		waits := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			if p.Settled(time.Second); time.Since(began) != want {
				t.Errorf("waited %v, want %v", time.Since(began), want)
			}
		}
		waits(0)
		p.Begin()
		p.Begin()
		waits(time.Second)
		go func() {
			time.Sleep(100 * time.Millisecond)
			p.End()
			time.Sleep(100 * time.Millisecond)
			p.End()
		}()
		waits(200 * time.Millisecond)
		waits(0)
	})
}

func TestTable(t *testing.T) {
	table := NewTable()
	twin := map[kafka.TopicIDPartition]*Partition{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		key := kafka.TopicIDPartition{TopicID: kafka.TopicID{byte(random.IntN(5))}, Partition: kafka.PartitionID(random.IntN(40))}
		switch random.IntN(3) {
		case 0:
			p := New(key, tp, time.Now)
			table.Add(p)
			twin[key] = p
		case 1:
			if p := twin[key]; p != nil {
				table.Remove(New(key, tp, time.Now)) // another one of the same id
				table.Remove(p)
				delete(twin, key)
			}
		}
		if got := table.Get(key.TopicID, key.Partition); got != twin[key] {
			t.Fatalf("%v: got %p, want %p", key, got, twin[key])
		}
	}
	if table.Len() != len(twin) {
		t.Errorf("%d partitions, want %d", table.Len(), len(twin))
	}
	n := 0
	table.All(func(p *Partition) bool {
		if twin[p.ID()] != p {
			t.Errorf("%v is there", p.ID())
		}
		n++
		return true
	})
	if n != len(twin) {
		t.Errorf("%d were seen, want %d", n, len(twin))
	}
	for _, i := range []kafka.PartitionID{-1, 40, 1 << 30} {
		if table.Get(kafka.TopicID{1}, i) != nil {
			t.Errorf("partition %d exists", i)
		}
	}
}

func TestLookupsAllocateNothing(t *testing.T) {
	table := NewTable()
	table.Add(New(id, tp, time.Now))
	if got := testing.AllocsPerRun(1000, func() { table.Get(id.TopicID, 0) }); got != 0 {
		t.Errorf("%v allocations a lookup", got)
	}
}

func TestAppendsAllocateNothing(t *testing.T) {
	p := opened(t, vfs.NewMemory())
	lead(t, p, leading(0, 0, 1))
	a := &Append{ExpectedEpoch: kafka.NoLeaderEpoch}
	b := records("x")
	if got := testing.AllocsPerRun(1000, func() {
		a.Batches = b
		p.Append(a)
	}); got > 1 { // the memory disk grows now and then
		t.Errorf("%v allocations an append", got)
	}
}

// Who reads from a partition that goes meanwhile is told what those are told who
// come a moment later, and not that the disk has failed.
func TestReadersMeetTheEnd(t *testing.T) {
	for name, read := range map[string]func(*Partition) error{
		"fetch": func(p *Partition) error {
			r, err := p.Read(nil, &Fetch{LeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch, BytesMax: 1 << 20, Bound: commitlog.ToHighWatermark})
			if r.File.Src != nil {
				r.File.Src.Release()
			}
			return err
		},
		"time": func(p *Partition) error {
			_, err := p.ListOffset(&ListOffset{TimestampMs: 1, LeaderEpoch: kafka.NoLeaderEpoch})
			return err
		},
		"epoch": func(p *Partition) error {
			_, err := p.EndOffsetForEpoch(1, kafka.NoLeaderEpoch)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := vfs.NewFault(vfs.NewMemory())
				o := commitlog.Options{FS: slow, Files: segment.NewFiles(slow, 16), Dir: "/t-0", TopicPartition: tp, TopicID: id.TopicID,
					Logger: slog.New(slog.DiscardHandler), Now: time.Now}
				log, err := commitlog.Open(o)
				if err != nil {
					t.Fatal(err)
				}
				log.Append(&commitlog.Append{Batches: records("a"), ExpectedEpoch: kafka.NoLeaderEpoch}, 1)
				hint, err := log.Close()
				if err != nil {
					t.Fatal(err)
				}
				o.CleanStart, o.Hint, o.HighWatermark = true, &hint, hint.LogEnd // not loaded before its first use
				p := New(id, tp, time.Now)
				p.SetRules(&Rules{ISR: isr.Rules{MinInsyncReplicas: 1, LagMaxMs: 30_000}})
				if err := p.Open(func() (*commitlog.Log, error) { return commitlog.Open(o) }); err != nil {
					t.Fatal(err)
				}
				lead(t, p, leading(2, 0, 1))
				slow.Add(vfs.Rule{Ops: vfs.OpAny, Delay: time.Second})
				got := make(chan error, 1)
				go func() { got <- read(p) }()
				time.Sleep(time.Second / 2)
				_ = p.Close(func(l *commitlog.Log) error { l.Kill(); return nil })
				if err := <-got; !errors.Is(err, kafka.NotLeaderForPartition) {
					t.Error(err)
				}
			})
		})
	}
}
