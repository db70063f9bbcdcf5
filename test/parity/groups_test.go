// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupsAllowed are the differences that may be.
var groupsAllowed = []allowance{
	{step: `CreateTopics/.*`, path: `.*Configs\.(len|order)|.*Configs\[gregor\..*`, reason: "keys of gregor's own"},
	{step: `.*`, path: `.*\.order`, sometimes: true, reason: "Kafka's order is that of a hash table"},
}

// TestGroups plays the life of classic groups at every version: members that
// join, wait, rebalance, leave, are fenced and time out, commits and fetches of
// offsets, right ones and wrong ones, and what admin tools ask.
func TestGroups(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	found := &ledger{allowed: groupsAllowed, used: make([]bool, len(groupsAllowed)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "offsets.topic.num.partitions=3", "offsets.topic.replication.factor=1", "group.initial.rebalance.delay.ms=0",
		"group.max.size=3", "offset.metadata.max.bytes=20", "group.min.session.timeout.ms=1000", fmt.Sprintf("group.max.session.timeout.ms=%d", longMs),
		"num.network.threads=1", "num.io.threads=1") // what is sent first is done first
	l.run(chapter{"no coordinator", l.noCoordinator}, chapter{"membership", l.membership}, chapter{"static members", l.staticMembers},
		chapter{"committed offsets", l.committedOffsets}, chapter{"groups and admins", l.groupAdmin}, chapter{"time", l.groupTimes}, chapter{"corners", l.groupCorners}, chapter{"group configurations", l.groupConfigs})
}

// member is who sends group requests: a name of the list, which stands for the
// id that each broker gave.
func (s *site) member(name string) string {
	if id, ok := s.members[name]; ok {
		return id
	}
	return name
}

// longMs is a session, or a rebalance, that does not end while its group is
// played, however slowly.
const longMs = 600_000

func joining(v int16, group, member string, protocols ...string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = v, group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = longMs, longMs
	for _, name := range protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: subscription("groups")})
	}
	return req
}

// subscription is what a consumer says of itself under a protocol.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = topics
	return m.AppendTo(nil)
}

func syncing(v int16, group, member string, generation int32, assigned ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = v, group, member, generation
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	for i, m := range assigned {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: []byte(fmt.Sprintf("part %d", i))})
	}
	return req
}

func beating(v int16, group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = v, group, member, generation
	return req
}

func leaving(v int16, group string, members ...kmsg.LeaveGroupRequestMember) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.Members = v, group, members
	if len(members) > 0 {
		req.MemberID = members[0].MemberID
	}
	return req
}

// place is a partition with what is committed of it.
type place struct {
	topic     string
	partition int32
	offset    int64
	metadata  *string
}

func committing(s *site, v int16, group, member string, generation int32, places ...place) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = v, group, member, generation
	for _, at := range places {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.Metadata, p.LeaderEpoch = at.partition, at.offset, at.metadata, 0
		n := len(req.Topics)
		if n == 0 || req.Topics[n-1].Topic != at.topic {
			req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: at.topic, TopicID: s.idOr(at.topic)})
			n++
		}
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
	}
	return req
}

// idOr gives an id to topics that are not there too.
func (s *site) idOr(topic string) [16]byte {
	if id := s.id(topic); id != [16]byte{} {
		return id
	}
	return [16]byte{15: 9}
}

