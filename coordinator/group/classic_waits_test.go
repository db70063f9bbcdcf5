// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// codeOf is what an answer among w's latest says, or -1 while there is none.
func (w *world) codeOf(to Token) kafka.Code {
	for _, r := range w.replies {
		if r.To != to {
			continue
		}
		switch resp := r.Response.(type) {
		case *kmsg.JoinGroupResponse:
			return kafka.Code(resp.ErrorCode)
		case *kmsg.SyncGroupResponse:
			return kafka.Code(resp.ErrorCode)
		}
	}
	return -1
}

func (w *world) asks(req kmsg.Request) Token {
	return w.ask(func(to Token, out *Out) { w.send(Caller{ClientID: "c", ClientHost: "/192.0.2.1"}, req, to, out) })
}

// Who waits for the leader's assignment sends no heartbeats, and is alive.
func TestAMemberThatWaitsInSyncGroupStays(t *testing.T) {
	w := newWorld(t, nil)
	w.join(joinRequest(3, "g", ""))
	w.join(joinRequest(3, "g", ""))
	w.until(w.nowMs+6_000, nil)
	c := w.g.groups["g"].(*classicGroup)
	leader, follower := c.members[0].id, c.members[1].id
	waits := w.asks(syncRequest("g", follower, 1))
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = "g", leader, 1
	for range 5 { // sessions are ten seconds
		w.until(w.nowMs+9_000, nil)
		if code := kafka.Code(ask[*kmsg.HeartbeatResponse](w, beat).ErrorCode); code != kafka.None {
			t.Fatalf("the leader is told %v: %s", code, w.state("g"))
		}
	}
	assigns := syncRequest("g", leader, 1)
	assigns.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: follower, MemberAssignment: []byte("x")}}
	w.asks(assigns)
	if w.codeOf(waits) != kafka.None || c.state != stateStable || len(c.members) != 2 {
		t.Fatalf("who waited is told %v: %s", w.codeOf(waits), w.state("g"))
	}
	// From here on it has a session again.
	w.until(w.nowMs+9_999, nil)
	if c.byID[follower] == nil {
		t.Fatal("out before its session is over")
	}
	w.until(w.nowMs+1, nil)
	if c.byID[follower] != nil {
		t.Fatal("still a member without a heartbeat")
	}
}

// A member of a full group that waits, and asks again, is not one too many.
func TestAMemberOfAFullGroupAsksAgain(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.GroupMaxSize = 2 })
	a := w.member("g")
	pending := ask[*kmsg.JoinGroupResponse](w, joinRequest(4, "g", "")).MemberID // one who holds the rebalance up
	w.join(joinRequest(3, "g", ""))
	first := w.join(joinRequest(4, "g", a))
	again := w.join(joinRequest(4, "g", a))
	if w.codeOf(first) != kafka.RebalanceInProgress || w.codeOf(again) != -1 {
		t.Fatalf("told %v and %v: %s", w.codeOf(first), w.codeOf(again), w.state("g"))
	}
	late := w.join(joinRequest(4, "g", pending))
	if w.codeOf(late) != kafka.GroupMaxSizeReached || w.codeOf(again) != kafka.None || len(w.g.groups["g"].(*classicGroup).members) != 2 {
		t.Fatalf("told %v and %v: %s", w.codeOf(late), w.codeOf(again), w.state("g"))
	}
}

// A static member comes back before it has asked for its assignment, and reads
// something else: the coordinator knows what a load would tell it, and waits for
// the new one's SyncGroup in place of the old one's.
func TestAStaticMemberComesBackBeforeItsSyncGroup(t *testing.T) {
	for _, syncs := range []bool{true, false} {
		w := newWorld(t, nil)
		static := func(instance, topic string) *kmsg.JoinGroupRequest {
			req := joinRequest(9, "g", "")
			req.InstanceID, req.SessionTimeoutMillis = &instance, 600_000
			req.Protocols = protocols("range", subscription(topic))
			return req
		}
		w.join(static("i", "t"))
		w.join(static("j", "t"))
		w.until(w.nowMs+6_000, nil)
		c := w.g.groups["g"].(*classicGroup)
		sync := syncRequest("g", c.static["i"], 1)
		sync.InstanceID = c.byID[c.static["i"]].instance
		w.asks(sync)
		back := ask[*kmsg.JoinGroupResponse](w, static("j", "u"))
		if back.ErrorCode != 0 || c.state != stateStable || !c.subscribes("u") {
			t.Fatalf("%s: %s", show(back), w.state("g"))
		}
		before := maps.Clone(c.subscribed)
		if syncs {
			instance := "j"
			sync := syncRequest("g", back.MemberID, 1)
			sync.InstanceID = &instance
			w.asks(sync)
		}
		w.until(w.nowMs+61_000, nil) // the rebalance timeout, in which all are to sync
		if in := c.byID[back.MemberID] != nil; in != syncs || (c.state == stateStable) != syncs {
			t.Fatalf("it has asked for its assignment: %v; %s", syncs, w.state("g"))
		}
		if syncs {
			w.reload()
			if after := w.g.groups["g"].(*classicGroup).subscribed; !maps.Equal(before, after) {
				t.Errorf("it reads %v, and after a load %v", before, after)
			}
		}
	}
}

// A commit is a sign of life, also while members are collected; between the
// generation and its assignment it is refused, and none.
func TestACommitKeepsASession(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin func(w *world, id string)
		code  kafka.Code
		lives bool
	}{
		{"stable", func(*world, string) {}, kafka.None, true},
		{"preparing", func(w *world, _ string) { w.join(joinRequest(3, "g", "")) }, kafka.None, true},
		{"completing", func(w *world, id string) { w.join(joinRequest(3, "g", id)) }, kafka.RebalanceInProgress, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			id := w.member("g")
			tc.begin(w, id)
			w.until(w.nowMs+8_000, nil)
			c := w.g.groups["g"].(*classicGroup)
			if code := commitOutcome(w, commitRequest(8, "g", id, c.generation, 5, "")); code != tc.code {
				t.Fatal(code)
			}
			w.until(w.nowMs+9_000, nil) // the session is ten seconds
			if c.byID[id] != nil != tc.lives {
				t.Errorf("a member: %v, want %v; %s", !tc.lives, tc.lives, w.state("g"))
			}
			w.until(w.nowMs+1_001, nil)
			if c.byID[id] != nil {
				t.Error("a member without a sign of life")
			}
		})
	}
}
