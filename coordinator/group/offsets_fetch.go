// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// OffsetFetch, v1-10: how far groups have come. What was never committed is -1
// without an error. With RequireStable (v7) a partition with an offset of a
// transaction that goes on is UNSTABLE_OFFSET_COMMIT, KIP-447.
//
//	v2   null topics: all
//	v8   several groups
//	v9   member id and epoch, of groups of the new protocol
//	v10  topic ids
func (g *Groups) OffsetFetch(_ int64, _ Caller, req *kmsg.OffsetFetchRequest, to Token, out *Out) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = req.Version
	if req.Version >= 8 {
		for _, asked := range req.Groups {
			resp.Groups = append(resp.Groups, g.fetchGroup(req, asked))
		}
		out.reply(to, resp)
		return
	}
	asked := kmsg.OffsetFetchRequestGroup{Group: req.Group, MemberEpoch: -1}
	if req.Topics != nil || req.Version < 2 {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, t := range req.Topics {
		asked.Topics = append(asked.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	answer := g.fetchGroup(req, asked)
	resp.ErrorCode = answer.ErrorCode
	for _, t := range answer.Topics {
		topic := kmsg.OffsetFetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, topic)
	}
	out.reply(to, resp)
}

func (g *Groups) fetchGroup(req *kmsg.OffsetFetchRequest, asked kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	answer := kmsg.OffsetFetchResponseGroup{Group: asked.Group}
	if found := g.groups[asked.Group]; found != nil {
		if err := found.validateFetch(asked.MemberID, asked.MemberEpoch); err != nil {
			answer.ErrorCode = int16(kafka.UnknownServerError)
			if code, ok := kafka.CodeOf(err); ok {
				answer.ErrorCode = int16(code)
			}
			return answer
		}
	}
	f := fetch{g: g, offsets: g.offsets[asked.Group], byID: req.Version >= 10, stable: req.RequireStable && req.Version >= 7}
	if asked.Topics == nil {
		answer.Topics = f.all()
		return answer
	}
	for _, t := range asked.Topics {
		answer.Topics = append(answer.Topics, f.topic(t))
	}
	return answer
}

// fetch is one group's part of a request.
type fetch struct {
	g            *Groups
	offsets      *groupOffsets // nil: none
	byID, stable bool
}

func (f fetch) topic(t kmsg.OffsetFetchRequestGroupTopic) kmsg.OffsetFetchResponseGroupTopic {
	answer := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
	name, _, code := f.g.resolve(t.Topic, t.TopicID, f.byID)
	for _, p := range t.Partitions {
		if code != kafka.None {
			answer.Partitions = append(answer.Partitions, noOffset(p, code))
			continue
		}
		answer.Partitions = append(answer.Partitions, f.partition(name, t.TopicID, kafka.PartitionID(p)))
	}
	return answer
}

func (f fetch) partition(topic string, id kafka.TopicID, p kafka.PartitionID) kmsg.OffsetFetchResponseGroupTopicPartition {
	if f.stable && f.offsets.isUnstable(topic, p) {
		return noOffset(int32(p), kafka.UnstableOffsetCommit)
	}
	if f.offsets == nil {
		return noOffset(int32(p), kafka.None)
	}
	c, ok := f.offsets.committed.get(topic, p)
	// An offset of a topic of the same name that is no more says nothing.
	if !ok || !id.IsZero() && !c.topicID.IsZero() && id != c.topicID {
		return noOffset(int32(p), kafka.None)
	}
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: int32(p), Offset: int64(c.offset), LeaderEpoch: int32(c.leaderEpoch), Metadata: &c.metadata,
	}
}

func noOffset(p int32, code kafka.Code) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{
		Partition: p, Offset: -1, LeaderEpoch: -1, Metadata: new(string), ErrorCode: int16(code),
	}
}

// all is every committed offset; with topic ids, of topics that still have one.
func (f fetch) all() []kmsg.OffsetFetchResponseGroupTopic {
	topics := []kmsg.OffsetFetchResponseGroupTopic{}
	if f.offsets == nil {
		return topics
	}
	for _, name := range sortedKeys(f.offsets.committed) {
		answer := kmsg.OffsetFetchResponseGroupTopic{Topic: name}
		if f.byID {
			id, _, ok := f.g.topics.Topic(name)
			if !ok {
				continue
			}
			answer.TopicID = id
		}
		for _, p := range sortedKeys(f.offsets.committed[name]) {
			answer.Partitions = append(answer.Partitions, f.partition(name, kafka.TopicID{}, p))
		}
		topics = append(topics, answer)
	}
	return topics
}

func (c *classicGroup) validateFetch(*string, int32) error { return nil }
