// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"maps"
	"math"
	"slices"
	"time"

	"gregor/base/kafka"
	"gregor/cluster/image"
)

// Sessions is what the active controller knows of its brokers' heartbeats. It
// is made anew by each active controller: every broker then has a whole session
// to be heard of. Not for use by several goroutines.
type Sessions struct {
	timeout time.Duration
	brokers map[kafka.NodeID]*session
}

type session struct {
	epoch       kafka.BrokerEpoch
	lastContact time.Time
	// metadataOffset is how far the broker has read, by its last heartbeat.
	metadataOffset kafka.Offset
	// shutdownOffset is that of the last record that moved leaders away for the
	// broker's controlled shutdown; noShutdown if it is in none.
	shutdownOffset kafka.Offset
	fenced         bool
}

const noShutdown kafka.Offset = -1

// NewSessions starts a session for every broker of the image. timeout is
// broker.session.timeout.ms.
func NewSessions(timeout time.Duration, img *image.Image, now time.Time) *Sessions {
	s := &Sessions{timeout: timeout, brokers: map[kafka.NodeID]*session{}}
	for b := range img.Brokers() {
		s.register(b.BrokerID, b.BrokerEpoch, b.Fenced, now)
	}
	return s
}

func (s *Sessions) register(id kafka.NodeID, epoch kafka.BrokerEpoch, fenced bool, now time.Time) {
	s.brokers[id] = &session{
		epoch: epoch, lastContact: now, metadataOffset: -1, shutdownOffset: noShutdown, fenced: fenced,
	}
}

// valid reports whether this incarnation of the broker was heard of within the
// session timeout.
func (s *Sessions) valid(id kafka.NodeID, epoch kafka.BrokerEpoch, now time.Time) bool {
	b := s.brokers[id]
	return b != nil && b.epoch == epoch && now.Sub(b.lastContact) <= s.timeout
}

// Drop ends a session at once: the broker is known to be gone. It is then fenced
// by the next Sweep, and another incarnation may register.
func (s *Sessions) Drop(id kafka.NodeID, epoch kafka.BrokerEpoch) {
	if b := s.brokers[id]; b != nil && b.epoch == epoch {
		b.lastContact = time.Time{}
	}
}

// Next is when the first session of an unfenced broker runs out; ok is false if
// there is none.
func (s *Sessions) Next() (at time.Time, ok bool) {
	for _, b := range s.brokers {
		if end := b.lastContact.Add(s.timeout + time.Nanosecond); !b.fenced && (!ok || end.Before(at)) {
			at, ok = end, true
		}
	}
	return at, ok
}

// stale returns an unfenced broker whose session has run out.
func (s *Sessions) stale(now time.Time) (kafka.NodeID, bool) {
	for _, id := range slices.Sorted(maps.Keys(s.brokers)) {
		if b := s.brokers[id]; !b.fenced && now.Sub(b.lastContact) > s.timeout {
			return id, true
		}
	}
	return 0, false
}

// lowestActiveOffset is how far the slowest broker has read that is neither
// fenced nor shutting down.
func (s *Sessions) lowestActiveOffset() kafka.Offset {
	lowest := kafka.Offset(math.MaxInt64)
	for _, b := range s.brokers {
		if !b.fenced && b.shutdownOffset == noShutdown {
			lowest = min(lowest, b.metadataOffset)
		}
	}
	return lowest
}

// of returns the session of a registered broker.
func (s *Sessions) of(b *image.Broker, now time.Time) *session {
	have := s.brokers[b.BrokerID]
	if have == nil || have.epoch != b.BrokerEpoch {
		s.register(b.BrokerID, b.BrokerEpoch, b.Fenced, now)
		have = s.brokers[b.BrokerID]
	}
	return have
}

// fence notes that the broker is fenced: its session runs out unseen.
func (s *Sessions) fence(id kafka.NodeID) {
	if b := s.brokers[id]; b != nil {
		b.fenced, b.shutdownOffset = true, noShutdown
	}
}

func (s *Sessions) forget(id kafka.NodeID) { delete(s.brokers, id) }
