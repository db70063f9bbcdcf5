// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// 63: ElectLeaders without a list means all partitions, and then tells only of
// those that needed an election; with one it tells of each. Whoever sees the
// answer sees the leader.
func TestPoint63ElectLeaders(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("a", 2)
		n.topic("b", 1)
		leaderless := func() {
			change := metarec.NewPartitionChange()
			change.TopicID, change.PartitionID, change.Leader = id, 1, kafka.NoNode
			n.mu.Lock()
			n.publish([]metarec.Record{change})
			n.mu.Unlock()
		}
		c := n.dial()
		for v := int16(0); v <= 2; v++ {
			leaderless()
			req := kmsg.NewPtrElectLeadersRequest()
			req.Version, req.TimeoutMillis = v, 5000
			resp := c.do(req).(*kmsg.ElectLeadersResponse)
			if resp.ErrorCode != 0 || len(resp.Topics) != 2 || len(resp.Topics[0].Partitions) != 1 || len(resp.Topics[1].Partitions) != 0 {
				t.Fatalf("v%d for all: %+v", v, resp)
			}
			if p := resp.Topics[0].Partitions[0]; p.Partition != 1 || p.ErrorCode != 0 {
				t.Errorf("v%d for all: %+v", v, p)
			}
			if p := c.produce(9, "a", kafka.TopicID{}, 1, -1, records("x")); p.ErrorCode != 0 {
				t.Errorf("v%d: produce right after: %v", v, kafka.Code(p.ErrorCode))
			}
			req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "a", Partitions: []int32{1, 9}}, {Topic: "nowhere", Partitions: []int32{0}}}
			resp = c.do(req).(*kmsg.ElectLeadersResponse)
			wants := []kafka.Code{kafka.ElectionNotNeeded, kafka.UnknownTopicOrPartition, kafka.UnknownTopicOrPartition}
			if len(resp.Topics) != 2 {
				t.Fatalf("v%d: %+v", v, resp)
			}
			for i, p := range append(resp.Topics[0].Partitions, resp.Topics[1].Partitions...) {
				if kafka.Code(p.ErrorCode) != wants[i] || p.ErrorMessage == nil {
					t.Errorf("v%d %d: %v, want %v", v, i, kafka.Code(p.ErrorCode), wants[i])
				}
			}
		}
	})
}

func TestUpdateFeatures(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		n.mu.Lock()
		n.publish([]metarec.Record{&metarec.FeatureLevel{Name: "group.version", Level: 1}}) // a log from elsewhere
		n.mu.Unlock()
		ask := func(v int16, feature string, level int16, how int8, dry bool) *kmsg.UpdateFeaturesResponse {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.Version, req.ValidateOnly = v, dry
			u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
			u.Feature, u.MaxVersionLevel, u.UpgradeType = feature, level, how
			req.FeatureUpdates = append(req.FeatureUpdates, u)
			return c.do(req).(*kmsg.UpdateFeaturesResponse)
		}
		for v := int16(0); v <= 2; v++ {
			if r := ask(v, "nope", 1, 1, false); kafka.Code(r.ErrorCode) != kafka.InvalidUpdateVersion || r.ErrorMessage == nil || len(r.Results) != 0 {
				t.Errorf("v%d: %+v", v, r)
			}
			r := ask(v, "kraft.version", 1, 1, false)
			if told := len(r.Results) == 1; r.ErrorCode != 0 || told != (v <= 1) {
				t.Errorf("v%d: %+v", v, r)
			}
		}
		if r := ask(2, "group.version", 0, 2, true); r.ErrorCode != 0 || n.images.Load().FeatureLevel("group.version") != 1 {
			t.Errorf("looking only: %+v", r)
		}
		if r := ask(2, "group.version", 0, 2, false); r.ErrorCode != 0 || n.images.Load().FeatureLevel("group.version") != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestUnregisterBroker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		other := metarec.NewRegisterBroker()
		other.BrokerID, other.Fenced = 7, true
		n.mu.Lock()
		n.publish([]metarec.Record{other})
		n.mu.Unlock()
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = 7
		c := n.dial()
		if r := c.do(req).(*kmsg.UnregisterBrokerResponse); r.ErrorCode != 0 || n.images.Load().Broker(7) != nil {
			t.Errorf("%+v", r)
		}
		r := c.do(req).(*kmsg.UnregisterBrokerResponse)
		if kafka.Code(r.ErrorCode) != kafka.BrokerIDNotRegistered || *r.ErrorMessage != "Broker ID 7 is not currently registered" {
			t.Errorf("once more: %+v", r)
		}
	})
}

func TestListPartitionReassignments(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("a", 2)
		c := n.dial()
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		if r := c.do(req).(*kmsg.ListPartitionReassignmentsResponse); r.ErrorCode != 0 || r.ErrorMessage != nil || len(r.Topics) != 0 {
			t.Errorf("nothing is under way: %+v", r)
		}
		change := metarec.NewPartitionChange()
		change.TopicID, change.PartitionID, change.Replicas, change.AddingReplicas = id, 1, []kafka.NodeID{self, 2}, []kafka.NodeID{2}
		n.mu.Lock()
		n.publish([]metarec.Record{change})
		n.mu.Unlock()
		r := c.do(req).(*kmsg.ListPartitionReassignmentsResponse)
		if len(r.Topics) != 1 || r.Topics[0].Topic != "a" || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Partitions[0].AddingReplicas[0] != 2 {
			t.Errorf("%+v", r)
		}
	})
}

