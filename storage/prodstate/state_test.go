// SPDX-License-Identifier: Apache-2.0

package prodstate

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

var producer = Rules{Sequences: true, Epochs: true}

// bench appends batches of one producer after another.
type bench struct {
	t    *testing.T
	s    State
	next kafka.Offset
}

func (b *bench) header(id kafka.ProducerID, epoch kafka.ProducerEpoch, seq int32, n int32) batch.Header {
	return batch.Header{BaseOffset: b.next, LastOffsetDelta: n - 1, ProducerID: id, ProducerEpoch: epoch, BaseSequence: seq,
		MaxTimestampMs: 1000 + int64(b.next), Count: n}
}

func (b *bench) apply(h batch.Header, m Marker, r Rules) (Verdict, error) {
	v, err := b.s.Apply(&h, m, r)
	if err == nil && !v.Duplicate {
		b.next = h.NextOffset()
	}
	return v, err
}

func (b *bench) write(id kafka.ProducerID, epoch kafka.ProducerEpoch, seq, n int32) (Verdict, error) {
	return b.apply(b.header(id, epoch, seq, n), Marker{}, producer)
}

func (b *bench) ok(id kafka.ProducerID, epoch kafka.ProducerEpoch, seq, n int32) {
	b.t.Helper()
	if v, err := b.write(id, epoch, seq, n); err != nil || v.Duplicate {
		b.t.Fatalf("sequence %d of epoch %d: %+v, %v", seq, epoch, v, err)
	}
}

func (b *bench) refused(id kafka.ProducerID, epoch kafka.ProducerEpoch, seq, n int32, want kafka.Code) {
	b.t.Helper()
	if _, err := b.write(id, epoch, seq, n); err != want {
		b.t.Fatalf("sequence %d of epoch %d: %v, want %v", seq, epoch, err, want)
	}
}

// Point 19: a repeat of one of the last five batches is answered with its
// original offset and timestamp; an older one is out of order.
func TestPoint19LastFiveBatchesAreRecognised(t *testing.T) {
	b := &bench{t: t}
	for i := range int32(7) {
		b.ok(1, 0, i*3, 3)
	}
	for i := int32(2); i < 7; i++ {
		v, err := b.write(1, 0, i*3, 3)
		if err != nil || !v.Duplicate || v.Original.FirstOffset() != kafka.Offset(i*3) || v.Original.TimestampMs != 1000+int64(i*3) {
			t.Fatalf("repeat of batch %d: %+v, %v", i, v, err)
		}
	}
	b.refused(1, 0, 3, 3, kafka.OutOfOrderSequenceNumber)
	b.refused(1, 0, 6, 2, kafka.OutOfOrderSequenceNumber) // part of a batch is no repeat of it
	b.ok(1, 0, 21, 1)
}

// Point 20: sequences wrap to 0, a new epoch begins at 0, an unknown producer
// anywhere.
func TestPoint20Sequences(t *testing.T) {
	b := &bench{t: t}
	b.ok(1, 0, math.MaxInt32-1, 2) // unknown: any first sequence
	b.refused(1, 0, 1, 1, kafka.OutOfOrderSequenceNumber)
	b.ok(1, 0, 0, 1) // behind 2147483647 comes 0
	b.refused(1, 1, 1, 1, kafka.OutOfOrderSequenceNumber)
	b.ok(1, 1, 0, 1)

	b.ok(2, 0, math.MaxInt32, 4) // a batch may wrap inside
	if v, err := b.write(2, 0, math.MaxInt32, 4); err != nil || !v.Duplicate {
		t.Fatalf("repeat of a wrapped batch: %+v, %v", v, err)
	}
	b.ok(2, 0, 3, 1)

	b.s.Expire(1_000_000, 10_000)
	if b.s.Len() != 0 {
		t.Fatalf("%d producers are left", b.s.Len())
	}
	b.ok(2, 0, 77, 1)
}

