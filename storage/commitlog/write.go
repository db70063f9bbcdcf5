// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"

	"gregor/base/vfs"
	"gregor/storage/index"
)

// commit writes what is staged with one positioned write and publishes it.
// through is the append that is being staged, nil at the chain's end; if the
// write fails, all up to it have failed.
func (l *Log) commit(through *Append) error {
	w := &l.lane
	first := w.pending
	w.pending = through
	if w.bytes == 0 {
		return nil
	}
	s := l.active()
	s.log.Ref() // what could be opened for the write can then be cut back too
	defer s.log.Release()
	if err := l.write(s); err != nil {
		err = l.writeFailed(s, err)
		for a := first; a != nil; a = a.Next {
			if a.Err == nil {
				a.Err = err
			}
			if a == through {
				break
			}
		}
		return err
	}
	l.noteWritten(s)
	w.producers.Keep()
	n := w.bytes
	w.clear()
	l.snapshotInside(n)
	if l.o.Dirty != nil {
		l.o.Dirty(n)
	}
	return nil
}

func (w *batchOfAppend) clear() {
	clear(w.bufs)
	w.bufs, w.bytes = w.bufs[:0], 0
	if cap(w.staged) > 64 {
		w.staged, w.bufs = nil, nil
	}
	w.staged = w.staged[:0]
}

func (l *Log) write(s *logSegment) error {
	w := &l.lane
	if !s.createdInFile {
		if err := l.createLogFile(s); err != nil {
			return err
		}
	}
	if err := s.dropStale(); err != nil {
		return err
	}
	if len(w.bufs) == 1 {
		_, err := s.log.WriteAt(w.bufs[0], s.sizeBytes)
		return err
	}
	_, err := s.log.WriteVAt(w.bufs, s.sizeBytes)
	return err
}

// dropStale forgets what may lie behind the end of a log file that a power cut left.
// Records that were written back, but whose file did not grow any more, are still
// in its last block, whole and with the offsets that come next. A second power
// cut that keeps the new size of the file and not its new bytes would show them
// in place of what was written meanwhile. To truncate a file to its size zeroes the
// rest of the block, and a journaling file system writes that before it lets the
// file grow, so nobody has to wait for a sync.
func (s *logSegment) dropStale() error {
	if !s.stale {
		return nil
	}
	err := s.log.With(func(f vfs.File) error { return f.Truncate(s.sizeBytes) })
	if err == nil {
		s.stale = false
	}
	return err
}

func (l *Log) createLogFile(s *logSegment) error {
	return s.log.With(func(f vfs.File) error {
		s.createdInFile, l.lane.dirUnsynced = true, true // whether or not there is room for it
		if l.cfg.Preallocate {
			return f.Preallocate(0, int64(l.cfg.SegmentBytes))
		}
		return nil
	})
}

// writeFailed brings file and state back to the published end. Want of room
// passes; anything else is final.
func (l *Log) writeFailed(s *logSegment, err error) error {
	w := &l.lane
	w.next = l.tail.LogEnd
	w.producers.Undo(0)
	w.clear()
	op := "append to " + s.log.Path()
	if passing(err) {
		if s.createdInFile {
			if cut := s.log.With(func(f vfs.File) error { return f.Truncate(s.sizeBytes) }); cut != nil && !passing(cut) {
				return l.fail("cut "+s.log.Path()+" back after a failed append", cut)
			}
		}
		if isNoSpace(err) && l.o.NoRoom != nil {
			l.o.NoRoom(err)
		} else {
			l.log().Error("append failed; the log goes on when there is room", "file", s.log.Path(), "reason", err)
		}
		return storageError(op, err)
	}
	return l.fail(op, err)
}

// sideWriteFailed judges a failed write of something that the log can do
// without for now: it is tried again later.
func (l *Log) sideWriteFailed(op string, err error) {
	if passing(err) {
		l.log().Warn("a file beside the log could not be written; it will be tried again", "what", op, "reason", err)
		return
	}
	_ = l.fail(op, err) // the next change answers it
}

