// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// Entry is one batch on its way into or out of the log.
type Entry struct {
	Index uint64
	Epoch kafka.LeaderEpoch
	// Batch is the whole batch. On the way in its base offset and epoch are
	// ignored, unless it is Sealed.
	Batch []byte
	// Sealed: another node has decided the bytes. A base offset or epoch that
	// is not what the log expects is an error.
	Sealed bool
}

// Append makes entries durable, and first cuts away what the log holds from
// the first one's index on. Nothing of entries is kept or changed. After
// want of room the log is as it was, up to what the cut removed, and the same
// call may be repeated; after another error it must not be used any more.
func (l *Log) Append(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if l.closed {
		return errClosed
	}
	for _, before := range []func() error{l.forgetEpochs, l.tidy, l.endInstall} {
		if err := before(); err != nil {
			return err
		}
	}
	if first, last := entries[0].Index, l.LastIndex(); first <= last {
		if err := l.cut(first - 1); err != nil {
			return err
		}
	} else if first != last+1 {
		return fmt.Errorf("append index %d behind %d: a gap", first, last)
	}
	for len(entries) > 0 {
		n, err := l.appendSome(entries)
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return l.raiseSynced()
}

// appendSome appends as many entries as go into one segment with one write.
func (l *Log) appendSome(entries []Entry) (int, error) {
	seg, err := l.segmentFor(len(entries[0].Batch))
	if err != nil {
		return 0, err
	}
	n, size := 0, 0
	for n < len(entries) && (n == 0 || seg.size+int64(size+len(entries[n].Batch)) <= l.o.SegmentBytesMax) {
		size += len(entries[n].Batch)
		n++
	}
	buf := make([]byte, 0, size)
	add := addition{base: l.End(), pos: seg.size, index: l.LastIndex()}
	for i := range entries[:n] {
		buf = append(buf, entries[i].Batch...)
		if err := add.seal(buf[len(buf)-len(entries[i].Batch):], &entries[i], seg, l.lastMembers()); err != nil {
			return 0, err
		}
	}
	_, err = seg.file.WriteAt(buf, seg.size)
	if err == nil {
		err = seg.file.SyncData()
	}
	if err != nil {
		l.untidy = true
		return 0, errors.Join(fmt.Errorf("append to %s: %w", seg.name, err), l.tidy())
	}
	l.publish(seg, buf, &add)
	return n, nil
}

// addition collects what one write adds to the maps in memory.
type addition struct {
	base    kafka.Offset
	pos     int64
	index   uint64
	entries []entry
	members []Members
}

// seal puts base offset and epoch into b, a copy of in's batch.
func (a *addition) seal(b []byte, in *Entry, seg *segment, last Members) error {
	a.index++
	if in.Index != a.index {
		return fmt.Errorf("append index %d where %d is due", in.Index, a.index)
	}
	h, err := batch.Parse(b)
	if err == nil && h.SizeBytes() != len(b) {
		err = &batch.CorruptError{Reason: fmt.Sprintf("length %d in %d bytes", h.SizeBytes(), len(b))}
	}
	if err == nil && in.Sealed && (h.BaseOffset != a.base || h.LeaderEpoch != in.Epoch) {
		err = fmt.Errorf("batch of offset %d and epoch %d where %d and %d are due", h.BaseOffset, h.LeaderEpoch, a.base, in.Epoch)
	}
	if err == nil && (h.LastOffsetDelta < 0 || h.Count < 1) {
		err = &batch.CorruptError{Reason: "no records"}
	}
	if err != nil {
		return fmt.Errorf("append index %d: %w", in.Index, err)
	}
	batch.SetBaseOffset(b, a.base)
	batch.SetLeaderEpoch(b, in.Epoch)
	if len(a.members) > 0 {
		last = a.members[len(a.members)-1]
	}
	if m, ok, err := membersOf(b, &h, in.Index, last); err != nil {
		return fmt.Errorf("append index %d: %w", in.Index, err)
	} else if ok {
		a.members = append(a.members, m)
	}
	e := entry{base: a.base, pos: a.pos, seg: seg, size: int32(len(b)), count: h.LastOffsetDelta + 1, epoch: in.Epoch}
	a.entries = append(a.entries, e)
	a.base, a.pos = e.end(), a.pos+int64(len(b))
	return nil
}

// membersOf reads what a batch says of the quorum; ok is false if nothing.
func membersOf(b []byte, h *batch.Header, index uint64, last Members) (m Members, ok bool, err error) {
	if !h.Attributes.IsControl() {
		return Members{}, false, nil
	}
	m = last
	m.Index, m.Change, m.VotersHere = index, nil, false
	err = eachRecord(b, func(r *batch.Record) error {
		rec, err := metarec.UnmarshalControl(r.Key, r.Value)
		if err != nil {
			return err
		}
		switch rec.(type) {
		case *metarec.KRaftVersion, *metarec.KRaftVoters:
			ok = true
		}
		return m.see(rec)
	})
	return m, ok, err
}

func (l *Log) lastMembers() Members {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.members); n > 0 {
		return l.members[n-1]
	}
	return Members{}
}

