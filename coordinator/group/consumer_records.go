// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
	"gregor/coordinator/grouprec"
)

// consumerPlan is one event of a consumer group on its way: the records that it
// will give, while the group is still as it was.
type consumerPlan struct {
	g     *Groups
	c     *consumerGroup // may be one that is not there yet
	nowMs int64
	// converted is the classic group that c was made of; unfinished says that what
	// its leader has assigned is not what its members read.
	converted  *classicGroup
	unfinished bool
	records    []grouprec.Record
	// freshUntilMs is that of the group when the plan is carried out.
	freshUntilMs int64
	matching     []string // regexes
}

func (p *consumerPlan) put(k grouprec.Key, v grouprec.Value) {
	p.records = append(p.records, grouprec.New(k, v))
}

func (p *consumerPlan) del(k grouprec.Key) { p.records = append(p.records, grouprec.Tombstone(k)) }

func (p *consumerPlan) bytes() (n int) {
	for _, rec := range p.records {
		n += sizeOf(rec)
	}
	return n
}

// apply carries the plan out. If its records do not fit into one batch, nothing
// has changed, and the error is Kafka's.
func (p *consumerPlan) apply(out *Out) error {
	if !p.g.fits(out, p.bytes()) {
		return refuse(kafka.UnknownServerError, "The group is too large for one batch of __consumer_offsets.")
	}
	if p.converted != nil {
		p.converted.abandon(p.g, kafka.RebalanceInProgress, out)
	}
	for _, rec := range p.records {
		out.add(rec)
		typ, err := grouprec.TypeOf(rec.Key)
		if err == nil {
			err = p.g.replay(typ, rec, Origin{})
		}
		if err != nil {
			return fmt.Errorf("applying a record that was just made: %w", err)
		}
	}
	p.records = nil
	if c, ok := p.g.groups[p.c.id].(*consumerGroup); ok {
		p.c = c
		c.freshUntilMs = max(c.freshUntilMs, p.freshUntilMs)
	}
	return nil
}

func (p *consumerPlan) putMember(m *memberData) {
	v := grouprec.NewConsumerGroupMemberMetadataValue()
	v.InstanceID, v.RackID, v.ClientID, v.ClientHost = m.instance, m.rack, m.clientID, m.clientHost
	v.SubscribedTopicNames, v.SubscribedTopicRegex, v.ServerAssignor = m.names, m.regex, m.assignor
	v.RebalanceTimeoutMs, v.ClassicMemberMetadata = m.rebalanceTimeoutMs, m.classic
	p.put(&grouprec.ConsumerGroupMemberMetadataKey{GroupID: p.c.id, MemberID: m.id}, v)
}

func (p *consumerPlan) putCurrent(m *memberData) {
	p.put(&grouprec.ConsumerGroupCurrentMemberAssignmentKey{GroupID: p.c.id, MemberID: m.id}, &grouprec.ConsumerGroupCurrentMemberAssignmentValue{
		MemberEpoch: m.epoch, PreviousMemberEpoch: m.previousEpoch, State: int8(m.state),
		AssignedPartitions: savedOwned(m.assigned), PartitionsPendingRevocation: savedOwned(m.revoking),
	})
}

func savedOwned(o owned) []grouprec.AssignedPartitions {
	var saved []grouprec.AssignedPartitions
	for _, t := range o {
		saved = append(saved, grouprec.AssignedPartitions{TopicID: t.id, Partitions: t.partitions, AssignmentEpochs: t.epochs})
	}
	return saved
}

func (p *consumerPlan) putTarget(member string, a assignor.Assignment) {
	v := &grouprec.ConsumerGroupTargetAssignmentMemberValue{}
	for _, t := range a {
		v.TopicPartitions = append(v.TopicPartitions, grouprec.TopicPartitions{TopicID: t.ID, Partitions: t.Partitions})
	}
	p.put(&grouprec.ConsumerGroupTargetAssignmentMemberKey{GroupID: p.c.id, MemberID: member}, v)
}

func (p *consumerPlan) putEpoch(epoch int32, hash int64) {
	p.put(&grouprec.ConsumerGroupMetadataKey{GroupID: p.c.id}, &grouprec.ConsumerGroupMetadataValue{Epoch: epoch, MetadataHash: hash})
}

