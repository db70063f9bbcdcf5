// SPDX-License-Identifier: Apache-2.0

package isr

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
)

func leadership(epoch kafka.PartitionEpoch, isr []kafka.NodeID, replicas ...kafka.NodeID) Leadership {
	return Leadership{Self: 1, Epoch: 5, PartitionEpoch: epoch, Replicas: replicas, ISR: isr}
}

func nodes(ids ...kafka.NodeID) []kafka.NodeID { return ids }

var rules = Rules{MinInsyncReplicas: 1, LagMaxMs: 30_000}

func want(t *testing.T, what string, s *Leader, e Effects, hw kafka.Offset, moved bool) {
	t.Helper()
	if e.HighWatermark != hw || e.Moved != moved || s.HighWatermark() != hw {
		t.Errorf("%s: high watermark %d, moved %v; want %d, %v", what, e.HighWatermark, e.Moved, hw, moved)
	}
}

func TestSingleReplica(t *testing.T) {
	s := Lead(leadership(0, nodes(1), 1), rules, 10, 3, 0)
	if s.HighWatermark() != 10 || !s.KnowsCommitted() || !s.EnoughReplicas() {
		t.Errorf("a single replica leads with high watermark %d", s.HighWatermark())
	}
	want(t, "append", &s, s.Appended(12, 1), 12, true)
	want(t, "again", &s, s.Appended(12, 1), 12, false)
	if e := s.Tick(1 << 40); e.Propose != nil {
		t.Errorf("a single replica proposes %v", e.Propose)
	}
}

// min.insync.replicas above the number of replicas counts as that number.
func TestMinISRIsCappedByReplicas(t *testing.T) {
	s := Lead(leadership(0, nodes(1), 1), Rules{MinInsyncReplicas: 3}, 0, 0, 0)
	if !s.EnoughReplicas() {
		t.Error("the only replica is not enough")
	}
	want(t, "append", &s, s.Appended(1, 0), 1, true)
}

// Below min.insync.replicas acks=all is refused and the high watermark stands.
func TestUnderMinISR(t *testing.T) {
	s := Lead(leadership(0, nodes(1, 2), 1, 2, 3), Rules{MinInsyncReplicas: 2, LagMaxMs: 10}, 0, 0, 0)
	want(t, "append", &s, s.Appended(5, 0), 0, false)
	e, _ := s.Fetched(2, 1, 5, 1)
	want(t, "both have it", &s, e, 5, true)
	want(t, "shrunk by the controller", &s, s.Update(leadership(1, nodes(1), 1, 2, 3), 2), 5, false)
	if s.EnoughReplicas() {
		t.Error("one replica is enough for two")
	}
	want(t, "append alone", &s, s.Appended(9, 100), 5, false)
	want(t, "rule relaxed", &s, s.Configure(Rules{MinInsyncReplicas: 1, LagMaxMs: 10}, 100), 9, true)
}

// A leader does not know what was committed until the high watermark reaches
// its epoch's start (KIP-207).
func TestEpochStart(t *testing.T) {
	s := Lead(leadership(0, nodes(1, 2), 1, 2), rules, 10, 4, 0)
	if s.KnowsCommitted() || s.HighWatermark() != 4 {
		t.Errorf("high watermark %d", s.HighWatermark())
	}
	if e, _ := s.Fetched(2, 1, 7, 0); e.HighWatermark != 7 || s.KnowsCommitted() {
		t.Errorf("high watermark %d", e.HighWatermark)
	}
	if e, _ := s.Fetched(2, 1, 10, 0); e.HighWatermark != 10 || !s.KnowsCommitted() {
		t.Errorf("high watermark %d", e.HighWatermark)
	}
}

// A follower joins when it has all that is committed and all from before the
// epoch; until the controller has answered it holds the high watermark back.
func TestExpand(t *testing.T) {
	s := Lead(leadership(0, nodes(1), 1, 2), rules, 10, 10, 0)
	s.Appended(20, 0)
	if e, _ := s.Fetched(2, 1, 15, 0); e.Propose != nil {
		t.Errorf("it lags and joins: %v", e.Propose)
	}
	e, _ := s.Fetched(2, 1, 20, 0)
	if !slices.Equal(e.Propose, nodes(1, 2)) {
		t.Fatalf("proposes %v", e.Propose)
	}
	if e, _ := s.Fetched(2, 1, 20, 0); e.Propose != nil {
		t.Error("proposes again while one is in flight")
	}
	want(t, "append while it is in flight", &s, s.Appended(25, 1), 20, false)
	if !s.EnoughAfterAppend() {
		t.Error("not enough")
	}
	want(t, "committed", &s, s.Update(leadership(1, nodes(1, 2), 1, 2), 2), 20, false)
	e, _ = s.Fetched(2, 1, 25, 3)
	want(t, "it has it", &s, e, 25, true)
	want(t, "an image that was overtaken", &s, s.Update(leadership(1, nodes(1), 1, 2), 3), 25, false)
	if len(s.ISR()) != 2 {
		t.Errorf("isr %v", s.ISR())
	}
}

