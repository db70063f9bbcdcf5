// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// JoinGroup, v0-9: makes the caller a member, or lets a member rejoin. The
// reply comes when the rebalance has collected all members.
//
//	v0   the rebalance timeout is the session timeout
//	v4   a dynamic member first gets an id (MEMBER_ID_REQUIRED), KIP-394
//	v5   group.instance.id, KIP-345
//	v9   a static leader that comes back gets all members, and SkipAssignment, KIP-814
func (g *Groups) JoinGroup(nowMs int64, by Caller, req *kmsg.JoinGroupRequest, to Token, out *Out) {
	j := join{g: g, nowMs: nowMs, by: by, req: req, to: to, out: out}
	if code := g.validateJoin(req); code != kafka.None {
		j.fail(req.MemberID, code)
		return
	}
	unknown := req.MemberID == ""
	if c, ok := g.groups[req.Group].(*consumerGroup); ok && !c.empty() {
		j.joinConsumer(c)
		return
	}
	c, code := g.classicToJoin(req.Group, unknown, out)
	if code != kafka.None {
		j.fail(req.MemberID, code)
		return
	}
	isNew := c == nil
	if isNew {
		if c = newClassicGroup(req.Group, nowMs); !g.fits(out, sizeOf(c.record())) { // as Kafka says when it appends
			j.fail("", kafka.UnknownServerError)
			return
		}
		g.groups[req.Group] = c
	}
	j.c = c
	records := len(out.Records)
	switch {
	case !g.accepts(c, req.MemberID):
		c.remove(g, req.MemberID, out)
		j.fail("", kafka.GroupMaxSizeReached)
		// Kafka lets the others wait for the rebalance timeout.
		g.completeJoinIfAllThere(c, nowMs, out)
	case unknown:
		j.newMember()
	default:
		j.knownMember()
	}
	if isNew && len(out.Records) == records {
		g.emitNewClassic(c, out)
	}
}

// join is one JoinGroup on its way.
type join struct {
	g     *Groups
	c     *classicGroup
	nowMs int64
	by    Caller
	req   *kmsg.JoinGroupRequest
	to    Token
	out   *Out
}

func (j *join) fail(memberID string, code kafka.Code) {
	j.out.reply(j.to, joinError(j.req.Version, memberID, code))
}

func (g *Groups) validateJoin(req *kmsg.JoinGroupRequest) kafka.Code {
	if req.Group == "" {
		return kafka.InvalidGroupID
	}
	if req.SessionTimeoutMillis < g.options.GroupMinSessionTimeoutMs || req.SessionTimeoutMillis > g.options.GroupMaxSessionTimeoutMs {
		return kafka.InvalidSessionTimeout
	}
	return kafka.None
}

// classicToJoin finds the group; nil and None if there is none yet and the
// member may found it. A group of the new protocol that has no members makes room.
func (g *Groups) classicToJoin(id string, unknownMember bool, out *Out) (*classicGroup, kafka.Code) {
	found := g.groups[id]
	if c, ok := found.(*classicGroup); ok {
		return c, kafka.None
	}
	if !unknownMember {
		return nil, kafka.UnknownMemberID
	}
	if found != nil && !g.emitTombstones(found, out) {
		return nil, kafka.CoordinatorLoadInProgress
	}
	return nil, kafka.None
}

// accepts is group.max.size. While a rebalance collects members, those count
// that wait; otherwise those that are in.
func (g *Groups) accepts(c *classicGroup, memberID string) bool {
	m := c.byID[memberID]
	switch c.state {
	case stateEmpty:
		return true
	case statePreparingRebalance:
		return m != nil && m.join.on || c.awaitingJoin < int(g.options.GroupMaxSize)
	default:
		return m != nil || len(c.members) < int(g.options.GroupMaxSize)
	}
}

func (j *join) newMember() {
	if !j.c.supports(j.req.ProtocolType, j.req.Protocols) {
		j.fail("", kafka.InconsistentGroupProtocol)
		return
	}
	id := j.g.memberID(j.by.ClientID, j.req.InstanceID)
	switch {
	case j.req.InstanceID != nil:
		if old, ok := j.c.static[*j.req.InstanceID]; ok {
			j.replaceStatic(old, id)
			return
		}
		j.add(id)
	case j.req.Version >= 4:
		p := &pendingMember{group: j.c, id: id}
		j.c.pendingJoin[id] = p
		j.g.timers.set(&p.timer, p, j.nowMs+int64(j.req.SessionTimeoutMillis))
		j.fail(id, kafka.MemberIDRequired)
	default:
		j.add(id)
	}
}

