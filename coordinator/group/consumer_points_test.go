// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// beat makes a heartbeat of the new protocol; of epoch 0 it joins.
func beat(member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, "g", member, epoch, -1
	req.SubscribedTopicNames = topics
	if epoch == epochJoin {
		req.RebalanceTimeoutMillis, req.Topics = 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

func owning(req *kmsg.ConsumerGroupHeartbeatRequest, partitions ...int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: topicID("t"), Partitions: partitions}}
	if len(partitions) == 0 {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

func (w *world) beat(req *kmsg.ConsumerGroupHeartbeatRequest, want kafka.Code) *kmsg.ConsumerGroupHeartbeatResponse {
	w.t.Helper()
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](w, req)
	if code := kafka.Code(resp.ErrorCode); code != want {
		w.t.Fatalf("%s at %d: %v, want %v", req.MemberID, req.MemberEpoch, code, want)
	}
	return resp
}

func assignedOf(resp *kmsg.ConsumerGroupHeartbeatResponse) []int32 {
	if resp.Assignment == nil || len(resp.Assignment.Topics) == 0 {
		return nil
	}
	return resp.Assignment.Topics[0].Partitions
}

// 45: what the first heartbeat must say.
func TestPoint45JoinSaysEverything(t *testing.T) {
	w := newWorld(t, nil)
	for name, spoil := range map[string]func(*kmsg.ConsumerGroupHeartbeatRequest){
		"no rebalance timeout": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 },
		"no subscription":      func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil },
		"null partitions":      func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil },
		"owned partitions":     func(r *kmsg.ConsumerGroupHeartbeatRequest) { owning(r, 0) },
		"no member id in v1":   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" },
	} {
		req := beat("a", 0, "t")
		if spoil(req); ask[*kmsg.ConsumerGroupHeartbeatResponse](w, req).ErrorCode != int16(kafka.InvalidRequest) {
			t.Errorf("%s: was taken", name)
		}
	}
	if len(w.log) != 0 {
		t.Errorf("%d records", len(w.log))
	}
	v0 := beat("", 0, "t")
	v0.Version = 0
	if resp := w.beat(v0, kafka.None); resp.MemberID == nil || len(*resp.MemberID) != 22 {
		t.Errorf("member id %v", resp.MemberID)
	}
}

// 45: one epoch behind is a lost answer, if what the member owns is still its own.
func TestPoint45OneEpochBehind(t *testing.T) {
	w := newWorld(t, nil)
	w.beat(beat("a", 0, "t"), kafka.None)
	w.beat(beat("b", 0, "t"), kafka.None)
	if got := assignedOf(w.beat(beat("a", 2), kafka.None)); !slices.Equal(got, []int32{0, 1}) {
		t.Fatalf("a keeps %v", got)
	}
	w.beat(owning(beat("a", 2), 0, 1), kafka.None) // gives up 2, and comes to epoch 3
	w.beat(owning(beat("a", 2), 0, 1), kafka.None) // has not heard that it has
	w.beat(owning(beat("a", 2), 0, 1, 2), kafka.FencedMemberEpoch)
	w.beat(beat("a", 2), kafka.FencedMemberEpoch)
	w.beat(owning(beat("a", 1), 0), kafka.FencedMemberEpoch)
	w.beat(beat("a", 4), kafka.FencedMemberEpoch)
}

