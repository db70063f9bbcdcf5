// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupCorners are where members come and go at the wrong moment, and say what
// nobody can read.
func (l *list) groupCorners() {
	l.filters()
	l.topicsTwice()
	l.unfinishedJoin(9)
	for _, v := range []int16{4, 9} {
		l.leaderLeaves(v)
		l.leavesInARebalance(v)
		for _, state := range []string{"stable", "preparing", "completing"} {
			l.replacedStatic(max(v, 5), state)
		}
	}
	l.badSubscriptions()
	l.otherProtocolType()
	l.fullGroup()
}

// lives sends what members and others send in a state of their group.
func (l *list) lives(name, g, member string, generation int32) {
	l.t.Helper()
	l.one("Heartbeat/"+name, func(s *site) kmsg.Request { return beating(4, g, s.member(member), generation) })
	l.one("Heartbeat/old generation, "+name, func(s *site) kmsg.Request { return beating(4, g, s.member(member), generation-1) })
	for _, v := range []int16{2, 8, 9, 10} {
		l.one(fmt.Sprintf("OffsetCommit/%s/v%d", name, v), func(s *site) kmsg.Request {
			return committing(s, v, g, s.member(member), generation, place{"groups", 0, 9, nil}, place{"groups", 9, 9, nil})
		})
		for _, who := range []string{"", "nobody"} {
			for _, generation := range []int32{-1, generation, generation + 1} {
				l.one(fmt.Sprintf("OffsetCommit/%s, member %q in %d/v%d", name, who, generation, v), func(s *site) kmsg.Request {
					return committing(s, v, g, who, generation, place{"groups", 0, 9, kmsg.StringPtr(strings.Repeat("m", 21))}, place{"groups", 1, 9, nil})
				})
			}
		}
	}
	l.one("OffsetDelete/"+name, func(*site) kmsg.Request { return dropping(g, "groups", "nowhere") })
	l.one("DeleteGroups/"+name, func(*site) kmsg.Request {
		if generation < 0 {
			return version(2, deleting("no such group"))
		}
		return version(2, deleting(g))
	})
	for _, v := range []int16{0, 5, 6} {
		l.one(fmt.Sprintf("DescribeGroups/%s/v%d", name, v), func(*site) kmsg.Request { return version(v, describing(v >= 3, g)) })
	}
}

// filters are right, wrong and odd ones of ListGroups.
func (l *list) filters() {
	l.one("OffsetCommit/listed", func(s *site) kmsg.Request { return committing(s, 8, "listed", "", -1, place{"groups", 0, 1, nil}) })
	for _, f := range [][2][]string{
		{{" Empty "}, nil}, {{""}, nil}, {{"Dead"}, nil}, {{"PreparingRebalance", "completingrebalance"}, nil}, {{"EMPTY\t"}, {"classic"}}, {{"Assigning", "reconciling"}, nil},
		{nil, {" classic"}}, {nil, {""}}, {nil, {"unknown"}}, {nil, {"share"}}, {nil, {"streams", "Classic"}}, {{"Empty", "Empty"}, {"classic", "classic"}},
	} {
		l.each(keyListGroups, fmt.Sprintf("ListGroups/%q", f), func(*site, int16) kmsg.Request {
			req := kmsg.NewPtrListGroupsRequest()
			req.StatesFilter, req.TypesFilter = f[0], f[1]
			return req
		})
	}
}

// topicsTwice names topics and partitions more than once.
func (l *list) topicsTwice() {
	l.topic("others", 2)
	long := kmsg.StringPtr(strings.Repeat("m", 21))
	places := []place{{"groups", 0, 1, nil}, {"others", 0, 2, nil}, {"groups", 1, 3, nil}, {"others", 1, 5, long}, {"groups", 0, 6, nil}}
	l.each(keyOffsetCommit, "OffsetCommit/topics twice", func(s *site, v int16) kmsg.Request { return committing(s, v, "twice", "", -1, places...) })
	l.each(keyOffsetCommit, "OffsetCommit/topics twice, nobody", func(s *site, v int16) kmsg.Request { return committing(s, v, "twice", "nobody", 3, places...) })
	places = append(places, place{"groups", 9, 4, nil}, place{"nowhere", 0, 4, nil}, place{"nowhere", 1, 4, nil})
	l.from(keyOffsetCommit, 10, "OffsetCommit/no id", func(s *site, v int16) kmsg.Request {
		req := committing(s, v, "twice", "", -1, places[:1]...)
		req.Topics[0].TopicID = [16]byte{}
		return req
	})
	l.each(keyOffsetFetch, "OffsetFetch/topics twice", func(s *site, v int16) kmsg.Request {
		return offsetsOf(s, v, true, []string{"twice", "twice", "none"}, places...)
	})
	l.from(keyOffsetFetch, 10, "OffsetFetch/no id", func(s *site, v int16) kmsg.Request {
		req := offsetsOf(s, v, true, []string{"twice"}, places[:1]...)
		req.Groups[0].Topics[0].TopicID = [16]byte{}
		return req
	})
	l.one("OffsetDelete/topics twice", func(*site) kmsg.Request {
		req := dropping("twice", "groups", "others", "groups")
		for i := range req.Topics {
			req.Topics[i].Partitions = req.Topics[i].Partitions[:1] // the others are not there
		}
		return req
	})
	l.one("OffsetFetch/after topics twice", func(*site) kmsg.Request { return everyOffset(8, "twice") })
}

