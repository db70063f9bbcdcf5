// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// noBytes stands for a file that does not exist.
const noBytes = -1

// logSegment is one segment in one generation: a truncation makes another.
type logSegment struct {
	base kafka.Offset
	log  *segment.File
	// trustFrom: this process wrote the bytes from here on, or checked them
	// when it recovered the log. What lies before is verified before it is sent.
	trustFrom int64
	verified  intervals
	bad       badRanges
	doubted   atomic.Bool // an index of it was found to be wrong
	mend      atomic.Bool // and is to be built again

	// Guarded by Log.mu, written by the lane alone.
	sizeBytes int64
	dead      bool       // no longer in the log: truncated, deleted or replaced
	shown     index.Time // greatest timestamp; as of the published end
	shownOK   bool       // false: to be read from the time index
	// writtenMs is when the file had last been written as it reached
	// writtenBytes, for segments without timestamps.
	writtenMs    int64
	writtenBytes int64

	// Lane.
	top           index.Time // greatest timestamp, and the last offset of its batch
	sinceIndex    int64      // bytes since the last index entry
	createdMs     int64
	firstMs       int64 // timestamp of the first batch
	firstKnown    bool
	unspilled     bool // closed, but its index could not be written yet
	createdInFile bool // the log file exists
	stale         bool // see dropStale

	// Sizes of the index files when the folder was listed.
	indexBytes, timeBytes, txnBytes int64
	ix                              atomic.Pointer[indexes]

	// opening lets one at a time open the indexes by their names, or build them
	// again, and keeps the files where they are meanwhile.
	opening gate
	retired bool // by opening: the files have .deleted names, or are about to get them
}

type indexes struct {
	offsets *index.Offsets
	times   *index.Times
	aborted *index.AbortedTxns
}

func (l *Log) path(base kafka.Offset, suffix string) string {
	return filepath.Join(l.dir(), segment.Name(base, suffix))
}

// newSegment is a segment without files; the first append creates them.
func (l *Log) newSegment(base kafka.Offset, nowMs int64) *logSegment {
	s := l.foundSegment(base, 0, nowMs)
	s.log = l.o.Files.File(l.path(base, segment.LogSuffix), true)
	s.createdInFile = false
	ix, _ := l.openIndexes(s) // empty ones cannot be corrupt
	s.ix.Store(ix)
	s.top = index.Time{TimestampMs: batch.NoTimestamp, Offset: base}
	s.shown, s.shownOK = s.top, true
	return s
}

// foundSegment is a segment whose log file exists with sizeBytes.
func (l *Log) foundSegment(base kafka.Offset, sizeBytes, createdMs int64) *logSegment {
	return &logSegment{
		base: base, log: l.o.Files.File(l.path(base, segment.LogSuffix), false),
		sizeBytes: sizeBytes, trustFrom: sizeBytes, createdMs: createdMs, createdInFile: true,
		indexBytes: noBytes, timeBytes: noBytes, txnBytes: noBytes,
	}
}

// openIndexes makes the index objects over what files there are. A missing or
// impossible file is index.ErrCorrupt.
func (l *Log) openIndexes(s *logSegment) (*indexes, error) {
	files := l.o.Files
	offsets, err1 := index.NewOffsets(files.File(l.path(s.base, segment.IndexSuffix), true), s.base, max(s.indexBytes, 0))
	times, err2 := index.NewTimes(files.File(l.path(s.base, segment.TimeIndexSuffix), true), s.base, max(s.timeBytes, 0))
	ix := &indexes{offsets: offsets, times: times,
		aborted: index.NewAborted(files.File(l.path(s.base, segment.TxnIndexSuffix), true), s.base, max(s.txnBytes, 0))}
	if err := errors.Join(err1, err2); err != nil {
		return ix, err
	}
	if s.sizeBytes > 0 && (s.indexBytes == noBytes || s.timeBytes == noBytes) {
		return ix, fmt.Errorf("index of %s is missing: %w", s.log.Path(), index.ErrCorrupt)
	}
	return ix, offsets.Check(s.sizeBytes)
}

