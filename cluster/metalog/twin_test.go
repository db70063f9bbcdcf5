// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
)

// twin is the log as a list: what every Log must agree with.
type twin struct {
	batches   [][]byte // of index first, first+1, …
	first     uint64
	committed uint64
	n         int
}

func (w *twin) last() uint64 { return w.first + uint64(len(w.batches)) - 1 }

func (w *twin) end() kafka.Offset {
	if len(w.batches) == 0 {
		return 0
	}
	return nextOffset(w.batches[len(w.batches)-1])
}

func nextOffset(b []byte) kafka.Offset {
	h, err := batch.Parse(b)
	if err != nil {
		panic(err)
	}
	return h.NextOffset()
}

// put appends at an index, as Append does, and returns the entries to append.
func (w *twin) put(index uint64, epoch kafka.LeaderEpoch, counts []int) []Entry {
	w.batches = slices.Clone(w.batches[:index-w.first])
	var es []Entry
	for i, count := range counts {
		w.n++
		raw := testBatch(w.n, count)
		es = append(es, Entry{Index: index + uint64(i), Epoch: epoch, Batch: raw})
		sealed := bytes.Clone(raw)
		batch.SetBaseOffset(sealed, w.end())
		batch.SetLeaderEpoch(sealed, epoch)
		w.batches = append(w.batches, sealed)
	}
	return es
}

func (w *twin) check(l *Log) error {
	if got := l.LastIndex(); got != w.last() {
		return fmt.Errorf("last index %d, want %d", got, w.last())
	}
	if got := l.End(); got != w.end() {
		return fmt.Errorf("end %d, want %d", got, w.end())
	}
	for i := l.FirstIndex(); i <= l.LastIndex(); {
		es, err := l.Entries(i, l.LastIndex()+1, 300)
		if err != nil {
			return err
		}
		for _, e := range es {
			if want := w.batches[e.Index-w.first]; !bytes.Equal(e.Batch, want) {
				return fmt.Errorf("index %d: %x, want %x", e.Index, e.Batch, want)
			}
		}
		i += uint64(len(es))
	}
	return nil
}

// TestLogAgreesWithTwin appends, cuts, commits, writes checkpoints, reopens and
// crashes at random.
func TestLogAgreesWithTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newDisk(t)
		o := Options{
			FS: m, Dir: "/meta", SegmentBytesMax: rapid.Int64Range(100, 2000).Draw(t, "segment"),
			RecentBytesMax: rapid.IntRange(1, 2000).Draw(t, "recent"), RetentionBytes: rapid.Int64Range(1, 5000).Draw(t, "retention"),
		}
		l, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Form(nil, []byte("conf"), nil, 33, 1); err != nil {
			t.Fatal(err)
		}
		w := &twin{first: 2, committed: 1}
		epoch := kafka.LeaderEpoch(1)
		reopen := func() {
			if l, err = Open(o); err != nil {
				t.Fatal(err)
			}
			if ck, _ := l.Checkpoint(); w.committed < ck.Index {
				t.Fatalf("checkpoint of index %d, committed was %d", ck.Index, w.committed)
			}
			l.Commit(w.committed)
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				index := rapid.Uint64Range(max(w.committed+1, w.last()-min(w.last(), 3)), w.last()+1).Draw(t, "index")
				epoch += kafka.LeaderEpoch(rapid.IntRange(0, 1).Draw(t, "epochs"))
				counts := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 6).Draw(t, "records")
				if err := l.Append(w.put(index, epoch, counts)); err != nil {
					t.Fatal(err)
				}
			},
			"commit": func(t *rapid.T) {
				w.committed = rapid.Uint64Range(w.committed, w.last()).Draw(t, "index")
				l.Commit(w.committed)
			},
			"checkpoint": func(t *rapid.T) {
				end := kafka.Offset(0)
				if w.committed >= w.first {
					end = nextOffset(w.batches[w.committed-w.first])
				}
				_, err := l.WriteCheckpoint(State{End: end, ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords})
				if err != nil && !errors.Is(err, ErrCurrent) {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				reopen()
			},
			"crash": func(t *rapid.T) {
				m = m.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
				o.FS = m
				reopen()
			},
			"": func(t *rapid.T) {
				if err := w.check(l); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

// TestCrashKeepsWhatWasAppended cuts the power at every call of a history and
// reopens what each kind of crash leaves: all that Append has returned for is
// there, and nothing that was never appended.
func TestCrashKeepsWhatWasAppended(t *testing.T) {
	for cut := int64(1); ; cut++ {
		m := newDisk(t)
		crash := vfs.NewCrash(m)
		crash.CutAt(cut)
		w, durable, err := crashHistory(Options{FS: crash, Dir: "/meta", SegmentBytesMax: 400, RetentionBytes: 1200})
		if err == nil {
			return
		}
		for _, loss := range losses(uint64(cut)) {
			l, err := Open(Options{FS: crash.Image(loss), Dir: "/meta", SegmentBytesMax: 400, RetentionBytes: 1200})
			if err != nil {
				t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
			}
			if err := w.keeps(l, durable); err != nil {
				t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// keeps checks l after a crash: the indexes up to durable, and of what comes
// behind only batches that were on their way.
func (w *twin) keeps(l *Log, durable uint64) error {
	if last := l.LastIndex(); last < durable || last > max(w.last(), durable) {
		if l.Empty() && durable <= 1 {
			return nil
		}
		return fmt.Errorf("last index %d, durable were %d, on their way up to %d", last, durable, w.last())
	}
	for i := l.FirstIndex(); i <= l.LastIndex(); i++ {
		es, err := l.Entries(i, i+1, 0)
		if err != nil {
			return err
		}
		if want := w.batches[i-w.first]; !bytes.Equal(es[0].Batch, want) {
			return fmt.Errorf("index %d differs", i)
		}
	}
	return nil
}

// crashHistory appends, cuts and writes checkpoints until the first error.
// durable is the last index for which an append has returned.
func crashHistory(o Options) (w *twin, durable uint64, err error) {
	w = &twin{first: 2}
	l, err := Open(o)
	if err != nil {
		return w, 0, err
	}
	if err := l.Form(nil, []byte("conf"), nil, 33, 1); err != nil {
		return w, 0, err
	}
	durable = 1
	for round := range 12 {
		// A term is in quorum-state before it is in the log.
		if err := l.SaveQuorum(QuorumState{Leader: 1, Epoch: kafka.LeaderEpoch(1 + round/4), Voted: 1, Commit: durable, HasCommit: true}); err != nil {
			return w, durable, err
		}
		if err := l.Append(w.put(w.last()+1, kafka.LeaderEpoch(1+round/4), []int{1 + round%3, 2})); err != nil {
			return w, durable, err
		}
		durable = w.last()
		l.Commit(durable)
		if round%3 == 2 {
			if _, err := l.WriteCheckpoint(State{End: w.end(), ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords}); err != nil {
				return w, durable, err
			}
		}
		// What is not committed may be cut away; both are possible after a crash.
		if round%4 == 3 {
			if err := l.Append(w.put(w.last()+1, kafka.LeaderEpoch(1+round/4), []int{3})); err != nil {
				return w, durable, err
			}
		}
	}
	return w, durable, l.Close()
}
