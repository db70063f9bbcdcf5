// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"math"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Fault is a file system that fails on demand: rules pick calls and give them
// an error, a short write or a delay, and a budget runs the disk full.
type Fault struct {
	wrapped

	mu          sync.Mutex // guards what follows
	rules       []*Rule
	budgetBytes int64
	counts      map[Op]int64
}

// Rule picks calls and says what happens to them.
type Rule struct {
	Ops  Op     // OpAny, or some of the kinds
	Path string // part of the path; empty is every path
	Skip int    // calls that are picked and yet go well
	// Times is how often the rule acts before it is spent; 0 is for ever.
	Times int
	// Err is what the call returns; nil with a Delay only slows it down.
	Err error
	// ShortBytes is how much of a write is written before Err.
	ShortBytes int64
	Delay      time.Duration
}

var _ FS = (*Fault)(nil)

// NewFault wraps inner. Without rules it does what inner does, except that its
// files have no descriptor.
func NewFault(inner FS) *Fault {
	f := &Fault{budgetBytes: math.MaxInt64, counts: map[Op]int64{}}
	f.wrapped = wrapped{inner: inner, judge: f.judgeCall}
	return f
}

// Add puts a rule behind those that are there; the first that picks a call
// decides about it.
func (f *Fault) Add(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &r)
}

// Clear removes all rules and the budget.
func (f *Fault) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.budgetBytes = nil, math.MaxInt64
}

// SetBudget lets n more bytes be written or reserved; the write that needs more
// writes what fits and gets ENOSPC, until the next SetBudget or Clear.
func (f *Fault) SetBudget(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budgetBytes = n
}

// Count tells how many calls of the kinds in ops there were, failed ones too.
func (f *Fault) Count(ops Op) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := int64(0)
	for op, count := range f.counts {
		if op&ops != 0 {
			n += count
		}
	}
	return n
}

func (f *Fault) judgeCall(c Call) verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[c.Op]++
	for i, r := range f.rules {
		if r.Ops&c.Op == 0 || !strings.Contains(c.Path, r.Path) {
			continue
		}
		if r.Skip > 0 {
			r.Skip--
			continue
		}
		if r.Times == 1 {
			f.rules = append(f.rules[:i:i], f.rules[i+1:]...)
		} else if r.Times > 1 {
			r.Times--
		}
		return verdict{err: r.Err, shortBytes: min(r.ShortBytes, c.Bytes), delay: r.Delay}
	}
	if c.Op&(OpWrite|OpPreallocate) == 0 {
		return verdict{}
	}
	if c.Bytes > f.budgetBytes {
		v := verdict{err: syscall.ENOSPC, shortBytes: f.budgetBytes}
		if c.Op == OpWrite {
			f.budgetBytes = 0
		}
		return v
	}
	f.budgetBytes -= c.Bytes
	return verdict{}
}
