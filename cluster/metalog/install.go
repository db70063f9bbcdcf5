// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// Incoming is a checkpoint that comes from another node, piece by piece. It is
// in the way of nothing until it is installed.
type Incoming struct {
	l    *Log
	name Checkpoint
	file vfs.File
	size int64
	max  int64
}

// Receive starts to take in a checkpoint of at most bytesMax bytes.
func (l *Log) Receive(name Checkpoint, bytesMax int64) (*Incoming, error) {
	part := l.path(name.Name() + partSuffix)
	if err := l.fs.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("receive checkpoint: %w", err)
	}
	f, err := l.fs.Open(part, vfs.Create|vfs.Exclusive, 0o400)
	if err != nil {
		return nil, fmt.Errorf("receive checkpoint: %w", err)
	}
	return &Incoming{l: l, name: name, file: f, max: bytesMax}, nil
}

// Write appends the next piece.
func (in *Incoming) Write(p []byte) (int, error) {
	if in.size+int64(len(p)) > in.max {
		return 0, fmt.Errorf("receive checkpoint %s: more than %d bytes", in.name.Name(), in.max)
	}
	n, err := in.file.WriteAt(p, in.size)
	in.size += int64(n)
	return n, err
}

// Abort throws away what came.
func (in *Incoming) Abort() error {
	return errors.Join(in.file.Close(), in.l.fs.Remove(in.l.path(in.name.Name()+partSuffix)))
}

// Finish verifies every batch of what came and makes it durable, still beside
// the log. The result describes it; on error it is thrown away.
func (in *Incoming) Finish() (Checkpoint, error) {
	head, err := in.l.walkCheckpoint(in.file, in.name.Name(), nil)
	if err == nil && head.tag == nil {
		err = fmt.Errorf("checkpoint %s has no raft index", in.name.Name())
	}
	if err == nil {
		err = in.file.SyncData()
	}
	if err != nil {
		return Checkpoint{}, errors.Join(err, in.Abort())
	}
	c := in.name
	c.SizeBytes = in.size
	return head.describe(&c).c, in.file.Close()
}

// Install makes a checkpoint that was received and finished the beginning of
// the log, and drops the log before it: first the checkpoint, then the log
// (R10). It is called by the writer.
func (l *Log) Install(c Checkpoint) error {
	if err := l.install(c); err != nil {
		return fmt.Errorf("install checkpoint %s: %w", c.Name(), err)
	}
	return nil
}

func (l *Log) install(c Checkpoint) error {
	head, err := l.headOfPart(&c)
	if err != nil {
		return err
	}
	b := head.describe(&c)
	if err := errors.Join(l.forgetEpochs(), l.tidy()); err != nil {
		return err
	}
	q, has := l.Quorum()
	if !has {
		q.Leader, q.Voted, q.HasCommit = kafka.NoNode, kafka.NoNode, true
	}
	// The commit index stays: up to the rename it is the log of before that
	// counts, of which the checkpoint tells nothing.
	q.Installing = c.Name()
	if err := l.SaveQuorum(q); err != nil {
		return err
	}
	if err := l.lowerSynced(0, 0); err != nil {
		return err
	}
	if err := l.fs.Rename(l.path(c.Name()+partSuffix), l.path(c.Name())); err != nil {
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	old := l.reset(b)
	if err := l.tidy(); err != nil {
		return err
	}
	for _, o := range old {
		if err := l.fs.Remove(l.path(o.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	q.Installing, q.Commit, q.HasCommit = "", max(c.Index, q.Commit), true
	return l.SaveQuorum(q)
}

// endInstall takes the mark of an installation away that was cut short, by a
// crash before its rename or by want of room behind it, before the log goes on:
// a start believes the mark, and drops the log beside the checkpoint that it
// names.
func (l *Log) endInstall() error {
	q, _ := l.Quorum()
	if q.Installing == "" {
		return nil
	}
	q.Installing = ""
	return l.SaveQuorum(q)
}

// headOfPart verifies a checkpoint that is still beside the log, once more.
func (l *Log) headOfPart(c *Checkpoint) (checkpointHead, error) {
	f, err := l.fs.Open(l.path(c.Name()+partSuffix), vfs.ReadOnly, 0)
	if err != nil {
		return checkpointHead{}, err
	}
	defer f.Close()
	if c.SizeBytes, err = f.Size(); err != nil {
		return checkpointHead{}, err
	}
	return l.walkCheckpoint(f, c.Name(), nil)
}

// reset lets the maps in memory begin with b, leaves the segments to tidy, and
// returns the checkpoints that were there before. Readers are sent to the new one.
func (l *Log) reset(b basis) []Checkpoint {
	l.mu.Lock()
	old, watchers := l.checkpoints, l.watchers
	l.before = position{index: b.c.Index, epoch: b.c.Epoch, end: b.c.End}
	l.entries, l.recent, l.recentLen = nil, nil, 0
	slices.Reverse(l.segments)
	l.gone, l.segments, l.untidy = l.segments, nil, true
	l.checkpoints = []Checkpoint{b.c}
	l.members = []Members{b.members}
	l.committed = Committed{End: b.c.End, Epoch: b.c.Epoch, Index: b.c.Index}
	l.mu.Unlock()
	wake(watchers)
	return old
}

// OpenCheckpoint opens a checkpoint's file, to send it to another node.
func (l *Log) OpenCheckpoint(c Checkpoint) (vfs.File, error) {
	f, err := l.fs.Open(l.path(c.Name()), vfs.ReadOnly, 0)
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	return f, nil
}