// unfinishedJoin holds a rebalance up by an id that nobody comes back with.
func (l *list) unfinishedJoin(v int16) {
	g := fmt.Sprintf("unfinished-%d", v)
	a := "A" + g
	at := func(name string) string { return name + " " + g }
	l.joins(at("alone"), v, g, a)
	l.one(at("SyncGroup/alone"), func(s *site) kmsg.Request { return syncing(5, g, s.member(a), 1, s.member(a)) })
	nobody := "nobody " + g
	l.send(step{name: at("JoinGroup/an id for nobody"), build: func(*site) kmsg.Request { return joining(v, g, "", "range") }, then: keeps(nobody)})
	l.lives(at("stable, one to come"), g, a, 1)
	again := func(s *site) kmsg.Request { return joining(v, g, s.member(a), "range", "roundrobin") }
	l.begins(at("JoinGroup/the leader again"), g, again)
	l.lives(at("preparing, one to come"), g, a, 1)
	l.one(at("LeaveGroup/who never came"), func(s *site) kmsg.Request {
		return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(nobody)})
	})
	l.ends(at("JoinGroup/the leader again"), g, again, nil)
	l.one(at("SyncGroup/the leader again"), func(s *site) kmsg.Request { return syncing(5, g, s.member(a), 2, s.member(a)) })
	l.one(at("JoinGroup/an id that expires"), func(*site) kmsg.Request {
		req := joining(v, g, "", "range")
		req.SessionTimeoutMillis = 5000
		return req
	})
	l.begins(at("JoinGroup/the leader once more"), g, again)
	l.ends(at("JoinGroup/the leader once more"), g, again, nil)
	l.one(at("JoinGroup/an id, and it goes"), func(*site) kmsg.Request { return joining(v, g, "", "range") })
	l.lives(at("completing"), g, a, 3)
	l.one(at("JoinGroup/completing, the same again"), again)
	l.one(at("JoinGroup/completing, by another type"), func(s *site) kmsg.Request {
		req := joining(v, g, s.member(a), "range", "roundrobin")
		req.ProtocolType = "connect"
		return req
	})
	l.one(at("LeaveGroup/completing"), func(s *site) kmsg.Request {
		return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(a)}, kmsg.LeaveGroupRequestMember{MemberID: s.member(a)})
	})
	l.lives(at("one to come, and nobody there"), g, a, 4)
}

// pair makes a stable group of two.
func (l *list) pair(v int16, g, a, b string) {
	l.t.Helper()
	l.joins("first of "+g, v, g, a)
	l.one("SyncGroup/first of "+g, func(s *site) kmsg.Request { return syncing(3, g, s.member(a), 1, s.member(a)) })
	second := func(s *site) kmsg.Request { return joining(3, g, "", "range", "roundrobin") }
	l.begins("JoinGroup/second of "+g, "second", second)
	l.rejoins("first of "+g, v, g, a)
	l.ends("JoinGroup/second of "+g, "second", second, keeps(b))
	l.one("SyncGroup/both of "+g, func(s *site) kmsg.Request { return syncing(3, g, s.member(a), 2, s.member(a), s.member(b)) })
	l.one("SyncGroup/second of "+g, func(s *site) kmsg.Request { return syncing(3, g, s.member(b), 2) })
}

