// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"gregor/storage/commitlog"
)

// Flusher makes flush.ms true for the partitions of a node that have one:
//
//	append ─► lane: is a flush due some day? ─► Flusher's heap, one element a partition
//	Run ─► the earliest is due ─► a worker ─► lane: FlushDue, enter the next time
//
// Nothing happens for a partition without flush.ms, nor for one that nobody
// writes to. Kafka looks at its logs every log.flush.scheduler.interval.ms,
// which is never by default; here flush.ms needs no other key.
//
// Rejected: a timer per partition, and a look at every partition now and then.
type Flusher struct {
	now     func() time.Time
	logger  *slog.Logger
	workers chan struct{}
	wake    chan struct{} // capacity 1: an earlier element came

	mu    sync.Mutex // guards queue
	queue flushQueue
}

// flush is a partition that is to be flushed at a time.
type flush struct {
	atMs int64
	p    *Partition
}

// flushRetryMs is how long a flush waits that failed for a passing reason, such
// as no descriptor.
const flushRetryMs = 1000

// NewFlusher makes a Flusher that flushes at most workers partitions at a time.
func NewFlusher(workers int, now func() time.Time, logger *slog.Logger) *Flusher {
	return &Flusher{now: now, logger: logger, workers: make(chan struct{}, max(1, workers)), wake: make(chan struct{}, 1)}
}

func (f *Flusher) add(e flush) {
	f.mu.Lock()
	heap.Push(&f.queue, e)
	first := f.queue[0] == e
	f.mu.Unlock()
	if first {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// next takes the earliest element if it is due, or else tells when it will be;
// 0 is never.
func (f *Flusher) next(nowMs int64) (e flush, atMs int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.queue) == 0:
		return flush{}, 0
	case f.queue[0].atMs > nowMs:
		return flush{}, f.queue[0].atMs
	}
	return heap.Pop(&f.queue).(flush), 0
}

// Run flushes until ctx ends, and returns when no flush is under way.
func (f *Flusher) Run(ctx context.Context) {
	var busy sync.WaitGroup
	defer busy.Wait()
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		nowMs := f.now().UnixMilli()
		e, atMs := f.next(nowMs)
		if e.p != nil {
			select {
			case f.workers <- struct{}{}:
			case <-ctx.Done():
				return
			}
			busy.Go(func() {
				e.p.flushDue(e.atMs)
				<-f.workers
			})
			continue
		}
		wait := time.Duration(math.MaxInt64)
		if atMs != 0 {
			wait = time.Duration(min(atMs-nowMs, int64(time.Hour/time.Millisecond))) * time.Millisecond
		}
		timer.Reset(wait)
		select {
		case <-f.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// FlushWith has the partition flushed by f when flush.ms asks for it. It is
// called before Open; without it flush.ms counts from append to append only.
func (p *Partition) FlushWith(f *Flusher) { p.flusher = f }

// scheduleFlush runs on the lane after whatever may have made a flush due
// earlier than was known.
func (p *Partition) scheduleFlush(log *commitlog.Log) {
	if p.flusher == nil || p.Rules().Log.FlushMs == math.MaxInt64 {
		return
	}
	if atMs := log.FlushDueAtMs(); atMs != 0 {
		p.flushAt(atMs)
	}
}

func (p *Partition) flushAt(atMs int64) {
	if p.flushAtMs == 0 || atMs < p.flushAtMs {
		p.flushAtMs = atMs
		p.flusher.add(flush{atMs, p})
	}
}

// flushDue is what a worker does for a partition that was entered for atMs.
func (p *Partition) flushDue(atMs int64) {
	p.onLane(func() {
		if p.flushAtMs != atMs {
			return // overtaken by an earlier one
		}
		p.flushAtMs = 0
		p.mu.Lock()
		log := p.log
		offline := p.role == Offline
		p.mu.Unlock()
		if log == nil || offline {
			return
		}
		if err := log.FlushDue(); err != nil {
			p.flusher.logger.Warn("a flush that flush.ms asked for failed", "partition", p.tp.String(), "err", err)
			if !errors.Is(err, commitlog.ErrFailed) && !errors.Is(err, commitlog.ErrClosed) {
				p.flushAt(p.now().UnixMilli() + flushRetryMs)
			}
			return
		}
		p.scheduleFlush(log)
	})
}

// flushQueue is a heap by time.
type flushQueue []flush

func (q flushQueue) Len() int           { return len(q) }
func (q flushQueue) Less(i, j int) bool { return q[i].atMs < q[j].atMs }
func (q flushQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *flushQueue) Push(e any)        { *q = append(*q, e.(flush)) }

func (q *flushQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = flush{}
	*q = (*q)[:last]
	return e
}
