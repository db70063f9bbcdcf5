// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// longest is as long as a string of the protocol may be.
var longest = strings.Repeat("x", 32767)

// Whatever a member is called: it joins, is assigned to, and its end fits into a batch.
func TestLongNamesOfMembers(t *testing.T) {
	for _, regex := range []string{"", strings.Repeat("t", 4096)} {
		w := newWorld(t, nil)
		req := beat(longest, 0, "t")
		req.Group, req.InstanceID, req.RackID, req.SubscribedTopicRegex = longest, &longest, &longest, &regex
		by := Caller{ClientID: longest, ClientHost: "/192.0.2.1"}
		resp := answer[*kmsg.ConsumerGroupHeartbeatResponse](w, func(to Token, out *Out) { w.send(by, req, to, out) })
		if resp.ErrorCode != 0 || len(assignedOf(resp)) != 3 {
			t.Fatalf("%v: %d partitions", kafka.Code(resp.ErrorCode), len(assignedOf(resp)))
		}
		w.until(w.nowMs+20_000, nil)
		w.reload()
		again := beat(longest, resp.MemberEpoch)
		again.Group, again.InstanceID = longest, &longest
		answer[*kmsg.ConsumerGroupHeartbeatResponse](w, func(to Token, out *Out) { w.send(by, again, to, out) })
		w.until(w.nowMs+60_000, nil) // its session ends
		if c := w.g.groups[longest].(*consumerGroup); !c.empty() {
			t.Errorf("%d members are left", len(c.members))
		}
		if codes := ask[*kmsg.DeleteGroupsResponse](w, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{longest}}).Groups; codes[0].ErrorCode != 0 {
			t.Errorf("delete: %v", kafka.Code(codes[0].ErrorCode))
		}
	}
}

// A member may come only if there is room in a batch to tell of its end, too:
// otherwise it would stay for ever when it is gone.
func TestWhoMayComeMayGo(t *testing.T) {
	taken, refused := 0, 0
	for limit := int32(100); limit < 3000; limit += 20 {
		for _, regex := range []string{"", "t", strings.Repeat("t", 300)} {
			for _, member := range []string{"m", strings.Repeat("m", 200)} {
				w := newWorld(t, func(o *Options) { o.RecordsBytesMax = limit })
				req := beat(member, 0)
				if req.SubscribedTopicRegex = &regex; regex == "" {
					req.SubscribedTopicNames = []string{"t"}
				}
				req.Group = strings.Repeat("g", 100)
				resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](w, req)
				if resp.ErrorCode != 0 {
					if refused++; kafka.Code(resp.ErrorCode) != kafka.UnknownServerError || len(w.g.groups) != 0 || len(w.log) != 0 {
						t.Fatalf("limit %d: %v, %d groups", limit, kafka.Code(resp.ErrorCode), len(w.g.groups))
					}
					continue
				}
				taken++
				w.until(w.nowMs+11_000, nil)
				next := beat(member, resp.MemberEpoch)
				next.Group = req.Group
				_ = ask[*kmsg.ConsumerGroupHeartbeatResponse](w, next) // its assignment may not fit
				w.until(w.nowMs+60_000, nil)
				if c := w.g.groups[req.Group].(*consumerGroup); !c.empty() {
					t.Fatalf("limit %d, member id of %d, regex of %d bytes: it stays\n%s", limit, len(member), len(regex), w.consumerState(c))
				}
			}
		}
	}
	if taken == 0 || refused == 0 {
		t.Errorf("%d were taken, %d refused", taken, refused)
	}
}

// Lists that do not fit are refused to who sends them. The group, and everybody
// else in it, go on; nothing of the lists is kept.
func TestHugeListsOfAHeartbeat(t *testing.T) {
	w := newWorld(t, nil)
	w.beat(beat("a", 0, "t"), kafka.None)
	w.beat(beat("b", 0, "t"), kafka.None)
	w.beat(owning(beat("a", w.beat(beat("a", 2), kafka.None).MemberEpoch), 0, 1), kafka.None)
	w.beat(beat("b", 3), kafka.None)
	before := durable(w.g, w.g)
	same := func(what string) {
		t.Helper()
		if !maps.Equal(before, durable(w.g, w.g)) {
			t.Fatalf("%s has changed the group", what)
		}
	}
	var names []string
	for i := range 10_000 {
		names = append(names, fmt.Sprintf("%s%05d", strings.Repeat("n", 244), i))
	}
	w.beat(beat("c", 0, names...), kafka.UnknownServerError)
	same("a member with 10,000 topics")
	w.beat(beat("a", 3, names...), kafka.UnknownServerError)
	same("a subscription to 10,000 topics")
	w.beat(beat("a", 3, longest, longest, longest), kafka.None) // a set of one
	epoch := w.g.groups["g"].(*consumerGroup).members["a"].epoch
	w.beat(beat("a", epoch, "t"), kafka.None)

	owned := beat("b", w.g.groups["g"].(*consumerGroup).members["b"].epoch)
	for i := range 100_000 {
		owned.Topics = append(owned.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topicID(fmt.Sprint(i)), Partitions: []int32{-1, 1 << 30, int32(i)}})
	}
	records := len(w.log)
	w.beat(owned, kafka.None) // what it says of itself gives it nothing
	if n := len(w.log) - records; n > 8 {
		t.Errorf("%d records", n)
	}
	w.beat(func() *kmsg.ConsumerGroupHeartbeatRequest {
		req := beat("a", epoch)
		req.SubscribedTopicRegex = &longest
		return req
	}(), kafka.InvalidRegularExpression)
	for range 4 {
		for _, member := range []string{"a", "b"} {
			m := w.g.groups["g"].(*consumerGroup).members[member]
			req := owning(beat(member, m.epoch))
			for _, o := range m.assigned {
				for _, p := range o.partitions {
					req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: o.id, Partitions: []int32{int32(p)}})
				}
			}
			w.beat(req, kafka.None)
		}
	}
	c := w.g.groups["g"].(*consumerGroup)
	if c.stateName() != "Stable" || len(c.partitionEpochs) != 3 || len(c.names) != 1 {
		t.Errorf("%s\n%d names", w.consumerState(c), len(c.names))
	}
}
