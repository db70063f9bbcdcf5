// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// spot is where a batch begins, with its header as far as it was read.
type spot struct {
	posBytes int64
	h        batch.Header
}

// locate finds where the first batch begins whose last offset is at or behind
// off; for an offset that is lost, where the bad range begins.
func (l *Log) locate(s *logSegment, file *segment.File, sizeBytes int64, off kafka.Offset) (at spot, found bool, err error) {
	if off <= s.base {
		return spot{h: batch.Header{BaseOffset: s.base}}, sizeBytes > 0, nil
	}
	ix, err := l.indexes(s, sizeBytes)
	if err != nil {
		return spot{}, false, err
	}
	key := off
	for range landingsMax {
		p, err := ix.offsets.Floor(key)
		if err == nil {
			at, found, err = l.locateFrom(s, file, sizeBytes, off, p)
		}
		if !errors.Is(err, index.ErrCorrupt) {
			return at, found, err
		}
		// An entry that names no batch is wrong, or the batch is damaged: an
		// earlier one leads to the same place.
		key = p.Offset - 1
	}
	return l.locateFrom(s, file, sizeBytes, off, index.Position{Offset: s.base})
}

// locateFrom walks from where an index entry points to. Damage on the way is
// quarantined; an offset that lies in it is where the damage begins.
func (l *Log) locateFrom(s *logSegment, file *segment.File, sizeBytes int64, off kafka.Offset, p index.Position) (at spot, found bool, err error) {
	floor := s.base
	if p.PosBytes != 0 {
		if floor, err = l.landing(s, file, sizeBytes, p); err != nil {
			return spot{}, false, err
		}
	}
	var w walker
	w.begin(l, s, file, sizeBytes, p.PosBytes, sizeBytes, floor, l.endOf(s))
	defer w.done()
	for w.next() {
		if w.Header.LastOffset() < off {
			continue
		}
		if s.bad.holding(off) == nil {
			return spot{posBytes: w.PosBytes, h: w.Header}, true, nil
		}
		break
	}
	if r := s.bad.holding(off); r != nil && w.err == nil {
		return spot{posBytes: r.PosBytes, h: batch.Header{BaseOffset: r.From}}, true, nil
	}
	return spot{}, false, w.err
}

// landing compares an index entry with the batch that it points to, and gives
// that batch's base offset. An entry may name a later batch's offset, as those
// of Apache Kafka before 4.0 do: then the CRC has to bear out that there is a
// batch at all. Anything else is index.ErrCorrupt.
func (l *Log) landing(s *logSegment, file *segment.File, sizeBytes int64, p index.Position) (base kafka.Offset, err error) {
	reason := "is no place in the log file"
	if p.PosBytes > 0 && p.PosBytes < sizeBytes {
		var scan segment.Scan
		scan.Start(file, p.PosBytes, min(sizeBytes, p.PosBytes+landingBytes), false)
		defer scan.Done()
		h, err := scan.Peek()
		switch {
		case err == nil && h.LastOffset() == p.Offset && h.BaseOffset >= s.base:
			return h.BaseOffset, nil
		case err == nil && h.BaseOffset >= s.base && h.LastOffset() < p.Offset && int64(h.SizeBytes()) <= sizeBytes-p.PosBytes:
			scan.Start(file, p.PosBytes, sizeBytes, true)
			if scan.Next() {
				return h.BaseOffset, nil
			}
			reason = scan.Err().Error()
		case err == nil:
			reason = fmt.Sprintf("holds offsets %d to %d", h.BaseOffset, h.LastOffset())
		case !errors.Is(err, kafka.CorruptMessage):
			return 0, err
		default:
			reason = err.Error()
		}
	}
	l.doubt(s, file, "offset index", p.Offset)
	return 0, fmt.Errorf("index of %s names offset %d at byte %d, which %s: %w", file.Path(), p.Offset, p.PosBytes, reason, index.ErrCorrupt)
}

// doubt notes that an index of s is wrong, and tells it once.
func (l *Log) doubt(s *logSegment, file *segment.File, which string, off kafka.Offset) {
	if file.Intact() && !s.doubted.Swap(true) {
		l.log().Warn("an index does not fit its log file; it is not relied on", "segment", file.Path(), "index", which, "offset", int64(off))
	}
}

// landingBytes is what landing reads of a batch.
const landingBytes = batch.HeaderSize

// endOf is the offset that no batch of a segment reaches: where the next one
// begins, or the log end.
func (l *Log) endOf(s *logSegment) kafka.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.pub.index(s.base); ok && i+1 < len(l.pub.segments) {
		return l.pub.segments[i+1].base
	}
	return l.tail.LogEnd
}

// boundaryBefore is a batch boundary between pos, which is one, and to, near to
// the latter.
func (l *Log) boundaryBefore(v *view, pos, to int64) (int64, error) {
	ix, err := l.indexes(v.seg, v.sizeBytes)
	if err != nil {
		return pos, err
	}
	for range landingsMax {
		p, err := ix.offsets.FloorPosition(to)
		if errors.Is(err, index.ErrCorrupt) || err == nil && p.PosBytes <= pos {
			return pos, nil
		}
		if err == nil {
			_, err = l.landing(v.seg, v.file, v.sizeBytes, p)
		}
		if !errors.Is(err, index.ErrCorrupt) {
			return p.PosBytes, err
		}
		to = p.PosBytes - 1
	}
	return pos, nil
}

// landingsMax is how many entries of a wrong index are tried.
const landingsMax = 8
