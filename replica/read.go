// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/commitlog"
)

// Fetch is what one fetch asks of a partition.
type Fetch struct {
	Offset kafka.Offset
	// LeaderEpoch is the epoch that the client knows, or NoLeaderEpoch.
	LeaderEpoch kafka.LeaderEpoch
	// LastFetchedEpoch is that of the last record the client has, or
	// NoLeaderEpoch.
	LastFetchedEpoch kafka.LeaderEpoch
	BytesMax         int
	OneBatchAtLeast  bool
	Bound            commitlog.Bound
	// LeaderOnly: a follower may not answer.
	LeaderOnly bool
}

// Fetched is what a fetch found.
type Fetched struct {
	commitlog.Read
	// Diverging says that the client's log and ours part at Divergence.
	Diverging  bool
	Divergence commitlog.EpochEnd
}

// Read reads for a fetch. The caller owns the reference in File.
func (p *Partition) Read(c *commitlog.Cursor, f *Fetch) (Fetched, error) {
	log, err := p.readable(f.LeaderEpoch, f.LeaderOnly)
	if err != nil {
		return Fetched{}, err
	}
	if f.LastFetchedEpoch != kafka.NoLeaderEpoch {
		end, diverging, err := diverges(log, f)
		if err != nil || diverging {
			return Fetched{Read: commitlog.Read{Tail: log.Tail()}, Diverging: diverging, Divergence: end}, p.whenGone(err)
		}
	}
	r, err := log.Read(c, f.Offset, f.BytesMax, f.Bound, f.OneBatchAtLeast)
	return Fetched{Read: r}, p.whenGone(err)
}

// whenGone tells those whose partition went under them what those are told who
// come a moment later.
func (p *Partition) whenGone(err error) error {
	if errors.Is(err, commitlog.ErrClosed) && p.Status().Role == Gone {
		return kafka.NotLeaderForPartition
	}
	return err
}

// readable gives the log if this replica may answer a client that knows epoch.
func (p *Partition) readable(epoch kafka.LeaderEpoch, leaderOnly bool) (*commitlog.Log, error) {
	p.mu.Lock()
	role, now, log, offline := p.role, p.epoch, p.log, p.err
	p.mu.Unlock()
	switch role {
	case Offline:
		return nil, offline
	case Leader, Follower:
	default:
		return nil, kafka.NotLeaderForPartition
	}
	if err := checkEpoch(epoch, now); err != nil {
		return nil, err
	}
	if leaderOnly && role != Leader {
		return nil, kafka.NotLeaderForPartition
	}
	return log, nil
}

// checkEpoch compares the leader epoch that a client knows with the current
// one (KIP-320).
func checkEpoch(asked, current kafka.LeaderEpoch) error {
	switch {
	case asked == kafka.NoLeaderEpoch || asked == current:
		return nil
	case asked < current:
		return kafka.FencedLeaderEpoch
	}
	return kafka.UnknownLeaderEpoch
}

// diverges compares the client's last record with our epochs (KIP-595).
func diverges(log *commitlog.Log, f *Fetch) (end commitlog.EpochEnd, diverging bool, err error) {
	end, err = log.EndOffsetForEpoch(f.LastFetchedEpoch)
	if err != nil {
		return end, false, fmt.Errorf("find the end of epoch %d: %w", f.LastFetchedEpoch, err)
	}
	t := log.Tail()
	if end.End == kafka.NoOffset || end.Epoch == kafka.NoLeaderEpoch || f.Offset < t.LogStart {
		return end, false, &commitlog.OffsetOutOfRangeError{Requested: f.Offset, Tail: t}
	}
	return end, end.Epoch < f.LastFetchedEpoch || end.End < f.Offset, nil
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch.
func (p *Partition) EndOffsetForEpoch(epoch, current kafka.LeaderEpoch) (commitlog.EpochEnd, error) {
	log, err := p.readable(current, true)
	if err != nil {
		return commitlog.EpochEnd{Epoch: kafka.NoLeaderEpoch, End: kafka.NoOffset}, err
	}
	end, err := log.EndOffsetForEpoch(epoch)
	return end, p.whenGone(err)
}
