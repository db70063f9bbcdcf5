// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
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
	t, ok, err := ix.times.Last()
	if err != nil {
		return index.Time{}, err
	}
	if !ok {
		t = index.Time{TimestampMs: batch.NoTimestamp, Offset: v.seg.base}
	}
	l.mu.Lock()
	v.seg.shown, v.seg.shownOK = t, true
	l.mu.Unlock()
	v.top, v.topOK = t, true
	return t, nil
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
			return f, err
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
	// Every record up to the entry's offset is older: entries hold the
	// greatest timestamp so far, and this one is below the one looked for.
	t, err := ix.times.Floor(timestampMs - 1)
	if err != nil {
		return nothingFound(), false, err
	}
	p, err := ix.offsets.Floor(max(t.Offset, from))
	if err != nil {
		return nothingFound(), false, err
	}
	var scan segment.Scan
	scan.Start(v.file, p.PosBytes, v.sizeBytes, false)
	stepOver(&scan, v.file, v.sizeBytes)
	defer scan.Done()
	var body []byte
	for scan.Next() {
		h := &scan.Header
		if h.MaxTimestampMs < timestampMs || h.LastOffset() < from {
			continue
		}
		if body, err = scan.Body(body); err != nil {
			return nothingFound(), false, err
		}
		off, ts, ok, err := firstRecord(h, body, timestampMs, from)
		if err != nil {
			return nothingFound(), false, &CorruptError{File: v.file.Path(), PosBytes: scan.PosBytes, Reason: err.Error()}
		}
		if ok {
			return Found{Offset: off, TimestampMs: ts, Epoch: h.LeaderEpoch}, true, nil
		}
	}
	return nothingFound(), false, scan.Err()
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
			return f, err
		}
	}
	return nothingFound(), errUnsettled
}

func (l *Log) greatestOf(views []timeView, from kafka.Offset) (Found, bool, error) {
	var best *timeView
	for i := range views {
		v := &views[i]
		top, err := l.greatest(v)
		if err != nil {
			return nothingFound(), !l.changed(v.seg, v.file, err), err
		}
		if best == nil || top.TimestampMs > best.top.TimestampMs {
			best = v
		}
	}
	if best == nil || best.top.TimestampMs < 0 {
		return nothingFound(), true, nil
	}
	f, _, err := l.firstIn(best, best.top.TimestampMs, from)
	return f, !l.changed(best.seg, best.file, err), err
}

// firstRecord finds the first record of a batch at or behind from whose
// timestamp is not before timestampMs.
func firstRecord(h *batch.Header, body []byte, timestampMs int64, from kafka.Offset) (kafka.Offset, int64, bool, error) {
	var c *compress.Coder
	if h.Attributes.Codec() != compress.None {
		c = &compress.Coder{}
	}
	return batch.FirstRecordAt(h, body, from, timestampMs, c)
}
