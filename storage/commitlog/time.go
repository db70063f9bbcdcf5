// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// Found is a record that was looked for by time.
type Found struct {
	Offset      kafka.Offset // kafka.NoOffset: none
	TimestampMs int64        // -1: none
	Epoch       kafka.LeaderEpoch
}

func nothingFound() Found {
	return Found{Offset: kafka.NoOffset, TimestampMs: batch.NoTimestamp, Epoch: kafka.NoLeaderEpoch}
}

// timeView is a segment as a search by time sees it, its file referenced.
type timeView struct {
	seg       *logSegment
	file      *segment.File
	sizeBytes int64
	top       index.Time
	topOK     bool
}

// timeViews references all segments. The caller releases them.
func (l *Log) timeViews() ([]timeView, Tail, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tail.LogStart == l.tail.LogEnd && l.idleLocked() {
		return nil, l.tail, nil
	}
	if err := l.settledLocked(); err != nil {
		return nil, Tail{}, err
	}
	list := make([]timeView, 0, len(l.pub.segments))
	for _, s := range l.pub.segments {
		if s.sizeBytes == 0 {
			continue
		}
		s.log.Ref()
		list = append(list, timeView{seg: s, file: s.log, sizeBytes: s.sizeBytes, top: s.shown, topOK: s.shownOK})
	}
	return list, l.tail, nil
}

func release(list []timeView) {
	for _, v := range list {
		v.file.Release()
	}
}

// greatest is the segment's greatest timestamp, read from the time index where
// it is not yet known.
func (l *Log) greatest(v *timeView) (index.Time, error) {
	if v.topOK {
		return v.top, nil
	}
	ix, err := l.indexes(v.seg, v.sizeBytes)
	if err != nil {
		return index.Time{}, err
	}
	t, err := l.lastTime(v, ix)
	if err != nil {
		return index.Time{}, err
	}
	l.mu.Lock()
	v.seg.shown, v.seg.shownOK = t, true
	l.mu.Unlock()
	v.top, v.topOK = t, true
	return t, nil
}

// lastTime takes the last entry of the time index, if the log bears it out, and
// looks at the batches behind it: an index that lost its end looks whole.
func (l *Log) lastTime(v *timeView, ix *indexes) (index.Time, error) {
	none := index.Time{TimestampMs: batch.NoTimestamp, Offset: v.seg.base}
	t, ok, err := ix.times.Last()
	if err == nil && ok {
		ok, err = l.bearsOut(v, t)
	}
	if err != nil && !errors.Is(err, index.ErrCorrupt) {
		return none, err
	}
	pos := int64(0)
	if err != nil || !ok {
		t = none
	} else if at, found, err := l.locate(v.seg, v.file, v.sizeBytes, t.Offset); err != nil {
		return none, err
	} else if found {
		pos = at.posBytes
	}
	var w walker
	w.begin(l, v.seg, v.file, v.sizeBytes, pos, v.sizeBytes, v.seg.base, l.endOf(v.seg))
	w.headers = true
	defer w.done()
	for w.next() {
		if h := &w.Header; h.MaxTimestampMs > t.TimestampMs {
			t = index.Time{TimestampMs: h.MaxTimestampMs, Offset: h.LastOffset()}
		}
	}
	return t, w.err
}

// bearsOut reports whether the batch that a time index entry names has its
// timestamp.
func (l *Log) bearsOut(v *timeView, t index.Time) (bool, error) {
	at, found, err := spot{}, false, error(nil)
	if t.Offset <= v.seg.base {
		at, found, err = l.locateFrom(v.seg, v.file, v.sizeBytes, v.seg.base, index.Position{Offset: v.seg.base})
	} else if t.Offset < l.endOf(v.seg) {
		at, found, err = l.locate(v.seg, v.file, v.sizeBytes, t.Offset)
	}
	if err != nil {
		return false, err
	}
	if found && at.h.MaxTimestampMs == t.TimestampMs && at.h.BaseOffset <= t.Offset {
		return true, nil
	}
	l.doubt(v.seg, v.file, "time index", t.Offset)
	return false, nil
}

