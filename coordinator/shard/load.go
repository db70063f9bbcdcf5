// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
	"gregor/wire/batch"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// errOvertaken is a load that nobody waits for any more.
var errOvertaken = errors.New("the term has ended")

// openMax bounds the wait for the partition to be led by this broker.
const openMax = 10 * time.Second

// load starts to load in the background.
func (s *shard[M, O]) load() {
	s.setState(Loading)
	s.loads++
	term, epoch := s.loads, s.epoch
	s.of.mu.Lock()
	closed := s.of.closed
	if !closed {
		s.of.running.Add(1)
	}
	s.of.mu.Unlock()
	if closed {
		s.setState(Resigned)
		return
	}
	go func() {
		defer s.of.running.Done()
		s.loading(term, epoch)
	}()
}

// reload loads again after a pause that grows while it keeps failing.
func (s *shard[M, O]) reload() {
	now := s.of.o.Now()
	if now.Sub(s.failedAt) > calm {
		s.pause = 0
	}
	s.failedAt = now
	if s.pause == 0 {
		s.pause = reloadPauseMin
		s.load()
		return
	}
	s.setState(Loading)
	s.again()
}

// again loads after the pause, unless something else happens before.
func (s *shard[M, O]) again() {
	s.loads++
	term := s.loads
	s.retry = time.AfterFunc(s.pause, func() {
		s.post(func() {
			if s.loads == term {
				s.load()
			}
		})
	})
	s.pause = min(2*s.pause, reloadPauseMax)
}

// loading is the goroutine of one load.
func (s *shard[M, O]) loading(term uint64, epoch kafka.LeaderEpoch) {
	ctx := s.of.ctx
	select {
	case s.of.loaders <- struct{}{}:
		defer func() { <-s.of.loaders }()
	case <-ctx.Done():
		return
	}
	opening, cancel := context.WithTimeout(ctx, openMax)
	log, err := s.of.o.Open(opening, s.id, epoch)
	cancel()
	if err != nil {
		s.onLane(func() { s.unloaded(term, fmt.Errorf("find the log: %w", err)) })
		return
	}
	l := loader[M, O]{shard: s, term: term, log: log, machine: s.of.o.New(s.id), started: s.of.o.Now()}
	if err := guarded(func() { err = l.run(ctx) }); err != nil {
		s.onLane(func() { s.unloaded(term, err) })
		return
	}
	s.onLane(func() {
		if err != nil {
			s.unloaded(term, err)
		} else {
			s.adopt(&l)
		}
	})
}

// unloaded takes note of a load that failed. A partition whose bytes make no
// sense stays away, as in Kafka: what is behind them would be wrong.
func (s *shard[M, O]) unloaded(term uint64, err error) {
	if s.loads != term || errors.Is(err, errOvertaken) || s.of.ctx.Err() != nil {
		return
	}
	s.of.count.failures.Add(1)
	s.of.o.Logger.Error("a coordinator cannot be loaded; it is tried again", "topic", s.of.o.Name, "partition", s.id, "err", err)
	s.setState(Failed)
	if s.pause == 0 {
		s.pause = reloadPauseMin
	}
	s.again()
}

// adopt makes what was loaded the shard's machine.
func (s *shard[M, O]) adopt(l *loader[M, O]) {
	if s.loads != l.term {
		return
	}
	s.machine, s.log, s.last = l.machine, l.log, l.next-1
	s.setState(Active)
	took := s.of.o.Now().Sub(l.started)
	s.of.count.loaded(took, l.records)
	level := slog.LevelInfo
	if l.records == 0 { // there are many of these when the topic is created
		level = slog.LevelDebug
	}
	s.of.o.Logger.Log(s.of.ctx, level, "a coordinator is loaded", "topic", s.of.o.Name, "partition", s.id, "leader_epoch", s.epoch,
		"records", l.records, "bytes", l.bytes, "took", took)
	s.step(0, func(nowMs int64) { s.machine.Loaded(nowMs, s.out) })
	if s.state == Active && s.of.o.Refresh != nil {
		s.step(0, func(nowMs int64) { s.of.o.Refresh(s.machine, nowMs, s.out) })
	}
}

