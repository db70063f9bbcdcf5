// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
	"gregor/coordinator/shard"
)

func joiningConsumer(groupID, member string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := beatingConsumer(groupID, member, 0)
	req.RebalanceTimeoutMillis = 60_000
	req.SubscribedTopicNames, req.Topics = []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

func beatingConsumer(groupID, member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, groupID, member, epoch
	return req
}

// Heartbeats use one another's memory. Whether one is answered at once, waits for
// the high watermark, or is refused, each gets its own answer, and none is taken
// to say what another one has said.
func TestHeartbeatsOfManyMembers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.publish([]metarec.Record{&metarec.FeatureLevel{Name: "group.version", Level: 1}})
		n.topic("t", 5)
		n.coordinated(t)
		log := n.groups.log(shard.PartitionOf("g", 50))
		elsewhere := "h"
		for shard.PartitionOf(elsewhere, 50) == shard.PartitionOf("g", 50) {
			elsewhere += "h"
		}
		stranger := n.dial()
		members := make([]*client, 5)
		beats := make([]*kmsg.ConsumerGroupHeartbeatRequest, len(members))
		for i := range members {
			members[i], beats[i] = n.dial(), joiningConsumer("g", fmt.Sprintf("member-%d", i))
		}
		for round := range 12 {
			log.Hold(round%3 == 0)
			sent := make([]int32, len(members))
			for i, c := range members {
				sent[i] = c.send(beats[i])
				refused := stranger.do(beatingConsumer(elsewhere, "nobody", 7)).(*kmsg.ConsumerGroupHeartbeatResponse)
				if kafka.Code(refused.ErrorCode) != kafka.GroupIDNotFound || refused.MemberID != nil || refused.Assignment != nil {
					t.Fatalf("round %d: a stranger is told %+v", round, refused)
				}
			}
			time.AfterFunc(time.Second, func() { log.Hold(false) })
			for i, c := range members {
				resp := c.receive(beats[i], sent[i]).(*kmsg.ConsumerGroupHeartbeatResponse)
				if resp.ErrorCode != 0 || resp.MemberID == nil || *resp.MemberID != beats[i].MemberID {
					t.Fatalf("round %d: %s is told %+v", round, beats[i].MemberID, resp)
				}
				next := beatingConsumer("g", beats[i].MemberID, resp.MemberEpoch)
				if resp.Assignment != nil {
					next.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
					for _, topic := range resp.Assignment.Topics {
						next.Topics = append(next.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topic.TopicID, Partitions: topic.Partitions})
					}
				}
				beats[i] = next
			}
			time.Sleep(5 * time.Second)
		}
		described := kmsg.NewPtrConsumerGroupDescribeRequest()
		described.Version, described.Groups = 1, []string{"g"}
		g := stranger.do(described).(*kmsg.ConsumerGroupDescribeResponse).Groups[0]
		if g.State != "Stable" || len(g.Members) != len(members) {
			t.Fatalf("the group is %s with %d members", g.State, len(g.Members))
		}
		owned := map[int32]bool{}
		for _, m := range g.Members {
			for _, topic := range m.Assignment.TopicPartitions {
				for _, p := range topic.Partitions {
					if owned[p] {
						t.Errorf("partition %d has two owners", p)
					}
					owned[p] = true
				}
			}
		}
		if len(owned) != 5 {
			t.Errorf("%d of 5 partitions have an owner", len(owned))
		}
	})
}

// A group without a name has no coordinator; the words are those that one would
// have had, and members with a name of spaces hear them from it.
func TestHeartbeatWithoutAGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.publish([]metarec.Record{&metarec.FeatureLevel{Name: "group.version", Level: 1}})
		n.topic("t", 1)
		n.coordinated(t)
		c := n.dial()
		for _, wrong := range []struct {
			version       int16
			group, member string
			epoch         int32
			want          string
		}{
			{0, "", "", 0, "GroupId can't be empty."},
			{0, " ", "", 0, "GroupId can't be empty."},
			{0, "", "", 1, "MemberId can't be empty."},
			{1, "", "m", 0, "GroupId can't be empty."},
			{1, " ", "m", -1, "GroupId can't be empty."},
			{1, "", "", 0, "MemberId can't be empty."},
		} {
			req := joiningConsumer(wrong.group, wrong.member)
			req.Version, req.MemberEpoch = wrong.version, wrong.epoch
			resp := c.do(req).(*kmsg.ConsumerGroupHeartbeatResponse)
			if kafka.Code(resp.ErrorCode) != kafka.InvalidRequest || resp.ErrorMessage == nil || *resp.ErrorMessage != wrong.want {
				t.Errorf("%+v: %+v", wrong, resp)
			}
		}
	})
}
