// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// SyncGroup, v0-5: gives a member its assignment. It waits for the leader's,
// which brings the assignment of all and makes the group stable.
func (g *Groups) SyncGroup(nowMs int64, _ Caller, req *kmsg.SyncGroupRequest, to Token, out *Out) {
	if c, ok := g.groups[req.Group].(*consumerGroup); ok && namesProtocol(req) {
		out.reply(to, g.syncConsumer(c, nowMs, req))
		return
	}
	c, code := g.validateSync(req)
	if code != kafka.None {
		out.reply(to, syncError(req.Version, code))
		return
	}
	m := c.byID[req.MemberID]
	switch c.state {
	case statePreparingRebalance:
		out.reply(to, syncError(req.Version, kafka.RebalanceInProgress))
	case stateCompletingRebalance:
		// A request that the member waited in before is superseded.
		c.answerSync(m, syncError(m.sync.version, kafka.RebalanceInProgress), out)
		m.sync = waiting{to: to, version: req.Version, on: true}
		g.synced(c, m.id)
		if c.isLeader(m.id) {
			g.assign(c, req, nowMs, out)
		}
	default:
		g.synced(c, m.id)
		out.reply(to, c.syncReply(m, req.Version))
	}
}

func (g *Groups) validateSync(req *kmsg.SyncGroupRequest) (*classicGroup, kafka.Code) {
	if !namesProtocol(req) {
		return nil, kafka.InconsistentGroupProtocol
	}
	if req.Group == "" {
		return nil, kafka.InvalidGroupID
	}
	c, ok := g.groups[req.Group].(*classicGroup)
	if !ok {
		return nil, kafka.UnknownMemberID
	}
	if code := c.validateMember(req.MemberID, req.InstanceID); code != kafka.None {
		return nil, code
	}
	if req.Generation != c.generation {
		return nil, kafka.IllegalGeneration
	}
	if inconsistent(req.ProtocolType, &c.protocolType) || inconsistent(req.Protocol, c.protocol) {
		return nil, kafka.InconsistentGroupProtocol
	}
	return c, kafka.None
}

// namesProtocol: since v5 the protocol is nullable, but not to be left out (KIP-559).
func namesProtocol(req *kmsg.SyncGroupRequest) bool {
	return req.Version < 5 || req.ProtocolType != nil && req.Protocol != nil
}

func inconsistent(asked, have *string) bool { return asked != nil && have != nil && *asked != *have }

// synced notes that a member of the generation has come for its assignment.
func (g *Groups) synced(c *classicGroup, memberID string) {
	delete(c.pendingSync, memberID)
	if len(c.pendingSync) == 0 {
		g.endSyncPhase(c)
	}
}

// assign takes the leader's assignment. Members that it left out get an empty
// one, of length zero, so that a client finds nothing to parse.
func (g *Groups) assign(c *classicGroup, req *kmsg.SyncGroupRequest, nowMs int64, out *Out) {
	all := make(map[string][]byte, len(req.GroupAssignment))
	for _, a := range req.GroupAssignment {
		all[a.MemberID] = a.MemberAssignment
	}
	if !g.emitClassic(c, all, out) {
		// The group is too large to be written down. Kafka finds out when it appends, and gives the same answer.
		for _, m := range c.members {
			if c.answerSync(m, syncError(m.sync.version, kafka.UnknownServerError), out) {
				g.keepAlive(m, nowMs)
			}
		}
		g.prepareRebalance(c, nowMs, out)
		return
	}
	c.transition(stateStable, nowMs)
	for _, m := range c.members {
		if c.answerSync(m, c.syncReply(m, m.sync.version), out) {
			g.keepAlive(m, nowMs)
		}
	}
}

func syncError(version int16, code kafka.Code) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ErrorCode, resp.MemberAssignment = version, int16(code), []byte{}
	return resp
}

func (c *classicGroup) syncReply(m *classicMember, version int16) *kmsg.SyncGroupResponse {
	resp := syncError(version, kafka.None)
	protocolType := c.protocolType
	resp.ProtocolType, resp.Protocol = &protocolType, c.protocol
	if m.assignment != nil {
		resp.MemberAssignment = m.assignment
	}
	return resp
}