// loader replays a log into a machine. Batches are read in chunks of bounded
// size and walked in place; the machine copies what it keeps. Records behind
// the high watermark count too: they are this leader's own log, and no reply
// tells of them before they are committed.
type loader[M Machine[O], O Output] struct {
	shard   *shard[M, O]
	term    uint64
	log     Log
	machine M
	started time.Time
	next    kafka.Offset
	records int64
	bytes   int64
	chunk   []byte
	scratch []byte
}

func (l *loader[M, O]) run(ctx context.Context) error {
	o := &l.shard.of.o
	coder := l.shard.of.coders.Get()
	defer l.shard.of.coders.Put(coder)
	l.next, _ = l.log.Bounds()
	for ctx.Err() == nil {
		if !l.wanted() {
			return errOvertaken
		}
		chunk, err := l.log.Read(l.chunk[:0], l.next, o.LoadBufferBytes)
		if err != nil {
			return fmt.Errorf("read at offset %d: %w", l.next, err)
		}
		if len(chunk) == 0 {
			return nil
		}
		l.chunk = chunk
		before := l.next
		if err := l.replay(chunk, coder); err != nil {
			return err
		}
		if l.next <= before {
			return fmt.Errorf("read at offset %d goes on at %d: %w", before, l.next, kafka.CorruptMessage)
		}
	}
	return ctx.Err()
}

// wanted reports whether anybody still waits for this load.
func (l *loader[M, O]) wanted() bool {
	var wanted bool
	l.shard.onLane(func() { wanted = l.shard.loads == l.term })
	return wanted
}

// replay walks over whole batches.
func (l *loader[M, O]) replay(chunk []byte, coder *compress.Coder) error {
	for len(chunk) > 0 {
		h, err := batch.Parse(chunk)
		if err != nil {
			return fmt.Errorf("at offset %d: %w", l.next, err)
		}
		if h.SizeBytes() > len(chunk) {
			return fmt.Errorf("a batch at offset %d is cut short: %w", h.BaseOffset, kafka.CorruptMessage)
		}
		b := chunk[:h.SizeBytes()]
		chunk = chunk[h.SizeBytes():]
		if err := batch.VerifyCRC(b); err != nil {
			return fmt.Errorf("at offset %d: %w", h.BaseOffset, err)
		}
		it, scratch, err := batch.Open(&h, b, coder, l.scratch[:0], l.shard.of.o.DecompressedMax)
		if err != nil {
			return err
		}
		l.scratch = scratch
		if err := l.replayBatch(&h, &it); err != nil {
			return err
		}
		l.next = max(l.next, h.NextOffset())
		l.bytes += int64(len(b))
	}
	return nil
}

func (l *loader[M, O]) replayBatch(h *batch.Header, it *batch.Iter) error {
	from := Origin{ProducerID: h.ProducerID, ProducerEpoch: h.ProducerEpoch, Transactional: h.Attributes.IsTransactional()}
	control := h.Attributes.IsControl()
	for rec := (batch.Record{}); it.Next(&rec); {
		if rec.Offset < l.next {
			continue
		}
		var err error
		if control {
			err = l.marker(h, &rec)
		} else {
			l.records++
			from.Offset, from.TimestampMs = rec.Offset, rec.TimestampMs
			err = l.machine.Replay(grouprec.Record{Key: rec.Key, Value: rec.Value}, from)
		}
		if err != nil {
			return fmt.Errorf("replay the record at offset %d: %w", rec.Offset, err)
		}
	}
	return it.Err()
}

// Types of control records.
const (
	controlAbort  = 0
	controlCommit = 1
)

// marker ends a transaction. Control records of other kinds do not concern a
// coordinator.
func (l *loader[M, O]) marker(h *batch.Header, rec *batch.Record) error {
	r := frame.NewReader(rec.Key)
	_ = r.Int16() // version
	kind := r.Int16()
	if err := r.Err(); err != nil {
		return fmt.Errorf("key of a control record: %w", err)
	}
	if kind != controlAbort && kind != controlCommit {
		return nil
	}
	return l.machine.ReplayMarker(h.ProducerID, h.ProducerEpoch, kind == controlCommit)
}
