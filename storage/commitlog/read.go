// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/segment"
	"gregor/wire/reply"
)

// Bound limits what a read may see.
type Bound int8

// Bounds: followers read to the log end, consumers to the high watermark,
// read_committed consumers to the last stable offset.
const (
	ToLogEnd Bound = iota
	ToHighWatermark
	ToLastStable
)

// Cursor remembers where a sequential reader is, so that it needs no index. The
// zero value is ready. It belongs to one goroutine at a time.
type Cursor struct {
	next     kafka.Offset
	seg      *logSegment
	posBytes int64
	floor    kafka.Offset // no batch from posBytes on begins below
}

// AbortedTxn is an aborted transaction that a read_committed consumer skips.
type AbortedTxn struct {
	ProducerID  kafka.ProducerID
	FirstOffset kafka.Offset
}

// Read is one section of one segment: whole batches.
type Read struct {
	File    reply.FileRange // no Src and LenBytes 0: there is nothing
	Next    kafka.Offset    // where the next read goes on
	More    bool            // there is more below the bound
	Tail    Tail            // as of the read
	Aborted []AbortedTxn    // by first offset; only with ToLastStable
}

// Read finds batches from the one that holds from on (a whole batch, even if
// from lies inside it), as far as bound and bytesMax allow. With
// oneBatchAtLeast the first batch may exceed bytesMax. The caller owns the
// reference in File.
//
// c may be nil for a reader that does not come back.
// The error is an *OffsetOutOfRangeError, a *CorruptError, or one of the file
// system.
func (l *Log) Read(c *Cursor, from kafka.Offset, bytesMax int, bound Bound, oneBatchAtLeast bool) (Read, error) {
	if c == nil {
		c = &Cursor{}
	}
	for range readTriesMax {
		r, again, err := l.read(c, from, bytesMax, bound, oneBatchAtLeast)
		if !again {
			return r, l.ended(err)
		}
	}
	return Read{Tail: l.Tail()}, errUnsettled
}

// readTriesMax is how many truncations, or segments without a record, one read
// puts up with.
const readTriesMax = 1000

// changed reports whether what was read of a segment does not count: a
// truncation cut it, or its files, or those of another that was asked, went away
// meanwhile.
func (l *Log) changed(s *logSegment, file *segment.File, err error) bool {
	if !file.Intact() || errors.Is(err, errGone) {
		return true
	}
	if err == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.dead
}

// view is what a read sees of the log: it holds a reference on seg's file.
type view struct {
	tail      Tail
	bound     kafka.Offset
	boundAt   place
	seg       *logSegment
	file      *segment.File
	sizeBytes int64        // of seg
	after     *logSegment  // the segment behind, or nil
	end       kafka.Offset // base of the segment behind; the log end where there is none
	floor     kafka.Offset // where the cursor knows the place: no batch from there on begins below
	cuts      int          // truncations so far
}

// read tries once. again is true when a truncation came in between.
func (l *Log) read(c *Cursor, from kafka.Offset, bytesMax int, bound Bound, oneBatchAtLeast bool) (r Read, again bool, err error) {
	var v view
	pos, known, err := l.look(&v, c, from, bound)
	if err != nil {
		return Read{Tail: v.tail}, false, err
	}
	r = Read{Tail: v.tail, Next: from}
	if v.seg == nil {
		return r, false, nil
	}
	section, err := l.section(&v, pos, known, from, bytesMax, oneBatchAtLeast)
	if l.changed(v.seg, v.file, err) {
		v.file.Release()
		*c = Cursor{}
		return Read{}, true, nil
	}
	if err == nil && section.len > 0 && (section.next <= from || section.next > v.end) {
		err = &CorruptError{File: v.file.Path(), PosBytes: section.pos, Reason: fmt.Sprintf("read of offset %d goes on at %d, in a segment that ends at %d", from, section.next, v.end)}
	}
	if err == nil && section.len > 0 && bound == ToLastStable {
		here := false
		if r.Aborted, here, err = l.aborted(&v, from, section.next); !here || l.changed(v.seg, v.file, err) {
			v.file.Release()
			*c = Cursor{}
			return Read{}, true, nil
		}
	}
	if err != nil {
		v.file.Release()
		return Read{Tail: v.tail}, false, err
	}
	r.More = section.more
	if section.len == 0 {
		v.file.Release()
		if section.onward && v.after != nil && !section.more {
			// Nothing at or behind from in this segment, as compaction leaves it.
			*c = Cursor{next: from, seg: v.after}
			return r, true, nil
		}
		return r, false, nil
	}
	r.File = reply.FileRange{Src: v.file, PosBytes: section.pos, LenBytes: int(section.len)}
	r.Next = section.next
	*c = Cursor{next: section.next, seg: v.seg, posBytes: section.pos + section.len, floor: section.floor}
	return r, false, nil
}

