// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/metalog"
)

// DescribeQuorum, versions 0 to 2 (KIP-595, KIP-836, KIP-853). A request that
// asks for anything but the one partition of the metadata log gets an error for
// each partition that it names. In version 2 the texts are never null.

const (
	clusterMetadataTopic = "__cluster_metadata"
	notHosted            = "This server does not host this topic-partition."
	// describeQuorumTimeoutMs bounds the wait, for which the request has no field.
	describeQuorumTimeoutMs = 30_000
)

func (a *API) handleDescribeQuorum(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeQuorumRequest)
	if !asksForQuorum(req) {
		return a.answer(c, quorumFailed(req, kafka.UnknownTopicOrPartition, notHosted))
	}
	ctx, cancel := a.within(c, describeQuorumTimeoutMs)
	defer cancel()
	q, err := a.d.Quorum(ctx)
	switch {
	case errors.Is(err, kafka.NotLeaderForPartition):
		return a.answer(c, quorumFailed(req, kafka.NotLeaderForPartition, message(err)))
	case err != nil:
		resp, text := kmsg.NewPtrDescribeQuorumResponse(), message(err)
		resp.ErrorCode, resp.ErrorMessage = int16(a.code(c, err)), &text
		return a.answer(c, resp)
	}
	return a.answer(c, describedQuorum(&q))
}

// asksForQuorum reports whether the request is for the metadata log alone.
func asksForQuorum(req *kmsg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].Topic == clusterMetadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
}

func newQuorumResponse() *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorMessage = new("")
	return resp
}

func quorumFailed(req *kmsg.DescribeQuorumRequest, code kafka.Code, text string) *kmsg.DescribeQuorumResponse {
	resp := newQuorumResponse()
	for i := range req.Topics {
		rt := kmsg.NewDescribeQuorumResponseTopic()
		rt.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			rp := kmsg.NewDescribeQuorumResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = p.Partition, int16(code), &text
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func describedQuorum(q *metalog.Quorum) *kmsg.DescribeQuorumResponse {
	resp := newQuorumResponse()
	rp := kmsg.NewDescribeQuorumResponseTopicPartition()
	rp.ErrorMessage = new("")
	rp.LeaderID, rp.LeaderEpoch, rp.HighWatermark = int32(q.Leader), int32(q.Epoch), int64(q.HighWatermark)
	rp.CurrentVoters, rp.Observers = quorumReplicas(q.Voters), quorumReplicas(q.Observers)
	rt := kmsg.NewDescribeQuorumResponseTopic()
	rt.Topic, rt.Partitions = clusterMetadataTopic, append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	for i := range q.Nodes {
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = int32(q.Nodes[i].VoterID)
		for _, e := range q.Nodes[i].Endpoints {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = e.Name, e.Host, e.Port
			n.Listeners = append(n.Listeners, l)
		}
		resp.Nodes = append(resp.Nodes, n)
	}
	return resp
}

func quorumReplicas(list []metalog.Replica) []kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	out := make([]kmsg.DescribeQuorumResponseTopicPartitionReplicaState, len(list))
	for i, r := range list {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.ReplicaDirectoryID, s.LogEndOffset = int32(r.NodeID), r.DirectoryID, int64(r.LogEndOffset)
		s.LastFetchTimestamp, s.LastCaughtUpTimestamp = r.LastFetchMs, r.LastCaughtUpMs
		out[i] = s
	}
	return out
}
