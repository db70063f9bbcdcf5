// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// joinedAs gives the answers to the JoinGroups that w has answered, by token.
func joinedAs(w *world) map[Token]*kmsg.JoinGroupResponse {
	all := map[Token]*kmsg.JoinGroupResponse{}
	for _, r := range w.replies {
		if resp, ok := r.Response.(*kmsg.JoinGroupResponse); ok {
			all[r.To] = resp
		}
	}
	return all
}

func TestPoint38ProtocolByVote(t *testing.T) {
	w := newWorld(t, nil)
	for _, names := range [][]string{{"sticky", "range", "robin"}, {"range", "sticky"}, {"range", "sticky", "other"}} {
		req := joinRequest(3, "g", "")
		req.Protocols = nil
		for _, name := range names {
			req.Protocols = append(req.Protocols, protocols(name, subscription("t"))...)
		}
		w.join(req)
	}
	alone := joinRequest(3, "g", "")
	alone.Protocols = protocols("robin", subscription("t")) // which the others do not know
	if code := kafka.Code(ask[*kmsg.JoinGroupResponse](w, alone).ErrorCode); code != kafka.InconsistentGroupProtocol {
		t.Fatalf("no protocol in common: %v", code)
	}
	other := joinRequest(3, "g", "")
	other.ProtocolType = "connect"
	if code := kafka.Code(ask[*kmsg.JoinGroupResponse](w, other).ErrorCode); code != kafka.InconsistentGroupProtocol {
		t.Fatalf("another protocol type: %v", code)
	}
	w.until(w.nowMs+9_000, nil)
	c := w.g.groups["g"].(*classicGroup)
	if c.state != stateCompletingRebalance || len(c.members) != 3 || deref(c.protocol) != "range" {
		t.Fatalf("two of three prefer range: %s", w.state("g"))
	}
}

func TestPoint38StaticLeaderThatComesBackSkipsItsAssignment(t *testing.T) {
	for _, version := range []int16{8, 9} {
		w := newWorld(t, nil)
		name := "i"
		join := joinRequest(version, "g", "")
		join.InstanceID = &name
		w.join(join)
		w.join(joinRequest(3, "g", "")) // a follower
		w.until(w.nowMs+6_000, nil)
		c := w.g.groups["g"].(*classicGroup)
		first := c.members[0].id
		sync := syncRequest("g", first, 1)
		sync.InstanceID = &name
		for _, m := range c.members {
			sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.id, MemberAssignment: []byte("of " + m.clientID)})
		}
		ask[*kmsg.SyncGroupResponse](w, sync)
		again := ask[*kmsg.JoinGroupResponse](w, join)
		if again.ErrorCode != 0 || again.Generation != 1 || again.MemberID == first || again.ProtocolType == nil || *again.ProtocolType != "consumer" {
			t.Fatalf("v%d: %s", version, show(again))
		}
		// Since v9 it knows that it leads, and of whom; before, it would assign anew if it knew.
		skips := again.SkipAssignment && again.LeaderID == again.MemberID && len(again.Members) == 2
		thinks := !again.SkipAssignment && again.LeaderID == first && len(again.Members) == 0
		if version >= 9 && !skips || version < 9 && !thinks {
			t.Errorf("v%d: %s", version, show(again))
		}
		sync.MemberID, sync.GroupAssignment = again.MemberID, nil
		if resp := ask[*kmsg.SyncGroupResponse](w, sync); resp.ErrorCode != 0 || string(resp.MemberAssignment) != "of c" {
			t.Errorf("v%d: its assignment: %s", version, show(resp))
		}
		sync.MemberID = first
		if code := kafka.Code(ask[*kmsg.SyncGroupResponse](w, sync).ErrorCode); code != kafka.FencedInstanceID {
			t.Errorf("v%d: its former self: %v", version, code)
		}
	}
}

func TestPoint40StaticMembersStayKnownInConcurrentRebalances(t *testing.T) {
	w := newWorld(t, nil)
	ids := map[string]string{}
	join := func(instance string, member string) Token {
		req := joinRequest(9, "g", member)
		req.InstanceID = &instance
		return w.join(req)
	}
	join("a", "")
	w.until(w.nowMs+3_000, nil)
	for round := range 5 { // newcomers come one after the other, each begins a rebalance
		c := w.g.groups["g"].(*classicGroup)
		for instance, id := range c.static {
			ids[instance] = id
		}
		waiting := map[Token]string{join(fmt.Sprint("new-", round), ""): "new"}
		for _, m := range append([]*classicMember(nil), c.members...) {
			if !m.join.on && c.state == statePreparingRebalance {
				waiting[join(*m.instance, m.id)] = *m.instance
			}
		}
		for to, resp := range joinedAs(w) {
			if waiting[to] != "" && resp.ErrorCode != 0 {
				t.Fatalf("round %d: %s got %s", round, waiting[to], show(resp))
			}
		}
		for instance, id := range ids {
			if c.static[instance] != id || c.byID[id] == nil {
				t.Fatalf("round %d: %s is no longer %s", round, instance, id)
			}
		}
		if len(c.members) != round+2 || c.state != stateCompletingRebalance {
			t.Fatalf("round %d: %s", round, w.state("g"))
		}
	}
}