func (l *Log) publish(seg *segment, buf []byte, a *addition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seg.size += int64(len(buf))
	l.entries = append(l.entries, a.entries...)
	l.members = append(l.members, a.members...)
	for _, e := range a.entries {
		l.recent = append(l.recent, buf[:e.size:e.size])
		l.recentLen += int(e.size)
		buf = buf[e.size:]
	}
	drop := 0
	for drop < len(l.recent)-1 && l.recentLen > l.o.RecentBytesMax {
		l.recentLen -= len(l.recent[drop])
		l.recent[drop] = nil
		drop++
	}
	l.recent = l.recent[drop:]
}

// segmentFor gives the segment that the next batch goes to.
func (l *Log) segmentFor(size int) (*segment, error) {
	seg, base := l.active(), l.End()
	if seg != nil && (seg.base == base || seg.base >= l.newestEnd() && seg.size+int64(size) <= l.o.SegmentBytesMax) {
		return seg, nil
	}
	name := segmentName(base)
	f, err := l.fs.Open(l.path(name), vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create metadata segment: %w", err)
	}
	if err := l.syncDir(); err != nil {
		return nil, errors.Join(fmt.Errorf("create metadata segment: %w", err), f.Close())
	}
	seg = &segment{base: base, name: name, file: f, refs: 1}
	l.mu.Lock()
	l.segments = append(l.segments, seg)
	l.mu.Unlock()
	return seg, nil
}

// newestEnd is where the newest checkpoint ends. The first append behind it
// starts a segment, so that a start reads little that is older.
func (l *Log) newestEnd() kafka.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.checkpoints); n > 0 {
		return l.checkpoints[n-1].End
	}
	return 0
}

// forgetEpochs removes Kafka's leader-epoch-checkpoint before the first change
// of the log (R6): Kafka rebuilds a missing one rightly, but believes wrong
// entries in one that is there.
func (l *Log) forgetEpochs() error {
	if l.epochsGone {
		return nil
	}
	err := l.fs.Remove(l.path("leader-epoch-checkpoint"))
	if err == nil {
		err = l.syncDir()
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("remove leader-epoch-checkpoint: %w", err)
	}
	l.epochsGone = true
	return nil
}

// cut removes all batches behind index, durably.
func (l *Log) cut(index uint64) error {
	l.mu.Lock()
	if index < l.committed.Index || index < l.before.index {
		defer l.mu.Unlock()
		return fmt.Errorf("cut back to index %d, but %d is committed", index, l.committed.Index)
	}
	p, _ := l.positionLocked(index)
	l.mu.Unlock()
	if err := l.lowerSynced(p.end, p.epoch); err != nil {
		return fmt.Errorf("cut the metadata log: %w", err)
	}
	l.mu.Lock()
	keep := int(index - l.before.index)
	victim := l.entries[keep] // of the caller: there is one
	// The maps shrink first: nobody is led to bytes that are about to go.
	l.recent = l.recent[:max(0, len(l.recent)-(len(l.entries)-keep))]
	l.recentLen = 0
	for _, b := range l.recent {
		l.recentLen += len(b)
	}
	l.entries = l.entries[:keep]
	l.members = slices.DeleteFunc(l.members, func(m Members) bool { return m.Index > index })
	for n := len(l.segments); l.segments[n-1].base > victim.base; n = len(l.segments) {
		l.gone = append(l.gone, l.segments[n-1])
		l.segments = l.segments[:n-1]
	}
	l.segments[len(l.segments)-1].size = victim.pos
	l.mu.Unlock()
	l.untidy = true
	return l.tidy()
}

// tidy makes the files end where the maps in memory end. Until it has
// succeeded nothing is appended: bytes of a batch that was cut away must never
// stand behind new ones.
func (l *Log) tidy() error {
	if !l.untidy {
		return nil
	}
	for len(l.gone) > 0 { // the last segment first: what stays has no hole
		s := l.gone[0]
		if err := l.fs.Remove(l.path(s.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cut the metadata log: %w", err)
		}
		if err := errors.Join(l.syncDir(), l.release(s)); err != nil {
			return fmt.Errorf("cut the metadata log: %w", err)
		}
		l.gone = l.gone[1:]
	}
	seg := l.active()
	if seg == nil {
		l.untidy = false
		return nil
	}
	err := seg.file.Truncate(seg.size)
	if err == nil {
		err = seg.file.SyncData()
	}
	if err != nil {
		return fmt.Errorf("cut %s: %w", seg.name, err)
	}
	l.untidy = false
	return nil
}

// active is the segment that is written to; nil if there is none yet.
func (l *Log) active() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.segments); n > 0 {
		return l.segments[n-1]
	}
	return nil
}

func segmentName(base kafka.Offset) string { return fmt.Sprintf("%020d.log", int64(base)) }
