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

func joining(version int16, groupID, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = version, groupID, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 20_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
	return req
}

func syncing(version int16, groupID, member string, generation int32, assigned ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, groupID, member, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for _, m := range assigned {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: []byte("for " + m)})
	}
	return req
}

func beating(version int16, groupID, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, groupID, member, generation
	return req
}

func leaving(version int16, groupID, member string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.MemberID = version, groupID, member
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
	return req
}

func committing(version int16, groupID, member string, generation int32, id kafka.TopicID, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = version, groupID, member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = offset, kmsg.StringPtr("m")
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

func commitCode(c *client, req *kmsg.OffsetCommitRequest) kafka.Code {
	return kafka.Code(c.do(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

func offsetsOf(version int16, id kafka.TopicID, groups ...string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.RequireStable = version, groups[0], true
	req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	for _, g := range groups {
		asked := kmsg.NewOffsetFetchRequestGroup()
		asked.Group, asked.Topics = g, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: id, Partitions: []int32{0}}}
		req.Groups = append(req.Groups, asked)
	}
	return req
}

// offsetsIn gives the offset of each group, or its error.
func offsetsIn(resp *kmsg.OffsetFetchResponse) (offsets []int64, codes []kafka.Code) {
	for _, g := range resp.Groups {
		codes = append(codes, kafka.Code(g.ErrorCode))
		if len(g.Topics) > 0 {
			offsets = append(offsets, g.Topics[0].Partitions[0].Offset)
		}
	}
	if resp.Version < 8 {
		codes = []kafka.Code{kafka.Code(resp.ErrorCode)}
		if len(resp.Topics) > 0 {
			offsets = []int64{resp.Topics[0].Partitions[0].Offset}
			codes[0] = max(codes[0], kafka.Code(resp.Topics[0].Partitions[0].ErrorCode))
		}
	}
	return offsets, codes
}

// join makes a client the only member of a group, at a version of each API.
func join(t *testing.T, c *client, groupID string, version int16) (member string, generation int32) {
	t.Helper()
	resp := c.do(joining(version, groupID, "")).(*kmsg.JoinGroupResponse)
	if version >= 4 {
		if kafka.Code(resp.ErrorCode) != kafka.MemberIDRequired || resp.MemberID == "" {
			t.Fatalf("v%d: %+v", version, resp)
		}
		resp = c.do(joining(version, groupID, resp.MemberID)).(*kmsg.JoinGroupResponse)
	}
	if resp.ErrorCode != 0 || resp.LeaderID != resp.MemberID || len(resp.Members) != 1 {
		t.Fatalf("v%d: %v %+v", version, kafka.Code(resp.ErrorCode), resp)
	}
	return resp.MemberID, resp.Generation
}

// A member's life, at every version of every API.
func TestGroupAtEveryVersion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.coordinated(t)
		for v := range int16(11) {
			groupID := fmt.Sprintf("g%d", v)
			member, generation := join(t, c, groupID, min(v, 9))
			s := c.do(syncing(min(v, 5), groupID, member, generation, member)).(*kmsg.SyncGroupResponse)
			if s.ErrorCode != 0 || string(s.MemberAssignment) != "for "+member {
				t.Fatalf("v%d: %+v", v, s)
			}
			if b := c.do(beating(min(v, 4), groupID, member, generation)).(*kmsg.HeartbeatResponse); b.ErrorCode != 0 {
				t.Errorf("v%d: heartbeat %v", v, kafka.Code(b.ErrorCode))
			}
			if code := commitCode(c, committing(max(v, 2), groupID, member, generation, id, int64(100+v))); code != kafka.None {
				t.Errorf("v%d: commit %v", v, code)
			}
			offsets, codes := offsetsIn(c.do(offsetsOf(max(v, 1), id, groupID)).(*kmsg.OffsetFetchResponse))
			if len(codes) != 1 || codes[0] != kafka.None || offsets[0] != int64(100+v) {
				t.Errorf("v%d: fetched %v %v", v, offsets, codes)
			}
			describe := kmsg.NewPtrDescribeGroupsRequest()
			describe.Version, describe.Groups, describe.IncludeAuthorizedOperations = min(v, 6), []string{groupID, "none"}, true
			d := c.do(describe).(*kmsg.DescribeGroupsResponse)
			if g := d.Groups[0]; g.State != "Stable" || len(g.Members) != 1 || g.Members[0].ClientHost != "/10.0.0.1" || g.Members[0].ClientID != "test" ||
				string(g.Members[0].MemberAssignment) != "for "+member || d.Groups[1].State != "Dead" || v >= 3 && g.AuthorizedOperations != groupOperations {
				t.Errorf("v%d: described %+v", v, d)
			}
			if got := listed(c, min(v, 5)); len(got) != 1 || got[0].Group != groupID || v >= 4 && got[0].GroupState != "Stable" || v >= 5 && got[0].GroupType != "classic" {
				t.Errorf("v%d: listed %+v", v, got)
			}
			if code := deleted(c, min(v, 3), groupID); code != kafka.NonEmptyGroup {
				t.Errorf("v%d: deleted %v", v, code)
			}
			if l := c.do(leaving(min(v, 5), groupID, member)).(*kmsg.LeaveGroupResponse); l.ErrorCode != 0 || v >= 3 && (len(l.Members) != 1 || l.Members[0].ErrorCode != 0) {
				t.Errorf("v%d: left %+v", v, l)
			}
			drop := kmsg.NewPtrOffsetDeleteRequest()
			drop.Group = groupID
			drop.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 7}}}}
			o := c.do(drop).(*kmsg.OffsetDeleteResponse)
			if p := o.Topics[0].Partitions; o.ErrorCode != 0 || p[0].ErrorCode != 0 || kafka.Code(p[1].ErrorCode) != kafka.UnknownTopicOrPartition {
				t.Errorf("v%d: offsets deleted %+v", v, o)
			}
			if offsets, _ := offsetsIn(c.do(offsetsOf(max(v, 1), id, groupID)).(*kmsg.OffsetFetchResponse)); offsets[0] != -1 {
				t.Errorf("v%d: there still is %v", v, offsets)
			}
			if code := deleted(c, min(v, 3), groupID); code != kafka.None {
				t.Errorf("v%d: deleted %v", v, code)
			}
		}
	})
}