func offsetsOf(s *site, v int16, stable bool, groups []string, places ...place) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.RequireStable = v, groups[0], stable
	if v < 2 {
		req.Topics = []kmsg.OffsetFetchRequestTopic{}
	}
	var topics []kmsg.OffsetFetchRequestGroupTopic
	for _, at := range places {
		n := len(topics)
		if n == 0 || topics[n-1].Topic != at.topic {
			topics = append(topics, kmsg.OffsetFetchRequestGroupTopic{Topic: at.topic, TopicID: s.idOr(at.topic)})
			n++
		}
		topics[n-1].Partitions = append(topics[n-1].Partitions, at.partition)
	}
	for _, t := range topics {
		req.Topics = append(req.Topics, kmsg.OffsetFetchRequestTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	for _, g := range groups {
		asked := kmsg.NewOffsetFetchRequestGroup()
		asked.Group, asked.Topics = g, topics
		req.Groups = append(req.Groups, asked)
	}
	return req
}

// keeps remembers the member id of a JoinGroup under a name.
func keeps(name string) func(*site, kmsg.Response) {
	return func(s *site, r kmsg.Response) {
		if id := r.(*kmsg.JoinGroupResponse).MemberID; memberID.MatchString(id) {
			s.members[name] = id
		}
	}
}

// joins makes a member; alone says that nobody else is in the group.
func (l *list) joins(name string, v int16, group, member string) {
	l.t.Helper()
	l.send(step{name: fmt.Sprintf("JoinGroup/%s/v%d", name, v), build: func(s *site) kmsg.Request { return joining(v, group, "", "range", "roundrobin") }, then: keeps(member)})
	if v >= 4 {
		l.rejoins(name+", with its id", v, group, member)
	}
}

func (l *list) rejoins(name string, v int16, group, member string) {
	l.t.Helper()
	l.send(step{name: fmt.Sprintf("JoinGroup/%s/v%d", name, v), build: func(s *site) kmsg.Request { return joining(v, group, s.member(member), "range", "roundrobin") }})
}

// begins sends a request whose answer has to wait, over a connection of its own;
// ends takes the answer.
func (l *list) begins(name, conn string, build func(s *site) kmsg.Request) {
	l.t.Helper()
	l.send(step{name: name, conn: conn, build: build, parks: true})
}

func (l *list) ends(name, conn string, build func(s *site) kmsg.Request, then func(*site, kmsg.Response)) {
	l.t.Helper()
	l.send(step{name: name, conn: conn, build: build, late: true, then: then})
}

// noCoordinator asks while there is no __consumer_offsets.
func (l *list) noCoordinator() {
	l.topic("groups", 3)
	l.groupErrors("without the topic", "early", "nobody", 1)
	l.each(keyListGroups, "ListGroups/without the topic", func(*site, int16) kmsg.Request { return kmsg.NewPtrListGroupsRequest() })
	l.until(finding(3, coordinatesGroup, "g"), func(r kmsg.Response) bool { return r.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 })
	l.settle("__consumer_offsets", 3)
	ready := joining(0, "ready", "nobody", "range")
	for _, g := range []string{"a", "b", "c", "d", "e", "f"} { // all three partitions
		ready.Group = g
		l.until(ready, func(r kmsg.Response) bool { return r.(*kmsg.JoinGroupResponse).ErrorCode == 25 })
	}
}

// groupErrors sends every group request for a group and a member that may not
// be there.
func (l *list) groupErrors(name, group, member string, generation int32) {
	l.t.Helper()
	l.each(keyJoinGroup, "JoinGroup/"+name, func(s *site, v int16) kmsg.Request { return joining(v, group, s.member(member), "range") })
	l.each(keySyncGroup, "SyncGroup/"+name, func(s *site, v int16) kmsg.Request { return syncing(v, group, s.member(member), generation) })
	l.each(keyHeartbeat, "Heartbeat/"+name, func(s *site, v int16) kmsg.Request { return beating(v, group, s.member(member), generation) })
	l.each(keyLeaveGroup, "LeaveGroup/"+name, func(s *site, v int16) kmsg.Request {
		return leaving(v, group, kmsg.LeaveGroupRequestMember{MemberID: s.member(member)})
	})
	l.each(keyOffsetCommit, "OffsetCommit/"+name, func(s *site, v int16) kmsg.Request {
		return committing(s, v, group, s.member(member), generation, place{"groups", 0, 1, nil}, place{"nowhere", 0, 1, nil})
	})
	l.each(keyOffsetFetch, "OffsetFetch/"+name, func(s *site, v int16) kmsg.Request {
		return offsetsOf(s, v, true, []string{group}, place{topic: "groups"}, place{topic: "groups", partition: 9}, place{topic: "nowhere"})
	})
	l.each(keyDescribeGroups, "DescribeGroups/"+name, func(*site, int16) kmsg.Request { return describing(true, group) })
	l.each(keyDeleteGroups, "DeleteGroups/"+name, func(*site, int16) kmsg.Request { return deleting(group) })
	l.each(keyOffsetDelete, "OffsetDelete/"+name, func(*site, int16) kmsg.Request { return dropping(group, "groups", "nowhere") })
}

func describing(operations bool, groups ...string) *kmsg.DescribeGroupsRequest {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = groups, operations
	return req
}

func deleting(groups ...string) *kmsg.DeleteGroupsRequest {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = groups
	return req
}

func dropping(group string, topics ...string) *kmsg.OffsetDeleteRequest {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for _, t := range topics {
		req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: t, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 2}, {Partition: 9}}})
	}
	return req
}

