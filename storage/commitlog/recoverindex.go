// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// indexBelow makes the indexes of a segment right up to the recovery point and
// tells where the first batch lies that must be read whole: those in front of it
// are known by the indexes, as far as they can be trusted, and then by their headers.
func (r *recovery) indexBelow(s *logSegment) (*indexes, index.Position, error) {
	from := index.Position{Offset: s.base}
	ix, err := r.l.openIndexes(s)
	if err != nil && !errors.Is(err, index.ErrCorrupt) {
		return nil, from, err
	}
	w := indexWriter{s: s, ix: ix, top: index.Time{TimestampMs: batch.NoTimestamp, Offset: s.base}, intervalBytes: r.l.indexInterval()}
	switch {
	case err == nil:
		if from, err = r.keepIndexes(&w); err != nil {
			return nil, from, err
		}
	case s.sizeBytes > 0 || s.indexBytes > 0 || s.timeBytes > 0:
		if err := ix.reset(); err != nil {
			return nil, from, err
		}
	}
	s.ix.Store(ix)
	var scan segment.Scan
	before := kafka.NoLeaderEpoch
	indexed := from.PosBytes > 0
	scan.Start(s.log, from.PosBytes, s.sizeBytes, false)
	scan.Floor(s.base)
	defer scan.Done()
	for scan.Next() {
		h := &scan.Header
		if h.LastOffset() >= r.from {
			break
		}
		if indexed { // the batch of the last entry that was kept
			w.sinceIndex, indexed = int64(h.SizeBytes()), false
		} else {
			leads, err := leadsOn(&scan, s.base, from.Offset)
			if err != nil {
				return nil, from, err
			}
			if !leads {
				break // the walk judges it, whole
			}
			w.note(h, scan.PosBytes)
		}
		if ix.offsets.WantsSpill() {
			if err := ix.spill(); err != nil {
				return nil, from, err
			}
		}
		from = index.Position{Offset: h.NextOffset(), PosBytes: scan.PosBytes + int64(h.SizeBytes())}
		r.lastEpoch, before = min(before, h.LeaderEpoch), h.LeaderEpoch
	}
	// Bytes that are no batch are found again, and judged, by the walk.
	if err := scan.Err(); err != nil && !errors.Is(err, kafka.CorruptMessage) {
		return nil, from, err
	}
	if from.PosBytes > 0 {
		ix.times.Add(w.top)
		r.end = max(r.end, from.Offset)
	}
	return ix, from, nil
}

// leadsOn reports whether the present batch of a scan of headers, in front of
// which offsets end at floor, ends where the next may begin. What does not look
// like one is bad itself, or lies inside a batch, because the present one's
// length is wrong: then its CRC does not fit. The CRC does not cover its base
// offset: that is wrong if the next fits once it is moved to floor.
func leadsOn(scan *segment.Scan, base, floor kafka.Offset) (bool, error) {
	h := &scan.Header
	switch behind, ok := scan.NextHeader(); {
	case scan.AtEnd(), ok && behind.BaseOffset >= h.NextOffset() && index.Relative(base, behind.BaseOffset):
		return true, nil
	case ok && behind.BaseOffset < h.NextOffset() && behind.BaseOffset >= floor+h.NextOffset()-h.BaseOffset:
		return false, nil
	}
	return scan.CheckPresent()
}

// keepIndexes keeps of the index files what was on the disk at the recovery point
// and tells the last entry; the segment's start where that is too little to count
// on. What had not reached the files by then may have been lost in part: the
// offsets kept and the timestamps not, or a block of either. It is at most
// index.SpillEntries, which are taken off, for an index is written before its
// batches are published. What is left must rise from entry to entry, the log must
// bear out its end, and no batch up to there may be newer than the time index says.
func (r *recovery) keepIndexes(w *indexWriter) (last index.Position, err error) {
	s, ix := w.s, w.ix
	last, err = r.trustedIndexes(w)
	if errors.Is(err, index.ErrCorrupt) || errors.Is(err, kafka.CorruptMessage) {
		r.l.log().Warn("index is rebuilt", "segment", s.log.Path(), "reason", err)
		last, err = index.Position{Offset: s.base}, nil
	}
	if last.PosBytes == 0 {
		ix.offsets.Rebuild()
		ix.times.Rebuild()
		w.top = index.Time{TimestampMs: batch.NoTimestamp, Offset: s.base}
	}
	return last, err
}

func (r *recovery) trustedIndexes(w *indexWriter) (last index.Position, err error) {
	s, ix := w.s, w.ix
	start := index.Position{Offset: s.base}
	n, err := ix.offsets.Rising(r.from, s.sizeBytes)
	if n -= index.SpillEntries; err != nil || n <= 0 {
		return start, err
	}
	if last, err = ix.offsets.At(n - 1); err != nil {
		return start, err
	}
	times, err := ix.times.Rising(last.Offset)
	if err != nil || times == 0 {
		return start, err
	}
	ix.offsets.RebuildBehind(n)
	if err := ix.times.RebuildBehind(times); err != nil {
		return start, err
	}
	if err := checkEntry(s, last); err != nil {
		return start, err
	}
	if err := r.checkTimes(s, ix, last); err != nil {
		return start, err
	}
	w.top, _, err = ix.times.Last()
	return last, err
}