// indexes gives a closed segment's indexes, opened at the first use; corrupt
// ones are built again from the log file.
func (l *Log) indexes(s *logSegment, sizeBytes int64) (*indexes, error) {
	if ix := s.ix.Load(); ix != nil {
		return ix, nil
	}
	err := s.opening.pass(func() bool { return s.ix.Load() != nil }, func() error {
		if s.retired {
			return errGone
		}
		if l.isLeaving() {
			return ErrClosed
		}
		ix, err := l.openIndexes(s)
		known := false
		if err == nil {
			known, err = l.proven(s)
		}
		if errors.Is(err, index.ErrCorrupt) {
			l.log().Warn("index is rebuilt", "segment", s.log.Path(), "reason", err)
			if err = l.rebuildIndexes(s, ix, sizeBytes); err == nil {
				err = l.compareAborted(s, ix, sizeBytes)
			}
		} else if err == nil && !known {
			err = l.checkAborted(s, ix, sizeBytes)
		}
		if err != nil {
			return err
		}
		s.ix.Store(ix)
		return nil
	})
	return s.ix.Load(), err
}

// rebuildIndexes fills ix by walking over the headers of a closed segment.
func (l *Log) rebuildIndexes(s *logSegment, ix *indexes, sizeBytes int64) error {
	if err := ix.reset(); err != nil {
		return err
	}
	w := indexWriter{s: s, ix: ix, top: index.Time{TimestampMs: batch.NoTimestamp, Offset: s.base}, intervalBytes: l.indexInterval()}
	var scan segment.Scan
	scan.Start(s.log, 0, sizeBytes, false)
	defer scan.Done()
	scan.Floor(s.base)
	stepOver(&scan, s.log, sizeBytes)
	for scan.Next() {
		w.note(&scan.Header, scan.PosBytes)
	}
	if err := scan.Err(); err != nil {
		return &unreadableError{err}
	}
	ix.times.Add(w.top)
	return ix.spill()
}

func (ix *indexes) reset() error { return errors.Join(ix.offsets.Reset(), ix.times.Reset()) }

func (ix *indexes) spill() error {
	return errors.Join(ix.offsets.Spill(), ix.times.Spill(), ix.aborted.Spill())
}

func (ix *indexes) sync() error {
	return errors.Join(ix.offsets.Sync(), ix.times.Sync(), ix.aborted.Sync())
}

// truncateTo drops what the indexes say of off and later.
func (ix *indexes) truncateTo(off kafka.Offset) error {
	return errors.Join(ix.offsets.TruncateTo(off), ix.times.TruncateTo(off), ix.aborted.TruncateTo(off))
}

// files lists every file of the segment that may exist.
func (ix *indexes) files() []*segment.File {
	return []*segment.File{ix.offsets.File(), ix.times.File(), ix.aborted.File()}
}

// indexWriter decides which batches get an index entry: Kafka's rule, one
// after every index.interval.bytes.
type indexWriter struct {
	s             *logSegment
	ix            *indexes
	top           index.Time
	sinceIndex    int64
	intervalBytes int64
}

func (w *indexWriter) note(h *batch.Header, posBytes int64) {
	last := h.LastOffset()
	if h.MaxTimestampMs > w.top.TimestampMs {
		w.top = index.Time{TimestampMs: h.MaxTimestampMs, Offset: last}
	}
	if w.sinceIndex > w.intervalBytes && index.Relative(w.s.base, last) {
		w.ix.offsets.Add(last, posBytes)
		w.ix.times.Add(w.top)
		w.sinceIndex = 0
	}
	w.sinceIndex += int64(h.SizeBytes())
}

// note is indexWriter.note for the segment that is appended to.
func (s *logSegment) note(ix *indexes, h *batch.Header, posBytes, intervalBytes int64) {
	w := indexWriter{s: s, ix: ix, top: s.top, sinceIndex: s.sinceIndex, intervalBytes: intervalBytes}
	w.note(h, posBytes)
	s.top, s.sinceIndex = w.top, w.sinceIndex
	if !s.firstKnown && posBytes == 0 {
		s.firstMs, s.firstKnown = h.MaxTimestampMs, true
	}
}

// files lists every file of the segment that is in use.
func (s *logSegment) files() []*segment.File {
	list := []*segment.File{s.log}
	if ix := s.ix.Load(); ix != nil {
		list = append(list, ix.files()...)
	}
	return list
}
