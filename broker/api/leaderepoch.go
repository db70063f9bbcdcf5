// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/storage/commitlog"
)

// OffsetForLeaderEpoch, versions 2 to 4 (KIP-101, KIP-279, KIP-320): where the
// log of an epoch ends, for consumers and followers that check whether theirs
// was truncated.

func (a *API) handleOffsetForLeaderEpoch(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.OffsetForLeaderEpochRequest)
	var left patience
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for i := range req.Topics {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			asked := &req.Topics[i].Partitions[j]
			r := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			r.Partition, r.LeaderEpoch, r.EndOffset = asked.Partition, int32(kafka.NoLeaderEpoch), int64(kafka.NoOffset)
			end, err := a.epochEnd(c, req.ReplicaID, t.Topic, asked, &left)
			if err != nil {
				r.ErrorCode = int16(a.code(c, err))
			} else {
				r.LeaderEpoch, r.EndOffset = int32(end.Epoch), int64(end.End)
			}
			t.Partitions = append(t.Partitions, r)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return a.answer(c, resp)
}

func (a *API) epochEnd(c *call.Call, replicaID int32, topic string, asked *kmsg.OffsetForLeaderEpochRequestTopicPartition, left *patience) (commitlog.EpochEnd, error) {
	if replicaID >= 0 && !c.Conn.Listener.InterBroker {
		return commitlog.EpochEnd{}, kafka.TopicAuthorizationFailed
	}
	p, err := a.partitionOf(topic, asked.Partition, left)
	if err != nil {
		return commitlog.EpochEnd{}, err
	}
	return p.EndOffsetForEpoch(kafka.LeaderEpoch(asked.LeaderEpoch), kafka.LeaderEpoch(asked.CurrentLeaderEpoch))
}
