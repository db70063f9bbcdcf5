// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// janitor removes files and folders a while after they were renamed out of the
// way, so that readers finish and an operator can still change his mind. The
// queue is in the order in which its elements are due.
type janitor struct {
	wake chan struct{} // capacity 1: the queue has a first element

	mu    sync.Mutex // guards what follows
	queue []doomed
}

type doomed struct {
	path string
	due  time.Time
}

func (j *janitor) init() { j.wake = make(chan struct{}, 1) }

// removeLater takes over a file or folder that nobody looks for any more. What
// is still there when the node stops is found by the next start.
func (d *Dir) removeLater(path string) {
	due := d.o.Now().Add(time.Duration(d.fileDeleteDelay.Load()))
	j := &d.janitor
	j.mu.Lock()
	at, _ := slices.BinarySearchFunc(j.queue, due, func(d doomed, due time.Time) int {
		if d.due.After(due) {
			return 1
		}
		return -1 // behind those that are due at the same time
	})
	j.queue = slices.Insert(j.queue, at, doomed{path, due})
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
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
	if j.queue[0] != next {
		return false
	}
	j.queue = j.queue[1:]
	if len(j.queue) == 0 {
		j.queue = nil
	}
	return true
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
			if d.janitor.pop(next) {
				d.remove(next.path)
			}
		}
	}
}

func (d *Dir) remove(path string) {
	if err := d.o.FS.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.o.Logger.Warn("cannot remove what was deleted; the next start tries again", "path", path, "err", err)
		return
	}
	d.o.Logger.Debug("removed what was deleted", "path", path)
}
