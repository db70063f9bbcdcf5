// SPDX-License-Identifier: Apache-2.0

package group

// timer is one thing that will be due. The zero value does not run; it stands
// inside what it belongs to, so that starting one allocates nothing.
type timer struct {
	dueMs int64
	order uint64 // of two that are due at once, the one started first
	place int    // in the heap, from 1; 0: not running
	owner timed
}

// timed is what a timer belongs to.
type timed interface {
	fire(g *Groups, t *timer, nowMs int64, out *Out)
}

func (t *timer) running() bool { return t.place != 0 }

// timers is a heap by due time. To put a timer off, as each heartbeat does, only
// writes the new time down; the heap finds out when the old time comes near. So
// thousands of heartbeats a second cost no heap work, and each member one
// correction a session. Keys stand in the heap itself: whose timer it is, is not
// looked at before it may be due.
//
// Rejected: a timing wheel. It has a fixed grain, and iterating an empty one has a cost; a
// heap over members needs neither.
type timers struct {
	heap []timerKey
	last uint64
}

// timerKey is a timer's place in the order; its time is never after the timer's own.
type timerKey struct {
	ms    int64
	order uint64
	timer *timer
}

// nearMs is how long before its time a timer is looked at (look).
const nearMs = 1000

// set starts a timer or moves it.
func (h *timers) set(t *timer, owner timed, dueMs int64) {
	t.dueMs, t.owner = dueMs, owner
	if t.place == 0 {
		h.last++
		t.order = h.last
		h.heap = append(h.heap, timerKey{dueMs, t.order, t})
		t.place = len(h.heap)
		h.up(t.place - 1)
		return
	}
	if k := &h.heap[t.place-1]; dueMs < k.ms {
		k.ms = dueMs
		h.up(t.place - 1)
	}
}

// cancel stops a timer.
func (h *timers) cancel(t *timer) {
	if t.place == 0 {
		return
	}
	i, last := t.place-1, len(h.heap)-1
	h.swap(i, last)
	h.heap[last] = timerKey{}
	h.heap = h.heap[:last]
	t.place = 0
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// due takes out the first timer that is due, nil if there is none.
func (h *timers) due(nowMs int64) *timer {
	if h.look(nowMs); len(h.heap) == 0 || h.heap[0].ms > nowMs {
		return nil
	}
	t := h.heap[0].timer
	h.cancel(t)
	return t
}

// look puts those first timers right whose old time comes until a time, up to
// the first that is due by then. A heartbeat does it for what is near: who sets
// an alarm to next then sets it to when something is truly due, and need not be
// woken for each timer that was only put off.
func (h *timers) look(untilMs int64) {
	for len(h.heap) > 0 {
		k := &h.heap[0]
		if k.ms > untilMs || k.timer.dueMs == k.ms {
			return
		}
		k.ms = k.timer.dueMs
		h.down(0)
	}
}

// next is when the first is due, or before.
func (h *timers) next() (int64, bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].ms, true
}

func (h *timers) less(i, j int) bool {
	a, b := &h.heap[i], &h.heap[j]
	return a.ms < b.ms || a.ms == b.ms && a.order < b.order
}

func (h *timers) swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.heap[i].timer.place, h.heap[j].timer.place = i+1, j+1
}

func (h *timers) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *timers) down(i int) {
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h.heap) && h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
