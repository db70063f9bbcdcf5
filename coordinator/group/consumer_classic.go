// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// Members that speak the classic protocol in a group of the new one. The
// coordinator assigns them too: a JoinGroup brings such a member on, its
// SyncGroup gives it what it has, and a heartbeat tells it to join again when
// there is more to do. Nothing of theirs waits for anyone.

// joinConsumer is a JoinGroup of a group of the new protocol that has members.
func (j *join) joinConsumer(c *consumerGroup) {
	resp, err := j.intoConsumer(&consumerPlan{g: j.g, c: c, nowMs: j.nowMs})
	if err != nil {
		j.fail("", codeOf(err)) // as Kafka: a classic group that refuses says whom, this one does not
		return
	}
	j.out.reply(j.to, resp)
}

func (j *join) intoConsumer(p *consumerPlan) (*kmsg.JoinGroupResponse, error) {
	req := j.req
	if !p.g.options.ConsumerMigration.joins() {
		return nil, kafka.InconsistentGroupProtocol
	}
	id := req.MemberID
	if id == "" {
		id = j.g.uuid()
	}
	if err := p.hasRoom(id, req.InstanceID); err != nil {
		return nil, err
	}
	if !p.c.supportsClassic(req.ProtocolType, req.Protocols) {
		return nil, kafka.InconsistentGroupProtocol
	}
	if req.MemberID == "" && req.InstanceID == nil && req.Version >= 4 {
		return joinError(req.Version, id, kafka.MemberIDRequired), nil
	}
	member, err := p.member(claim{id: id, instance: req.InstanceID, classic: true, create: req.InstanceID == nil || req.MemberID == ""})
	if err != nil {
		return nil, err
	}
	said, err := parseSubscription(req.Protocols[0].Metadata)
	if err != nil {
		return nil, kafka.InconsistentGroupProtocol
	}
	former := p.c.staticMember(req.InstanceID)
	updated := j.g.copyOf(member)
	updated.learnClassic(j.by, req, &said)
	change, err := p.subscribe(member, updated)
	if err != nil {
		return nil, err
	}
	says := p.g.ownedTopics(said.owned)
	if former != nil && p.mayDowngradeFor(former) {
		return p.downgradeFor(j, updated, change, says)
	}
	p.reconcile(updated, p.retarget(member, updated, change), change.subscription, says)
	if err := p.apply(j.out); err != nil {
		return nil, err
	}
	if m := p.c.members[updated.id]; m != nil {
		j.g.timers.cancel(&m.join)
		j.g.timers.cancel(&m.rebalance)
		j.g.timers.set(&m.session, m, j.nowMs+int64(req.SessionTimeoutMillis))
		j.g.timers.cancel(&m.sync)
		j.g.timers.set(&m.sync, m, j.nowMs+int64(updated.rebalanceTimeoutMs))
	}
	p.startMatching(j.out)
	return joinedConsumer(req.Version, updated), nil
}

func joinedConsumer(version int16, m *memberData) *kmsg.JoinGroupResponse {
	resp := joinError(version, m.id, kafka.None)
	protocolType, protocol := protocolTypeConsumer, m.classic.SupportedProtocols[0].Name
	resp.Generation, resp.ProtocolType, resp.Protocol = m.epoch, &protocolType, &protocol
	return resp
}

// supportsClassic says whether a member of the classic protocol may join: it
// must know a protocol that all such members know.
func (c *consumerGroup) supportsClassic(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if protocolType != protocolTypeConsumer {
		return false
	}
	for _, p := range protocols {
		if c.classicProtocols[p.Name] == c.classicMembers {
			return true
		}
	}
	return false
}

// learnClassic takes over what a member says of itself in a JoinGroup.
func (m *memberData) learnClassic(by Caller, req *kmsg.JoinGroupRequest, said *consumerSubscription) {
	m.clientID, m.clientHost = by.ClientID, by.ClientHost
	if req.InstanceID != nil {
		m.instance = req.InstanceID
	}
	if said.rack != "" {
		m.rack = &said.rack
	}
	if timeout := rebalanceTimeoutOf(req); timeout != -1 {
		m.rebalanceTimeoutMs = timeout
	}
	m.names, m.regex = sortedNames(said.topics), new(string)
	m.classic = &grouprec.ClassicMemberMetadata{SessionTimeoutMs: req.SessionTimeoutMillis}
	for _, p := range keptProtocols(req.Protocols) {
		m.classic.SupportedProtocols = append(m.classic.SupportedProtocols, grouprec.ClassicProtocol{Name: p.Name, Metadata: p.Metadata})
	}
}

// ownedTopics are a classic member's partitions as a heartbeat would have them.
func (g *Groups) ownedTopics(named []namedPartitions) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range named {
		if id, _, ok := g.topics.Topic(t.topic); ok {
			topics = append(topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: t.partitions})
		}
	}
	return topics
}

// classicMember finds who sends a request of the classic protocol.
func (c *consumerGroup) classicMember(id string, instance *string, generation int32) (*consumerMember, kafka.Code) {
	m := c.members[id]
	if instance != nil {
		if m = c.staticMember(instance); m != nil && m.id != id {
			return nil, kafka.FencedInstanceID
		}
	}
	switch {
	case m == nil || !m.isClassic():
		return nil, kafka.UnknownMemberID
	case m.epoch != generation:
		return nil, kafka.IllegalGeneration
	}
	return m, kafka.None
}

