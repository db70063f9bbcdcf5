// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// mustRoll reports whether a batch needs a new segment, by Kafka's rules: the
// segment is full or old, its index is full, or the offset is too far from
// its base.
func (l *Log) mustRoll(h *batch.Header) bool {
	s, c := l.active(), &l.cfg
	if !index.Relative(s.base, h.LastOffset()) {
		return true
	}
	used := s.sizeBytes + l.lane.bytes
	if used == 0 {
		return false
	}
	if used > int64(c.SegmentBytes)-int64(h.SizeBytes()) {
		return true
	}
	ix := s.ix.Load()
	if ix.offsets.Entries() >= int(c.IndexBytes)/index.OffsetEntryBytes || ix.times.Entries() >= int(c.IndexBytes)/index.TimeEntryBytes-1 {
		return true
	}
	return s.sizeBytes > 0 && l.ageMs(s, h.MaxTimestampMs) > c.SegmentMs-jitter(s.base, min(c.SegmentJitterMs, c.SegmentMs))
}

// ageMs is how old the segment is: from its first batch's timestamp to that of
// the batch that wants in, or by the clock where there are no timestamps.
func (l *Log) ageMs(s *logSegment, timestampMs int64) int64 {
	if !s.firstKnown {
		var scan segment.Scan
		scan.Start(s.log, 0, s.sizeBytes, false)
		if scan.Next() {
			s.firstMs = scan.Header.MaxTimestampMs
		} else {
			s.firstMs = batch.NoTimestamp
		}
		scan.Done()
		s.firstKnown = true
	}
	if s.firstMs >= 0 {
		return timestampMs - s.firstMs
	}
	return l.nowMs() - s.createdMs
}

// jitter spreads the rolls of many segments over maxMs. It is a function of
// the segment, not of chance: the same log rolls alike everywhere.
func jitter(base kafka.Offset, maxMs int64) int64 {
	if maxMs <= 0 {
		return 0
	}
	x := uint64(base) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int64((x ^ x>>31) % uint64(maxMs))
}

// Roll starts a new segment at the log end, unless the last one is empty.
func (l *Log) Roll() error {
	if err := l.writable(); err != nil {
		return err
	}
	return l.roll(l.tail.LogEnd)
}

// roll closes the active segment and starts one at base. Nothing is staged.
func (l *Log) roll(base kafka.Offset) error {
	s := l.active()
	if s.sizeBytes == 0 {
		return l.moveEmpty(s, base)
	}
	l.seal(s)
	l.lane.producers.Expire(l.nowMs(), l.config().ProducerIDExpirationMs)
	if err := l.saveProducers(base); err != nil {
		l.sideWriteFailed("write producer snapshot", err)
	}
	if w := &l.lane; len(w.inside) > 0 && w.inside[len(w.inside)-1] == base {
		w.inside = w.inside[:len(w.inside)-1] // it is that of the next segment's start
	}
	l.lane.sinceSnapshot = 0
	l.dropSnapshotsInside(s.base)
	next := l.newSegment(base, l.nowMs())
	l.mu.Lock()
	segments := make([]*logSegment, 0, len(l.pub.segments)+1)
	l.pub.segments = append(append(segments, l.pub.segments...), next)
	err := l.pub.err
	l.mu.Unlock()
	if l.o.Sealed != nil {
		l.o.Sealed(s.base)
	}
	return err
}

// seal finishes the indexes of a segment that gets no more batches.
func (l *Log) seal(s *logSegment) {
	ix := s.ix.Load()
	ix.times.Add(s.top)
	err := ix.spill()
	if t := l.Tail(); err == nil && t.Flushed >= t.LogEnd {
		err = ix.sync() // no later flush looks at this segment again
	}
	s.unspilled = err != nil
	if err != nil {
		l.sideWriteFailed("write index", err)
	}
	ix.offsets.Shrink()
	ix.times.Shrink()
	l.trim(s)
}

// trim gives back what was preallocated behind the segment's end.
func (l *Log) trim(s *logSegment) {
	if !l.cfg.Preallocate || s.sizeBytes == 0 {
		return
	}
	if err := s.log.With(func(f vfs.File) error { return f.Truncate(s.sizeBytes) }); err != nil {
		l.sideWriteFailed("trim "+s.log.Path(), err)
	}
}

// moveEmpty gives an empty segment another base offset.
func (l *Log) moveEmpty(s *logSegment, base kafka.Offset) error {
	if s.base == base {
		return nil
	}
	if err := l.removeFiles(s); err != nil {
		return l.fail("move an empty segment", err)
	}
	next := l.newSegment(base, l.nowMs())
	l.mu.Lock()
	defer l.mu.Unlock()
	segments := append([]*logSegment(nil), l.pub.segments...)
	segments[len(segments)-1] = next
	s.dead = true
	l.pub.segments = segments
	return nil
}

// saveProducers writes the producers' state as of off, which is the log end.
func (l *Log) saveProducers(off kafka.Offset) error {
	if l.lane.snapshot == off {
		return nil
	}
	if err := l.writeSmall(segment.Name(off, segment.SnapshotSuffix), l.lane.producers.AppendSnapshot(nil)); err != nil {
		return err
	}
	l.lane.snapshot = off
	return nil
}

// Checkpoint forgets producers that have expired and writes what is in memory
// only: index entries, and the leader epochs. It frees memory of a log that has
// become idle, and does nothing for one that stayed so.
func (l *Log) Checkpoint() error {
	if !l.isLoaded() {
		return nil
	}
	if err := l.writable(); err != nil {
		return err
	}
	l.lane.producers.Expire(l.nowMs(), l.config().ProducerIDExpirationMs)
	l.mendIndexes()
	var err error
	if l.unspilled() {
		err = l.spillAll()
	}
	err = errors.Join(err, l.saveEpochs())
	if err == nil {
		return nil
	}
	l.sideWriteFailed("checkpoint", err)
	return fmt.Errorf("checkpoint log of %s: %w", l.o.TopicPartition, err)
}

// unspilled reports whether spillAll has anything to write.
func (l *Log) unspilled() bool {
	active := l.active()
	for _, s := range l.pub.segments {
		if s.unspilled {
			return true
		}
	}
	ix := active.ix.Load()
	return ix != nil && (ix.offsets.Unspilled() || ix.times.Unspilled())
}

// spillAll writes the index entries of the active segment, and of those that
// could not be written when they were due.
func (l *Log) spillAll() error {
	var errs []error
	for i, s := range l.pub.segments {
		ix := s.ix.Load()
		if ix == nil || s.sizeBytes == 0 || (i < len(l.pub.segments)-1 && !s.unspilled) {
			continue
		}
		err := ix.spill()
		s.unspilled = err != nil && i < len(l.pub.segments)-1
		errs = append(errs, err)
		ix.offsets.Shrink()
		ix.times.Shrink()
	}
	return errors.Join(errs...)
}

func (l *Log) isLoaded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pub.loaded
}
