// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Heartbeat, v0-4: keeps a member's session and tells it of a rebalance.
func (g *Groups) Heartbeat(nowMs int64, _ Caller, req *kmsg.HeartbeatRequest, to Token, out *Out) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version, resp.ErrorCode = req.Version, int16(g.heartbeat(nowMs, req))
	out.reply(to, resp)
}

func (g *Groups) heartbeat(nowMs int64, req *kmsg.HeartbeatRequest) kafka.Code {
	if req.Group == "" {
		return kafka.InvalidGroupID
	}
	if c, ok := g.groups[req.Group].(*consumerGroup); ok {
		return g.heartbeatConsumer(c, nowMs, req)
	}
	c, ok := g.groups[req.Group].(*classicGroup)
	if !ok {
		return kafka.UnknownMemberID
	}
	if code := c.validateMember(req.MemberID, req.InstanceID); code != kafka.None {
		return code
	}
	if req.Generation != c.generation {
		return kafka.IllegalGeneration
	}
	g.keepAlive(c.byID[req.MemberID], nowMs)
	if c.state == statePreparingRebalance {
		return kafka.RebalanceInProgress
	}
	return kafka.None
}

// fire is the end of a member's session. A member that waits in a JoinGroup or
// SyncGroup sends no heartbeats and needs none, unless it is new: then its
// client may be long gone, and NewMemberJoinTimeoutMs is all it gets.
func (m *classicMember) fire(g *Groups, _ *timer, nowMs int64, out *Out) {
	if !m.isNew && (m.join.on || m.sync.on) {
		return
	}
	c := m.group
	c.answerJoin(m, joinError(m.join.version, "", kafka.UnknownMemberID), out)
	c.remove(g, m.id, out)
	switch {
	case c.canRebalance():
		g.prepareRebalance(c, nowMs, out)
	case c.allJoined():
		g.completeJoin(c, nowMs, out)
	}
}

// fire is the end of the wait for a member that was given an id.
func (p *pendingMember) fire(g *Groups, _ *timer, nowMs int64, out *Out) {
	c := p.group
	c.removePending(g, p.id)
	if c.state == statePreparingRebalance && c.allJoined() {
		g.completeJoin(c, nowMs, out)
	}
}
