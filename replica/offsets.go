// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"gregor/base/kafka"
	"gregor/storage/commitlog"
)

// Timestamps of ListOffsets that stand for a place in the log.
const (
	Latest          int64 = -1
	Earliest        int64 = -2
	MaxTimestamp    int64 = -3
	EarliestLocal   int64 = -4
	LatestTiered    int64 = -5
	EarliestPending int64 = -6 // the earliest offset that is still to be uploaded
)

// ListOffset is what ListOffsets asks of one partition.
type ListOffset struct {
	TimestampMs int64 // or one of the constants above
	LeaderEpoch kafka.LeaderEpoch
	// Bound is ToLogEnd for replicas and debugging, ToHighWatermark or
	// ToLastStable for consumers.
	Bound commitlog.Bound
	// LeaderOnly: a follower may not answer.
	LeaderOnly bool
}

// ListOffset answers ListOffsets. What was not found has offset and timestamp
// -1.
func (p *Partition) ListOffset(q *ListOffset) (commitlog.Found, error) {
	found, err := p.listOffset(q)
	return found, p.whenGone(err)
}

func (p *Partition) listOffset(q *ListOffset) (commitlog.Found, error) {
	none := commitlog.Found{Offset: kafka.NoOffset, TimestampMs: -1, Epoch: kafka.NoLeaderEpoch}
	log, err := p.readable(q.LeaderEpoch, q.LeaderOnly)
	if err != nil {
		return none, err
	}
	t := log.Tail()
	end := bounded(t, q.Bound)
	switch q.TimestampMs {
	case Latest:
		if !p.knowsLatest(q.Bound) {
			return none, kafka.OffsetNotAvailable
		}
		return at(log, end, p.Status().Epoch)
	case Earliest:
		return at(log, t.LogStart, kafka.NoLeaderEpoch)
	case EarliestLocal:
		return at(log, t.LocalLogStart, kafka.NoLeaderEpoch)
	case LatestTiered, EarliestPending:
		return none, nil // nothing is tiered
	}
	var found commitlog.Found
	if q.TimestampMs == MaxTimestamp {
		found, err = log.MaxTimestamp()
	} else {
		found, err = log.OffsetForTime(q.TimestampMs)
	}
	if err != nil {
		return none, err
	}
	if found.Offset == kafka.NoOffset || found.Offset >= end {
		// There may be such a record below what the predecessor had committed.
		if !p.knowsLatest(q.Bound) {
			return none, kafka.OffsetNotAvailable
		}
		return none, nil
	}
	return found, nil
}

// knowsLatest reports whether the offset that bound names can be told.
func (p *Partition) knowsLatest(b commitlog.Bound) bool {
	if b == commitlog.ToLogEnd {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.role != Leader || p.leader.KnowsCommitted()
}

// at describes the place off with the epoch of the record there, or else with
// that of the leader.
func at(log *commitlog.Log, off kafka.Offset, leader kafka.LeaderEpoch) (commitlog.Found, error) {
	f := commitlog.Found{Offset: off, TimestampMs: -1, Epoch: leader}
	if leader != kafka.NoLeaderEpoch {
		return f, nil
	}
	epoch, err := log.EpochAt(off)
	if err != nil {
		return f, err
	}
	f.Epoch = epoch
	return f, nil
}

// bounded is the offset that bound names.
func bounded(t commitlog.Tail, b commitlog.Bound) kafka.Offset {
	switch b {
	case commitlog.ToHighWatermark:
		return t.HighWatermark
	case commitlog.ToLastStable:
		return t.LastStable
	}
	return t.LogEnd
}