func (p *consumerPlan) putAssignmentEpoch(epoch int32, atMs int64) {
	p.put(&grouprec.ConsumerGroupTargetAssignmentMetadataKey{GroupID: p.c.id},
		&grouprec.ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: atMs})
}

// delMember writes the end of a member, its own record last.
func (p *consumerPlan) delMember(id string) {
	p.del(&grouprec.ConsumerGroupCurrentMemberAssignmentKey{GroupID: p.c.id, MemberID: id})
	p.del(&grouprec.ConsumerGroupTargetAssignmentMemberKey{GroupID: p.c.id, MemberID: id})
	p.del(&grouprec.ConsumerGroupMemberMetadataKey{GroupID: p.c.id, MemberID: id})
}

// replayConsumer applies a record of a consumer group.
func (g *Groups) replayConsumer(typ int16, rec grouprec.Record) error {
	key := grouprec.NewKey(typ)
	if err := key.Decode(rec.Key); err != nil {
		return fmt.Errorf("key of type %d: %w", typ, err)
	}
	if rec.Value == nil {
		g.removeConsumer(key)
		return nil
	}
	value := grouprec.NewValue(typ)
	if _, err := value.Decode(rec.Value); err != nil {
		return fmt.Errorf("value of type %d: %w", typ, err)
	}
	switch k := key.(type) {
	case *grouprec.ConsumerGroupMetadataKey:
		v, c := value.(*grouprec.ConsumerGroupMetadataValue), g.savedConsumer(k.GroupID)
		c.epoch, c.metadataHash = v.Epoch, v.MetadataHash
	case *grouprec.ConsumerGroupPartitionMetadataKey:
		g.savedConsumer(k.GroupID).legacyMetadata = true
	case *grouprec.ConsumerGroupMemberMetadataKey:
		g.savedConsumer(k.GroupID).replayMember(k.MemberID, value.(*grouprec.ConsumerGroupMemberMetadataValue))
	case *grouprec.ConsumerGroupTargetAssignmentMetadataKey:
		v, c := value.(*grouprec.ConsumerGroupTargetAssignmentMetadataValue), g.savedConsumer(k.GroupID)
		c.assignmentEpoch, c.assignmentMs = v.AssignmentEpoch, v.AssignmentTimestamp
	case *grouprec.ConsumerGroupTargetAssignmentMemberKey:
		v := value.(*grouprec.ConsumerGroupTargetAssignmentMemberValue)
		g.savedConsumer(k.GroupID).targets[k.MemberID] = targetOf(v)
	case *grouprec.ConsumerGroupCurrentMemberAssignmentKey:
		g.savedConsumer(k.GroupID).replayCurrent(k.MemberID, value.(*grouprec.ConsumerGroupCurrentMemberAssignmentValue))
	case *grouprec.ConsumerGroupRegularExpressionKey:
		v := value.(*grouprec.ConsumerGroupRegularExpressionValue)
		slices.Sort(v.Topics)
		g.savedConsumer(k.GroupID).setResolved(k.RegularExpression, resolvedRegex{topics: slices.Compact(v.Topics), version: v.Version, atMs: v.Timestamp})
	}
	return nil
}

// removeConsumer applies a tombstone. What it is about may be gone already:
// compaction may have left only the tombstone.
func (g *Groups) removeConsumer(key grouprec.Key) {
	switch k := key.(type) {
	case *grouprec.ConsumerGroupMetadataKey:
		if g.foundConsumer(k.GroupID) != nil {
			g.removeGroup(k.GroupID, nil)
		}
	case *grouprec.ConsumerGroupPartitionMetadataKey:
		if c := g.foundConsumer(k.GroupID); c != nil {
			c.legacyMetadata = false
		}
	case *grouprec.ConsumerGroupMemberMetadataKey:
		if c := g.foundConsumer(k.GroupID); c != nil {
			c.remove(g, k.MemberID)
		}
	case *grouprec.ConsumerGroupTargetAssignmentMetadataKey:
		if c := g.foundConsumer(k.GroupID); c != nil {
			c.assignmentEpoch, c.assignmentMs = -1, 0
		}
	case *grouprec.ConsumerGroupTargetAssignmentMemberKey:
		if c := g.foundConsumer(k.GroupID); c != nil {
			delete(c.targets, k.MemberID)
		}
	case *grouprec.ConsumerGroupCurrentMemberAssignmentKey:
		if c := g.foundConsumer(k.GroupID); c != nil && c.members[k.MemberID] != nil {
			m := c.members[k.MemberID].memberData
			m.epoch, m.previousEpoch, m.assigned, m.revoking = epochLeave, epochLeave, nil, nil
			c.update(m)
		}
	case *grouprec.ConsumerGroupRegularExpressionKey:
		if c := g.foundConsumer(k.GroupID); c != nil {
			c.removeResolved(k.RegularExpression)
		}
	}
}

