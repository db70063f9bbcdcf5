// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"container/heap"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gregor/storage/retention"
)

// janitor removes files and folders a while after they were renamed out of the
// way, so that readers finish and an operator can still change his mind. Its
// queue is a heap: retention may fill it with hundreds of thousands of files
// whose topics have delays of their own.
type janitor struct {
	wake chan struct{} // capacity 1: the queue has another first element

	mu    sync.Mutex // guards what follows
	queue doomedQueue
	added int64

	dropped [retention.Reasons]struct{ segments, bytes atomic.Int64 }
}

type doomed struct {
	path string
	due  time.Time
	nth  int64 // of what was added: those that are due at the same time keep their order
}

func (j *janitor) init() { j.wake = make(chan struct{}, 1) }

// removeLater takes over a file or folder that nobody looks for any more, to be
// removed after delay; 0 is the directory's, and below it none. Folders that are
// still there when the node stops are found by the next start; files are removed
// by the stop, since the next start may not look into their folders.
func (d *Dir) removeLater(path string, delay time.Duration) {
	if delay == 0 {
		delay = time.Duration(d.fileDeleteDelay.Load())
	}
	j := &d.janitor
	j.mu.Lock()
	j.added++
	e := doomed{path, d.o.Now().Add(max(delay, 0)), j.added}
	heap.Push(&j.queue, e)
	first := j.queue[0] == e
	j.mu.Unlock()
	if !first {
		return
	}
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Dropped is what retention and DeleteRecords took of the directory's logs.
type Dropped struct{ Segments, Bytes int64 }

// Dropped counts since the start, by reason.
func (d *Dir) Dropped() (all [retention.Reasons]Dropped) {
	for r := range all {
		n := &d.janitor.dropped[r]
		all[r] = Dropped{n.segments.Load(), n.bytes.Load()}
	}
	return all
}

// countDropped runs on the lanes of logs.
func (d *Dir) countDropped(why retention.Reason, segments int, bytes int64) {
	n := &d.janitor.dropped[why]
	n.segments.Add(int64(segments))
	n.bytes.Add(bytes)
}

// DeletesPending is the number of files and folders that wait for their removal.
func (d *Dir) DeletesPending() int {
	d.janitor.mu.Lock()
	defer d.janitor.mu.Unlock()
	return len(d.janitor.queue)
}

// DelayDeletes changes log.segment.delete.delay.ms for what is deleted from now
// on.
func (d *Dir) DelayDeletes(delay time.Duration) { d.fileDeleteDelay.Store(int64(max(delay, 0))) }

func (j *janitor) first() (doomed, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 {
		return doomed{}, false
	}
	return j.queue[0], true
}

// pop takes next from the queue, unless something else is due before it now.
func (j *janitor) pop(next doomed) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.queue) == 0 || j.queue[0] != next {
		return false
	}
	heap.Pop(&j.queue)
	if len(j.queue) == 0 {
		j.queue = nil
	}
	return true
}

// removeFiles removes, for a stop, the files that still wait. The logs of
// folders in which one stays are told: the next start has to look there.
func (d *Dir) removeFiles() (left map[string]bool) {
	j := &d.janitor
	j.mu.Lock()
	queue := j.queue
	j.queue = nil
	j.mu.Unlock()
	for _, e := range queue {
		folder := filepath.Dir(e.path)
		if folder == filepath.Clean(d.o.Path) || d.remove(e.path) {
			continue
		}
		if left == nil {
			left = map[string]bool{}
		}
		left[folder] = true
	}
	return left
}

// doomedQueue is a heap by time.
type doomedQueue []doomed

func (q doomedQueue) Len() int { return len(q) }

func (q doomedQueue) Less(i, j int) bool {
	if c := q[i].due.Compare(q[j].due); c != 0 {
		return c < 0
	}
	return q[i].nth < q[j].nth
}

func (q doomedQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *doomedQueue) Push(e any)   { *q = append(*q, e.(doomed)) }

func (q *doomedQueue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = doomed{}
	*q = (*q)[:last]
	return e
}

func (d *Dir) runJanitor() {
	defer d.goroutines.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, some := d.janitor.first()
		var due <-chan time.Time
		if some {
			timer.Reset(next.due.Sub(d.o.Now()))
			due = timer.C
		}
		select {
		case <-d.stop:
			return
		case <-d.offline.c:
			return
		case <-d.janitor.wake:
		case <-due:
			if d.janitor.pop(next) && !d.remove(next.path) {
				d.removeLater(next.path, removeAgainAfter)
			}
		}
	}
}

// removeAgainAfter is when a removal that failed, for want of descriptors say, is
// tried again: what stays may be as large as a partition.
const removeAgainAfter = time.Minute

func (d *Dir) remove(path string) (gone bool) {
	if err := d.o.FS.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.o.Logger.Warn("cannot remove what was deleted; it is tried again", "path", path, "err", err)
		return false
	}
	d.o.Logger.Debug("removed what was deleted", "path", path)
	return true
}
