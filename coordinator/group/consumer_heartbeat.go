// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
)

// refusal is an error with what the client is told of it.
type refusal struct {
	code    kafka.Code
	message string
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.code }

func refuse(code kafka.Code, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// codeOf is the code of an error for the client; one that nobody foresaw is ours.
func codeOf(err error) kafka.Code {
	if code, ok := kafka.CodeOf(err); ok {
		return code
	}
	return kafka.UnknownServerError
}

// ConsumerGroupHeartbeat, v0-1: a member of a group of the new protocol joins
// (epoch 0), says that it is alive and how far it has come, or leaves (-1, and -2
// of a static member that will come back). The reply holds the assignment when
// it has changed, or the member has told everything about itself.
//
//	v0  the coordinator makes the member id
//	v1  the client does; regex subscriptions
func (g *Groups) ConsumerGroupHeartbeat(nowMs int64, by Caller, req *kmsg.ConsumerGroupHeartbeatRequest, to Token, out *Out) {
	resp, err := g.consumerHeartbeat(nowMs, by, req, out)
	if err != nil {
		resp = heartbeatRefusal(req.Version, err)
	}
	out.reply(to, resp)
}

// HeartbeatWithoutGroup is the answer to a heartbeat whose group has no name: no
// coordinator has it, and it is told what every coordinator would say.
func HeartbeatWithoutGroup(req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	return heartbeatRefusal(req.Version, nameless(req))
}

func heartbeatRefusal(version int16, err error) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := HeartbeatRefused(version, codeOf(err))
	message := kafka.Message(err.Error())
	resp.ErrorMessage = &message
	return resp
}

// HeartbeatRefused is the answer to a ConsumerGroupHeartbeat that failed.
func HeartbeatRefused(version int16, code kafka.Code) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.ErrorCode = version, int16(code)
	return resp
}

func (g *Groups) consumerHeartbeat(nowMs int64, by Caller, req *kmsg.ConsumerGroupHeartbeatRequest, out *Out) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	if err := g.validateConsumerHeartbeat(req); err != nil {
		return nil, err
	}
	if req.MemberEpoch < 0 {
		return g.consumerLeave(nowMs, req, out)
	}
	p := &consumerPlan{g: g, nowMs: nowMs}
	if err := p.open(req.Group, req.MemberEpoch == epochJoin); err != nil {
		return nil, err
	}
	memberID := req.MemberID
	if err := p.hasRoom(memberID, req.InstanceID); err != nil {
		return nil, err
	}
	if memberID == "" {
		memberID = g.uuid()
	}
	member, err := p.member(claim{id: memberID, instance: req.InstanceID, epoch: req.MemberEpoch, owned: req.Topics, create: req.MemberEpoch == epochJoin})
	if err != nil {
		return nil, err
	}
	updated := g.copyOf(member)
	updated.learn(by, req)
	change, err := p.subscribe(member, updated)
	if err != nil {
		return nil, err
	}
	p.reconcile(updated, p.retarget(member, updated, change), change.subscription, req.Topics)
	was := heardOf{classic: member.isClassic(), moved: !member.sameAssignment(updated)}
	gets := !member.assigned.equal(updated.assigned)
	if err := p.apply(out); err != nil { // member is as updated from here on
		return nil, err
	}
	p.startUpgraded()
	config := g.groupConfig(req.Group)
	g.beat(p, updated, was, &config, out)
	resp := HeartbeatRefused(req.Version, kafka.None)
	if resp.MemberID = &req.MemberID; req.MemberID == "" {
		made := memberID
		resp.MemberID = &made
	}
	resp.MemberEpoch = updated.epoch
	resp.HeartbeatIntervalMillis = p.nextHeartbeatMs(updated, req.MemberEpoch == epochJoin, config.HeartbeatIntervalMs)
	if req.MemberEpoch == epochJoin || tellsAll(req) || gets {
		resp.Assignment = updated.assigned.response()
	}
	return resp, nil
}

// copyOf gives a member that may be changed. There is one such copy: it is of
// use until the next event.
func (g *Groups) copyOf(m *memberData) *memberData {
	g.changing = *m
	return &g.changing
}

// nextHeartbeatMs is how long after this heartbeat a member shall be heard of
// again. What others give up, and what the next target takes from it, it learns
// only then. So a member that still has to be given something comes sooner, and
// so do all for an interval after the group was assigned anew: changes come in
// waves, as when many consumers start one after another. The answer to a join
// need not say so: who gets something by it is heard of again at once.
func (p *consumerPlan) nextHeartbeatMs(m *memberData, joins bool, intervalMs int32) int32 {
	c := p.c
	waits := m.state == memberUnreleased || c.assignmentEpoch < c.epoch || c.matching != nil
	inWave := !joins && p.nowMs < c.assignmentMs+waveMs(m.id, intervalMs)
	if soonMs := p.g.options.ConsumerRebalanceIntervalMs; soonMs > 0 && (waits || inWave) {
		return min(intervalMs, soonMs)
	}
	return intervalMs
}