func (j *join) knownMember() {
	id, c := j.req.MemberID, j.c
	if !c.supports(j.req.ProtocolType, j.req.Protocols) {
		j.fail(id, kafka.InconsistentGroupProtocol)
		return
	}
	if c.pendingJoin[id] != nil {
		// An id that was given to a dynamic member is not a static one's. Kafka throws here (UNKNOWN_SERVER_ERROR).
		if j.req.InstanceID != nil {
			j.fail(id, kafka.UnknownMemberID)
			return
		}
		c.removePending(j.g, id)
		j.add(id)
		return
	}
	if code := c.validateMember(id, j.req.InstanceID); code != kafka.None {
		j.fail(id, code)
		return
	}
	m := c.byID[id]
	switch {
	case m.matches(j.req.Protocols) && (c.state == stateCompletingRebalance || c.state == stateStable && !c.isLeader(id)):
		// The member has not got its answer of this generation, or lost it.
		j.out.reply(j.to, c.joinReply(m, j.req.Version))
	default:
		// A leader that rejoins a stable group asks for an assignment; anyone may with other metadata.
		c.update(m, j.req, j.to, j.out)
		j.g.rebalance(c, j.nowMs, j.out)
	}
}

// add makes the caller a member that waits for the rebalance it causes.
func (j *join) add(id string) {
	m := &classicMember{
		id: id, instance: j.req.InstanceID, clientID: j.by.ClientID, clientHost: j.by.ClientHost,
		rebalanceTimeoutMs: rebalanceTimeoutOf(j.req), sessionTimeoutMs: j.req.SessionTimeoutMillis,
		protocolType: j.req.ProtocolType, protocols: keptProtocols(j.req.Protocols), isNew: true,
		join: waiting{to: j.to, version: j.req.Version, on: true},
	}
	if j.c.state == statePreparingRebalance && j.c.previous == stateEmpty {
		j.c.newMemberAdded = true
	}
	j.c.add(m)
	j.g.timers.set(&m.session, m, j.nowMs+int64(j.g.options.NewMemberJoinTimeoutMs))
	j.g.rebalance(j.c, j.nowMs, j.out)
}

// keptProtocols is what a member keeps of its request, whose bytes belong to the
// caller. A member has one vote, however often it names a protocol.
func keptProtocols(asked []kmsg.JoinGroupRequestProtocol) []kmsg.JoinGroupRequestProtocol {
	kept := make([]kmsg.JoinGroupRequestProtocol, 0, len(asked))
	named := make(map[string]struct{}, len(asked))
	for _, p := range asked {
		if _, twice := named[p.Name]; twice {
			continue
		}
		named[p.Name] = struct{}{}
		p.Metadata = bytes.Clone(p.Metadata)
		kept = append(kept, p)
	}
	return kept
}

func rebalanceTimeoutOf(req *kmsg.JoinGroupRequest) int32 {
	if req.Version == 0 {
		return req.SessionTimeoutMillis
	}
	return req.RebalanceTimeoutMillis
}

func joinError(version int16, memberID string, code kafka.Code) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.ErrorCode, resp.MemberID, resp.Generation = version, int16(code), memberID, -1
	if version < 7 {
		resp.Protocol = new(string) // was not nullable
	}
	return resp
}

// joinReply is what a member hears of the generation; the leader hears of all members.
func (c *classicGroup) joinReply(m *classicMember, version int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.MemberID, resp.Generation = version, m.id, c.generation
	resp.Protocol, resp.LeaderID = c.protocol, c.leaderName()
	if protocolType := c.protocolType; protocolType != "" {
		resp.ProtocolType = &protocolType // a reply may be sent long after the group has changed
	}
	if c.isLeader(m.id) {
		resp.Members = c.joinMembers()
	}
	return resp
}

func (c *classicGroup) joinMembers() []kmsg.JoinGroupResponseMember {
	members := make([]kmsg.JoinGroupResponseMember, 0, len(c.members))
	for _, m := range c.members {
		members = append(members, kmsg.JoinGroupResponseMember{
			MemberID: m.id, InstanceID: m.instance, ProtocolMetadata: m.metadataOf(c.protocol),
		})
	}
	return members
}
