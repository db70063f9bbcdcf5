// SPDX-License-Identifier: Apache-2.0

// Package isr decides what a partition's leader may promise: where the high
// watermark is, whether acks=all is accepted, and which changes of the in-sync
// replicas (ISR) to propose to the controller.
//
// It is pure: (state, event, now) -> state, effects. It knows no log, no clock
// and no network. A Leader is guarded by its partition's leaf mutex; nothing
// here blocks or allocates on the way of an append.
package isr

import (
	"slices"

	"gregor/base/kafka"
)

// Leadership is what the metadata image says of a partition that this broker
// leads.
type Leadership struct {
	Self           kafka.NodeID
	Epoch          kafka.LeaderEpoch
	PartitionEpoch kafka.PartitionEpoch
	Replicas       []kafka.NodeID
	ISR            []kafka.NodeID
}

// Rules are the configuration that counts here.
type Rules struct {
	MinInsyncReplicas int   // min.insync.replicas
	LagMaxMs          int64 // replica.lag.time.max.ms
}

// Leader is the leader's view of its replicas.
//
// The high watermark is the smallest log end over the maximal ISR: the
// committed ISR and, while a proposal to extend it is in flight, the replicas
// that it adds, since the controller may have accepted it already. Followers
// that are caught up and about to join hold it back too, so that they can join
// at all while producers are fast. It does not move, and acks=all is refused,
// while the committed ISR is smaller than min.insync.replicas, which counts as
// the number of replicas where that is smaller (KIP-966).
//
// Invariant: the high watermark never moves back. A leader whose high
// watermark is below the start of its epoch does not know yet what its
// predecessor had committed.
type Leader struct {
	rules          Rules
	self           kafka.NodeID
	epoch          kafka.LeaderEpoch
	partitionEpoch kafka.PartitionEpoch
	epochStart     kafka.Offset
	ownEnd         kafka.Offset
	highWatermark  kafka.Offset
	replicas       int
	isr            []kafka.NodeID // committed
	pending        []kafka.NodeID // proposed and not yet answered, or nil
	followers      []follower     // in order of Replicas
}

// follower is one other replica. Offsets are NoOffset until it has fetched in
// this leader epoch.
type follower struct {
	id             kafka.NodeID
	brokerEpoch    kafka.BrokerEpoch
	logEnd         kafka.Offset
	fenced         bool
	caughtUpAtMs   int64
	fetchedAtMs    int64
	leaderEndThen  kafka.Offset // the leader's log end at its last fetch
	fetchedAnyTime bool
}

// Effects are what an event calls for.
type Effects struct {
	// HighWatermark is where it stands now; Moved says that this event moved it.
	HighWatermark kafka.Offset
	Moved         bool
	// Propose, if not nil, is an ISR for the controller (AlterPartition).
	Propose []kafka.NodeID
}

// Lead begins a leader epoch: logEnd is where the log ends and the epoch
// starts, highWatermark what the replica knew before.
func Lead(l Leadership, r Rules, logEnd, highWatermark kafka.Offset, nowMs int64) Leader {
	s := Leader{rules: r, self: l.Self, epoch: l.Epoch, epochStart: logEnd, ownEnd: logEnd, highWatermark: highWatermark}
	s.adopt(l)
	for i := range s.followers {
		// A member of the ISR gets the lag time to show itself.
		f := &s.followers[i]
		if slices.Contains(s.isr, f.id) {
			f.caughtUpAtMs = nowMs
		}
	}
	s.advance(nowMs)
	return s
}

// adopt takes replicas and ISR over from the image, keeping what is known of
// followers that stay.
func (s *Leader) adopt(l Leadership) {
	old := s.followers
	s.partitionEpoch, s.replicas, s.isr, s.pending = l.PartitionEpoch, len(l.Replicas), l.ISR, nil
	s.followers = nil
	for _, id := range l.Replicas {
		if id == s.self {
			continue
		}
		if i := slices.IndexFunc(old, func(f follower) bool { return f.id == id }); i >= 0 {
			s.followers = append(s.followers, old[i])
			continue
		}
		s.followers = append(s.followers, follower{id: id, logEnd: kafka.NoOffset, leaderEndThen: kafka.NoOffset})
	}
}

// Update takes a newer image of the same leader epoch: a proposal was
// committed, or the controller changed replicas or ISR on its own. An older
// one changes nothing.
func (s *Leader) Update(l Leadership, nowMs int64) Effects {
	if l.PartitionEpoch <= s.partitionEpoch {
		return s.effects(false)
	}
	s.adopt(l)
	return s.effects(s.advance(nowMs))
}

// Configure takes changed rules.
func (s *Leader) Configure(r Rules, nowMs int64) Effects {
	s.rules = r
	return s.effects(s.advance(nowMs))
}

// Appended tells where the leader's own log ends, as far as it counts: to the
// end of what was written, or of what was synced where the topic asks for that.
func (s *Leader) Appended(ownEnd kafka.Offset, nowMs int64) Effects {
	s.ownEnd = ownEnd
	return s.effects(s.advance(nowMs))
}