func (g *Groups) foundConsumer(id string) *consumerGroup {
	c, _ := g.groups[id].(*consumerGroup)
	return c
}

// savedConsumer finds the group of a record, or makes it. A classic group of the
// same id is one that only commits, or that has been moved to the new protocol.
func (g *Groups) savedConsumer(id string) *consumerGroup {
	if c := g.foundConsumer(id); c != nil {
		return c
	}
	g.removeGroup(id, nil)
	c := newConsumerGroup(id)
	g.groups[id] = c
	return c
}

func (c *consumerGroup) saved(member string) memberData {
	if m := c.members[member]; m != nil {
		return m.memberData
	}
	return newMemberData(member)
}

func (c *consumerGroup) replayMember(member string, v *grouprec.ConsumerGroupMemberMetadataValue) {
	m := c.saved(member)
	m.instance, m.rack, m.clientID, m.clientHost = v.InstanceID, v.RackID, v.ClientID, v.ClientHost
	m.names, m.regex, m.assignor = sortedNames(v.SubscribedTopicNames), v.SubscribedTopicRegex, v.ServerAssignor
	m.rebalanceTimeoutMs, m.classic = v.RebalanceTimeoutMs, v.ClassicMemberMetadata
	c.update(m)
}

func sortedNames(names []string) []string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

func (c *consumerGroup) replayCurrent(member string, v *grouprec.ConsumerGroupCurrentMemberAssignmentValue) {
	m := c.saved(member)
	m.epoch, m.previousEpoch, m.state = v.MemberEpoch, v.PreviousMemberEpoch, memberState(v.State)
	if m.state < memberStable || m.state > memberUnreleased {
		m.state = memberUnknown
	}
	m.assigned, m.revoking = ownedOf(v.AssignedPartitions, v.MemberEpoch), ownedOf(v.PartitionsPendingRevocation, v.MemberEpoch)
	c.update(m)
}

// ownedOf reads partitions. Records of before KIP-1251 have no epochs: there the member's counts.
func ownedOf(saved []grouprec.AssignedPartitions, memberEpoch int32) owned {
	var o owned
	for i := range saved {
		s := &saved[i]
		t := ownedTopic{id: s.TopicID, partitions: s.Partitions, epochs: s.AssignmentEpochs}
		if len(t.epochs) != len(t.partitions) {
			t.epochs = slices.Repeat([]int32{max(memberEpoch, 0)}, len(t.partitions))
		}
		t.sort()
		o = o.with(t)
	}
	slices.SortStableFunc(o, func(a, b ownedTopic) int { return assignor.CompareTopics(a.id, b.id) })
	return slices.CompactFunc(o, func(a, b ownedTopic) bool { return a.id == b.id })
}

func targetOf(v *grouprec.ConsumerGroupTargetAssignmentMemberValue) assignor.Assignment {
	a := make(assignor.Assignment, 0, len(v.TopicPartitions))
	for _, t := range v.TopicPartitions {
		slices.Sort(t.Partitions)
		if partitions := slices.Compact(t.Partitions); len(partitions) != 0 {
			a = append(a, assignor.Topic{ID: t.TopicID, Partitions: partitions})
		}
	}
	slices.SortStableFunc(a, func(x, y assignor.Topic) int { return assignor.CompareTopics(x.ID, y.ID) })
	return slices.CompactFunc(a, func(x, y assignor.Topic) bool { return x.ID == y.ID })
}
