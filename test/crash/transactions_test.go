// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"gregor/base/kafka"
	"gregor/storage/commitlog"
	"gregor/storage/prodstate"
	"gregor/wire/batch"
)

// The producers of a partition with transactions.
const (
	txnProducerFirst = 5000
	txnProducers     = 3
)

// makeTransactional makes a batch of a transaction, or the marker that ends one.
func (w *world) makeTransactional(p *part, s state) (state, *commitlog.Append) {
	pid := kafka.ProducerID(txnProducerFirst + w.random.IntN(txnProducers))
	told := s.now.transactions(pid)
	info := &sent{base: s.now.end(), producer: pid, epoch: p.producerEpoch}
	a := &commitlog.Append{ExpectedEpoch: p.epoch}
	w.written++
	r := record{epoch: p.epoch, batch: info, timestampMs: epochMs + int64(w.written)*10 - int64(w.random.IntN(100))}
	if told.open >= 0 && w.random.IntN(3) == 0 {
		info.marker, info.count, info.commit = true, 1, w.random.IntN(2) == 0
		a.Batches, a.Origin = w.marker(pid, info.epoch, info.commit, r.timestampMs), commitlog.OriginCoordinator
		r.value = string([]byte{0, 0, 0, 0, 0, 0}) // version and coordinator epoch
		s.now = s.now.add(r)
		return s, a
	}
	info.count, info.sequence = int32(1+w.random.IntN(3)), told.next(p.producerEpoch)
	var b batch.Builder
	b.Begin(batch.Options{Transactional: true, ProducerID: pid, ProducerEpoch: info.epoch, BaseSequence: info.sequence})
	for range info.count {
		w.written++
		r.value = fmt.Sprint(w.written)
		b.Add(r.timestampMs, nil, []byte(r.value))
		s.now = s.now.add(r)
	}
	bytes, err := b.Finish(nil, nil)
	w.fatal(err)
	a.Batches = bytes
	return s, a
}

func (w *world) marker(pid kafka.ProducerID, epoch kafka.ProducerEpoch, commit bool, timestampMs int64) []byte {
	b, err := prodstate.AppendMarker(nil, pid, epoch, prodstate.Marker{Commit: commit}, timestampMs)
	w.fatal(err)
	return b
}

// told is what the records tell of a producer.
type told struct {
	known   bool         // all of it: nothing that it wrote has gone
	open    kafka.Offset // where its open transaction began; -1: none is open
	aborted []ended
	last    *sent // its last batch of records
	epoch   kafka.ProducerEpoch
}

// ended is a transaction that was aborted, and its first record, -1 if none is
// known. guess: it may have begun earlier.
type ended struct {
	first, marker kafka.Offset
	guess         bool
}

func (x *told) next(epoch kafka.ProducerEpoch) int32 {
	if x.last == nil || x.last.epoch != epoch {
		return 0
	}
	return x.last.sequence + x.last.count
}

// transactions goes over the records of a producer.
func (c content) transactions(pid kafka.ProducerID) told {
	x := told{known: c.base == 0, open: -1, epoch: -1}
	var before *sent
	for _, r := range c.records {
		b := r.batch
		if b == before || b.producer != pid {
			continue
		}
		before, x.epoch = b, b.epoch
		switch {
		case !b.marker:
			x.last = b
			if x.open < 0 {
				x.open = b.base
			}
			continue
		case !b.commit && (x.open >= 0 || !x.known):
			x.aborted = append(x.aborted, ended{first: x.open, marker: b.base, guess: !x.known})
		}
		x.open, x.known = -1, true
	}
	return x
}

