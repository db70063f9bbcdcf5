// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumersAllowed are the differences that may be.
var consumersAllowed = []allowance{
	{step: `CreateTopics/.*`, path: `.*Configs\.(len|order)|.*Configs\[gregor\..*`, reason: "keys of gregor's own"},
	{step: `.*`, path: `.*\.order`, sometimes: true, reason: "Kafka's order is that of a hash table"},
	{step: `ConsumerGroupDescribe/.*`, path: `Groups.*SubscribedTopics\[\d\]`, reason: "Kafka's order is that of a hash table"},
	{step: `Consumer.*`, path: `(.*\.)?ErrorMessage`, sometimes: true, reason: "the words are gregor's own"},
}

// TestConsumerGroups plays the life of groups of the new protocol at both
// versions: right and wrong heartbeats, incremental reconciliation, static
// members, commits at each epoch, and members of the classic protocol.
func TestConsumerGroups(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	found := &ledger{allowed: consumersAllowed, used: make([]bool, len(consumersAllowed)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1", "group.initial.rebalance.delay.ms=0",
		"group.consumer.assignment.interval.ms=0", "group.consumer.max.size=3", "group.consumer.max.session.timeout.ms=1800000", "group.consumer.session.timeout.ms=600000")
	l.run(chapter{"no coordinator", l.noConsumerCoordinator}, chapter{"consumer groups", l.consumerGroups},
		chapter{"static consumers", l.staticConsumers}, chapter{"two protocols", l.twoProtocols})
}

func (l *list) noConsumerCoordinator() {
	l.topic("groups", 3)
	l.topic("alone", 2)
	l.until(finding(3, coordinatesGroup, "g"), func(r kmsg.Response) bool { return r.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 })
	l.settle("__consumer_offsets", 1)
	l.until(joining(0, "ready", "nobody", "range"), func(r kmsg.Response) bool { return r.(*kmsg.JoinGroupResponse).ErrorCode == 25 })
}

// consuming is a heartbeat of the new protocol; owned is what the member says it
// has of the topic: nil for nothing said.
func consuming(s *site, group, member string, epoch int32, owned []int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, group, member, epoch, -1
	req.SubscribedTopicNames = topics
	if epoch == 0 {
		req.RebalanceTimeoutMillis = longMs
	}
	if owned != nil || epoch == 0 {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if len(owned) != 0 {
		req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: s.id("groups"), Partitions: owned})
	}
	return req
}

func (l *list) consumes(name, group, member string, epoch int32, owned []int32, topics ...string) {
	l.t.Helper()
	l.one("ConsumerGroupHeartbeat/"+name, func(s *site) kmsg.Request { return consuming(s, group, member, epoch, owned, topics...) })
}

func (l *list) describesConsumers(name string, groups ...string) {
	l.t.Helper()
	l.each(keyConsumerGroupDescribe, "ConsumerGroupDescribe/"+name, func(_ *site, v int16) kmsg.Request {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups, req.IncludeAuthorizedOperations = v, groups, true
		return req
	})
}

func (l *list) consumerGroups() {
	const g = "new"
	for _, wrong := range []struct {
		name   string
		change func(*kmsg.ConsumerGroupHeartbeatRequest)
	}{
		{"no rebalance timeout", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RebalanceTimeoutMillis = -1 }},
		{"no subscription", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = nil }},
		{"null partitions", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Topics = nil }},
		{"owns something", func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{Partitions: []int32{0}}}
		}},
		{"no member id", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }},
		{"no group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }},
		{"blank instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = kmsg.StringPtr(" ") }},
		{"blank rack", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = kmsg.StringPtr("") }},
		{"unknown assignor", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("sticky") }},
		{"bad regex", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = kmsg.StringPtr("(") }},
		{"lookahead", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = kmsg.StringPtr("a(?=b)") }},
		{"unbalanced", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = kmsg.StringPtr("a)(b") }},
		{"epoch -3", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 }},
		{"epoch -2 without an instance", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }},
		{"leaves no group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -1 }},
		{"is in no group", func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 1 }},
	} {
		l.one("ConsumerGroupHeartbeat/"+wrong.name, func(s *site) kmsg.Request {
			req := consuming(s, g, "a", 0, nil, "groups")
			wrong.change(req)
			return req
		})
	}
	l.each(keyConsumerGroupHeartbeat, "ConsumerGroupHeartbeat/each version", func(s *site, v int16) kmsg.Request {
		return version(v, consuming(s, "by-version", fmt.Sprintf("member-%d", v), 0, nil, "groups"))
	})
	l.each(keyConsumerGroupHeartbeat, "ConsumerGroupHeartbeat/each version leaves", func(s *site, v int16) kmsg.Request {
		return version(v, consuming(s, "by-version", fmt.Sprintf("member-%d", v), -1, nil))
	})
	l.describesConsumers("no such group", g, "")
	l.consumes("a joins", g, "a", 0, nil, "groups", "nowhere")
	l.consumes("a again", g, "a", 2, nil)
	l.consumes("a tells everything", g, "a", 0, nil, "nowhere", "groups")
	l.consumes("b joins", g, "b", 0, nil, "groups", "nowhere")
	l.consumes("b waits", g, "b", 3, nil)
	l.describesConsumers("reconciling", g)
	l.consumes("a hears of it", g, "a", 2, nil)
	l.consumes("a still owns", g, "a", 2, []int32{0, 1, 2})
	l.describesConsumers("a gives up", g)
	l.consumes("a gave up", g, "a", 2, []int32{0, 1})
	l.consumes("a one behind", g, "a", 2, []int32{0, 1})
	l.consumes("a one behind, owns more", g, "a", 2, []int32{0, 1, 2})
	l.consumes("a one behind, says nothing", g, "a", 2, nil)
	l.consumes("a ahead", g, "a", 9, []int32{0, 1})
	l.consumes("b gets it", g, "b", 3, nil)
	l.describesConsumers("stable", g)
	for _, c := range []struct {
		name, member     string
		epoch, partition int32
	}{{"now", "a", 3, 0}, {"since it got it", "a", 2, 0}, {"given up", "a", 2, 2}, {"before", "a", 1, 0}, {"ahead", "a", 4, 0},
		{"b before it got it", "b", 2, 2}, {"b", "b", 3, 2}, {"nobody", "x", 3, 0}, {"no member", "", -1, 0}} {
		l.each(keyOffsetCommit, "OffsetCommit/"+c.name, func(s *site, v int16) kmsg.Request {
			return committing(s, v, g, c.member, c.epoch, place{"groups", c.partition, 5, nil})
		})
	}
	for _, epoch := range []int32{-1, 2, 3} {
		l.one(fmt.Sprintf("OffsetFetch/of a member at %d", epoch), func(s *site) kmsg.Request {
			req := offsetsOf(s, 9, true, []string{g}, place{topic: "groups"})
			req.Version = 9
			req.Groups[0].MemberID, req.Groups[0].MemberEpoch = kmsg.StringPtr("a"), epoch
			return req
		})
	}
	l.groupErrors("of a consumer group", g, "a", 3)
	l.consumes("c joins", g, "c", 0, nil, "groups")
	l.consumes("one too many", g, "d", 0, nil, "groups")
	l.consumes("c leaves", g, "c", -1, nil)
	l.consumes("b unsubscribes", g, "b", 3, []int32{2}, "nowhere")
	l.describesConsumers("b unsubscribes", g)
	l.consumes("nobody leaves", g, "x", -1, nil)
	l.consumes("a leaves", g, "a", -1, nil)
	l.consumes("b leaves", g, "b", -1, nil)
	l.describesConsumers("empty", g)
	l.one("ListGroups/empty", func(*site) kmsg.Request { return version(5, kmsg.NewPtrListGroupsRequest()) })
	l.one("DeleteGroups/empty", func(*site) kmsg.Request { return version(2, deleting(g)) })
}