// fail latches the log: a failed write or sync is final.
func (l *Log) fail(op string, err error) error {
	l.mu.Lock()
	if l.pub.err == nil {
		l.pub.err = fmt.Errorf("%w: %s: %w", ErrFailed, op, err)
	}
	l.mu.Unlock()
	if !l.lane.failedCalled {
		l.lane.failedCalled = true
		l.log().Error("log failed", "what", op, "reason", err)
		if l.o.Failed != nil {
			l.o.Failed(op, err)
		}
	}
	return storageError(op, err)
}

// noteWritten gives the written batches their index entries and publishes
// them. An abort marker is in the transaction index before anyone can see it,
// and an epoch in the checkpoint before a sync can move the recovery point.
func (l *Log) noteWritten(s *logSegment) {
	w := &l.lane
	ix := s.ix.Load()
	interval, aborts := int64(l.cfg.IndexIntervalBytes), false
	for i := range w.staged {
		s.note(ix, &w.staged[i].h, w.staged[i].posBytes, interval)
		aborts = aborts || w.staged[i].verdict.Ended && !w.staged[i].verdict.Committed
	}
	if w.unflushedMs == 0 {
		w.unflushedMs = l.nowMs()
	}
	// Before the log end moves: what a recovery point that passes it does not find in
	// the files is then no more than recovery counts on.
	if ix.offsets.WantsSpill() {
		if err := ix.spill(); err != nil {
			l.sideWriteFailed("write index", err)
		}
	}
	l.mu.Lock()
	l.noteTxnsLocked()
	l.noteEpochsLocked()
	if aborts || l.lane.epochsDirty {
		l.mu.Unlock()
		l.writeBeside(ix, aborts)
		l.mu.Lock()
	}
	s.sizeBytes += w.bytes
	s.shown = s.top
	l.tail.SizeBytes += w.bytes
	l.tail.LogEnd = w.next
	for i := range w.staged {
		b := &w.staged[i]
		l.pub.marks.push(mark{next: b.h.NextOffset(), at: place{seg: s, posBytes: b.posBytes + int64(b.h.SizeBytes())}})
	}
	l.updateStableLocked()
	l.mu.Unlock()
}

// noteTxnsLocked tells txns of what is staged. Nothing follows from that
// before the log end passes it.
func (l *Log) noteTxnsLocked() {
	for i := range l.lane.staged {
		b := &l.lane.staged[i]
		if !b.h.HasProducerID() {
			continue
		}
		noteTxn(&l.pub.txns, &b.h, b.verdict)
		if b.verdict.Ended {
			b.stable = l.pub.txns.StableAfter(b.h.ProducerID, b.h.LastOffset())
		}
	}
}

func (l *Log) noteEpochsLocked() {
	for i := range l.lane.staged {
		if h := &l.lane.staged[i].h; h.LeaderEpoch >= 0 && h.LeaderEpoch != l.tail.Epoch {
			l.assignEpochLocked(h.LeaderEpoch, h.BaseOffset)
		}
	}
}

// writeBeside writes what must be on the disk before the batches are seen.
func (l *Log) writeBeside(ix *indexes, aborts bool) {
	if aborts {
		l.noteAborted(ix)
	}
	if err := l.saveEpochs(); err != nil {
		l.sideWriteFailed("write leader epoch checkpoint", err)
	}
}

func (l *Log) noteAborted(ix *indexes) {
	for i := range l.lane.staged {
		b := &l.lane.staged[i]
		if !b.verdict.Ended || b.verdict.Committed {
			continue
		}
		err := ix.aborted.Add(index.Aborted{ProducerID: b.h.ProducerID, FirstOffset: b.verdict.TxnStart,
			LastOffset: b.h.LastOffset(), LastStable: b.stable})
		if err != nil {
			l.sideWriteFailed("write transaction index", err)
		}
	}
}