func (l *list) leaderLeaves(v int16) {
	g := fmt.Sprintf("headless-%d", v)
	a, b := "A"+g, "B"+g
	l.pair(v, g, a, b)
	l.one("LeaveGroup/the leader of "+g, func(s *site) kmsg.Request { return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(a)}) })
	l.lives("without a leader "+g, g, b, 2)
	l.lives("the leader that left "+g, g, a, 2)
	l.rejoins("the other one leads "+g, v, g, b)
	l.one("SyncGroup/the other one leads "+g, func(s *site) kmsg.Request { return syncing(5, g, s.member(b), 3, s.member(b)) })
	l.one("LeaveGroup/the last of "+g, func(s *site) kmsg.Request { return leaving(0, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(b)}) })
	for _, who := range []string{b, "nobody"} {
		l.one("JoinGroup/empty, with an id "+g, func(s *site) kmsg.Request { return joining(v, g, s.member(who), "range") })
		l.one("SyncGroup/empty "+g, func(s *site) kmsg.Request { return syncing(5, g, s.member(who), 4) })
		l.one("LeaveGroup/empty "+g, func(s *site) kmsg.Request {
			return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(who)})
		})
		l.lives("empty "+g+" "+who, g, who, 4)
	}
}

// leavesInARebalance takes out members that wait, each in its way.
func (l *list) leavesInARebalance(v int16) {
	g := fmt.Sprintf("leaving-%d", v)
	a, b := "A"+g, "B"+g
	l.pair(v, g, a, b)
	waits := func(s *site) kmsg.Request { return joining(v, g, s.member(b), "roundrobin", "range") }
	l.begins("JoinGroup/waits "+g, "waits", waits)
	l.one("SyncGroup/preparing "+g, func(s *site) kmsg.Request { return syncing(5, g, s.member(b), 2) })
	l.one("LeaveGroup/who waits "+g, func(s *site) kmsg.Request { return leaving(4, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(b)}) })
	l.ends("JoinGroup/waits "+g, "waits", waits, nil)
	l.rejoins("who is left "+g, v, g, a)
	l.one("SyncGroup/who is left "+g, func(s *site) kmsg.Request { return syncing(5, g, s.member(a), 3, s.member(a), "who left") })
	l.one("LeaveGroup/nobody in it "+g, func(*site) kmsg.Request { return leaving(5, g) })
}

