// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"sync/atomic"
	"time"

	"gregor/broker/call"
)

// timeBounds are the upper bounds of the histograms of request times.
var timeBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// TimeBounds are the upper bounds of Times.Buckets.
func TimeBounds() []time.Duration { return slices.Clone(timeBounds[:]) }

// times are the times of one API's requests.
type times struct {
	buckets     [len(timeBounds) + 1]atomic.Int64
	total       atomic.Int64 // nanoseconds
	throttledMs atomic.Int64
}

// Times are the times of one API's requests that were answered, from the frame
// that had arrived whole to the reply that was written.
type Times struct {
	Count     int64
	Total     time.Duration
	Throttled time.Duration // that clients were told to wait
	// Buckets count the requests up to each of TimeBounds.
	Buckets []int64
}

// Answered is part of conn.Handler. Most requests are short, so the first
// bounds are looked at first.
func (a *API) Answered(c *call.Call, at time.Time) {
	t := &a.count.times[c.Key]
	took := max(at.Sub(c.ReceivedAt), 0)
	i := 0
	for i < len(timeBounds) && took > timeBounds[i] {
		i++
	}
	t.buckets[i].Add(1)
	t.total.Add(int64(took))
	if c.ThrottleMs > 0 {
		t.throttledMs.Add(int64(c.ThrottleMs))
	}
}

func (t *times) stats() Times {
	s := Times{Total: time.Duration(t.total.Load()), Throttled: time.Duration(t.throttledMs.Load()) * time.Millisecond, Buckets: make([]int64, len(timeBounds))}
	for i := range t.buckets {
		s.Count += t.buckets[i].Load()
		if i < len(s.Buckets) {
			s.Buckets[i] = s.Count
		}
	}
	return s
}
