// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// beater is a member that does what it is told at once.
type beater struct {
	req   *kmsg.ConsumerGroupHeartbeatRequest
	epoch int32
	dueMs int64
	acks  bool
}

func newBeater(group, id string, dueMs int64) *beater {
	req := beat(id, 0, "t")
	req.Group = group
	return &beater{req: req, dueMs: dueMs}
}

// beat sends a heartbeat and takes its answer in; one that gave something up says so at once.
func (b *beater) beat(g *Groups, nowMs int64, out *Out) {
	out.Reset()
	g.ConsumerGroupHeartbeat(nowMs, Caller{ClientID: "c", ClientHost: "/192.0.2.1"}, b.req, 1, out)
	resp := out.Replies[0].Response.(*kmsg.ConsumerGroupHeartbeatResponse)
	if resp.ErrorCode != 0 {
		panic(show(resp))
	}
	b.epoch = resp.MemberEpoch
	next := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	next.Version, next.Group, next.MemberID, next.MemberEpoch, next.RebalanceTimeoutMillis = 1, b.req.Group, b.req.MemberID, b.epoch, -1
	b.dueMs = nowMs + int64(resp.HeartbeatIntervalMillis)
	if b.acks = resp.Assignment != nil; b.acks {
		next.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range resp.Assignment.Topics {
			next.Topics = append(next.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
		b.dueMs = nowMs
	}
	b.req = next
}

// BenchmarkThousandJoin is 1,000 members that come to one group on 1,000
// partitions within a second, and heartbeats as they are told to until all have
// what they shall: virtual ms since the last join, and CPU time for all of it.
// Members that give up at once what they must are waited for only by those who
// come in the same millisecond: on a network it takes longer.
func BenchmarkThousandJoin(b *testing.B) {
	for _, c := range []struct{ intervalMs, soonMs int32 }{{0, 0}, {1000, 0}, {1000, 1000}} {
		b.Run(fmt.Sprintf("interval=%dms/rebalance=%dms", c.intervalMs, c.soonMs), func(b *testing.B) {
			for b.Loop() {
				g := New(Options{
					Topics: topicSet{"t": 1000}, RandomUUID: func() [16]byte { return [16]byte{} },
					ConsumerAssignmentIntervalMs: c.intervalMs, ConsumerRebalanceIntervalMs: c.soonMs,
				})
				var out Out
				g.Loaded(0, &out)
				var members []*beater
				const joined = 1000
				nowMs := int64(1)
				for ; ; nowMs++ {
					if len(members) < joined {
						members = append(members, newBeater("g", fmt.Sprintf("m%04d", len(members)), nowMs))
					}
					for _, m := range members {
						if m.dueMs <= nowMs {
							m.beat(g, nowMs, &out)
						}
					}
					if len(members) == joined && g.groups["g"].stateName() == "Stable" {
						break
					}
				}
				b.ReportMetric(float64(nowMs-joined), "virtual-ms/stable")
			}
		})
	}
}

// BenchmarkConsumerHeartbeat is one heartbeat of 10,000 members in 100 groups
// that have come to rest.
func BenchmarkConsumerHeartbeat(b *testing.B) {
	g := New(Options{Topics: topicSet{"t": 100}, RandomUUID: func() [16]byte { return [16]byte{} }})
	var out Out
	g.Loaded(0, &out)
	var members []*beater
	for i := range 100 {
		for j := range 100 {
			members = append(members, newBeater(fmt.Sprintf("g%02d", i), fmt.Sprintf("m%02d", j), 0))
		}
	}
	nowMs := int64(1)
	for range 6 {
		for _, m := range members {
			for m.beat(g, nowMs, &out); m.acks; {
				m.beat(g, nowMs, &out)
			}
		}
		nowMs += 5000
	}
	for _, id := range g.groupIDs() {
		if state := g.groups[id].stateName(); state != "Stable" {
			b.Fatalf("%s is %s", id, state)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m := members[i%len(members)]
		out.Reset()
		g.ConsumerGroupHeartbeat(nowMs+int64(i/2), Caller{ClientID: "c", ClientHost: "/192.0.2.1"}, m.req, 1, &out)
		if len(out.Records) != 0 || kafka.Code(out.Replies[0].Response.(*kmsg.ConsumerGroupHeartbeatResponse).ErrorCode) != kafka.None {
			b.Fatal("a heartbeat of a group at rest did something")
		}
	}
}
