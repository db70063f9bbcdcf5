// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

func joinWith(group, member, regex string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := beat(member, 0)
	req.Group, req.SubscribedTopicRegex = group, &regex
	return req
}

// What a regex matches comes back when it does. Until then everyone is served,
// and what has changed in between is not undone.
func TestMatchingBesideTheLane(t *testing.T) {
	w := newWorld(t, nil)
	under := true
	w.slow = func() bool { return under }
	w.beat(joinWith("g", "a", "t"), kafka.None)
	w.beat(joinWith("h", "x", "u"), kafka.None)
	if len(w.matching) != 2 {
		t.Fatalf("%d are under way", len(w.matching))
	}
	w.until(w.nowMs+20_000, nil)
	w.beat(beat("a", 1), kafka.None) // begins no second one
	w.beat(joinWith("g", "b", "u"), kafka.None)
	if len(w.matching) != 2 {
		t.Fatalf("%d are under way", len(w.matching))
	}
	gone := beat("x", epochLeave)
	gone.Group = "h"
	w.beat(gone, kafka.None)
	ask[*kmsg.DeleteGroupsResponse](w, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{"h"}})
	w.beat(joinWith("h", "y", "u"), kafka.None) // another group of that name
	records := len(w.log)
	under = false
	w.until(w.nowMs, nil)
	var resolved []string
	for _, l := range w.log[records:] {
		if text := showRecord(t, l.rec); strings.HasPrefix(text, "ConsumerGroupRegularExpression") {
			resolved = append(resolved, text[:strings.Index(text, " v0")])
		}
	}
	slices.Sort(resolved)
	if want := []string{`ConsumerGroupRegularExpression{GroupID="g" RegularExpression="t"}`, `ConsumerGroupRegularExpression{GroupID="h" RegularExpression="u"}`}; !slices.Equal(resolved, want) {
		t.Errorf("resolved are %v", resolved)
	}
	w.beat(beat("a", 1), kafka.None)
	w.until(w.nowMs+11_000, nil)
	w.beat(beat("b", 1), kafka.None) // whose own regex has not been looked at yet
	w.until(w.nowMs, nil)
	if c := w.g.groups["g"].(*consumerGroup); len(c.resolved) != 2 {
		t.Errorf("resolved are %v", sortedKeys(c.resolved))
	}
}

// A coordinator that was loaded anew has not begun what comes back.
func TestMatchingOfAFormerCoordinator(t *testing.T) {
	w := newWorld(t, nil)
	w.beat(joinWith("g", "a", "t"), kafka.None)
	w.reload()
	w.until(w.nowMs, nil)
	if c := w.g.groups["g"].(*consumerGroup); len(c.resolved) != 0 {
		t.Fatalf("resolved are %v", c.resolved)
	}
	w.beat(beat("a", 1), kafka.None) // begins it again
	w.until(w.nowMs, nil)
	if c := w.g.groups["g"].(*consumerGroup); !slices.Equal(c.resolved["t"].topics, []string{"t"}) {
		t.Errorf("resolved are %v", c.resolved)
	}
}

// What does not fit into a batch is not tried again with every heartbeat.
func TestMatchingThatDoesNotFit(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.RecordsBytesMax = 4000 })
	topics := topicSet{}
	for i := range 40 {
		topics[fmt.Sprintf("%d%s", i, strings.Repeat("x", 200))] = 1
	}
	w.setTopics(topics, nil)
	w.beat(joinWith("g", "a", ".*"), kafka.None)
	w.until(w.nowMs, nil)
	for i := range 9 {
		w.until(w.nowMs+1000, nil)
		if w.beat(beat("a", 1), kafka.None); len(w.matching) != 0 {
			t.Fatalf("again after %d s", i+1)
		}
	}
	w.until(w.nowMs+2000, nil)
	if w.beat(beat("a", 1), kafka.None); len(w.matching) != 1 {
		t.Error("never again")
	}
}

// BenchmarkRegex is what regexes cost on 10,000 topics: on the lane the heartbeat
// that brings one and the outcome, beside it the matching.
func BenchmarkRegex(b *testing.B) {
	topics := topicSet{}
	for i := range 10_000 {
		topics[fmt.Sprintf("orders.region-%05d.created", i)] = 12
	}
	for _, c := range []struct {
		name    string
		regexes func(i int) string
		members int
	}{
		{"simple", func(int) string { return `orders\..*` }, 1},
		{"heavy", func(int) string { return `(.*[a-z]?){40}` }, 1},
		{"1000", func(i int) string { return fmt.Sprintf(`.*region-0*%d\..*`, i) }, 1000},
	} {
		b.Run(c.name, func(b *testing.B) {
			var heartbeat, outcome, beside, next time.Duration
			for b.Loop() {
				g := New(Options{Topics: topics, RandomUUID: func() [16]byte { return [16]byte{} }})
				var out Out
				var m *Matching
				for i := range c.members {
					req := joinWith("g", fmt.Sprintf("m%04d", i), c.regexes(i))
					start := time.Now()
					out.Reset()
					g.ConsumerGroupHeartbeat(1, Caller{}, req, 1, &out)
					heartbeat += time.Since(start) / time.Duration(c.members)
					if len(out.Matching) != 0 {
						m = out.Matching[0]
					}
				}
				if c.members > 1 { // one look for all that are there by now
					g.groups["g"].(*consumerGroup).matching = nil
					out.Reset()
					g.ConsumerGroupHeartbeat(1, Caller{}, beat("m0000", epochOfFirst(g)), 1, &out)
					m = out.Matching[0]
				}
				start := time.Now()
				m.Run(context.Background())
				beside += time.Since(start)
				start = time.Now()
				out.Reset()
				g.Matched(2, m, &out)
				outcome += time.Since(start)
				start = time.Now()
				out.Reset()
				g.ConsumerGroupHeartbeat(3000, Caller{}, beat("m0000", epochOfFirst(g)), 1, &out)
				next += time.Since(start)
			}
			b.ReportMetric(float64(heartbeat.Microseconds())/float64(b.N), "lane-us/heartbeat")
			b.ReportMetric(float64(outcome.Microseconds())/float64(b.N), "lane-us/outcome")
			b.ReportMetric(float64(next.Microseconds())/float64(b.N), "lane-us/assignment")
			b.ReportMetric(float64(beside.Milliseconds())/float64(b.N), "beside-ms")
		})
	}
}

func epochOfFirst(g *Groups) int32 { return g.groups["g"].(*consumerGroup).members["m0000"].epoch }