// membership plays a group's life at every version of JoinGroup.
func (l *list) membership() {
	l.groupErrors("no such group", "none", "nobody", 1)
	l.groupErrors("no name", "", "nobody", 1)
	for v := range int16(10) {
		l.membershipAt(v)
	}
}

func (l *list) membershipAt(v int16) {
	g := fmt.Sprintf("life-%d", v)
	at := func(name string) string { return fmt.Sprintf("%s/v%d", name, v) }
	for _, wrong := range []struct {
		name   string
		change func(*kmsg.JoinGroupRequest)
	}{
		{"session too short", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 999 }},
		{"session too long", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = longMs + 1 }},
		{"no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }},
		{"no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }},
		{"a member id that nobody gave", func(r *kmsg.JoinGroupRequest) { r.MemberID = "made-up" }},
	} {
		l.one(at("JoinGroup/"+wrong.name), func(*site) kmsg.Request {
			req := joining(v, g, "", "range")
			wrong.change(req)
			return req
		})
	}
	a, b := "A"+g, "B"+g
	l.joins("first", v, g, a)
	l.each(keySyncGroup, "SyncGroup/wrong generation "+g, func(s *site, v int16) kmsg.Request { return syncing(v, g, s.member(a), 7) })
	l.each(keySyncGroup, "SyncGroup/wrong protocol "+g, func(s *site, v int16) kmsg.Request {
		req := syncing(v, g, s.member(a), 7)
		req.Protocol = kmsg.StringPtr("sticky")
		return req
	})
	l.one(at("SyncGroup/no protocol"), func(s *site) kmsg.Request {
		req := syncing(5, g, s.member(a), 1)
		req.Protocol = nil
		return req
	})
	l.one(at("OffsetCommit/before SyncGroup"), func(s *site) kmsg.Request {
		return committing(s, 8, g, s.member(a), 1, place{"groups", 0, 3, nil})
	})
	l.one(at("Heartbeat/before SyncGroup"), func(s *site) kmsg.Request { return beating(3, g, s.member(a), 1) })
	l.one(at("DescribeGroups/before SyncGroup"), func(*site) kmsg.Request { return version(6, describing(false, g)) })
	l.one(at("SyncGroup/leader"), func(s *site) kmsg.Request { return syncing(min(v, 5), g, s.member(a), 1, s.member(a), "a stranger") })
	l.one(at("SyncGroup/again"), func(s *site) kmsg.Request { return syncing(min(v, 5), g, s.member(a), 1) })
	l.groupErrors("unknown member "+g, g, "nobody", 1)
	l.each(keyHeartbeat, "Heartbeat/wrong generation "+g, func(s *site, v int16) kmsg.Request { return beating(v, g, s.member(a), 2) })
	l.each(keyHeartbeat, "Heartbeat/right "+g, func(s *site, v int16) kmsg.Request { return beating(v, g, s.member(a), 1) })
	l.each(keyOffsetCommit, "OffsetCommit/right "+g, func(s *site, v int16) kmsg.Request {
		return committing(s, v, g, s.member(a), 1, place{"groups", 1, int64(10 + v), kmsg.StringPtr("some metadata")})
	})
	l.each(keyOffsetCommit, "OffsetCommit/wrong generation "+g, func(s *site, v int16) kmsg.Request {
		return committing(s, v, g, s.member(a), 2, place{"groups", 1, 99, nil})
	})
	l.each(keyOffsetCommit, "OffsetCommit/nobody "+g, func(s *site, v int16) kmsg.Request { return committing(s, v, g, "", -1, place{"groups", 1, 99, nil}) })
	l.each(keyDescribeGroups, "DescribeGroups/stable "+g, func(*site, int16) kmsg.Request { return describing(true, g) })
	l.one(at("JoinGroup/other protocol type"), func(*site) kmsg.Request {
		req := joining(v, g, "", "range")
		req.ProtocolType = "connect"
		return req
	})
	l.one(at("JoinGroup/no protocol in common"), func(*site) kmsg.Request { return joining(v, g, "", "sticky") })
	// A second member comes: the first one is told, and rejoins.
	second := func(s *site) kmsg.Request { return joining(v, g, "", "range", "roundrobin") }
	if v >= 4 {
		l.send(step{name: at("JoinGroup/second, without an id"), build: second, then: keeps(b)})
		second = func(s *site) kmsg.Request { return joining(v, g, s.member(b), "range", "roundrobin") }
	}
	l.begins(at("JoinGroup/second"), "second", second)
	l.one(at("Heartbeat/in a rebalance"), func(s *site) kmsg.Request { return beating(min(v, 4), g, s.member(a), 1) })
	l.one(at("SyncGroup/in a rebalance"), func(s *site) kmsg.Request { return syncing(min(v, 5), g, s.member(a), 1) })
	l.one(at("OffsetCommit/in a rebalance"), func(s *site) kmsg.Request {
		return committing(s, 8, g, s.member(a), 1, place{"groups", 2, 5, nil})
	})
	l.one(at("DescribeGroups/in a rebalance"), func(*site) kmsg.Request { return version(5, describing(false, g)) })
	l.send(step{name: at("JoinGroup/the first rejoins"), build: func(s *site) kmsg.Request { return joining(v, g, s.member(a), "range", "roundrobin") },
		then: func(s *site, r kmsg.Response) {
			for _, m := range r.(*kmsg.JoinGroupResponse).Members {
				if m.MemberID != s.members[a] {
					s.members[b] = m.MemberID
				}
			}
		}})
	l.ends(at("JoinGroup/second is answered"), "second", second, keeps(b))
	follow := func(s *site) kmsg.Request { return syncing(min(v, 5), g, s.member(b), 2) }
	l.begins(at("SyncGroup/second waits"), "second", follow)
	l.one(at("SyncGroup/leader of two"), func(s *site) kmsg.Request { return syncing(min(v, 5), g, s.member(a), 2, s.member(b), s.member(a)) })
	l.ends(at("SyncGroup/second is answered"), "second", follow, nil)
	l.one(at("JoinGroup/follower, nothing new"), func(s *site) kmsg.Request { return joining(v, g, s.member(b), "range", "roundrobin") })
	l.one(at("DescribeGroups/two"), func(*site) kmsg.Request { return version(6, describing(false, g)) })
	l.each(keyDeleteGroups, "DeleteGroups/not empty "+g, func(*site, int16) kmsg.Request { return deleting(g) })
	l.one(at("OffsetDelete/subscribed"), func(*site) kmsg.Request { return dropping(g, "groups", "nowhere") })
	l.one(at("LeaveGroup/two, one unknown"), func(s *site) kmsg.Request {
		return leaving(max(min(v, 5), 3), g, kmsg.LeaveGroupRequestMember{MemberID: s.member(b)}, kmsg.LeaveGroupRequestMember{MemberID: "nobody"}, kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("i")})
	})
	l.one(at("LeaveGroup/last"), func(s *site) kmsg.Request {
		return leaving(min(v, 2), g, kmsg.LeaveGroupRequestMember{MemberID: s.member(a)})
	})
	l.one(at("DescribeGroups/empty"), func(*site) kmsg.Request { return version(6, describing(false, g)) })
	l.one(at("OffsetFetch/empty group"), func(s *site) kmsg.Request { return offsetsOf(s, 8, false, []string{g}) })
	l.one(at("OffsetCommit/empty group, no member"), func(s *site) kmsg.Request { return committing(s, 8, g, "", -1, place{"groups", 0, 77, nil}) })
	l.one(at("OffsetCommit/empty group, a member"), func(s *site) kmsg.Request { return committing(s, 8, g, s.member(a), 3, place{"groups", 0, 78, nil}) })
	l.one(at("OffsetDelete/empty"), func(*site) kmsg.Request { return dropping(g, "groups", "nowhere") })
	l.one(at("OffsetFetch/all"), func(s *site) kmsg.Request { return everyOffset(min(max(v, 2), 9), g) })
	if v%2 == 0 {
		l.one(at("DeleteGroups/empty"), func(*site) kmsg.Request { return version(min(v, 3), deleting(g, g, "none")) })
		l.one(at("OffsetFetch/deleted"), func(s *site) kmsg.Request { return everyOffset(8, g) })
	}
}