// A member that is not caught up for longer than the lag time is dropped, and
// counts until the controller has agreed.
func TestShrink(t *testing.T) {
	s := Lead(leadership(0, nodes(1, 2, 3), 1, 2, 3), rules, 0, 0, 0)
	s.Appended(10, 0)
	s.Fetched(2, 1, 10, 1000)
	s.Fetched(3, 1, 4, 1000)
	if e := s.Tick(30_000); e.Propose != nil {
		t.Errorf("after 30 s: %v", e.Propose)
	}
	e := s.Tick(30_001)
	if !slices.Equal(e.Propose, nodes(1, 2)) {
		t.Fatalf("proposes %v", e.Propose)
	}
	want(t, "in flight", &s, s.Appended(12, 30_002), 4, false)
	s.Fetched(2, 1, 12, 30_003)
	want(t, "refused", &s, s.Refused(30_004), 4, false)
	if e := s.Tick(30_005); !slices.Equal(e.Propose, nodes(1, 2)) {
		t.Errorf("after a refusal: %v", e.Propose)
	}
	want(t, "committed", &s, s.Update(leadership(1, nodes(1, 2), 1, 2, 3), 70_000), 12, true)
}

// A follower that reads what the leader had when it last asked keeps up, even
// if it is never at the very end.
func TestKeepingUpBehindAFastProducer(t *testing.T) {
	s := Lead(leadership(0, nodes(1, 2), 1, 2), rules, 0, 0, 0)
	for i := range int64(100) {
		s.Appended(kafka.Offset(10*(i+1)), 10_000*i)
		s.Fetched(2, 1, kafka.Offset(10*i), 10_000*i+5_000)
		if e := s.Tick(10_000*i + 9_000); e.Propose != nil {
			t.Fatalf("dropped after round %d", i)
		}
	}
}

// One about to join holds the high watermark back, so that it can join at all.
func TestCandidateHoldsTheHighWatermark(t *testing.T) {
	s := Lead(leadership(0, nodes(1), 1, 2), rules, 0, 0, 0)
	s.Fetched(2, 1, 0, 0) // proposes
	s.Refused(0)
	want(t, "append", &s, s.Appended(10, 1), 0, false)
	want(t, "fenced", &s, s.Fenced(2, true, 2), 10, true)
}

func TestStaleFollowers(t *testing.T) {
	s := Lead(leadership(0, nodes(1, 2), 1, 2), rules, 0, 0, 0)
	s.Appended(10, 0)
	if _, ok := s.Fetched(9, 1, 10, 0); ok {
		t.Error("a broker that is no replica was taken")
	}
	s.Fetched(2, 7, 3, 0)
	if e, ok := s.Fetched(2, 6, 10, 0); ok || e.HighWatermark != 3 {
		t.Errorf("an older incarnation was taken: high watermark %d", e.HighWatermark)
	}
}

// Against a plain twin: the high watermark is the smallest log end over those
// that hold it, never moves back, and stands under min ISR.
func TestAgainstPlainTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := nodes(1, 2, 3, 4)
		minISR := rapid.IntRange(1, 5).Draw(t, "min isr")
		members := all[:rapid.IntRange(1, 4).Draw(t, "isr size")]
		s := Lead(leadership(0, slices.Clone(members), all...), Rules{MinInsyncReplicas: minISR, LagMaxMs: 1000}, 0, 0, 0)
		own, now, hw := kafka.Offset(0), int64(0), s.HighWatermark()
		epoch := kafka.PartitionEpoch(0)
		ends := map[kafka.NodeID]kafka.Offset{}
		committed, proposed := slices.Clone(members), []kafka.NodeID(nil)
		for range 60 {
			now += rapid.Int64Range(0, 400).Draw(t, "time")
			var e Effects
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				own += kafka.Offset(rapid.IntRange(1, 5).Draw(t, "records"))
				e = s.Appended(own, now)
			case 1:
				id := all[rapid.IntRange(1, 3).Draw(t, "follower")]
				ends[id] = kafka.Offset(rapid.Int64Range(int64(ends[id]), int64(own)).Draw(t, "end"))
				e, _ = s.Fetched(id, 1, ends[id], now)
			case 2:
				e = s.Tick(now)
			case 3:
				if proposed != nil {
					epoch++
					committed = proposed
					e = s.Update(leadership(epoch, committed, all...), now)
				} else {
					e = s.Tick(now)
				}
				proposed = nil
			case 4:
				proposed = nil
				e = s.Refused(now)
			}
			if e.Propose != nil {
				if proposed != nil {
					t.Fatal("two proposals at once")
				}
				proposed = e.Propose
				if !slices.Contains(proposed, 1) {
					t.Fatalf("the leader drops itself: %v", proposed)
				}
			}
			if s.HighWatermark() < hw {
				t.Fatalf("the high watermark moved back from %d to %d", hw, s.HighWatermark())
			}
			moved := s.HighWatermark() > hw
			hw = s.HighWatermark()
			if moved && len(committed) < min(minISR, len(all)) {
				t.Fatalf("it moved with isr %v and min isr %d", committed, minISR)
			}
			for _, id := range committed {
				end := own
				if id != 1 {
					end = ends[id]
				}
				if moved && end < hw {
					t.Fatalf("it moved to %d, beyond member %d that has %d", hw, id, end)
				}
			}
			for _, id := range proposed {
				if id != 1 && moved && ends[id] < hw {
					t.Fatalf("it moved to %d, beyond %d that is about to join with %d", hw, id, ends[id])
				}
			}
		}
	})
}

func ExampleLeader() {
	s := Lead(leadership(0, nodes(1, 2), 1, 2), rules, 0, 0, 0)
	s.Appended(10, 0)
	e, _ := s.Fetched(2, 1, 7, 0)
	fmt.Println(e.HighWatermark, e.Moved)
	// Output: 7 true
}
