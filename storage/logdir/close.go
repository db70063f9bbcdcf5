// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

// Close ends the use of the directory cleanly: it closes every log, makes all
// durable, writes the checkpoints and then the marker and the manifest that
// belongs to it. The caller has stopped everything that uses the logs. On an
// error, and when the directory is offline, it is left without a marker and the
// next start recovers.
func (d *Dir) Close(epoch kafka.BrokerEpoch) error {
	if !d.halt() {
		return ErrClosed
	}
	defer d.release()
	if err := d.Offline(); err != nil {
		d.killLogs()
		return fmt.Errorf("close log directory: %w", err)
	}
	if err := d.closeCleanly(epoch); err != nil {
		return fmt.Errorf("close log directory %s: %w", d.o.Path, err)
	}
	return nil
}

// Kill ends the use of the directory as the death of the process would: nothing
// is written. It is for tests and for a node that must not touch its disk again.
func (d *Dir) Kill() {
	if !d.halt() {
		return
	}
	d.killLogs()
	d.release()
}

// halt stops the goroutines; false if that was done before.
func (d *Dir) halt() bool {
	d.mu.Lock()
	again := d.closed
	d.closed = true
	d.mu.Unlock()
	if again {
		return false
	}
	close(d.stop)
	d.goroutines.Wait()
	return true
}

func (d *Dir) killLogs() {
	d.copyEntries()
	for _, e := range d.flusher.entries {
		if log := e.log.Load(); log != nil {
			log.Kill()
		}
	}
}

func (d *Dir) closeCleanly(epoch kafka.BrokerEpoch) error {
	d.copyEntries()
	entries := d.flusher.entries
	all, err := d.closeLogs(entries)
	if err != nil {
		return err
	}
	left := d.removeFiles()
	for i, e := range entries {
		if left[e.folder] {
			all[i].hint = nil
		}
	}
	if err := d.syncer.SyncFS(); err != nil {
		d.Fail("syncfs", err)
		return err
	}
	if err := d.finalCheckpoints(entries, all); err != nil {
		return err
	}
	for _, e := range entries {
		if e.unrecovered {
			// The marker would vouch for a log that nobody has looked at since
			// the last crash.
			d.o.Logger.Warn("log directory is not marked as stopped cleanly: a partition was never opened since the unclean start",
				"dir", d.o.Path, "partition", e.tp.String())
			return nil
		}
	}
	m, err := writeMarker(d.o.FS, d.o.Path, epoch)
	if err != nil {
		return err
	}
	w := newManifest(m)
	for i, e := range entries {
		w.add(e.tp, all[i])
	}
	return vfs.WriteFileAtomic(d.o.FS, d.path(manifestFile), w.bytes())
}

// closeLogs closes the open logs, several at a time, and tells what is to be
// remembered of every partition.
func (d *Dir) closeLogs(entries []*entry) ([]remembered, error) {
	all := make([]remembered, len(entries))
	var next atomic.Int64
	errs := make([]error, d.o.Workers)
	var workers sync.WaitGroup
	for worker := range errs {
		workers.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(entries); i = next.Add(1) - 1 {
				var err error
				if all[i], err = entries[i].close(); err != nil {
					errs[worker] = errors.Join(errs[worker], err)
				}
			}
		})
	}
	workers.Wait()
	return all, errors.Join(errs...)
}

func (e *entry) close() (remembered, error) {
	log := e.log.Load()
	if log == nil {
		return remembered{topicID: e.topicID, kept: e.kept, hint: e.hint}, nil
	}
	tail := log.Tail()
	hint, err := log.Close()
	if e.ended && errors.Is(err, commitlog.ErrClosed) {
		return remembered{topicID: e.topicID, kept: tailKept(tail)}, nil // nobody will ask for more of it
	}
	if err != nil {
		return remembered{}, fmt.Errorf("close log %s: %w", e.tp, err)
	}
	return remembered{topicID: e.topicID, hint: &hint, kept: kept{
		recoveryPoint: hint.LogEnd,
		highWatermark: min(tail.HighWatermark, hint.LogEnd),
		logStart:      hint.LogStart,
	}}, nil
}

// finalCheckpoints writes all files and syncs the directory once.
func (d *Dir) finalCheckpoints(entries []*entry, all []remembered) error {
	if err := d.checkpointCleaned(); err != nil {
		return err
	}
	var recovery, watermarks, starts checkpointWriter
	for i, e := range entries {
		k := all[i].kept
		recovery.add(e.tp, k.recoveryPoint)
		watermarks.add(e.tp, k.highWatermark)
		if k.logStart > 0 {
			starts.add(e.tp, k.logStart)
		}
	}
	for _, file := range []struct {
		name   string
		writer *checkpointWriter
	}{{recoveryPointFile, &recovery}, {logStartFile, &starts}, {highWatermarkFile, &watermarks}} {
		b := file.writer.bytes()
		if err := vfs.ReplaceFile(d.o.FS, d.path(file.name), b); err != nil {
			return err
		}
		d.noteSum(file.name, b)
	}
	return d.o.FS.SyncDir(d.o.Path)
}