// A producer that copies records of last year is not forgotten in the middle.
func TestOldRecordsKeepTheirProducer(t *testing.T) {
	b := &bench{t: t}
	const nowMs, expirationMs = 50_000_000, 10_000
	h := b.header(1, 0, 0, 1)
	if _, err := b.apply(h, Marker{}, Rules{Sequences: true, Epochs: true, NowMs: nowMs}); err != nil {
		t.Fatal(err)
	}
	b.s.Expire(nowMs+expirationMs-1, expirationMs)
	if v, err := b.apply(h, Marker{}, producer); err != nil || !v.Duplicate {
		t.Fatalf("its repeat: %+v, %v", v, err)
	}
	b.s.Expire(nowMs+expirationMs, expirationMs)
	if b.s.Len() != 0 {
		t.Fatal("it is not forgotten")
	}
}

// Point 21: a stale producer epoch is INVALID_PRODUCER_EPOCH.
func TestPoint21StaleEpoch(t *testing.T) {
	b := &bench{t: t}
	b.ok(1, 3, 0, 1)
	b.refused(1, 2, 1, 1, kafka.InvalidProducerEpoch)
	h := b.header(1, 2, 1, 1)
	if _, err := b.apply(h, Marker{}, Rules{}); err != nil {
		t.Fatalf("a follower takes what its leader took: %v", err)
	}
}

// Point 22: a marker with a new epoch ends the memory of sequences, one with the
// same epoch does not.
func TestPoint22MarkersAndSequences(t *testing.T) {
	for _, bump := range []kafka.ProducerEpoch{0, 1} {
		b := &bench{t: t}
		h := b.header(1, 0, 0, 2)
		h.Attributes = batch.AttrTransactional
		if v, err := b.apply(h, Marker{}, producer); err != nil || !v.Began {
			t.Fatalf("%+v, %v", v, err)
		}
		end := b.header(1, bump, -1, 1)
		end.Attributes = batch.AttrTransactional | batch.AttrControl
		if v, err := b.apply(end, Marker{EndsTxn: true, CoordinatorEpoch: 4}, Rules{Epochs: true}); err != nil || !v.Ended || v.Committed || v.TxnStart != 0 {
			t.Fatalf("%+v, %v", v, err)
		}
		v, err := b.write(1, bump, 0, 2)
		if bump == 0 && (err != nil || !v.Duplicate) {
			t.Fatalf("same epoch: %+v, %v", v, err)
		}
		if bump == 1 && (err != nil || v.Duplicate) {
			t.Fatalf("new epoch: %+v, %v", v, err)
		}
		stale := end
		if _, err := b.apply(stale, Marker{EndsTxn: true, CoordinatorEpoch: 3}, Rules{Epochs: true}); err != kafka.TransactionCoordinatorFenced {
			t.Fatalf("marker of an old coordinator: %v", err)
		}
	}
}

// Point 52: a batch outside the transaction while one is open is INVALID_TXN_STATE.
func TestPoint52PlainWriteInsideATransaction(t *testing.T) {
	b := &bench{t: t}
	h := b.header(1, 0, 0, 1)
	h.Attributes = batch.AttrTransactional
	if _, err := b.apply(h, Marker{}, producer); err != nil {
		t.Fatal(err)
	}
	b.refused(1, 0, 1, 1, kafka.InvalidTxnState)
}

func TestUndoTakesEverythingBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		next := kafka.Offset(0)
		write := func() {
			h := batch.Header{BaseOffset: next, LastOffsetDelta: 1, ProducerID: kafka.ProducerID(rapid.IntRange(1, 4).Draw(t, "id")),
				ProducerEpoch: kafka.ProducerEpoch(rapid.IntRange(0, 2).Draw(t, "epoch")), BaseSequence: int32(rapid.IntRange(0, 6).Draw(t, "sequence"))}
			if rapid.Bool().Draw(t, "transactional") {
				h.Attributes |= batch.AttrTransactional
			}
			if v, err := s.Apply(&h, Marker{}, producer); err == nil && !v.Duplicate {
				next = h.NextOffset()
			}
		}
		for range rapid.IntRange(0, 10).Draw(t, "before") {
			write()
		}
		s.Keep()
		before := s.AppendSnapshot(nil)
		for range rapid.IntRange(0, 10).Draw(t, "taken back") {
			write()
		}
		s.Undo(0)
		if diff := cmp.Diff(before, s.AppendSnapshot(nil)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestSnapshotRoundTripLeavesOutTheExpired(t *testing.T) {
	b := &bench{t: t}
	for id := range kafka.ProducerID(5) {
		b.ok(id, kafka.ProducerEpoch(id), 0, 2)
	}
	h := b.header(9, 0, 0, 1)
	h.Attributes, h.MaxTimestampMs = batch.AttrTransactional, 1
	if _, err := b.apply(h, Marker{}, producer); err != nil {
		t.Fatal(err)
	}
	snapshot := b.s.AppendSnapshot(nil)
	var s State
	if err := s.LoadSnapshot(snapshot, 2004, 1000); err != nil {
		t.Fatal(err)
	}
	want := []Producer{
		{ID: 3, Epoch: 3, LastSequence: 1, LastTimestampMs: 1006, CoordinatorEpoch: -1, TxnStart: -1,
			Last: Batch{LastSequence: 1, LastOffset: 7, OffsetDelta: 1, TimestampMs: 1006}},
		{ID: 4, Epoch: 4, LastSequence: 1, LastTimestampMs: 1008, CoordinatorEpoch: -1, TxnStart: -1,
			Last: Batch{LastSequence: 1, LastOffset: 9, OffsetDelta: 1, TimestampMs: 1008}},
		{ID: 9, LastTimestampMs: 1, CoordinatorEpoch: -1, TxnStart: 10, // never while its transaction is open
			Last: Batch{LastOffset: 10, TimestampMs: 1}},
	}
	if diff := cmp.Diff(want, s.List()); diff != "" {
		t.Fatal(diff)
	}
	for i := range snapshot {
		bad := append([]byte(nil), snapshot...)
		bad[i] ^= 0x40
		if err := s.LoadSnapshot(bad, 0, 1000); err == nil {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	var s State
	h := batch.Header{ProducerID: 1, BaseSequence: 0}
	_, _ = s.Apply(&h, Marker{}, producer)
	f.Add(s.AppendSnapshot(nil))
	f.Add([]byte{0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s State
		if s.LoadSnapshot(b, 0, math.MaxInt64) != nil {
			if s.Len() != 0 {
				t.Fatal("a corrupt snapshot left producers")
			}
			return
		}
		again := s.AppendSnapshot(nil)
		var twin State
		if err := twin.LoadSnapshot(again, 0, math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.List(), twin.List()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := ParseMarker(b)
		if !m.EndsTxn && m != (Marker{}) {
			t.Fatalf("%+v", m)
		}
	})
}

func TestTxns(t *testing.T) {
	var x Txns
	x.Begin(Txn{ProducerID: 1, First: 10})
	x.Begin(Txn{ProducerID: 2, First: 20})
	if off, ok := x.FirstUnstable(); !ok || off != 10 {
		t.Fatal(off, ok)
	}
	if got := x.StableAfter(1, 30); got != 20 {
		t.Fatal(got)
	}
	x.End(1, 10, 30)
	x.Replicated(30) // the marker itself is not below it
	if off, _ := x.FirstUnstable(); off != 10 {
		t.Fatal(off)
	}
	x.Replicated(31)
	if off, _ := x.FirstUnstable(); off != 20 {
		t.Fatal(off)
	}
	x.End(2, 20, 40)
	if got := x.StableAfter(2, 40); got != 41 {
		t.Fatal(got)
	}
	x.Replicated(41)
	if _, ok := x.FirstUnstable(); ok {
		t.Fatal("nothing is open")
	}
}
