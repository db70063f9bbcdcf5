// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Points in which brokers that speak Kafka's protocol have been found to differ
// from Kafka. Each is a rule that a client relies on.

func (w *world) join(req *kmsg.JoinGroupRequest) Token {
	w.t.Helper()
	return w.ask(func(to Token, out *Out) { w.send(Caller{ClientID: "c", ClientHost: "/192.0.2.1"}, req, to, out) })
}

func joinRequest(version int16, group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = version, group, member, protocolTypeConsumer
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	req.Protocols = protocols("range", subscription("t"))
	return req
}

func syncRequest(group, member string, generation int32) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, group, member, generation
	return req
}

// member forms a stable group of one and gives its member id.
func (w *world) member(group string) string {
	w.t.Helper()
	return w.memberBy(joinRequest(3, group, ""))
}

func (w *world) memberBy(join *kmsg.JoinGroupRequest) string {
	w.t.Helper()
	w.join(join)
	w.until(w.nowMs+3_000, nil)
	id := w.g.groups[join.Group].(*classicGroup).members[0].id
	if code := ask[*kmsg.SyncGroupResponse](w, syncRequest(join.Group, id, 1)).ErrorCode; code != 0 {
		w.t.Fatalf("sync: %v", kafka.Code(code))
	}
	return id
}

func ask[R kmsg.Response](w *world, req kmsg.Request) R {
	w.t.Helper()
	return answer[R](w, func(to Token, out *Out) { w.send(Caller{ClientID: "c", ClientHost: "/192.0.2.1"}, req, to, out) })
}

func commitRequest(version int16, group, member string, generation int32, offset int64, metadata string) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, group, member, generation
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: topicID("t"), Partitions: []kmsg.OffsetCommitRequestTopicPartition{
		{Offset: offset, LeaderEpoch: -1, Metadata: &metadata}}}}
	return req
}

func commitOutcome(w *world, req *kmsg.OffsetCommitRequest) kafka.Code {
	w.t.Helper()
	return kafka.Code(ask[*kmsg.OffsetCommitResponse](w, req).Topics[0].Partitions[0].ErrorCode)
}

func TestPoint37MemberIDRequiredIsPendingForTheSession(t *testing.T) {
	w := newWorld(t, nil)
	resp := ask[*kmsg.JoinGroupResponse](w, joinRequest(4, "g", ""))
	if kafka.Code(resp.ErrorCode) != kafka.MemberIDRequired || !strings.HasPrefix(resp.MemberID, "c-") {
		t.Fatalf("got %s", show(resp))
	}
	w.until(w.nowMs+9_999, nil)
	if _, ok := w.g.groups["g"].(*classicGroup).pendingJoin[resp.MemberID]; !ok {
		t.Fatal("forgotten before the session is over")
	}
	w.until(w.nowMs+1, nil)
	late := ask[*kmsg.JoinGroupResponse](w, joinRequest(4, "g", resp.MemberID))
	if kafka.Code(late.ErrorCode) != kafka.UnknownMemberID {
		t.Fatalf("a late one got %s", show(late))
	}
	// A static member needs no second request.
	static := joinRequest(5, "g", "")
	name := "i"
	static.InstanceID = &name
	w.join(static)
	w.until(w.nowMs+3_000, nil)
	if len(w.replies) != 1 || w.replies[0].Response.(*kmsg.JoinGroupResponse).ErrorCode != 0 {
		t.Fatalf("a static one got %v", w.replies)
	}
}

func TestPoint38JoinedButNeverSynced(t *testing.T) {
	w := newWorld(t, nil)
	w.join(joinRequest(3, "g", ""))
	w.join(joinRequest(3, "g", ""))
	w.until(w.nowMs+6_000, nil) // the second has prolonged the initial delay
	c := w.g.groups["g"].(*classicGroup)
	silent, leader := c.members[1].id, c.members[0].id
	if code := ask[*kmsg.SyncGroupResponse](w, syncRequest("g", leader, 1)).ErrorCode; code != 0 {
		t.Fatal(kafka.Code(code))
	}
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.Generation = "g", 1
	for range 19 { // both are alive; the rebalance timeout is a minute
		w.until(w.nowMs+3_000, nil)
		for _, id := range []string{leader, silent} {
			beat.MemberID = id
			if code := ask[*kmsg.HeartbeatResponse](w, beat).ErrorCode; code != 0 {
				t.Fatal(kafka.Code(code))
			}
		}
	}
	w.until(w.nowMs+3_000, nil)
	if c.byID[silent] != nil || c.byID[leader] == nil || c.state != statePreparingRebalance {
		t.Fatalf("after the rebalance timeout: %s", w.state("g"))
	}
}

