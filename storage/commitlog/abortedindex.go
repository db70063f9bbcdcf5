// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/index"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
)

// checkAborted compares the transaction index of a segment, if it has one, with
// what the log says up to sizeBytes, and puts that in its place where they
// differ: consumers would be given what was aborted. An entry has no checksum,
// and each of its bits counts.
func (l *Log) checkAborted(s *logSegment, ix *indexes, sizeBytes int64) error {
	if s.txnBytes == noBytes {
		return nil
	}
	return l.compareAborted(s, ix, sizeBytes)
}

// compareAborted is checkAborted also where there is no file.
func (l *Log) compareAborted(s *logSegment, ix *indexes, sizeBytes int64) error {
	list, err := ix.aborted.List()
	if err != nil && !errors.Is(err, index.ErrCorrupt) {
		return err
	}
	w, walked := l.findAborted(s, sizeBytes)
	if err == nil {
		if walked != nil {
			return nil // there is nothing to compare it with
		}
		if err = w.differs(list); err == nil {
			return nil
		}
	}
	if walked != nil {
		return &unreadableError{fmt.Errorf("rebuild transaction index: %w", walked)}
	}
	l.log().Warn("transaction index is rebuilt", "segment", s.log.Path(), "reason", err)
	return l.replaceAborted(s, ix, w.list)
}

// differs says what is wrong with list, as far as the walk went.
func (w *abortedWalk) differs(list []index.Aborted) error {
	for i, a := range list {
		if i >= len(w.list) {
			if a.LastOffset < w.end {
				return fmt.Errorf("entry %d names a marker at %d, where none is", i, a.LastOffset)
			}
			return nil
		}
		b := w.list[i]
		first := a.FirstOffset == b.FirstOffset || a.FirstOffset < w.start // where the log begins by now
		// A reader looks no further than an entry behind which all is stable.
		stable := a.LastStable == b.LastStable || !w.whole && a.LastStable <= a.LastOffset+1
		if a.ProducerID != b.ProducerID || a.LastOffset != b.LastOffset || !first || !stable {
			return fmt.Errorf("entry %d is %+v, the log says %+v", i, a, b)
		}
	}
	if len(list) < len(w.list) {
		return fmt.Errorf("%d entries, the log says %d", len(list), len(w.list))
	}
	return nil
}

// replaceAborted puts another transaction index in the place of the file at
// once: one that holds less than it should looks as good as a whole one.
func (l *Log) replaceAborted(s *logSegment, ix *indexes, list []index.Aborted) error {
	var b []byte
	for _, a := range list {
		b = index.AppendAborted(b, a)
	}
	if err := ix.aborted.File().Close(); err != nil {
		return err
	}
	// Synced first: after a power cut an empty file would say that nothing was aborted.
	if err := l.replaceSmall(segment.Name(s.base, segment.TxnIndexSuffix), b, vfs.File.SyncData); err != nil {
		return err
	}
	ix.aborted = index.NewAborted(l.o.Files.File(l.path(s.base, segment.TxnIndexSuffix), true), s.base, int64(len(b)))
	return nil
}

// findAborted lists what was aborted in the first sizeBytes of a segment.
func (l *Log) findAborted(s *logSegment, sizeBytes int64) (*abortedWalk, error) {
	w, err := l.walkTo(s.base)
	if err != nil {
		return nil, err
	}
	w.list = nil
	if err := w.walk(s.log, s.base, s.base, sizeBytes); err != nil {
		return nil, err
	}
	return w, nil
}

// walkTo walks from the newest usable producer snapshot to the start of the
// segment at off. Any goroutine may do so; it goes by the files in the folder and
// not by what is published, since it is also called while the log is loaded.
func (l *Log) walkTo(off kafka.Offset) (*abortedWalk, error) {
	dir := l.dir()
	infos, err := l.o.FS.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	files := sortFiles(infos)
	w := &abortedWalk{start: off}
	if len(files.logs) > 0 {
		w.start = min(w.start, baseOf(files.logs[0].Name))
	}
	from := w.begin(l, files.snapshots, off)
	w.whole = w.whole || w.start == 0
	for i, info := range files.logs {
		base := baseOf(info.Name)
		if base >= off || i+1 < len(files.logs) && baseOf(files.logs[i+1].Name) <= from {
			continue
		}
		file := l.o.Files.File(filepath.Join(dir, info.Name), false)
		err := w.walk(file, base, from, info.SizeBytes)
		_ = file.Close()
		if err != nil && !missing(err) { // else retention has just taken it
			return nil, err
		}
	}
	return w, nil
}

// abortedWalk follows transactions through a part of the log.
type abortedWalk struct {
	producers prodstate.State
	txns      prodstate.Txns
	list      []index.Aborted
	start     kafka.Offset // of the first segment that there is
	end       kafka.Offset // behind the last batch
	whole     bool         // all that is open in front of the segment is known
	body      []byte
}

// begin takes the newest usable snapshot that is not behind off, and tells where
// to walk on.
func (w *abortedWalk) begin(l *Log, snapshots []kafka.Offset, off kafka.Offset) kafka.Offset {
	for _, at := range slices.Backward(snapshots) {
		if at > off || at < w.start {
			continue
		}
		b, err := l.readSnapshot(at)
		if err == nil {
			err = w.producers.LoadSnapshot(b, 0, math.MaxInt64) // whoever has expired since may have aborted
		}
		if err == nil {
			w.txns.Reset(w.producers.OpenTxns())
			w.whole = true
			return at
		}
	}
	return 0
}

func (w *abortedWalk) walk(file *segment.File, base, from kafka.Offset, sizeBytes int64) error {
	var scan segment.Scan
	scan.Start(file, 0, sizeBytes, false)
	scan.Floor(base)
	stepOver(&scan, file, sizeBytes)
	defer scan.Done()
	for scan.Next() {
		h := &scan.Header
		w.end = h.NextOffset()
		if h.LastOffset() < from || !h.HasProducerID() {
			continue
		}
		var marker prodstate.Marker
		if h.Attributes.IsControl() {
			var err error
			if w.body, err = scan.Body(w.body); err != nil {
				return err
			}
			marker = prodstate.ParseMarker(w.body)
		}
		v, err := w.producers.Apply(h, marker, prodstate.Rules{})
		if err != nil {
			return err
		}
		w.producers.Keep()
		noteTxn(&w.txns, h, v)
		if v.Ended && !v.Committed {
			w.list = append(w.list, index.Aborted{ProducerID: h.ProducerID, FirstOffset: v.TxnStart,
				LastOffset: h.LastOffset(), LastStable: w.txns.StableAfter(h.ProducerID, h.LastOffset())})
		}
		if v.Ended {
			w.txns.Replicated(math.MaxInt64)
		}
	}
	return scan.Err()
}
