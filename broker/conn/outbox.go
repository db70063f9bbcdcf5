// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"sync"
	"time"

	"gregor/broker/call"
)

// slot is a Call and its place in the order of replies.
type slot struct {
	call  call.Call
	whole bool // reply is complete; guarded by outbox.mu once queued
	seen  bool // the flusher has looked at it since it was parked; the flusher's
	next  *slot
}

// outbox keeps replies in order behind a parked one. Its flusher completes
// parked replies when their entries wake or their deadline passes, and writes
// what is whole from the front.
type outbox struct {
	c     *connection
	kick  chan struct{} // to the flusher: look again; capacity one
	room  chan struct{} // to the reader: the queue became shorter; capacity one
	timer *time.Timer   // the flusher's; made at first use

	mu       sync.Mutex // guards what follows
	head     *slot
	tail     *slot
	n        int
	flushing bool
	gone     bool // nothing is written any more
	err      error
	spare    *slot
	spares   int
}

func (b *outbox) init(c *connection) {
	b.c = c
	b.kick = make(chan struct{}, 1)
	b.room = make(chan struct{}, 1)
}

// take gives a slot for the next request.
func (b *outbox) take() *slot {
	b.mu.Lock()
	s := b.spare
	if s != nil {
		b.spare = s.next
		s.next = nil
		b.spares--
	}
	b.mu.Unlock()
	if s == nil {
		s = &slot{}
		s.call.Conn = &b.c.info
	}
	return s
}

// free puts a slot back that is in no queue. Of the many that a burst of
// parked requests took, a few stay.
func (b *outbox) free(s *slot) {
	poison(s.call.Reply.Bytes())
	s.call.Reset()
	s.call.Reply.Shrink(replyKeepBytes)
	s.whole, s.seen = false, false
	b.mu.Lock()
	if b.spares < sparesMax {
		s.next = b.spare
		b.spare = s
		b.spares++
	}
	b.mu.Unlock()
}

// What an idle connection keeps: slots, as many as a client pipelines by
// Kafka's default and one, and of a reply's buffer.
const (
	sparesMax      = 6
	replyKeepBytes = 64 << 10
)

// queue puts a slot behind those that wait. A whole one is not queued while
// nothing waits: false tells the caller to write it.
func (b *outbox) queue(s *slot, whole bool) bool {
	b.mu.Lock()
	if whole && b.head == nil && !b.flushing {
		b.mu.Unlock()
		return false
	}
	s.whole = whole
	if b.tail == nil {
		b.head = s
	} else {
		b.tail.next = s
	}
	b.tail = s
	b.n++
	start := !b.flushing
	b.flushing = true
	b.mu.Unlock()
	if start {
		b.c.server.count.flushers.Add(1)
		b.c.flusher.Add(1)
		go b.flush()
	} else {
		signal(b.kick)
	}
	return true
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// awaitRoom returns when fewer replies wait than the pipeline allows.
func (b *outbox) awaitRoom() error {
	for {
		b.mu.Lock()
		n, err := b.n, b.err
		b.mu.Unlock()
		if err != nil {
			return err
		}
		if n < b.c.server.limits.PipelineMax {
			return nil
		}
		select {
		case <-b.room:
		case <-b.c.closed:
			return errDrained
		}
	}
}

// failure is why the flusher gave up, if it did.
func (b *outbox) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// busy reports whether replies wait.
func (b *outbox) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.head != nil
}

// finish waits until the queue is empty or writing has failed. Parked replies
// are bounded by their deadlines.
func (b *outbox) finish() {
	for {
		b.mu.Lock()
		over := b.head == nil && !b.flushing || b.err != nil || b.gone
		b.mu.Unlock()
		if over {
			return
		}
		<-b.room
	}
}

// abandon makes the flusher end without writing more.
func (b *outbox) abandon() {
	b.mu.Lock()
	b.gone = true
	b.mu.Unlock()
	signal(b.kick)
	signal(b.room)
	// A write that is blocked on a peer that does not read must fail.
	b.c.socket.Close()
}