func everyOffset(v int16, groups ...string) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.Topics = v, groups[0], nil
	for _, g := range groups {
		asked := kmsg.NewOffsetFetchRequestGroup()
		asked.Group = g
		req.Groups = append(req.Groups, asked)
	}
	return req
}

func version(v int16, req kmsg.Request) kmsg.Request {
	req.SetVersion(v)
	return req
}

// staticMembers are known by their instance: they come back without a rebalance,
// and who had the name before is fenced.
func (l *list) staticMembers() {
	for v := int16(5); v <= 9; v++ {
		g := fmt.Sprintf("static-%d", v)
		at := func(name string) string { return fmt.Sprintf("%s/static v%d", name, v) }
		instance := kmsg.StringPtr("one")
		first, again := "first of "+g, "again of "+g
		join := func(member string) func(s *site) kmsg.Request {
			return func(s *site) kmsg.Request {
				req := joining(v, g, s.member(member), "range")
				req.InstanceID = instance
				return req
			}
		}
		l.send(step{name: at("JoinGroup/comes"), build: join(""), then: keeps(first)})
		l.one(at("SyncGroup/leader"), func(s *site) kmsg.Request {
			req := syncing(min(v, 5), g, s.member(first), 1, s.member(first))
			req.InstanceID = instance
			return req
		})
		l.one(at("DescribeGroups/static"), func(*site) kmsg.Request { return version(min(v, 6), describing(false, g)) })
		l.send(step{name: at("JoinGroup/comes back"), build: join(""), then: keeps(again)})
		l.one(at("DescribeGroups/came back"), func(*site) kmsg.Request { return version(min(v, 6), describing(false, g)) })
		l.one(at("JoinGroup/the old one"), join(first))
		l.one(at("JoinGroup/nobody of that name"), join("nobody"))
		for _, who := range []string{first, again} {
			l.one(at("Heartbeat/"+strings.Fields(who)[0]), func(s *site) kmsg.Request {
				req := beating(min(v, 4), g, s.member(who), 1)
				req.InstanceID = instance
				return req
			})
			l.one(at("OffsetCommit/"+strings.Fields(who)[0]), func(s *site) kmsg.Request {
				req := committing(s, v, g, s.member(who), 1, place{"groups", 0, 4, nil})
				req.InstanceID = instance
				return req
			})
			l.one(at("SyncGroup/"+strings.Fields(who)[0]), func(s *site) kmsg.Request {
				req := syncing(min(v, 5), g, s.member(who), 1)
				req.InstanceID = instance
				return req
			})
		}
		l.one(at("Heartbeat/unknown instance"), func(s *site) kmsg.Request {
			req := beating(min(v, 4), g, s.member(again), 1)
			req.InstanceID = kmsg.StringPtr("two")
			return req
		})
		for _, who := range []kmsg.LeaveGroupRequestMember{{InstanceID: kmsg.StringPtr("two")}, {MemberID: "nobody", InstanceID: instance}, {InstanceID: instance}, {InstanceID: instance}} {
			l.one(at("LeaveGroup/"+who.MemberID+*who.InstanceID), func(*site) kmsg.Request { return leaving(min(v, 5), g, who) })
		}
	}
}