// replacedStatic has a static member come back while its group is in a state.
func (l *list) replacedStatic(v int16, state string) {
	g := fmt.Sprintf("replaced-%s-%d", state, v)
	name := func(what string) string { return fmt.Sprintf("%s, %s/v%d", what, state, v) }
	static := func(member, instance string) func(s *site) kmsg.Request {
		return func(s *site) kmsg.Request {
			req := joining(v, g, s.member(member), "range")
			req.InstanceID = &instance
			return req
		}
	}
	one, two, again := "one of "+g, "two of "+g, "again of "+g
	l.send(step{name: name("JoinGroup/first"), build: static("", "i"), then: keeps(one)})
	l.one(name("SyncGroup/first"), func(s *site) kmsg.Request { return syncing(5, g, s.member(one), 1, s.member(one)) })
	l.begins(name("JoinGroup/second"), "second", static("", "j"))
	l.send(step{name: name("JoinGroup/first rejoins"), build: static(one, "i")})
	l.ends(name("JoinGroup/second"), "second", static("", "j"), keeps(two))
	sync := func(member string, assigned ...string) func(s *site) kmsg.Request {
		return func(s *site) kmsg.Request {
			for i := range assigned {
				assigned[i] = s.member(assigned[i])
			}
			return syncing(5, g, s.member(member), 2, assigned...)
		}
	}
	// The second is the follower, and comes back.
	switch state {
	case "stable":
		l.one(name("SyncGroup/both"), func(s *site) kmsg.Request { return syncing(5, g, s.member(one), 2, s.member(one), s.member(two)) })
		l.send(step{name: name("JoinGroup/comes back"), build: static("", "j"), then: keeps(again)})
		l.one(name("SyncGroup/comes back"), sync(again))
		l.one(name("DescribeGroups/comes back"), func(*site) kmsg.Request { return version(6, describing(false, g)) })
	case "completing":
		l.begins(name("SyncGroup/waits"), "waits", sync(two))
		l.begins(name("JoinGroup/comes back"), "second", static("", "j"))
		l.ends(name("SyncGroup/waits"), "waits", sync(two), nil)
		l.one(name("DescribeGroups/comes back"), func(*site) kmsg.Request { return version(6, describing(false, g)) })
		l.send(step{name: name("JoinGroup/leader"), build: static(one, "i")})
		l.ends(name("JoinGroup/comes back"), "second", static("", "j"), keeps(again))
	case "preparing":
		l.one(name("SyncGroup/both"), func(s *site) kmsg.Request { return syncing(5, g, s.member(one), 2, s.member(one), s.member(two)) })
		l.one(name("SyncGroup/second"), sync(two))
		third := "third of " + g
		l.send(step{name: name("JoinGroup/third, without an id"), build: func(*site) kmsg.Request { return joining(4, g, "", "range") }, then: keeps(third)})
		comes := func(s *site) kmsg.Request { return joining(4, g, s.member(third), "range") }
		l.begins(name("JoinGroup/third"), "third", comes)
		l.begins(name("JoinGroup/waits"), "waits", static(two, "j"))
		l.begins(name("JoinGroup/comes back"), "second", static("", "j"))
		l.ends(name("JoinGroup/waits"), "waits", static(two, "j"), nil)
		l.send(step{name: name("JoinGroup/leader"), build: static(one, "i")})
		l.ends(name("JoinGroup/third"), "third", comes, nil)
		l.ends(name("JoinGroup/comes back"), "second", static("", "j"), keeps(again))
	}
	for _, who := range []string{two, again} {
		what := strings.Fields(who)[0]
		l.one(name("Heartbeat/"+what), func(s *site) kmsg.Request {
			req := beating(4, g, s.member(who), 2)
			req.InstanceID = kmsg.StringPtr("j")
			return req
		})
		l.one(name("Heartbeat/without a name, "+what), func(s *site) kmsg.Request { return beating(4, g, s.member(who), 2) })
		l.one(name("OffsetCommit/"+what), func(s *site) kmsg.Request {
			req := committing(s, 8, g, s.member(who), 2, place{"groups", 0, 4, nil})
			req.InstanceID = kmsg.StringPtr("j")
			return req
		})
		l.one(name("JoinGroup/"+what+", as another"), static(who, "k"))
	}
	l.one(name("LeaveGroup/each in its way"), func(s *site) kmsg.Request {
		j := kmsg.StringPtr("j")
		return leaving(5, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(two), InstanceID: j}, kmsg.LeaveGroupRequestMember{MemberID: s.member(again), InstanceID: kmsg.StringPtr("i")},
			kmsg.LeaveGroupRequestMember{InstanceID: j}, kmsg.LeaveGroupRequestMember{MemberID: s.member(again), InstanceID: j}, kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("k")},
			kmsg.LeaveGroupRequestMember{MemberID: s.member(one)}, kmsg.LeaveGroupRequestMember{})
	})
}

// badSubscriptions says, as a consumer, what is no subscription or almost one:
// whether the coordinator takes the group for a reader of the topic shows in
// what it lets go.
func (l *list) badSubscriptions() {
	good := subscription("groups")
	for i, metadata := range [][]byte{
		nil, {}, {0}, {0, 0}, good[:3], good[:5], good[:len(good)-5], good[:len(good)-1], good, append(append([]byte{}, good...), 1, 2, 3),
		{0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},             // version -1, no topics
		{0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},       // null topics
		{0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0},       // two billion topics
		{0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0},       // a null topic
		{0, 0, 0, 0, 0, 1, 0x7f, 0xff, 'g', 0, 0, 0},     // a long name, cut short
		{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},       // no topics, null user data
		{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe},       // user data of -2 bytes
		{0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff},       // much user data
		{0, 1, 0, 0, 0, 0, 0, 0, 0, 0},                   // v1 without owned partitions
		{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0}, // v1 with too many
		{0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // v3, cut short
		{0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},             // of the future
	} {
		g := fmt.Sprintf("subscribed-%d", i)
		join := func(*site) kmsg.Request {
			req := joining(3, g, "", "range")
			req.Protocols[0].Metadata = metadata
			return req
		}
		l.send(step{name: "JoinGroup/" + g, build: join, then: keeps(g)})
		l.one("SyncGroup/"+g, func(s *site) kmsg.Request { return syncing(3, g, s.member(g), 1, s.member(g)) })
		l.one("OffsetCommit/"+g, func(s *site) kmsg.Request { return committing(s, 8, g, s.member(g), 1, place{"groups", 0, 4, nil}) })
		l.one("OffsetDelete/"+g, func(*site) kmsg.Request { return dropping(g, "groups", "nowhere") })
		l.one("DescribeGroups/"+g, func(*site) kmsg.Request { return version(5, describing(false, g)) })
		l.one("LeaveGroup/"+g, func(s *site) kmsg.Request { return leaving(1, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(g)}) })
		l.one("OffsetDelete/empty "+g, func(*site) kmsg.Request { return dropping(g, "groups") })
	}
}

