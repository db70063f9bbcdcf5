// SPDX-License-Identifier: Apache-2.0

// Package lane runs jobs one at a time without a goroutine of its own.
//
// A lane is for work that must be one-at-a-time and does I/O: a mutex guards
// memory, for nanoseconds only. Who finds the lane idle
// runs; who finds it busy queues an intrusive job and waits. A runner takes
// all that is queued as one chain, so that, say, queued appends become one
// write; when its chain is done it wakes the waiters of the chain and hands the
// lane to the first job that queued meanwhile, so no caller works for others
// for ever.
//
//	Do: idle ──────────────► run(chain of 1) ─► wake ─► hand over ─► return
//	Do: busy ─► queue, wait ─┬─ woken as done ─────────────────────► return
//	                         └─ woken as runner ─► run(whole queue) ─► …
//
// Invariants: run is never called twice at once; jobs run in the order in
// which Do or Post queued them; a job is in at most one queue. Rejected: a
// goroutine and channel per lane (100,000 partitions), and a mutex held over
// I/O (freezes synctest's clock, and cannot combine).
package lane

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Job is one piece of work. It may be used again after Do returns; a posted one
// never, since nobody learns when the lane has let go of it.
type Job[T any] struct {
	V    T
	next *Job[T]
	wake chan role // made at first contention, then kept
	post bool
}

// Next is the job behind j in the chain that run was given.
func (j *Job[T]) Next() *Job[T] { return j.next }

type role bool

const (
	done   role = false
	runner role = true
)

// Lane is ready once it has a run function (Init). It must not be copied.
type Lane[T any] struct {
	run func(chain *Job[T])

	mu   sync.Mutex // guards what follows, for nanoseconds
	busy bool
	head *Job[T]
	tail *Job[T]
}

// Init has the lane work off chains with run. A panic in run ends the process,
// whoever stands above and would recover it: what is behind the lane is not
// trusted any more, and others wait for it.
func (l *Lane[T]) Init(run func(chain *Job[T])) { l.run = run }

// Do runs j on the lane and returns when it is done. It must not be called
// from code that runs on this lane.
func (l *Lane[T]) Do(j *Job[T]) {
	j.post = false
	l.mu.Lock()
	if !l.busy {
		l.busy = true
		l.mu.Unlock()
		j.next = nil
		l.work(j, j)
		return
	}
	if j.wake == nil {
		j.wake = make(chan role, 1)
	}
	l.pushLocked(j)
	l.mu.Unlock()
	if <-j.wake == runner {
		l.work(l.takeAll(), j)
	}
}

// Post queues j and returns at once; a goroutine is borrowed to run it. It is
// for callers that may not wait for this lane: publisher, raft and controller
// loops, janitors, timers.
func (l *Lane[T]) Post(j *Job[T]) {
	j.post = true
	l.mu.Lock()
	if l.busy {
		l.pushLocked(j)
		l.mu.Unlock()
		return
	}
	l.busy = true
	l.mu.Unlock()
	j.next = nil
	go l.work(j, nil)
}

func (l *Lane[T]) pushLocked(j *Job[T]) {
	j.next = nil
	if l.tail == nil {
		l.head = j
	} else {
		l.tail.next = j
	}
	l.tail = j
}

func (l *Lane[T]) takeAll() *Job[T] {
	l.mu.Lock()
	chain := l.head
	l.head, l.tail = nil, nil
	l.mu.Unlock()
	return chain
}

// runOrDie runs chain. A panic is raised again where nobody recovers it.
func (l *Lane[T]) runOrDie(chain *Job[T]) {
	defer func() {
		if r := recover(); r != nil {
			stack := debug.Stack()
			go panic(fmt.Sprintf("lane: %v\n\n%s", r, stack))
			select {}
		}
	}()
	l.run(chain)
}

// work runs chain, wakes the waiters in it except own, and hands the lane over.
func (l *Lane[T]) work(chain, own *Job[T]) {
	for {
		l.runOrDie(chain)
		for j := chain; j != nil; {
			next := j.next // j may be reused by its owner once it is woken
			if j != own && !j.post {
				j.wake <- done
			}
			j = next
		}
		l.mu.Lock()
		heir := l.head
		if heir == nil {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if !heir.post {
			heir.wake <- runner
			return
		}
		// Nobody waits behind a posted job: go on here if nobody waits for
		// this goroutine either, else on a borrowed one.
		if own != nil {
			go l.work(l.takeAll(), nil)
			return
		}
		chain = l.takeAll()
	}
}