// committedOffsets commits and fetches without members.
func (l *list) committedOffsets() {
	long := kmsg.StringPtr(strings.Repeat("m", 21))
	wide := kmsg.StringPtr(strings.Repeat("ü", 20)) // characters count, not bytes
	pairs := kmsg.StringPtr(strings.Repeat("😀", 11))
	for _, c := range []struct {
		name       string
		group      string
		generation int32
		member     string
		places     []place
	}{
		{"founds a group", "offsets", -1, "", []place{{"groups", 0, 5, nil}, {"groups", 1, 0, kmsg.StringPtr("")}}},
		{"metadata too long", "offsets", -1, "", []place{{"groups", 0, 6, long}, {"groups", 2, 6, wide}}},
		{"metadata of pairs", "offsets", -1, "", []place{{"groups", 0, 6, pairs}}},
		{"only what is wrong", "offsets", -1, "", []place{{"groups", 0, 6, long}}},
		{"no such partition", "offsets", -1, "", []place{{"groups", 3, 6, nil}, {"groups", -1, 6, nil}, {"groups", 0, 7, nil}}},
		{"no such topic", "offsets", -1, "", []place{{"nowhere", 0, 6, nil}}},
		{"no topics", "offsets", -1, "", nil},
		{"negative offset", "offsets", -1, "", []place{{"groups", 2, -1, nil}}},
		{"very negative offset", "offsets", -1, "", []place{{"groups", 2, -1 << 63, nil}}},
		{"backwards", "offsets", -1, "", []place{{"groups", 0, 1, nil}}},
		{"generation of a group that is not", "new", 0, "", []place{{"groups", 0, 1, nil}}},
		{"generation -2", "new", -2, "", []place{{"groups", 0, 1, nil}}},
		{"member of an empty group", "offsets", -1, "m", []place{{"groups", 0, 2, nil}}},
		{"generation of an empty group", "offsets", 0, "m", []place{{"groups", 0, 3, nil}}},
		{"the same twice", "offsets", -1, "", []place{{"groups", 0, 3, nil}, {"groups", 0, 4, nil}}},
		{"no name", "", -1, "", []place{{"groups", 0, 3, nil}}},
		{"no name, a generation", "", 1, "x", []place{{"groups", 0, 3, nil}}},
	} {
		l.each(keyOffsetCommit, "OffsetCommit/"+c.name, func(s *site, v int16) kmsg.Request {
			return committing(s, v, c.group, c.member, c.generation, c.places...)
		})
		l.one("OffsetFetch/after "+c.name+"/v8", func(s *site) kmsg.Request { return everyOffset(8, c.group) })
	}
	for v := int16(2); v <= 4; v++ {
		l.one(fmt.Sprintf("OffsetCommit/retention/v%d", v), func(s *site) kmsg.Request {
			req := committing(s, v, "kept", "", -1, place{"groups", 0, 3, nil})
			req.RetentionTimeMillis = 100_000
			return req
		})
	}
	for _, stable := range []bool{false, true} {
		name := fmt.Sprintf(", stable %v", stable)
		l.each(keyOffsetFetch, "OffsetFetch/some"+name, func(s *site, v int16) kmsg.Request {
			return offsetsOf(s, v, stable, []string{"offsets", "none", "kept"}, place{topic: "groups"}, place{topic: "groups", partition: 1}, place{topic: "groups", partition: 7}, place{topic: "nowhere"})
		})
		l.each(keyOffsetFetch, "OffsetFetch/no topics"+name, func(s *site, v int16) kmsg.Request {
			req := offsetsOf(s, v, stable, []string{"offsets"})
			req.Topics = []kmsg.OffsetFetchRequestTopic{}
			req.Groups[0].Topics = []kmsg.OffsetFetchRequestGroupTopic{}
			return req
		})
		l.from(keyOffsetFetch, 2, "OffsetFetch/all"+name, func(_ *site, v int16) kmsg.Request {
			req := everyOffset(v, "offsets", "none", "offsets", "")
			req.RequireStable = stable
			return req
		})
		l.from(keyOffsetFetch, 8, "OffsetFetch/no groups"+name, func(_ *site, v int16) kmsg.Request { return kmsg.NewPtrOffsetFetchRequest() })
	}
	l.from(keyOffsetFetch, 9, "OffsetFetch/as a member of a classic group", func(_ *site, v int16) kmsg.Request {
		req := everyOffset(v, "offsets")
		req.Groups[0].MemberID, req.Groups[0].MemberEpoch = kmsg.StringPtr("m"), 4
		return req
	})
}

