// SPDX-License-Identifier: Apache-2.0

package quota

import "sync"

// Meter counts what those who share a limit have used of it.
type Meter struct {
	by share

	mu      sync.Mutex // guards what follows; a leaf
	limit   float64
	version uint64 // of the limit
	used    window // of all kinds but Mutation
	tokens  bucket // of Mutation

	// The rest is guarded by the Manager.
	users      int
	prev, next *Meter // in the list of those without users
}

func (t *Meter) charge(m *Manager, nowMs int64, amount float64) int32 {
	o := m.windows(t.by.kind)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used.record(o, nowMs, amount)
	return t.waitLocked(o, nowMs, 0)
}

// admit counts one, unless that is too many.
func (t *Meter) admit(m *Manager, nowMs int64) (waitMs int32) {
	o := m.windows(t.by.kind)
	t.mu.Lock()
	defer t.mu.Unlock()
	if waitMs = t.waitLocked(o, nowMs, 1); waitMs == 0 {
		t.used.record(o, nowMs, 1)
	}
	return waitMs
}

// waitLocked is the wait if there were so much more. Time and connections come
// with the requests that are held back, so one window of waiting is enough.
func (t *Meter) waitLocked(o Windows, nowMs int64, more float64) int32 {
	sum, spanMs := t.used.measure(o, nowMs)
	ms := throttleMs(sum+more, spanMs, t.limit)
	if t.by.kind == Request || t.by.kind == Connection {
		ms = min(ms, o.Ms)
	}
	return int32(ms)
}

// mutate takes tokens, and says how long it takes until there are some again.
// A strict request takes none while there are none.
func (t *Meter) mutate(m *Manager, nowMs int64, tokens float64, strict bool) (ok bool, waitMs int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokens.refill(m.o.Controller, nowMs, t.limit)
	if strict {
		if ms := t.tokens.debtMs(t.limit); ms > 0 {
			return false, int32(ms)
		}
		t.tokens.tokens -= tokens
		return true, 0
	}
	t.tokens.tokens -= tokens
	return true, int32(t.tokens.debtMs(t.limit))
}

func (t *Meter) atOnceMax(m *Manager, nowMs int64) float64 {
	o := m.windows(t.by.kind)
	t.mu.Lock()
	defer t.mu.Unlock()
	sum, spanMs := t.used.measure(o, nowMs)
	return max(t.limit*float64(spanMs)/1000-sum, t.limit*float64(o.Ms)/1000)
}

// set gives the meter its limit, unless it has a newer one.
func (t *Meter) set(limit float64, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if version >= t.version {
		t.limit, t.version = limit, version
	}
}

// counts reports whether a new meter would tell anything else.
func (t *Meter) counts(m *Manager, nowMs int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by.kind == Mutation {
		t.tokens.refill(m.o.Controller, nowMs, t.limit)
		return t.tokens.tokens < burst(m.o.Controller, t.limit)
	}
	return !t.used.idle(m.windows(t.by.kind), nowMs)
}

// takeLocked gives the meter of a share to one user more.
func (m *Manager) takeLocked(by share, limit float64, version uint64) *Meter {
	t := m.meters[by]
	if t == nil {
		t = &Meter{by: by}
		m.meters[by] = t
	} else if t.users == 0 {
		m.idle.remove(t)
	}
	t.users++
	t.set(limit, version)
	return t
}

// putLocked takes it back, and looks at the two that were put back first: those
// that count no more go, and so do those that are too many.
func (m *Manager) putLocked(t *Meter, nowMs int64) {
	if t.users--; t.users == 0 {
		m.idle.add(t)
	}
	for range 2 {
		first := m.idle.first
		if first == nil {
			return
		}
		m.idle.remove(first)
		if m.idle.n < m.o.IdleMax && first.counts(m, nowMs) {
			m.idle.add(first)
		} else {
			delete(m.meters, first.by)
		}
	}
}

// with has a meter used once.
func (m *Manager) with(by share, limit float64, version uint64, nowMs int64, use func(*Meter)) {
	m.mu.Lock()
	t := m.takeLocked(by, limit, version)
	m.mu.Unlock()
	use(t)
	m.mu.Lock()
	m.putLocked(t, nowMs)
	m.mu.Unlock()
}

// list holds the meters without users, the one first that was put back first.
type list struct {
	first, last *Meter
	n           int
}

func (l *list) add(t *Meter) {
	t.prev, t.next = l.last, nil
	if l.last == nil {
		l.first = t
	} else {
		l.last.next = t
	}
	l.last = t
	l.n++
}

func (l *list) remove(t *Meter) {
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.prev = t.prev
	}
	t.prev, t.next = nil, nil
	l.n--
}
