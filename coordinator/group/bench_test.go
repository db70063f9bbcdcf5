// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// BenchmarkHeartbeat: one heartbeat of 10,000 members in 100 groups, with the
// timers it moves.
func BenchmarkHeartbeat(b *testing.B) {
	g, beats := crowd(b, 100, 100)
	var out Out
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		nowMs := int64(i) / 2 // 2,000 a second
		out.Reset()
		g.Heartbeat(nowMs, Caller{}, beats[i%len(beats)], 1, &out)
		if due, _ := g.NextDueMs(); due <= nowMs {
			g.Tick(nowMs, &out)
		}
		if len(out.Replies) != 1 || out.Replies[0].Response.(*kmsg.HeartbeatResponse).ErrorCode != 0 {
			b.Fatalf("reply %v", out.Replies)
		}
	}
}

// crowd loads stable groups and makes a heartbeat for each member.
func crowd(b *testing.B, groups, members int) (*Groups, []*kmsg.HeartbeatRequest) {
	g := New(Options{Topics: topicSet{}, OffsetsRetentionCheckIntervalMs: 1 << 60})
	var beats []*kmsg.HeartbeatRequest
	protocol := "range"
	for i := range groups {
		v := grouprec.NewGroupMetadataValue()
		leader := fmt.Sprintf("member-%d-0", i)
		v.ProtocolType, v.Protocol, v.Leader = protocolTypeConsumer, &protocol, &leader
		for j := range members {
			m := *grouprec.NewGroupMember()
			m.MemberID, m.SessionTimeout, m.Subscription = fmt.Sprintf("member-%d-%d", i, j), 45_000, subscription("t")
			v.Members = append(v.Members, m)
			beat := kmsg.NewPtrHeartbeatRequest()
			beat.Group, beat.MemberID = fmt.Sprintf("group-%d", i), m.MemberID
			beats = append(beats, beat)
		}
		k := grouprec.GroupMetadataKey{Group: fmt.Sprintf("group-%d", i)}
		if err := g.Replay(grouprec.New(&k, v), Origin{}); err != nil {
			b.Fatal(err)
		}
	}
	g.Loaded(0, &Out{})
	return g, beats
}

// BenchmarkReplayCommits: a record of a log of commits, 1,000 groups of 100 partitions.
func BenchmarkReplayCommits(b *testing.B) {
	records := make([]grouprec.Record, 100_000)
	for i := range records {
		v := grouprec.NewOffsetCommitValue()
		v.Offset = kafka.Offset(i)
		records[i] = grouprec.New(&grouprec.OffsetCommitKey{Group: fmt.Sprintf("group-%d", i%1000), Topic: "topic", Partition: kafka.PartitionID(i / 1000)}, v)
	}
	g := New(Options{Topics: topicSet{}})
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := g.Replay(records[i%len(records)], Origin{Offset: kafka.Offset(i)}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit: an OffsetCommit of ten partitions.
func BenchmarkCommit(b *testing.B) {
	g := New(Options{Topics: topicSet{"t": 10}})
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, "g", -1
	topic := kmsg.OffsetCommitRequestTopic{Topic: "t"}
	for p := range int32(10) {
		topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: 5})
	}
	req.Topics = append(req.Topics, topic)
	var out Out
	b.ReportAllocs()
	for i := range b.N {
		out.Reset()
		g.OffsetCommit(int64(i), Caller{}, req, 1, &out)
	}
	if len(out.Records) != 10 {
		b.Fatalf("%d records", len(out.Records))
	}
}

// BenchmarkRebalance: 1,000 members join, and the leader assigns.
func BenchmarkRebalance(b *testing.B) {
	for range b.N {
		id := byte(0)
		g := New(Options{Topics: topicSet{}, RandomUUID: func() (u [16]byte) { id++; u[0] = id; return u }})
		var out Out
		for i := range 1000 {
			req := joinRequest(3, "g", "")
			g.JoinGroup(0, Caller{ClientID: fmt.Sprint(i)}, req, Token(i+1), &out)
		}
		for len(out.Replies) == 0 {
			due, _ := g.NextDueMs()
			out.Records = nil
			g.Tick(due, &out)
		}
		leader := out.Replies[0].Response.(*kmsg.JoinGroupResponse)
		sync := syncRequest("g", leader.MemberID, 1)
		for _, m := range leader.Members {
			sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m.MemberID, MemberAssignment: make([]byte, 40)})
		}
		out.Reset()
		g.SyncGroup(1, Caller{}, sync, 1, &out)
		if len(out.Records) != 1 {
			b.Fatal("not written down")
		}
	}
}
