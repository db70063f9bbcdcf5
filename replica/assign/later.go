// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"gregor/replica"
)

// later holds the steps for which a disk had no room: the recovery of a log
// writes its indexes. Of a partition's steps only the newest counts.
type later struct {
	mu     sync.Mutex // guards what follows
	steps  map[*replica.Partition]laterStep
	halted bool
}

type laterStep struct {
	step Step
	take func() error
}

// tryAgainEvery is how often a step is tried again that found no room.
const tryAgainEvery = 2 * time.Second

func (l *later) halt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = true
}

// put notes the newest step of a partition; first, if it had none.
func (l *later) put(p *replica.Partition, s laterStep) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, again := l.steps[p]
	l.steps[p] = s
	return !again
}

func (l *later) get(p *replica.Partition) (s laterStep, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok = l.steps[p]
	return s, ok && !l.halted
}

func (l *later) drop(p *replica.Partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.steps, p)
}

// carryOut opens the partition, if need be, and takes the step.
func (x *Executor) carryOut(p *replica.Partition, s Step, take func() error) {
	x.post(p.Home(), s.TopicPartition, func() {
		defer p.End()
		if x.take(p, s, take) {
			x.later.drop(p)
			return
		}
		if x.later.put(p, laterStep{s, take}) {
			x.o.Logger.Warn("partition is offline until its disk has room for its recovery", "partition", s.TopicPartition.String(), "err", p.Status().Err)
			x.tryLater(p, s)
		}
	})
}

// take is false if there was no room to open the partition.
func (x *Executor) take(p *replica.Partition, s Step, take func() error) bool {
	if !x.open(p, s.Directory) {
		return !isFull(p.Status().Err)
	}
	if err := take(); err != nil {
		x.o.Logger.Error("partition cannot lead", "partition", s.TopicPartition.String(), "err", err)
	}
	return true
}

func (x *Executor) tryLater(p *replica.Partition, s Step) {
	time.AfterFunc(tryAgainEvery, func() {
		if _, ok := x.later.get(p); !ok {
			return
		}
		x.post(p.Home(), s.TopicPartition, func() {
			l, ok := x.later.get(p)
			switch {
			case !ok:
			case x.o.Table.Get(s.ID.TopicID, s.ID.Partition) != p, x.take(p, l.step, l.take):
				x.later.drop(p)
			default:
				x.tryLater(p, s)
			}
		})
	})
}

// isFull reports whether err only says that there is no room, which passes.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
