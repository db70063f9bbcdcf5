// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

// flusher bounds what a recovery has to read again, and keeps the checkpoint
// files. Its goroutine is the only one that writes them; Close takes over once
// it has stopped.
type flusher struct {
	dirtyBytes atomic.Int64
	kick       chan struct{} // capacity 1: dirtyBytes passed FlushBytes
	ask        chan request

	entries []*entry // copy of Dir.inOrder, to work on without its lock
	noted   []noted
	mu      sync.Mutex // guards written, and kept while a log is being opened, of every entry

	listing int64            // Dir.listing when entries were copied
	listed  map[string]int64 // by file: the listing that it was last written with
	writer  checkpointWriter
	sums    map[string]sum // of the files as they were last written
}

// request is work that somebody waits for.
type request struct {
	work   func() error
	answer chan error // capacity 1
}

// noted is where a log ended before a flush of the file system began.
type noted struct {
	log *commitlog.Log
	end kafka.Offset
}

func (f *flusher) init() {
	f.kick = make(chan struct{}, 1)
	f.ask = make(chan request)
	f.listed = map[string]int64{}
	f.sums = map[string]sum{}
}

// dirty counts what logs write. It runs on their lanes.
func (d *Dir) dirty(bytes int64) {
	d.spend(bytes)
	after := d.flusher.dirtyBytes.Add(bytes)
	if after >= d.o.FlushBytes && after-bytes < d.o.FlushBytes {
		select {
		case d.flusher.kick <- struct{}{}:
		default:
		}
	}
}

// Flush makes everything that was written so far durable and checkpoints the
// recovery points, now.
func (d *Dir) Flush(ctx context.Context) error { return d.request(ctx, d.flush) }

func (d *Dir) request(ctx context.Context, work func() error) error {
	r := request{work: work, answer: make(chan error, 1)}
	select {
	case d.flusher.ask <- r:
	case <-ctx.Done():
		return fmt.Errorf("flush log directory: %w", ctx.Err())
	case <-d.stop:
		return ErrClosed
	case <-d.offline.c:
		return d.Offline()
	}
	return <-r.answer
}

// lowered is called by a log when its end has moved back to off, before its
// files are cut: what the checkpoints say beyond off must be gone from the disk
// before other records take the place. A recovery that trusted an old recovery
// point would take them unseen, and one that trusted an old log start would
// throw them away. Truncations mostly cut what no checkpoint knows yet, and
// then this costs nothing.
func (d *Dir) lowered(e *entry, off kafka.Offset) error {
	f := &d.flusher
	f.mu.Lock()
	if e.log.Load() == nil { // being opened
		e.kept.recoveryPoint = min(e.kept.recoveryPoint, off)
		e.kept.highWatermark = min(e.kept.highWatermark, off)
		e.kept.logStart = min(e.kept.logStart, off)
	}
	w := e.written
	f.mu.Unlock()
	if w.recoveryPoint <= off && w.highWatermark <= off && w.logStart <= off {
		return nil
	}
	return d.request(context.Background(), d.checkpointAll)
}

// checkpointAll writes the three files as far as they are not as they should be.
func (d *Dir) checkpointAll() error {
	d.copyEntries()
	return errors.Join(d.checkpointCleaned(), d.checkpointRecoveryPoints(), d.checkpointHighWatermarks())
}

func (d *Dir) runFlusher() {
	defer d.goroutines.Done()
	flushTick := time.NewTicker(d.o.FlushInterval)
	defer flushTick.Stop()
	watermarkTick := time.NewTicker(d.o.HighWatermarkInterval)
	defer watermarkTick.Stop()
	for {
		var err error
		select {
		case <-d.stop:
			return
		case <-d.offline.c:
			return
		case r := <-d.flusher.ask:
			err = r.work()
			r.answer <- err
		case <-d.flusher.kick:
			err = d.flush()
		case <-flushTick.C:
			err = d.flush()
		case <-watermarkTick.C:
			err = d.checkpointHighWatermarks()
		}
		if err != nil {
			d.o.Logger.Error("checkpoint of the log directory failed", "dir", d.o.Path, "err", err)
		}
	}
}

