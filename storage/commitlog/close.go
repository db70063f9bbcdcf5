// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/prodstate"
)

// Close writes indexes, producer snapshot and leader epochs and closes the
// files; it syncs nothing, since the directory does so once for all its logs.
// The Hint goes into the directory's manifest. A log that was never used gives
// back the Hint it came with. It waits for a reader that loads the log.
func (l *Log) Close() (h Hint, err error) {
	err = l.loading.alone(func() error {
		h, err = l.close()
		return err
	})
	return h, err
}

func (l *Log) close() (Hint, error) {
	if !l.isLoaded() {
		l.shut()
		if l.o.Hint == nil {
			return Hint{}, ErrClosed
		}
		return *l.o.Hint, nil
	}
	if err := l.writable(); err != nil {
		l.shut()
		return Hint{}, err
	}
	s := l.active()
	ix := s.ix.Load()
	if s.sizeBytes > 0 {
		ix.times.Add(s.top)
		l.trim(s)
	}
	err := errors.Join(s.dropStale(), l.spillAll(), l.saveEpochs())
	_ = l.removeDoomed(len(l.lane.doomed)) // it has told, and the next start goes on with it
	if l.tail.LogEnd > max(l.lane.snapshot, 0) {
		err = errors.Join(err, l.saveProducers(l.tail.LogEnd))
	}
	if err == nil {
		l.dropSnapshotsInside(l.tail.LogEnd)
	}
	hint, hintErr := l.hint(l.lastInFile())
	l.shut()
	if err = errors.Join(err, hintErr); err != nil {
		return Hint{}, fmt.Errorf("close log of %s: %w", l.o.TopicPartition, err)
	}
	return hint, nil
}

// lastInFile is the last segment that the next start will find.
func (l *Log) lastInFile() *logSegment {
	s := l.active()
	if n := len(l.pub.segments); n > 1 && !s.createdInFile {
		s = l.pub.segments[n-2]
	}
	return s
}

// hint describes the log as it is on the disk now.
func (l *Log) hint(last *logSegment) (Hint, error) {
	h := Hint{LastBase: last.base, LastSizeBytes: last.sizeBytes}
	info, err := l.o.FS.Stat(last.log.Path())
	switch {
	case err == nil:
		h.LastSizeBytes, h.LastModTimeNano = info.SizeBytes, info.ModTimeNano
	case !missing(err) || last.sizeBytes > 0:
		return h, err
	}
	l.hintOldest(&h)
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tail
	h.LogStart, h.LocalLogStart, h.LogEnd, h.Epoch, h.SizeBytes = t.LogStart, t.LocalLogStart, t.LogEnd, t.Epoch, t.SizeBytes
	h.LastStable, h.StartEpoch = h.LogEnd, l.pub.epochs.at(t.LogStart)
	if first, ok := l.openTxnLocked(); ok {
		h.LastStable = first
	}
	return h, nil
}

// openTxnLocked is where the oldest open transaction begins.
func (l *Log) openTxnLocked() (kafka.Offset, bool) {
	open := l.lane.producers.OpenTxns()
	first, ok := kafka.NoOffset, false
	for _, t := range open {
		if !ok || t.First < first {
			first, ok = t.First, true
		}
	}
	return first, ok
}

// Discard ends the log if it has no folder yet, and reports whether it did. It
// belongs to the verbs of the lane; a reader that makes the folder just now is
// waited for.
func (l *Log) Discard() (discarded bool) {
	_ = l.loading.alone(func() error {
		l.mu.Lock()
		discarded = !l.pub.made && !l.pub.closed
		l.mu.Unlock()
		if discarded {
			l.shut()
		}
		return nil
	})
	return discarded
}

// Kill closes the files and writes nothing: what a test's crash or an offline
// directory does.
func (l *Log) Kill() { l.shut() }

func (l *Log) shut() {
	l.mu.Lock()
	segments := l.pub.segments
	closed := l.pub.closed
	l.pub.closed = true
	l.mu.Unlock()
	if !closed {
		closeFiles(slices.Concat(segments, l.lane.doomed))
	}
}

func closeFiles(segments []*logSegment) {
	for _, s := range segments {
		_ = s.log.Close()
		if ix := s.ix.Load(); ix != nil {
			for _, f := range ix.files() {
				_ = f.Close()
			}
		}
	}
}

// RenameDir renames the partition's folder for deletion. Readers go on
// undisturbed; one that loads the log or opens indexes is waited for, since what
// it does not find where it looks for it would be a failure of the directory, and
// what it makes there would be the next topic's. One that comes later than that
// finds the log closed.
func (l *Log) RenameDir(dir string) error {
	return l.loading.alone(func() error {
		l.mu.Lock()
		l.pub.leaving = true
		segments, loaded := l.pub.segments, l.pub.loaded
		l.mu.Unlock()
		if loaded {
			segments = slices.Concat(segments, l.lane.doomed)
		}
		for _, s := range segments {
			_ = s.opening.alone(func() error { return nil })
		}
		if err := l.o.FS.Rename(l.dir(), dir); err != nil {
			return fmt.Errorf("rename folder of %s: %w", l.o.TopicPartition, err)
		}
		l.mu.Lock()
		l.folder = dir
		l.mu.Unlock()
		if !loaded {
			l.shut()
		}
		for _, s := range segments {
			for _, f := range s.files() {
				f.MovedTo(dir)
			}
		}
		return nil
	})
}

// ended makes ErrClosed of a failure that came of the end of the log.
func (l *Log) ended(err error) error {
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pub.closed || l.pub.leaving {
		return ErrClosed
	}
	return err
}

// Producers lists the log's producers, ordered by id. It runs on the lane.
func (l *Log) Producers() ([]prodstate.Producer, error) {
	if err := l.ready(); err != nil {
		return nil, err
	}
	return l.lane.producers.List(), nil
}
