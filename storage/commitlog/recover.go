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

// findEnd finds the log end after a clean stop: it walks the headers behind
// the last index entry of the last segment. kafka.CorruptMessage in the error
// means that the segment does not end where a batch ends.
func (r *recovery) findEnd() error {
	last := len(r.segments) - 1
	s := r.segments[last]
	if s.sizeBytes == 0 && last > 0 {
		// An empty segment says nothing of where the log ends: the one before it does.
		before := r.segments[last-1]
		ix, from, err := r.openTail(before, kafka.Offset(1<<63-1))
		if err == nil {
			err = r.walk(before, ix, from, false)
		}
		if err != nil {
			return err
		}
		if r.end > s.base {
			return &CorruptError{File: before.log.Path(), Reason: fmt.Sprintf("the segment ends at offset %d, the next begins at %d", r.end, s.base)}
		}
		r.end = 0
	}
	ix, from, err := r.openTail(s, kafka.Offset(1<<63-1))
	if err == nil {
		err = r.walk(s, ix, from, false)
	}
	if err == nil && r.stopped != nil && r.end != r.stopped.LogEnd {
		err = &CorruptError{File: s.log.Path(), PosBytes: s.sizeBytes, Reason: fmt.Sprintf("the log ends at offset %d, it was stopped at %d", r.end, r.stopped.LogEnd)}
	}
	return err
}

// openTail opens the indexes of a segment and keeps of them what can be
// trusted up to limit: from is where to walk on. Without a usable index that
// is the segment's start.
func (r *recovery) openTail(s *logSegment, limit kafka.Offset) (ix *indexes, from index.Position, err error) {
	ix, err = r.l.openIndexes(s)
	start := index.Position{Offset: s.base}
	if err == nil {
		from, err = ix.offsets.Floor(limit)
		if err == nil && from.PosBytes > 0 {
			err = checkEntry(s, from)
		}
		if err == nil {
			err = r.checkTimes(s, ix, from)
		}
	}
	switch {
	case errors.Is(err, index.ErrCorrupt), errors.Is(err, kafka.CorruptMessage):
		if s.sizeBytes > 0 {
			r.l.log().Warn("index is rebuilt", "segment", s.log.Path(), "reason", err)
		}
		if s.sizeBytes > 0 || s.indexBytes > 0 || s.timeBytes > 0 {
			err = ix.reset()
		} else {
			err = nil
		}
		from = start
	case err != nil:
		return nil, start, err
	}
	if from.PosBytes == 0 {
		from = start
	}
	if err = errors.Join(err, r.l.checkAborted(s, ix, s.sizeBytes)); err != nil {
		return nil, start, err
	}
	s.ix.Store(ix)
	return ix, from, nil
}

// checkEntry compares an index entry with the batch that it names.
func checkEntry(s *logSegment, p index.Position) error {
	var scan segment.Scan
	scan.Start(s.log, p.PosBytes, s.sizeBytes, false)
	defer scan.Done()
	if !scan.Next() {
		if err := scan.Err(); err != nil {
			return err
		}
		return fmt.Errorf("index of %s points to byte %d, the end: %w", s.log.Path(), p.PosBytes, index.ErrCorrupt)
	}
	if scan.Header.LastOffset() != p.Offset {
		return fmt.Errorf("index of %s names offset %d at byte %d, where %d is: %w", s.log.Path(), p.Offset, p.PosBytes, scan.Header.LastOffset(), index.ErrCorrupt)
	}
	return nil
}

