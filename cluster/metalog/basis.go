// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"

	"gregor/base/vfs"
)

// basis is the checkpoint that the indexes and the quorum count from. Its zero
// value with index 1 stands for a log that begins at offset 0 without one.
type basis struct {
	c       Checkpoint
	tagged  bool // the checkpoint knows its index
	exists  bool
	members Members
}

// basis is the newest checkpoint, every batch of which is verified. A damaged one
// is set aside if an older one and the log behind it hold all of it.
func (l *Log) basis() (basis, error) {
	n := len(l.checkpoints)
	if n == 0 {
		return basis{c: Checkpoint{Index: 1}}, nil
	}
	head, err := l.wholeCheckpoint(l.checkpoints[n-1])
	if isCorrupt(err) && n > 1 && l.quorum.Installing != l.checkpoints[n-1].Name() {
		return l.olderBasis(err)
	}
	if isCorrupt(err) {
		err = fmt.Errorf("%w. No older checkpoint makes up for it: put the file back from a copy; where other voters have the metadata, this one may join them anew with an empty directory", err)
	}
	if err != nil {
		return basis{}, err
	}
	return head.describe(&l.checkpoints[n-1]), nil
}

// olderBasis does without the newest checkpoint, which damage is wrong with.
func (l *Log) olderBasis(damage error) (basis, error) {
	n := len(l.checkpoints)
	newest, older := l.checkpoints[n-1], &l.checkpoints[n-2]
	head, err := l.wholeCheckpoint(*older)
	if err != nil {
		return basis{}, errors.Join(damage, fmt.Errorf("the checkpoint before it is no help: %w", err))
	}
	s, err := l.scan(older.End)
	if err != nil {
		return basis{}, errors.Join(damage, fmt.Errorf("the log before it is no help: %w", err))
	}
	if s.bad != nil { // for the scan that counts
		l.segments[s.bad.seg].size = s.bad.size
	}
	if !s.holds(newest) || !s.holds(*older) {
		return basis{}, fmt.Errorf("%w. The log no longer holds what is in it: put the file back from a copy; where other voters have the metadata, this one may join them anew with an empty directory", damage)
	}
	name, err := l.freeName(newest.Name() + damagedSuffix)
	if err == nil {
		err = l.fs.Rename(l.path(newest.Name()), l.path(name))
	}
	if err == nil {
		err = l.syncDir()
	}
	if err != nil {
		return basis{}, errors.Join(damage, fmt.Errorf("set %s aside: %w", newest.Name(), err))
	}
	l.o.Logger.Error("a damaged checkpoint of metadata is set aside, the one before it and the log hold all of it",
		"reason", damage, "checkpoint", older.Name(), "kept_as", l.path(name))
	l.checkpoints = l.checkpoints[:n-1]
	return head.describe(older), nil
}

// wholeCheckpoint reads all of a checkpoint.
func (l *Log) wholeCheckpoint(c Checkpoint) (checkpointHead, error) {
	f, err := l.fs.Open(l.path(c.Name()), vfs.ReadOnly, 0)
	if err != nil {
		return checkpointHead{}, err
	}
	defer f.Close()
	return l.walkCheckpoint(f, l.path(c.Name()), nil)
}

// describe completes c by its head.
func (h *checkpointHead) describe(c *Checkpoint) basis {
	c.TimestampMs = h.timestampMs
	c.Index = uint64(c.End) + 1 // never below the number of batches (R9)
	if h.tag != nil {
		c.Index, c.ConfState = h.tag.index, h.tag.confState
	}
	b := basis{c: *c, tagged: h.tag != nil, exists: true, members: h.members}
	b.members.Index, b.members.VotersHere, b.members.Change = c.Index, false, nil
	return b
}

// headOf reads the control records at the beginning of a checkpoint.
func (l *Log) headOf(c Checkpoint) (checkpointHead, error) {
	var head checkpointHead
	f, err := l.fs.Open(l.path(c.Name()), vfs.ReadOnly, 0)
	if err != nil {
		return head, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return head, err
	}
	r := reader{f: f, name: l.path(c.Name()), size: size, batchBytesMax: l.o.BatchBytesMax}
	for !head.footer {
		b, h, err := r.next()
		if err != nil {
			return head, err
		}
		if b == nil {
			return head, r.corrupt("no footer at the end of the file")
		}
		if !h.Attributes.IsControl() {
			if !head.header {
				return head, &CorruptError{File: l.path(c.Name()), Reason: "does not begin with a snapshot header"}
			}
			break
		}
		if err := head.control(b); err != nil {
			return head, &CorruptError{File: l.path(c.Name()), Pos: r.pos - int64(len(b)), Reason: err.Error()}
		}
	}
	return head, nil
}