// flush notes where every log ends, makes the file system durable, and only
// then believes the notes.
func (d *Dir) flush() error {
	d.flusher.dirtyBytes.Store(0)
	d.copyEntries()
	f := &d.flusher
	f.noted = f.noted[:0]
	for _, e := range f.entries {
		log := e.log.Load()
		if log == nil {
			continue
		}
		if tail := log.Tail(); tail.Flushed < tail.LogEnd {
			f.noted = append(f.noted, noted{log, tail.LogEnd})
		}
	}
	if len(f.noted) > 0 {
		if err := d.syncer.SyncFS(); err != nil {
			d.Fail("syncfs", err)
			return err
		}
		for _, n := range f.noted {
			n.log.Synced(n.end)
		}
		clear(f.noted)
	}
	return d.checkpointRecoveryPoints()
}

func (d *Dir) copyEntries() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flusher.entries = append(d.flusher.entries[:0], d.inOrder...)
	d.flusher.listing = d.listing
}

// currentLocked tells the three numbers of a partition as of now. mu is held, so that
// a truncation that comes after it sees in written what is being written.
func (e *entry) currentLocked() kept {
	log := e.log.Load()
	if log == nil {
		return e.kept
	}
	return tailKept(log.Tail())
}

func tailKept(t commitlog.Tail) kept {
	return kept{recoveryPoint: t.Flushed, highWatermark: t.HighWatermark, logStart: t.LogStart}
}

// checkpointRecoveryPoints writes recovery points and log starts, if any moved.
func (d *Dir) checkpointRecoveryPoints() error {
	f := &d.flusher
	recovery := &f.writer
	recovery.reset()
	var starts checkpointWriter
	moved, startMoved := f.listChanged(recoveryPointFile), f.listChanged(logStartFile)
	for _, e := range f.entries {
		f.mu.Lock()
		now := e.currentLocked()
		moved = moved || now.recoveryPoint != e.written.recoveryPoint
		startMoved = startMoved || now.logStart != e.written.logStart
		e.written.recoveryPoint, e.written.logStart = now.recoveryPoint, now.logStart
		f.mu.Unlock()
		recovery.add(e.tp, now.recoveryPoint)
		if now.logStart > 0 { // as Kafka, which leaves out what the first segment's name tells
			starts.add(e.tp, now.logStart)
		}
	}
	if moved {
		if err := d.writeCheckpoint(recoveryPointFile, recovery.bytes()); err != nil {
			return err
		}
	}
	if startMoved {
		return d.writeCheckpoint(logStartFile, starts.bytes())
	}
	return nil
}

// checkpointHighWatermarks writes the high watermarks, if any moved.
func (d *Dir) checkpointHighWatermarks() error {
	f := &d.flusher
	d.copyEntries()
	w := &f.writer
	w.reset()
	moved := f.listChanged(highWatermarkFile)
	for _, e := range f.entries {
		f.mu.Lock()
		now := e.currentLocked().highWatermark
		moved = moved || now != e.written.highWatermark
		e.written.highWatermark = now
		f.mu.Unlock()
		w.add(e.tp, now)
	}
	if !moved {
		return nil
	}
	return d.writeCheckpoint(highWatermarkFile, w.bytes())
}

// dropStale forgets the partitions that no file names any more.
func (d *Dir) dropStale() {
	f := &d.flusher
	oldest := min(f.listed[recoveryPointFile], f.listed[logStartFile], f.listed[highWatermarkFile])
	d.mu.Lock()
	defer d.mu.Unlock()
	for tp, left := range d.stale {
		if left <= oldest {
			delete(d.stale, tp)
		}
	}
}

// listChanged reports whether partitions came or went since a file was written.
func (f *flusher) listChanged(name string) bool { return f.listed[name] != f.listing }

// writeCheckpoint replaces a checkpoint file. A full disk passes: the old file
// stays, which costs recovery time and no data. Anything else does not.
func (d *Dir) writeCheckpoint(name string, b []byte) error {
	err := vfs.WriteFileAtomic(d.o.FS, d.path(name), b)
	switch {
	case err == nil:
		d.flusher.listed[name] = d.flusher.listing
		d.dropStale()
		d.noteSum(name, b)
	case isFull(err):
		delete(d.flusher.listed, name) // write it again next time
	default:
		d.Fail("checkpoint", err)
	}
	return err
}
