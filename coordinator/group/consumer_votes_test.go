// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Members name the server's assignor that they prefer. Two topics of one
// partition each show which it is: range gives both to the first member, uniform
// gives one to each of two of them.
func TestVotesForAnAssignor(t *testing.T) {
	w := newWorld(t, nil)
	w.setTopics(topicSet{"t": 1, "u": 1}, nil)
	epochs := map[string]int32{}
	say := func(member, assignor string, want kafka.Code) {
		t.Helper()
		req := beat(member, epochs[member])
		if epochs[member] == 0 {
			req.SubscribedTopicNames = []string{"t", "u"}
		}
		if assignor != "" {
			req.ServerAssignor = &assignor
		}
		if resp := w.beat(req, want); want == kafka.None {
			epochs[member] = resp.MemberEpoch
		}
	}
	// rest has everybody come to the target.
	rest := func() {
		for range 4 {
			for member, epoch := range epochs {
				req := beat(member, epoch)
				req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
				for _, o := range w.g.groups["g"].(*consumerGroup).members[member].assigned {
					for _, p := range o.partitions {
						req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: o.id, Partitions: []int32{int32(p)}})
					}
				}
				epochs[member] = w.beat(req, kafka.None).MemberEpoch
			}
		}
	}
	for i, step := range []struct {
		member, assignor string
		code             kafka.Code
		epoch            int32  // of the group
		name             string // of the assignor that is described
		shape            string // how many partitions a, b and c have
	}{
		{"a", "", kafka.None, 2, "uniform", "2 0 0"},                                // nobody names one: the default
		{"b", "range", kafka.None, 3, "range", "2 0 0"},                             // one vote is a majority of those that were given
		{"c", "uniform", kafka.None, 4, "range", "2 0 0"},                           // as many for either: the first by name
		{"a", "uniform", kafka.None, 5, "uniform", "1 0 1"},                         // a change of a member alone
		{"a", "", kafka.None, 5, "uniform", "1 0 1"},                                // null is no change
		{"b", "sticky", kafka.UnsupportedAssignor, 5, "uniform", "1 0 1"},           // the vote that it had stays
		{"b", "Range", kafka.UnsupportedAssignor, 5, "uniform", "1 0 1"},            // names are exact
		{"b", "uniform", kafka.None, 5, "uniform", "1 0 1"},                         // changes nothing: they were outvoted
		{"b", "range", kafka.None, 5, "uniform", "1 0 1"},                           // nor back
		{"c", "range", kafka.None, 6, "range", "2 0 0"},                             // two of three
		{"new", "org.example.Mine", kafka.UnsupportedAssignor, 6, "range", "2 0 0"}, // who may not join changes nothing
	} {
		say(step.member, step.assignor, step.code)
		rest()
		if i%3 == 2 {
			w.reload() // votes are in the log
		}
		c := w.g.groups["g"].(*consumerGroup)
		have := func(member string) (n int) {
			if m := c.members[member]; m != nil {
				for range m.holds() {
					n++
				}
			}
			return n
		}
		described := ask[*kmsg.ConsumerGroupDescribeResponse](w, &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: []string{"g"}}).Groups[0]
		if got := fmt.Sprint(have("a"), have("b"), have("c")); got != step.shape || described.AssignorName != step.name || c.epoch != step.epoch || c.stateName() != "Stable" {
			t.Fatalf("step %d, %s says %q: %s by %s at %d, want %s by %s at %d\n%s", i, step.member, step.assignor,
				got, described.AssignorName, c.epoch, step.shape, step.name, step.epoch, w.consumerState(c))
		}
	}
	// With those who named it goes what they named.
	for _, member := range []string{"b", "c"} {
		w.beat(beat(member, epochLeave), kafka.None)
		delete(epochs, member)
	}
	rest()
	if got := w.g.groups["g"].(*consumerGroup).assignor(nil, nil, "range"); got != "uniform" {
		t.Errorf("a alone prefers %s", got)
	}
}

// A group of which nobody may be a member is not made.
func TestUnknownAssignorMakesNoGroup(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.ConsumerAssignors = []string{"range"} })
	for _, name := range []string{"uniform", "sticky", "", strings.Repeat("x", 32767)} {
		req := beat("a", 0, "t")
		req.ServerAssignor = &name
		w.beat(req, kafka.UnsupportedAssignor)
	}
	if len(w.g.groups) != 0 || len(w.log) != 0 {
		t.Errorf("%d groups, %d records", len(w.g.groups), len(w.log))
	}
	w.beat(beat("a", 0, "t"), kafka.None)
	if c := w.g.groups["g"].(*consumerGroup); c.assignor(nil, nil, w.g.options.ConsumerAssignors[0]) != "range" {
		t.Error("the only one is not the default")
	}
}
