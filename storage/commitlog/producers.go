// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// loadProducers takes the newest usable snapshot and replays the batches
// behind it.
func (r *recovery) loadProducers(snapshots []kafka.Offset) error {
	l := r.l
	limit := r.end
	if !r.clean && r.scannedFrom >= 0 {
		limit = min(limit, r.scannedFrom)
	}
	from, chosen := r.segments[0].base, kafka.NoOffset
	for i := len(snapshots) - 1; i >= 0; i-- {
		at := snapshots[i]
		if at > r.end {
			if err := l.removeSnapshot(at); err != nil {
				return err
			}
			continue
		}
		if at > limit || at < r.segments[0].base {
			continue // what came between it and the first segment is not known: markers, too
		}
		b, err := l.readSnapshot(at)
		if missing(err) { // it went with its segment
			continue
		}
		if err != nil {
			return err
		}
		if err := l.lane.producers.LoadSnapshot(b, r.nowMs, math.MaxInt64); err != nil {
			l.log().Warn("producer snapshot is of no use", "file", l.path(at, segment.SnapshotSuffix), "reason", err)
			if err := l.removeSnapshot(at); err != nil {
				return err
			}
			continue
		}
		from, chosen = max(from, at), at
		break
	}
	if chosen == kafka.NoOffset {
		l.lane.producers.Reset()
	}
	r.recall(from)
	r.txns.Reset(l.lane.producers.OpenTxns())
	l.lane.snapshot = chosen
	if err := r.replayProducers(from); err != nil {
		return err
	}
	// Not before: whoever had been silent when the snapshot was written, and wrote
	// again, would have lost its epochs.
	l.lane.producers.Expire(r.nowMs, l.config().ProducerIDExpirationMs)
	return l.removeStraySnapshots(snapshots, r.segments, chosen)
}

// How far in front of a snapshot recall looks: a recovery reads the log anyway,
// a clean start answers whoever waits for it.
const (
	recallBytesMax      = 64 << 20
	recallBytesCleanMax = 2 << 20
)

// recall finds the batches that a snapshot at off left out, of which it holds
// one for each producer: a producer that has several in flight when the node
// dies repeats them all, and to refuse the older ones makes it number them anew
// and write them twice. It does what it can: without it, repeats are judged as
// Kafka judges them.
func (r *recovery) recall(off kafka.Offset) {
	if r.l.lane.producers.Len() == 0 {
		return
	}
	from, err := r.before(off)
	var earlier prodstate.State
	if err == nil && from < off {
		err = r.eachBatch(from, func(scan *segment.Scan, _ *logSegment) error {
			h := &scan.Header
			if h.BaseOffset >= off {
				return errEnough
			}
			if !h.HasProducerID() || h.Attributes.IsControl() {
				return nil
			}
			_, err := earlier.Apply(h, prodstate.Marker{}, prodstate.Rules{})
			earlier.Keep()
			return err
		})
	}
	if err != nil && !errors.Is(err, errEnough) {
		r.l.log().Warn("batches in front of a producer snapshot cannot be read", "snapshot", int64(off), "reason", err)
		return
	}
	r.l.lane.producers.Recall(&earlier)
}

// before is where to begin to read what lies in front of off.
func (r *recovery) before(off kafka.Offset) (kafka.Offset, error) {
	left := int64(recallBytesMax)
	if r.clean {
		left = recallBytesCleanMax
	}
	for i, s := range slices.Backward(r.segments) {
		if s.base >= off {
			continue
		}
		if i+1 < len(r.segments) && s.sizeBytes <= left && r.segments[i+1].base <= off {
			left -= s.sizeBytes
			continue
		}
		ix, err := r.l.indexes(s, s.sizeBytes)
		if err != nil {
			return off, err
		}
		end, err := ix.offsets.Floor(off)
		if err != nil {
			return off, err
		}
		if end.PosBytes <= left {
			left -= end.PosBytes
			continue
		}
		start, err := ix.offsets.FloorPosition(end.PosBytes - left)
		return start.Offset, err
	}
	return r.segments[0].base, nil
}

