// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"context"
	"fmt"
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
	kick       chan struct{}   // capacity 1: dirtyBytes passed FlushBytes
	ask        chan chan error // Flush

	entries []*entry // copy of Dir.inOrder, to work on without its lock
	noted   []noted
	listing int64            // Dir.listing when entries were copied
	listed  map[string]int64 // by file: the listing that it was last written with
	writer  checkpointWriter
}

// noted is where a log ended before a flush of the file system began.
type noted struct {
	log *commitlog.Log
	end kafka.Offset
}

func (f *flusher) init() {
	f.kick = make(chan struct{}, 1)
	f.ask = make(chan chan error)
	f.listed = map[string]int64{}
}

// dirty counts what logs write. It runs on their lanes.
func (d *Dir) dirty(bytes int64) {
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
func (d *Dir) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case d.flusher.ask <- answer:
	case <-ctx.Done():
		return fmt.Errorf("flush log directory: %w", ctx.Err())
	case <-d.stop:
		return ErrClosed
	case <-d.offline.c:
		return d.Offline()
	}
	return <-answer
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
		case answer := <-d.flusher.ask:
			err = d.flush()
			answer <- err
		case <-d.flusher.kick:
			err = d.flush()
		case <-flushTick.C:
			err = d.flush()
		case <-watermarkTick.C:
			err = d.checkpointHighWatermarks()
		}
		if err != nil {
			d.o.Logger.Error("checkpoint of the log directory failed", "dir", d.o.Path, "error", err)
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

// current tells the three numbers of a partition as of now.
func (e *entry) current() kept {
	log := e.log.Load()
	if log == nil {
		return e.kept // unchanging until the log is open
	}
	tail := log.Tail()
	return kept{recoveryPoint: tail.Flushed, highWatermark: tail.HighWatermark, logStart: tail.LogStart}
}

// checkpointRecoveryPoints writes recovery points and log starts, if any moved.
func (d *Dir) checkpointRecoveryPoints() error {
	recovery := &d.flusher.writer
	recovery.reset()
	var starts checkpointWriter
	moved, startMoved := d.flusher.listChanged(recoveryPointFile), d.flusher.listChanged(logStartFile)
	for _, e := range d.flusher.entries {
		now := e.current()
		recovery.add(e.tp, now.recoveryPoint)
		if now.logStart > 0 { // as Kafka, which leaves out what the first segment's name tells
			starts.add(e.tp, now.logStart)
		}
		moved = moved || now.recoveryPoint != e.written.recoveryPoint
		startMoved = startMoved || now.logStart != e.written.logStart
		e.written.recoveryPoint, e.written.logStart = now.recoveryPoint, now.logStart
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
	d.copyEntries()
	moved := d.flusher.listChanged(highWatermarkFile)
	for _, e := range d.flusher.entries {
		if now := e.current().highWatermark; now != e.written.highWatermark {
			moved, e.written.highWatermark = true, now
		}
	}
	if !moved {
		return nil
	}
	w := &d.flusher.writer
	w.reset()
	for _, e := range d.flusher.entries {
		w.add(e.tp, e.written.highWatermark)
	}
	return d.writeCheckpoint(highWatermarkFile, w.bytes())
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
	case isFull(err):
		delete(d.flusher.listed, name) // write it again next time
	default:
		d.Fail("checkpoint", err)
	}
	return err
}
