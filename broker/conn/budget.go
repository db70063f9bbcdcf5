// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"math/bits"
	"sync"
	"time"
)

// firstBytes is the first buffer of a frame that does not fit the connection's
// own small buffer. From there a buffer doubles as bytes arrive.
const firstBytes = 16 << 10

// Budget is the memory that the frames of all connections may take together,
// and the pool that their buffers come from and go back to.
//
// A buffer is charged before it is made. What a frame claims does not count:
// its first buffer is 16 KiB, and it grows to what has arrived. A reserve is
// kept for small frames and for those of other brokers, so that a node whose
// budget is held by large slow produces still answers heartbeats and fetches.
// Who finds the budget spent waits in order; a wait ends by room or by its
// deadline, so frames that hold parts of the budget and wait for more cannot
// block each other for ever.
type Budget struct {
	totalBytes   int64
	reserveBytes int64
	retainBytes  int64

	mu       sync.Mutex // guards what follows
	used     int64
	waits    int64
	first    *budgetWait // oldest
	last     *budgetWait
	free     map[int]*freeList // by capacity
	retained int64
	gets     int64 // a clock for freeList.askedAt
}

// freeList is the free buffers of one class.
type freeList struct {
	bufs    [][]byte
	askedAt int64
}

type budgetWait struct {
	n          int64
	privileged bool
	granted    bool
	ready      chan struct{}
	next       *budgetWait
}

// NewBudget makes a budget of totalBytes, of which reserveBytes are for small
// frames and for brokers. Up to retainBytes of free buffers are kept for use
// again.
func NewBudget(totalBytes, reserveBytes, retainBytes int64) *Budget {
	return &Budget{totalBytes: totalBytes, reserveBytes: min(reserveBytes, totalBytes/2), retainBytes: retainBytes,
		free: make(map[int]*freeList)}
}

// classOf rounds a size up to a power of two or a quarter step between two:
// few classes, and less than a quarter wasted.
func classOf(n int) int {
	if n <= firstBytes {
		return firstBytes
	}
	quarter := 1 << (bits.Len(uint(n-1)) - 3)
	return (n + quarter - 1) / quarter * quarter
}

// fitsLocked reports whether n more bytes may be charged.
func (b *Budget) fitsLocked(n int64, privileged bool) bool {
	limit := b.totalBytes
	if !privileged {
		limit -= b.reserveBytes
	}
	return b.used+n <= limit
}

// get gives a buffer with room for n bytes, waiting for at most wait. ok is
// false when the time is up or closed was closed.
func (b *Budget) get(n int, privileged bool, wait time.Duration, closed <-chan struct{}) (buf []byte, ok bool) {
	class := classOf(n)
	b.mu.Lock()
	if most := b.totalBytes - b.reserveBytes; int64(class) > most && (!privileged || int64(class) > b.totalBytes) {
		b.mu.Unlock()
		return nil, false // it could wait for ever
	}
	// A privileged caller passes those who wait for the part that it does not need.
	if (b.first == nil || privileged) && b.fitsLocked(int64(class), privileged) {
		b.used += int64(class)
		buf = b.takeLocked(class)
		b.mu.Unlock()
		return alloc(buf, class), true
	}
	w := &budgetWait{n: int64(class), privileged: privileged, ready: make(chan struct{})}
	if b.last == nil {
		b.first = w
	} else {
		b.last.next = w
	}
	b.last = w
	b.waits++
	b.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.ready:
	case <-timer.C:
	case <-closed:
	}
	b.mu.Lock()
	if !w.granted {
		b.dropLocked(w)
		b.grantLocked()
		b.mu.Unlock()
		return nil, false
	}
	buf = b.takeLocked(class)
	b.mu.Unlock()
	return alloc(buf, class), true
}

func alloc(buf []byte, class int) []byte {
	if buf != nil {
		return buf
	}
	return make([]byte, class)
}

func (b *Budget) takeLocked(class int) []byte {
	b.gets++
	list := b.free[class]
	if list == nil {
		list = &freeList{}
		b.free[class] = list
	}
	list.askedAt = b.gets
	if len(list.bufs) == 0 {
		return nil
	}
	return b.popLocked(class, list)
}

func (b *Budget) popLocked(class int, list *freeList) []byte {
	last := len(list.bufs) - 1
	buf := list.bufs[last]
	list.bufs[last], list.bufs = nil, list.bufs[:last]
	b.retained -= int64(class)
	return buf
}

// keepLocked keeps a free buffer. Where there is no room for it, buffers of the
// class that nobody asked for the longest give way: else those of one burst
// would stay, and all later frames be allocated.
func (b *Budget) keepLocked(class int, buf []byte) {
	own := b.free[class]
	for b.retained+int64(class) > b.retainBytes {
		oldestClass, oldest := 0, own
		for c, list := range b.free {
			if len(list.bufs) > 0 && list.askedAt < oldest.askedAt {
				oldestClass, oldest = c, list
			}
		}
		if oldest == own {
			return
		}
		b.popLocked(oldestClass, oldest)
	}
	own.bufs = append(own.bufs, buf)
	b.retained += int64(class)
}

// put gives back a buffer that get gave.
func (b *Budget) put(buf []byte) {
	class := cap(buf)
	buf = buf[:class]
	poison(buf)
	b.mu.Lock()
	b.used -= int64(class)
	b.keepLocked(class, buf)
	b.grantLocked()
	b.mu.Unlock()
}

// grantLocked serves waiters in order while there is room. A privileged one is
// served even behind an ordinary one that does not fit.
func (b *Budget) grantLocked() {
	var before *budgetWait
	blocked := false
	for w := b.first; w != nil; {
		next := w.next
		if (!blocked || w.privileged) && b.fitsLocked(w.n, w.privileged) {
			b.used += w.n
			w.granted = true
			close(w.ready)
			b.unlinkLocked(before, w)
		} else {
			blocked = true
			before = w
		}
		w = next
	}
}

func (b *Budget) dropLocked(w *budgetWait) {
	var before *budgetWait
	for x := b.first; x != nil; x = x.next {
		if x == w {
			b.unlinkLocked(before, w)
			return
		}
		before = x
	}
}

func (b *Budget) unlinkLocked(before, w *budgetWait) {
	if before == nil {
		b.first = w.next
	} else {
		before.next = w.next
	}
	if b.last == w {
		b.last = before
	}
	w.next = nil
}

// usage tells what is charged now and how often someone had to wait.
func (b *Budget) usage() (usedBytes, waits int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used, b.waits
}
