// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"gregor/base/kafka"
)

// Limits bound what is kept of pushes. What is beyond them is counted and let
// go; the client is told nothing, for it can do nothing about it.
type Limits struct {
	SeriesMax       int // of all clients
	ClientSeriesMax int // of one
}

// Store keeps the newest value of each series of each client, until the client
// was silent for three of its push intervals and a minute at least.
//
// A series is a name, what it is, and its labels: the attributes of the data
// point and those of its resource that say what the client is (groupLabels).
// Names and labels are made such that Prometheus takes them, before they are
// compared; so two series of one client never are the same one to it. What
// clients send as a delta is added up here.
//
// A scrape meets pushes at Store.mu, for the list of clients, and at client.mu,
// for the list of series; values are atomics, so neither waits for long.
type Store struct {
	limits     Limits
	clientsMax int

	mu      sync.Mutex // guards what follows
	clients map[kafka.UUID]*client
	// earliest is before the time at which the first of them expires.
	earliest time.Time

	series  atomic.Int64 // that are kept
	dropped atomic.Int64 // data points that found no room or no name
}

// client is what one has pushed.
type client struct {
	labels  [len(clientLabels)]string
	expires time.Time // guarded by Store.mu

	mu     sync.Mutex // guards what follows
	byKey  map[string]*series
	series []*series // grows only, so a scrape may read what it has seen of it
	gone   bool
}

// series is one of a client's. Its value is an atomic, of a histogram it is in dist.
type series struct {
	name   string
	kind   kind
	labels []Label
	value  atomic.Uint64 // bits of a float64
	dist   atomic.Pointer[distribution]
}

// Label is a label of a series.
type Label struct{ Name, Value string }

// clientLabels are on all series, and no attribute may have their names.
var clientLabels = [...]string{"client_id", "client_instance_id", "client_software_name", "client_software_version"}

// groupLabels are the attributes of a resource that become labels.
var groupLabels = [...]string{"client_rack", "group_id", "group_instance_id", "transactional_id"}

// textMax is the longest name of a metric or a label, and the longest value; a
// point with a longer name is let go, a longer value is cut.
const textMax = 255

func newStore(limits Limits, clientsMax int) *Store {
	return &Store{limits: limits, clientsMax: clientsMax, clients: map[kafka.UUID]*client{}}
}

// add takes the points of a push, which walk has judged to be right.
func (s *Store) add(now time.Time, from Client, id kafka.UUID, keep time.Duration, body []byte) error {
	c := s.client(now, from, id, keep)
	if c == nil {
		s.dropped.Add(1)
		return nil
	}
	var key []byte
	var labels []Label
	return walk(body, func(p *point) {
		name, ok := exposedName(p)
		if !ok {
			s.dropped.Add(1)
			return
		}
		labels = appendLabels(labels[:0], p)
		key = appendKey(key[:0], name, p.kind, labels)
		if x := s.find(c, key, name, p.kind, labels); x != nil {
			x.set(p)
		} else {
			s.dropped.Add(1)
		}
	})
}

// client gives what is kept of a client, nil if there is no room for it.
func (s *Store) client(now time.Time, from Client, id kafka.UUID, keep time.Duration) *client {
	var silent []*client
	defer func() { s.forget(silent) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		if len(s.clients) >= s.clientsMax {
			silent = s.expire(now)
		}
		if len(s.clients) >= s.clientsMax {
			return nil
		}
		c = &client{byKey: map[string]*series{}, labels: [...]string{
			valueText(from.ID), id.String(), valueText(from.Software.Name), valueText(from.Software.Version)}}
		s.clients[id] = c
	}
	c.expires = now.Add(keep)
	if c.expires.Before(s.earliest) || len(s.clients) == 1 {
		s.earliest = c.expires
	}
	return c
}

// expire takes out who was silent for too long; forget must follow, without the
// lock. It looks at all clients only when one of them may be due.
func (s *Store) expire(now time.Time) (silent []*client) {
	if now.Before(s.earliest) {
		return nil
	}
	first := true
	for id, c := range s.clients {
		if !now.Before(c.expires) {
			delete(s.clients, id)
			silent = append(silent, c)
		} else if first || c.expires.Before(s.earliest) {
			s.earliest, first = c.expires, false
		}
	}
	return silent
}

