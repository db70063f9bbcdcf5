// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// classicStable makes a stable classic group of static members, one for each
// list of partitions of t. All of them read t. It gives their ids.
func classicStable(w *world, assigned ...[]int32) (ids []string) {
	w.t.Helper()
	for i := range assigned {
		req := joinRequest(9, "g", "")
		req.InstanceID, req.ProtocolType = kmsg.StringPtr(instanceOf(i)), protocolTypeConsumer
		req.Protocols = protocols("range", subscription("t"))
		w.join(req)
	}
	w.until(w.nowMs+6_000, nil)
	c := w.g.groups["g"].(*classicGroup)
	for i := range assigned {
		ids = append(ids, c.static[instanceOf(i)])
	}
	req := syncRequest("g", c.leaderName(), c.generation)
	req.InstanceID = c.byID[c.leaderName()].instance
	for i, partitions := range assigned {
		a := kmsg.NewConsumerMemberAssignment()
		if len(partitions) != 0 {
			a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "t", Partitions: partitions}}
		}
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: ids[i], MemberAssignment: a.AppendTo(nil)})
	}
	if code := ask[*kmsg.SyncGroupResponse](w, req).ErrorCode; code != 0 {
		w.t.Fatalf("sync: %v", kafka.Code(code))
	}
	return ids
}

func instanceOf(i int) string { return string(rune('i' + i)) }

// A classic group comes to the new protocol with an assignment that one of its
// clients made, of the topics as that client saw them. Nobody watches those
// topics any more: the clients think that the coordinator does, and to it they
// are what they were. So a group that is not as it should be is assigned anew
// when it comes, even if the member with which it comes changes nothing.
func TestUpgradeOfAGroupThatIsNotWhole(t *testing.T) {
	for _, c := range []struct {
		name  string
		event func(w *world)
		epoch int32
		want  int // partitions that members have a target for
	}{
		{"whole", func(*world) {}, 1, 3},
		{"a topic of nobody's has grown", func(w *world) { w.setTopics(topicSet{"t": 3, "u": 5}, nil) }, 1, 3},
		{"the topic has grown", func(w *world) { w.setTopics(topicSet{"t": 4, "u": 2}, nil) }, 2, 4},
		{"the topic is another one", func(w *world) {
			w.setTopics(topicSet{"u": 2}, []DeletedTopic{{Name: "t", ID: topicID("t")}})
			w.lives = map[string]byte{"t": 1}
			w.setTopics(topicSet{"t": 3, "u": 2}, nil)
		}, 1, 3}, // the classic protocol knows topics by name
		{"the topic has been deleted", func(w *world) {
			w.setTopics(topicSet{"u": 2}, []DeletedTopic{{Name: "t", ID: topicID("t")}})
		}, 1, 0},
		{"a member has come and waits for the others", func(w *world) {
			req := joinRequest(9, "g", "")
			req.InstanceID, req.ProtocolType = kmsg.StringPtr("new"), protocolTypeConsumer
			req.Protocols = protocols("range", subscription("u"))
			w.join(req)
		}, 2, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			nothing, same := beat("new", 0), beat("new", 0, "t")
			nothing.SubscribedTopicNames, same.InstanceID = []string{}, kmsg.StringPtr("i")
			for by, req := range map[string]*kmsg.ConsumerGroupHeartbeatRequest{"a member that reads nothing": nothing, "a static member that is what it was": same} {
				w := newWorld(t, nil)
				classicStable(w, []int32{0, 1}, []int32{2})
				c.event(w)
				w.beat(req, kafka.None)
				g := w.g.groups["g"].(*consumerGroup)
				if g.epoch != c.epoch || g.assignmentEpoch != c.epoch {
					t.Errorf("%s: epoch %d assigned %d, want %d", by, g.epoch, g.assignmentEpoch, c.epoch)
				}
				if got := targeted(g); len(got) != c.want {
					t.Errorf("%s: targets are %v", by, got)
				}
			}
		})
	}
}

// targeted are the partitions that some member shall have.
func targeted(c *consumerGroup) []kafka.TopicIDPartition {
	all := map[kafka.TopicIDPartition]bool{}
	for _, a := range c.targets {
		for _, topic := range a {
			for _, p := range topic.Partitions {
				all[kafka.TopicIDPartition{TopicID: topic.ID, Partition: p}] = true
			}
		}
	}
	return slices.Collect(maps.Keys(all))
}