// syncConsumer is a SyncGroup: it gives a member what it has by now.
func (g *Groups) syncConsumer(c *consumerGroup, nowMs int64, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	m, code := c.classicMember(req.MemberID, req.InstanceID, req.Generation)
	if code != kafka.None {
		return syncError(req.Version, code)
	}
	if len(m.classic.SupportedProtocols) == 0 { // of a log that nobody should have written
		return syncError(req.Version, kafka.InconsistentGroupProtocol)
	}
	protocolType, protocol := protocolTypeConsumer, m.classic.SupportedProtocols[0]
	if inconsistent(req.ProtocolType, &protocolType) || inconsistent(req.Protocol, &protocol.Name) {
		return syncError(req.Version, kafka.InconsistentGroupProtocol)
	}
	if c.assignmentEpoch > m.epoch && m.state != memberUnrevoked {
		g.awaitRejoin(m, nowMs)
		return syncError(req.Version, kafka.RebalanceInProgress)
	}
	g.timers.cancel(&m.sync)
	g.timers.set(&m.session, m, nowMs+int64(m.classic.SessionTimeoutMs))
	resp := syncError(req.Version, kafka.None)
	resp.ProtocolType, resp.Protocol = cloned(req.ProtocolType), cloned(req.Protocol)
	resp.MemberAssignment = g.classicAssignment(protocol.Metadata, m.assigned)
	return resp
}

func cloned(s *string) *string {
	if s == nil {
		return nil
	}
	c := *s
	return &c
}

// heartbeatConsumer keeps a member's session and tells it when to join again:
// when there is a newer target, something to revoke, or something to get that
// another member has given up; and when a target is to be made and there is
// nobody else who could bring that about.
func (g *Groups) heartbeatConsumer(c *consumerGroup, nowMs int64, req *kmsg.HeartbeatRequest) kafka.Code {
	m, code := c.classicMember(req.MemberID, req.InstanceID, req.Generation)
	if code != kafka.None {
		return code
	}
	g.timers.set(&m.session, m, nowMs+int64(m.classic.SessionTimeoutMs))
	if m.epoch < c.assignmentEpoch || m.state == memberUnrevoked || m.state == memberUnreleased && !c.waitsForOthers(m) || g.leftToClassic(c, nowMs) {
		g.awaitRejoin(m, nowMs)
		return kafka.RebalanceInProgress
	}
	return kafka.None
}

// leftToClassic says whether a target is to be made in a group that has only
// members of the classic protocol, and stays of the new one. Their heartbeats
// make none, and the JoinGroup that does they send when they are told to. In
// Kafka such a group waits for one that comes by itself.
func (g *Groups) leftToClassic(c *consumerGroup, nowMs int64) bool {
	if c.classicMembers < len(c.members) || !g.options.ConsumerMigration.joins() {
		return false
	}
	if c.assignmentEpoch == c.epoch && nowMs >= c.freshUntilMs && g.metadataHash(c.names) == c.metadataHash {
		c.freshUntilMs = nowMs + metadataFreshMs
	}
	return (c.assignmentEpoch < c.epoch || nowMs >= c.freshUntilMs) && g.mayAssign(c, nowMs)
}

// awaitRejoin gives a member the rebalance timeout to join again.
func (g *Groups) awaitRejoin(m *consumerMember, nowMs int64) {
	if !m.join.running() {
		g.timers.set(&m.join, m, nowMs+int64(m.rebalanceTimeoutMs))
	}
}

// waitsForOthers says whether something that a member shall have still belongs to another one.
func (c *consumerGroup) waitsForOthers(m *consumerMember) bool {
	for _, t := range c.targets[m.id] {
		for _, p := range t.Partitions {
			if _, has := m.assigned.epochOf(t.ID, p); has {
				continue
			}
			if _, taken := c.partitionEpochs[kafka.TopicIDPartition{TopicID: t.ID, Partition: p}]; taken {
				return true
			}
		}
	}
	return false
}

// leaveConsumer is a LeaveGroup: members of either protocol may be taken out by it.
func (g *Groups) leaveConsumer(c *consumerGroup, nowMs int64, leaving []kmsg.LeaveGroupRequestMember, out *Out) (codes []kafka.Code) {
	gone := map[string]bool{}
	for _, who := range leaving {
		m, code := c.members[who.MemberID], kafka.None
		if who.InstanceID != nil {
			if m = c.staticMember(who.InstanceID); m != nil && who.MemberID != "" && m.id != who.MemberID {
				code = kafka.FencedInstanceID
			}
		}
		switch {
		case m == nil:
			code = kafka.UnknownMemberID
		case code == kafka.None:
			gone[m.id] = true
		}
		codes = append(codes, code)
	}
	if err := g.fence(c, sortedKeys(gone), nowMs, out); err != nil {
		for i := range codes {
			if codes[i] == kafka.None {
				codes[i] = codeOf(err)
			}
		}
	}
	return codes
}
