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
	if !b.exists && len(s.entries) == 0 { // nothing but, maybe, a quorum-state and a first append that was torn
		return l.settleTail(s)
	}
	if !s.holds(b.c) {
		if err := l.leaveBehind(b, s); err != nil {
			return err
		}
		s = scanned{base: b.c.End, atStart: true}
	}
	within, _ := s.endsAt(b.c.End)
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
	return l.settleTail(s)
}

// holds reports whether what was scanned is the log that c was written from.
func (s *scanned) holds(c Checkpoint) bool {
	within, ok := s.endsAt(c.End)
	return ok && (within == 0 || s.entries[within-1].epoch == c.Epoch)
}

// leaveBehind parts with a log that is not the checkpoint's: that was being
// installed (R10), or reaches beyond the log's end. What it contains was durable
// once, so bad bytes before its end are no torn tail.
func (l *Log) leaveBehind(b basis, s scanned) error {
	proof := l.proofOfMore(b.c.End, b.c.Index)
	if s.bad == nil && proof == "" {
		if !l.quorum.HasCommit || s.end() <= b.c.End {
			return l.dropSegments()
		}
		proof = "it goes on behind the checkpoint, which was not being installed"
	}
	if s.bad == nil && s.end() > b.c.End {
		s.bad = &bad{err: &CorruptError{File: l.path(segmentName(s.base)), Reason: "not the log that checkpoint " + b.c.Name() + " was written from"}}
	} else if s.bad == nil {
		s.bad = l.missing()
	} else if proof == "" {
		proof = fmt.Sprintf("checkpoint %s was written from what was there", b.c.Name())
	}
	if l.o.CutOffset != b.c.End || b.c.End == 0 {
		return &DamagedError{Cause: s.bad.err, From: b.c.End, Proof: proof, Others: len(b.members.Voters) > 1}
	}
	l.o.Logger.Error("metadata is given up", "from_offset", int64(b.c.End), "reason", s.bad.err, "proof", proof)
	if err := l.forgetMore(b.c.End, b.c.Epoch, b.c.Index); err != nil {
		return err
	}
	return l.setAside(0)
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
