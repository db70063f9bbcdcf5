// SPDX-License-Identifier: Apache-2.0

// Package quota says how long a client must be kept waiting so that it stays
// within its limits. It measures as Kafka does:
//
//   - bytes produced, bytes fetched and handlers' time are rates over the last
//     windows; who is above its limit waits until the rate, measured to the end
//     of the wait, is the limit (KIP-13, KIP-124, KIP-219);
//   - partitions created and deleted take tokens (KIP-599): a request may take
//     more than there are, the next one waits or is refused;
//   - connections of an address are a rate, and too many are refused (KIP-612).
//
// Everything is a function of limits, amounts and now. What is kept for an
// entity is a few hundred bytes while someone uses it, or while it still counts.
// The number of those that nobody uses is bounded.
package quota

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Manager.
type Options struct {
	// Client measures clients and addresses: quota.window.num and
	// quota.window.size.seconds.
	Client Windows
	// Controller measures mutations: controller.quota.window.*.
	Controller Windows
	// IdleMax bounds the entities that are kept though no connection uses them.
	// Default 100,000.
	IdleMax int
	// Start is a time before all others.
	Start time.Time
}

// Manager holds the limits of a node and what its clients have used of them.
//
//	Update ─► limits (a version) ─┐
//	connection ─► Client: version, user, client id, meters ─► Meter: windows, under its own lock
//
// A connection binds its Client to meters and keeps them until the limits or
// its client id change, so that a request costs a comparison where nothing is
// limited, and a leaf lock for nanoseconds where something is. Meters are
// shared by all that are counted together. One that nobody uses stays in the
// order of its last use while it still counts, at most IdleMax of them; each
// use of the table looks at the two oldest.
//
// Handlers' time is the time from when a request was whole until its answer is
// made, less what it waited for records, for the controller or for another
// broker: what Kafka's handler threads would spend on it. Time on the socket is
// not part of it, since a connection that writes waits for its peer most of the
// time; the clock is read only for clients with such a limit.
//
// Rejected: a token bucket for all kinds. It is simpler and as exact over time,
// but tells clients other throttle times than Kafka does, and operators size
// their limits by those.
//
// Safe for concurrent use.
type Manager struct {
	o      Options
	limits atomic.Pointer[version]
	count  [kinds]struct{ throttled, ms atomic.Int64 }

	total struct {
		sync.Mutex
		limit float64 // connections a second; 0: any number
		used  window
	}

	mu     sync.Mutex // guards what follows, and the place of each meter
	meters map[share]*Meter
	idle   list
}

// windowsMax bounds the windows, so that their time is a number.
const windowsMax = 1 << 20

// version is one state of the limits.
type version struct {
	number uint64
	limits *Limits
}

// New makes a Manager without limits.
func New(o Options) *Manager {
	if o.IdleMax == 0 {
		o.IdleMax = 100_000
	}
	o.Client.Count = min(o.Client.Count, windowsMax)
	o.Controller.Count = min(o.Controller.Count, windowsMax)
	m := &Manager{o: o, meters: map[share]*Meter{}}
	m.limits.Store(&version{limits: NewLimits()})
	return m
}

// Update replaces all limits. They hold for the next request of every client;
// what clients have used counts on.
func (m *Manager) Update(l *Limits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits.Store(&version{m.limits.Load().number + 1, l})
}

// ms is a time in milliseconds that no one can set back.
func (m *Manager) ms(now time.Time) int64 { return now.Sub(m.o.Start).Milliseconds() }

func (m *Manager) windows(k Kind) Windows {
	if k == Mutation {
		return m.o.Controller
	}
	return m.o.Client
}

// Client is one connection's view of its limits. It belongs to the connection's
// goroutine.
type Client struct {
	version  *version
	user, id string
	meters   [ofClients]*Meter // nil: not limited
}

// Bind makes c the client of a user and a client id. It is called before each
// request.
func (m *Manager) Bind(c *Client, user, clientID string, now time.Time) {
	if v := m.limits.Load(); v != c.version || c.id != clientID || c.user != user {
		m.rebind(c, v, user, clientID, m.ms(now))
	}
}