func TestPoint39CommitsDuringARebalance(t *testing.T) {
	w := newWorld(t, nil)
	id := w.member("g")
	w.join(joinRequest(3, "g", ""))
	if code := commitOutcome(w, commitRequest(9, "g", id, 1, 5, "")); code != kafka.None {
		t.Fatalf("while members are collected the generation that ends got %s", code)
	}
	w.join(joinRequest(9, "g", id))
	if code := commitOutcome(w, commitRequest(9, "g", id, 2, 6, "")); code != kafka.RebalanceInProgress {
		t.Fatalf("before the assignment is there: %s", code)
	}
	if code := commitOutcome(w, commitRequest(9, "g", "", -1, 7, "")); code != kafka.UnknownMemberID {
		t.Fatalf("without a member: %s", code)
	}
	if code := commitOutcome(w, commitRequest(9, "empty", "", -1, 7, "")); code != kafka.None {
		t.Fatalf("without a member or a group: %s", code)
	}
	// An empty assignment is of length zero.
	resp := ask[*kmsg.SyncGroupResponse](w, syncRequest("g", id, 2))
	if resp.ErrorCode != 0 || resp.MemberAssignment == nil || len(resp.MemberAssignment) != 0 {
		t.Fatalf("got %s", show(resp))
	}
}

func TestPoint40LiveMembersStayKnownInConcurrentRebalances(t *testing.T) {
	w := newWorld(t, nil)
	id := w.member("g")
	for range 5 { // newcomers come one after the other, each begins a rebalance
		w.join(joinRequest(3, "g", ""))
		to := w.join(joinRequest(9, "g", id))
		c := w.g.groups["g"].(*classicGroup)
		for _, m := range c.members {
			if m.id != id && !m.join.on && c.state == statePreparingRebalance {
				w.join(joinRequest(9, "g", m.id))
			}
		}
		for _, r := range w.replies {
			if code := r.Response.(*kmsg.JoinGroupResponse).ErrorCode; r.To == to && code != 0 {
				t.Fatalf("a live member got %s", kafka.Code(code))
			}
		}
		if c.byID[id] == nil {
			t.Fatal("a live member is out")
		}
	}
}

