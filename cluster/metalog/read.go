// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"sort"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// readBytesMax bounds one read of a replay; one batch may be larger.
const readBytesMax = 1 << 20

// ErrCompacted is the error of entries that are behind a checkpoint and gone.
var ErrCompacted = errors.New("metadata log entry is no longer there")

// Entries gives the batches of [lo, hi), at least one and then as many as
// bytesMax allows. They are sealed, and shared: nobody may change them.
func (l *Log) Entries(lo, hi uint64, bytesMax int) ([]Entry, error) {
	l.mu.Lock()
	if lo <= l.before.index {
		l.mu.Unlock()
		return nil, ErrCompacted
	}
	if hi > l.lastIndexLocked()+1 || lo >= hi {
		last := l.lastIndexLocked()
		l.mu.Unlock()
		return nil, fmt.Errorf("read metadata index %d to %d of a log that ends with %d", lo, hi, last)
	}
	first, n, size := int(lo-l.before.index-1), 0, 0
	for _, e := range l.entries[first : first+int(hi-lo)] {
		if n > 0 && size+int(e.size) > bytesMax {
			break
		}
		n++
		size += int(e.size)
	}
	out := make([]Entry, n)
	for i := range out {
		out[i] = Entry{Index: lo + uint64(i), Epoch: l.entries[first+i].epoch, Sealed: true}
	}
	fromMemory := l.recentAtLocked(first, out)
	cold := append([]entry(nil), l.entries[first:first+fromMemory]...)
	l.acquireLocked(cold)
	l.mu.Unlock()
	return out, l.readCold(cold, out)
}

// recentAtLocked fills in what is in memory and returns how many of the first
// are not.
func (l *Log) recentAtLocked(first int, out []Entry) int {
	oldest := len(l.entries) - len(l.recent)
	for i := range out {
		if at := first + i - oldest; at >= 0 {
			out[i].Batch = l.recent[at]
		}
	}
	return min(max(oldest-first, 0), len(out))
}

// acquireLocked takes a reference on the segment of each run of entries.
func (l *Log) acquireLocked(es []entry) {
	for i := range es {
		if i == 0 || es[i].seg != es[i-1].seg {
			es[i].seg.refs++
		}
	}
}

// readCold reads es from their files, run by run, verifies them, and gives the
// references back.
func (l *Log) readCold(es []entry, out []Entry) error {
	var err error
	for i := 0; i < len(es); {
		seg, n, size := es[i].seg, i, 0
		for ; n < len(es) && es[n].seg == seg; n++ {
			size += int(es[n].size)
		}
		if err == nil {
			err = readRun(seg, es[i:n], out[i:n], size)
		}
		err = errors.Join(err, l.release(seg))
		i = n
	}
	return err
}

// readRun reads batches that stand one behind the other.
func readRun(seg *segment, es []entry, out []Entry, size int) error {
	buf := make([]byte, size)
	err := readFull(seg.file, buf, es[0].pos)
	for i := range es {
		if err == nil {
			out[i].Batch, buf = buf[:es[i].size:es[i].size], buf[es[i].size:]
			err = verify(&es[i], out[i].Batch)
		}
		if err != nil {
			return fmt.Errorf("read %s at byte %d: %w", seg.name, es[i].pos, err)
		}
	}
	return nil
}

// verify checks that b is what the maps say.
func verify(e *entry, b []byte) error {
	h, err := batch.Parse(b)
	if err != nil {
		return err
	}
	if h.BaseOffset != e.base || h.LeaderEpoch != e.epoch || h.SizeBytes() != len(b) {
		return &batch.CorruptError{Reason: fmt.Sprintf("offset %d, epoch %d, %d bytes where %d, %d, %d belong",
			h.BaseOffset, h.LeaderEpoch, h.SizeBytes(), e.base, e.epoch, len(b))}
	}
	return batch.VerifyCRC(b)
}

// Batch is one committed batch as a reader of the metadata sees it.
type Batch struct {
	Base, Last  kafka.Offset
	Epoch       kafka.LeaderEpoch
	TimestampMs int64 // the greatest in the batch
	Control     bool  // then there are no Records, but offset and epoch count
	Records     []metarec.Record
}

