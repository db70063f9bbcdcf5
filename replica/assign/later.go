// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
)

// later holds the steps that failed for want of something that comes back: the
// recovery of a log writes its indexes and opens many files. Of a partition's
// steps only the newest counts.
type later struct {
	mu     sync.Mutex // guards what follows
	steps  map[*replica.Partition]laterStep
	halted bool
}

type laterStep struct {
	step Step
	take func() error
}

// tryAgainEvery is how often such a step is tried again.
const tryAgainEvery = 2 * time.Second

func (l *later) halt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.halted = true
}

func (l *later) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.halted
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
			x.o.Logger.Warn("partition is offline until there is what its recovery needs", "partition", s.TopicPartition.String(), "err", p.Status().Err)
			x.tryLater(p, s)
		}
	})
}

// take is false if the partition could not be opened for now.
func (x *Executor) take(p *replica.Partition, s Step, take func() error) bool {
	if !x.open(p, s.Directory) {
		return !passes(p.Status().Err)
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

// deleteLater tries again to take a log away. Until then the next partition of
// that name finds it taken, and waits too.
func (x *Executor) deleteLater(p *replica.Partition, log *commitlog.Log) {
	time.AfterFunc(tryAgainEvery, func() {
		x.post(p.Home(), p.TopicPartition(), func() {
			if x.later.over() { // Halt may have waited already: the directories close next
				return
			}
			switch err := x.o.Dirs[p.Home()].DeleteLog(log); {
			case passes(err):
				x.deleteLater(p, log)
			case err != nil:
				x.o.Logger.Error("delete a partition", "partition", p.TopicPartition().String(), "err", err)
			}
		})
	})
}

// passes reports whether err only says that there is no room, no descriptor or no
// memory, or that a deleted log still has the name for want of them. A directory that
// went offline over it does not come back.
func passes(err error) bool {
	var offline *logdir.OfflineError
	if errors.As(err, &offline) {
		return false
	}
	return slices.ContainsFunc([]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, logdir.ErrOpen},
		func(e error) bool { return errors.Is(err, e) })
}
