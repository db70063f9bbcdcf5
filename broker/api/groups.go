// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/broker/call"
	"gregor/coordinator/group"
	"gregor/coordinator/shard"
	"gregor/quota"
)

// Groups are the group coordinators of this broker: one for each partition of
// __consumer_offsets that it leads.
type Groups interface {
	// Do gives an event to the groups of a partition. The answer is in t, perhaps
	// already when Do returns. An error says that the event was not given.
	Do(p kafka.PartitionID, t *shard.Ticket, event func(g *group.Groups, nowMs int64, to group.Token, out *group.Out)) error
	// EndTransaction writes the marker of a transaction into a partition and
	// applies it. The answer in t is a nil response or an error.
	EndTransaction(p kafka.PartitionID, t *shard.Ticket, m shard.Marker) error
	// Active lists the partitions that are loaded; loading tells whether there
	// are some that are not yet.
	Active() (active []kafka.PartitionID, loading bool)
}

// groupEvent is what a request does to the groups of a partition. It runs before
// the handler returns.
type groupEvent func(g *group.Groups, nowMs int64, to group.Token, out *group.Out)

// coordination is a request on its way through coordinators: one part for each
// group or coordinator that it is about.
//
//	ask ─► shard lane ─► ticket ─┬─ done ─► whole ─► reply
//	                             └─ waits: parked on the ticket, no goroutine
//
// A part waits for the high watermark, or in a rebalance for other members.
// What the client has used is charged before it waits, so its throttle time is
// known when the flusher writes the answer. A connection that goes away leaves
// only its entries: the member that it joined stays until its session is over,
// as in Kafka. Unlike Kafka, which reads nothing while a request waits, requests behind a JoinGroup are worked on
// at once, and only their answers wait: a LeaveGroup on the same connection
// need not wait for a rebalance.
type coordination struct {
	api     *API
	parts   []coordinated
	waiting int
	// whole makes the response when every part has its answer or its error. It
	// may run when the frame is gone.
	whole func(parts []coordinated) kmsg.Response
}

// coordinated is one part.
type coordinated struct {
	resp   kmsg.Response // nil: code tells why
	code   kafka.Code
	ticket shard.Ticket
	entry  park.Entry
	waits  bool
}

// answered readies w, a request of one part that was never parked, for another one.
func (w *coordination) answered() {
	p := &w.parts[0]
	p.ticket.Reset()
	p.resp, p.code = nil, kafka.None
}

// coordinate begins a request of so many parts. Each is then asked for, or
// refused.
func (a *API) coordinate(parts int) *coordination {
	return &coordination{api: a, parts: make([]coordinated, parts)}
}

// ask gives the coordinator of a group the event of a part.
func (w *coordination) ask(c *call.Call, i int, groupID string, event groupEvent) {
	topic := w.api.image().Topic(kafka.OffsetsTopic)
	if topic == nil {
		w.parts[i].code = kafka.NotCoordinator
		return
	}
	w.askPartition(c, i, shard.PartitionOf(groupID, topic.PartitionCount()), event)
}

// askPartition gives one coordinator the event of a part.
func (w *coordination) askPartition(c *call.Call, i int, id kafka.PartitionID, event groupEvent) {
	p := &w.parts[i]
	if err := w.api.d.Groups.Do(id, &p.ticket, event); err != nil {
		p.code = w.api.code(c, err)
		return
	}
	if p.waits = !w.take(c, p); p.waits {
		w.waiting++
	}
}

// take takes the answer of a part if it is there.
func (w *coordination) take(c *call.Call, p *coordinated) bool {
	resp, err, done := p.ticket.Result()
	if !done {
		return false
	}
	if p.resp = resp; err != nil {
		p.resp, p.code = nil, w.api.code(c, err)
	}
	return true
}

// What bounds the wait of requests that take part in a rebalance: none can be
// longer than the largest rebalance timeout, which its group sees to.
const rebalanceWaitMax = math.MaxInt32*time.Millisecond + time.Minute