// Replay calls fn for each committed batch from the one that contains offset
// from, and returns the offset to go on from. If from lies below what the log
// still has, the error is a *NotInLogError: the newest checkpoint comes first.
func (l *Log) Replay(from kafka.Offset, fn func(Batch) error) (next kafka.Offset, err error) {
	for next = from; ; {
		lo, hi, err := l.replayRange(next)
		if err != nil || lo == hi {
			return next, err
		}
		es, err := l.Entries(lo, hi, readBytesMax)
		if errors.Is(err, ErrCompacted) {
			continue // replayRange says it better
		}
		if err != nil {
			return next, err
		}
		for i := range es {
			b, err := decode(es[i].Batch)
			if err != nil {
				return next, fmt.Errorf("replay metadata offset %d: %w", next, err)
			}
			if err := fn(b); err != nil {
				return next, err
			}
			next = b.Last + 1
		}
	}
}

// replayRange gives the committed indexes from offset from on.
func (l *Log) replayRange(from kafka.Offset) (lo, hi uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from < l.before.end {
		return 0, 0, &NotInLogError{From: from, LogStart: l.before.end}
	}
	if from >= l.committed.End {
		return 0, 0, nil
	}
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].end() > from })
	return l.before.index + 1 + uint64(i), l.committed.Index + 1, nil
}

func decode(b []byte) (Batch, error) {
	h, err := batch.Parse(b)
	if err != nil {
		return Batch{}, err
	}
	out := Batch{
		Base: h.BaseOffset, Last: h.LastOffset(), Epoch: h.LeaderEpoch,
		TimestampMs: h.MaxTimestampMs, Control: h.Attributes.IsControl(),
	}
	if out.Control {
		return out, nil
	}
	out.Records = make([]metarec.Record, 0, min(int(h.Count), len(b)))
	return out, eachRecord(b, func(r *batch.Record) error {
		rec, err := metarec.Unmarshal(r.Value)
		out.Records = append(out.Records, rec)
		return err
	})
}

// ReadCheckpoint calls fn for each record of state in a checkpoint. Every batch
// is verified, and the footer must be there.
func (l *Log) ReadCheckpoint(c Checkpoint, fn func(metarec.Record) error) error {
	f, err := l.fs.Open(l.path(c.Name()), vfs.ReadOnly, 0)
	if err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	defer f.Close()
	_, err = l.walkCheckpoint(f, c.Name(), fn)
	return err
}

// Bootstrap gives the records of the checkpoint at offset 0, which the first
// leader of a new cluster proposes.
func (l *Log) Bootstrap() ([]metarec.Record, error) {
	var out []metarec.Record
	l.mu.Lock()
	var first Checkpoint
	has := len(l.checkpoints) > 0
	if has {
		first = l.checkpoints[0]
	}
	l.mu.Unlock()
	if !has || first.End != 0 {
		return nil, nil
	}
	err := l.ReadCheckpoint(first, func(rec metarec.Record) error {
		out = append(out, rec)
		return nil
	})
	return out, err
}

// walkCheckpoint reads a checkpoint file to its footer and returns what its
// control records say.
func (l *Log) walkCheckpoint(f vfs.File, name string, fn func(metarec.Record) error) (checkpointHead, error) {
	var head checkpointHead
	size, err := f.Size()
	if err != nil {
		return head, fmt.Errorf("read checkpoint: %w", err)
	}
	r := reader{f: f, name: name, size: size, batchBytesMax: l.o.BatchBytesMax}
	for !head.footer {
		b, h, err := r.next()
		if err != nil {
			return head, err
		}
		if b == nil {
			return head, r.corrupt("no footer at the end of the file")
		}
		if h.Attributes.IsControl() {
			err = head.control(b)
		} else if fn != nil {
			err = eachRecord(b, func(rec *batch.Record) error {
				m, err := metarec.Unmarshal(rec.Value)
				if err != nil {
					return err
				}
				return fn(m)
			})
		}
		if err != nil {
			return head, fmt.Errorf("checkpoint %s: %w", name, err)
		}
	}
	return head, nil
}

// checkpointHead is what the control records of a checkpoint say.
type checkpointHead struct {
	members     Members
	tag         *snapshotTag
	timestampMs int64
	header      bool
	footer      bool
}

func (c *checkpointHead) control(b []byte) error {
	return eachRecord(b, func(r *batch.Record) error {
		rec, err := metarec.UnmarshalControl(r.Key, r.Value)
		if err != nil {
			return err
		}
		switch rec := rec.(type) {
		case *metarec.SnapshotHeader:
			c.header, c.timestampMs = true, rec.LastContainedLogTimestampMs
			if raft := raftTag(rec.Unknown); raft != nil {
				tag, err := parseSnapshotTag(raft)
				if err != nil {
					return err
				}
				c.tag = &tag
			}
		case *metarec.SnapshotFooter:
			c.footer = true
		}
		if !c.header {
			return errors.New("does not begin with a snapshot header")
		}
		return c.members.see(rec)
	})
}