// look copies the tail and finds the segment, without I/O unless the log is to
// be loaded. known says that pos is where the batch of from begins. No
// segment: there is nothing below the bound.
func (l *Log) look(v *view, c *Cursor, from kafka.Offset, bound Bound) (pos int64, known bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from == l.tail.LogEnd && l.idleLocked() {
		v.tail = l.tail
		return 0, false, nil
	}
	if err := l.settledLocked(); err != nil {
		return 0, false, err
	}
	v.tail = l.tail
	if from < l.tail.LogStart || from > l.tail.LogEnd || from < l.pub.segments[0].base {
		return 0, false, &OffsetOutOfRangeError{Requested: from, Tail: l.tail}
	}
	switch bound {
	case ToLogEnd:
		v.bound, v.boundAt = l.tail.LogEnd, l.pub.end()
	case ToHighWatermark:
		v.bound, v.boundAt = l.tail.HighWatermark, l.pub.hw
	default:
		v.bound, v.boundAt = l.tail.LastStable, l.pub.lso
	}
	if from >= v.bound {
		return 0, false, nil
	}
	i, known := l.pub.find(c, from)
	if known {
		pos, v.floor = c.posBytes, c.floor
		if pos >= l.pub.segments[i].sizeBytes && i+1 < len(l.pub.segments) {
			i, pos = i+1, 0
		}
	}
	v.seg = l.pub.segments[i]
	v.sizeBytes, v.end, v.cuts = v.seg.sizeBytes, l.tail.LogEnd, l.pub.cuts
	if i+1 < len(l.pub.segments) {
		v.after = l.pub.segments[i+1]
		v.end = v.after.base
	}
	v.file = v.seg.log
	v.file.Ref()
	return pos, known, nil
}

// find gives the number of the segment that holds off, and whether the cursor
// knows its place there.
func (p *published) find(c *Cursor, off kafka.Offset) (i int, known bool) {
	last := len(p.segments) - 1
	if c != nil && c.seg != nil && c.next == off && !c.seg.dead {
		if c.seg == p.segments[last] {
			return last, true
		}
		if i, ok := p.index(c.seg.base); ok && p.segments[i] == c.seg {
			return i, true
		}
	}
	if off >= p.segments[last].base {
		return last, false
	}
	i, ok := p.index(off)
	if !ok {
		i--
	}
	return max(i, 0), false
}

func (p *published) index(base kafka.Offset) (int, bool) {
	return slices.BinarySearchFunc(p.segments, base, func(s *logSegment, o kafka.Offset) int { return cmp.Compare(s.base, o) })
}

// span is a run of whole batches in a segment.
type span struct {
	pos, len int64
	next     kafka.Offset // behind the last of them
	floor    kafka.Offset // of the batch behind, as far as it is known
	more     bool
	onward   bool // the segment has nothing at or behind the offset
}

