// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"testing"

	"gregor/base/kafka"
)

// Who still has to get something is told to come soon, as is everybody in a
// group that was assigned anew. A group at rest beats at its own interval.
// Without the setting all do always, as in Kafka.
func TestMembersOfAChangingGroupComeSoon(t *testing.T) {
	for _, soonMs := range []int32{0, 700, 60_000} { // the last is no sooner
		w := newWorld(t, func(o *Options) {
			o.ConsumerRebalanceIntervalMs, o.ConsumerAssignmentIntervalMs = soonMs, 1000
		})
		w.topics["t"] = 2
		told := func(what string, got int32, soon bool) {
			t.Helper()
			want := int32(5000)
			if soon && soonMs == 700 {
				want = 700
			}
			if got != want {
				t.Errorf("setting %d, %s: %d ms, want %d", soonMs, what, got, want)
			}
		}
		a := w.beat(beat("a", 0, "t"), kafka.None)
		told("a joins", a.HeartbeatIntervalMillis, false)
		a = w.beat(owning(beat("a", a.MemberEpoch), assignedOf(a)...), kafka.None)
		told("a has all, and the group has just changed", a.HeartbeatIntervalMillis, true)
		w.until(w.nowMs+100, nil)
		b := w.beat(beat("b", 0, "t"), kafka.None)
		told("b joins and is not assigned to yet", b.HeartbeatIntervalMillis, true)
		w.until(w.nowMs+1000, nil)
		b = w.beat(beat("b", b.MemberEpoch), kafka.None)
		told("b waits for a", b.HeartbeatIntervalMillis, true)
		a = w.beat(beat("a", a.MemberEpoch), kafka.None)
		told("a is to give up", a.HeartbeatIntervalMillis, true)
		a = w.beat(owning(beat("a", a.MemberEpoch), assignedOf(a)...), kafka.None)
		b = w.beat(beat("b", b.MemberEpoch), kafka.None)
		told("b has all, and the group has just changed", b.HeartbeatIntervalMillis, true)
		if got := w.g.groups["g"].stateName(); got != "Stable" {
			t.Fatalf("the group is %s", got)
		}
		w.until(w.nowMs+10_000, nil)
		told("a at rest", w.beat(beat("a", a.MemberEpoch), kafka.None).HeartbeatIntervalMillis, false)
		told("b at rest", w.beat(beat("b", b.MemberEpoch), kafka.None).HeartbeatIntervalMillis, false)
	}
}

// Members leave a wave one by one, each at its own time within an interval.
func TestMembersLeaveAWaveOneByOne(t *testing.T) {
	tenths := make([]int, 10)
	for i := range 1000 {
		after := waveMs(fmt.Sprintf("member-%04d", i), 5000) - 5000
		if after < 0 || after >= 5000 {
			t.Fatalf("member %d: %d ms", i, after)
		}
		tenths[after/500]++
	}
	for i, n := range tenths {
		if n < 50 || n > 150 {
			t.Errorf("%d of 1,000 members leave in tenth %d: %v", n, i, tenths)
		}
	}
}

// A pattern is matched behind the heartbeat that brings it.
func TestMembersOfAPatternComeSoon(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.ConsumerRebalanceIntervalMs = 700 })
	w.topics["t"] = 2
	req := beat("a", 0)
	req.SubscribedTopicNames, req.SubscribedTopicRegex = []string{}, new(string)
	*req.SubscribedTopicRegex = "t.*"
	if resp := w.beat(req, kafka.None); resp.HeartbeatIntervalMillis != 700 || len(assignedOf(resp)) != 0 {
		t.Errorf("joined by a pattern: %s", show(resp))
	}
}
