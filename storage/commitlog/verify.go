// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
)

// walker goes over the batches of one segment for those who read: it checks
// what nobody has checked since the process began, passes or stops at what is
// known to be bad, and puts what it finds to be bad into quarantine.
//
// A batch is good if its CRC fits (unless that is known), if it has its place
// between the offsets around it, and if the batch behind it bears that out: the
// CRC does not cover the base offset. Where two neighbours contradict each other,
// the first is bad if the second fits to it once it is moved to where the one
// before it ends, else the second.
//
//	for w.begin(…); w.next(); { … w.Header … }; w.done(); w.err
type walker struct {
	segment.Scan
	l         *Log
	s         *logSegment
	file      *segment.File
	end       int64        // of what is walked over
	sizeBytes int64        // of the segment
	ceiling   kafka.Offset // offsets of the segment lie below
	epochs    epochList    // the log's; no CRC covers that of a batch
	stops     bool         // at bad ranges; else it passes them
	headers   bool         // CRCs are not checked
	all       bool         // everything is checked, whoever wrote it or checked it before
	err       error

	atLeast     kafka.Offset // the first batch ends there or behind
	floor       kafka.Offset // the next batch may not begin below
	tight       bool         // floor is where what stands in front ends
	goodTo      int64        // up to here it was checked before …
	goodAgain   int64        // … and from here on
	checkedFrom int64        // what this walk has checked and not yet noted
	checkedTo   int64
}

// begin sets out from a batch boundary to another, of a segment of sizeBytes. No
// batch there begins below floor.
func (w *walker) begin(l *Log, s *logSegment, file *segment.File, sizeBytes, pos, end int64, floor, ceiling kafka.Offset) {
	w.l, w.s, w.file, w.sizeBytes, w.end, w.ceiling, w.err = l, s, file, sizeBytes, end, ceiling, nil
	l.mu.Lock()
	w.epochs = l.pub.epochs
	l.mu.Unlock()
	w.jump(pos, floor)
	w.tight = pos == 0 || floor > s.base
	w.checkedFrom, w.checkedTo = pos, pos
	w.goodTo, w.goodAgain = pos, pos
}

func (w *walker) jump(pos int64, floor kafka.Offset) {
	w.Start(w.file, pos, w.sizeBytes, false)
	w.floor = max(floor, w.s.base)
	w.Floor(w.floor)
}

// next goes to the next good batch.
func (w *walker) next() bool {
	for w.err == nil && w.NextPos() < w.end {
		pos := w.NextPos()
		if r := w.s.bad.behind(pos); r != nil && r.PosBytes <= pos {
			if w.stops {
				w.err = r.Err()
				return false
			}
			w.jump(r.EndBytes, r.Next)
			w.tight = true
			continue
		}
		check := w.unchecked(pos)
		w.Check(check)
		bad := w.advance(check || w.headers && pos < w.s.trustFrom)
		if bad != nil && !w.tight {
			w.tighten(pos)
			continue
		}
		if w.tight = true; bad == nil {
			if w.err == nil && check {
				w.checked(pos, w.NextPos())
			}
			return w.err == nil
		}
		if err := w.l.condemn(w, pos, bad); err != nil {
			w.err = err
			return false
		}
		w.jump(pos, w.floor) // the scan believed the offsets of the batch
	}
	return false
}

// tighten finds out where the batches in front of pos end: without it the first
// batch of a walk that begins in the middle would take them along, if it is bad.
func (w *walker) tighten(pos int64) {
	floor, err := w.l.endBefore(w.s, w.file, w.sizeBytes, pos)
	if floor > w.ceiling {
		floor = w.floor
	}
	w.jump(pos, max(floor, w.floor))
	w.tight = true
	w.err = err
}

// endBefore is where the offsets end that lie in front of pos, a batch boundary:
// those of batches, and those that damage took.
func (l *Log) endBefore(s *logSegment, file *segment.File, sizeBytes, pos int64) (kafka.Offset, error) {
	at := index.Position{Offset: s.base}
	if ix := s.ix.Load(); ix != nil {
		if p, err := ix.offsets.FloorPosition(pos - 1); err == nil && p.PosBytes > 0 {
			if p.Offset, err = l.landing(s, file, sizeBytes, p); err == nil {
				at = p
			}
		}
	}
	var scan segment.Scan
	scan.Start(file, at.PosBytes, pos, false)
	defer scan.Done()
	scan.Floor(at.Offset)
	stepOver(&scan, file, pos)
	end := at.Offset
	for scan.Next() {
		end = scan.Header.NextOffset()
	}
	for _, r := range s.bad.all() {
		if r.EndBytes <= pos {
			end = max(end, r.Next)
		}
	}
	if err := scan.Err(); !errors.Is(err, kafka.CorruptMessage) {
		return end, err
	}
	return end, nil
}

