// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"gregor/base/kafka"
	"gregor/storage/commitlog"
	"gregor/storage/scrub"
)

// ErrOpen is returned by OpenLog for a log that is open, and by SetAside.
var ErrOpen = errors.New("log is open already")

func (d *Dir) addLocked(e *entry) {
	e.place = len(d.inOrder)
	d.inOrder = append(d.inOrder, e)
	d.logs[e.tp] = e
	d.listing++
}

func (d *Dir) dropLocked(e *entry) {
	last := len(d.inOrder) - 1
	d.inOrder[e.place] = d.inOrder[last]
	d.inOrder[e.place].place = e.place
	d.inOrder[last] = nil
	d.inOrder = d.inOrder[:last]
	delete(d.logs, e.tp)
	d.listing++
	d.stale[e.tp] = d.listing
	if _, ok := d.cleaned[e.tp]; ok {
		delete(d.cleaned, e.tp)
		d.cleanedMoved = true
	}
}

// OpenLog opens the log of a partition, or makes a new one, whose folder comes
// with its first use. After an unclean
// stop it recovers the log before it returns, so whoever opens many logs does so
// from several goroutines. A log that cannot be opened leaves its folder as it
// is. The log belongs to the caller, who ends it by DeleteLog or leaves it to
// Close.
func (d *Dir) OpenLog(tp kafka.TopicPartition, topicID kafka.TopicID, config commitlog.Config) (*commitlog.Log, error) {
	e, err := d.claim(tp)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", tp, err)
	}
	if err := d.forgetLastLife(tp); err != nil {
		d.mu.Lock()
		e.opening = false
		d.mu.Unlock()
		d.forgetIfGone(e)
		return nil, fmt.Errorf("open log %s: %w", tp, err)
	}
	if d.recovering != nil && e.unrecovered {
		d.recovering <- struct{}{}
		defer func() { <-d.recovering }()
	}
	log, err := commitlog.Open(commitlog.Options{
		FS:                d.o.FS,
		Files:             d.o.Files,
		Dir:               e.folder,
		TopicPartition:    tp,
		TopicID:           topicID,
		Config:            config,
		Logger:            d.o.Logger,
		Now:               d.o.Now,
		RecoveryPoint:     e.kept.recoveryPoint,
		HighWatermark:     e.kept.highWatermark,
		LogStart:          e.kept.logStart,
		RecoveryPointLost: e.recoveryLost,
		CleanStart:        !e.unrecovered,
		Hint:              e.hint,
		New:               e.fresh,
		Failed:            d.Fail,
		Dirty:             d.dirty,
		NoRoom:            d.noRoom,
		DeleteLater:       d.removeLater,
		Dropped:           d.countDropped,
		Quarantined:       d.countBad,
		Sum:               func(base kafka.Offset) (scrub.Sum, bool) { return d.sumOf(tp, base) },
		Sealed:            func(base kafka.Offset) { d.noteSealed(tp, base) },
		Lowered:           func(off kafka.Offset) error { return d.lowered(e, off) },
	})
	d.mu.Lock()
	e.opening = false
	if err == nil && d.closed {
		d.mu.Unlock()
		log.Kill()
		return nil, fmt.Errorf("open log %s: %w", tp, ErrClosed)
	}
	if err == nil {
		e.topicID, e.hint, e.unrecovered = log.TopicID(), nil, false
		e.log.Store(log)
	}
	d.mu.Unlock()
	if err != nil {
		d.forgetIfGone(e)
		return nil, fmt.Errorf("open log %s: %w", tp, err)
	}
	d.tellLost(tp, topicID)
	return log, nil
}

// forgetLastLife makes sure that no checkpoint file speaks of a partition of
// this name that was deleted: a crash would give its recovery point and log
// start to the new one.
func (d *Dir) forgetLastLife(tp kafka.TopicPartition) error {
	d.mu.Lock()
	_, stale := d.stale[tp]
	d.mu.Unlock()
	if !stale {
		return nil
	}
	return d.request(context.Background(), d.checkpointAll)
}

// claim finds or makes the entry and marks it as being opened.
func (d *Dir) claim(tp kafka.TopicPartition) (*entry, error) {
	if err := d.Offline(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	e := d.logs[tp]
	if e == nil {
		e = &entry{tp: tp, folder: d.path(tp.String()), fresh: true}
		d.addLocked(e)
	}
	if e.opening || e.log.Load() != nil {
		return nil, ErrOpen
	}
	e.opening = true
	return e, nil
}

// forgetIfGone drops the entry of a new log whose folder could not be made.
func (d *Dir) forgetIfGone(e *entry) {
	if _, err := d.o.FS.Stat(e.folder); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.logs[e.tp] == e && !e.opening && e.log.Load() == nil {
		d.dropLocked(e)
	}
}

// DeleteLog takes a log's folder out of the way for good. It returns once the
// name is free, durably; the janitor removes the files later. It belongs to the
// log's one-at-a-time verbs and ends the log even when it fails; then it may be
// called again, and the name is not free before it succeeds.
func (d *Dir) DeleteLog(log *commitlog.Log) error {
	tp := log.TopicPartition()
	defer log.Kill()
	if err := d.Offline(); err != nil {
		return fmt.Errorf("delete log %s: %w", tp, err)
	}
	d.mu.Lock()
	e := d.logs[tp]
	known := e != nil && e.log.Load() == log
	d.mu.Unlock()
	if !known {
		return fmt.Errorf("delete log %s: %w", tp, ErrClosed)
	}
	if log.Discard() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.logs[tp] == e {
			d.dropLocked(e)
		}
		return nil
	}
	path, err := d.asideName(tp, deleteSuffix)
	if err == nil {
		err = log.RenameDir(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.o.Logger.Warn("the folder of a deleted partition was removed by somebody else", "partition", tp.String(), "folder", e.folder)
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.logs[tp] == e {
			d.dropLocked(e)
		}
		return nil
	case err != nil:
		d.mu.Lock()
		e.ended = true
		d.mu.Unlock()
		return fmt.Errorf("delete log %s: %w", tp, err)
	}
	return d.gone(e, path, deleteSuffix)
}

// SetAside renames the folder of a partition that metadata does not assign to
// this directory, so that its name is free. Its data is kept until somebody
// removes it by hand: metadata that is missing is no reason to lose data. The
// log must not be open.
func (d *Dir) SetAside(tp kafka.TopicPartition) error {
	e, err := d.claim(tp)
	if err != nil {
		return fmt.Errorf("move the folder of %s away: %w", tp, err)
	}
	path, err := d.asideName(tp, straySuffix)
	if err == nil {
		err = d.o.FS.Rename(e.folder, path)
	}
	d.mu.Lock()
	e.opening = false
	d.mu.Unlock()
	if err != nil {
		d.forgetIfGone(e)
		return fmt.Errorf("move the folder of %s away: %w", tp, err)
	}
	return d.gone(e, path, straySuffix)
}

// gone drops an entry whose folder has been renamed to path.
func (d *Dir) gone(e *entry, path, suffix string) error {
	d.mu.Lock()
	if d.logs[e.tp] == e {
		d.dropLocked(e)
	}
	d.mu.Unlock()
	if suffix == deleteSuffix {
		d.removeLater(path, 0)
	}
	d.o.Logger.Info("folder of a partition was moved away", "partition", e.tp.String(), "to", path)
	if err := d.o.FS.SyncDir(d.o.Path); err != nil {
		d.Fail("fsync of the directory", err)
		return fmt.Errorf("move the folder of %s away: %w", e.tp, err)
	}
	return nil
}
