// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strconv"
	"strings"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
	"gregor/wire/schema"
)

// A checkpoint is a file of batches whose offsets count from 0 and whose epoch
// is the checkpoint's:
//
//	control batch  SnapshotHeader {timestamp, tag 10000: raft's index and ConfState}, KRaftVersion, KRaftVoters
//	data batches   records that give the state when replayed on nothing
//	control batch  SnapshotFooter
//
// The only timestamp in it is that of the last batch it contains, so a
// checkpoint is a function of the log: equal to the byte on every node.

// Checkpoint names and describes one checkpoint file.
type Checkpoint struct {
	End         kafka.Offset      // of the last contained batch; 0 for the bootstrap checkpoint
	Epoch       kafka.LeaderEpoch // of that batch
	Index       uint64            // of that batch in raft
	ConfState   []byte            // raft's, at Index; nil if Kafka wrote the file
	TimestampMs int64             // of the last contained batch
	SizeBytes   int64
}

// Name is the file's name.
func (c Checkpoint) Name() string {
	return fmt.Sprintf("%020d-%010d.checkpoint", int64(c.End), int32(c.Epoch))
}

const partSuffix = ".part"

// ParseCheckpointName is the inverse of Name; it fills in End and Epoch.
func ParseCheckpointName(name string) (c Checkpoint, ok bool) {
	stem, found := strings.CutSuffix(name, ".checkpoint")
	if !found || len(stem) != 31 || stem[20] != '-' {
		return Checkpoint{}, false
	}
	end, err := strconv.ParseUint(stem[:20], 10, 63)
	epoch, err2 := strconv.ParseUint(stem[21:], 10, 31)
	if err != nil || err2 != nil {
		return Checkpoint{}, false
	}
	return Checkpoint{End: kafka.Offset(end), Epoch: kafka.LeaderEpoch(epoch)}, true
}

// Limits of the batches that a checkpoint is written in.
const (
	checkpointBatchBytes   = 1 << 20
	checkpointBatchRecords = 10_000
)

// State is what a checkpoint is written from: the metadata as the batch that
// ends at End left it.
type State struct {
	End kafka.Offset
	// ConfState is raft's, as of End.
	ConfState []byte
	// MetadataVersion is the level that decides the versions of the records.
	MetadataVersion int16
	Records         iter.Seq[metarec.Record]
	// Forget: nothing before this checkpoint is served to other nodes.
	Forget bool
}

// errBusy says that a checkpoint is being written already.
var errBusy = errors.New("a checkpoint is being written")

// Checkpoint is the newest checkpoint; ok is false if there is none.
func (l *Log) Checkpoint() (c Checkpoint, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.checkpoints); n > 0 {
		return l.checkpoints[n-1], true
	}
	return Checkpoint{}, false
}

// WriteCheckpoint writes the state at an offset up to which the log is
// committed, and then drops what retention no longer wants. ErrCurrent if the
// newest checkpoint is not older. It may be called from any goroutine; errBusy
// if another call is under way.
func (l *Log) WriteCheckpoint(s State) (Checkpoint, error) {
	c, m, err := l.planCheckpoint(s)
	if err != nil {
		return c, err
	}
	defer l.finishCheckpoint()
	if c.TimestampMs, err = l.timestampOf(c.Index); err != nil {
		return Checkpoint{}, err
	}
	if c, err = l.writeCheckpointFile(c, m, s); err != nil {
		return Checkpoint{}, fmt.Errorf("write checkpoint %s: %w", c.Name(), err)
	}
	if !l.register(c) { // a newer one was installed meanwhile
		return c, l.removeFile(c.Name())
	}
	l.o.Logger.Info("metadata checkpoint written", "end_offset", int64(c.End), "epoch", int32(c.Epoch), "bytes", c.SizeBytes)
	return c, l.retain(s.Forget)
}

func (l *Log) register(c Checkpoint) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.checkpoints); n > 0 && l.checkpoints[n-1].End >= c.End {
		return false
	}
	l.checkpoints = append(l.checkpoints, c)
	return true
}

// planCheckpoint finds the batch that s ends with, and the quorum there.
func (l *Log) planCheckpoint(s State) (Checkpoint, Members, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writing {
		return Checkpoint{}, Members{}, errBusy
	}
	if n := len(l.checkpoints); n > 0 && l.checkpoints[n-1].End >= s.End {
		return l.checkpoints[n-1], Members{}, ErrCurrent
	}
	p, ok := l.indexAtLocked(s.End)
	if !ok || s.End > l.committed.End {
		return Checkpoint{}, Members{}, fmt.Errorf("checkpoint at offset %d: not the end of a committed batch", s.End)
	}
	var m Members
	for _, c := range l.members {
		if c.Index <= p.index {
			m = c
		}
	}
	l.writing = true
	return Checkpoint{End: p.end, Epoch: p.epoch, Index: p.index, ConfState: s.ConfState}, m, nil
}

