// SPDX-License-Identifier: Apache-2.0

// Package park lets requests wait for a partition to move without a goroutine,
// timer or scan per waiter.
//
// A List hangs on what moves (a partition's high watermark, say). A Parker is
// what waits: a fetch session, a parked reply. An Entry ties one Parker to one
// List and names the value at which it wants to hear. When the value passes,
// the List puts the Entry on its Parker's ready queue and sends on the Parker's
// channel of capacity one: who wakes never runs foreign code, and who
// wakes up learns which entries are ready, so the work follows the partitions
// that changed and not those that were watched.
//
// An entry that was woken has left its list; it is added again after the owner
// has looked at the partition. Order of locks: List before Parker.
package park

import "sync"

// Parker collects the entries that became ready. It must not be copied.
type Parker struct {
	// C receives after entries became ready; it holds one signal, however
	// many there are. Drain with Ready.
	C chan struct{}

	mu    sync.Mutex // guards ready and the ready fields of entries
	ready *Entry
	last  *Entry
}

// NewParker returns a Parker that nothing has woken.
func NewParker() *Parker { return &Parker{C: make(chan struct{}, 1)} }

// Ready takes the oldest ready entry, or nil.
func (p *Parker) Ready() *Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.ready
	if e == nil {
		return nil
	}
	p.ready = e.nextReady
	if p.ready == nil {
		p.last = nil
	}
	e.nextReady, e.isReady = nil, false
	return e
}

func (p *Parker) push(e *Entry) {
	p.mu.Lock()
	if !e.isReady {
		e.isReady = true
		if p.last == nil {
			p.ready = e
		} else {
			p.last.nextReady = e
		}
		p.last = e
	}
	p.mu.Unlock()
	select {
	case p.C <- struct{}{}:
	default:
	}
}

// Entry is one wait of one Parker. The zero Entry with Parker set is ready to
// use; Owner is for the caller to find its way back. It may be reused once it
// is neither in a list nor ready.
type Entry struct {
	Parker *Parker
	Owner  any

	at         int64
	list       *List // guarded by list.mu once added
	prev, next *Entry

	nextReady *Entry
	isReady   bool
}

// List is a place where entries wait for one value to grow. The zero List is
// empty. It must not be copied.
type List struct {
	mu   sync.Mutex
	head *Entry
	n    int
}

// Add makes e wait until Wake is called with a value of at least at. The
// caller looks at the value again after Add, and calls Remove if it has passed
// meanwhile: Add itself does not know it.
func (l *List) Add(e *Entry, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.list != nil {
		panic("park: entry is in a list already")
	}
	e.at, e.list = at, l
	e.prev, e.next = nil, l.head
	if l.head != nil {
		l.head.prev = e
	}
	l.head = e
	l.n++
}

// Remove takes e out of l; it is no error if it was woken before. Its Parker
// may hold it as ready all the same.
func (l *List) Remove(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.list == l {
		l.removeLocked(e)
	}
}

func (l *List) removeLocked(e *Entry) {
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.prev, e.next, e.list = nil, nil, nil
	l.n--
}

// Wake readies every entry that waits for value or less.
func (l *List) Wake(value int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := l.head; e != nil; {
		next := e.next
		if e.at <= value {
			l.removeLocked(e)
			e.Parker.push(e)
		}
		e = next
	}
}

// WakeAll readies every entry, whatever it waits for: the partition went away
// or changed its leader.
func (l *List) WakeAll() { l.Wake(1<<63 - 1) }

// Len is the number of waiting entries.
func (l *List) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
