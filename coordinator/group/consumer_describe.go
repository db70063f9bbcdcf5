// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// ConsumerGroupDescribe, v0-1: groups of the new protocol.
//
//	v1  which protocol each member speaks
func (g *Groups) ConsumerGroupDescribe(_ int64, _ Caller, req *kmsg.ConsumerGroupDescribeRequest, to Token, out *Out) {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Version = req.Version
	for _, id := range req.Groups {
		resp.Groups = append(resp.Groups, g.describeConsumer(id))
	}
	out.reply(to, resp)
}

func (g *Groups) describeConsumer(id string) kmsg.ConsumerGroupDescribeResponseGroup {
	answer := kmsg.NewConsumerGroupDescribeResponseGroup()
	answer.Group = id
	c, ok := g.groups[id].(*consumerGroup)
	if !ok {
		answer.ErrorCode = int16(kafka.GroupIDNotFound)
		message := "Group " + id + " not found."
		switch {
		case id == "":
			answer.ErrorCode = int16(kafka.InvalidGroupID)
			return answer
		case g.groups[id] != nil:
			message = "Group " + id + " is not a consumer group."
		}
		message = kafka.Message(message)
		answer.ErrorMessage = &message
		return answer
	}
	answer.State, answer.Epoch, answer.AssignmentEpoch = c.stateName(), c.epoch, c.assignmentEpoch
	answer.AssignorName = c.assignor(nil, nil, g.options.ConsumerAssignors[0])
	for _, member := range c.memberIDs() {
		answer.Members = append(answer.Members, g.describeMember(c, &c.members[member].memberData))
	}
	return answer
}

func (g *Groups) describeMember(c *consumerGroup, m *memberData) kmsg.ConsumerGroupDescribeResponseGroupMember {
	d := kmsg.NewConsumerGroupDescribeResponseGroupMember()
	d.MemberID, d.InstanceID, d.RackID, d.MemberEpoch = m.id, m.instance, m.rack, m.epoch
	d.ClientID, d.ClientHost = m.clientID, m.clientHost
	d.SubscribedTopics, d.SubscribedTopicRegex = slices.Clone(m.names), m.regex
	if d.MemberType = 0; !m.isClassic() {
		d.MemberType = 1
	}
	held := slices.Clone(m.assigned)
	for _, t := range m.revoking {
		held = held.merge(t)
	}
	for _, t := range held {
		d.Assignment.TopicPartitions = g.describeTopic(d.Assignment.TopicPartitions, t.id, t.partitions)
	}
	for _, t := range c.targets[m.id] {
		d.TargetAssignment.TopicPartitions = g.describeTopic(d.TargetAssignment.TopicPartitions, t.ID, t.Partitions)
	}
	return d
}

// describeTopic leaves out topics that are no more: they have no name.
func (g *Groups) describeTopic(list []kmsg.AssignmentTopicPartition, id kafka.TopicID, partitions []kafka.PartitionID) []kmsg.AssignmentTopicPartition {
	name, ok := g.topics.TopicName(id)
	if !ok {
		return list
	}
	t := kmsg.AssignmentTopicPartition{TopicID: id, Topic: name}
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, int32(p))
	}
	return append(list, t)
}