// Fetched tells that a follower asked for what is behind logEnd, and so has
// everything before it. ok is false for a broker that is no replica, or whose
// incarnation is older than one that was seen.
func (s *Leader) Fetched(id kafka.NodeID, brokerEpoch kafka.BrokerEpoch, logEnd kafka.Offset, nowMs int64) (e Effects, ok bool) {
	f := s.follower(id)
	if f == nil || brokerEpoch < f.brokerEpoch {
		return s.effects(false), false
	}
	f.brokerEpoch, f.fenced = brokerEpoch, false
	switch {
	case logEnd >= s.ownEnd:
		f.caughtUpAtMs = nowMs
	case f.fetchedAnyTime && logEnd >= f.leaderEndThen:
		// It has all that there was when it fetched before.
		f.caughtUpAtMs = max(f.caughtUpAtMs, f.fetchedAtMs)
	}
	f.logEnd, f.leaderEndThen, f.fetchedAtMs, f.fetchedAnyTime = logEnd, s.ownEnd, nowMs, true
	e = s.effects(s.advance(nowMs))
	if s.mayJoin(f) {
		s.pending = append(slices.Clone(s.isr), id)
		e.Propose = slices.Clone(s.pending)
	}
	return e, true
}

// Fenced tells that the controller has fenced a broker, or unfenced it.
func (s *Leader) Fenced(id kafka.NodeID, fenced bool, nowMs int64) Effects {
	if f := s.follower(id); f != nil {
		f.fenced = fenced
	}
	return s.effects(s.advance(nowMs))
}

// Tick proposes to drop members that have not been caught up for longer than
// the lag time.
func (s *Leader) Tick(nowMs int64) Effects {
	e := s.effects(false)
	if s.pending != nil {
		return e
	}
	keep := make([]kafka.NodeID, 0, len(s.isr))
	for _, id := range s.isr {
		f := s.follower(id)
		if f == nil || f.logEnd == s.ownEnd || nowMs-f.caughtUpAtMs <= s.rules.LagMaxMs {
			keep = append(keep, id)
		}
	}
	if len(keep) < len(s.isr) {
		s.pending = keep
		e.Propose = slices.Clone(keep)
	}
	return e
}

// Refused tells that the controller did not take the proposal: the committed
// ISR stands, and another proposal may be made.
func (s *Leader) Refused(nowMs int64) Effects {
	s.pending = nil
	return s.effects(s.advance(nowMs))
}

// HighWatermark is where it stands.
func (s *Leader) HighWatermark() kafka.Offset { return s.highWatermark }

// KnowsCommitted reports whether the high watermark has reached the start of
// the epoch. Until then the leader cannot tell latest offsets
// (OFFSET_NOT_AVAILABLE, KIP-207).
func (s *Leader) KnowsCommitted() bool { return s.highWatermark >= s.epochStart }

// EnoughReplicas reports whether acks=all may be taken now.
func (s *Leader) EnoughReplicas() bool { return len(s.isr) >= s.minISR() }

// EnoughAfterAppend reports whether acks=all may be answered as kept, once the
// high watermark has passed.
func (s *Leader) EnoughAfterAppend() bool { return s.maximalSize() >= s.minISR() }

// ISR is the committed ISR. It must not be changed.
func (s *Leader) ISR() []kafka.NodeID { return s.isr }

func (s *Leader) minISR() int { return min(s.rules.MinInsyncReplicas, s.replicas) }

func (s *Leader) maximalSize() int { return max(len(s.isr), len(s.pending)) }

func (s *Leader) follower(id kafka.NodeID) *follower {
	for i := range s.followers {
		if s.followers[i].id == id {
			return &s.followers[i]
		}
	}
	return nil
}

// mayJoin reports whether a follower belongs into the ISR: it has all that is
// committed, and all that was there when the epoch began.
func (s *Leader) mayJoin(f *follower) bool {
	return s.pending == nil && !f.fenced && !slices.Contains(s.isr, f.id) &&
		f.logEnd >= s.highWatermark && f.logEnd >= s.epochStart
}

// holds reports whether the high watermark must wait for f.
func (s *Leader) holds(f *follower, nowMs int64) bool {
	if slices.Contains(s.isr, f.id) || slices.Contains(s.pending, f.id) {
		return true
	}
	return f.fetchedAnyTime && !f.fenced && nowMs-f.caughtUpAtMs <= s.rules.LagMaxMs
}

func (s *Leader) advance(nowMs int64) (moved bool) {
	if len(s.isr) < s.minISR() {
		return false
	}
	hw := s.ownEnd
	for i := range s.followers {
		f := &s.followers[i]
		if f.logEnd < hw && s.holds(f, nowMs) {
			hw = f.logEnd
		}
	}
	if hw <= s.highWatermark {
		return false
	}
	s.highWatermark = hw
	return true
}

func (s *Leader) effects(moved bool) Effects {
	return Effects{HighWatermark: s.highWatermark, Moved: moved}
}
