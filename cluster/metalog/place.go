// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"slices"

	"gregor/base/kafka"
)

// Epoch is the epoch of the batch at index, from FirstIndex-1 to LastIndex; ok
// is false elsewhere.
func (l *Log) Epoch(index uint64) (epoch kafka.LeaderEpoch, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.positionLocked(index)
	return p.epoch, ok
}

// OffsetAfter is the offset behind the batch at index.
func (l *Log) OffsetAfter(index uint64) (end kafka.Offset, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.positionLocked(index)
	return p.end, ok
}

// BytesBehind is how many bytes of batches up to the one at index lie behind the
// newest checkpoint.
func (l *Log) BytesBehind(index uint64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.before.index + 1
	if n := len(l.checkpoints); n > 0 {
		first = max(first, l.checkpoints[n-1].Index+1)
	}
	index = min(index, l.lastIndexLocked())
	if index < first {
		return 0
	}
	from, to := &l.entries[first-l.before.index-1], &l.entries[index-l.before.index-1]
	bytes := to.pos + int64(to.size) - from.pos
	for i := slices.Index(l.segments, from.seg); l.segments[i] != to.seg; i++ {
		bytes += l.segments[i].size
	}
	return bytes
}

func (l *Log) positionLocked(index uint64) (position, bool) {
	switch {
	case index == l.before.index:
		return l.before, true
	case index < l.before.index || index > l.lastIndexLocked():
		return position{}, false
	}
	e := &l.entries[index-l.before.index-1]
	return position{index: index, epoch: e.epoch, end: e.end()}, true
}

// indexAtLocked is the index of the batch that ends at offset end.
func (l *Log) indexAtLocked(end kafka.Offset) (position, bool) {
	if end == l.before.end {
		return l.before, true
	}
	lo, hi := 0, len(l.entries)
	for lo < hi {
		if mid := (lo + hi) / 2; l.entries[mid].end() < end {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(l.entries) || l.entries[lo].end() != end {
		return position{}, false
	}
	return position{index: l.before.index + uint64(lo) + 1, epoch: l.entries[lo].epoch, end: end}, true
}

// MembersAt is the quorum as the batch at index left it, and whether that very
// batch is the one that says so.
func (l *Log) MembersAt(index uint64) (m Members, here bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.members) - 1; i >= 0; i-- {
		if l.members[i].Index <= index {
			return l.members[i], l.members[i].Index == index
		}
	}
	return Members{}, false
}

// MembersSince lists the quorum at the newest checkpoint that tells it, and all
// changes behind it, ascending.
func (l *Log) MembersSince() []Members {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Members(nil), l.members...)
}

// IndexBefore is the index of the batch that ends at offset end.
func (l *Log) IndexBefore(end kafka.Offset) (index uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.indexAtLocked(end)
	return p.index, ok
}