func listed(c *client, version int16) []kmsg.ListGroupsResponseGroup {
	req := kmsg.NewPtrListGroupsRequest()
	req.Version = version
	resp := c.do(req).(*kmsg.ListGroupsResponse)
	if resp.ErrorCode != 0 {
		c.t.Errorf("listing: %v", kafka.Code(resp.ErrorCode))
	}
	return resp.Groups
}

func deleted(c *client, version int16, groupID string) kafka.Code {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = version, []string{groupID, groupID} // twice: answered once
	resp := c.do(req).(*kmsg.DeleteGroupsResponse)
	if len(resp.Groups) != 1 {
		c.t.Errorf("deleted: %+v", resp)
	}
	return kafka.Code(resp.Groups[0].ErrorCode)
}

// A member waits in JoinGroup for the others, and in SyncGroup for the leader.
// What its connection sends meanwhile is worked on, and answered in order.
func TestGroupRequestsWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.coordinated(t)
		leader, generation := join(t, c, "g", 3)
		c.do(syncing(3, "g", leader, generation, leader))
		d := n.dial()
		second := joining(3, "g", "")
		at := d.send(second)
		behind := d.send(apiVersions(3))
		time.Sleep(5 * time.Second)
		if b := c.do(beating(3, "g", leader, generation)).(*kmsg.HeartbeatResponse); kafka.Code(b.ErrorCode) != kafka.RebalanceInProgress {
			t.Fatalf("the leader is told %v", kafka.Code(b.ErrorCode))
		}
		if code := commitCode(c, committing(7, "g", leader, generation, id, 5)); code != kafka.None {
			t.Errorf("a commit before the rejoin: %v", code)
		}
		if again := c.do(joining(3, "g", leader)).(*kmsg.JoinGroupResponse); again.Generation != generation+1 || len(again.Members) != 2 {
			t.Fatalf("the leader is told %+v", again)
		}
		joined := d.receive(second, at).(*kmsg.JoinGroupResponse)
		d.receive(apiVersions(3), behind)
		if joined.ErrorCode != 0 || joined.LeaderID != leader || joined.Generation != generation+1 {
			t.Fatalf("the second is told %+v", joined)
		}
		follower := syncing(3, "g", joined.MemberID, joined.Generation)
		at = d.send(follower)
		time.Sleep(time.Second)
		c.do(syncing(3, "g", leader, joined.Generation, leader, joined.MemberID))
		if s := d.receive(follower, at).(*kmsg.SyncGroupResponse); string(s.MemberAssignment) != "for "+joined.MemberID {
			t.Errorf("the second got %+v", s)
		}
		// The second leaves on the connection on which it waits.
		rejoin, leave := joining(3, "g", joined.MemberID), leaving(3, "g", joined.MemberID)
		rejoin.Protocols[0].Metadata = append(rejoin.Protocols[0].Metadata, 1)
		first, then := d.send(rejoin), d.send(leave)
		if resp := d.receive(rejoin, first).(*kmsg.JoinGroupResponse); kafka.Code(resp.ErrorCode) != kafka.UnknownMemberID {
			t.Errorf("it waited for %v", kafka.Code(resp.ErrorCode))
		}
		if resp := d.receive(leave, then).(*kmsg.LeaveGroupResponse); resp.ErrorCode != 0 || resp.Members[0].ErrorCode != 0 {
			t.Errorf("it left with %+v", resp)
		}
	})
}

