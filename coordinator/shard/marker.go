// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"

	"gregor/storage/prodstate"
)

// Marker ends the transaction of a producer in one partition.
type Marker struct {
	Producer
	Commit           bool
	CoordinatorEpoch int32
	// TxnVersion is the transaction's transaction.version.
	TxnVersion int8
}

// end appends a marker, and then the machine applies it. A marker that the log
// refuses, since the producer or its coordinator is fenced, has changed nothing,
// so unlike an event's its failed append costs no load.
func (s *shard[M, O]) end(t *Ticket, m *Marker) {
	if err := s.accepts(t); err != nil {
		t.fail(err)
		return
	}
	s.of.count.events.Add(1)
	b, err := prodstate.AppendMarker(nil, m.ID, m.Epoch, prodstate.Marker{Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch}, s.clock.nowMs(s.of.o.Now()))
	if err != nil {
		t.fail(fmt.Errorf("build a marker: %w", err))
		return
	}
	last, err := s.log.AppendMarker(b, m.TxnVersion, s.epoch)
	if err != nil {
		t.fail(refusal(err))
		return
	}
	s.of.count.appends.Add(1)
	s.last = last
	s.wait(1)
	s.pending = append(s.pending, delivery{ticket: t})
	var failed error
	if err := guarded(func() { failed = s.machine.ReplayMarker(m.ID, m.Epoch, m.Commit) }); err != nil {
		failed = err
	}
	if failed != nil {
		s.of.o.Logger.Error("a coordinator has failed at a marker; its state is loaded again", "topic", s.of.o.Name, "partition", s.id, "err", failed)
		s.fail(failed)
	}
}