// ErrCurrent says that the newest checkpoint is as new as the one that was to
// be written.
var ErrCurrent = errors.New("the newest checkpoint is as new")

func (l *Log) finishCheckpoint() {
	l.mu.Lock()
	l.writing = false
	l.mu.Unlock()
}

// timestampOf is the greatest timestamp of the batch at index.
func (l *Log) timestampOf(index uint64) (int64, error) {
	es, err := l.Entries(index, index+1, 0)
	if err != nil {
		return 0, err
	}
	h, err := batch.Parse(es[0].Batch)
	return h.MaxTimestampMs, err
}

func (l *Log) writeCheckpointFile(c Checkpoint, m Members, s State) (Checkpoint, error) {
	w, err := newCheckpointWriter(l.fs, l.path(c.Name()+partSuffix), c)
	if err != nil {
		return c, err
	}
	err = w.head(c, m)
	if err == nil && s.Records != nil {
		for rec := range s.Records {
			if err = w.record(metarec.Marshal(nil, rec, s.MetadataVersion)); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = w.foot()
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return c, errors.Join(err, l.fs.Remove(l.path(c.Name()+partSuffix)))
	}
	c.SizeBytes = w.pos
	if err := l.fs.Rename(l.path(c.Name()+partSuffix), l.path(c.Name())); err != nil {
		return c, err
	}
	return c, l.syncDir()
}

// Form writes the checkpoint at offset 0 that makes an empty directory the
// start of a cluster. Its records are not state: the first leader proposes
// them. It is index 1 of raft's log (R2).
func (l *Log) Form(voters []metarec.Voter, confState []byte, bootstrap []metarec.Record, metadataVersion int16, nowMs int64) error {
	if !l.Empty() {
		return errors.New("form a cluster: the metadata directory is not empty")
	}
	c := Checkpoint{Index: 1, ConfState: confState, TimestampMs: nowMs}
	m := Members{Index: 1, Voters: voters, KRaftVersion: KRaftVersion, VotersHere: true}
	records := func(yield func(metarec.Record) bool) {
		for _, rec := range bootstrap {
			if !yield(rec) {
				return
			}
		}
	}
	c, err := l.writeCheckpointFile(c, m, State{MetadataVersion: metadataVersion, Records: records})
	if err != nil {
		return fmt.Errorf("form a cluster: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m.VotersHere = false
	l.checkpoints = []Checkpoint{c}
	l.members = []Members{m}
	l.before = position{index: 1}
	l.committed = Committed{Index: 1}
	return nil
}

// checkpointWriter builds a checkpoint file batch by batch.
type checkpointWriter struct {
	f      vfs.File
	epoch  kafka.LeaderEpoch
	tsMs   int64
	pos    int64
	offset kafka.Offset
	values [][]byte
	bytes  int
}

func newCheckpointWriter(fsys vfs.FS, name string, c Checkpoint) (*checkpointWriter, error) {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := fsys.Open(name, vfs.Create|vfs.Exclusive, 0o400)
	if err != nil {
		return nil, err
	}
	return &checkpointWriter{f: f, epoch: c.Epoch, tsMs: c.TimestampMs}, nil
}

func (w *checkpointWriter) head(c Checkpoint, m Members) error {
	header := &metarec.SnapshotHeader{LastContainedLogTimestampMs: c.TimestampMs}
	if c.ConfState != nil {
		header.Unknown = []schema.Tag{{Key: tagRaft, Value: snapshotTag{c.Index, c.ConfState}.bytes()}}
	}
	control := []metarec.Control{header}
	if m.KRaftVersion > 0 {
		control = append(control, &metarec.KRaftVersion{Level: m.KRaftVersion}, &metarec.KRaftVoters{Voters: m.Voters})
	}
	return w.write(ControlBatch(w.tsMs, control...))
}

func (w *checkpointWriter) record(value []byte) error {
	w.values = append(w.values, value)
	w.bytes += len(value)
	if w.bytes < checkpointBatchBytes && len(w.values) < checkpointBatchRecords {
		return nil
	}
	return w.flush()
}

func (w *checkpointWriter) flush() error {
	if len(w.values) == 0 {
		return nil
	}
	b := DataBatch(w.tsMs, w.values)
	w.values, w.bytes = w.values[:0], 0
	return w.write(b)
}

func (w *checkpointWriter) foot() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.write(ControlBatch(w.tsMs, &metarec.SnapshotFooter{})); err != nil {
		return err
	}
	return w.f.SyncData()
}

func (w *checkpointWriter) write(b []byte) error {
	h, err := batch.Parse(b)
	if err != nil {
		return err
	}
	batch.SetBaseOffset(b, w.offset)
	batch.SetLeaderEpoch(b, w.epoch)
	if _, err := w.f.WriteAt(b, w.pos); err != nil {
		return err
	}
	w.pos += int64(len(b))
	w.offset += kafka.Offset(h.LastOffsetDelta) + 1
	return nil
}
