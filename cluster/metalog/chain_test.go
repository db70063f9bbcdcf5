// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
)

var (
	chainSeeds = flag.Int("chain.seeds", 30, "seeds of TestOrdinaryCrashesNeedNobody")
	chainFirst = flag.Uint64("chain.first", 1, "the first seed of TestOrdinaryCrashesNeedNobody")
)

// chain is a log that is killed, loses power and is opened again on one disk, and
// what it must hold.
type chain struct {
	r     *rand.Rand
	m     *vfs.Memory
	crash *vfs.Crash
	o     Options
	log   *Log

	epoch     kafka.LeaderEpoch
	committed uint64
	durable   uint64            // appends up to here have returned
	was       map[uint64][]byte // by index
	coming    map[uint64][]byte // of a call that has not returned
	n         int
	// installing is the checkpoint whose installation has not returned.
	installing Checkpoint
}

// Whatever happens to a process and its machine, often and at any call, the next
// start needs nobody, and has all that an append has returned for: not one batch
// that is another, and none that was never appended.
func TestOrdinaryCrashesNeedNobody(t *testing.T) {
	for seed := *chainFirst; seed < *chainFirst+uint64(*chainSeeds); seed++ {
		if err := runChain(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func runChain(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 7))
	c := &chain{r: r, m: vfs.NewMemory(), was: map[uint64][]byte{}, epoch: 1}
	c.o = Options{Dir: "/meta", SegmentBytesMax: 1000 << r.IntN(6), RetentionBytes: 1 << (8 + r.IntN(8))}
	if err := errors.Join(c.m.MkdirAll("/meta"), c.m.SyncDir("/"), c.reopen()); err != nil {
		return err
	}
	c.crash.CutAt(0)
	c.committed, c.durable = 1, 1
	if err := c.log.Form(nil, []byte("conf"), nil, 33, 1); err != nil {
		return err
	}
	if err := c.log.SaveQuorum(QuorumState{Leader: 1, Epoch: 1, Voted: 1, Commit: 1, HasCommit: true}); err != nil {
		return err
	}
	for step := range 60 {
		if r.IntN(4) == 0 {
			c.crash.CutAt(c.crash.Calls() + 1 + r.Int64N(14))
		}
		err := c.step()
		if err == nil && r.IntN(6) == 0 {
			err = vfs.ErrCut // right now
		}
		if errors.Is(err, vfs.ErrCut) {
			c.fall()
			err = c.reopen()
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	return nil
}

// fall is what a crash leaves; of a process that was killed all.
func (c *chain) fall() {
	keeps := []vfs.Keep{vfs.KeepAll, vfs.KeepNone, vfs.KeepPrefix, vfs.KeepTorn}
	if c.r.IntN(3) > 0 {
		c.m = c.m.CrashClone(vfs.Loss{Data: keeps[c.r.IntN(4)], Entries: keeps[c.r.IntN(4)], Seed: c.r.Uint64()})
	}
}

// reopen opens the log, now and then several times with a crash in it.
func (c *chain) reopen() error {
	for {
		c.crash = vfs.NewCrash(c.m)
		if c.r.IntN(4) == 0 {
			c.crash.CutAt(1 + c.r.Int64N(20))
		}
		c.o.FS = c.crash
		l, err := Open(c.o)
		if err == nil {
			c.log = l
			err = c.check()
		}
		if !errors.Is(err, vfs.ErrCut) {
			return err
		}
		c.fall()
	}
}

// check compares the log with what it must hold, and takes up which of two
// histories it went on with.
func (c *chain) check() error {
	l := c.log
	if ck, ok := l.Checkpoint(); ok && c.installing.Index > 0 && ck.Name() == c.installing.Name() {
		c.committed, c.durable, c.was = ck.Index, ck.Index, map[uint64][]byte{}
	} else if ok && ck.Index > c.committed {
		return fmt.Errorf("checkpoint of index %d, %d is committed", ck.Index, c.committed)
	}
	if l.LastIndex() < c.durable {
		return fmt.Errorf("index %d is the last, %d was durable", l.LastIndex(), c.durable)
	}
	now := map[uint64][]byte{}
	for i := l.FirstIndex(); i <= l.LastIndex(); i++ {
		es, err := l.Entries(i, i+1, 0)
		if err != nil {
			return err
		}
		b := es[0].Batch
		if !bytes.Equal(b, c.was[i]) && (i <= c.durable || !bytes.Equal(b, c.coming[i])) {
			return fmt.Errorf("index %d differs", i)
		}
		now[i] = b
	}
	q, _ := l.Quorum()
	if q.Commit > c.committed {
		return fmt.Errorf("index %d is committed, was %d", q.Commit, c.committed)
	}
	c.epoch = max(1, q.Epoch)
	c.installing = Checkpoint{}
	c.was, c.coming, c.durable = now, nil, l.LastIndex()
	l.Commit(c.committed)
	return nil
}

func (c *chain) step() error {
	last := c.log.LastIndex()
	switch c.r.IntN(12) {
	case 0: // another leader has less
		if last > c.committed {
			c.epoch++
			if err := c.saveQuorum(); err != nil {
				return err
			}
			return c.append(c.committed + 1 + c.r.Uint64N(last-c.committed))
		}
	case 1:
		c.epoch++
		return c.saveQuorum()
	case 2, 3:
		c.committed += c.r.Uint64N(last + 1 - c.committed)
		c.log.Commit(c.committed)
		return nil
	case 4:
		_, err := c.log.WriteCheckpoint(State{End: c.log.Committed().End, ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords})
		if errors.Is(err, ErrCurrent) {
			return nil
		}
		return err
	case 5:
		if err := c.log.Close(); err != nil {
			return err
		}
		return c.reopen()
	case 6:
		if c.r.IntN(3) == 0 {
			return c.install()
		}
	}
	return c.append(last + 1)
}

func (c *chain) saveQuorum() error {
	return c.log.SaveQuorum(QuorumState{Leader: 1, Epoch: c.epoch, Voted: 1, Commit: c.committed, HasCommit: true})
}

func (c *chain) append(index uint64) error {
	end, _ := c.log.OffsetAfter(index - 1)
	c.coming = map[uint64][]byte{}
	var es []Entry
	for i := range 1 + c.r.IntN(4) {
		c.n++
		raw := testBatch(c.n, 1+c.r.IntN(1<<c.r.IntN(8)))
		es = append(es, Entry{Index: index + uint64(i), Epoch: c.epoch, Batch: raw})
		sealed := bytes.Clone(raw)
		batch.SetBaseOffset(sealed, end)
		batch.SetLeaderEpoch(sealed, c.epoch)
		c.coming[index+uint64(i)], end = sealed, nextOffset(sealed)
	}
	c.durable = index - 1 // what is cut away may be there or not
	if err := c.log.Append(es); err != nil {
		return err
	}
	for i := index; i <= c.log.LastIndex(); i++ {
		c.was[i] = c.coming[i]
	}
	c.coming, c.durable = nil, c.log.LastIndex()
	return nil
}

// install takes a checkpoint of another leader, which this log does not reach.
func (c *chain) install() error {
	c.epoch++
	if err := c.saveQuorum(); err != nil {
		return err
	}
	to := Checkpoint{End: c.log.End() + kafka.Offset(c.r.IntN(20)) + 3, Epoch: c.epoch, Index: c.log.LastIndex() + 3}
	if c.r.IntN(2) == 0 && c.log.LastIndex() > c.committed { // but a longer one of its own
		to.Index = c.committed + 1
		to.End, _ = c.log.OffsetAfter(c.committed)
		to.End++
	}
	if err := (&scriptLog{log: c.log}).receive([]string{fmt.Sprint(to.End), fmt.Sprint(to.Epoch), fmt.Sprint(to.Index)}); err != nil {
		return err
	}
	c.installing = to
	if err := c.log.Install(to); err != nil {
		return err
	}
	c.committed, c.durable, c.was = to.Index, to.Index, map[uint64][]byte{}
	c.installing = Checkpoint{}
	return nil
}
