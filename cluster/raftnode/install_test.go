// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"testing"

	"gregor/base/vfs"
)

// A voter that once led alone, and holds batches that nobody else has, is sent a
// checkpoint. Wherever the power goes while it is installed, the voter comes back
// with nothing as committed that the others have not committed.
func TestInstallationMayBeCutShortAnywhere(t *testing.T) {
	for cut := int64(1); ; cut++ {
		s := newSim(t, 3)
		old := s.leader(3)
		s.proposeMany(5)
		s.isolate(old.id.NodeID, true)
		for range 4 {
			if err := old.propose(); err != nil {
				t.Fatal(err)
			}
		}
		for s.leader(2) == old {
			s.tick(electionTicks)
		}
		l := s.leader(2)
		for range 3 {
			for range 20 {
				if err := l.propose(); err != nil {
					t.Fatal(err)
				}
				s.deliver()
			}
			l.checkpoint()
		}
		h := history{}
		if err := h.check(s); err != nil {
			t.Fatal(err)
		}
		old.cutLoss = vfs.Loss{Data: vfs.Keep(cut % 4), Entries: vfs.Keep((cut / 4) % 4), Seed: uint64(cut)}
		at := old.power.Calls() + cut
		old.power.CutAt(at)
		s.isolate(old.id.NodeID, false)
		s.tick(4 * electionTicks)
		whole := old.power.Calls() < at
		if !whole && old.core != nil { // while the checkpoint came in
			old.survive(vfs.ErrCut)
		}
		if !whole {
			old.start()
			old.drain()
			if err := h.check(s); err != nil {
				t.Fatalf("cut at call %d: %v", cut, err)
			}
			s.tick(6 * electionTicks)
		} else {
			old.power.CutAt(0)
		}
		if err := h.check(s); err != nil {
			t.Fatalf("cut at call %d: %v", cut, err)
		}
		s.same(s.leader(3).core.log.LastIndex())
		if t.Failed() {
			t.Fatalf("cut at call %d", cut)
		}
		if whole {
			if ck, _ := old.core.log.Checkpoint(); ck.End == 0 || cut < 20 {
				t.Errorf("%d calls, checkpoint %s", cut, ck.Name())
			}
			return
		}
	}
}