// waveMs is how long after an assignment members come again soon: an interval,
// and for each a part of another one, so that they do not leave together and
// beat together ever after.
func waveMs(memberID string, intervalMs int32) int64 {
	hash := uint32(2166136261)
	for i := range len(memberID) {
		hash = (hash ^ uint32(memberID[i])) * 16777619
	}
	hash = (hash ^ hash>>16) * 0x85ebca6b // ids that differ in their last digit alone are to be far apart
	hash = (hash ^ hash>>13) * 0xc2b2ae35
	return int64(intervalMs) + int64(uint64(hash)*uint64(intervalMs)>>32)
}

// tellsAll: the request holds everything, as after an answer that was lost, so the reply must too.
func tellsAll(req *kmsg.ConsumerGroupHeartbeatRequest) bool {
	return req.RebalanceTimeoutMillis != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil
}

// heardOf is what a heartbeat has changed of a member that its timers depend on.
type heardOf struct {
	classic bool // it spoke the classic protocol before
	moved   bool // its assignment is not what it was
}

// beat starts the timers of a member that has just been heard of.
func (g *Groups) beat(p *consumerPlan, updated *memberData, was heardOf, config *consumerConfig, out *Out) {
	m := p.c.members[updated.id]
	if m == nil {
		return
	}
	// They are equal. When they are one string with what the connection says next
	// time, nobody has to look at their bytes to know it.
	m.clientID, m.clientHost = updated.clientID, updated.clientHost
	if was.classic {
		g.timers.cancel(&m.join)
		g.timers.cancel(&m.sync)
	}
	if was.moved {
		if updated.state == memberUnrevoked {
			g.startRebalanceTimer(m, p.nowMs)
		} else {
			g.timers.cancel(&m.rebalance)
		}
	}
	g.timers.set(&m.session, m, p.nowMs+int64(config.SessionTimeoutMs))
	g.timers.look(p.nowMs + nearMs)
	p.startMatching(out)
}

func (g *Groups) startRebalanceTimer(m *consumerMember, nowMs int64) {
	m.rebalanceEpoch = m.epoch
	g.timers.set(&m.rebalance, m, nowMs+int64(m.rebalanceTimeoutMs))
}

// nameless says which of member and group a heartbeat does not name.
func nameless(req *kmsg.ConsumerGroupHeartbeatRequest) error {
	needsID := req.Version >= 1 || req.MemberEpoch > 0 || req.MemberEpoch == epochLeave
	switch {
	case needsID && isBlank(&req.MemberID):
		return refuse(kafka.InvalidRequest, "MemberId can't be empty.")
	case isBlank(&req.Group):
		return refuse(kafka.InvalidRequest, "GroupId can't be empty.")
	}
	return nil
}