// otherProtocolType is a group that is not one of consumers.
func (l *list) otherProtocolType() {
	const g = "workers"
	l.send(step{name: "JoinGroup/workers", build: func(*site) kmsg.Request {
		req := joining(3, g, "", "default", "compatible")
		req.ProtocolType = "connect"
		return req
	}, then: keeps(g)})
	assign := func(v int16, kind string) func(s *site) kmsg.Request {
		return func(s *site) kmsg.Request {
			req := syncing(v, g, s.member(g), 1, s.member(g), s.member(g))
			req.ProtocolType, req.Protocol = &kind, kmsg.StringPtr("default")
			return req
		}
	}
	l.one("SyncGroup/workers, as consumers", assign(5, "consumer"))
	l.one("SyncGroup/workers", assign(5, "connect"))
	l.lives("workers", g, g, 1)
	l.one("LeaveGroup/workers", func(s *site) kmsg.Request { return leaving(1, g, kmsg.LeaveGroupRequestMember{MemberID: s.member(g)}) })
	l.each(keyListGroups, "ListGroups/workers", func(*site, int16) kmsg.Request { return kmsg.NewPtrListGroupsRequest() })
	l.lives("no workers", g, g, 2)
	l.joins("consumers where workers were", 4, g, "consumer where workers were")
}

// fullGroup is as large as group.max.size allows.
func (l *list) fullGroup() {
	const g = "crowded"
	static := func(member, instance string) func(s *site) kmsg.Request {
		return func(s *site) kmsg.Request {
			req := joining(9, g, s.member(member), "range")
			req.InstanceID = &instance
			return req
		}
	}
	l.send(step{name: "JoinGroup/crowded, 0", build: static("", "i0"), then: keeps("crowd-0")})
	l.begins("JoinGroup/crowded, 1", "crowd-1", static("", "i1"))
	l.begins("JoinGroup/crowded, 2", "crowd-2", static("", "i2"))
	l.send(step{name: "JoinGroup/crowded, 0 rejoins", build: static("crowd-0", "i0"), then: func(s *site, r kmsg.Response) {
		for _, m := range r.(*kmsg.JoinGroupResponse).Members {
			if m.InstanceID != nil {
				s.members["crowd-"+strings.TrimPrefix(*m.InstanceID, "i")] = m.MemberID
			}
		}
	}})
	for i := 1; i < 3; i++ {
		conn := fmt.Sprintf("crowd-%d", i)
		l.ends("JoinGroup/crowded, "+conn, conn, static("", fmt.Sprintf("i%d", i)), nil)
	}
	l.one("JoinGroup/crowded, one more", static("", "i3"))
	l.one("JoinGroup/crowded, one more without a name", func(*site) kmsg.Request { return joining(4, g, "", "range") })
	l.one("SyncGroup/crowded", func(s *site) kmsg.Request { return syncing(5, g, s.member("crowd-0"), 2, s.member("crowd-0")) })
	l.one("JoinGroup/crowded, one more while it is stable", static("", "i3"))
	l.one("JoinGroup/crowded, one comes back", static("", "i1"))
	l.one("DescribeGroups/crowded", func(*site) kmsg.Request { return version(6, describing(false, g)) })
}

