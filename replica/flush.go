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
//	Run ─► the earliest is due ─► a worker of its directory ─► lane: FlushDue, enter the next time
//
// Each log directory has workers of its own, which live as long as there is
// something to do: a disk that hangs keeps no other from being flushed.
//
// Nothing happens for a partition without flush.ms, nor for one that nobody
// writes to. Kafka looks at its logs every log.flush.scheduler.interval.ms,
// which is never by default; here flush.ms needs no other key.
//
// Rejected: a timer per partition, and a look at every partition now and then.
type Flusher struct {
	now     func() time.Time
	logger  *slog.Logger
	workers int           // of one directory
	wake    chan struct{} // capacity 1: an earlier element came
	busy    sync.WaitGroup

	mu    sync.Mutex // guards what follows
	queue flushQueue
	dirs  map[string]*dirFlushes // those in which a worker is at work
}

// dirFlushes is what is due in one log directory.
type dirFlushes struct {
	working int
	due     []flush // of those that no worker has taken yet
}

// flush is a partition that is to be flushed at a time.
type flush struct {
	atMs int64
	p    *Partition
}

// flushRetryMs is how long a flush waits that failed for a passing reason, such
// as no descriptor.
const flushRetryMs = 1000

// NewFlusher makes a Flusher that flushes at most workers partitions of a log
// directory at a time.
func NewFlusher(workers int, now func() time.Time, logger *slog.Logger) *Flusher {
	return &Flusher{now: now, logger: logger, workers: max(1, workers), wake: make(chan struct{}, 1), dirs: make(map[string]*dirFlushes)}
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
	defer f.busy.Wait()
	timer := time.NewTimer(math.MaxInt64)
	defer timer.Stop()
	for {
		nowMs := f.now().UnixMilli()
		e, atMs := f.next(nowMs)
		if e.p != nil {
			f.handOver(ctx, e)
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

// handOver gives e to the workers of its directory, and does not wait for them.
func (f *Flusher) handOver(ctx context.Context, e flush) {
	dir := "" // of a partition that has no log any more, whose lane waits for nothing
	if log := e.p.Log(); log != nil {
		dir = directoryOf(log)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[dir]
	if d == nil {
		d = &dirFlushes{}
		f.dirs[dir] = d
	}
	if d.working == f.workers {
		d.due = append(d.due, e)
		return
	}
	d.working++
	f.busy.Go(func() {
		for more := true; more && ctx.Err() == nil; {
			e.p.flushDue(e.atMs)
			e, more = f.another(dir)
		}
	})
}

// another is the next that is due in a directory; a worker that finds none ends.
func (f *Flusher) another(dir string) (e flush, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.dirs[dir]
	if len(d.due) > 0 {
		e, d.due[0] = d.due[0], flush{}
		d.due = d.due[1:]
		return e, true
	}
	if d.working--; d.working == 0 {
		delete(f.dirs, dir)
	}
	return flush{}, false
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
