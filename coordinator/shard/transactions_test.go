// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"
	"testing/synctest"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// TestEndTransaction: a marker is applied behind its append, and answered when
// it is committed. One that the log refuses changes nothing, and costs no load.
func TestEndTransaction(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		end := func(id kafka.ProducerID, commit bool) *Ticket {
			ticket := &Ticket{}
			if err := r.shards.EndTransaction(0, ticket, Marker{Producer: Producer{ID: id}, Commit: commit}); err != nil {
				ticket.fail(err)
			}
			return ticket
		}
		r.expect("NOT_COORDINATOR", end(7, true))
		r.elect()
		within := func(id kafka.ProducerID, name string, n int) {
			r.do(func(m *tally, _ int64, to Token, out *output) {
				out.reply(to, name)
				out.records, out.of = []grouprec.Record{record(name, n)}, &Producer{ID: id}
				_ = m.Replay(out.records[0], Origin{ProducerID: id, Transactional: true})
			})
		}
		within(7, "a", 5)
		within(8, "b", 6)
		r.log.set(func() { r.log.lag = true })
		committed := end(7, true)
		read := r.do(get("a"))
		synctest.Wait()
		if _, _, done := committed.Result(); done {
			t.Error("a marker is answered before it is committed")
		}
		r.expect("-", read)
		r.log.set(func() { r.log.lag, r.log.hw = false, r.log.end })
		r.expect("a=5", read)
		if resp, err, done := committed.Result(); resp != nil || err != nil || !done {
			t.Errorf("%v %v %v", resp, err, done)
		}
		r.log.set(func() { r.log.markerEr = kafka.InvalidProducerEpoch })
		r.expect("INVALID_PRODUCER_EPOCH", end(8, true))
		r.expect("b=0", r.do(get("b")))
		r.log.set(func() { r.log.markerEr = nil })
		end(8, false)
		within(9, "c", 3)
		end(9, true)
		r.expect("a=5 b=0 c=3", r.do(get("a")), r.do(get("b")), r.do(get("c")))
		if s := r.shards.Stats(); s.LoadsTotal != 1 || s.Pending != 0 {
			t.Errorf("%+v", s)
		}
		r.log.lead(2)
		r.elect() // and the log gives the same
		r.expect("a=5 b=0 c=3", r.do(get("a")), r.do(get("b")), r.do(get("c")))
	})
}

func batchOf(change func(*batch.Options), records ...grouprec.Record) []byte {
	o := batch.NoProducer(0, 1)
	if change != nil {
		change(&o)
	}
	var b batch.Builder
	b.Begin(o)
	for _, rec := range records {
		b.Add(1000, rec.Key, rec.Value)
	}
	out, err := b.Finish(nil, &compress.Coder{})
	if err != nil {
		panic(err)
	}
	return out
}

// marker is the batch that ends a transaction.
func marker(id kafka.ProducerID, commit bool) []byte {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	return batchOf(func(o *batch.Options) {
		o.Transactional, o.Control, o.ProducerID, o.ProducerEpoch = true, true, id, 0
	}, grouprec.Record{Key: key, Value: make([]byte, 6)})
}

// TestLoadTransactions: what a transaction wrote is pending until its marker,
// compressed batches are read, and control records of other kinds are passed.
func TestLoadTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options[*tally, *output]) { o.LoadBufferBytes = 1 })
		defer r.shards.Close()
		in := func(id kafka.ProducerID) func(*batch.Options) {
			return func(o *batch.Options) { o.Transactional, o.ProducerID, o.ProducerEpoch = true, id, 0 }
		}
		for _, b := range [][]byte{
			batchOf(nil, record("a", 1), record("b", 1)),
			batchOf(in(7), record("a", 5)), batchOf(in(8), record("b", 6)), batchOf(in(9), record("c", 7)),
			marker(7, true), marker(8, false),
			batchOf(func(o *batch.Options) { o.Codec = compress.Zstd }, record("z", 4)),
			batchOf(func(o *batch.Options) { o.Control = true }, grouprec.Record{Key: []byte{0, 0, 0, 2}}),
		} {
			r.log.put(b)
		}
		r.log.hw = r.log.end
		r.elect()
		r.expect("a=5 b=1 c=0 z=4", r.do(get("a")), r.do(get("b")), r.do(get("c")), r.do(get("z")))
		if s := r.shards.Stats(); s.LoadedRecordsTotal != 6 || s.LoadsTotal != 1 {
			t.Errorf("%d records in %d loads", s.LoadedRecordsTotal, s.LoadsTotal)
		}
	})
}

// TestTransactionalRecords: records of a transaction stand in a batch of their
// own, under its producer.
func TestTransactionalRecords(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.do(func(_ *tally, _ int64, to Token, out *output) {
			out.records, out.of = append(out.records, record("a", 3)), &Producer{ID: 42, Epoch: 5}
			out.reply(to, "ok")
		})
		h, err := batch.Parse(r.log.batches[0])
		if err != nil || !h.Attributes.IsTransactional() || h.ProducerID != 42 || h.ProducerEpoch != 5 || h.BaseSequence != batch.NoSequence {
			t.Errorf("%v: %+v", err, h)
		}
	})
}
