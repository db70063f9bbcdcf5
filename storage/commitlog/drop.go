// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"math"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/prodstate"
	"gregor/storage/retention"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// AdvanceLogStart moves the log start forward (DeleteRecords, a leader's log
// start), never back. Records below it are no longer served; their segments
// go with DropSegments. It may not pass the high watermark: OFFSET_OUT_OF_RANGE.
func (l *Log) AdvanceLogStart(off kafka.Offset) error {
	if err := l.writable(); err != nil {
		return err
	}
	l.mu.Lock()
	t := l.tail
	switch {
	case off > t.HighWatermark:
		l.mu.Unlock()
		return &OffsetOutOfRangeError{Requested: off, Tail: t}
	case off <= t.LogStart:
		l.mu.Unlock()
		return nil
	}
	l.tail.LogStart = off
	l.tail.LocalLogStart = max(l.tail.LocalLogStart, off)
	if list, changed := l.pub.epochs.truncateStart(off); changed {
		l.setEpochsLocked(list)
	}
	l.updateStableLocked()
	l.mu.Unlock()
	if err := l.saveEpochs(); err != nil {
		l.sideWriteFailed("write leader epoch checkpoint", err)
	}
	return nil
}

// DeleteRecords is AdvanceLogStart, and gives the room of all segments back that
// nothing is left of, the active one included. Once the log start has moved the
// records are gone; room that cannot be had back now comes with retention.
func (l *Log) DeleteRecords(off kafka.Offset) error {
	if err := l.AdvanceLogStart(off); err != nil {
		return err
	}
	t := l.Tail()
	if t.LogStart == t.LogEnd && l.active().sizeBytes > 0 {
		if err := l.Roll(); err != nil {
			l.log().Warn("deleted records keep their room for now", "err", err)
			return nil
		}
	}
	_, _ = l.DropSegments(t.LogStart) // it has told
	return nil
}

// Segment is one segment as retention sees it.
type Segment struct {
	Base      kafka.Offset
	End       kafka.Offset // base of the next segment; the log end for the last
	SizeBytes int64
	// MaxTimestampMs is the greatest timestamp; -1 where there is none or
	// where it has not been read yet (OffsetForTime reads it).
	MaxTimestampMs int64
	Active         bool
}

// Segments lists the segments, oldest first.
func (l *Log) Segments() ([]Segment, error) {
	if err := l.ready(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Segment, len(l.pub.segments))
	for i, s := range l.pub.segments {
		list[i] = Segment{Base: s.base, End: l.tail.LogEnd, SizeBytes: s.sizeBytes, MaxTimestampMs: batch.NoTimestamp, Active: i == len(list)-1}
		if s.shownOK {
			list[i].MaxTimestampMs = s.shown.TimestampMs
		}
		if i > 0 {
			list[i-1].End = s.base
		}
	}
	return list, nil
}

// DropSegments removes the segments that lie wholly below off, the active one
// excepted, and moves the log start to the first that is left. off may not
// pass the high watermark. Of many segments it renames the files of some; Retain
// goes on with the others, and RetentionDue tells that there are any.
func (l *Log) DropSegments(off kafka.Offset) (dropped int, err error) {
	if err := l.writable(); err != nil {
		return 0, err
	}
	off = min(off, l.Tail().HighWatermark)
	var plan retention.Plan
	for dropped < len(l.pub.segments)-1 && l.pub.segments[dropped+1].base <= off {
		plan.Bytes[retention.LogStart] += l.pub.segments[dropped].sizeBytes
		dropped++
	}
	if dropped == 0 {
		return 0, nil
	}
	done, err := l.drop(dropped, renamesMax)
	if !done {
		return 0, err
	}
	plan.Segments[retention.LogStart] = dropped
	l.tellDropped(&plan)
	return dropped, err
}

