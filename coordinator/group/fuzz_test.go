// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// FuzzSubscription: bytes of a member are read without a panic, in memory that
// is bounded by their number, and what is well formed gives its topics.
func FuzzSubscription(f *testing.F) {
	f.Add(subscription("a", "b"))
	f.Add([]byte{0, 3, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte("odd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		bytes := 0
		if err := subscribedTopics(b, func(topic string) { bytes += len(topic) + 2 }); err == nil && bytes > len(b) {
			t.Fatalf("%d bytes of topics out of %d", bytes, len(b))
		}
	})
}

// FuzzReplay: whatever stands in the log, the coordinator loads or names an
// error, and a group that it has loaded can be worked with.
func FuzzReplay(f *testing.F) {
	protocol, leader := "range", "m"
	v := &grouprec.GroupMetadataValue{ProtocolType: "consumer", Generation: 3, Protocol: &protocol, Leader: &leader, Members: []grouprec.GroupMember{
		{MemberID: "m", SessionTimeout: 10_000, Subscription: subscription("t")}, {MemberID: "n", GroupInstanceID: &leader, SessionTimeout: -5}}}
	f.Add((&grouprec.GroupMetadataKey{Group: "g"}).Append(nil), v.Append(nil), false)
	f.Add((&grouprec.OffsetCommitKey{Group: "g", Topic: "t"}).Append(nil), grouprec.NewOffsetCommitValue().Append(nil), true)
	f.Add((&grouprec.LegacyOffsetCommitKey{Group: "g", Topic: "t"}).Append(nil), (&grouprec.LegacyOffsetCommitValue{}).Append(nil), false)
	for _, rec := range consumerRecords() {
		f.Add(rec.Key, rec.Value, false)
	}
	f.Fuzz(func(t *testing.T, key, value []byte, transactional bool) {
		g := New(Options{Topics: topicSet{"t": 1}, RandomUUID: func() [16]byte { return [16]byte{} }})
		if err := g.Replay(grouprec.Record{Key: key, Value: value}, Origin{Offset: 1, ProducerID: 1, Transactional: transactional}); err != nil {
			return
		}
		var out Out
		g.Loaded(0, &out)
		for id, found := range g.groups {
			c, ok := found.(*classicGroup)
			if !ok {
				fuzzConsumer(g, found.(*consumerGroup), &out)
				continue
			}
			members := []string{""}
			for _, m := range c.members {
				members = append(members, m.id)
			}
			for _, member := range members {
				req := joinRequest(5, id, member)
				if len(c.members) != 0 {
					req.ProtocolType, req.Protocols = c.protocolType, protocols(deref(c.protocol), []byte("other"))
				}
				g.JoinGroup(0, Caller{}, req, 1, &out)
				g.OffsetCommit(0, Caller{}, commitRequest(9, id, member, c.generation, 1, ""), 2, &out)
			}
			fetch := kmsg.NewPtrOffsetFetchRequest()
			fetch.Version, fetch.Group = 7, id
			g.OffsetFetch(0, Caller{}, fetch, 3, &out)
		}
		if err := g.ReplayMarker(1, 0, true); err != nil {
			t.Fatal(err)
		}
		for nowMs := int64(0); nowMs < 1<<33; nowMs += 1 << 28 {
			for range 64 {
				if due, ok := g.NextDueMs(); !ok || due > nowMs {
					break
				}
				out.Reset()
				g.Tick(nowMs, &out)
			}
		}
		g.Abandon(&out)
		if code := kafka.Code(describe(g, "g").ErrorCode); code != kafka.None && code != kafka.GroupIDNotFound {
			t.Fatal(code)
		}
	})
}

func describe(g *Groups, id string) kmsg.DescribeGroupsResponseGroup { return g.describeClassic(id, 6) }

// consumerRecords are records of a group of both protocols, and of its patterns.
func consumerRecords() []grouprec.Record {
	w := newWorld(noTest{}, nil)
	regex := "t|u"
	join := beat("a", 0, "t")
	join.SubscribedTopicRegex = &regex
	w.g.ConsumerGroupHeartbeat(w.nowMs, Caller{}, join, 1, &w.out)
	records := w.out.Records
	classic := grouprec.NewConsumerGroupMemberMetadataValue()
	classic.ClassicMemberMetadata = &grouprec.ClassicMemberMetadata{SessionTimeoutMs: 1}
	return append(records, grouprec.New(&grouprec.ConsumerGroupMemberMetadataKey{GroupID: "g", MemberID: "c"}, classic),
		grouprec.New(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: "g", RegularExpression: "("}, &grouprec.ConsumerGroupRegularExpressionValue{Topics: []string{"t"}}),
		grouprec.New(&grouprec.ConsumerGroupCurrentMemberAssignmentKey{GroupID: "g", MemberID: "c"}, &grouprec.ConsumerGroupCurrentMemberAssignmentValue{
			MemberEpoch: 5, State: 9, AssignedPartitions: []grouprec.AssignedPartitions{{TopicID: topicID("t"), Partitions: []kafka.PartitionID{2, 0, 0, -1}}}}))
}

// fuzzConsumer has every member do everything.
func fuzzConsumer(g *Groups, c *consumerGroup, out *Out) {
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{c.id}
	g.ConsumerGroupDescribe(0, Caller{}, describe, 1, out)
	for _, id := range append(c.memberIDs(), "new") {
		for _, epoch := range []int32{0, 1, -1} {
			req := beat(id, epoch, "t")
			req.Group = c.id
			if m := c.members[id]; m != nil {
				req.InstanceID = m.instance
			}
			g.ConsumerGroupHeartbeat(0, Caller{}, req, 1, out)
		}
		sync := syncRequest(c.id, id, 0)
		g.JoinGroup(0, Caller{}, joinRequest(5, c.id, id), 1, out)
		if m := c.members[id]; m != nil {
			sync.Generation = m.epoch
		}
		g.SyncGroup(0, Caller{}, sync, 1, out)
	}
	g.Tick(1<<40, out)
}

// noTest is for a world of which nothing is judged.
type noTest struct{}

func (noTest) Helper()                           {}
func (noTest) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
