// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
	"gregor/coordinator/grouprec"
)

// Migration is which way a group may change its protocol while it has members:
// group.consumer.migration.policy. The zero value is both ways, Kafka's default.
type Migration uint8

// Policies of migration.
const (
	MigrateBothWays Migration = iota
	MigrateUpgrade
	MigrateDowngrade
	MigrateDisabled
)

func (m Migration) upgrades() bool   { return m == MigrateBothWays || m == MigrateUpgrade }
func (m Migration) downgrades() bool { return m == MigrateBothWays || m == MigrateDowngrade }

// joins says whether a member of the classic protocol may join a group of the new one.
func (m Migration) joins() bool { return m != MigrateDisabled }

// upgrade plans that a classic group with members becomes one of the new
// protocol: its generation becomes its epochs, and its assignment, as it is, the
// target and what each member owns. Its members go on speaking the classic
// protocol until each is restarted, and leave it to the coordinator to watch the
// topics. So what their leader left undone counts as a change: a rebalance that
// was under way, or topics that it has not seen as they are now. Kafka leaves
// that as it is until something else changes.
func (p *consumerPlan) upgrade(classic *classicGroup) error {
	unable := func(why string) error {
		return refuse(kafka.GroupIDNotFound, "Classic group %s cannot move to the new protocol: %s.", classic.id, why)
	}
	switch {
	case !p.g.options.ConsumerMigration.upgrades():
		return unable("online upgrade is disabled")
	case !classic.usesConsumerProtocol():
		return unable("its members are no consumers")
	case len(classic.members) > int(p.g.options.ConsumerMaxSize):
		return unable("it has more members than it may have")
	}
	c := newConsumerGroup(classic.id)
	c.epoch, c.assignmentEpoch = classic.generation, classic.generation
	protocol := deref(classic.protocol)
	if classic.protocol == nil { // its first rebalance is under way
		protocol = classic.selectProtocol()
	}
	for _, old := range classic.members {
		m, err := p.g.upgradeMember(classic, old, protocol)
		if err != nil {
			return unable(err.Error())
		}
		for tp := range m.holds() {
			if _, taken := c.partitionEpochs[tp]; taken { // an assignor of its own may do so
				return unable("one of its partitions has two owners")
			}
		}
		c.update(m)
		c.targets[m.id] = m.assigned.target()
	}
	c.metadataHash = p.g.metadataHash(c.names)
	p.c, p.converted = c, classic
	p.unfinished = classic.state != stateStable || !p.g.allHeld(c)
	_, p.records = classic.tombstones()
	ids := c.memberIDs()
	for _, id := range ids {
		p.putMember(&c.members[id].memberData)
	}
	p.putEpoch(c.epoch, c.metadataHash)
	for _, id := range ids {
		p.putTarget(id, c.targets[id])
	}
	p.putAssignmentEpoch(c.assignmentEpoch, 0)
	for _, id := range ids {
		p.putCurrent(&c.members[id].memberData)
	}
	return nil
}

// allHeld says whether of all topics that are read each partition is held by one
// who reads it, and nothing else is held.
func (g *Groups) allHeld(c *consumerGroup) bool {
	for _, m := range c.members {
		for _, t := range m.assigned {
			name, _ := g.topics.TopicName(t.id)
			if _, reads := slices.BinarySearch(m.names, name); !reads {
				return false
			}
		}
	}
	left := len(c.partitionEpochs)
	for name := range c.names {
		id, partitions, _ := g.topics.Topic(name)
		for p := range kafka.PartitionID(partitions) {
			if _, held := c.partitionEpochs[kafka.TopicIDPartition{TopicID: id, Partition: p}]; !held {
				return false
			}
			left--
		}
	}
	return left == 0
}

