// SPDX-License-Identifier: Apache-2.0

// Package prodstate is what a log knows of the idempotent and transactional
// producers that wrote to it: the last five batches of each, its epoch, its
// open transaction; and what follows from that for the last stable offset.
//
// Everything is pure and belongs to one goroutine at a time: headers in,
// verdicts out, time as an argument. The state is kept in Kafka's .snapshot
// files:
//
//	version int16 = 1 | crc uint32 | count int32 | entry...
//	entry := producer id int64 | epoch int16 | last sequence int32 |
//	         last offset int64 | offset delta int32 | timestamp int64 |
//	         coordinator epoch int32 | first offset of the open transaction int64
//
// The CRC32C covers all that stands behind it. Of a producer's batches only
// the last one is in a snapshot.
package prodstate

import (
	"fmt"
	"math"
	"slices"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// BatchesKept is how many batches of a producer are remembered (Kafka's
// NUM_BATCHES_TO_RETAIN): as many as a producer may have in flight.
const BatchesKept = 5

// Batch is what is remembered of one batch.
type Batch struct {
	LastSequence int32
	LastOffset   kafka.Offset
	OffsetDelta  int32 // last minus first offset, and sequence
	TimestampMs  int64
}

// FirstOffset is the offset of the batch's first record.
func (b Batch) FirstOffset() kafka.Offset { return b.LastOffset - kafka.Offset(b.OffsetDelta) }

// firstSequence is the sequence of the batch's first record.
func (b Batch) firstSequence() int32 { return batch.AddSequence(b.LastSequence, -b.OffsetDelta) }

// Producer is one producer as DescribeProducers tells it.
type Producer struct {
	ID               kafka.ProducerID
	Epoch            kafka.ProducerEpoch
	LastSequence     int32
	LastTimestampMs  int64
	CoordinatorEpoch int32        // -1: no marker yet
	TxnStart         kafka.Offset // kafka.NoOffset: no transaction is open
	// Last is the last batch; its LastSequence is batch.NoSequence where there is none.
	Last Batch
}

type entry struct {
	id               kafka.ProducerID
	epoch            kafka.ProducerEpoch
	kept             uint8 // of batches
	coordinatorEpoch int32
	timestampMs      int64
	seenMs           int64 // when this process last took a batch
	txnStart         kafka.Offset
	batches          [BatchesKept]Batch // oldest first
}

func newEntry(id kafka.ProducerID) entry {
	return entry{id: id, epoch: kafka.NoProducerEpoch, coordinatorEpoch: -1, timestampMs: batch.NoTimestamp, txnStart: kafka.NoOffset}
}

func (e *entry) lastSequence() int32 {
	if e.kept == 0 {
		return batch.NoSequence
	}
	return e.batches[e.kept-1].LastSequence
}

func (e *entry) setEpoch(epoch kafka.ProducerEpoch) {
	if e.epoch != epoch {
		e.epoch, e.kept = epoch, 0
	}
}

func (e *entry) keep(b Batch) {
	if e.kept == BatchesKept {
		copy(e.batches[:], e.batches[1:])
		e.kept--
	}
	e.batches[e.kept] = b
	e.kept++
}

// Verdict is what Apply found about a batch.
type Verdict struct {
	// Duplicate: the batch is in the log already, as Original; nothing changed.
	Duplicate bool
	Original  Batch
	// Began: the batch is the first of a transaction.
	Began bool
	// Ended: the batch is the marker that ends the transaction Txn.
	Ended     bool
	Committed bool
	// TxnStart is where the transaction that the batch belongs to began;
	// kafka.NoOffset where there is none.
	TxnStart kafka.Offset
}

// State is the producers of one log.
//
// Changes since the last Keep can be taken back with Undo: an append changes
// the state batch by batch, so that each batch of a chain is judged behind the
// one before it, and takes it all back when the write fails.
type State struct {
	producers map[kafka.ProducerID]*entry
	undo      []undo
}

type undo struct {
	before entry
	isNew  bool
}

// Len is the number of producers.
func (s *State) Len() int { return len(s.producers) }

// Rules say how strictly Apply judges.
type Rules struct {
	// Sequences: check sequences and look for duplicates; for producers only.
	Sequences bool
	// Epochs: refuse stale producer epochs; off for what a leader has accepted
	// already (a follower, recovery).
	Epochs bool
	// TxnVersion is that of a marker's transaction, transaction.version: from 2 on
	// (KIP-890) its marker carries an epoch of its own, above that of its batches.
	TxnVersion int8
	// NowMs is the time of the append. A producer that writes records of long
	// ago is alive nevertheless: forgotten, its repeats would be written twice.
	NowMs int64
}

// Apply judges a batch of a producer (h.HasProducerID) whose base offset is
// set, and notes it. Errors are kafka.Code.
func (s *State) Apply(h *batch.Header, marker Marker, r Rules) (Verdict, error) {
	e, isNew := s.producers[h.ProducerID], false
	if e == nil {
		fresh := newEntry(h.ProducerID)
		e, isNew = &fresh, true
	}
	if h.Attributes.IsControl() {
		return s.applyMarker(e, isNew, h, marker, r)
	}
	if r.Sequences {
		if b, ok := e.duplicate(h); ok {
			return Verdict{Duplicate: true, Original: b}, nil
		}
	}
	if r.Epochs && h.ProducerEpoch < e.epoch {
		return Verdict{}, kafka.InvalidProducerEpoch
	}
	if r.Sequences && !e.follows(h) {
		return Verdict{}, kafka.OutOfOrderSequenceNumber
	}
	open := e.txnStart != kafka.NoOffset
	if r.Epochs && open && !h.Attributes.IsTransactional() {
		return Verdict{}, kafka.InvalidTxnState
	}
	e = s.change(e, isNew)
	e.setEpoch(h.ProducerEpoch)
	e.keep(Batch{LastSequence: h.LastSequence(), LastOffset: h.LastOffset(), OffsetDelta: h.LastOffsetDelta, TimestampMs: h.MaxTimestampMs})
	e.timestampMs, e.seenMs = h.MaxTimestampMs, r.NowMs
	if h.Attributes.IsTransactional() && !open {
		e.txnStart = h.BaseOffset
		return Verdict{Began: true, TxnStart: h.BaseOffset}, nil
	}
	return Verdict{TxnStart: e.txnStart}, nil
}

// duplicate looks for the batch among those that are remembered.
func (e *entry) duplicate(h *batch.Header) (Batch, bool) {
	if h.ProducerEpoch != e.epoch {
		return Batch{}, false
	}
	first, last := h.BaseSequence, h.LastSequence()
	for _, b := range e.batches[:e.kept] {
		if b.firstSequence() == first && b.LastSequence == last {
			return b, true
		}
	}
	return Batch{}, false
}

// follows reports whether the batch's first sequence may come now. A producer
// that nothing is known of (retention, expiry, DeleteRecords) may begin
// anywhere; a new epoch begins at 0.
func (e *entry) follows(h *batch.Header) bool {
	switch {
	case e.epoch == kafka.NoProducerEpoch:
		return true
	case h.ProducerEpoch != e.epoch:
		return h.BaseSequence == 0
	}
	last := e.lastSequence()
	if last == batch.NoSequence {
		return h.BaseSequence == 0
	}
	return h.BaseSequence == batch.AddSequence(last, 1)
}

// applyMarker ends a producer's transaction. Control batches of other kinds
// change nothing.
func (s *State) applyMarker(e *entry, isNew bool, h *batch.Header, m Marker, r Rules) (Verdict, error) {
	if !m.EndsTxn {
		return Verdict{TxnStart: kafka.NoOffset}, nil
	}
	if r.Epochs {
		if h.ProducerEpoch < e.epoch || r.TxnVersion >= txnVersionBumps && e.isOf(h.ProducerEpoch) {
			return Verdict{}, kafka.InvalidProducerEpoch
		}
		if m.CoordinatorEpoch < e.coordinatorEpoch {
			return Verdict{}, kafka.TransactionCoordinatorFenced
		}
	}
	e = s.change(e, isNew)
	v := Verdict{Ended: e.txnStart != kafka.NoOffset, Committed: m.Commit, TxnStart: e.txnStart}
	e.setEpoch(h.ProducerEpoch)
	e.coordinatorEpoch = m.CoordinatorEpoch
	e.txnStart = kafka.NoOffset
	e.timestampMs, e.seenMs = h.MaxTimestampMs, r.NowMs
	return v, nil
}

// txnVersionBumps is the first transaction.version whose markers raise the
// producer's epoch.
const txnVersionBumps = 2

// isOf reports whether the open transaction is of epoch, so that a marker with
// that epoch belongs to one before it. Where no transaction is open it is the
// repeat of a marker; behind the greatest epoch there is none to raise it to.
func (e *entry) isOf(epoch kafka.ProducerEpoch) bool {
	return e.epoch == epoch && e.txnStart != kafka.NoOffset && epoch != math.MaxInt16
}

// change notes what e was, and puts a new one into the map.
func (s *State) change(e *entry, isNew bool) *entry {
	s.undo = append(s.undo, undo{before: *e, isNew: isNew})
	if isNew {
		if s.producers == nil {
			s.producers = make(map[kafka.ProducerID]*entry)
		}
		kept := *e
		e = &kept
		s.producers[e.id] = e
	}
	return e
}

// Mark is how many changes there are to take back.
func (s *State) Mark() int { return len(s.undo) }

// Undo takes the changes behind mark back.
func (s *State) Undo(mark int) {
	for i := len(s.undo) - 1; i >= mark; i-- {
		u := &s.undo[i]
		if u.isNew {
			delete(s.producers, u.before.id)
		} else {
			*s.producers[u.before.id] = u.before
		}
	}
	s.undo = s.undo[:mark]
}

// Keep makes all changes final.
func (s *State) Keep() {
	if cap(s.undo) > 64 {
		s.undo = nil
	}
	s.undo = s.undo[:0]
}

// Reset forgets everything.
func (s *State) Reset() { s.producers, s.undo = nil, nil }

// Recall takes over batches from in front of a snapshot, of which a snapshot
// holds the last one of each producer: earlier is what the log says of them.
func (s *State) Recall(earlier *State) {
	for id, e := range s.producers {
		k := earlier.producers[id]
		if k == nil || k.kept == 0 || e.kept != 1 || k.epoch != e.epoch || k.batches[k.kept-1].LastOffset != e.batches[0].LastOffset {
			continue
		}
		e.batches, e.kept = k.batches, k.kept
	}
}

// Expire forgets producers without an open transaction whose last record is
// expirationMs old or older, and came as long ago.
func (s *State) Expire(nowMs, expirationMs int64) {
	for id, e := range s.producers {
		if e.expired(nowMs, expirationMs) {
			delete(s.producers, id)
		}
	}
}

func (e *entry) expired(nowMs, expirationMs int64) bool {
	return e.txnStart == kafka.NoOffset && nowMs-max(e.timestampMs, e.seenMs) >= expirationMs
}

// List gives the producers, ordered by id.
func (s *State) List() []Producer {
	list := make([]Producer, 0, len(s.producers))
	for _, e := range s.sorted() {
		last := Batch{LastSequence: batch.NoSequence, LastOffset: kafka.NoOffset}
		if e.kept > 0 {
			last = e.batches[e.kept-1]
		}
		list = append(list, Producer{ID: e.id, Epoch: e.epoch, LastSequence: e.lastSequence(),
			LastTimestampMs: e.timestampMs, CoordinatorEpoch: e.coordinatorEpoch, TxnStart: e.txnStart, Last: last})
	}
	return list
}

func (s *State) sorted() []*entry {
	list := make([]*entry, 0, len(s.producers))
	for _, e := range s.producers {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return list
}

// String shows the state in scripts.
func (p Producer) String() string {
	return fmt.Sprintf("producer %d epoch %d sequence %d time %d coordinator %d txn %d",
		p.ID, p.Epoch, p.LastSequence, p.LastTimestampMs, p.CoordinatorEpoch, p.TxnStart)
}