// end answers, or parks the request until all parts have their answer. The
// coordinator sees to it that they get one; patience only bounds what would be a
// bug.
func (w *coordination) end(c *call.Call, patience time.Duration, whole func(parts []coordinated) kmsg.Response) call.Outcome {
	w.whole = whole
	w.api.throttle(c, quota.Request, 0, w.api.chargeTime(c))
	if w.waiting == 0 {
		return w.answer(c)
	}
	c.Deadline, c.Waiter = c.ReceivedAt.Add(patience), w
	for i := range w.parts {
		if p := &w.parts[i]; p.waits {
			p.entry.Parker, p.entry.Owner = c.Conn.Parker, c
			p.ticket.Await(&p.entry)
		}
	}
	return call.Parked // who came meanwhile is seen by the first Ready
}

// Ready is part of call.Waiter.
func (w *coordination) Ready(c *call.Call, e *park.Entry) bool {
	for i := range w.parts {
		if p := &w.parts[i]; p.waits && (e == nil || e == &p.entry) {
			w.settle(c, p)
		}
	}
	if w.waiting > 0 {
		return false
	}
	w.answer(c)
	return true
}

func (w *coordination) settle(c *call.Call, p *coordinated) {
	if w.take(c, p) {
		w.leave(p)
	}
}

func (w *coordination) leave(p *coordinated) {
	p.ticket.Forget(&p.entry)
	p.waits = false
	w.waiting--
}

// errForgotten is a coordinator that did not answer in time.
var errForgotten = errors.New("a coordinator has not answered")

// Expire is part of call.Waiter.
func (w *coordination) Expire(c *call.Call) {
	for i := range w.parts {
		p := &w.parts[i]
		if !p.waits {
			continue
		}
		if w.settle(c, p); p.waits {
			w.leave(p)
			w.api.d.Logger.Error("a request was given up", "key", c.Key, "version", c.Version, "client", c.ClientID, "err", errForgotten)
			p.code = kafka.CoordinatorNotAvailable
		}
	}
	w.answer(c)
}

// Drop is part of call.Waiter.
func (w *coordination) Drop(*call.Call) {
	for i := range w.parts {
		if p := &w.parts[i]; p.waits {
			w.leave(p)
		}
	}
}

func (w *coordination) answer(c *call.Call) call.Outcome {
	resp := w.whole(w.parts)
	if set, ok := resp.(kmsg.SetThrottleResponse); ok && c.ThrottleMs > 0 {
		set.SetThrottle(c.ThrottleMs)
	}
	return w.api.write(c, resp)
}

// askOne carries a request about one group to its coordinator and its answer
// back. refuse makes the answer that the coordinator could not give.
func (a *API) askOne(c *call.Call, groupID string, patience time.Duration, event groupEvent, refuse func(kafka.Code) kmsg.Response) call.Outcome {
	w := a.coordinate(1)
	w.ask(c, 0, groupID, event)
	return w.end(c, patience, func(parts []coordinated) kmsg.Response {
		if parts[0].resp == nil {
			return refuse(parts[0].code)
		}
		return parts[0].resp
	})
}

// askNamed is askOne for requests that need a group with a name.
func (a *API) askNamed(c *call.Call, groupID string, patience time.Duration, event groupEvent, refuse func(kafka.Code) kmsg.Response) call.Outcome {
	if groupID == "" {
		return a.answer(c, refuse(kafka.InvalidGroupID))
	}
	return a.askOne(c, groupID, patience, event, refuse)
}

// callerOf is who sends a request, as members show it.
func callerOf(c *call.Call) group.Caller {
	s := stateOf(c)
	if s.host == "" {
		s.host = "/" + c.Conn.Remote.Addr().Unmap().String()
	}
	return group.Caller{ClientID: c.ClientID, ClientHost: s.host}
}
