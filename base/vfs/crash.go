// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"sync"
)

// ErrCut is what every call returns after the power went off.
var ErrCut = errors.New("vfs: the power is off")

// Crash runs a load on a Memory and cuts the power at a chosen call. It numbers
// the calls that change something or promise durability (OpChanges and
// OpSyncs), from 1.
//
// There are two ways to cut. CutAt makes a running program see the end: from
// that call on everything fails with ErrCut. Observe leaves the program running
// and lets a test take the image (Memory.CrashClone) before any number of calls
// of one run, so that a thousand cut points cost one load and not a thousand.
type Crash struct {
	wrapped
	memory *Memory

	mu      sync.Mutex // guards what follows
	calls   int64
	cutAt   int64 // 0: never
	observe func(number int64, c Call)
}

var _ FS = (*Crash)(nil)

// NewCrash wraps m.
func NewCrash(m *Memory) *Crash {
	c := &Crash{memory: m}
	c.wrapped = wrapped{inner: m, judge: c.judgeCall}
	return c
}

// Calls tells how many calls were numbered.
func (c *Crash) Calls() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// CutAt switches the power off just before numbered call n; 0 is never. A
// number that has passed cuts at once.
func (c *Crash) CutAt(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutAt = n
}

// Observe has f called before each numbered call, on the goroutine that makes
// it and without a lock held.
func (c *Crash) Observe(f func(number int64, call Call)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observe = f
}

// Image is what the disk holds when the machine comes back.
func (c *Crash) Image(loss Loss) *Memory { return c.memory.CrashClone(loss) }

func (c *Crash) judgeCall(call Call) verdict {
	numbered := call.Op&(OpChanges|OpSyncs) != 0
	c.mu.Lock()
	if numbered {
		c.calls++
	}
	number, observe := c.calls, c.observe
	off := c.cutAt > 0 && (number >= c.cutAt)
	c.mu.Unlock()
	if off {
		return verdict{err: ErrCut}
	}
	if numbered && observe != nil {
		observe(number, call)
	}
	return verdict{}
}
