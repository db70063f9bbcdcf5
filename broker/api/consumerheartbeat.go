// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// heartbeat is a ConsumerGroupHeartbeat at work. Members at rest send thousands a
// second, so what one of them needs serves the next one, of any connection, when
// its answer is written. One that is parked is left to the collector: a connection
// may know of its entry for a while yet.
type heartbeat struct {
	work  coordination
	part  [1]coordinated
	req   kmsg.ConsumerGroupHeartbeatRequest
	by    group.Caller
	event groupEvent // (*heartbeat).run
	whole func(parts []coordinated) kmsg.Response
}

func newHeartbeat(a *API) *heartbeat {
	h := &heartbeat{}
	h.work.api, h.work.parts = a, h.part[:]
	h.event, h.whole = h.run, h.answer
	return h
}

func (h *heartbeat) run(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
	g.ConsumerGroupHeartbeat(nowMs, h.by, &h.req, to, out)
}

func (h *heartbeat) answer(parts []coordinated) kmsg.Response {
	if parts[0].resp == nil {
		return group.HeartbeatRefused(h.req.Version, parts[0].code)
	}
	return parts[0].resp
}

func (a *API) handleConsumerGroupHeartbeat(c *call.Call) call.Outcome {
	h := a.beats.Get().(*heartbeat)
	outcome := h.handle(a, c)
	if outcome != call.Parked {
		h.req, h.by = kmsg.ConsumerGroupHeartbeatRequest{}, group.Caller{}
		h.work.answered()
		a.beats.Put(h)
	}
	return outcome
}

func (h *heartbeat) handle(a *API, c *call.Call) call.Outcome {
	if err := a.decodeInto(c, &h.req); err != nil {
		return a.close(c, err)
	}
	if !a.hasConsumerGroups() {
		return a.answer(c, group.HeartbeatRefused(h.req.Version, kafka.UnsupportedVersion))
	}
	if h.req.Group == "" { // which no coordinator has; what is wrong with the request is said all the same
		return a.answer(c, group.HeartbeatWithoutGroup(&h.req))
	}
	h.by = callerOf(c)
	h.work.ask(c, 0, h.req.Group, h.event)
	return h.work.end(c, a.limits.timeoutMax, h.whole)
}