// groupAdmin asks what tools ask.
func (l *list) groupAdmin() {
	filters := [][2][]string{{}, {{"Empty"}, nil}, {{"empty", "STABLE"}, nil}, {{"Nonsense"}, nil}, {nil, {"classic"}}, {nil, {"CLASSIC", "consumer"}}, {nil, {"nonsense"}}, {{"Stable"}, {"classic"}}}
	for _, f := range filters {
		l.each(keyListGroups, fmt.Sprintf("ListGroups/%v", f), func(*site, int16) kmsg.Request {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = f[0], f[1]
			return req
		})
	}
	l.each(keyDescribeGroups, "DescribeGroups/several", func(*site, int16) kmsg.Request { return describing(true, "offsets", "none", "", "offsets", "life-1") })
	l.each(keyDescribeGroups, "DescribeGroups/none", func(*site, int16) kmsg.Request { return describing(true) })
	l.each(keyDeleteGroups, "DeleteGroups/none", func(*site, int16) kmsg.Request { return deleting() })
	l.one("DeleteGroups/several/v3", func(*site) kmsg.Request { return version(3, deleting("life-1", "life-3", "none", "", "life-1")) })
	l.each(keyOffsetDelete, "OffsetDelete/no topics", func(*site, int16) kmsg.Request { return dropping("offsets") })
	l.each(keyOffsetDelete, "OffsetDelete/all", func(*site, int16) kmsg.Request { return dropping("offsets", "groups", "nowhere") })
	l.one("DeleteTopics/groups", func(*site) kmsg.Request {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TimeoutMillis, req.TopicNames = 5, aMinute, []string{"groups"}
		return req
	})
	l.gone("groups")
	for _, g := range []string{"offsets", "kept", "life-5"} {
		l.until(everyOffset(7, g), func(r kmsg.Response) bool { return len(r.(*kmsg.OffsetFetchResponse).Topics) == 0 })
	}
	l.from(keyOffsetFetch, 2, "OffsetFetch/of a topic that is gone", func(_ *site, v int16) kmsg.Request { return everyOffset(v, "offsets", "kept", "life-5") })
}

