// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/segment"
)

// Flush makes everything appended so far durable: the segments that are not
// yet, the folder if files were created. A failure is final.
func (l *Log) Flush() error {
	if !l.isLoaded() {
		return nil
	}
	if err := l.writable(); err != nil {
		return err
	}
	t := l.Tail()
	if t.Flushed >= t.LogEnd && !l.lane.dirUnsynced {
		l.lane.unflushedMs = 0
		return nil
	}
	for i, s := range l.pub.segments {
		last := i == len(l.pub.segments)-1
		if s.sizeBytes == 0 || (!last && l.pub.segments[i+1].base <= t.Flushed) {
			continue
		}
		err := s.log.SyncData()
		if ix := s.ix.Load(); err == nil && ix != nil {
			// Recovery trusts what the indexes say of offsets below the recovery point.
			err = ix.sync()
		}
		if err != nil {
			return l.syncFailed(s.log.Path(), err)
		}
	}
	if l.lane.dirUnsynced {
		dir := l.dir()
		if err := errors.Join(l.syncMetadata(), l.o.FS.SyncDir(dir), l.o.FS.SyncDir(filepath.Dir(dir))); err != nil {
			return l.syncFailed(dir, err)
		}
		l.lane.dirUnsynced = false
	}
	l.lane.unflushedMs = 0
	l.mu.Lock()
	l.tail.Flushed = t.LogEnd
	l.mu.Unlock()
	return nil
}

// syncFailed is final unless files could not even be opened for it: whatever a
// sync itself fails with, the next one may claim success.
func (l *Log) syncFailed(path string, err error) error {
	if unopened(err) {
		return storageError("sync "+path, err)
	}
	return l.fail("sync "+path, err)
}

// unopened reports whether all of err is that files could not be opened, for now.
func unopened(err error) bool {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(one error) bool { return !unopened(one) })
	case *fs.PathError:
		return e.Op == "open" && passing(e) && !isNoSpace(e)
	case interface{ Unwrap() error }:
		return unopened(e.Unwrap())
	}
	return err == segment.ErrClosed
}

// FlushDueAtMs is when FlushDue will have something to do; 0 is never.
func (l *Log) FlushDueAtMs() int64 {
	if !l.isLoaded() { // whoever loads it is no business of the lane's
		return 0
	}
	since := l.lane.unflushedMs
	if since == 0 || l.cfg.FlushMs >= math.MaxInt64-since {
		return 0
	}
	return since + l.cfg.FlushMs
}

// FlushDue flushes if flush.ms has passed since the oldest unflushed append.
func (l *Log) FlushDue() error {
	if atMs := l.FlushDueAtMs(); atMs == 0 || l.nowMs() < atMs {
		return nil
	}
	return l.Flush()
}

// flushIfMany flushes once flush.messages records are not yet durable, or the
// oldest of them is flush.ms old: for a log that is written to, FlushDue has
// then nothing to do. Its failure latches the log; the records are in it
// nevertheless, and nobody may be told so.
func (l *Log) flushIfMany() error {
	l.mu.Lock()
	loaded, failed := l.pub.loaded, l.pub.err
	due := int64(l.tail.LogEnd-l.tail.Flushed) >= l.cfg.FlushMessages
	l.mu.Unlock()
	if !loaded {
		return nil
	}
	if atMs := l.FlushDueAtMs(); atMs != 0 && atMs <= l.nowMs() {
		due = true
	}
	switch {
	case !due:
		return nil
	case failed != nil: // behind the write of these records, so they are never synced
		return failed
	}
	return l.Flush()
}

// Synced says that everything below off was made durable from outside (one
// syncfs for many logs). It may be called from anywhere; off must be a log end
// that was read before the sync began, and after the last call of Synced.
func (l *Log) Synced(off kafka.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A truncation since the last call may have come between reading the log
	// end and the sync: only what it left is known to be durable.
	if l.pub.cut {
		off, l.pub.cut = min(off, l.pub.cutTo), false
	}
	l.tail.Flushed = max(l.tail.Flushed, min(off, l.tail.LogEnd))
	l.pub.syncedBelow = max(l.pub.syncedBelow, off)
}
