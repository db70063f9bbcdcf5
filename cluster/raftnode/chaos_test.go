// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

var (
	chaosSeeds = flag.Int("chaos.seeds", 25, "seeds of TestChaos")
	chaosFirst = flag.Uint64("chaos.first", 1, "the first seed of TestChaos")
)

// history is what was ever seen to be committed.
type history map[uint64][]byte

// check compares what every node holds as committed with what any node ever did.
func (h history) check(s *sim) error {
	for _, n := range s.up() {
		c := n.core.log.Committed()
		if last := n.core.log.LastIndex(); c.Index > last {
			return fmt.Errorf("node %d: committed to %d, the log ends with %d", n.id.NodeID, c.Index, last)
		}
		for i, b := range n.bytes() {
			if known, ok := h[i]; ok && !bytes.Equal(known, b) {
				return fmt.Errorf("node %d: index %d differs from what was committed before", n.id.NodeID, i)
			}
			h[i] = b
		}
	}
	return nil
}

// TestChaos lets three voters crash, lose each other, write checkpoints and come
// back at random. What was once committed anywhere never changes, only one node
// leads in an epoch, and when all is well again the cluster goes on with all of
// it.
func TestChaos(t *testing.T) {
	for seed := *chaosFirst; seed < *chaosFirst+uint64(*chaosSeeds); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed) })
	}
}

func chaos(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := newSim(t, 3)
	h, leaders := history{}, map[kafka.LeaderEpoch]kafka.NodeID{}
	for range 200 {
		n := s.nodes[kafka.NodeID(1+r.IntN(3))]
		chaosStep(t, s, n, r)
		if err := h.check(s); err != nil {
			t.Fatal(err)
		}
		for _, n := range s.up() {
			l := n.core.leadership()
			if !l.Leading {
				continue
			}
			if other, ok := leaders[l.Epoch]; ok && other != n.id.NodeID {
				t.Fatalf("nodes %d and %d lead in epoch %d", other, n.id.NodeID, l.Epoch)
			}
			leaders[l.Epoch] = n.id.NodeID
		}
	}
	clear(s.cut)
	for id := kafka.NodeID(1); id <= 3; id++ {
		if n := s.nodes[id]; n.core == nil {
			n.start()
		} else {
			n.power.CutAt(0)
		}
	}
	s.leader(3)
	s.proposeMany(3)
	s.tick(6 * electionTicks)
	if err := h.check(s); err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for i := range h {
		last = max(last, i)
	}
	s.same(last)
	if l := s.leader(3); l.core.log.Committed().Index < last {
		t.Errorf("committed to %d, was %d", l.core.log.Committed().Index, last)
	}
}

func chaosStep(t *testing.T, s *sim, n *simNode, r *rand.Rand) {
	switch k := r.IntN(20); {
	case k < 8:
		s.tick(1 + r.IntN(electionTicks))
	case n.core == nil:
		n.start()
	case k < 9: // the power goes in the middle of something, soon
		n.cutLoss = anyLoss(r)
		n.power.CutAt(n.power.Calls() + 1 + r.Int64N(12))
	case k < 12:
		for range 1 + r.IntN(10) {
			if n.core == nil {
				return
			}
			if err := n.propose(); !errors.Is(err, errNotLeading) {
				n.survive(err)
			}
		}
		if r.IntN(3) > 0 {
			s.deliver()
		}
	case k < 14:
		s.isolate(n.id.NodeID, r.IntN(2) == 0)
	case k < 15: // one way
		s.cut[[2]kafka.NodeID{n.id.NodeID, kafka.NodeID(1 + r.IntN(3))}] = r.IntN(2) == 0
	case k < 17:
		if n.core.log.Committed().End > 0 {
			n.checkpointIfNew()
		}
	default:
		n.fs = n.fs.CrashClone(anyLoss(r))
		n.core = nil
		if r.IntN(2) == 0 {
			n.start()
		}
	}
}

func anyLoss(r *rand.Rand) vfs.Loss {
	keeps := []vfs.Keep{vfs.KeepAll, vfs.KeepNone, vfs.KeepPrefix, vfs.KeepTorn}
	return vfs.Loss{Data: keeps[r.IntN(4)], Entries: keeps[r.IntN(4)], Seed: r.Uint64()}
}

// checkpointIfNew writes a checkpoint unless there is one as new.
func (n *simNode) checkpointIfNew() {
	n.s.t.Helper()
	ck, _ := n.core.log.Checkpoint()
	if n.core.log.Committed().End > ck.End {
		n.checkpoint()
	}
}