// groupTimes lets sessions and rebalances run out.
func (l *list) groupTimes() {
	l.topic("groups", 3)
	g := "times"
	l.joins("first", 3, g, "T1")
	l.one("SyncGroup/times", func(s *site) kmsg.Request { return syncing(3, g, s.member("T1"), 1, s.member("T1")) })
	second := func(*site) kmsg.Request {
		req := joining(3, g, "", "range")
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000, 5000
		return req
	}
	l.begins("JoinGroup/times, second", "second", second)
	l.one("JoinGroup/times, first", func(s *site) kmsg.Request {
		req := joining(3, g, s.member("T1"), "range")
		req.RebalanceTimeoutMillis = 5000
		return req
	})
	l.ends("JoinGroup/times, second", "second", second, keeps("T2"))
	l.one("SyncGroup/times, leader", func(s *site) kmsg.Request { return syncing(3, g, s.member("T1"), 2, s.member("T1"), s.member("T2")) })
	told := func(member string, code int16) {
		l.untilOf(func(s *site) kmsg.Request { return beating(3, g, s.member(member), 2) }, func(r kmsg.Response) bool { return r.(*kmsg.HeartbeatResponse).ErrorCode == code })
	}
	// The second is silent: its session ends, and the rebalance begins.
	told("T1", 27)
	l.one("Heartbeat/times, of the second", func(s *site) kmsg.Request { return beating(3, g, s.member("T2"), 2) })
	// Nor does the first rejoin: the rebalance ends without it.
	told("T1", 25)
	l.one("DescribeGroups/times", func(*site) kmsg.Request { return version(6, describing(false, g)) })
	for i := range 5 { // group.max.size is 3
		conn := fmt.Sprintf("full-%d", i)
		join := func(*site) kmsg.Request { return joining(3, "full", "", "range") }
		if i == 0 {
			l.joins("full", 3, "full", "F0")
			continue
		}
		if i < 4 { // the first does not rejoin: it does not count
			l.begins(fmt.Sprintf("JoinGroup/full, %d", i), conn, join)
			continue
		}
		l.send(step{name: "JoinGroup/full, one too many", conn: conn, build: join})
	}
}

