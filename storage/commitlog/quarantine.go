// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"slices"
	"sync/atomic"

	"gregor/base/kafka"
)

// BadRange is a stretch of a log file that does not hold what was written. A
// reader that asks for an offset in [From, Next) gets CORRUPT_MESSAGE; what
// lies before and behind is served.
type BadRange struct {
	File     string
	Base     kafka.Offset // of the segment
	From     kafka.Offset // the first offset that is lost
	Next     kafka.Offset // the first that is there again
	PosBytes int64        // where the bad bytes begin
	EndBytes int64        // where the next good batch begins, or the segment ends
	Reason   string
}

// Err is what a reader gets for an offset in the range.
func (r *BadRange) Err() error {
	return &CorruptError{File: r.File, PosBytes: r.PosBytes, Reason: r.Reason}
}

// badRanges are what is known to be bad of one segment: sorted, apart from each
// other. Readers look without a lock; Log.quarantine and a truncation, which
// makes another segment, write under Log.mu. Nothing of it is kept over a
// restart: what a new process did not write it verifies again.
type badRanges struct {
	list atomic.Pointer[[]BadRange]
}

func (b *badRanges) all() []BadRange {
	if list := b.list.Load(); list != nil {
		return *list
	}
	return nil
}

// holding is the range that off lies in, or nil.
func (b *badRanges) holding(off kafka.Offset) *BadRange {
	list := b.all()
	for i := range list {
		if list[i].From <= off && off < list[i].Next {
			return &list[i]
		}
	}
	return nil
}

// behind is the first range that ends behind posBytes, or nil.
func (b *badRanges) behind(posBytes int64) *BadRange {
	list := b.all()
	for i := range list {
		if list[i].EndBytes > posBytes {
			return &list[i]
		}
	}
	return nil
}

// add puts r in, together with those that it meets, and reports whether it
// holds anything that was not known.
func (b *badRanges) add(r BadRange) (isNew bool) {
	list := slices.Clone(b.all())
	at := 0
	for at < len(list) && list[at].EndBytes < r.PosBytes {
		at++
	}
	end := at
	for end < len(list) && list[end].PosBytes <= r.EndBytes {
		x := &list[end]
		if x.PosBytes <= r.PosBytes && r.EndBytes <= x.EndBytes {
			return false
		}
		if x.PosBytes < r.PosBytes {
			r.Reason = x.Reason
		}
		r.From, r.Next = min(r.From, x.From), max(r.Next, x.Next)
		r.PosBytes, r.EndBytes = min(r.PosBytes, x.PosBytes), max(r.EndBytes, x.EndBytes)
		end++
	}
	list = slices.Replace(list, at, end, r)
	b.list.Store(&list)
	return true
}

// below keeps, for a segment that is cut at posBytes and off, what lies in front.
func (b *badRanges) below(posBytes int64, off kafka.Offset) *[]BadRange {
	var kept []BadRange
	for _, r := range b.all() {
		if r.PosBytes < posBytes {
			r.EndBytes, r.Next = min(r.EndBytes, posBytes), min(r.Next, off)
			kept = append(kept, r)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return &kept
}

// quarantine notes that a range of s is bad, and tells it once. It may be called
// from anywhere, also while the log is being loaded.
func (l *Log) quarantine(s *logSegment, r BadRange) {
	l.mu.Lock()
	isNew := !s.dead && s.bad.add(r) // else a truncation or a deletion took the bytes meanwhile
	l.mu.Unlock()
	if !isNew {
		return
	}
	l.log().Error("records cannot be served: the log file does not hold what was written", "file", r.File, "position", r.PosBytes,
		"bytes", r.EndBytes-r.PosBytes, "first_offset", int64(r.From), "next_good_offset", int64(r.Next), "reason", r.Reason)
	if l.o.Quarantined != nil {
		l.o.Quarantined(r)
	}
}

// BadRanges lists what of the log is known to be bad, by offset.
func (l *Log) BadRanges() []BadRange {
	l.mu.Lock()
	segments := l.pub.segments
	l.mu.Unlock()
	var list []BadRange
	for _, s := range segments {
		list = append(list, s.bad.all()...)
	}
	return list
}
