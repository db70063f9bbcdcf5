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
		{"a member has what it does not read any more", func(w *world) {
			req := joinRequest(9, "g", "") // who comes back under its instance id keeps what it had
			req.InstanceID, req.ProtocolType = kmsg.StringPtr("j"), protocolTypeConsumer
			req.Protocols = protocols("range", subscription("nowhere"))
			w.join(req)
		}, 2, 3},
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
				for id, m := range g.members {
					for _, topic := range g.targets[id] {
						if name, _ := w.g.topics.TopicName(topic.ID); !slices.Contains(m.names, name) {
							t.Errorf("%s: %s reads %v, its target is %v", by, id, m.names, g.targets[id])
						}
					}
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

// Between a change and the assignment that follows it, members may come that read
// something else than all the others, and that count as no change of their own.
// None of them is given what it does not read.
func TestNobodyIsGivenWhatItDoesNotRead(t *testing.T) {
	for _, c := range []struct {
		name string
		req  func(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest
	}{
		{"nothing, the first by name", func(int32) *kmsg.ConsumerGroupHeartbeatRequest { return beat("a", 0, []string{}...) }},
		{"nothing, the last by name", func(int32) *kmsg.ConsumerGroupHeartbeatRequest { return beat("z", 0, []string{}...) }},
		{"a regex that matches nothing", func(int32) *kmsg.ConsumerGroupHeartbeatRequest { return joinWith("g", "z", "nowhere") }},
		{"a regex that has not been matched yet", func(int32) *kmsg.ConsumerGroupHeartbeatRequest { return joinWith("g", "z", "u") }},
	} {
		for _, assignor := range []string{"uniform", "range"} {
			w := newWorld(t, func(o *Options) { o.ConsumerAssignors = []string{assignor} })
			w.beat(beat("m", 0, "t"), kafka.None)
			w.beat(beat("n", 0, "t"), kafka.None)
			w.beat(beat("n", epochLeave), kafka.None)
			req := c.req(0)
			if req.SubscribedTopicNames == nil {
				req.SubscribedTopicNames = []string{}
			}
			w.beat(req, kafka.None)
			g := w.g.groups["g"].(*consumerGroup)
			if g.epoch != g.assignmentEpoch {
				t.Fatalf("%s, %s: assigned %d of %d", c.name, assignor, g.assignmentEpoch, g.epoch)
			}
			if got := g.targets["m"]; len(got) != 1 || len(got[0].Partitions) != 3 || len(g.targets[req.MemberID]) != 0 {
				t.Errorf("%s, %s: targets are %v", c.name, assignor, g.targets)
			}
		}
	}
}

// A member that changes its regex reads nothing by it until it has been matched.
func TestNobodyIsGivenWhatItsFormerRegexMatched(t *testing.T) {
	w := newWorld(t, nil)
	w.slow = func() bool { return false }
	for _, member := range []string{"m", "n", "o"} {
		w.beat(joinWith("g", member, "t"), kafka.None)
	}
	w.until(w.nowMs+20_000, nil)
	epoch := w.beat(beat("m", w.g.groups["g"].(*consumerGroup).members["m"].epoch), kafka.None).MemberEpoch
	w.beat(beat("o", epochLeave), kafka.None)
	req := beat("m", epoch)
	other := "u"
	req.SubscribedTopicRegex = &other
	w.beat(req, kafka.None)
	g := w.g.groups["g"].(*consumerGroup)
	if got := g.targets["n"]; g.epoch != g.assignmentEpoch || len(got) != 1 || len(got[0].Partitions) != 3 || len(g.targets["m"]) != 0 {
		t.Errorf("epoch %d of %d, targets are %v", g.assignmentEpoch, g.epoch, g.targets)
	}
}

// A group that is left to members of the classic protocol and stays of the new
// one: their heartbeats make no target, so they are told to join when one is due.
func TestClassicMembersAloneAreToldToJoin(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy Migration
		event  func(w *world)
		want   kafka.Code
		owned  int
	}{
		{"nothing has changed", MigrateUpgrade, func(w *world) {}, kafka.None, 3},
		{"a topic of nobody's has grown", MigrateUpgrade, func(w *world) { w.setTopics(topicSet{"t": 3, "u": 9}, nil) }, kafka.None, 3},
		{"the topic has grown", MigrateUpgrade, func(w *world) { w.setTopics(topicSet{"t": 5, "u": 2}, nil) }, kafka.RebalanceInProgress, 5},
		{"the topic has grown, and the coordinator moved", MigrateUpgrade, func(w *world) {
			w.setTopics(topicSet{"t": 5, "u": 2}, nil)
			w.reload()
		}, kafka.RebalanceInProgress, 5},
		{"they may not join", MigrateDisabled, func(w *world) { w.setTopics(topicSet{"t": 5, "u": 2}, nil) }, kafka.None, 3},
	} {
		w := newWorld(t, func(o *Options) { o.ConsumerMigration = MigrateUpgrade })
		id := w.member("g")
		w.beat(beat("new", 0, "t"), kafka.None)
		heartbeat := func(epoch int32) kafka.Code {
			req := kmsg.NewPtrHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.Generation = 4, "g", id, epoch
			return kafka.Code(ask[*kmsg.HeartbeatResponse](w, req).ErrorCode)
		}
		rejoin := func() int32 {
			joined := ask[*kmsg.JoinGroupResponse](w, joinRequest(9, "g", id))
			if joined.ErrorCode != 0 {
				t.Fatalf("%s: join: %v", c.name, kafka.Code(joined.ErrorCode))
			}
			return joined.Generation
		}
		epoch := rejoin()
		w.beat(beat("new", epochLeave), kafka.None)
		if got := heartbeat(epoch); got != kafka.RebalanceInProgress {
			t.Fatalf("%s: the other has left: %v", c.name, got)
		}
		epoch = rejoin()
		w.g.options.ConsumerMigration, w.options.ConsumerMigration = c.policy, c.policy
		c.event(w)
		if got := heartbeat(epoch); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		} else if got != kafka.None {
			epoch = rejoin()
		}
		if got := heartbeat(epoch); got != kafka.None {
			t.Errorf("%s: at rest: %v", c.name, got)
		}
		if g := w.g.groups["g"].(*consumerGroup); len(targeted(g)) != c.owned || len(g.partitionEpochs) != c.owned {
			t.Errorf("%s\n%s", c.name, w.consumerState(g))
		}
	}
}