// groupConfigs sets and reads the configurations of groups, right ones and wrong.
func (l *list) groupConfigs() {
	describe := func(name string, groups ...string) {
		l.each(keyDescribeConfigs, "DescribeConfigs/groups, "+name, func(*site, int16) kmsg.Request {
			req := kmsg.NewPtrDescribeConfigsRequest()
			req.IncludeSynonyms = true
			for _, g := range groups {
				req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofGroup, ResourceName: g})
			}
			return req
		})
	}
	alter := func(group string, op kmsg.IncrementalAlterConfigOp, keys ...string) {
		l.each(keyIncrementalAlterConfigs, fmt.Sprintf("IncrementalAlterConfigs/groups, %s, %d %q", group, op, keys), func(*site, int16) kmsg.Request {
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: ofGroup, ResourceName: group}
			for i := 0; i < len(keys); i += 2 {
				r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: keys[i], Value: kmsg.StringPtr(keys[i+1]), Op: op})
			}
			req.Resources = append(req.Resources, r)
			return req
		})
	}
	const set, drop, add, subtract = 0, 1, 2, 3
	describe("nothing set", "plain", "")
	alter("", set, "consumer.session.timeout.ms", "45000")
	alter("set", set, "no.such.key", "1")
	alter("set", set, "consumer.session.timeout.ms", "44999")
	alter("set", set, "consumer.session.timeout.ms", "x")
	alter("set", set, "consumer.session.timeout.ms", "50000", "consumer.heartbeat.interval.ms", "6000", "share.isolation.level", "read_committed", "streams.num.warmup.replicas", "3")
	alter("set", add, "streams.rack.aware.assignment.tags", "zone")
	alter("set", add, "streams.rack.aware.assignment.tags", "rack")
	alter("set", add, "consumer.session.timeout.ms", "1")
	describe("set", "set", "plain")
	alter("set", subtract, "streams.rack.aware.assignment.tags", "zone")
	alter("set", drop, "consumer.heartbeat.interval.ms", "")
	describe("dropped", "set")
	l.each(keyAlterConfigs, "AlterConfigs/groups", func(*site, int16) kmsg.Request {
		req := kmsg.NewPtrAlterConfigsRequest()
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: ofGroup, ResourceName: "set", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "share.session.timeout.ms", Value: kmsg.StringPtr("46000")}}}}
		return req
	})
	describe("replaced", "set")
	l.from(keyListConfigResources, 1, "ListConfigResources/groups", func(*site, int16) kmsg.Request {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = []int8{ofGroup}
		return req
	})
}
