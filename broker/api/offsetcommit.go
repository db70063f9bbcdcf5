// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
	"gregor/coordinator/group"
)

// OffsetCommit, versions 2 to 10.
func (a *API) handleOffsetCommit(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.OffsetCommitRequest), callerOf(c)
	return a.askOne(c, req.Group, a.limits.timeoutMax, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.OffsetCommit(nowMs, by, req, to, out)
	}, func(code kafka.Code) kmsg.Response { return a.commitRefused(req, code) })
}

// commitRefused gives every partition the same error, but for those that do not
// exist.
func (a *API) commitRefused(req *kmsg.OffsetCommitRequest, code kafka.Code) *kmsg.OffsetCommitResponse {
	img := a.image()
	resp := kmsg.NewPtrOffsetCommitResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		var topic *image.Topic
		missing := kafka.UnknownTopicOrPartition
		if req.Version >= 10 {
			topic, missing = img.TopicByID(t.TopicID), kafka.UnknownTopicID
		} else {
			topic = img.Topic(t.Topic)
		}
		answer := kmsg.NewOffsetCommitResponseTopic()
		answer.Topic, answer.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			of := kmsg.NewOffsetCommitResponseTopicPartition()
			of.Partition, of.ErrorCode = p.Partition, int16(code)
			switch {
			case topic == nil:
				of.ErrorCode = int16(missing)
			case topic.Partition(kafka.PartitionID(p.Partition)) == nil:
				of.ErrorCode = int16(kafka.UnknownTopicOrPartition)
			}
			answer.Partitions = append(answer.Partitions, of)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}
