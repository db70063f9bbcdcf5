// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"time"

	"gregor/base/kafka"
)

// group is the replies that wait for one offset to be committed.
type group struct {
	last     kafka.Offset
	deadline time.Time
	replies  []delivery
}

// enqueue puts the replies since the last append behind it. Where nothing waits
// and the log is committed they leave at once.
func (s *shard[M, O]) enqueue() {
	if len(s.pending) == 0 {
		return
	}
	if len(s.queue) == 0 {
		committed, err := s.log.Committed(s.last, s.epoch)
		if err != nil {
			s.fail(err)
			return
		}
		if committed {
			s.deliver(s.pending)
			s.forgetPending()
			return
		}
	}
	if n := len(s.queue); n > 0 && s.queue[n-1].last == s.last {
		g := &s.queue[n-1]
		g.replies = append(g.replies, s.pending...)
	} else {
		replies := append([]delivery(nil), s.pending...)
		s.queue = append(s.queue, group{s.last, s.of.o.Now().Add(s.of.o.CommitTimeout), replies})
	}
	s.forgetPending()
	if s.entryIn == nil {
		s.await()
	}
	if !s.releasing {
		s.releasing = true
		s.of.running.Go(s.release)
	}
}

func (s *shard[M, O]) forgetPending() {
	clear(s.pending)
	s.pending = s.pending[:0]
}

func (s *shard[M, O]) deliver(replies []delivery) {
	for _, d := range replies {
		d.ticket.complete(d.resp, nil)
	}
	s.wait(-len(replies))
}

// await makes the entry wait for the head of the queue. It wakes at once if the
// high watermark has passed meanwhile.
func (s *shard[M, O]) await() {
	s.forget()
	head := s.queue[0].last
	s.entryIn = s.log
	s.log.Await(&s.entry, head+1)
	if committed, err := s.log.Committed(head, s.epoch); committed || err != nil {
		select {
		case s.entry.Parker.C <- struct{}{}:
		default:
		}
	}
}

func (s *shard[M, O]) forget() {
	if s.entryIn != nil {
		s.entryIn.Forget(&s.entry)
		s.entryIn = nil
	}
}

// release is the releaser's goroutine: it ends when nothing waits.
func (s *shard[M, O]) release() {
	timer := time.NewTimer(s.of.o.CommitTimeout)
	defer timer.Stop()
	for {
		select {
		case <-s.entry.Parker.C:
		case <-timer.C:
		case <-s.of.ctx.Done():
		}
		for s.entry.Parker.Ready() != nil {
		}
		var more bool
		var next time.Duration
		s.onLane(func() { more, next = s.released() })
		if !more {
			return
		}
		timer.Reset(next)
	}
}

// released settles for the releaser and says whether, and when at the latest,
// it has to come again.
func (s *shard[M, O]) released() (more bool, next time.Duration) {
	if s.of.ctx.Err() != nil {
		s.failQueue(kafka.NotCoordinator)
	}
	s.settle()
	if len(s.queue) == 0 {
		s.forget()
		s.releasing = false
		return false, 0
	}
	s.await()
	return true, max(s.queue[0].deadline.Sub(s.of.o.Now()), time.Millisecond)
}

// settle lets go what is committed, in order, and what has waited for too long.
// A leadership that is lost ends the term.
func (s *shard[M, O]) settle() {
	now := s.of.o.Now()
	done := 0
	for ; done < len(s.queue); done++ {
		g := &s.queue[done]
		committed, err := s.log.Committed(g.last, s.epoch)
		if err != nil {
			s.trim(done)
			s.failQueue(kafka.NotCoordinator)
			s.fail(err)
			return
		}
		switch {
		case committed:
			s.deliver(g.replies)
		case !now.Before(g.deadline):
			s.of.count.timeouts.Add(1)
			s.refuse(g.replies, refusal(kafka.RequestTimedOut))
		default:
			s.trim(done)
			return
		}
	}
	s.trim(done)
}

// trim takes the first n groups out of the queue.
func (s *shard[M, O]) trim(n int) {
	left := copy(s.queue, s.queue[n:])
	clear(s.queue[left:])
	s.queue = s.queue[:left]
}

func (s *shard[M, O]) refuse(replies []delivery, code kafka.Code) {
	for _, d := range replies {
		d.ticket.fail(code)
	}
	s.wait(-len(replies))
}

// failQueue answers those who wait for a commit that this broker will not see.
func (s *shard[M, O]) failQueue(code kafka.Code) {
	for i := range s.queue {
		s.refuse(s.queue[i].replies, code)
	}
	s.trim(len(s.queue))
	s.forget()
}