// section decides what of the segment is read. It opens the file, verifies
// what this process did not write, and cuts at a batch boundary and in front of
// what is bad.
func (l *Log) section(v *view, pos int64, known bool, from kafka.Offset, bytesMax int, oneBatchAtLeast bool) (span, error) {
	if err := v.file.Opened(); err != nil {
		return span{}, err
	}
	if !known {
		at, found, err := l.locate(v.seg, v.file, v.sizeBytes, from)
		if err != nil {
			return span{}, err
		}
		if !found {
			return span{onward: true}, nil
		}
		pos, v.floor = at.posBytes, at.h.BaseOffset
	}
	limit, limitOffset, err := l.limit(v)
	if err != nil {
		return span{}, err
	}
	s := span{pos: pos, len: limit - pos, next: limitOffset}
	for r := v.seg.bad.behind(s.pos); r != nil && r.PosBytes < s.pos+s.len; r = v.seg.bad.behind(s.pos) {
		if r.PosBytes > s.pos {
			s.len, s.next, s.more = r.PosBytes-s.pos, r.From, true
			break
		}
		if from < r.Next {
			return span{}, r.Err()
		}
		s.pos, s.len = r.EndBytes, limit-r.EndBytes // nothing was lost there
	}
	if s.len <= 0 {
		return span{onward: limit == v.sizeBytes}, nil
	}
	if limit = s.pos + s.len; min(limit, v.seg.trustFrom) > s.pos && !v.seg.verified.covers(s.pos, min(limit, v.seg.trustFrom)) {
		return l.verify(v, s, from, int64(bytesMax), oneBatchAtLeast)
	}
	if s.len <= int64(bytesMax) {
		return s, nil
	}
	return l.cut(v, s, int64(bytesMax), oneBatchAtLeast)
}

// limit is where the bound ends this segment.
func (l *Log) limit(v *view) (posBytes int64, next kafka.Offset, err error) {
	if v.bound >= v.end {
		return v.sizeBytes, v.end, nil
	}
	if v.boundAt.seg == v.seg {
		return min(v.boundAt.posBytes, v.sizeBytes), v.bound, nil
	}
	// The bound's place was not kept: look for it.
	at, found, err := l.locate(v.seg, v.file, v.sizeBytes, v.bound)
	if err != nil {
		return 0, 0, err
	}
	if !found {
		return v.sizeBytes, v.bound, nil
	}
	l.keepPlace(v.bound, place{seg: v.seg, posBytes: at.posBytes})
	return at.posBytes, v.bound, nil
}

// keepPlace remembers where the high watermark or last stable offset is.
func (l *Log) keepPlace(off kafka.Offset, at place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.seg.dead {
		return
	}
	if l.tail.HighWatermark == off {
		l.pub.hw = at
	}
	if l.tail.LastStable == off {
		l.pub.lso = at
	}
}

// cut shortens a span to bytesMax at a batch boundary.
func (l *Log) cut(v *view, s span, bytesMax int64, oneBatchAtLeast bool) (span, error) {
	at, err := l.boundaryBefore(v, s.pos, s.pos+bytesMax)
	if err != nil {
		return span{}, err
	}
	var w walker
	w.begin(l, v.seg, v.file, v.sizeBytes, at, s.pos+s.len, v.seg.base, v.end)
	w.stops = true
	defer w.done()
	return w.upTo(s, bytesMax, oneBatchAtLeast, at)
}

// verify checks as much of a span as bytesMax allows.
func (l *Log) verify(v *view, s span, from kafka.Offset, bytesMax int64, oneBatchAtLeast bool) (span, error) {
	var w walker
	w.begin(l, v.seg, v.file, v.sizeBytes, s.pos, s.pos+s.len, v.floor, v.end)
	w.stops, w.atLeast = true, from
	defer w.done()
	return w.upTo(s, bytesMax, oneBatchAtLeast, s.pos)
}

// upTo goes on to the last boundary that bytesMax allows, or to what is bad.
func (w *walker) upTo(s span, bytesMax int64, oneBatchAtLeast bool, at int64) (span, error) {
	end := s.pos + s.len
	cutAt, next := at, kafka.NoOffset
	for w.next() {
		batchEnd := w.NextPos()
		if batchEnd-s.pos > bytesMax && !(oneBatchAtLeast && cutAt == s.pos) {
			if next == kafka.NoOffset {
				next = w.Header.BaseOffset
			}
			return span{pos: s.pos, len: cutAt - s.pos, next: next, floor: next, more: true}, nil
		}
		cutAt, next = batchEnd, w.Header.NextOffset()
	}
	switch {
	case w.err != nil && cutAt == s.pos:
		return span{}, w.err
	case w.err != nil && next == kafka.NoOffset:
		return span{}, w.err
	case cutAt == end:
		s.floor = next
		s.next = max(s.next, next)
		return s, nil
	}
	// What lies in front of the damage is good: serve it.
	return span{pos: s.pos, len: cutAt - s.pos, next: next, floor: next, more: true}, nil
}