const here = int32(self)

func reassigning(version int16, topic string, partition int32, replicas ...int32) *kmsg.AlterPartitionAssignmentsRequest { // none: null
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version, req.TimeoutMillis = version, 5000
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}}}}
	return req
}

// Whoever sees that a reassignment was carried out or given up sees its replicas.
func TestAlterPartitionReassignments(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("a", 2)
		c := n.dial()
		elsewhere := func(p kafka.PartitionID, adding ...kafka.NodeID) {
			change := metarec.NewPartitionChange()
			change.TopicID, change.PartitionID, change.Replicas, change.AddingReplicas = id, p, []kafka.NodeID{self, 2}, adding
			n.mu.Lock()
			n.publish([]metarec.Record{change})
			n.mu.Unlock()
		}
		for v := int16(0); v <= 1; v++ {
			for i, tc := range []struct {
				req  *kmsg.AlterPartitionAssignmentsRequest
				want kafka.Code
			}{
				{reassigning(v, "a", 1, here), kafka.None},
				{reassigning(v, "a", 1), kafka.NoReassignmentInProgress},
				{reassigning(v, "a", 1, []int32{}...), kafka.InvalidReplicaAssignment},
				{reassigning(v, "a", 1, 7), kafka.InvalidReplicaAssignment},
				{reassigning(v, "a", 1, here, here), kafka.InvalidReplicaAssignment},
				{reassigning(v, "a", 2, here), kafka.UnknownTopicOrPartition},
				{reassigning(v, "nowhere", 0, here), kafka.UnknownTopicOrPartition},
			} {
				r := c.do(tc.req).(*kmsg.AlterPartitionAssignmentsResponse)
				if r.ErrorCode != 0 || !r.AllowReplicationFactorChange || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
					t.Fatalf("v%d %d: %+v", v, i, r)
				}
				p := r.Topics[0].Partitions[0]
				if kafka.Code(p.ErrorCode) != tc.want || (p.ErrorMessage != nil) != (p.ErrorCode != 0 && tc.want != kafka.NoReassignmentInProgress) {
					t.Errorf("v%d %d: %v, want %v", v, i, kafka.Code(p.ErrorCode), tc.want)
				}
			}
			elsewhere(0, 2)
			elsewhere(1)
			for _, req := range []*kmsg.AlterPartitionAssignmentsRequest{reassigning(v, "a", 0), reassigning(v, "a", 1, here)} {
				at := kafka.PartitionID(req.Topics[0].Partitions[0].Partition)
				if p := c.do(req).(*kmsg.AlterPartitionAssignmentsResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
					t.Fatalf("v%d, partition %d: %v %s", v, at, kafka.Code(p.ErrorCode), *p.ErrorMessage)
				}
				if p := n.images.Load().Topic("a").Partition(at); p.Reassigning() || len(p.Replicas) != 1 || p.Replicas[0] != self {
					t.Errorf("v%d: partition %d has %v right after", v, at, p.Replicas)
				}
			}
		}
	})
}

// A controller that cannot be reached is told of where each API has a place for
// it.
func TestControllerAPIsWithoutAController(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.frozen = true
		c := n.dial()
		features := kmsg.NewPtrUpdateFeaturesRequest()
		election := kmsg.NewPtrElectLeadersRequest()
		election.Version = 2
		election.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "a", Partitions: []int32{3}}}
		if r := c.do(features).(*kmsg.UpdateFeaturesResponse); kafka.Code(r.ErrorCode) != kafka.NotController {
			t.Errorf("%+v", r)
		}
		if r := c.do(election).(*kmsg.ElectLeadersResponse); kafka.Code(r.ErrorCode) != kafka.NotController ||
			kafka.Code(r.Topics[0].Partitions[0].ErrorCode) != kafka.NotController {
			t.Errorf("%+v", r)
		}
		for v := int16(0); v <= 1; v++ {
			r := c.do(reassigning(v, "a", 3, here)).(*kmsg.AlterPartitionAssignmentsResponse)
			if kafka.Code(r.ErrorCode) != kafka.NotController || r.ErrorMessage == nil || len(r.Topics) != 1 || r.Topics[0].Partitions[0].Partition != 3 ||
				kafka.Code(r.Topics[0].Partitions[0].ErrorCode) != kafka.NotController {
				t.Errorf("v%d: %+v", v, r)
			}
		}
		if r := c.do(kmsg.NewPtrUnregisterBrokerRequest()).(*kmsg.UnregisterBrokerResponse); kafka.Code(r.ErrorCode) != kafka.NotController {
			t.Errorf("%+v", r)
		}
		if r := c.do(kmsg.NewPtrListPartitionReassignmentsRequest()).(*kmsg.ListPartitionReassignmentsResponse); kafka.Code(r.ErrorCode) != kafka.NotController {
			t.Errorf("%+v", r)
		}
	})
}