// recover reads everything from the recovery point on with its CRC, builds
// the indexes again, and cuts the log at the first batch that is not whole.
// Later segments go with it.
func (r *recovery) recover() error {
	for i, s := range r.segments {
		if i+1 < len(r.segments) && r.segments[i+1].base <= r.from {
			continue
		}
		ix, from, err := r.indexBelow(s)
		if err != nil {
			return err
		}
		if r.scannedFrom < 0 {
			r.scannedFrom = from.Offset
		}
		if err := r.l.checkAborted(s, ix, from.PosBytes); err != nil {
			return err
		}
		if err := ix.aborted.TruncateTo(from.Offset); err != nil {
			return err
		}
		err = r.walk(s, ix, from, true)
		if errors.Is(err, kafka.CorruptMessage) {
			if i+1 == len(r.segments) || r.end != r.segments[i+1].base {
				return r.cutAt(i, err)
			}
			// The next segment goes on where the last good batch ends: nothing is missing.
			if err = r.trimTo(s, err); err == nil {
				err = r.finish(s, ix)
			}
		}
		if err != nil {
			return err
		}
		if i+1 < len(r.segments) && !r.leadsTo(r.segments[i+1]) {
			if r.compacted, err = r.wasCompacted(); err != nil {
				return err
			}
			if !r.leadsTo(r.segments[i+1]) {
				return r.endBehind(i)
			}
		}
	}
	return nil
}

// wasCompacted looks for what a cleaner leaves, on a topic that may not be
// compacted any more: offsets that are missing inside a file or a batch. A crash
// takes the end of a file only. The batch behind the gap has to be followed by
// another, for the CRC does not cover its base offset.
func (r *recovery) wasCompacted() (bool, error) {
	var scan segment.Scan
	defer scan.Done()
	for i, s := range r.segments {
		if i+1 < len(r.segments) && r.segments[i+1].base <= r.from {
			continue // as much as recovery reads
		}
		end, gap := s.base, false
		scan.Start(s.log, 0, s.sizeBytes, true)
		for scan.Floor(end); scan.Next(); {
			h := &scan.Header
			if gap || h.Count <= h.LastOffsetDelta {
				return true, nil
			}
			gap, end = h.BaseOffset > end, h.NextOffset()
		}
		if err := scan.Err(); err != nil && !errors.Is(err, kafka.CorruptMessage) {
			return false, err
		}
	}
	return r.compacted, nil
}

// leadsTo reports whether next may stand behind what was found so far.
func (r *recovery) leadsTo(next *logSegment) bool {
	gap := r.compacted || next.base <= r.durable // is then from compaction, perhaps long ago
	return r.end == next.base || r.end < next.base && gap
}

// endBehind ends the log behind segment i, where the next one does not follow:
// it begins later, so the end of this one was lost in the crash, or it begins
// inside this one.
func (r *recovery) endBehind(i int) error {
	lost := int64(0)
	for _, later := range r.segments[i+1:] {
		lost += later.sizeBytes
	}
	r.l.log().Warn("log was cut where the next segment does not follow", "file", r.segments[i].log.Path(),
		"log_end", int64(r.end), "next_base", int64(r.segments[i+1].base), "lost_bytes", lost)
	return r.dropBehind(i)
}

func (r *recovery) dropBehind(i int) error {
	if err := r.l.removeTail(r.segments[i+1:]); err != nil {
		return err
	}
	r.segments = r.segments[:i+1]
	return nil
}