func (l *list) staticConsumers() {
	const g = "static-new"
	as := func(name, member string, epoch int32, topics ...string) {
		l.t.Helper()
		l.one("ConsumerGroupHeartbeat/"+name, func(s *site) kmsg.Request {
			req := consuming(s, g, member, epoch, nil, topics...)
			req.InstanceID, req.RackID = kmsg.StringPtr("i"), kmsg.StringPtr("rack")
			return req
		})
	}
	as("static joins", "a", 0, "groups")
	as("static, another id", "a2", 0, "groups")
	as("static, another id at an epoch", "a2", 2)
	as("static goes for a while", "a", -2)
	l.describesConsumers("gone for a while", g)
	as("static comes back", "a2", 0, "groups")
	as("static, the former self", "a", 2)
	l.describesConsumers("back", g)
	as("static leaves", "a2", -1)
}

// twoProtocols moves a group to the new protocol and back. Its members read a
// topic each: of one topic Kafka would give them parts in the order of the hashes
// of their ids, of which it has drawn one.
func (l *list) twoProtocols() {
	const g = "both"
	l.joins("classic", 3, g, "classic")
	l.one("SyncGroup/classic", func(s *site) kmsg.Request {
		req := syncing(3, g, s.member("classic"), 1)
		req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: s.member("classic")}}
		return req
	})
	l.consumes("upgrades", g, "new", 0, nil, "alone")
	l.one("Heartbeat/rebalance", func(s *site) kmsg.Request { return beating(3, g, s.member("classic"), 1) })
	l.one("SyncGroup/rebalance", func(s *site) kmsg.Request { return syncing(3, g, s.member("classic"), 1) })
	l.one("JoinGroup/of a consumer group", func(s *site) kmsg.Request { return joining(9, g, s.member("classic"), "range") })
	l.one("SyncGroup/of a consumer group", func(s *site) kmsg.Request { return syncing(5, g, s.member("classic"), 2) })
	l.one("SyncGroup/other protocol", func(s *site) kmsg.Request {
		req := syncing(5, g, s.member("classic"), 2)
		req.Protocol = kmsg.StringPtr("sticky")
		return req
	})
	l.one("SyncGroup/other generation", func(s *site) kmsg.Request { return syncing(5, g, s.member("classic"), 7) })
	l.one("Heartbeat/stable", func(s *site) kmsg.Request { return beating(3, g, s.member("classic"), 2) })
	l.one("Heartbeat/of the new one", func(*site) kmsg.Request { return beating(3, g, "new", 2) })
	l.one("JoinGroup/other protocols", func(*site) kmsg.Request { return joining(9, g, "", "sticky") })
	l.consumes("the new one is stable", g, "new", 2, nil)
	l.one("LeaveGroup/nobody", func(*site) kmsg.Request { return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: "nobody"}) })
	l.consumes("downgrades", g, "new", -1, nil)
	l.one("DescribeGroups/downgraded", func(*site) kmsg.Request { return version(6, describing(false, g)) })
	l.one("Heartbeat/downgraded", func(s *site) kmsg.Request { return beating(3, g, s.member("classic"), 2) })
	l.one("LeaveGroup/downgraded", func(s *site) kmsg.Request {
		return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: s.member("classic")})
	})
}
