// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"fmt"
	"sort"

	"gregor/base/kafka"
)

// adopt puts what was scanned behind the checkpoint b, and gives indexes.
//
// The index of a batch is that of the checkpoint plus or minus the batches
// between. What lies before the checkpoint is kept for followers that are a
// little behind, if raft wrote the checkpoint: of batches that Kafka wrote
// before one, nobody can tell which change the voters (R4).
func (l *Log) adopt(b basis, s scanned) error {
	if !b.exists && len(s.entries) == 0 {
		return s.torn // nothing but, maybe, a quorum-state and an empty segment
	}
	within, ok := s.endsAt(b.c.End)
	if keep := ok && (within == 0 || s.entries[within-1].epoch == b.c.Epoch); !keep {
		// The checkpoint is not of this log: it was being installed (R10), or
		// reaches beyond the log's end. What it contains was durable once, so
		// bad bytes before its end are no torn tail.
		if s.torn != nil {
			return s.torn
		}
		if err := l.dropSegments(); err != nil {
			return err
		}
		s, within = scanned{base: b.c.End, atStart: true}, 0
	}
	if !b.tagged && b.exists {
		if err := l.indexByOlder(&b, s, within); err != nil {
			return err
		}
	}
	if b.c.Index < uint64(within)+1 {
		return &CorruptError{File: b.c.Name(), Reason: fmt.Sprintf("raft index %d with %d batches before it", b.c.Index, within)}
	}
	first := b.c.Index - uint64(within) // the index before s.entries[0]
	l.before = position{index: first}
	skip := 0
	switch {
	case s.base == b.c.End:
		l.before = position{index: b.c.Index, epoch: b.c.Epoch, end: b.c.End}
	case b.exists && !b.tagged:
		skip = within
		l.before = position{index: b.c.Index, epoch: b.c.Epoch, end: b.c.End}
	case s.base > 0:
		skip = 1 // the first batch tells the epoch before the second
		e := &s.entries[0]
		l.before = position{index: first + 1, epoch: e.epoch, end: e.end()}
	}
	l.entries = s.entries[skip:]
	l.adoptMembers(b, s, first)
	l.committed = Committed{End: b.c.End, Epoch: b.c.Epoch, Index: b.c.Index}
	if b.exists {
		l.checkpoints[len(l.checkpoints)-1] = b.c
	}
	l.dropStaleCheckpoints()
	return l.cutTail(s)
}

// endsAt counts the batches up to the one that ends at offset end; ok is false
// if none does.
func (s *scanned) endsAt(end kafka.Offset) (n int, ok bool) {
	if end == s.base {
		return 0, true
	}
	n = sort.Search(len(s.entries), func(i int) bool { return s.entries[i].end() >= end })
	if n == len(s.entries) || s.entries[n].end() != end {
		return 0, false
	}
	return n + 1, true
}

// indexByOlder takes the index of a checkpoint that Kafka wrote from an older
// one by raft, if the log between the two is there.
func (l *Log) indexByOlder(b *basis, s scanned, within int) error {
	for i := len(l.checkpoints) - 2; i >= 0; i-- {
		older := l.checkpoints[i]
		n, ok := s.endsAt(older.End)
		if !ok || older.End == b.c.End {
			continue
		}
		head, err := l.headOf(older)
		if err != nil {
			return err
		}
		if o := head.describe(&older); o.tagged {
			b.c.Index = o.c.Index + uint64(within-n)
			b.members.Index = b.c.Index
			return nil
		}
	}
	if s.base == 0 && s.atStart {
		b.c.Index = 1 + uint64(within)
		b.members.Index = b.c.Index
	}
	return nil
}

// adoptMembers puts the checkpoint's quorum in its place among the changes
// that the log holds.
func (l *Log) adoptMembers(b basis, s scanned, first uint64) {
	l.members = l.members[:0]
	done := !b.exists
	for _, m := range s.members {
		m.Index += first
		if !done && m.Index >= b.c.Index {
			done = true
			if m.Index > b.c.Index || !m.VotersHere {
				l.members = append(l.members, b.members)
			}
		}
		if m.Index > b.c.Index && m.Voters == nil {
			m.Voters = b.members.Voters
		}
		if m.KRaftVersion == 0 {
			m.KRaftVersion = b.members.KRaftVersion
		}
		if m.Index > l.before.index || m.Index >= b.c.Index {
			l.members = append(l.members, m)
		}
	}
	if !done {
		l.members = append(l.members, b.members)
	}
}

// dropStaleCheckpoints forgets checkpoints that lie beyond the end of the log
// and are not its basis; there are none unless somebody copied files.
func (l *Log) dropStaleCheckpoints() {
	kept := l.checkpoints[:0]
	for _, c := range l.checkpoints {
		if c.End <= l.committed.End {
			kept = append(kept, c)
		}
	}
	l.checkpoints = kept
}

// cutTail drops what follows the last good batch of the log: an append that
// was torn, which nobody was told of. It refuses where that is not so.
func (l *Log) cutTail(s scanned) error {
	if s.torn == nil {
		return nil
	}
	if l.quorum.HasCommit && l.quorum.Commit > l.lastIndexLocked() {
		return fmt.Errorf("index %d is committed, but the log ends with %d: %w", l.quorum.Commit, l.lastIndexLocked(), s.torn)
	}
	l.o.Logger.Warn("torn tail of the metadata log is cut off", "end_offset", int64(l.endLocked()), "dropped_bytes", s.tornBytes, "reason", s.torn)
	if err := l.forgetEpochs(); err != nil {
		return err
	}
	l.untidy = true
	return l.tidy()
}