// drop takes the first n segments out of the log; at least one stays. The files
// of at most renamed of them are renamed, from the oldest on, so that whatever a
// crash leaves is the end of the log, without a hole. A segment whose files
// could not be renamed holds up those behind it. Retain goes on with what is
// left over; readers do not see it.
func (l *Log) drop(n, renamed int) (dropped bool, err error) {
	if next := l.pub.segments[n]; !next.createdInFile {
		// Its name is then all that tells where the log goes on.
		if err := errors.Join(l.createEmpty(next), l.o.FS.SyncDir(l.dir())); err != nil {
			l.sideWriteFailed("create a segment", err)
			return false, err
		}
	}
	if err := l.keepSnapshots(l.pub.segments[1 : n+1]); err != nil {
		var unreadable *unreadableError
		if errors.As(err, &unreadable) {
			return false, storageError("make a producer snapshot again", err)
		}
		l.sideWriteFailed("sync a producer snapshot", err)
		return false, err
	}
	gone := l.pub.segments[:n]
	l.mu.Lock()
	l.pub.segments = append([]*logSegment(nil), l.pub.segments[n:]...)
	first := l.pub.segments[0].base
	for _, s := range gone {
		s.dead = true
		l.tail.SizeBytes -= s.sizeBytes
	}
	l.tail.LogStart = max(l.tail.LogStart, first)
	l.tail.LocalLogStart = max(l.tail.LocalLogStart, first)
	if list, changed := l.pub.epochs.truncateStart(l.tail.LogStart); changed {
		l.setEpochsLocked(list)
	}
	l.updateStableLocked()
	l.mu.Unlock()
	l.lane.doomed = append(l.lane.doomed, gone...)
	l.dropSnapshotsInside(first)
	err = l.removeDoomed(renamed)
	if saved := l.saveEpochs(); saved != nil {
		l.sideWriteFailed("write leader epoch checkpoint", saved)
	}
	return true, err
}

// keepSnapshots keeps that of the segment at which the log will begin, and those
// in front of it that a power cut may take, at which it begins if the power goes
// in the middle: what lies behind them may be gone then, too.
func (l *Log) keepSnapshots(segments []*logSegment) error {
	l.mu.Lock()
	synced := l.pub.syncedBelow
	l.mu.Unlock()
	for i, s := range segments {
		if i < len(segments)-1 && s.base < synced {
			continue
		}
		if err := l.keepSnapshot(s.base); err != nil {
			return err
		}
	}
	return nil
}

// keepSnapshot sees to it that the producer snapshot of a segment's start is
// there and durable: once the segments in front of it are gone, nothing else
// tells of the producers that wrote to them, and of transactions that they left
// open. A crash may have taken it, and the load did without; one that cannot be
// read is made again too.
func (l *Log) keepSnapshot(base kafka.Offset) error {
	l.mu.Lock()
	synced := l.pub.syncedBelow
	l.mu.Unlock()
	b, err := l.readSnapshot(base)
	if err == nil {
		var s prodstate.State
		err = s.LoadSnapshot(b, 0, math.MaxInt64)
	}
	switch {
	case err == nil && base < synced:
		return nil
	case err == nil: // written by this process, or before a crash
		return l.syncSnapshot(base)
	case passing(err):
		return err
	}
	w, err := l.walkTo(base)
	if err != nil {
		return &unreadableError{err}
	}
	err = l.replaceSmall(segment.Name(base, segment.SnapshotSuffix), w.producers.AppendSnapshot(nil), vfs.File.SyncData)
	if isNoSpace(err) {
		return nil // the segments in front of it are what gives room back
	}
	return errors.Join(err, l.o.FS.SyncDir(l.dir()))
}

// unreadableError says that a log could not be read where that is needed to change
// it. Only a write that fails is final.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

func (l *Log) syncSnapshot(base kafka.Offset) error {
	f, err := l.o.FS.Open(l.path(base, segment.SnapshotSuffix), vfs.ReadWrite, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.SyncData(), f.Close(), l.o.FS.SyncDir(l.dir()))
}

// removeDoomed renames the files of segments that left the log, of at most so
// many.
func (l *Log) removeDoomed(most int) error {
	var err error
	for ; err == nil && len(l.lane.doomed) > 0 && most > 0; most-- {
		if err = l.removeFiles(l.lane.doomed[0]); err == nil {
			l.lane.doomed = l.lane.doomed[1:]
		}
	}
	if len(l.lane.doomed) == 0 {
		l.lane.doomed = nil
	}
	l.mu.Lock()
	l.pub.leftovers = len(l.lane.doomed) > 0
	l.mu.Unlock()
	if err != nil {
		l.sideWriteFailed("drop segments", err)
	}
	return err
}

// createEmpty makes the log file of a segment without room for its records: a
// full disk must not be in the way of what gives room back.
func (l *Log) createEmpty(s *logSegment) error {
	if err := s.log.With(func(vfs.File) error { return nil }); err != nil {
		return err
	}
	s.createdInFile, l.lane.dirUnsynced = true, true
	return nil
}
