// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"fmt"
	"syscall"

	"gregor/base/kafka"
)

// OfflineError says why a directory is offline. It carries KAFKA_STORAGE_ERROR.
type OfflineError struct {
	Path string
	Op   string
	Err  error
}

func (e *OfflineError) Error() string {
	return fmt.Sprintf("log directory %s is offline since %s failed: %v", e.Path, e.Op, e.Err)
}

// Unwrap finds the cause and KAFKA_STORAGE_ERROR.
func (e *OfflineError) Unwrap() []error { return []error{e.Err, kafka.KafkaStorageError} }

// Offline is nil, or why the directory went offline. It never comes back: after
// a failed sync nobody knows what is on the disk, and the next one may claim
// success.
func (d *Dir) Offline() error {
	d.offline.Lock()
	defer d.offline.Unlock()
	return d.offline.err
}

// WentOffline is closed when the directory goes offline, for whoever has to
// take the leadership of its partitions elsewhere.
func (d *Dir) WentOffline() <-chan struct{} { return d.offline.c }

// Fail takes the directory offline. Logs call it from their lanes: it only sets
// the latch.
func (d *Dir) Fail(op string, err error) {
	d.offline.Lock()
	first := d.offline.err == nil
	if first {
		d.offline.err = &OfflineError{Path: d.o.Path, Op: op, Err: err}
		d.room.refusal.Store(&d.offline.err)
		close(d.offline.c)
	}
	d.offline.Unlock()
	if first {
		d.o.Logger.Error("log directory goes offline", "dir", d.o.Path, "op", op, "err", err)
	}
}

// Broken stands for a directory that could not be opened: it is offline from the
// beginning, and nothing is done in it.
func Broken(o Options, err error) *Dir {
	d := newDir(o)
	d.Fail("the start", err)
	return d
}

// isFull reports whether err only says that there is no room, which passes.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
