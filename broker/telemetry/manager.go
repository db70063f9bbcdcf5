// SPDX-License-Identifier: Apache-2.0

// Package telemetry is the broker's side of client telemetry (KIP-714): which
// client is asked for which of its metrics, which pushes are taken, and what
// they have said.
//
//	GetTelemetrySubscriptions ─► Manager: subscriptions that match ─► what to push, how often
//	PushTelemetry ─► Manager: known? in time? ─► decode (OTLP) ─► Store ─► scrape
//
// Manager decides by Kafka's rules, Store keeps what may be shown. Nothing here
// has a goroutine or a clock: whoever calls brings the time, and what is over is
// forgotten by the next call. All types are safe for concurrent use.
package telemetry

import (
	"container/heap"
	"container/list"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

// Options make a Manager.
type Options struct {
	// ClientsMax bounds the clients that are known at once: the one that was
	// silent longest makes room.
	ClientsMax int
	// PushBytesMax bounds a push, and what it decompresses to.
	PushBytesMax int
	// Limits bound what is kept of pushes.
	Limits Limits
	// RandomUUID makes ids for clients, such as Kafka's Uuid class makes.
	RandomUUID func() kafka.UUID
}

// Client is who asks or pushes, as its connection knows it.
type Client struct {
	Connection uint64 // id of the connection
	ID         string // client id
	Software   struct{ Name, Version string }
	Remote     netip.AddrPort
}

// expiryMin is how long a silent client is remembered at least; three push
// intervals, if that is more.
const expiryMin = time.Minute

// intervalDefault is the push interval of a client that no subscription asks.
const intervalDefault = 5 * time.Minute

// Manager decides who pushes what and when.
//
// A client is remembered as an instance, by the id that it was given: which
// subscriptions it was told of, when it was heard last, and what it was answered
// then. An instance that is older than the newest change of subscriptions is
// made anew by its next request, with the connection's data of its first one;
// it ends with its connection, by silence, or when ClientsMax others were heard
// since. All of that is as Kafka does it, for clients act on the error codes.
//
// mu is a leaf, held for map and heap operations alone: clients are matched, and
// payloads decompressed and read, without it.
type Manager struct {
	o     Options
	store *Store

	mu            sync.Mutex              // guards what follows
	subscriptions map[string]Subscription // never changed: replaced
	version       int                     // counts changes of subscriptions
	instances     map[kafka.UUID]*instance
	recent        *list.List // of *instance, the one heard last in front
	due           dueHeap    // by when they expire
	byConnection  map[uint64]kafka.UUID

	count counters
}

type counters struct {
	pushes, throttled, unknownSubscription, failed atomic.Int64
}

// instance is a client that has asked or pushed.
type instance struct {
	id             kafka.UUID
	client         Client
	connection     uint64 // that of the request that made it: it ends with it
	subscriptionID int32
	version        int
	metrics        []string
	interval       time.Duration
	askedAt        time.Time
	pushedAt       time.Time
	terminating    bool
	lastError      kafka.Code

	expires time.Time
	place   int // in the heap
	recent  *list.Element
}

// NewManager makes a Manager.
func NewManager(o Options) *Manager {
	return &Manager{
		o: o, store: newStore(o.Limits, o.ClientsMax),
		subscriptions: map[string]Subscription{}, instances: map[kafka.UUID]*instance{}, recent: list.New(), byConnection: map[uint64]kafka.UUID{},
	}
}

// Subscribed replaces the subscription of a name.
func (m *Manager) Subscribed(name string, s Subscription) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscriptions = maps.Clone(m.subscriptions)
	m.subscriptions[name] = s
	m.version++
}

// Unsubscribed removes the subscription of a name.
func (m *Manager) Unsubscribed(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.subscriptions[name]; ok {
		m.subscriptions = maps.Clone(m.subscriptions)
		delete(m.subscriptions, name)
		m.version++
	}
}

// Grant is what a client is told to push.
type Grant struct {
	ID             kafka.UUID
	SubscriptionID int32
	Interval       time.Duration
	BytesMax       int
	// Metrics are prefixes of names; "*" alone is all, none is nothing.
	Metrics []string
}