func (g *Groups) upgradeMember(classic *classicGroup, old *classicMember, protocol string) (memberData, error) {
	m := newMemberData(old.id)
	assigned, userData, err := parseAssignment(old.assignment)
	if err != nil {
		return m, err
	}
	if userData {
		return m, errUserData
	}
	said, err := parseSubscription(old.metadataOf(&protocol))
	if err != nil {
		return m, err
	}
	m.epoch, m.previousEpoch = classic.generation, classic.generation
	m.instance, m.rebalanceTimeoutMs = old.instance, old.rebalanceTimeoutMs
	m.clientID, m.clientHost, m.names = old.clientID, old.clientHost, sortedNames(said.topics)
	if said.rack != "" {
		m.rack = &said.rack
	}
	m.classic = &grouprec.ClassicMemberMetadata{SessionTimeoutMs: old.sessionTimeoutMs}
	for _, p := range old.protocols {
		m.classic.SupportedProtocols = append(m.classic.SupportedProtocols, grouprec.ClassicProtocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	for _, t := range assigned {
		id, _, ok := g.topics.Topic(t.topic)
		if !ok || len(t.partitions) == 0 {
			continue
		}
		topic := ownedTopic{id: id}
		for _, p := range t.partitions {
			topic.add(kafka.PartitionID(p), classic.generation)
		}
		topic.sort()
		m.assigned = m.assigned.merge(topic)
	}
	return m, nil
}

func (o owned) target() assignor.Assignment {
	var a assignor.Assignment
	for _, t := range o {
		a = append(a, assignor.Topic{ID: t.id, Partitions: t.partitions})
	}
	return a
}

// startUpgraded starts the sessions of the members of a group that was classic.
func (p *consumerPlan) startUpgraded() {
	if p.converted == nil {
		return
	}
	for _, id := range p.c.memberIDs() {
		if m := p.c.members[id]; m.isClassic() {
			p.g.timers.set(&m.session, m, p.nowMs+int64(m.classic.SessionTimeoutMs))
		}
	}
}

// mayDowngrade says whether a group goes back to the classic protocol without
// these members: all others speak it.
func (p *consumerPlan) mayDowngrade(gone map[string]bool) bool {
	left := 0
	for id, m := range p.c.members {
		if !gone[id] {
			if !m.isClassic() {
				return false
			}
			left++
		}
	}
	return left > 0 && left <= int(p.g.options.GroupMaxSize) && p.g.options.ConsumerMigration.downgrades()
}

// mayDowngradeFor: the last member of the new protocol, a static one, comes back with the classic one.
func (p *consumerPlan) mayDowngradeFor(replaced *consumerMember) bool {
	return !replaced.isClassic() && p.c.classicMembers == len(p.c.members)-1 &&
		len(p.c.members) <= int(p.g.options.GroupMaxSize) && p.g.options.ConsumerMigration.downgrades()
}

// downgrade plans the group's end and makes the classic group that follows it:
// stable, at the group's epoch, with the target as its assignment. Nothing of
// gone is in it; joined takes the place of the static member it replaces.
func (p *consumerPlan) downgrade(gone map[string]bool, joined *memberData) (*classicGroup, error) {
	c := newClassicGroup(p.c.id, p.nowMs)
	c.state, c.previous, c.generation, c.protocolType = stateStable, stateStable, p.c.epoch, protocolTypeConsumer
	var replaced *consumerMember
	if joined != nil {
		replaced = p.c.staticMember(joined.instance)
	}
	ids := p.c.memberIDs()
	targets := map[string]assignor.Assignment{}
	for i, id := range ids {
		if m := p.c.members[id]; m == replaced {
			ids[i] = joined.id
		} else if !gone[id] {
			targets[id] = p.c.targets[id]
			c.add(m.downgraded())
		}
	}
	if joined != nil {
		targets[joined.id] = p.c.targets[replaced.id]
		c.add(joined.downgraded())
	}
	protocol := c.selectProtocol()
	c.protocol = &protocol
	c.readSubscriptions()
	for _, m := range c.members {
		metadata := m.metadataOf(c.protocol)
		if len(metadata) < 2 {
			return nil, errSubscription
		}
		m.assignment = p.g.classicAssignment(metadata, ownedSince(targets[m.id], 0))
	}
	p.records = append(p.records, p.c.tombstonesOf(ids)...)
	return c, nil
}

func (m *memberData) downgraded() *classicMember {
	c := &classicMember{
		id: m.id, instance: m.instance, clientID: m.clientID, clientHost: m.clientHost, rebalanceTimeoutMs: m.rebalanceTimeoutMs,
		sessionTimeoutMs: m.classic.SessionTimeoutMs, protocolType: protocolTypeConsumer,
	}
	for _, p := range m.classic.SupportedProtocols {
		c.protocols = append(c.protocols, kmsg.JoinGroupRequestProtocol{Name: p.Name, Metadata: p.Metadata})
	}
	return c
}

// becomeClassic carries a downgrade out. The rebalance that is to follow may be
// cut short by a failover, so the record names no leader: who loads it goes on.
func (p *consumerPlan) becomeClassic(c *classicGroup, out *Out) error {
	c.leader = nil
	saved := c.record()
	consumer := p.c
	if !p.g.fits(out, sizeOf(saved)) {
		return refuse(kafka.UnknownServerError, "The group is too large for one batch of __consumer_offsets.")
	}
	out.bytes += sizeOf(saved)
	err := p.apply(out)
	out.bytes -= sizeOf(saved)
	if err != nil {
		return err
	}
	out.add(saved)
	consumer.abandon(p.g, kafka.None, out)
	p.g.groups[c.id] = c
	for _, m := range c.members {
		p.g.keepAlive(m, p.nowMs)
	}
	return nil
}

// downgradeFor answers the JoinGroup of a static member whose return turns its
// group back. The group rebalances at once: it needs one who leads it, and so
// watches the topics, and its members may have less than the target says. Kafka
// has it rebalance only if the target is not of the newest epoch.
func (p *consumerPlan) downgradeFor(j *join, m *memberData, change subscriptionChange, says []kmsg.ConsumerGroupHeartbeatRequestTopic) (*kmsg.JoinGroupResponse, error) {
	if p.c.assignmentEpoch >= change.epoch {
		p.reconcile(m, target{p.c.assignmentEpoch, p.c.target(m)}, change.subscription, says)
	}
	c, err := p.downgrade(nil, m)
	if err != nil {
		return nil, kafka.InconsistentGroupProtocol
	}
	if err := p.becomeClassic(c, j.out); err != nil {
		return nil, err
	}
	p.g.prepareRebalance(c, p.nowMs, j.out)
	return joinedConsumer(j.req.Version, m), nil
}

// classicAssignment encodes partitions as a ConsumerProtocolAssignment, of the
// version that the member's own metadata has.
func (g *Groups) classicAssignment(metadata []byte, o owned) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	if len(metadata) >= 2 {
		a.Version = min(max(int16(binary.BigEndian.Uint16(metadata)), 0), assignmentVersionMax)
	}
	for _, t := range o {
		name, ok := g.topics.TopicName(t.id)
		if !ok {
			continue
		}
		topic := kmsg.ConsumerMemberAssignmentTopic{Topic: name}
		for _, p := range t.partitions {
			topic.Partitions = append(topic.Partitions, int32(p))
		}
		a.Topics = append(a.Topics, topic)
	}
	return a.AppendTo(nil)
}