// walk goes over the batches from a trusted place to the end of the segment
// and notes what it sees; r.end is then behind the last good one. With crc
// index entries are added too.
func (r *recovery) walk(s *logSegment, ix *indexes, from index.Position, crc bool) error {
	s.top = index.Time{TimestampMs: batch.NoTimestamp, Offset: s.base}
	if t, ok, err := ix.times.Last(); err != nil {
		return err
	} else if ok {
		s.top = t
	}
	interval := r.l.indexInterval()
	indexed, floor := from.PosBytes > 0, s.base
	if crc {
		// from is behind a batch, not on one. A torn sector may leave a base
		// offset of zero in front of a good CRC, which does not cover it.
		indexed, floor = false, from.Offset
	}
	build := crc || ix.offsets.Entries() == 0 // an index that was reset is built here
	r.end = max(r.end, s.base)
	var scan segment.Scan
	var failed error
	goodFrom := from.PosBytes
	scan.Start(s.log, from.PosBytes, s.sizeBytes, crc)
	scan.Floor(floor)
	if crc {
		scan.Over(func(bad *CorruptError, _ kafka.Offset) (int64, kafka.Offset, bool) {
			d, ok, err := r.over(s, bad)
			if failed = err; !ok {
				return 0, 0, false
			}
			s.verified.add(goodFrom, bad.PosBytes)
			goodFrom, r.end = d.ToBytes, d.To
			return d.ToBytes, d.To, true
		})
		scan.Judge(func(h, behind batch.Header, followed bool) string { return r.misplaced(s, h, behind, followed) })
	}
	defer scan.Done()
	for scan.Next() {
		h := &scan.Header
		if wrong := r.beyondStop(h); wrong != "" {
			return &CorruptError{File: s.log.Path(), PosBytes: scan.PosBytes, Reason: wrong}
		}
		if !build || indexed {
			// The batch of the entry itself, or all of it is in the index.
			s.noteTop(h, scan.PosBytes)
			s.sinceIndex += int64(h.SizeBytes())
		} else {
			s.note(ix, h, scan.PosBytes, interval)
		}
		indexed = false
		if ix.offsets.WantsSpill() {
			if err := ix.spill(); err != nil {
				return err
			}
		}
		if r.epochsFound { // else they are taken from all batches later
			r.noteEpoch(h)
		}
		r.end = h.NextOffset()
	}
	if crc {
		s.verified.add(goodFrom, scan.NextPos())
	}
	if failed != nil {
		return failed
	}
	if err := scan.Err(); err != nil {
		return err
	}
	return r.finish(s, ix)
}

// finish completes the indexes of a closed segment.
func (r *recovery) finish(s *logSegment, ix *indexes) error {
	if err := errors.Join(ix.offsets.Settle(), ix.times.Settle()); err != nil {
		return err
	}
	if s == r.segments[len(r.segments)-1] {
		return nil
	}
	ix.times.Add(s.top)
	s.shown, s.shownOK = s.top, true
	return ix.spill()
}

func (s *logSegment) noteTop(h *batch.Header, posBytes int64) {
	if h.MaxTimestampMs > s.top.TimestampMs {
		s.top = index.Time{TimestampMs: h.MaxTimestampMs, Offset: h.LastOffset()}
	}
	if posBytes == 0 {
		s.firstMs, s.firstKnown = h.MaxTimestampMs, true
	}
}

// cutAt ends the log in segment i, in front of what why names.
func (r *recovery) cutAt(i int, why error) error {
	var bad *CorruptError
	if !errors.As(why, &bad) {
		return why
	}
	s := r.segments[i]
	lost := s.sizeBytes - bad.PosBytes
	for _, later := range r.segments[i+1:] {
		lost += later.sizeBytes
	}
	r.l.log().Warn("log was cut at the first batch that is not whole", "file", s.log.Path(), "position", bad.PosBytes,
		"log_end", int64(r.end), "lost_bytes", lost, "reason", bad.Reason)
	// In this order, and durably: the next recovery would not see a hole, nor a
	// torn tail of a segment that was closed meanwhile.
	if err := r.dropBehind(i); err != nil {
		return err
	}
	ix := s.ix.Load()
	return errors.Join(r.cutFile(s, bad.PosBytes), ix.offsets.Settle(), ix.times.Settle())
}

// trimTo drops what lies behind the last good batch of a closed segment.
func (r *recovery) trimTo(s *logSegment, why error) error {
	var bad *CorruptError
	if !errors.As(why, &bad) {
		return why
	}
	r.l.log().Warn("what lies behind the last batch of a segment was cut", "file", s.log.Path(), "position", bad.PosBytes,
		"lost_bytes", s.sizeBytes-bad.PosBytes, "reason", bad.Reason)
	return r.cutFile(s, bad.PosBytes)
}

func (r *recovery) cutFile(s *logSegment, sizeBytes int64) error {
	next, err := s.log.Truncate(sizeBytes)
	if err != nil {
		return err
	}
	s.log, s.sizeBytes = next, sizeBytes
	s.trustFrom = s.sizeBytes
	return next.SyncData()
}