// Codecs are what pushes may be compressed with, in order of preference.
func Codecs() []compress.Codec {
	return []compress.Codec{compress.Zstd, compress.LZ4, compress.Gzip, compress.Snappy}
}

// Get answers what the client is to push. The zero id asks for an id.
func (m *Manager) Get(now time.Time, c Client, id kafka.UUID) (Grant, kafka.Code) {
	if id == (kafka.UUID{}) {
		id = m.newID()
	}
	i := m.lock(now, c, id)
	defer m.mu.Unlock()
	if !i.mayAsk(now) {
		m.count.throttled.Add(1)
		return Grant{}, kafka.ThrottlingQuotaExceeded
	}
	i.lastError = kafka.None
	return Grant{ID: id, SubscriptionID: i.subscriptionID, Interval: i.interval, BytesMax: m.o.PushBytesMax, Metrics: slices.Clone(i.metrics)}, kafka.None
}

func (m *Manager) newID() kafka.UUID {
	for {
		id := m.o.RandomUUID()
		m.mu.Lock()
		_, taken := m.instances[id]
		m.mu.Unlock()
		if !taken {
			return id
		}
	}
}

// Push is what a client sends.
type Push struct {
	ID             kafka.UUID
	SubscriptionID int32
	Terminating    bool
	Codec          compress.Codec
	Metrics        []byte
}

// Push takes a client's metrics. coder is the caller's for the time of the call.
func (m *Manager) Push(now time.Time, c Client, p Push, coder *compress.Coder) kafka.Code {
	if isReserved(p.ID) {
		return kafka.InvalidRequest
	}
	i, interval, code := m.judge(now, c, p)
	if code != kafka.None || len(p.Metrics) == 0 {
		return code
	}
	if err := m.take(now, i.client, interval, p, coder); err != nil {
		m.count.failed.Add(1)
		m.mu.Lock()
		i.lastError = kafka.InvalidRecord
		m.mu.Unlock()
		return kafka.InvalidRecord
	}
	m.count.pushes.Add(1)
	return kafka.None
}

// judge decides by all but the metrics themselves.
func (m *Manager) judge(now time.Time, c Client, p Push) (*instance, time.Duration, kafka.Code) {
	i := m.lock(now, c, p.ID)
	defer m.mu.Unlock()
	code := i.judge(now, p, m.o.PushBytesMax)
	switch code {
	case kafka.ThrottlingQuotaExceeded:
		m.count.throttled.Add(1)
	case kafka.UnknownSubscriptionID:
		m.count.unknownSubscription.Add(1)
	}
	i.lastError = code
	i.terminating = p.Terminating
	return i, i.interval, code
}

// take reads the metrics of a push that was accepted.
func (m *Manager) take(now time.Time, c Client, interval time.Duration, p Push, coder *compress.Coder) error {
	body := p.Metrics
	if p.Codec != compress.None {
		var err error
		if body, err = coder.Decompress(nil, p.Codec, body, m.o.PushBytesMax); err != nil {
			return err
		}
	}
	if err := walk(body, nil); err != nil {
		return err
	}
	return m.store.add(now, c, p.ID, max(expiryMin, 3*interval), body)
}

// isReserved reports whether an id stands for something else than a client.
func isReserved(id kafka.UUID) bool {
	return id == kafka.UUID{} || id == kafka.UUID{15: 1}
}

// mayAsk reports whether a request for subscriptions comes in time, and notes it.
func (i *instance) mayAsk(now time.Time) bool {
	last := i.askedAt
	if i.pushedAt.After(last) {
		last = i.pushedAt
	}
	if last.IsZero() || now.Sub(last) >= i.interval {
		i.askedAt = now
		return true
	}
	// It was told to ask.
	return i.lastError == kafka.UnknownSubscriptionID || i.lastError == kafka.UnsupportedCompressionType
}

// mayPush reports whether a push comes in time, and notes it: after each answer
// to what to push there may be one at once.
func (i *instance) mayPush(now time.Time) bool {
	if i.askedAt.After(i.pushedAt) || i.pushedAt.IsZero() || now.Sub(i.pushedAt) >= i.interval {
		i.pushedAt = now
		return true
	}
	return false
}