// since is where to begin to look for a timestamp: every record in front of it
// is older. An entry of the time index holds the greatest timestamp up to its
// offset. It goes by the entry in front of the one that the search finds: the
// two bear each other out, so one that is wrong leads nobody past a record.
func (l *Log) since(v *timeView, ix *indexes, timestampMs int64) (kafka.Offset, error) {
	key := timestampMs - 1
	for range landingsMax {
		before, at, err := ix.times.FloorTwo(key)
		if errors.Is(err, index.ErrCorrupt) || err == nil && before.TimestampMs < 0 {
			return v.seg.base, nil
		}
		if err != nil {
			return v.seg.base, err
		}
		good := before.TimestampMs < at.TimestampMs && before.Offset <= at.Offset
		for _, t := range [...]index.Time{before, at} {
			if good {
				if good, err = l.bearsOut(v, t); err != nil {
					return v.seg.base, err
				}
			}
		}
		if good {
			return before.Offset, nil
		}
		key = min(before.TimestampMs, key-1)
	}
	return v.seg.base, nil
}

// OffsetForTime finds the first record, at or behind the log start, whose
// timestamp is not before timestampMs. Whether it lies below the high watermark
// is for the caller to judge.
func (l *Log) OffsetForTime(timestampMs int64) (Found, error) {
	for range readTriesMax {
		views, tail, err := l.timeViews()
		if err != nil {
			return nothingFound(), err
		}
		f, intact, err := l.firstAt(views, timestampMs, tail.LogStart)
		release(views)
		if intact {
			return f, l.ended(err)
		}
	}
	return nothingFound(), errUnsettled
}

// firstAt looks through the segments in order. intact is false where a
// truncation came in between.
func (l *Log) firstAt(views []timeView, timestampMs int64, from kafka.Offset) (f Found, intact bool, err error) {
	for i := range views {
		v := &views[i]
		top, err := l.greatest(v)
		if err == nil && top.TimestampMs < timestampMs {
			continue
		}
		found := false
		if err == nil {
			f, found, err = l.firstIn(v, timestampMs, from)
		}
		if err != nil || found {
			return f, !l.changed(v.seg, v.file, err), err
		}
	}
	return nothingFound(), true, nil
}

// firstIn looks through one segment: time index, offset index, headers, then
// the records of the one batch that can hold it.
func (l *Log) firstIn(v *timeView, timestampMs int64, from kafka.Offset) (Found, bool, error) {
	ix, err := l.indexes(v.seg, v.sizeBytes)
	if err != nil {
		return nothingFound(), false, err
	}
	start, err := l.since(v, ix, timestampMs)
	if err != nil {
		return nothingFound(), false, err
	}
	at, found, err := l.locate(v.seg, v.file, v.sizeBytes, max(start, from))
	if err != nil || !found {
		return nothingFound(), false, err
	}
	var w walker
	w.begin(l, v.seg, v.file, v.sizeBytes, at.posBytes, v.sizeBytes, at.h.BaseOffset, l.endOf(v.seg))
	defer w.done()
	var body []byte
	for w.next() {
		h := &w.Header
		if h.MaxTimestampMs < timestampMs || h.LastOffset() < from {
			continue
		}
		if body, err = w.Body(body); err != nil {
			return nothingFound(), false, err
		}
		off, ts, ok, err := firstRecord(h, body, timestampMs, from)
		if err != nil {
			return nothingFound(), false, &CorruptError{File: v.file.Path(), PosBytes: w.PosBytes, Reason: err.Error()}
		}
		if ok {
			return Found{Offset: off, TimestampMs: ts, Epoch: h.LeaderEpoch}, true, nil
		}
	}
	return nothingFound(), false, w.err
}

// MaxTimestamp finds the first record with the greatest timestamp.
func (l *Log) MaxTimestamp() (Found, error) {
	for range readTriesMax {
		views, tail, err := l.timeViews()
		if err != nil {
			return nothingFound(), err
		}
		f, intact, err := l.greatestOf(views, tail.LogStart)
		release(views)
		if intact {
			return f, l.ended(err)
		}
	}
	return nothingFound(), errUnsettled
}

