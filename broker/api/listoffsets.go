// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/replica"
	"gregor/storage/commitlog"
)

// ListOffsets, versions 1 to 11. Consumers see up to the high watermark, or to
// the last stable offset under read_committed; replicas and the debugging
// replica id -2 see to the log end.

// debugReplica is the replica id of tools: they may ask any replica.
const debugReplica = -2

// specialSince tells from which version on a special timestamp may be asked.
var specialSince = map[int64]int16{
	replica.Latest: 1, replica.Earliest: 1, replica.MaxTimestamp: 7, replica.EarliestLocal: 8,
	replica.LatestTiered: 9, replica.EarliestPending: 11,
}

func (a *API) handleListOffsets(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.ListOffsetsRequest)
	type place struct {
		topic     string
		partition int32
	}
	times := make(map[place]int)
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			times[place{req.Topics[i].Topic, req.Topics[i].Partitions[j].Partition}]++
		}
	}
	var left patience
	resp := kmsg.NewPtrListOffsetsResponse()
	for i := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			asked := &req.Topics[i].Partitions[j]
			twice := times[place{t.Topic, asked.Partition}] > 1
			t.Partitions = append(t.Partitions, a.listOffset(c, req, t.Topic, asked, twice, &left))
		}
		resp.Topics = append(resp.Topics, t)
	}
	return a.answer(c, resp)
}

func (a *API) listOffset(c *call.Call, req *kmsg.ListOffsetsRequest, topic string, asked *kmsg.ListOffsetsRequestTopicPartition, twice bool, left *patience) kmsg.ListOffsetsResponseTopicPartition {
	r := kmsg.NewListOffsetsResponseTopicPartition()
	r.Partition, r.Timestamp, r.Offset, r.LeaderEpoch = asked.Partition, -1, int64(kafka.NoOffset), int32(kafka.NoLeaderEpoch)
	found, err := a.findOffset(c, req, topic, asked, twice, left)
	if err != nil {
		code := a.code(c, err)
		if code == kafka.OffsetNotAvailable && c.Version < 5 {
			code = kafka.LeaderNotAvailable
		}
		r.ErrorCode = int16(code)
		return r
	}
	r.Timestamp, r.Offset, r.LeaderEpoch = found.TimestampMs, int64(found.Offset), int32(found.Epoch)
	return r
}

func (a *API) findOffset(c *call.Call, req *kmsg.ListOffsetsRequest, topic string, asked *kmsg.ListOffsetsRequestTopicPartition, twice bool, left *patience) (commitlog.Found, error) {
	since, special := specialSince[asked.Timestamp]
	switch {
	case twice:
		return commitlog.Found{}, kafka.InvalidRequest
	case asked.Timestamp < 0 && (!special || c.Version < since):
		return commitlog.Found{}, kafka.UnsupportedVersion
	case req.ReplicaID >= 0 && !c.Conn.Listener.InterBroker:
		return commitlog.Found{}, kafka.TopicAuthorizationFailed
	}
	p, err := a.partitionOf(topic, asked.Partition, left)
	if err != nil {
		return commitlog.Found{}, err
	}
	q := replica.ListOffset{TimestampMs: asked.Timestamp, LeaderEpoch: kafka.NoLeaderEpoch, LeaderOnly: req.ReplicaID != debugReplica}
	if c.Version >= 4 {
		q.LeaderEpoch = kafka.LeaderEpoch(asked.CurrentLeaderEpoch)
	}
	if kafka.NodeID(req.ReplicaID) == kafka.NoNode {
		q.Bound = commitlog.ToHighWatermark
		if c.Version >= 2 && req.IsolationLevel == 1 {
			q.Bound = commitlog.ToLastStable
		}
	}
	return p.ListOffset(&q)
}
