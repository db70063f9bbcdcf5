// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Stats are what a Manager has counted.
type Stats struct {
	Instances                int   // clients that are known
	Clients                  int   // of those and of past ones, who has series
	Series                   int64 // series that are kept
	PushesTotal              int64 // pushes whose metrics were taken
	ThrottledTotal           int64 // requests that came too early
	UnknownSubscriptionTotal int64 // pushes for subscriptions that have changed
	FailedTotal              int64 // pushes that could not be read
	DroppedTotal             int64 // data points beyond a limit, or without a name
}

// Kind is what a Series is.
type Kind uint8

// The kinds of series.
const (
	Counter   = Kind(counter)
	Gauge     = Kind(gauge)
	Histogram = Kind(histogram)
)

// Series is one as it is shown: all series of a name are of one kind, and no
// two have the same labels.
type Series struct {
	Name   string
	Kind   Kind
	Labels []Label
	Value  float64
	// Of a histogram: what was counted up to each bound, as Prometheus counts.
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64
}

// Stats reads the counters.
func (m *Manager) Stats(now time.Time) Stats {
	m.mu.Lock()
	m.expire(now)
	instances := len(m.instances)
	m.mu.Unlock()
	s := Stats{
		Instances: instances, PushesTotal: m.count.pushes.Load(), ThrottledTotal: m.count.throttled.Load(),
		UnknownSubscriptionTotal: m.count.unknownSubscription.Load(), FailedTotal: m.count.failed.Load(),
	}
	s.Clients, s.Series, s.DroppedTotal = m.store.count(now), m.store.series.Load(), m.store.dropped.Load()
	return s
}

// Exposed are the series of clients that are not silent.
func (m *Manager) Exposed(now time.Time) []Series { return expose(m.store.all(now)) }

func (s *Store) count(now time.Time) int {
	s.mu.Lock()
	silent := s.expire(now)
	n := len(s.clients)
	s.mu.Unlock()
	s.forget(silent)
	return n
}

// shown is the part of a client that a scrape has seen.
type shown struct {
	labels [len(clientLabels)]string
	series []*series
}

func (s *Store) all(now time.Time) []shown {
	s.mu.Lock()
	silent := s.expire(now)
	clients := make([]*client, 0, len(s.clients))
	for _, c := range s.clients {
		clients = append(clients, c)
	}
	s.mu.Unlock()
	s.forget(silent)
	list := make([]shown, len(clients))
	for i, c := range clients {
		c.mu.Lock()
		list[i] = shown{c.labels, c.series}
		c.mu.Unlock()
	}
	return list
}

// expose makes what is shown. Clients may say of one name that it is this and
// that, or take the names that a histogram's parts have: a scrape must not fail
// for it, so the counter comes before the gauge and the gauge before the
// histogram, and what comes later is not shown.
func expose(list []shown) []Series {
	names := [kinds]map[string]bool{{}, {}, {}}
	for _, c := range list {
		for _, x := range c.series {
			names[x.kind][x.name] = true
		}
	}
	isShown := func(x *series) bool {
		switch x.kind {
		case counter:
			return true
		case gauge:
			return !names[counter][x.name]
		}
		return !slices.ContainsFunc(histogramNames[:], func(suffix string) bool {
			return names[counter][x.name+suffix] || names[gauge][x.name+suffix]
		}) && !isPart(names[histogram], x.name)
	}
	var out []Series
	for _, c := range list {
		for _, x := range c.series {
			if isShown(x) {
				out = append(out, x.expose(c.labels))
			}
		}
	}
	return out
}

// histogramNames are what Prometheus makes of a histogram's name, and that name.
var histogramNames = [...]string{"", "_count", "_sum", "_bucket"}

// isPart reports whether a name is that of a part of some histogram.
func isPart(histograms map[string]bool, name string) bool {
	return slices.ContainsFunc(histogramNames[1:], func(suffix string) bool {
		whole, ok := strings.CutSuffix(name, suffix)
		return ok && histograms[whole]
	})
}

func (x *series) expose(of [len(clientLabels)]string) Series {
	out := Series{Name: x.name, Kind: Kind(x.kind), Labels: make([]Label, 0, len(clientLabels)+len(x.labels))}
	for i, name := range clientLabels {
		out.Labels = append(out.Labels, Label{name, of[i]})
	}
	out.Labels = append(out.Labels, x.labels...)
	if x.kind != histogram {
		out.Value = math.Float64frombits(x.value.Load())
		return out
	}
	d := x.dist.Load()
	if d == nil { // made by a push that has not come to its value
		d = &distribution{}
	}
	out.Count, out.Sum, out.Buckets = d.count, d.sum, make(map[float64]uint64, len(d.bounds))
	var below uint64
	for i, bound := range d.bounds {
		below += d.counts[i]
		out.Buckets[bound] = below
	}
	return out
}