// checkTransactions: a reader of committed records gets what lies below the
// oldest open transaction, and is told of every one that was aborted; and what
// is open can be ended. What lies in front of the log start counts for nothing:
// its segments may be gone, and with them what is known of it.
func checkTransactions(_ *testing.T, p *part, log *commitlog.Log, f found, c content) error {
	if !p.transacts {
		return nil
	}
	if f.start == f.end && p.durable < f.end {
		return nil // it ended in front of its log start, and began there anew
	}
	log.AdvanceHighWatermark(f.end)
	c = c.cut(f.end).from(f.start)
	stable, sure := f.end, true
	var aborted []ended
	var open []kafka.ProducerID
	for pid := kafka.ProducerID(txnProducerFirst); pid < txnProducerFirst+txnProducers; pid++ {
		x := c.transactions(pid)
		sure = sure && x.known
		if x.open >= 0 {
			stable = min(stable, max(x.open, f.start))
			open = append(open, pid)
		}
		for _, e := range x.aborted {
			if e.marker >= f.start {
				aborted = append(aborted, e)
			}
		}
	}
	got := log.Tail().LastStable
	if got != stable && (sure || got > stable) {
		return fmt.Errorf("last stable offset %d of a log from %d to %d, want %d", got, f.start, f.end, stable)
	}
	if err := checkAborted(log, f.start, got, aborted); err != nil {
		return err
	}
	for i, pid := range open {
		if err := endTransaction(p, log, pid, c.transactions(pid), i%2 == 0); err != nil {
			return err
		}
	}
	log.AdvanceHighWatermark(log.Tail().LogEnd)
	if t := log.Tail(); sure && t.LastStable != t.LogEnd {
		return fmt.Errorf("all transactions are ended, and the last stable offset is %d of %d", t.LastStable, t.LogEnd)
	}
	return nil
}

// checkAborted compares what readers are told below the last stable offset.
func checkAborted(log *commitlog.Log, start, stable kafka.Offset, want []ended) error {
	for from := start; from < stable; {
		r, err := log.Read(nil, from, 500, commitlog.ToLastStable, true)
		if err != nil {
			return fmt.Errorf("read committed from %d: %w", from, err)
		}
		if r.File.LenBytes == 0 {
			return nil // the log start lies inside a batch of an open transaction
		}
		r.File.Src.Release()
		var told, known []kafka.Offset
		guesses, least := 0, 0
		for _, a := range r.Aborted {
			told = append(told, a.FirstOffset)
		}
		for _, e := range want {
			switch {
			case e.marker >= from && e.guess:
				guesses++
				if e.first >= 0 && e.first < r.Next {
					least++
				}
			case e.marker >= from && e.first < r.Next:
				known = append(known, e.first)
			}
		}
		slices.Sort(known)
		if len(told) > len(known)+guesses || len(told) < len(known)+least || guesses == 0 && !slices.Equal(told, known) {
			return fmt.Errorf("from %d to %d transactions at %v are aborted, want %v and %d to %d more", from, r.Next, told, known, least, guesses)
		}
		for _, first := range known {
			if !slices.Contains(told, first) {
				return fmt.Errorf("from %d to %d transactions at %v are aborted, and not that at %d", from, r.Next, told, first)
			}
		}
		from = r.Next
	}
	return nil
}

// endTransaction writes what only a log that knows of the transaction takes
// rightly, and a marker.
func endTransaction(p *part, log *commitlog.Log, pid kafka.ProducerID, x told, commit bool) error {
	var b batch.Builder
	b.Begin(batch.Options{ProducerID: pid, ProducerEpoch: x.epoch, BaseSequence: x.next(x.epoch)})
	b.Add(lateMs, nil, []byte("outside of the transaction"))
	bytes, err := b.Finish(nil, nil)
	if err != nil {
		return err
	}
	outside := &commitlog.Append{Batches: bytes, ExpectedEpoch: kafka.NoLeaderEpoch}
	if log.Append(outside, p.epoch+1); !errors.Is(outside.Err, kafka.InvalidTxnState) {
		return fmt.Errorf("producer %d writes outside of its transaction: %w", pid, outside.Err)
	}
	bytes, err = prodstate.AppendMarker(nil, pid, x.epoch+1, prodstate.Marker{Commit: commit}, lateMs)
	if err != nil {
		return err
	}
	end := &commitlog.Append{Batches: bytes, Origin: commitlog.OriginCoordinator, ExpectedEpoch: kafka.NoLeaderEpoch, TxnVersion: 2}
	if log.Append(end, p.epoch+1); end.Err != nil {
		return fmt.Errorf("marker of producer %d: %w", pid, end.Err)
	}
	return nil
}