func (m *Manager) rebind(c *Client, v *version, user, clientID string, nowMs int64) {
	if len(v.limits.entities) == 0 && c.meters == [ofClients]*Meter{} {
		c.version, c.user, c.id = v, user, clientID
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := c.meters
	for k := range ofClients {
		c.meters[k] = nil
		if limit, by := v.limits.find(k, user, clientID); limit > 0 {
			c.meters[k] = m.takeLocked(by, limit, v.number)
		}
	}
	m.releaseLocked(&old, nowMs)
	c.version, c.user, c.id = v, user, clientID
}

// Release is called when the connection has ended.
func (m *Manager) Release(c *Client, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.releaseLocked(&c.meters, m.ms(now))
	*c = Client{}
}

func (m *Manager) releaseLocked(meters *[ofClients]*Meter, nowMs int64) {
	for _, meter := range meters {
		if meter != nil {
			m.putLocked(meter, nowMs)
		}
	}
}

// Limited reports whether c has a limit of that kind.
func (c *Client) Limited(k Kind) bool { return c.meters[k] != nil }

// Charge counts what c has used, and says for how many milliseconds it must
// wait.
func (c *Client) Charge(m *Manager, k Kind, amount float64, now time.Time) int32 {
	if meter := c.meters[k]; meter != nil {
		return meter.charge(m, m.ms(now), amount)
	}
	return 0
}

// AtOnceMax is the most that one answer should hold: what is left of the limit,
// or, where that is little, what one window lets pass. Kafka's consumers, which
// get as much as all windows let pass or nothing, come to half of their limit
// when they ask for much. It is below 0 where there is no limit.
func (c *Client) AtOnceMax(m *Manager, k Kind, now time.Time) float64 {
	if meter := c.meters[k]; meter != nil {
		return meter.atOnceMax(m, m.ms(now))
	}
	return -1
}

// Percent is an amount of the kind Request.
func Percent(d time.Duration) float64 { return 100 * d.Seconds() }

// Throttled counts a client that is made to wait.
func (m *Manager) Throttled(k Kind, ms int32) {
	m.count[k].throttled.Add(1)
	m.count[k].ms.Add(int64(ms))
}

// Mutations are what one request may do to partitions.
type Mutations struct {
	m          *Manager
	by         share
	limit      float64 // 0: none
	version    uint64
	nowMs      int64
	throttleMs int32
}

// Mutations gives the tokens of a user and a client id to one request.
func (m *Manager) Mutations(user, clientID string, now time.Time) *Mutations {
	v := m.limits.Load()
	u := &Mutations{m: m, version: v.number, nowMs: m.ms(now)}
	u.limit, u.by = v.limits.find(Mutation, user, clientID)
	return u
}

// Charge takes a token for each partition. A strict request is refused while
// the bucket is overdrawn; another one is only told to wait.
func (u *Mutations) Charge(partitions int, strict bool) (ok bool) {
	if u.limit == 0 {
		return true
	}
	var ms int32
	u.m.with(u.by, u.limit, u.version, u.nowMs, func(t *Meter) {
		ok, ms = t.mutate(u.m, u.nowMs, float64(partitions), strict)
	})
	if ms > 0 {
		if u.throttleMs == 0 {
			u.m.Throttled(Mutation, ms)
		}
		u.throttleMs = ms
	}
	return ok
}

// ThrottleMs is how long the requester must wait.
func (u *Mutations) ThrottleMs() int32 { return u.throttleMs }

// LimitConnections sets how many connections a second the node takes; 0 is any
// number.
func (m *Manager) LimitConnections(perSecond float64) {
	m.total.Lock()
	defer m.total.Unlock()
	m.total.limit = perSecond
}

// Connected counts a connection of the node, and says how long the next ones
// must wait.
func (m *Manager) Connected(now time.Time) time.Duration {
	nowMs := m.ms(now)
	m.total.Lock()
	defer m.total.Unlock()
	if !(m.total.limit > 0) {
		return 0
	}
	m.total.used.record(m.o.Client, nowMs, 1)
	sum, spanMs := m.total.used.measure(m.o.Client, nowMs)
	ms := min(throttleMs(sum, spanMs, m.total.limit), m.o.Client.Ms)
	return time.Duration(ms) * time.Millisecond
}

// ConnectedFrom counts a connection of an address. If there were too many it
// does not count, must be refused, and its peer kept from trying again for the
// time that is returned.
func (m *Manager) ConnectedFrom(a netip.Addr, now time.Time) time.Duration {
	v := m.limits.Load()
	limit := v.limits.ofAddress(a.Unmap())
	if !(limit > 0) {
		return 0
	}
	nowMs := m.ms(now)
	var ms int32
	by := share{kind: Connection, client: Named(a.Unmap().String())}
	m.with(by, limit, v.number, nowMs, func(t *Meter) { ms = t.admit(m, nowMs) })
	if ms > 0 {
		m.Throttled(Connection, ms)
	}
	return time.Duration(ms) * time.Millisecond
}

// Stats are the counters of a Manager.
type Stats struct {
	// Throttled and ThrottledMs count by Kind.
	Throttled, ThrottledMs [kinds]int64
	// Meters is the number of users, client ids, pairs of them and addresses
	// that are kept.
	Meters int
}

// Stats reads the counters.
func (m *Manager) Stats() Stats {
	var s Stats
	for k := range kinds {
		s.Throttled[k], s.ThrottledMs[k] = m.count[k].throttled.Load(), m.count[k].ms.Load()
	}
	m.mu.Lock()
	s.Meters = len(m.meters)
	m.mu.Unlock()
	return s
}
