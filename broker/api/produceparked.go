// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/broker/call"
	"gregor/storage/commitlog"
	"gregor/wire/produce"
)

// park leaves the reply until the high watermark has passed all batches.
func (w *produced) park(c *call.Call, timeoutMs int32) call.Outcome {
	c.Deadline = c.ReceivedAt.Add(time.Duration(max(timeoutMs, 0)) * time.Millisecond)
	for i := range w.parts {
		p := &w.parts[i]
		if p.replica != nil && p.entry.Owner == nil { // else the flusher may be looking at it, woken for an earlier request
			p.entry.Parker, p.entry.Owner = c.Conn.Parker, c
		}
	}
	if w.settle(c) {
		w.answer(c)
		return call.Done
	}
	// The frame is gone when the reply is written, and with it the names.
	w.names = w.names[:0]
	for i := range w.topics {
		w.names = append(w.names, w.topics[i].name...)
	}
	at := 0
	for i := range w.topics {
		n := len(w.topics[i].name)
		w.topics[i].name = w.names[at : at+n : at+n]
		at += n
	}
	c.Waiter = w
	return call.Parked
}

// settle looks at the parts that wait and reports whether none does any more.
func (w *produced) settle(c *call.Call) bool {
	for i := range w.parts {
		w.settlePart(c, &w.parts[i])
	}
	return w.waiting == 0
}

func (w *produced) settlePart(c *call.Call, p *producedPart) {
	if p.replica == nil {
		return
	}
	done, err := p.replica.AwaitAcknowledged(&p.entry, p.last, p.epoch)
	if !done {
		return
	}
	if w.leave(p); err != nil {
		p.result = produce.Failed(p.result.Index, w.api.code(c, err))
	}
}

func (w *produced) leave(p *producedPart) {
	p.replica.Forget(commitlog.ToHighWatermark, &p.entry)
	p.replica = nil
	w.waiting--
}

// Ready is part of call.Waiter. Only the part whose entry woke is looked at: a
// request of many partitions would cost their square.
func (w *produced) Ready(c *call.Call, e *park.Entry) bool {
	for i := range w.parts {
		if e == nil || e == &w.parts[i].entry {
			w.settlePart(c, &w.parts[i])
		}
	}
	if w.waiting > 0 {
		return false
	}
	w.answer(c)
	return true
}

// Expire is part of call.Waiter.
func (w *produced) Expire(c *call.Call) {
	if !w.settle(c) {
		for i := range w.parts {
			if p := &w.parts[i]; p.replica != nil {
				w.leave(p)
				p.result = produce.Failed(p.result.Index, kafka.RequestTimedOut)
			}
		}
	}
	w.answer(c)
}

// Drop is part of call.Waiter.
func (w *produced) Drop(*call.Call) {
	for i := range w.parts {
		if p := &w.parts[i]; p.replica != nil {
			w.leave(p)
		}
	}
}