// A connection that goes while its member waits takes no one with it; the member
// is out after its time.
func TestConnectionEndsInJoinGroup(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.coordinated(t)
		leader, generation := join(t, c, "g", 3)
		c.do(syncing(3, "g", leader, generation, leader))
		d := n.dial()
		d.send(joining(3, "g", ""))
		time.Sleep(time.Second)
		d.conn.Close()
		if again := c.do(joining(3, "g", leader)).(*kmsg.JoinGroupResponse); len(again.Members) != 2 {
			t.Fatalf("the leader is told %+v", again)
		}
		c.do(syncing(3, "g", leader, generation+1, leader))
		for range 12 { // seconds: the session of the other is ten
			time.Sleep(time.Second)
			c.do(beating(3, "g", leader, generation+1))
		}
		if again := c.do(joining(3, "g", leader)).(*kmsg.JoinGroupResponse); len(again.Members) != 1 || again.Generation != generation+2 {
			t.Errorf("the leader is told %+v", again)
		}
	})
}

// No answer leaves before what it tells is committed: neither that of a commit
// nor that of a fetch behind it.
func TestAnswersWaitForTheHighWatermark(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.coordinated(t)
		log := n.groups.log(shard.PartitionOf("g", 50))
		log.Hold(true)
		commit, fetch := committing(8, "g", "", -1, id, 7), offsetsOf(8, id, "g", "h")
		first, then := c.send(commit), c.send(fetch)
		began := time.Now()
		time.AfterFunc(2*time.Second, func() { log.Hold(false) })
		if code := c.receive(commit, first).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != 0 || time.Since(began) != 2*time.Second {
			t.Errorf("commit: %v after %v", kafka.Code(code), time.Since(began))
		}
		offsets, codes := offsetsIn(c.receive(fetch, then).(*kmsg.OffsetFetchResponse))
		if len(offsets) != 2 || offsets[0] != 7 || offsets[1] != -1 || codes[0] != kafka.None {
			t.Errorf("fetched %v %v", offsets, codes)
		}
		// It is not committed in time: the client asks again, and finds that it was written.
		log.Hold(true)
		began = time.Now()
		if code := commitCode(c, committing(8, "g", "", -1, id, 8)); code != kafka.CoordinatorNotAvailable || time.Since(began) < 5*time.Second || time.Since(began) > 6*time.Second {
			t.Errorf("commit: %v after %v", code, time.Since(began))
		}
	})
}

