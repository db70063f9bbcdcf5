// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"math"

	"gregor/base/kafka"
	"gregor/storage/prodstate"
	"gregor/wire/batch"
)

// Origin says who appends.
type Origin int8

// Origins.
const (
	// OriginClient: a producer; the leader assigns offsets, checks sequences
	// and recognises duplicates.
	OriginClient Origin = iota
	// OriginReplica: a follower's fetch; offsets, epochs and sequences were
	// decided by the leader and are taken over.
	OriginReplica
	// OriginCoordinator: a coordinator of this broker; the leader assigns
	// offsets and checks producer epochs, but not sequences.
	OriginCoordinator
)

// Append is one append: batches back to back, and what became of them.
type Append struct {
	// Batches were checked by the caller (size, magic, CRC). Base offsets and
	// leader epochs are patched in place unless a replica appends.
	Batches []byte
	Origin  Origin
	// ExpectedEpoch, unless kafka.NoLeaderEpoch, must be the epoch that Append
	// is called with; else the answer is NOT_LEADER_OR_FOLLOWER.
	ExpectedEpoch kafka.LeaderEpoch
	// TxnVersion is of markers that a coordinator appends, as in prodstate.Rules.
	TxnVersion int8

	Err          error
	BaseOffset   kafka.Offset
	LastOffset   kafka.Offset
	AppendTimeMs int64 // -1 unless LogAppendTime, or a duplicate's own timestamp
	LogStart     kafka.Offset
	Duplicate    bool // it was there already; nothing was written

	Next *Append
}

// batchOfAppend is what was staged for the next write. Its slices are kept
// from write to write, but not what they point to.
type batchOfAppend struct {
	next    kafka.Offset // of the next batch
	bytes   int64
	bufs    [][]byte
	staged  []staged
	pending *Append // first append of the chain with something staged
}

type staged struct {
	h        batch.Header
	posBytes int64
	verdict  prodstate.Verdict
	stable   kafka.Offset // last stable offset behind an abort marker
}

// Append appends a chain in order, as leader of epoch (or as a follower, for
// OriginReplica, where epoch does not count). Results are in the chain.
//
// Each Append of the chain succeeds or fails as a whole, save that of a
// replica, whose batches may end up in two segments: the part in front of
// the error then stays.
func (l *Log) Append(chain *Append, epoch kafka.LeaderEpoch) {
	err := l.writable()
	w := &l.lane
	if err == nil {
		w.next = l.tail.LogEnd // the lane alone moves it
		w.pending = chain
	}
	for a := chain; a != nil; a = a.Next {
		a.BaseOffset, a.LastOffset, a.AppendTimeMs, a.Duplicate, a.LogStart = kafka.NoOffset, kafka.NoOffset, batch.NoTimestamp, false, kafka.NoOffset
		a.Err = err
		if err == nil {
			a.Err = l.stage(a, epoch)
		}
	}
	if err == nil {
		l.commit(nil)
	}
	flushed := l.flushIfMany()
	logStart := l.Tail().LogStart
	for a := chain; a != nil; a = a.Next {
		a.LogStart = logStart
		if a.Err == nil {
			a.Err = flushed // the record is in the log, and not as safe as was promised
		}
		if a.Err != nil {
			a.BaseOffset, a.LastOffset, a.AppendTimeMs, a.Duplicate = kafka.NoOffset, kafka.NoOffset, batch.NoTimestamp, false
		}
	}
}