func (i *instance) judge(now time.Time, p Push, bytesMax int) kafka.Code {
	switch {
	case i.terminating:
		return kafka.InvalidRequest
	case !i.mayPush(now) && !p.Terminating:
		return kafka.ThrottlingQuotaExceeded
	case p.SubscriptionID != i.subscriptionID:
		return kafka.UnknownSubscriptionID
	case !p.Codec.Valid():
		return kafka.UnsupportedCompressionType
	case len(p.Metrics) > bytesMax:
		return kafka.TelemetryTooLarge
	}
	return kafka.None
}

// lock takes mu and gives the instance of an id, which is made if there is none,
// or if subscriptions have changed since.
func (m *Manager) lock(now time.Time, c Client, id kafka.UUID) *instance {
	for {
		m.mu.Lock()
		m.expire(now)
		old, version, subscriptions := m.instances[id], m.version, m.subscriptions
		if old != nil && old.version == version {
			m.touch(now, old)
			return old
		}
		m.mu.Unlock()
		known := c
		if old != nil {
			known = old.client
		}
		i := newInstance(known, id, version, subscriptions)
		m.mu.Lock()
		if m.instances[id] == old && m.version == version {
			if old != nil {
				m.remove(old)
			}
			m.put(c, i)
			m.touch(now, i)
			return i
		}
		m.mu.Unlock() // another request was faster
	}
}

// touch notes that a client was heard.
func (m *Manager) touch(now time.Time, i *instance) {
	i.expires = now.Add(max(expiryMin, 3*i.interval))
	heap.Fix(&m.due, i.place)
	m.recent.MoveToFront(i.recent)
}

func newInstance(c Client, id kafka.UUID, version int, subscriptions map[string]Subscription) *instance {
	i := &instance{id: id, client: c, version: version}
	i.metrics, i.interval = matching(subscriptions, c, id)
	i.subscriptionID = subscriptionID(i.metrics, i.interval, id)
	return i
}

// put makes i known, under the connection that asks.
func (m *Manager) put(asks Client, i *instance) {
	for len(m.instances) >= m.o.ClientsMax {
		m.remove(m.recent.Back().Value.(*instance))
	}
	i.connection = asks.Connection
	m.instances[i.id] = i
	m.byConnection[i.connection] = i.id
	i.recent = m.recent.PushFront(i)
	heap.Push(&m.due, i)
}

func (m *Manager) remove(i *instance) {
	delete(m.instances, i.id)
	m.recent.Remove(i.recent)
	heap.Remove(&m.due, i.place)
	if m.byConnection[i.connection] == i.id {
		delete(m.byConnection, i.connection)
	}
}

// expire forgets who was silent for too long.
func (m *Manager) expire(now time.Time) {
	for len(m.due) > 0 && !now.Before(m.due[0].expires) {
		m.remove(m.due[0])
	}
}

// Closed forgets the client of a connection that has ended. What it pushed is
// shown for as long as if it had gone silent, so that the last of it is seen.
func (m *Manager) Closed(connection uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.byConnection[connection]
	if !ok {
		return
	}
	delete(m.byConnection, connection)
	if i := m.instances[id]; i != nil {
		m.remove(i)
	}
}

// matching is the union of the subscriptions that match a client, and the
// shortest of their intervals.
func matching(subscriptions map[string]Subscription, c Client, id kafka.UUID) (metrics []string, interval time.Duration) {
	interval = intervalDefault
	for _, s := range subscriptions {
		if s.matches(c, id) {
			metrics = append(metrics, s.Metrics...)
			interval = min(interval, s.Interval)
		}
	}
	if slices.Contains(metrics, allMetrics) {
		return []string{allMetrics}, interval
	}
	slices.Sort(metrics)
	return slices.Compact(metrics), interval
}

// dueHeap orders instances by when they expire.
type dueHeap []*instance

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(a, b int) bool { return h[a].expires.Before(h[b].expires) }
func (h dueHeap) Swap(a, b int) {
	h[a], h[b] = h[b], h[a]
	h[a].place, h[b].place = a, b
}

func (h *dueHeap) Push(x any) {
	i := x.(*instance)
	i.place = len(*h)
	*h = append(*h, i)
}

func (h *dueHeap) Pop() any {
	old := *h
	i := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return i
}
