// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"io/fs"

	"gregor/base/kafka"
)

// checkpointsMax bounds the checkpoints that are kept, however small and young
// they are: each clean stop writes one.
const checkpointsMax = 20

// retain drops what is behind the newest checkpoint: from memory all up to the
// checkpoint before it, which followers that are a little behind still need;
// from disk, as Kafka does, the oldest checkpoint and the segments that only
// it needs, for as long as all together are too large or it is too old.
func (l *Log) retain(forgetAll bool) error {
	l.forgetEntries(forgetAll)
	for {
		oldest, gone, err := l.chooseVictims()
		if err != nil || oldest == nil {
			return err
		}
		// Segments first, in order: what a crash leaves has no hole, and never
		// starts above 0 without a checkpoint that reaches its start (R11).
		for _, s := range gone {
			if err := l.removeFile(s.name); err != nil {
				return err
			}
			if err := l.release(s); err != nil {
				return err
			}
		}
		if err := l.removeFile(oldest.Name()); err != nil {
			return err
		}
	}
}

func (l *Log) removeFile(name string) error {
	if err := l.fs.Remove(l.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("retention of metadata: %w", err)
	}
	if err := l.syncDir(); err != nil {
		return fmt.Errorf("retention of metadata: %w", err)
	}
	return nil
}

// forgetEntries lets raft's log begin behind the second newest checkpoint, or
// behind the newest.
func (l *Log) forgetEntries(all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.checkpoints)
	if !all {
		n--
	}
	if n < 1 {
		return
	}
	p, ok := l.indexAtLocked(l.checkpoints[n-1].End)
	if !ok || p.index <= l.before.index {
		return
	}
	drop := int(p.index - l.before.index)
	l.before = p
	l.entries = append([]entry(nil), l.entries[drop:]...)
	if over := len(l.recent) - len(l.entries); over > 0 {
		l.recent = l.recent[over:]
	}
	// The last of the quorums that are dropped is the one in force.
	first := 0
	for first+1 < len(l.members) && l.members[first+1].Index <= p.index {
		first++
	}
	l.members = append([]Members(nil), l.members[first:]...)
}

// chooseVictims takes the oldest checkpoint and the segments that end where the
// next one ends, or before, out of the maps.
func (l *Log) chooseVictims() (*Checkpoint, []*segment, error) {
	l.mu.Lock()
	n := len(l.checkpoints)
	if n < 2 {
		l.mu.Unlock()
		return nil, nil, nil
	}
	oldest, newest := l.checkpoints[0], l.checkpoints[n-1]
	total := int64(0)
	for _, c := range l.checkpoints {
		total += c.SizeBytes
	}
	for _, s := range l.segments {
		total += s.size
	}
	l.mu.Unlock()
	doomed := n > checkpointsMax || l.o.RetentionBytes >= 0 && total > l.o.RetentionBytes
	if !doomed && l.o.RetentionMs >= 0 {
		head, err := l.headOf(oldest)
		if isCorrupt(err) { // nothing needs it, so it stays until there are too many
			l.o.Logger.Error("an old checkpoint of metadata is damaged", "file", l.path(oldest.Name()), "err", err)
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		doomed = newest.TimestampMs-head.timestampMs > l.o.RetentionMs
	}
	if !doomed {
		return nil, nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkpoints = append([]Checkpoint(nil), l.checkpoints[1:]...)
	return &oldest, l.takeSegmentsLocked(l.checkpoints[0].End), nil
}

// takeSegmentsLocked takes out the segments all of whose batches lie before
// end and are no longer in memory.
func (l *Log) takeSegmentsLocked(end kafka.Offset) []*segment {
	end = min(end, l.before.end)
	n := 0
	for n+1 < len(l.segments) && l.segments[n+1].base <= end {
		n++
	}
	gone := l.segments[:n:n]
	l.segments = append([]*segment(nil), l.segments[n:]...)
	return gone
}
