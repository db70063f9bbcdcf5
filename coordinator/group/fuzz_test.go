// SPDX-License-Identifier: Apache-2.0

package group

import (
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
	f.Fuzz(func(t *testing.T, key, value []byte, transactional bool) {
		g := New(Options{Topics: topicSet{"t": 1}, RandomUUID: func() [16]byte { return [16]byte{} }})
		if err := g.Replay(grouprec.Record{Key: key, Value: value}, Origin{Offset: 1, ProducerID: 1, Transactional: transactional}); err != nil {
			return
		}
		var out Out
		g.Loaded(0, &out)
		for id, found := range g.groups {
			c := found.(*classicGroup)
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