func (g *Groups) validateConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) error {
	if err := nameless(req); err != nil {
		return err
	}
	invalid := func(what string) error { return refuse(kafka.InvalidRequest, "%s", what) }
	switch {
	case isBlank(req.InstanceID):
		return invalid("InstanceId can't be empty.")
	case isBlank(req.RackID):
		return invalid("RackId can't be empty.")
	case req.MemberEpoch == epochStaticLeave && req.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case req.MemberEpoch < epochStaticLeave:
		return invalid("MemberEpoch is invalid.")
	}
	if req.MemberEpoch == epochJoin {
		switch {
		case req.RebalanceTimeoutMillis == -1:
			return invalid("RebalanceTimeoutMs must be provided in first request.")
		case req.Topics == nil || len(req.Topics) != 0:
			return invalid("TopicPartitions must be empty when (re-)joining.")
		case req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
			return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
		}
	}
	if name := req.ServerAssignor; name != nil && !g.options.hasAssignor(*name) {
		return refuse(kafka.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.", *name, strings.Join(g.options.ConsumerAssignors, ", "))
	}
	return nil
}

// isBlank is Java's: of what Unicode calls a space, only those of ASCII count.
func isBlank(s *string) bool {
	return s != nil && !strings.ContainsFunc(*s, func(r rune) bool { return r > ' ' })
}

// uuid makes a member id as Kafka does: never one that a tool takes for an option.
func (g *Groups) uuid() string {
	for {
		u := g.options.RandomUUID()
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		if s := kafka.UUID(u).String(); s[0] != '-' {
			return s
		}
	}
}

// open finds the group, or plans it: a new one, or a classic one that moves to
// the new protocol.
func (p *consumerPlan) open(id string, create bool) error {
	switch found := p.g.groups[id].(type) {
	case nil:
		if !create {
			return refuse(kafka.GroupIDNotFound, "Group %s not found.", id)
		}
		p.c = newConsumerGroup(id)
	case *consumerGroup:
		p.c = found
	case *classicGroup:
		if !create {
			return refuse(kafka.GroupIDNotFound, "Group %s is not a consumer group.", id)
		}
		if !found.empty() {
			return p.upgrade(found)
		}
		p.c = newConsumerGroup(id)
		_, p.records = found.tombstones()
	}
	return nil
}

// hasRoom is group.consumer.max.size.
func (p *consumerPlan) hasRoom(memberID string, instance *string) error {
	if p.c.staticMember(instance) != nil || p.c.members[memberID] != nil || len(p.c.members) < int(p.g.options.ConsumerMaxSize) {
		return nil
	}
	return refuse(kafka.GroupMaxSizeReached, "The group has as many members as it may have (%d).", p.g.options.ConsumerMaxSize)
}

// claim is who a request says it is from.
type claim struct {
	id       string
	instance *string
	epoch    int32
	owned    []kmsg.ConsumerGroupHeartbeatRequestTopic
	create   bool
	// classic: the request is of the classic protocol, which knows no member epochs.
	classic bool
}

// member is whom a request is from, as the plan has it: perhaps one that is
// only now to be. It is only for reading, and as it is until the plan is carried out.
func (p *consumerPlan) member(who claim) (*memberData, error) {
	if who.instance != nil {
		return p.memberByInstance(who)
	}
	m := p.c.members[who.id]
	if m == nil {
		if !who.create {
			return nil, refuse(kafka.UnknownMemberID, "Member %s is not a member of group %s.", who.id, p.c.id)
		}
		return newMember(who.id), nil
	}
	return &m.memberData, m.fence(who)
}

func (p *consumerPlan) memberByInstance(who claim) (*memberData, error) {
	m := p.c.staticMember(who.instance)
	switch {
	case m == nil && who.create:
		saved := p.c.saved(who.id)
		return &saved, nil
	case m == nil:
		return nil, refuse(kafka.UnknownMemberID, "Instance id %s is unknown.", *who.instance)
	case who.create:
		if !who.classic && !m.isClassic() && m.epoch != epochStaticLeave {
			return nil, refuse(kafka.UnreleasedInstanceID, "Instance id %s is owned by member %s.", *who.instance, m.id)
		}
		replaced := p.replace(m, who.id)
		return &replaced, nil
	case m.id != who.id:
		return nil, refuse(kafka.FencedInstanceID, "Instance id %s is owned by member %s.", *who.instance, m.id)
	}
	return &m.memberData, m.fence(who)
}

// fence judges the epoch of a request. One epoch behind is a member that has not
// got the last answer; it may go on if it owns nothing that it has lost since.
func (m *consumerMember) fence(who claim) error {
	if who.classic || who.epoch == epochJoin || who.epoch == m.epoch {
		return nil
	}
	if who.epoch < m.epoch && who.epoch == m.previousEpoch && m.assigned.holdAll(who.owned) {
		return nil
	}
	return refuse(kafka.FencedMemberEpoch, "Member epoch %d is not that of the coordinator, %d. Give up all partitions and join again.", who.epoch, m.epoch)
}

func (o owned) holdAll(asked []kmsg.ConsumerGroupHeartbeatRequestTopic) bool {
	if asked == nil {
		return false
	}
	for _, t := range asked {
		if len(o.topic(t.TopicID).partitions) == 0 {
			return false
		}
		for _, p := range t.Partitions {
			if _, ok := o.epochOf(t.TopicID, kafka.PartitionID(p)); !ok {
				return false
			}
		}
	}
	return true
}

// replace plans that a static member comes back under another id: what it had
// is kept for it.
func (p *consumerPlan) replace(old *consumerMember, id string) memberData {
	m := old.memberData
	m.id, m.epoch, m.previousEpoch = id, epochJoin, epochJoin
	p.delMember(old.id)
	p.putMember(&m)
	p.putTarget(id, p.c.targets[old.id])
	p.putCurrent(&m)
	return m
}

// learn takes over what a member says of itself. What is null has not changed.
func (m *memberData) learn(by Caller, req *kmsg.ConsumerGroupHeartbeatRequest) {
	m.clientID, m.clientHost, m.classic = by.ClientID, by.ClientHost, nil
	keep := func(field **string, said *string) {
		if said != nil {
			*field = said
		}
	}
	keep(&m.instance, req.InstanceID)
	keep(&m.rack, req.RackID)
	keep(&m.assignor, req.ServerAssignor)
	keep(&m.regex, req.SubscribedTopicRegex)
	if req.RebalanceTimeoutMillis != -1 {
		m.rebalanceTimeoutMs = req.RebalanceTimeoutMillis
	}
	if req.SubscribedTopicNames != nil {
		m.names = sortedNames(req.SubscribedTopicNames)
	}
}

// response is an assignment as a member is told of it.
func (o owned) response() *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := &kmsg.ConsumerGroupHeartbeatResponseAssignment{}
	for _, t := range o {
		topic := kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: t.id}
		for _, p := range t.partitions {
			topic.Partitions = append(topic.Partitions, int32(p))
		}
		a.Topics = append(a.Topics, topic)
	}
	return a
}

// target is where a member has to come.
type target struct {
	epoch      int32
	assignment assignor.Assignment
}
