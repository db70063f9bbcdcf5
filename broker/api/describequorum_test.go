// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

func describeQuorum(version int16, topic string, partitions ...int32) *kmsg.DescribeQuorumRequest {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = version
	rt := kmsg.NewDescribeQuorumRequestTopic()
	rt.Topic = topic
	for _, id := range partitions {
		rp := kmsg.NewDescribeQuorumRequestTopicPartition()
		rp.Partition = id
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	return req
}

func TestDescribeQuorum(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.api.d.Quorum = func(context.Context) (metalog.Quorum, error) {
			return metalog.Quorum{
				Leader: 1, Epoch: 3, HighWatermark: 40,
				Voters: []metalog.Replica{
					{NodeID: 1, DirectoryID: kafka.DirectoryID{1}, LogEndOffset: 42, LastFetchMs: 1000, LastCaughtUpMs: 1000},
					{NodeID: 2, DirectoryID: kafka.DirectoryID{2}, LogEndOffset: 40, LastFetchMs: 900, LastCaughtUpMs: 800},
				},
				Observers: []metalog.Replica{{NodeID: 9, DirectoryID: kafka.DirectoryID{9}, LogEndOffset: -1, LastFetchMs: -1, LastCaughtUpMs: -1}},
				Nodes:     []metarec.Voter{{VoterID: 1, Endpoints: []metarec.VoterEndpoint{{Name: "CONTROLLER", Host: "h", Port: 9093}}}},
			}, nil
		}
		c := n.dial()
		for v := int16(0); v <= 2; v++ {
			resp := c.do(describeQuorum(v, "__cluster_metadata", 0)).(*kmsg.DescribeQuorumResponse)
			if resp.ErrorCode != 0 || len(resp.Topics) != 1 || resp.Topics[0].Topic != "__cluster_metadata" || len(resp.Topics[0].Partitions) != 1 {
				t.Fatalf("v%d: %+v", v, resp)
			}
			p := resp.Topics[0].Partitions[0]
			if p.ErrorCode != 0 || p.LeaderID != 1 || p.LeaderEpoch != 3 || p.HighWatermark != 40 || len(p.CurrentVoters) != 2 || len(p.Observers) != 1 {
				t.Fatalf("v%d: %+v", v, p)
			}
			two, nine := p.CurrentVoters[1], p.Observers[0]
			if two.ReplicaID != 2 || two.LogEndOffset != 40 || nine.ReplicaID != 9 || nine.LogEndOffset != -1 {
				t.Errorf("v%d: %+v %+v", v, two, nine)
			}
			if v >= 1 && (two.LastFetchTimestamp != 900 || two.LastCaughtUpTimestamp != 800) {
				t.Errorf("v%d: times of %+v", v, two)
			}
			if v < 2 {
				continue
			}
			if two.ReplicaDirectoryID != [16]byte{2} || resp.ErrorMessage == nil || p.ErrorMessage == nil || len(resp.Nodes) != 1 {
				t.Fatalf("v2: %+v", resp)
			}
			if l := resp.Nodes[0].Listeners[0]; l.Name != "CONTROLLER" || l.Host != "h" || l.Port != 9093 {
				t.Errorf("v2: %+v", l)
			}
		}
	})
}

// Only the metadata log has a quorum, and a request must be for it alone. The
// answers are Apache Kafka 4.4's.
func TestDescribeQuorumOfWhatHasNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t).dial()
		two := describeQuorum(2, "__cluster_metadata", 0)
		two.Topics = append(two.Topics, describeQuorum(2, "a", 0).Topics...)
		for _, req := range []*kmsg.DescribeQuorumRequest{
			describeQuorum(2, "__cluster_metadata", 1), describeQuorum(2, "a", 0), describeQuorum(2, "__cluster_metadata", 0, 0), two,
		} {
			resp := c.do(req).(*kmsg.DescribeQuorumResponse)
			if resp.ErrorCode != 0 || len(resp.Topics) != len(req.Topics) || len(resp.Nodes) != 0 {
				t.Fatalf("%+v: %+v", req.Topics, resp)
			}
			for i := range resp.Topics {
				if len(resp.Topics[i].Partitions) != len(req.Topics[i].Partitions) {
					t.Fatalf("%+v: %+v", req.Topics, resp)
				}
				for _, p := range resp.Topics[i].Partitions {
					if kafka.Code(p.ErrorCode) != kafka.UnknownTopicOrPartition || *p.ErrorMessage != notHosted {
						t.Errorf("%+v: %+v", req.Topics, p)
					}
				}
			}
		}
		none := kmsg.NewPtrDescribeQuorumRequest()
		none.Version = 2
		if resp := c.do(none).(*kmsg.DescribeQuorumResponse); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
			t.Errorf("of nothing: %+v", resp)
		}
	})
}

// A node that does not lead says so for the partition; one that does not answer
// in time is an error of the request.
func TestDescribeQuorumWithoutALeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		n.api.d.Quorum = func(context.Context) (metalog.Quorum, error) { return metalog.Quorum{}, kafka.NotLeaderForPartition }
		resp := c.do(describeQuorum(2, "__cluster_metadata", 0)).(*kmsg.DescribeQuorumResponse)
		if resp.ErrorCode != 0 || kafka.Code(resp.Topics[0].Partitions[0].ErrorCode) != kafka.NotLeaderForPartition {
			t.Errorf("%+v", resp)
		}
		n.api.d.Quorum = func(context.Context) (metalog.Quorum, error) { return metalog.Quorum{}, context.DeadlineExceeded }
		resp = c.do(describeQuorum(2, "__cluster_metadata", 0)).(*kmsg.DescribeQuorumResponse)
		if kafka.Code(resp.ErrorCode) != kafka.RequestTimedOut {
			t.Errorf("%+v", resp)
		}
	})
}