func TestPoint41RetentionOfACommit(t *testing.T) {
	for version := int16(2); version <= 8; version++ {
		w := newWorld(t, nil)
		req := commitRequest(version, "g", "", -1, 5, "")
		req.RetentionTimeMillis = 60_000
		if code := commitOutcome(w, req); code != kafka.None {
			t.Fatalf("v%d: %v; a commit of nobody founds a group", version, code)
		}
		if c, ok := w.g.groups["g"].(*classicGroup); !ok || c.protocolType != "" || c.state != stateEmpty {
			t.Fatalf("v%d: %s", version, w.state("g"))
		}
		w.until(w.nowMs+2*w.g.options.OffsetsRetentionCheckIntervalMs, nil)
		if gone := w.g.offsets["g"] == nil && w.g.groups["g"] == nil; gone != (version <= 4) {
			t.Errorf("v%d: gone after its minute: %v", version, gone)
		}
	}
}

func TestPoint43OffsetsOfATopicThatIsReadNoMore(t *testing.T) {
	w, id := patientMember(t, 3*week)
	commit := commitRequest(9, "g", id, 1, 5, "")
	commit.Topics = append(commit.Topics, kmsg.OffsetCommitRequestTopic{Topic: "u", TopicID: topicID("u"), Partitions: commit.Topics[0].Partitions})
	if code := commitOutcome(w, commit); code != kafka.None { // it reads t alone
		t.Fatal(code)
	}
	// Who commits without a group loses it after a week, used or not.
	if code := commitOutcome(w, commitRequest(9, "simple", "", -1, 5, "")); code != kafka.None {
		t.Fatal(code)
	}
	w.until(w.nowMs+week-w.g.options.OffsetsRetentionCheckIntervalMs, nil)
	if len(w.g.offsets["g"].committed) != 2 || w.g.offsets["simple"] == nil {
		t.Fatal("expired before a week was over")
	}
	w.until(w.nowMs+2*w.g.options.OffsetsRetentionCheckIntervalMs, nil)
	if o := w.g.offsets["g"].committed; len(o["t"]) != 1 || len(o["u"]) != 0 {
		t.Errorf("left is %v", o)
	}
	if w.g.offsets["simple"] != nil || w.g.groups["simple"] != nil {
		t.Error("what nobody reads is still there")
	}
}

func TestPoint43ARebalanceLosesNothing(t *testing.T) {
	const hour = 3_600_000
	w := newWorld(t, func(o *Options) { o.GroupMaxSessionTimeoutMs, o.NewMemberJoinTimeoutMs = 9*hour, 9*hour })
	join := func(member string) *kmsg.JoinGroupRequest {
		req := joinRequest(3, "g", member)
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 9*hour, 9*hour
		return req
	}
	w.join(join(""))
	w.until(w.nowMs+3_000, nil)
	c := w.g.groups["g"].(*classicGroup)
	id := c.members[0].id
	ask[*kmsg.SyncGroupResponse](w, syncRequest("g", id, 1))
	w.join(join("")) // a rebalance begins, and goes on for long
	commit := commitRequest(4, "g", id, 1, 5, "")
	commit.RetentionTimeMillis = 60_000
	commit.Topics = append(commit.Topics, kmsg.OffsetCommitRequestTopic{Topic: "u", TopicID: topicID("u"), Partitions: commit.Topics[0].Partitions})
	if code := commitOutcome(w, commit); code != kafka.None {
		t.Fatal(code)
	}
	for _, goOn := range []func(){
		func() {},
		func() { w.join(join(id)) }, // before the next assignment
	} {
		goOn()
		w.until(w.nowMs+hour, nil)
		if o := w.g.offsets["g"]; o == nil || len(o.committed) != 2 {
			t.Fatalf("%s: lost offsets", c.state)
		}
	}
	ask[*kmsg.SyncGroupResponse](w, syncRequest("g", id, 2))
	ask[*kmsg.SyncGroupResponse](w, syncRequest("g", c.members[1].id, 2))
	w.until(w.nowMs+hour, nil)
	if o := w.g.offsets["g"].committed; c.state != stateStable || len(o["t"]) != 1 || len(o["u"]) != 0 {
		t.Errorf("%s: left is %v", c.state, o)
	}
}

// An old record of a group does not tell since when it is empty: then the commit
// counts.
func TestPoint43AGroupThatIsEmptySinceNobodyKnowsWhen(t *testing.T) {
	const day = 24 * 60 * 60 * 1000
	w := newWorld(t, nil)
	group := grouprec.NewGroupMetadataValue()
	group.ProtocolType, group.Generation = protocolTypeConsumer, 3
	old := grouprec.Record{Key: (&grouprec.GroupMetadataKey{Group: "g"}).Append(nil), Value: group.AppendVersion(nil, 1)}
	offset := grouprec.NewOffsetCommitValue()
	offset.Offset, offset.CommitTimestamp = 5, w.nowMs-6*day
	commit, _ := encodeOffset(grouprec.OffsetCommitKey{Group: "g", Topic: "t"}, offset)
	for _, rec := range []grouprec.Record{old, commit} {
		w.append(logged{rec: rec, from: Origin{Offset: kafka.Offset(len(w.log)), TimestampMs: w.nowMs, ProducerID: -1}})
	}
	w.reload()
	w.until(w.nowMs+day-2*w.g.options.OffsetsRetentionCheckIntervalMs, nil)
	if w.g.offsets["g"] == nil {
		t.Fatal("expired before a week was over")
	}
	w.until(w.nowMs+4*w.g.options.OffsetsRetentionCheckIntervalMs, nil)
	if w.g.offsets["g"] != nil || w.g.groups["g"] != nil {
		t.Error("still there")
	}
}