// replayProducers notes the batches from an offset on, as they were accepted.
func (r *recovery) replayProducers(from kafka.Offset) error {
	if from >= r.end {
		return nil
	}
	p := &r.l.lane.producers
	var body []byte
	err := r.eachBatch(from, func(scan *segment.Scan, s *logSegment) error {
		h := &scan.Header
		if !h.HasProducerID() {
			return nil
		}
		var marker prodstate.Marker
		if h.Attributes.IsControl() {
			var err error
			if body, err = scan.Body(body); err != nil {
				return err
			}
			marker = prodstate.ParseMarker(body)
		}
		v, err := p.Apply(h, marker, prodstate.Rules{NowMs: r.nowMs})
		if err != nil {
			return err
		}
		p.Keep()
		r.noteTxn(h, v)
		if v.Ended && !v.Committed {
			return r.noteAborted(s, h, v)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load producers: %w", err)
	}
	return nil
}

func (r *recovery) noteTxn(h *batch.Header, v prodstate.Verdict) { noteTxn(&r.txns, h, v) }

func noteTxn(t *prodstate.Txns, h *batch.Header, v prodstate.Verdict) {
	switch {
	case v.Began:
		t.Begin(prodstate.Txn{ProducerID: h.ProducerID, First: v.TxnStart})
	case v.Ended:
		t.End(h.ProducerID, v.TxnStart, h.LastOffset())
	}
}

// noteAborted puts an aborted transaction into the index, unless it is there.
func (r *recovery) noteAborted(s *logSegment, h *batch.Header, v prodstate.Verdict) error {
	ix, err := r.l.indexes(s, s.sizeBytes)
	if err != nil {
		return err
	}
	list, err := ix.aborted.List()
	if err != nil {
		return err
	}
	if n := len(list); n > 0 && list[n-1].LastOffset >= h.LastOffset() {
		return nil
	}
	return ix.aborted.Add(index.Aborted{ProducerID: h.ProducerID, FirstOffset: v.TxnStart,
		LastOffset: h.LastOffset(), LastStable: r.txns.StableAfter(h.ProducerID, h.LastOffset())})
}

// snapshotBytes is how much of a segment lies between two producer snapshots: a
// recovery reads no more of what lies below the recovery point for the sake of
// producers. Apache Kafka has them at the ends of segments only.
const snapshotBytes = 64 << 20

// snapshotInside takes a producer snapshot inside a segment if it is time for one,
// after n bytes more. Snapshots of many producers are rare, so that they stay a
// small part of what is written.
func (l *Log) snapshotInside(n int64) {
	const producerBytes = 100
	w := &l.lane
	every := l.o.snapshotBytes
	if every == 0 {
		every = snapshotBytes
	}
	if w.sinceSnapshot += n; w.sinceSnapshot < max(every, 64*producerBytes*int64(w.producers.Len())) {
		return
	}
	w.sinceSnapshot = 0
	if err := l.saveProducers(l.tail.LogEnd); err != nil {
		l.sideWriteFailed("write producer snapshot", err)
		return
	}
	w.inside = append(w.inside, l.tail.LogEnd)
}

// dropSnapshotsInside removes the snapshots that lie inside segments below off.
func (l *Log) dropSnapshotsInside(off kafka.Offset) {
	w := &l.lane
	for len(w.inside) > 0 && w.inside[0] < off {
		if err := l.removeSnapshot(w.inside[0]); err != nil {
			l.sideWriteFailed("remove a producer snapshot", err)
			return
		}
		w.inside = w.inside[1:]
	}
}

func (l *Log) removeSnapshot(at kafka.Offset) error {
	if err := l.o.FS.Remove(l.path(at, segment.SnapshotSuffix)); err != nil && !missing(err) {
		return fmt.Errorf("remove snapshot: %w", err)
	}
	l.lane.dirUnsynced = true // else it could come back beside other records
	return nil
}

// removeStraySnapshots keeps the snapshots that belong to a segment's start,
// and the chosen one. Those of segments that left the log go with their files,
// which a crash may bring back.
func (l *Log) removeStraySnapshots(snapshots []kafka.Offset, segments []*logSegment, chosen kafka.Offset) error {
	keep := map[kafka.Offset]bool{chosen: true}
	for _, s := range slices.Concat(segments, l.lane.doomed) {
		keep[s.base] = true
	}
	for _, at := range snapshots {
		if !keep[at] {
			if err := l.removeSnapshot(at); err != nil {
				return err
			}
		}
	}
	l.lane.inside, l.lane.sinceSnapshot = nil, 0
	atStart := func(s *logSegment) bool { return s.base == chosen }
	if chosen != kafka.NoOffset && !slices.ContainsFunc(segments, atStart) && !slices.ContainsFunc(l.lane.doomed, atStart) {
		l.lane.inside = []kafka.Offset{chosen}
	}
	return nil
}
