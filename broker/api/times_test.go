// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"
	"time"

	"gregor/broker/call"
	"gregor/replica"
)

// A request's time is from its arrival to its reply, the wait of a long poll
// included; topics count what went in and out of them.
func TestRequestTimesAndTraffic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 2)
		c := n.dial()
		batch := records("a", "b", "c")
		for range 2 {
			c.produce(9, "t", id, 0, 1, batch)
		}
		c.produce(9, "t", id, 1, 1, batch)
		if p := c.produce(9, "t", id, 0, 1, []byte("no batch")); p.ErrorCode == 0 {
			t.Fatal("it was taken")
		}
		c.fetchOne(fetchRequest(12, place{"t", id, 0, 0}))
		c.fetchOne(fetchRequest(12, place{"t", id, 0, 99})) // out of range
		poll := fetchRequest(12, place{"t", id, 1, 3})
		poll.MaxWaitMillis = 5000
		c.fetchOne(poll)
		time.Sleep(time.Second) // the last is counted behind its reply
		s := n.api.Stats()
		if p := s.Times["Produce"]; p.Count != 4 || p.Buckets[0] != 4 || p.Throttled != 0 {
			t.Errorf("%+v", p)
		}
		if f := s.Times["Fetch"]; f.Count != 3 || f.Total != 5*time.Second || f.Buckets[0] != 2 || f.Buckets[13] != 2 || f.Buckets[14] != 3 {
			t.Errorf("%+v", f)
		}
		if _, ok := s.Times["ListOffsets"]; ok {
			t.Error("nobody asked for it")
		}
		var got replica.TrafficStats
		n.table.Topics(func(name string, traffic *replica.Traffic) bool {
			if name != "t" {
				t.Errorf("traffic of %s", name)
			}
			got = traffic.Stats()
			return true
		})
		size := int64(len(batch))
		want := replica.TrafficStats{Order: 1, MessagesInTotal: 9, BytesInTotal: 3 * size, BytesOutTotal: 2 * size, ProduceRequestsTotal: 4, ProduceFailuresTotal: 1,
			FetchRequestsTotal: got.FetchRequestsTotal, FetchRequestFailuresTotal: 1}
		if got != want || got.FetchRequestsTotal < 3 { // a poll looks again when it is over
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

func TestTimesFallIntoTheirBuckets(t *testing.T) {
	a := &API{}
	at := time.Unix(100, 0)
	for _, took := range []time.Duration{-time.Second, 0, 100 * time.Microsecond, 100*time.Microsecond + 1, time.Second, time.Minute} {
		a.Answered(&call.Call{Key: 1, ReceivedAt: at.Add(-took), ThrottleMs: 10}, at)
	}
	s := a.count.times[1].stats()
	if s.Count != 6 || s.Buckets[0] != 3 || s.Buckets[1] != 4 || s.Buckets[12] != 5 || s.Buckets[16] != 5 || s.Throttled != 60*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

func BenchmarkAnswered(b *testing.B) {
	a := &API{}
	at := time.Unix(100, 0)
	c := &call.Call{Key: 1, ReceivedAt: at.Add(-300 * time.Microsecond)}
	b.ReportAllocs()
	for b.Loop() {
		a.Answered(c, at)
	}
}