// writable is ready, and not failed.
func (l *Log) writable() error {
	if err := l.ready(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pub.err
}

// stage judges one append and puts its batches behind what is staged. When a
// segment is full, what was staged is written first.
func (l *Log) stage(a *Append, epoch kafka.LeaderEpoch) error {
	if a.ExpectedEpoch != kafka.NoLeaderEpoch && a.ExpectedEpoch != epoch && a.Origin != OriginReplica {
		return kafka.NotLeaderForPartition
	}
	if len(a.Batches) == 0 {
		return fmt.Errorf("append without a batch: %w", kafka.InvalidRecord)
	}
	w := &l.lane
	before := l.mark()
	run := 0 // where the piece that the last buffer holds begins
	for pos := 0; pos < len(a.Batches); {
		b := a.Batches[pos:]
		h, err := l.checkBatch(b, a.Origin)
		if err == nil && l.mustRoll(&h) {
			if err = l.commit(a); err == nil {
				err = l.roll(h.BaseOffset)
			}
			before, run = l.mark(), pos
		}
		if err != nil {
			l.takeBack(before)
			return err
		}
		b = b[:h.SizeBytes()]
		s := staged{h: h, posBytes: l.active().sizeBytes + w.bytes}
		if h.HasProducerID() {
			if err := l.judge(a, b, &s); err != nil || a.Duplicate {
				l.takeBack(before)
				return err
			}
		}
		if a.Origin != OriginReplica {
			batch.SetBaseOffset(b, h.BaseOffset)
			batch.SetLeaderEpoch(b, epoch)
			s.h.LeaderEpoch = epoch
		}
		if a.BaseOffset == kafka.NoOffset {
			a.BaseOffset = h.BaseOffset
		}
		a.LastOffset = h.LastOffset()
		if h.Attributes.TimestampType() == batch.LogAppendTime {
			a.AppendTimeMs = h.MaxTimestampMs
		}
		if pos == run {
			w.bufs = append(w.bufs, b)
		} else {
			w.bufs[len(w.bufs)-1] = a.Batches[run : pos+len(b)]
		}
		w.staged = append(w.staged, s)
		w.bytes += int64(len(b))
		w.next = h.NextOffset()
		pos += len(b)
	}
	return nil
}

// checkBatch reads the header and settles the base offset. What can be wrong
// here the caller should have found: it is checked because offsets and file
// positions hang on it.
func (l *Log) checkBatch(b []byte, origin Origin) (batch.Header, error) {
	h, err := batch.Parse(b)
	if err != nil {
		return h, err
	}
	size := int64(h.SizeBytes())
	switch {
	case size > int64(len(b)):
		return h, &batch.CorruptError{Reason: fmt.Sprintf("the batch claims %d bytes, %d are there", size, len(b))}
	case h.LastOffsetDelta < 0:
		return h, &batch.CorruptError{Reason: fmt.Sprintf("last offset delta %d", h.LastOffsetDelta)}
	case origin == OriginReplica:
		if h.BaseOffset < l.lane.next {
			return h, fmt.Errorf("base offset %d of a fetched batch lies before the log end %d: %w", h.BaseOffset, l.lane.next, kafka.OffsetOutOfRange)
		}
	default:
		if size > int64(l.cfg.SegmentBytes) {
			return h, fmt.Errorf("batch of %d bytes does not fit into a segment of %d: %w", size, l.cfg.SegmentBytes, kafka.RecordListTooLarge)
		}
		h.BaseOffset = l.lane.next
	}
	if h.BaseOffset > math.MaxInt64-kafka.Offset(h.LastOffsetDelta)-1 {
		return h, &batch.CorruptError{Reason: "offsets overflow"}
	}
	return h, nil
}

// judge checks epochs and sequences of a producer's batch and notes it.
func (l *Log) judge(a *Append, b []byte, s *staged) error {
	var marker prodstate.Marker
	if s.h.Attributes.IsControl() {
		marker = prodstate.ParseMarker(b)
	}
	rules := prodstate.Rules{Sequences: a.Origin == OriginClient, Epochs: a.Origin != OriginReplica, TxnVersion: a.TxnVersion, NowMs: l.nowMs()}
	v, err := l.lane.producers.Apply(&s.h, marker, rules)
	if err != nil {
		return err
	}
	if v.Duplicate {
		a.Duplicate = true
		a.BaseOffset, a.LastOffset, a.AppendTimeMs = v.Original.FirstOffset(), v.Original.LastOffset, v.Original.TimestampMs
	}
	s.verdict = v
	return nil
}

type stageMark struct {
	next         kafka.Offset
	bytes        int64
	bufs, staged int
	producers    int
}

func (l *Log) mark() stageMark {
	w := &l.lane
	return stageMark{next: w.next, bytes: w.bytes, bufs: len(w.bufs), staged: len(w.staged), producers: w.producers.Mark()}
}

func (l *Log) takeBack(m stageMark) {
	w := &l.lane
	w.next, w.bytes = m.next, m.bytes
	clear(w.bufs[m.bufs:])
	w.bufs, w.staged = w.bufs[:m.bufs], w.staged[:m.staged]
	w.producers.Undo(m.producers)
}

// active is the segment that is appended to; the lane alone changes it.
func (l *Log) active() *logSegment { return l.pub.active() }
