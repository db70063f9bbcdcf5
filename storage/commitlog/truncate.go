// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// TruncateTo cuts everything from off on, as a follower does that has diverged
// from its leader. A batch that holds off goes whole, and the log ends where what
// stays does, at off or in front of it: Kafka's ends at off, and at the next start
// where it ends here. With a gap behind its end, a log could not be told from one
// that lost records in a crash. The log start moves back if the batch reaches over
// it. Readers that hold a cut segment are told by its generation.
func (l *Log) TruncateTo(off kafka.Offset) error {
	if err := l.writable(); err != nil {
		return err
	}
	if off < 0 {
		return fmt.Errorf("truncate to offset %d: %w", off, kafka.OffsetOutOfRange)
	}
	if off >= l.tail.LogEnd {
		return l.truncateEpochs(off)
	}
	if off < l.pub.segments[0].base {
		return l.TruncateFullyAndStartAt(off)
	}
	i, ok := l.pub.index(off)
	if !ok {
		i--
	}
	s := l.pub.segments[i]
	at, found, err := l.locateCut(s, off)
	if err != nil {
		return err
	}
	if !found {
		at.posBytes = s.sizeBytes // a gap in front of the next segment
	}
	end, err := l.endBefore(s, s.log, s.sizeBytes, at.posBytes)
	if err != nil {
		return err
	}
	return l.cutTo(i, at.posBytes, min(end, off))
}

// locateCut is locate for a truncation. The log end follows from what stays in
// front of the cut, so that is checked as well, from an index entry on that names
// the very batch it points to: damage that was not known would leave its bytes
// there without its offsets, and with another record behind them a recovery would
// cut at them.
func (l *Log) locateCut(s *logSegment, off kafka.Offset) (at spot, found bool, err error) {
	if off <= s.base {
		return l.locate(s, s.log, s.sizeBytes, off)
	}
	ix, err := l.indexes(s, s.sizeBytes)
	if err != nil {
		return spot{}, false, err
	}
	key := off - 1
	for range landingsMax {
		p, err := ix.offsets.Floor(key)
		if err == nil && p.PosBytes == 0 {
			break
		}
		if err == nil {
			err = checkEntry(s, p)
		}
		if err == nil {
			at, found, err = l.locateFrom(s, s.log, s.sizeBytes, off, p)
		}
		if !errors.Is(err, index.ErrCorrupt) && !errors.Is(err, kafka.CorruptMessage) {
			return at, found, err
		}
		key = p.Offset - 1
	}
	return l.locateFrom(s, s.log, s.sizeBytes, off, index.Position{Offset: s.base})
}

// cutTo makes segment i end at pos and the log at off. What is published comes
// first: from then on nobody begins to read what goes.
func (l *Log) cutTo(i int, pos int64, off kafka.Offset) error {
	old := l.pub.segments[i]
	ix, err := l.indexes(old, old.sizeBytes)
	if err != nil {
		return err
	}
	next := &logSegment{base: old.base, log: old.log, sizeBytes: pos, trustFrom: min(old.trustFrom, pos), createdMs: old.createdMs,
		createdInFile: old.createdInFile, stale: old.stale, indexBytes: noBytes, timeBytes: noBytes, txnBytes: noBytes}
	next.ix.Store(ix)
	next.bad.list.Store(old.bad.below(pos, off))
	gone := l.pub.segments[i+1:]
	l.mu.Lock()
	kept := append([]*logSegment(nil), l.pub.segments[:i+1]...)
	kept[i] = next
	old.dead = true
	for _, s := range gone {
		s.dead = true
	}
	l.pub.segments = kept
	l.setEndLocked(off)
	cutting := make(chan struct{})
	l.pub.cutting = cutting
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.pub.cutting = nil
		l.mu.Unlock()
		close(cutting)
	}()

	if err := l.lowered(off); err != nil {
		return l.fail("truncate", err)
	}
	if err := l.removeTail(gone); err != nil {
		return l.fail("truncate", err)
	}
	if pos < old.sizeBytes {
		file, err := old.log.Truncate(pos)
		if err == nil {
			// Else a power cut could leave sectors of the old records among the new.
			err = file.SyncData()
		}
		if file == nil {
			file = l.o.Files.File(old.log.Path(), false) // what is kept can still be read
		}
		l.mu.Lock()
		next.log = file
		l.mu.Unlock()
		if err != nil {
			return l.fail("truncate", err)
		}
	}
	if err := ix.truncateTo(off); err != nil {
		return l.fail("truncate", err)
	}
	if err := l.resume(next, ix); err != nil {
		return l.fail("truncate", err)
	}
	return l.afterTruncation(off)
}

// lowered tells the directory that the log end has moved back to off.
func (l *Log) lowered(off kafka.Offset) error {
	if l.o.Lowered == nil {
		return nil
	}
	return l.o.Lowered(off)
}