// drop forgets what is still queued; no flusher runs any more.
func (b *outbox) drop() {
	b.mu.Lock()
	s := b.head
	b.head, b.tail, b.n = nil, nil, 0
	b.mu.Unlock()
	for s != nil {
		next := s.next
		s.next = nil
		if !s.whole && s.call.Waiter != nil {
			s.call.Waiter.Drop(&s.call)
		}
		s.call.Reset()
		s = next
	}
}

// flush is the flusher's goroutine: it ends when nothing waits.
func (b *outbox) flush() {
	defer b.c.flusher.Done()
	for {
		if err := b.complete(); err != nil {
			b.fail(err)
			return
		}
		more, err := b.writeWhole()
		if err != nil {
			b.fail(err)
			return
		}
		if !more {
			return
		}
		b.sleep()
	}
}

// fail ends the connection from the flusher.
func (b *outbox) fail(err error) {
	b.mu.Lock()
	b.err = err
	b.flushing = false
	b.mu.Unlock()
	b.c.leave()
	signal(b.room)
}

// complete finishes parked replies whose entries are ready or whose time is up.
func (b *outbox) complete() error {
	parker := b.c.info.Parker
	for e := parker.Ready(); e != nil; e = parker.Ready() {
		k, _ := e.Owner.(*call.Call)
		s := b.find(k)
		if s == nil {
			continue // of a reply that was completed without it
		}
		if err := b.step(s, func() bool { return s.call.Waiter.Ready(&s.call, e) }); err != nil {
			return err
		}
	}
	now := b.c.server.now()
	for s := b.pending(nil); s != nil; s = b.pending(s) {
		var step func() bool
		switch {
		case !now.Before(s.call.Deadline):
			step = func() bool { s.call.Waiter.Expire(&s.call); return true }
		case !s.seen:
			// Its entries may have woken before it was in the queue.
			s.seen = true
			step = func() bool { return s.call.Waiter.Ready(&s.call, nil) }
		default:
			continue
		}
		if err := b.step(s, step); err != nil {
			return err
		}
	}
	return nil
}

// step runs one step of a waiter, which may panic as a handler may, and notes
// whether the reply is whole now.
func (b *outbox) step(s *slot, run func() bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = b.c.panicked("parked", &s.call, r)
		}
	}()
	if !run() {
		return nil
	}
	s.call.Reply.Finish()
	b.mu.Lock()
	s.whole = true
	b.mu.Unlock()
	return nil
}

// find gives the slot of a parked call.
func (b *outbox) find(k *call.Call) *slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := b.head; s != nil; s = s.next {
		if &s.call == k && !s.whole {
			return s
		}
	}
	return nil
}

// pending gives the next parked slot behind s, or the first.
func (b *outbox) pending(s *slot) *slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s == nil {
		s = b.head
	} else {
		s = s.next
	}
	for s != nil && s.whole {
		s = s.next
	}
	return s
}

// writeWhole writes whole replies from the front. more is false when nothing
// is left and the flusher has given up its place.
func (b *outbox) writeWhole() (more bool, err error) {
	for {
		b.mu.Lock()
		if b.gone {
			b.flushing = false
			b.mu.Unlock()
			signal(b.room)
			return false, nil
		}
		s := b.head
		if s == nil {
			b.flushing = false
			b.mu.Unlock()
			signal(b.room)
			return false, nil
		}
		whole := s.whole
		b.mu.Unlock()
		if !whole {
			return true, nil
		}
		if err := b.c.out.answer(&s.call); err != nil {
			return false, err
		}
		b.mu.Lock()
		if b.head = s.next; b.head == nil {
			b.tail = nil
		}
		b.n--
		s.next = nil
		b.mu.Unlock()
		b.free(s)
		signal(b.room)
	}
}

// sleep waits for a wake, for more in the queue, or for the nearest deadline.
func (b *outbox) sleep() {
	var due time.Time
	for s := b.pending(nil); s != nil; s = b.pending(s) {
		if due.IsZero() || s.call.Deadline.Before(due) {
			due = s.call.Deadline
		}
	}
	if due.IsZero() {
		return
	}
	wait := due.Sub(b.c.server.now())
	if b.timer == nil {
		b.timer = time.NewTimer(wait)
	} else {
		b.timer.Reset(wait)
	}
	select {
	case <-b.c.info.Parker.C:
	case <-b.kick:
	case <-b.timer.C:
	}
	b.timer.Stop()
}