// What members are told when their coordinator goes, is not there, or loads.
func TestGroupsWithoutTheirCoordinator(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		all := func(want, beat, list kafka.Code) {
			t.Helper()
			for v := range int16(10) {
				if r := c.do(joining(v, "g", "me")).(*kmsg.JoinGroupResponse); kafka.Code(r.ErrorCode) != want || r.MemberID != "" || r.Generation != -1 {
					t.Errorf("join v%d: %v %+v", v, kafka.Code(r.ErrorCode), r)
				}
			}
			for v := range int16(6) {
				if r := c.do(syncing(v, "g", "me", 1)).(*kmsg.SyncGroupResponse); kafka.Code(r.ErrorCode) != want {
					t.Errorf("sync v%d: %v", v, kafka.Code(r.ErrorCode))
				}
				if r := c.do(leaving(v, "g", "me")).(*kmsg.LeaveGroupResponse); kafka.Code(r.ErrorCode) != want {
					t.Errorf("leave v%d: %v", v, kafka.Code(r.ErrorCode))
				}
			}
			if r := c.do(beating(4, "g", "me", 1)).(*kmsg.HeartbeatResponse); kafka.Code(r.ErrorCode) != beat {
				t.Errorf("heartbeat: %v", kafka.Code(r.ErrorCode))
			}
			for v := int16(2); v <= 10; v++ {
				req := committing(v, "g", "me", 1, id, 1)
				req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: "no", TopicID: kafka.TopicID{9}, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}})
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: 1})
				r := c.do(req).(*kmsg.OffsetCommitResponse)
				missing := kafka.UnknownTopicOrPartition
				if v >= 10 {
					missing = kafka.UnknownTopicID
				}
				if p := r.Topics[0].Partitions; kafka.Code(p[0].ErrorCode) != want || kafka.Code(p[1].ErrorCode) != kafka.UnknownTopicOrPartition ||
					kafka.Code(r.Topics[1].Partitions[0].ErrorCode) != missing {
					t.Errorf("commit v%d: %+v", v, r)
				}
			}
			for v := int16(1); v <= 10; v++ {
				if _, codes := offsetsIn(c.do(offsetsOf(v, id, "g")).(*kmsg.OffsetFetchResponse)); len(codes) != 1 || codes[0] != want {
					t.Errorf("fetch v%d: %v", v, codes)
				}
			}
			if code := deleted(c, 2, "g"); code != want {
				t.Errorf("delete: %v", code)
			}
			describe := kmsg.NewPtrDescribeGroupsRequest()
			describe.Version, describe.Groups = 6, []string{"g"}
			if r := c.do(describe).(*kmsg.DescribeGroupsResponse); kafka.Code(r.Groups[0].ErrorCode) != want {
				t.Errorf("describe: %+v", r)
			}
			if r := c.do(kmsg.NewPtrListGroupsRequest()).(*kmsg.ListGroupsResponse); kafka.Code(r.ErrorCode) != list {
				t.Errorf("list: %v", kafka.Code(r.ErrorCode))
			}
		}
		all(kafka.NotCoordinator, kafka.NotCoordinator, kafka.None) // there is no topic yet
		n.groups.open = make(chan struct{})
		c.do(finding(6, 0, "g"))
		time.Sleep(time.Second)
		all(kafka.CoordinatorLoadInProgress, kafka.None, kafka.CoordinatorLoadInProgress)
		close(n.groups.open)
		time.Sleep(time.Second)
		member, generation := join(t, c, "g", 4)
		c.do(syncing(3, "g", member, generation, member))
		waits := joining(3, "g", "")
		d := n.dial()
		at := d.send(waits)
		time.Sleep(time.Second)
		change := &metarec.PartitionChange{TopicID: n.images.Load().Topic(kafka.OffsetsTopic).ID, PartitionID: shard.PartitionOf("g", 50), Leader: 2, LeaderRecoveryState: -1}
		n.mu.Lock()
		n.publish([]metarec.Record{change})
		n.mu.Unlock()
		if r := d.receive(waits, at).(*kmsg.JoinGroupResponse); kafka.Code(r.ErrorCode) != kafka.NotCoordinator {
			t.Errorf("who waited is told %v", kafka.Code(r.ErrorCode))
		}
		all(kafka.NotCoordinator, kafka.NotCoordinator, kafka.None)
	})
}

// A group without a name: of old, offsets may be committed for it.
func TestGroupWithoutAName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.coordinated(t)
		if r := c.do(joining(3, "", "")).(*kmsg.JoinGroupResponse); kafka.Code(r.ErrorCode) != kafka.InvalidGroupID {
			t.Errorf("join: %v", kafka.Code(r.ErrorCode))
		}
		if r := c.do(syncing(3, "", "", 1)).(*kmsg.SyncGroupResponse); kafka.Code(r.ErrorCode) != kafka.InvalidGroupID {
			t.Errorf("sync: %v", kafka.Code(r.ErrorCode))
		}
		if r := c.do(beating(3, "", "", 1)).(*kmsg.HeartbeatResponse); kafka.Code(r.ErrorCode) != kafka.InvalidGroupID {
			t.Errorf("heartbeat: %v", kafka.Code(r.ErrorCode))
		}
		if r := c.do(leaving(3, "", "")).(*kmsg.LeaveGroupResponse); kafka.Code(r.ErrorCode) != kafka.InvalidGroupID {
			t.Errorf("leave: %v", kafka.Code(r.ErrorCode))
		}
		if code := commitCode(c, committing(8, "", "", -1, id, 3)); code != kafka.None {
			t.Errorf("commit: %v", code)
		}
		if offsets, codes := offsetsIn(c.do(offsetsOf(9, id, "", "x", "y")).(*kmsg.OffsetFetchResponse)); len(codes) != 3 || offsets[0] != 3 || offsets[1] != -1 || offsets[2] != -1 {
			t.Errorf("fetch: %v %v", offsets, codes)
		}
	})
}