// forget lets go of the series of clients that were taken out.
func (s *Store) forget(silent []*client) {
	for _, c := range silent {
		c.mu.Lock()
		c.gone = true
		n := len(c.series)
		c.mu.Unlock()
		s.series.Add(-int64(n))
	}
}

// find gives a series, which is made if there is room for it.
func (s *Store) find(c *client, key []byte, name string, k kind, labels []Label) *series {
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.byKey[string(key)]; x != nil { // compares without allocating
		return x
	}
	if c.gone || len(c.series) >= s.limits.ClientSeriesMax {
		return nil
	}
	if s.series.Add(1) > int64(s.limits.SeriesMax) {
		s.series.Add(-1)
		return nil
	}
	x := &series{name: name, kind: k, labels: slices.Clone(labels)}
	c.byKey[string(key)] = x
	c.series = append(c.series, x)
	return x
}

// set takes a new value. Pushes of one client come one at a time; should two
// meet, one of two deltas may be lost.
func (x *series) set(p *point) {
	if x.kind != histogram {
		v := p.value
		if p.delta {
			if math.IsNaN(v) || math.IsInf(v, 0) { // would stay for good
				v = 0
			}
			v += math.Float64frombits(x.value.Load())
		}
		x.value.Store(math.Float64bits(v))
		return
	}
	d := &distribution{p.dist.count, p.dist.sum, slices.Clone(p.dist.bounds), slices.Clone(p.dist.counts)}
	if old := x.dist.Load(); p.delta && old != nil && slices.Equal(old.bounds, d.bounds) && len(old.counts) == len(d.counts) {
		d.count += old.count
		d.sum += old.sum
		for i := range d.counts {
			d.counts[i] += old.counts[i]
		}
	}
	x.dist.Store(d)
}

// clientPrefix is in front of the names of what clients push.
const clientPrefix = "client_"

// exposedName makes the name that Prometheus is told: org.apache.kafka. goes, and
// a counter ends in _total.
func exposedName(p *point) (string, bool) {
	name := strings.TrimPrefix(string(p.name), "org.apache.kafka.")
	if name == "" || len(name) > textMax {
		return "", false
	}
	name = clientPrefix + word(name)
	if p.kind == counter && !strings.HasSuffix(name, "_total") {
		name += "_total"
	}
	return name, true
}

// word replaces what Prometheus does not take in names.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return r
		}
		return '_'
	}, s)
}

func appendLabels(to []Label, p *point) []Label {
	for i := range p.attrs {
		a := &p.attrs[i]
		if len(a.key) > textMax {
			continue
		}
		name := word(string(a.key))
		if i >= p.own && !slices.Contains(groupLabels[:], name) || !isLabel(name) ||
			slices.ContainsFunc(to, func(l Label) bool { return l.Name == name }) {
			continue
		}
		to = append(to, Label{name, a.String()})
	}
	slices.SortFunc(to, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return to
}

// isLabel reports whether an attribute may be a label: some names are those of
// our own labels, or of Prometheus'.
func isLabel(name string) bool {
	return name != "le" && name != "quantile" && !strings.HasPrefix(name, "__") && (name[0] < '0' || name[0] > '9') &&
		!slices.Contains(clientLabels[:], name)
}

// String gives the value of an attribute.
func (a *attr) String() string {
	switch a.kind {
	case anyBool:
		return strconv.FormatBool(a.value != 0)
	case anyInt:
		return strconv.FormatInt(int64(a.value), 10)
	case anyDouble:
		return strconv.FormatFloat(math.Float64frombits(a.value), 'g', -1, 64)
	}
	return valueText(string(a.text))
}

func valueText(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), textMax)], "?")
}

// appendKey tells series of a client apart. Names have no zero byte; of a value
// its length says where it ends.
func appendKey(to []byte, name string, k kind, labels []Label) []byte {
	to = append(append(to, byte(k)), name...)
	for _, l := range labels {
		to = append(append(to, 0), l.Name...)
		to = protowire.AppendVarint(append(to, 0), uint64(len(l.Value)))
		to = append(to, l.Value...)
	}
	return to
}