// 45: who has something to give up stays where it is until it has, whatever the
// group does meanwhile; and nobody gets it before.
func TestPoint45UnrevokedMemberIsFrozen(t *testing.T) {
	w := newWorld(t, nil)
	w.beat(beat("a", 0, "t"), kafka.None)
	w.beat(beat("b", 0, "t"), kafka.None)
	w.beat(beat("a", 2), kafka.None)
	w.beat(beat("c", 0, "t"), kafka.None)
	epoch := int32(3)
	for range 3 {
		if resp := w.beat(owning(beat("a", 2), 0, 1, 2), kafka.None); resp.MemberEpoch != 2 {
			t.Fatalf("a is at %d", resp.MemberEpoch)
		}
		resp := w.beat(beat("b", epoch), kafka.None)
		if epoch = resp.MemberEpoch; len(assignedOf(resp)) != 0 {
			t.Fatalf("b has %v", assignedOf(resp))
		}
		w.nowMs += 1000
	}
	// Its own revocations are done: it goes on, to the next ones.
	if resp := w.beat(owning(beat("a", 2), 0, 1), kafka.None); resp.MemberEpoch != 2 || !slices.Equal(assignedOf(resp), []int32{0}) {
		t.Fatalf("a is at %d with %v", resp.MemberEpoch, assignedOf(resp))
	}
	if resp := w.beat(owning(beat("a", 2), 0), kafka.None); resp.MemberEpoch != 4 {
		t.Fatalf("a is at %d", resp.MemberEpoch)
	}
}

// 45: subscriptions are sets; keep-alives with null fields change nothing.
func TestPoint45KeepAlives(t *testing.T) {
	w := newWorld(t, nil)
	join := beat("a", 0, "t", "u")
	join.RackID, join.ServerAssignor = kmsg.StringPtr("r"), kmsg.StringPtr("range")
	w.beat(join, kafka.None)
	before := consumerSnapshot(w.g.groups["g"].(*consumerGroup))
	w.beat(beat("a", 2), kafka.None)
	w.beat(beat("a", 2, "u", "t"), kafka.None)
	w.beat(beat("a", 2, "t", "u", "t"), kafka.None)
	if after := consumerSnapshot(w.g.groups["g"].(*consumerGroup)); before != after {
		t.Errorf("from %s\nto %s", before, after)
	}
}

// 45: a static member that goes for a while (-2) finds its partitions again.
func TestPoint45StaticLeave(t *testing.T) {
	w := newWorld(t, nil)
	static := func(member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
		req := beat(member, epoch, topics...)
		req.InstanceID = kmsg.StringPtr("i")
		return req
	}
	w.beat(static("a", 0, "t"), kafka.None)
	w.beat(static("a2", 0, "t"), kafka.UnreleasedInstanceID)
	w.beat(static("a", -2), kafka.None)
	w.beat(beat("b", 0, "t"), kafka.None)
	if got := assignedOf(w.beat(static("a2", 0, "t"), kafka.None)); !slices.Equal(got, []int32{0, 1}) {
		t.Errorf("comes back to %v", got)
	}
	w.beat(static("a", 2), kafka.FencedInstanceID)
}

// 45: a commit counts if the member has had the partition since that epoch (KIP-1251).
func TestPoint45CommitsByAssignmentEpoch(t *testing.T) {
	w := newWorld(t, nil)
	w.beat(beat("a", 0, "t"), kafka.None)
	w.beat(beat("b", 0, "t"), kafka.None)
	w.beat(beat("a", 2), kafka.None)
	w.beat(owning(beat("a", 2), 0, 1), kafka.None)
	w.beat(beat("b", 3), kafka.None)
	commit := func(member string, epoch, partition int32) kafka.Code {
		req := commitRequest(9, "g", member, epoch, 7, "")
		req.Topics[0].Partitions[0].Partition = partition
		return kafka.Code(ask[*kmsg.OffsetCommitResponse](w, req).Topics[0].Partitions[0].ErrorCode)
	}
	for _, c := range []struct {
		member           string
		epoch, partition int32
		want             kafka.Code
	}{
		{"a", 3, 0, kafka.None},
		{"a", 2, 0, kafka.None}, // it has had it since 2
		{"a", 2, 2, kafka.StaleMemberEpoch},
		{"a", 1, 0, kafka.StaleMemberEpoch},
		{"a", 4, 0, kafka.StaleMemberEpoch},
		{"b", 2, 2, kafka.StaleMemberEpoch}, // it got it at 3
		{"b", 3, 2, kafka.None},
		{"nobody", 3, 0, kafka.UnknownMemberID},
		{"", -1, 0, kafka.UnknownMemberID},
	} {
		if got := commit(c.member, c.epoch, c.partition); got != c.want {
			t.Errorf("%q at %d of t-%d: %v, want %v", c.member, c.epoch, c.partition, got, c.want)
		}
	}
	old := commitRequest(8, "g", "a", 3, 7, "")
	if got := kafka.Code(ask[*kmsg.OffsetCommitResponse](w, old).Topics[0].Partitions[0].ErrorCode); got != kafka.UnsupportedVersion {
		t.Errorf("version 8: %v", got)
	}
}