func TestPoint41CommitRules(t *testing.T) {
	w := newWorld(t, nil)
	unknown := commitRequest(9, "g", "nobody", 1, 5, "")
	unknown.Topics[0].Topic = "nosuch"
	if code := commitOutcome(w, unknown); code != kafka.UnknownTopicOrPartition {
		t.Fatalf("unknown topic: %s", code)
	}
	for _, c := range []struct {
		version int16
		want    kafka.Code
	}{{8, kafka.IllegalGeneration}, {9, kafka.GroupIDNotFound}} {
		if code := commitOutcome(w, commitRequest(c.version, "g", "nobody", 1, 5, "")); code != c.want {
			t.Fatalf("a generation without a group, v%d: %s", c.version, code)
		}
	}
	metadata := strings.Repeat("é", 4096) // 4096 of Java's characters in 8192 bytes
	if code := commitOutcome(w, commitRequest(9, "g", "", -1, 5, metadata)); code != kafka.None {
		t.Fatalf("4096 characters: %s", code)
	}
	if code := commitOutcome(w, commitRequest(9, "g", "", -1, 6, metadata+"x")); code != kafka.OffsetMetadataTooLarge {
		t.Fatalf("4097 characters: %s", code)
	}
	if code := commitOutcome(w, commitRequest(9, "g", "", -1, 6, strings.Repeat("😀", 2049))); code != kafka.OffsetMetadataTooLarge {
		t.Fatal("a character beyond the basic plane is two of Java's")
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.Groups = 9, []kmsg.OffsetFetchRequestGroup{{Group: "g"}}
	got := ask[*kmsg.OffsetFetchResponse](w, fetch).Groups[0].Topics[0].Partitions[0]
	if got.Offset != 5 || *got.Metadata != metadata {
		t.Fatalf("metadata did not come back: offset %d, %d bytes", got.Offset, len(*got.Metadata))
	}
}

func TestPoint42FetchRules(t *testing.T) {
	w := newWorld(t, nil)
	for _, group := range []string{"g", "h"} {
		if code := commitOutcome(w, commitRequest(9, group, "", -1, 5, "m")); code != kafka.None {
			t.Fatal(code)
		}
	}
	txn := kmsg.NewPtrTxnOffsetCommitRequest()
	txn.Version, txn.Group, txn.Generation, txn.ProducerID = 5, "g", -1, 7
	txn.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: 9}}}}
	if code := ask[*kmsg.TxnOffsetCommitResponse](w, txn).Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatal(kafka.Code(code))
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.RequireStable = 10, true
	asked := []kmsg.OffsetFetchRequestGroupTopic{{TopicID: topicID("t"), Partitions: []int32{0, 1}}}
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: asked}, {Group: "h", Topics: asked}, {Group: "h"}, {Group: "nosuch", Topics: asked}}
	var got []string
	for _, g := range ask[*kmsg.OffsetFetchResponse](w, fetch).Groups {
		if g.ErrorCode != 0 {
			t.Fatalf("group %s: %s", g.Group, kafka.Code(g.ErrorCode))
		}
		for _, p := range g.Topics[0].Partitions {
			got = append(got, g.Group+" "+show(p))
		}
	}
	want := []string{
		`g OffsetFetchGroupTopicPartition{Offset=-1 LeaderEpoch=-1 Metadata="" ErrorCode=UNSTABLE_OFFSET_COMMIT}`,
		`g OffsetFetchGroupTopicPartition{Partition=1 Offset=-1 LeaderEpoch=-1 Metadata=""}`,
		`h OffsetFetchGroupTopicPartition{Offset=5 LeaderEpoch=-1 Metadata="m"}`,
		`h OffsetFetchGroupTopicPartition{Partition=1 Offset=-1 LeaderEpoch=-1 Metadata=""}`,
		`h OffsetFetchGroupTopicPartition{Offset=5 LeaderEpoch=-1 Metadata="m"}`,
		`nosuch OffsetFetchGroupTopicPartition{Offset=-1 LeaderEpoch=-1 Metadata=""}`,
		`nosuch OffsetFetchGroupTopicPartition{Partition=1 Offset=-1 LeaderEpoch=-1 Metadata=""}`,
	}
	for i := range got {
		got[i] = strings.Replace(got[i], "OffsetFetchResponse", "OffsetFetch", 1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

const week = 7 * 24 * 60 * 60 * 1000

// patientMember is alone in group g and has a session of weeks.
func patientMember(t *testing.T, sessionMs int32) (w *world, id string) {
	w = newWorld(t, func(o *Options) { o.GroupMaxSessionTimeoutMs = 3 * week })
	req := joinRequest(3, "g", "")
	req.SessionTimeoutMillis = sessionMs
	return w, w.memberBy(req)
}

func TestPoint43ExpiryStartsWhenTheGroupIsEmpty(t *testing.T) {
	w, id := patientMember(t, 2*week)
	if code := commitOutcome(w, commitRequest(9, "g", id, 1, 5, "")); code != kafka.None {
		t.Fatal(code)
	}
	w.until(w.nowMs+week+20*60_000, nil) // older than the retention, but in use
	if w.g.offsets["g"] == nil {
		t.Fatal("the offset of a group that uses it expired")
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.Members = 5, "g", []kmsg.LeaveGroupRequestMember{{MemberID: id}}
	ask[*kmsg.LeaveGroupResponse](w, leave)
	w.until(w.nowMs+week-1, nil)
	if w.g.offsets["g"] == nil {
		t.Fatal("expired before a week without members was over")
	}
	w.until(w.nowMs+20*60_000, nil)
	if w.g.offsets["g"] != nil || w.g.groups["g"] != nil {
		t.Fatal("did not expire after a week without members")
	}
}

func TestPoint43OffsetsGoWithTheirTopic(t *testing.T) {
	w := newWorld(t, nil)
	if code := commitOutcome(w, commitRequest(9, "g", "", -1, 5, "")); code != kafka.None {
		t.Fatal(code)
	}
	other := DeletedTopic{Name: "t", ID: topicID("t of another life")}
	w.do(func(out *Out) {
		w.g.MetadataChanged(w.nowMs, w.topics, TopicsChange{Deleted: []DeletedTopic{other}}, out)
	})
	if w.g.offsets["g"] == nil {
		t.Fatal("the deletion of a topic of the same name took it")
	}
	w.do(func(out *Out) {
		w.g.MetadataChanged(w.nowMs, topicSet{}, TopicsChange{Deleted: []DeletedTopic{{Name: "t", ID: topicID("t")}}}, out)
	})
	if w.g.offsets["g"] != nil {
		t.Fatal("still there after its topic has gone")
	}
}

func TestPoint44DescribeRules(t *testing.T) {
	w := newWorld(t, nil)
	describe := func(version int16, group string) kmsg.DescribeGroupsResponseGroup {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Version, req.Groups = version, []string{group}
		return ask[*kmsg.DescribeGroupsResponse](w, req).Groups[0]
	}
	if g := describe(5, "g"); g.State != "Dead" || g.ErrorCode != 0 || len(g.Members) != 0 {
		t.Fatalf("v5 of an unknown group: %s", show(g))
	}
	if g := describe(6, "g"); g.State != "Dead" || kafka.Code(g.ErrorCode) != kafka.GroupIDNotFound || *g.ErrorMessage != "Group g not found." {
		t.Fatalf("v6 of an unknown group: %s", show(g))
	}
	id := w.member("g")
	if g := describe(6, "g"); g.State != "Stable" || g.Protocol != "range" || len(g.Members[0].ProtocolMetadata) == 0 {
		t.Fatalf("stable: %s", show(g))
	}
	w.join(joinRequest(3, "g", ""))
	if g := describe(6, "g"); g.State != "PreparingRebalance" || g.Protocol != "" || g.Members[0].ProtocolMetadata != nil || g.Members[0].MemberID != id {
		t.Fatalf("in a rebalance: %s", show(g))
	}
}
