// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/retention"
	"gregor/wire/batch"
)

// aheadMs is how far ahead of the clock a record may be without a word.
const aheadMs = 3600_000

// RetentionDue reports whether Retain may find something to delete. It opens
// nothing, not even a log that nobody has used since a clean stop, and takes
// nanoseconds: a pass over all logs of a node asks each of them.
func (l *Log) RetentionDue(r retention.Rules, nowMs int64) bool {
	l.mu.Lock()
	if l.pub.closed || l.pub.err != nil {
		l.mu.Unlock()
		return false
	}
	o := l.oldestLocked()
	due := retention.Due(&o, l.tail.LogStart, l.tail.HighWatermark, r, nowMs) || l.pub.leftovers
	future := !due && r.Delete && r.Ms >= 0 && o.End != kafka.NoOffset && o.NewestMs-aheadMs > nowMs && l.pub.futureMs != o.NewestMs
	if future {
		l.pub.futureMs = o.NewestMs
	}
	l.mu.Unlock()
	if future {
		l.log().Warn("the oldest segment holds a record of the future, so retention.ms takes nothing before that time has passed", "timestamp_ms", o.NewestMs)
	}
	return due
}

// oldestLocked is what is known of the oldest segment.
func (l *Log) oldestLocked() retention.Oldest {
	if h := l.o.Hint; !l.pub.loaded && h != nil {
		return h.oldest()
	}
	o := retention.Oldest{End: kafka.NoOffset, LogBytes: l.tail.SizeBytes}
	switch n := len(l.pub.segments); {
	case n == 0 || n == 1 && l.pub.segments[0].sizeBytes == 0:
		return o
	case n == 1:
		o.End, o.Last = l.tail.LogEnd, true
	default:
		o.End = l.pub.segments[1].base
	}
	s := l.pub.segments[0]
	o.SizeBytes, o.NewestMs = s.sizeBytes, s.newestLocked()
	return o
}

// oldest is the oldest segment as a clean stop left it.
func (h *Hint) oldest() retention.Oldest {
	o := retention.Oldest{End: h.OldestEnd, Last: h.OldestEnd >= h.LogEnd, SizeBytes: h.OldestSizeBytes, NewestMs: h.OldestNewestMs, LogBytes: h.SizeBytes}
	if h.SizeBytes == 0 {
		o.End = kafka.NoOffset
	}
	return o
}

// newestLocked is the segment's newest timestamp, or in its place the time when
// it was last written, as far as they have been read.
func (s *logSegment) newestLocked() int64 {
	switch {
	case !s.shownOK:
		return retention.Unread
	case s.shown.TimestampMs >= 0:
		return s.shown.TimestampMs
	case s.writtenMs > 0 && s.writtenBytes == s.sizeBytes:
		return s.writtenMs
	}
	return retention.Unread
}

// renamesMax is of how many segments one Retain renames the files: appends wait
// for it.
const renamesMax = 16

// Retain deletes the segments that the rules give up, and tells what it has
// deleted. The log start moves to the first segment that stays. more says that
// there are files left to rename, for another Retain.
func (l *Log) Retain(r retention.Rules) (plan retention.Plan, more bool, err error) {
	if err := l.writable(); err != nil {
		return plan, false, err
	}
	if err := l.removeDoomed(renamesMax); err != nil || len(l.lane.doomed) > 0 {
		return plan, err == nil, err
	}
	v, err := l.retained()
	if err != nil {
		return plan, false, err
	}
	nowMs := l.nowMs()
	for plan = retention.Decide(&v, r, nowMs); plan.Read >= 0; plan = retention.Decide(&v, r, nowMs) {
		if v.Segments[plan.Read].NewestMs, err = l.newest(l.pub.segments[plan.Read]); err != nil {
			return retention.Plan{}, false, fmt.Errorf("retention of %s: %w", l.o.TopicPartition, err)
		}
	}
	if plan.Count() == 0 {
		return plan, false, nil
	}
	if plan.Roll {
		if err := l.roll(l.tail.LogEnd); err != nil {
			return retention.Plan{}, false, err
		}
	}
	dropped, err := l.drop(plan.Count(), renamesMax)
	if !dropped {
		return retention.Plan{}, false, err
	}
	l.tellDropped(&plan)
	return plan, err == nil && len(l.lane.doomed) > 0, err
}

// retained is the log as retention sees it.
func (l *Log) retained() (retention.Log, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.settledLocked(); err != nil {
		return retention.Log{}, err
	}
	v := retention.Log{Segments: make([]retention.Segment, len(l.pub.segments)),
		Start: l.tail.LogStart, HighWatermark: l.tail.HighWatermark, End: l.tail.LogEnd}
	for i, s := range l.pub.segments {
		v.Segments[i] = retention.Segment{Base: s.base, SizeBytes: s.sizeBytes, NewestMs: s.newestLocked()}
	}
	return v, nil
}

// newest reads what newestLocked did not know. It runs on the lane.
func (l *Log) newest(s *logSegment) (int64, error) {
	l.mu.Lock() // readers may be reading the timestamp too
	v := timeView{seg: s, file: s.log, sizeBytes: s.sizeBytes, top: s.shown, topOK: s.shownOK}
	l.mu.Unlock()
	top, err := l.greatest(&v)
	switch {
	case errors.Is(err, kafka.CorruptMessage):
		// It goes by the time of its file, or it would stay for ever, and what
		// lies behind it too.
		top.TimestampMs = batch.NoTimestamp
	case err != nil:
		return 0, err
	}
	if top.TimestampMs >= 0 {
		return top.TimestampMs, nil
	}
	writtenMs := s.createdMs
	info, err := l.o.FS.Stat(s.log.Path())
	switch {
	case err == nil:
		writtenMs = info.ModTimeNano / 1e6
	case !missing(err):
		return 0, err
	}
	l.mu.Lock()
	s.writtenMs, s.writtenBytes = writtenMs, s.sizeBytes
	if !s.shownOK {
		s.shown, s.shownOK = top, true
	}
	l.mu.Unlock()
	return writtenMs, nil
}

// hintOldest notes for the next start what oldestLocked would tell, reading the
// timestamp if need be: the next pass over all logs shall not have to.
func (l *Log) hintOldest(h *Hint) {
	h.OldestEnd = kafka.NoOffset
	if len(l.lane.doomed) > 0 { // the next start finds them below the log start
		h.OldestEnd = l.pub.segments[0].base
		return
	}
	s := l.pub.segments[0]
	l.mu.Lock()
	o := l.oldestLocked()
	l.mu.Unlock()
	if o.End == kafka.NoOffset {
		return
	}
	if o.NewestMs == retention.Unread {
		if ms, err := l.newest(s); err == nil {
			o.NewestMs = ms
		}
	}
	h.OldestEnd, h.OldestSizeBytes, h.OldestNewestMs = o.End, o.SizeBytes, o.NewestMs
}

func (l *Log) tellDropped(p *retention.Plan) {
	if l.o.Dropped == nil {
		return
	}
	for r := range retention.Reasons {
		if p.Segments[r] > 0 {
			l.o.Dropped(r, p.Segments[r], p.Bytes[r])
		}
	}
}