// 46: regexes are RE2, match whole names, and are resolved by the coordinator.
func TestPoint46Regex(t *testing.T) {
	w := newWorld(t, nil)
	w.setTopics(topicSet{"t": 3, "tt": 1, "u": 1}, nil)
	join := beat("a", 0)
	for _, bad := range []string{"(", "*", "a(?=b)", `\1`} {
		join.SubscribedTopicRegex = &bad
		w.beat(join, kafka.InvalidRegularExpression)
	}
	good := "t|x"
	join.SubscribedTopicRegex = &good
	epoch := w.beat(join, kafka.None).MemberEpoch
	w.until(w.nowMs, nil)
	if got := assignedOf(w.beat(beat("a", epoch), kafka.None)); !slices.Equal(got, []int32{0, 1, 2}) {
		t.Errorf("assigned %v", got)
	}
	if names := sortedKeys(w.g.groups["g"].(*consumerGroup).names); !slices.Equal(names, []string{"t"}) {
		t.Errorf("subscribed to %v", names)
	}
}

// 46: policies of migration.
func TestPoint46MigrationPolicy(t *testing.T) {
	for _, c := range []struct {
		policy        Migration
		upgrade, join kafka.Code
		downgrades    bool
	}{
		{MigrateBothWays, kafka.None, kafka.None, true},
		{MigrateUpgrade, kafka.None, kafka.None, false},
		{MigrateDowngrade, kafka.GroupIDNotFound, kafka.None, true},
		{MigrateDisabled, kafka.GroupIDNotFound, kafka.InconsistentGroupProtocol, false},
	} {
		w := newWorld(t, func(o *Options) { o.ConsumerMigration = c.policy })
		w.member("g")
		w.beat(beat("new", 0, "t"), c.upgrade)
		h := beat("new", 0, "t")
		h.Group = "h"
		w.beat(h, kafka.None)
		if got := kafka.Code(ask[*kmsg.JoinGroupResponse](w, joinRequest(3, "h", "")).ErrorCode); got != c.join {
			t.Errorf("policy %d: a classic member gets %v, want %v", c.policy, got, c.join)
		}
		if c.join != kafka.None {
			continue
		}
		h = beat("new", -1)
		h.Group = "h"
		w.beat(h, kafka.None)
		if got := w.g.groups["h"].kind() == Classic; got != c.downgrades {
			t.Errorf("policy %d: the group is %s", c.policy, w.g.groups["h"].kind())
		}
	}
}

// An assignor of its own may give a partition to two members of a classic group.
// Such a group stays classic: in the new protocol a partition has one owner, and
// when one of the two gave it up a third would get it.
func TestGroupWithTwoOwnersStaysClassic(t *testing.T) {
	w := newWorld(t, nil)
	w.join(joinRequest(3, "g", ""))
	w.join(joinRequest(3, "g", ""))
	w.until(w.nowMs+6_000, nil)
	a := kmsg.NewConsumerMemberAssignment()
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "t", Partitions: []int32{0}}}
	req := syncRequest("g", "", 1)
	for _, m := range w.g.groups["g"].(*classicGroup).members {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: a.AppendTo(nil)})
	}
	req.MemberID = req.GroupAssignment[0].MemberID
	if code := ask[*kmsg.SyncGroupResponse](w, req).ErrorCode; code != 0 {
		t.Fatal(kafka.Code(code))
	}
	w.beat(beat("new", 0, "t"), kafka.GroupIDNotFound)
	if c, ok := w.g.groups["g"].(*classicGroup); !ok || c.state != stateStable {
		t.Errorf("the group is %T", w.g.groups["g"])
	}
}