// When the last member of the new protocol, a static one, comes back with the
// classic one, no client knows that it leads the group, and what its members have
// may be less than what they shall have. A rebalance mends both.
func TestDowngradeByAStaticMemberRebalances(t *testing.T) {
	w := newWorld(t, nil)
	ids := classicStable(w, []int32{0, 1}, []int32{2})
	up := beat("new", 0, "t")
	up.InstanceID = kmsg.StringPtr("i")
	w.beat(up, kafka.None)
	w.beat(func() *kmsg.ConsumerGroupHeartbeatRequest {
		req := beat("new", epochStaticLeave)
		req.InstanceID = up.InstanceID
		return req
	}(), kafka.None)
	back := joinRequest(9, "g", "")
	back.InstanceID = up.InstanceID
	joined := ask[*kmsg.JoinGroupResponse](w, back)
	c, ok := w.g.groups["g"].(*classicGroup)
	if !ok || joined.ErrorCode != 0 || c.state != statePreparingRebalance {
		t.Fatalf("%v\n%s", kafka.Code(joined.ErrorCode), w.state("g"))
	}
	for i, id := range []string{joined.MemberID, ids[1]} {
		req := joinRequest(9, "g", id)
		req.InstanceID = kmsg.StringPtr(instanceOf(i))
		w.join(req)
	}
	if c.state != stateCompletingRebalance || c.leader == nil {
		t.Errorf("%s", w.state("g"))
	}
}

// That rebalance outlives a failover.
func TestDowngradedGroupRebalancesAfterAFailover(t *testing.T) {
	w := newWorld(t, nil)
	id := w.member("g")
	w.beat(beat("new", 0, "t"), kafka.None)
	w.beat(beat("new", epochLeave), kafka.None)
	for range 2 {
		w.reload()
		c, ok := w.g.groups["g"].(*classicGroup)
		if !ok || c.state != statePreparingRebalance {
			t.Fatalf("%s", w.state("g"))
		}
	}
	w.join(joinRequest(9, "g", id))
	c := w.g.groups["g"].(*classicGroup)
	if code := ask[*kmsg.SyncGroupResponse](w, syncRequest("g", id, c.generation)).ErrorCode; code != 0 || c.state != stateStable {
		t.Fatalf("%v\n%s", kafka.Code(code), w.state("g"))
	}
	w.reload()
	if c := w.g.groups["g"].(*classicGroup); c.state != stateStable || c.leaderName() != id {
		t.Errorf("%s", w.state("g"))
	}
}