// advance reads one batch and judges it, and looks at the one behind. What is wrong with it is returned, what
// kept it from reading is in err.
func (w *walker) advance(looks bool) error {
	if !w.Next() {
		err := w.Err()
		if !errors.Is(err, kafka.CorruptMessage) {
			w.err = err
			return nil
		}
		return err
	}
	h := &w.Header
	if h.LastOffset() >= w.ceiling {
		return w.corrupt("offsets %d to %d, in a segment that ends at %d", h.BaseOffset, h.LastOffset(), w.ceiling)
	}
	if h.LastOffset() < w.atLeast {
		return w.corrupt("offsets %d to %d, where %d is", h.BaseOffset, h.LastOffset(), w.atLeast)
	}
	// A batch is of one epoch; where its base lies below the log start, what is
	// known of that begins inside it.
	if e := w.epochs.at(h.LastOffset()); looks && e >= 0 && h.LeaderEpoch != kafka.NoLeaderEpoch && h.LeaderEpoch != e {
		return w.corrupt("leader epoch %d of offset %d, where %d is", h.LeaderEpoch, h.LastOffset(), e)
	}
	w.atLeast = 0
	if !looks {
		w.floor = h.NextOffset()
		return nil
	}
	behind, some, err := w.NextBase()
	if err != nil && !errors.Is(err, kafka.CorruptMessage) {
		w.err = err
		return nil
	}
	overlaps := err == nil && some && behind < h.NextOffset()
	// What stands behind is no batch of this segment: it is bad itself, or is in
	// the middle of one, for the length of the present batch is wrong.
	strange := err != nil || some && behind >= w.ceiling
	if w.headers && some && !strange && !overlaps {
		_, ok := w.NextHeader()
		strange = !ok
	}
	crc := true
	if w.headers && (overlaps || strange) {
		if crc, w.err = w.CheckPresent(); w.err != nil {
			return nil
		}
	}
	switch {
	case overlaps && (!crc || behind >= w.floor+h.NextOffset()-h.BaseOffset):
		return w.corrupt("offsets %d to %d, in front of a batch that begins at %d", h.BaseOffset, h.LastOffset(), behind)
	case !crc:
		return w.corrupt("offsets %d to %d, whose crc does not fit, in front of no batch", h.BaseOffset, h.LastOffset())
	}
	w.floor = h.NextOffset()
	return nil
}

func (w *walker) corrupt(format string, args ...any) error {
	return &CorruptError{File: w.file.Path(), PosBytes: w.PosBytes, Reason: fmt.Sprintf(format, args...)}
}

// unchecked reports whether the batch at pos is to be checked.
func (w *walker) unchecked(pos int64) bool {
	if w.all {
		return true
	}
	if w.headers || pos >= w.s.trustFrom {
		return false
	}
	if pos >= w.goodAgain {
		w.goodTo, w.goodAgain = w.s.verified.around(pos)
	}
	return pos >= w.goodTo
}

// checked notes what was checked, in few steps.
func (w *walker) checked(from, to int64) {
	if from != w.checkedTo {
		w.note()
		w.checkedFrom = from
	}
	w.checkedTo = to
}

func (w *walker) note() {
	w.s.verified.add(w.checkedFrom, w.checkedTo)
	w.checkedFrom = w.checkedTo
}

// done gives back what the walk holds.
func (w *walker) done() {
	w.note()
	w.Done()
}

// condemn puts the batch at pos, and what is lost with it, into quarantine. The
// error says that there is nothing to condemn: the file itself was cut, or
// cannot be read.
func (l *Log) condemn(w *walker, pos int64, why error) error {
	if !w.file.Intact() {
		return why
	}
	var bad *CorruptError
	if !errors.As(why, &bad) {
		return why
	}
	d := segment.Damage{FromBytes: pos, From: w.floor, To: w.ceiling}
	if _, err := d.FindDamageEnd(w.file, w.sizeBytes); err != nil {
		return err
	}
	r := BadRange{File: bad.File, Base: w.s.base, From: d.From, Next: d.To, PosBytes: d.FromBytes, EndBytes: d.ToBytes, Reason: bad.Reason}
	l.quarantine(w.s, r)
	if known := w.s.bad.behind(pos); known == nil || known.PosBytes > pos {
		return why // the segment left the log meanwhile
	}
	return nil
}

// intervals are the byte ranges of a segment that were verified: sorted, apart
// from each other, on batch boundaries.
type intervals struct {
	mu   sync.Mutex // guards list
	list []interval
}

type interval struct{ from, to int64 }

// intervalsMax bounds the memory of a segment that is read at random: what is
// forgotten is verified again.
const intervalsMax = 64

// covers reports whether all of [from, to) was verified.
func (v *intervals) covers(from, to int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range v.list {
		if i.from <= from && to <= i.to {
			return true
		}
	}
	return false
}

// around tells up to where it was verified from pos on, which is pos itself
// where it was not, and where the next range begins that was.
func (v *intervals) around(pos int64) (to, again int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	to = pos
	for _, i := range v.list {
		if i.from > to {
			return to, i.from
		}
		to = max(to, i.to)
	}
	return to, math.MaxInt64
}

// add notes that [from, to) was verified.
func (v *intervals) add(from, to int64) {
	if from >= to {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := 0
	for at < len(v.list) && v.list[at].to < from {
		at++
	}
	end := at
	for end < len(v.list) && v.list[end].from <= to {
		from, to = min(from, v.list[end].from), max(to, v.list[end].to)
		end++
	}
	v.list = slices.Replace(v.list, at, end, interval{from, to})
	if len(v.list) > intervalsMax {
		smallest := 0
		for i, x := range v.list {
			if s := v.list[smallest]; x.to-x.from < s.to-s.from {
				smallest = i
			}
		}
		v.list = slices.Delete(v.list, smallest, smallest+1)
	}
}