// TestOffsetExpiry lets commits expire by the retention that they bring, in
// groups of each kind and state.
func TestOffsetExpiry(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	found := &ledger{allowed: groupsAllowed, used: make([]bool, len(groupsAllowed)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "offsets.topic.num.partitions=3", "offsets.topic.replication.factor=1", "group.initial.rebalance.delay.ms=0",
		"offsets.retention.check.interval.ms=100")
	l.run(chapter{"expiry", l.expiry})
}

func (l *list) expiry() {
	l.topic("groups", 3)
	l.topic("others", 1)
	l.until(finding(3, coordinatesGroup, "g"), func(r kmsg.Response) bool { return r.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 })
	l.settle("__consumer_offsets", 3)
	ready := joining(0, "ready", "nobody", "range")
	for _, g := range []string{"a", "b", "c", "d", "e", "f"} { // all three partitions
		ready.Group = g
		l.until(ready, func(r kmsg.Response) bool { return r.(*kmsg.JoinGroupResponse).ErrorCode == 25 })
	}
	commit := func(v int16, g, member string, generation int32, retentionMs int64, places ...place) {
		l.one(fmt.Sprintf("OffsetCommit/%s for %d ms/v%d", g, retentionMs, v), func(s *site) kmsg.Request {
			req := committing(s, v, g, s.member(member), generation, places...)
			req.RetentionTimeMillis = retentionMs
			return req
		})
	}
	const short, long = 300, 3_600_000
	type offset struct{ group, topic string }
	kept := []offset{{"stable", "groups"}, {"workers", "others"}, {"preparing", "groups"}, {"preparing", "others"}, {"emptied-long", "others"}, {"simple-long", "groups"}}
	gone := []offset{{"simple-2", "groups"}, {"simple-3", "groups"}, {"simple-4", "groups"}, {"simple-past", "groups"}, {"simple-now", "groups"}, {"stable", "others"}, {"emptied", "groups"}, {"mixed", "groups"}}
	// Members of groups in each state; all but that of workers read the topic groups.
	for _, g := range []string{"stable", "preparing", "emptied", "emptied-long"} {
		l.joins(g, 3, g, g)
	}
	for _, g := range []string{"stable", "preparing", "emptied", "emptied-long"} {
		l.one("SyncGroup/"+g, func(s *site) kmsg.Request { return syncing(3, g, s.member(g), 1, s.member(g)) })
	}
	l.send(step{name: "JoinGroup/workers", build: func(*site) kmsg.Request {
		req := joining(3, "workers", "", "default")
		req.ProtocolType = "connect"
		return req
	}, then: keeps("workers")})
	l.one("SyncGroup/workers", func(s *site) kmsg.Request { return syncing(3, "workers", s.member("workers"), 1, s.member("workers")) })
	both := []place{{"groups", 0, 7, nil}, {"others", 0, 8, nil}}
	second := func(*site) kmsg.Request { return joining(3, "preparing", "", "range") }
	l.begins("JoinGroup/preparing", "preparing", second)
	commit(3, "preparing", "preparing", 1, short, both...)
	commit(2, "stable", "stable", 1, short, both...)
	commit(4, "workers", "workers", 1, short, both...)
	commit(4, "emptied", "emptied", 1, short, both...)
	commit(4, "emptied-long", "emptied-long", 1, long, both...)
	l.one("LeaveGroup/emptied", func(s *site) kmsg.Request {
		return leaving(1, "emptied", kmsg.LeaveGroupRequestMember{MemberID: s.member("emptied")})
	})
	l.one("LeaveGroup/emptied-long", func(s *site) kmsg.Request {
		return leaving(1, "emptied-long", kmsg.LeaveGroupRequestMember{MemberID: s.member("emptied-long")})
	})
	for v := int16(2); v <= 4; v++ {
		commit(v, fmt.Sprintf("simple-%d", v), "", -1, short, both...)
	}
	commit(4, "simple-long", "", -1, long, both...)
	commit(4, "simple-past", "", -1, -2, both...)
	commit(4, "simple-now", "", -1, 0, both...)
	commit(4, "mixed", "", -1, short, place{"groups", 0, 7, nil})
	commit(8, "mixed", "", -1, -1, place{"others", 0, 8, nil})
	fetch := func(at offset) *kmsg.OffsetFetchRequest {
		req := everyOffset(7, at.group)
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: at.topic, Partitions: []int32{0}}}
		return req
	}
	for _, at := range gone {
		l.until(fetch(at), func(r kmsg.Response) bool { return r.(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset == -1 })
	}
	time.Sleep(time.Second) // what is to stay has had its time
	for _, at := range append(kept, gone...) {
		l.one("OffsetFetch/"+at.group+" of "+at.topic, func(*site) kmsg.Request { return fetch(at) })
	}
	for _, g := range []string{"simple-2", "simple-past", "emptied", "mixed", "stable", "workers", "preparing"} {
		l.one("OffsetFetch/all of "+g, func(*site) kmsg.Request { return everyOffset(8, g) })
		l.one("DescribeGroups/"+g, func(*site) kmsg.Request { return version(6, describing(false, g)) })
	}
	l.each(keyListGroups, "ListGroups/after all", func(*site, int16) kmsg.Request { return kmsg.NewPtrListGroupsRequest() })
}