func (l *Log) greatestOf(views []timeView, from kafka.Offset) (Found, bool, error) {
	tops := make([]int64, len(views))
	newestMs := batch.NoTimestamp // of records without a timestamp the first is the newest, as in Kafka
	for i := range views {
		v := &views[i]
		if tops[i] = belowLogStart; i+1 < len(views) && views[i+1].seg.base <= from {
			continue
		}
		top, err := l.greatest(v)
		if err == nil && v.seg.base < from && top.TimestampMs >= 0 {
			top, err = l.greatestFrom(v, top, from)
		}
		if err != nil {
			return nothingFound(), !l.changed(v.seg, v.file, err), err
		}
		tops[i], newestMs = top.TimestampMs, max(newestMs, top.TimestampMs)
	}
	for i := range views {
		v := &views[i]
		if tops[i] < newestMs {
			continue
		}
		if f, found, err := l.firstIn(v, newestMs, from); found || err != nil {
			return f, !l.changed(v.seg, v.file, err), err
		}
	}
	return nothingFound(), true, nil
}

// belowLogStart stands for the greatest timestamp of a segment of which nothing is left.
const belowLogStart = batch.NoTimestamp - 1

// greatestFrom is the greatest timestamp at or behind from, which lies inside
// the segment, while top is the greatest of the whole segment. DeleteRecords may
// have taken that one.
func (l *Log) greatestFrom(v *timeView, top index.Time, from kafka.Offset) (index.Time, error) {
	none := index.Time{TimestampMs: batch.NoTimestamp, Offset: v.seg.base}
	if top.Offset >= from {
		if _, found, err := l.firstIn(v, top.TimestampMs, from); found || err != nil {
			return top, err
		}
	}
	at, found, err := l.locate(v.seg, v.file, v.sizeBytes, from)
	if err != nil || !found {
		return none, err
	}
	var w walker
	w.begin(l, v.seg, v.file, v.sizeBytes, at.posBytes, v.sizeBytes, at.h.BaseOffset, l.endOf(v.seg))
	w.headers = true
	defer w.done()
	newest := none
	for w.next() {
		h := &w.Header
		t := index.Time{TimestampMs: h.MaxTimestampMs, Offset: h.LastOffset()}
		if h.BaseOffset < from {
			body, err := w.Body(nil)
			if err != nil {
				return none, err
			}
			_, ts, found, err := batch.NewestRecord(h, body, from, coder(h))
			if err != nil {
				return none, &CorruptError{File: v.file.Path(), PosBytes: w.PosBytes, Reason: err.Error()}
			}
			if t.TimestampMs = ts; !found {
				continue
			}
		}
		if t.TimestampMs > newest.TimestampMs {
			newest = t
		}
	}
	return newest, w.err
}

// firstRecord finds the first record of a batch at or behind from whose
// timestamp is not before timestampMs.
func firstRecord(h *batch.Header, body []byte, timestampMs int64, from kafka.Offset) (kafka.Offset, int64, bool, error) {
	return batch.FirstRecordAt(h, body, from, timestampMs, coder(h))
}

// coder reads the records of a batch; nil where they are not compressed.
func coder(h *batch.Header) *compress.Coder {
	if h.Attributes.Codec() == compress.None {
		return nil
	}
	return &compress.Coder{}
}

// checkTimes compares the time index of the segment that is appended to with the
// batches from its last entry on: up to the last entry of the offset index, from,
// none may be newer.
func (r *recovery) checkTimes(s *logSegment, ix *indexes, from index.Position) error {
	t, ok, err := ix.times.Last()
	if err != nil {
		return err
	}
	start := index.Position{Offset: s.base}
	if ok && t.Offset > s.base {
		if start, err = ix.offsets.Floor(t.Offset); err == nil && start.PosBytes > 0 {
			err = checkEntry(s, start)
		}
		if err != nil {
			return err
		}
	}
	named := !ok
	var scan segment.Scan
	scan.Start(s.log, start.PosBytes, s.sizeBytes, false)
	defer scan.Done()
	for scan.Next() && (!named || scan.PosBytes <= from.PosBytes) {
		h := &scan.Header
		if ok && h.BaseOffset <= t.Offset && t.Offset <= h.LastOffset() {
			if named = h.MaxTimestampMs == t.TimestampMs; !named {
				break
			}
		}
		if from.PosBytes > 0 && scan.PosBytes <= from.PosBytes && h.MaxTimestampMs > t.TimestampMs && (ok || h.MaxTimestampMs >= 0) {
			named = false
			break
		}
	}
	if err := scan.Err(); err != nil && !errors.Is(err, kafka.CorruptMessage) {
		return err
	}
	if !named {
		return fmt.Errorf("time index of %s ends with timestamp %d at offset %d: %w", s.log.Path(), t.TimestampMs, t.Offset, index.ErrCorrupt)
	}
	return nil
}