// removeTail removes segments from the log's end. A crash in between leaves a
// log without a hole, and none of them comes back behind other records.
func (l *Log) removeTail(gone []*logSegment) error {
	for _, s := range slices.Backward(gone) {
		if err := l.removeFiles(s); err != nil {
			return err
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return l.o.FS.SyncDir(l.dir())
}

// setEndLocked moves the log end back and everything that may not lie behind it.
func (l *Log) setEndLocked(off kafka.Offset) {
	t := &l.tail
	t.LogEnd = off
	l.pub.cuts++
	if !l.pub.cut || off < l.pub.cutTo {
		l.pub.cut, l.pub.cutTo = true, off
	}
	t.Flushed = min(t.Flushed, off)
	l.pub.syncedBelow = min(l.pub.syncedBelow, off)
	t.LogStart = min(t.LogStart, off)
	t.LocalLogStart = min(t.LocalLogStart, off)
	t.SizeBytes = 0
	for _, s := range l.pub.segments {
		t.SizeBytes += s.sizeBytes
	}
	if list, changed := l.pub.epochs.truncateEnd(off); changed {
		l.setEpochsLocked(list)
	}
	l.pub.marks.reset()
	l.pub.txns.Reset(nil)
	t.HighWatermark = min(t.HighWatermark, off)
	t.LastStable = min(t.LastStable, off)
	l.pub.hw, l.pub.lso = place{}, place{}
}

// resume makes a segment ready to be appended to: what the active one knows
// beside its indexes is read from its last batches.
func (l *Log) resume(s *logSegment, ix *indexes) error {
	top, ok, err := ix.times.Last()
	if err != nil {
		return err
	}
	if !ok {
		top.TimestampMs, top.Offset = batch.NoTimestamp, s.base
	}
	s.top = top
	p, _, err := ix.offsets.Last()
	if errors.Is(err, index.ErrCorrupt) {
		p = index.Position{}
	} else if err != nil {
		return err
	}
	var scan segment.Scan
	scan.Start(s.log, p.PosBytes, s.sizeBytes, false)
	stepOver(&scan, s.log, s.sizeBytes)
	defer scan.Done()
	for scan.Next() {
		s.noteTop(&scan.Header, scan.PosBytes)
		s.sinceIndex += int64(scan.Header.SizeBytes())
	}
	if err := scan.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	s.shown, s.shownOK = s.top, true
	l.mu.Unlock()
	return nil
}

// afterTruncation brings epochs and producers back to the new log end.
func (l *Log) afterTruncation(off kafka.Offset) error {
	files, err := l.list()
	if err != nil {
		return l.fail("truncate", err)
	}
	r := &recovery{l: l, clean: true, nowMs: l.nowMs(), segments: l.pub.segments, end: off, logStart: l.tail.LogStart}
	if err := r.loadProducers(files.snapshots); err != nil {
		return l.fail("truncate", err)
	}
	l.mu.Lock()
	l.pub.txns = r.txns
	l.setHighWatermarkLocked(l.tail.HighWatermark)
	l.mu.Unlock()
	if err := l.saveEpochs(); err != nil {
		l.sideWriteFailed("write leader epoch checkpoint", err)
	}
	return nil
}

func (l *Log) truncateEpochs(off kafka.Offset) error {
	l.mu.Lock()
	list, changed := l.pub.epochs.truncateEnd(off)
	if changed {
		l.setEpochsLocked(list)
	}
	l.mu.Unlock()
	if err := l.saveEpochs(); err != nil {
		l.sideWriteFailed("write leader epoch checkpoint", err)
		return err
	}
	return nil
}

// TruncateFullyAndStartAt empties the log; its next offset, and its start, is
// off. A follower whose log lies wholly outside its leader's does so.
func (l *Log) TruncateFullyAndStartAt(off kafka.Offset) error {
	if err := l.writable(); err != nil {
		return err
	}
	if off < 0 {
		return fmt.Errorf("start the log at offset %d: %w", off, kafka.OffsetOutOfRange)
	}
	// A new segment may have the name of one that was deleted.
	if err := l.removeDoomed(len(l.lane.doomed)); err != nil {
		return storageError("truncate fully", err)
	}
	gone := l.pub.segments
	next := l.newSegment(off, l.nowMs())
	l.mu.Lock()
	for _, s := range gone {
		s.dead = true
		s.log.MarkCut()
	}
	l.pub.segments = []*logSegment{next}
	l.setEndLocked(off)
	l.tail.LogStart, l.tail.LocalLogStart, l.tail.HighWatermark, l.tail.LastStable = off, off, off, off
	l.setEpochsLocked(nil)
	l.setHighWatermarkLocked(off)
	l.mu.Unlock()
	// 0, for none of what the checkpoints say may outlive the files: a crash between
	// two of them must find the new log start, and no promise of the old records.
	errs := []error{l.lowered(0), l.removeTail(gone)}
	files, err := l.list()
	errs = append(errs, err)
	if err == nil {
		errs = append(errs, l.removeStraySnapshots(files.snapshots, nil, kafka.NoOffset))
	}
	if off > 0 {
		errs = append(errs, l.createLogFile(next)) // an empty folder would begin at 0 again
	}
	l.lane.producers.Reset()
	l.lane.snapshot = kafka.NoOffset
	if err := errors.Join(errs...); err != nil {
		return l.fail("truncate fully", err)
	}
	if err := l.saveEpochs(); err != nil {
		l.sideWriteFailed("write leader epoch checkpoint", err)
	}
	return nil
}
