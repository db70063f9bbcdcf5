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
	w := a.coordinate(1)
	w.ask(c, 0, req.Group, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.OffsetCommit(nowMs, by, req, to, out)
	})
	return w.end(c, a.limits.timeoutMax, func(parts []coordinated) kmsg.Response {
		resp, ok := parts[0].resp.(*kmsg.OffsetCommitResponse)
		if !ok {
			return a.commitRefused(req, parts[0].code)
		}
		a.countCommits(resp)
		return resp
	})
}

func (a *API) countCommits(resp *kmsg.OffsetCommitResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if resp.Topics[i].Partitions[j].ErrorCode == 0 {
				a.count.offsets.Add(1)
			}
		}
	}
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
		if len(t.Partitions) != 0 {
			resp.Topics = append(resp.Topics, answer)
		}
	}
	return resp
}
