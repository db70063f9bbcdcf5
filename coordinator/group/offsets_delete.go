// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// OffsetDelete, v0: forgets offsets of topics that the group does not read (KIP-496).
func (g *Groups) OffsetDelete(_ int64, _ Caller, req *kmsg.OffsetDeleteRequest, to Token, out *Out) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Version = req.Version
	defer func() { out.reply(to, resp) }()
	if req.Group == "" {
		resp.ErrorCode = int16(kafka.InvalidGroupID)
		return
	}
	found := g.groups[req.Group]
	if code := validateOffsetDelete(found); code != kafka.None {
		resp.ErrorCode = int16(code)
		return
	}
	for _, t := range req.Topics {
		answer := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			code := g.deleteOffset(req.Group, found, t.Topic, p.Partition, out)
			answer.Partitions = append(answer.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, answer)
	}
}

func validateOffsetDelete(found group) kafka.Code {
	if found == nil {
		return kafka.GroupIDNotFound
	}
	if err := found.validateOffsetDelete(); err != nil {
		if code, ok := kafka.CodeOf(err); ok {
			return code
		}
		return kafka.UnknownServerError
	}
	return kafka.None
}

func (g *Groups) deleteOffset(id string, found group, topic string, p int32, out *Out) kafka.Code {
	if !g.partitionExists(topic, p) {
		return kafka.UnknownTopicOrPartition
	}
	if found.subscribes(topic) {
		return kafka.GroupSubscribedToTopic
	}
	if o := g.offsets[id]; o != nil {
		_, ok := o.committed.get(topic, kafka.PartitionID(p))
		if ok || o.isUnstable(topic, kafka.PartitionID(p)) {
			if !g.emitOffsetTombstone(id, topic, kafka.PartitionID(p), out) {
				return kafka.InvalidCommitOffsetSize
			}
		}
	}
	return kafka.None
}

// validateOffsetDelete: of a group with members, only that of consumers lets
// the coordinator see which topics it reads.
func (c *classicGroup) validateOffsetDelete() error {
	if c.state != stateEmpty && !c.usesConsumerProtocol() {
		return kafka.NonEmptyGroup
	}
	return nil
}

// deleteTopicOffsets forgets the offsets of topics that are no more. An offset
// of a topic of the same name but another id stays. What one event cannot hold
// goes on with the next Tick; what none can stays.
func (g *Groups) deleteTopicOffsets(nowMs int64, out *Out) {
	if len(g.deleted) == 0 {
		return
	}
	gone := func(topic string, _ kafka.PartitionID, c committed) bool {
		for _, d := range g.deleted {
			if d.Name == topic && (c.topicID.IsZero() || c.topicID == d.ID) {
				return true
			}
		}
		return false
	}
	for _, id := range sortedKeys(g.offsets) {
		for _, tp := range g.offsets[id].partitionsOf(gone) {
			if !g.emitOffsetTombstone(id, tp.Topic, tp.Partition, out) && len(out.Records) != 0 {
				g.timers.set(&g.deletion, g, nowMs)
				return
			}
		}
	}
	g.deleted = nil
}
