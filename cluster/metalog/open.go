// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// Open opens the metadata log of a directory, and makes its folder if there is
// none. It reads the newest checkpoint's head and, with CRC, every batch of the
// segments from the one on that the checkpoint ends in. A torn tail is cut off;
// anything else that is wrong, and that no checkpoint makes good, is an error that
// names file and byte.
func Open(o Options) (*Log, error) {
	o.ensureDefaults()
	l := &Log{o: o, fs: o.FS, dir: filepath.Join(o.Dir, DirName)}
	if err := l.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the metadata log: %w", err), l.Close())
	}
	return l, nil
}

func (l *Log) open() error {
	if err := vfs.MakeDir(l.fs, l.dir); err != nil {
		return err
	}
	if err := l.fs.SyncDir(l.o.Dir); err != nil { // made by a start that was cut short, perhaps
		return err
	}
	if err := l.list(); err != nil {
		return err
	}
	if err := l.loadQuorumState(); err != nil {
		return err
	}
	l.loadSynced()
	base, err := l.basis()
	if err != nil {
		return err
	}
	if err := l.finishInstall(base); err != nil {
		return err
	}
	s, err := l.scan(base.c.End)
	if err != nil {
		return err
	}
	if s.bad != nil && !s.holds(base.c) {
		if s, err = l.skipDamage(base, s); err != nil {
			return err
		}
	}
	if err := l.adopt(base, s); err != nil {
		return err
	}
	return l.renewSynced()
}

// list finds segments and checkpoints, and removes what was never finished.
func (l *Log) list() error {
	infos, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if info.IsDir() {
			continue
		}
		if stem, ok := strings.CutSuffix(info.Name, ".log"); ok && len(stem) == 20 {
			if base, err := strconv.ParseUint(stem, 10, 63); err == nil {
				l.segments = append(l.segments, &segment{base: kafka.Offset(base), name: info.Name, size: info.SizeBytes, refs: 1})
			}
		} else if c, ok := ParseCheckpointName(info.Name); ok {
			c.SizeBytes = info.SizeBytes
			l.checkpoints = append(l.checkpoints, c)
		} else if isLeftover(info.Name) {
			if err := l.fs.Remove(l.path(info.Name)); err != nil {
				return err
			}
		}
	}
	// Names are padded with zeros, so ReadDir's order is that of the offsets;
	// of two checkpoints at one offset the higher epoch counts.
	//
	// Of a file that a process made before it was killed the name may not be
	// durable yet, and what is appended to it counts as durable.
	return l.syncDir()
}

// isLeftover tells a checkpoint that was being written, by us or by Kafka, and
// one that Kafka was about to delete.
func isLeftover(name string) bool {
	for _, suffix := range []string{partSuffix, ".deleted"} {
		if stem, ok := strings.CutSuffix(name, suffix); ok && strings.Contains(stem, ".checkpoint") {
			return true
		}
	}
	return name == quorumStateTmp
}

// finishInstall drops the log that an installation, cut short behind its
// rename, has left beside its checkpoint (R10).
func (l *Log) finishInstall(b basis) error {
	if l.quorum.Installing == "" || !b.exists || l.quorum.Installing != b.c.Name() {
		return nil
	}
	return l.dropSegments()
}

// dropSegments removes the whole log, the last segment first: should it be cut
// short, what stays is the beginning of a log.
func (l *Log) dropSegments() error {
	for n := len(l.segments); n > 0; n = len(l.segments) {
		s := l.segments[n-1]
		if err := l.fs.Remove(l.path(s.name)); err != nil {
			return fmt.Errorf("drop the metadata log: %w", err)
		}
		if err := errors.Join(l.syncDir(), l.release(s)); err != nil {
			return fmt.Errorf("drop the metadata log: %w", err)
		}
		l.mu.Lock()
		l.segments = l.segments[:n-1]
		l.mu.Unlock()
	}
	return nil
}

// scanned is what the segments hold from the one on that the newest checkpoint
// ends in, up to the first batch that is not as it was written.
type scanned struct {
	entries []entry
	members []Members // Index counts entries from 1
	base    kafka.Offset
	atStart bool // no segment lies before it
	bad     *bad // nil: there is none; else seg.size of its segment is without it
}

// scan reads the segments from the last one on that begins at or below end.
func (l *Log) scan(end kafka.Offset) (scanned, error) {
	if len(l.segments) == 0 {
		return scanned{base: end, atStart: true}, nil
	}
	if first := l.segments[0].base; first > end {
		return scanned{}, fmt.Errorf("the log starts at offset %d, and no checkpoint reaches it: %w", first, errNoCheckpoint)
	}
	from := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].base > end }) - 1
	s := scanned{base: l.segments[from].base, atStart: from == 0}
	for i := from; i < len(l.segments) && s.bad == nil; i++ {
		if err := l.scanSegment(&s, i); err != nil {
			return s, err
		}
	}
	l.judgeLastEpoch(&s)
	return s, nil
}

// end is the offset behind what was read.
func (s *scanned) end() kafka.Offset {
	if n := len(s.entries); n > 0 {
		return s.entries[n-1].end()
	}
	return s.base
}

// errNoCheckpoint is the error of a log that starts above offset 0 without a
// checkpoint that reaches its start (R11).
var errNoCheckpoint = errors.New("metadata before the start of the log is missing")

// scanSegment adds the batches of one segment to s.
func (l *Log) scanSegment(s *scanned, number int) error {
	seg, next := l.segments[number], s.end()
	if seg.base != next {
		before := l.segments[number-1]
		s.bad = &bad{seg: number - 1, pos: before.size, size: before.size, err: &CorruptError{
			File: l.path(seg.name), Reason: fmt.Sprintf("starts at offset %d, but the segment before ends at %d", seg.base, next)}}
		return nil
	}
	if seg.file == nil {
		f, err := l.fs.Open(l.path(seg.name), vfs.ReadWrite, 0)
		if err != nil {
			return err
		}
		seg.file = f
	}
	r := reader{f: seg.file, name: l.path(seg.name), size: seg.size, batchBytesMax: l.o.BatchBytesMax}
	for {
		pos := r.pos
		b, h, err := r.next()
		if err == nil && b == nil {
			break
		}
		if n := len(s.entries); err == nil && (h.BaseOffset != next || n > 0 && h.LeaderEpoch < s.entries[n-1].epoch || h.LeaderEpoch < 0) {
			if h.LeaderEpoch >= 0 && h.BaseOffset == next && (n == 1 || h.LeaderEpoch >= s.entries[n-2].epoch) {
				l.dropLast(s, fmt.Sprintf("a batch of epoch %d, and epoch %d behind it", s.entries[n-1].epoch, h.LeaderEpoch))
				return nil
			}
			r.pos = pos
			err = r.corrupt(fmt.Sprintf("a batch of offset %d and epoch %d where offset %d is due", h.BaseOffset, h.LeaderEpoch, next))
		}
		if isCorrupt(err) {
			s.bad = &bad{err: err, seg: number, pos: pos, size: seg.size}
			seg.size = pos
			return nil
		}
		if err != nil {
			return err
		}
		var before Members
		if n := len(s.members); n > 0 {
			before = s.members[n-1]
		}
		m, ok, err := membersOf(b, &h, uint64(len(s.entries)+1), before)
		if err != nil {
			return fmt.Errorf("%s at byte %d: %w", l.path(seg.name), pos, err)
		}
		if ok {
			s.members = append(s.members, m)
		}
		e := entry{base: next, pos: pos, seg: seg, size: int32(len(b)), count: h.LastOffsetDelta + 1, epoch: h.LeaderEpoch}
		s.entries = append(s.entries, e)
		next = e.end()
	}
	if number == len(l.segments)-1 {
		// What a process wrote before it was killed may not be durable yet.
		return seg.file.SyncData()
	}
	return nil
}

// judgeLastEpoch looks at the last batch: no CRC covers its epoch, and no batch
// behind it bears it out.
func (l *Log) judgeLastEpoch(s *scanned) {
	n := len(s.entries)
	if n == 0 || s.bad != nil || !l.quorum.HasCommit {
		return
	}
	switch e := s.entries[n-1]; {
	case l.synced.end == e.end() && l.synced.epoch != e.epoch:
		l.dropLast(s, fmt.Sprintf("a batch of epoch %d, but %d was written, %s says", e.epoch, l.synced.epoch, syncedName))
	case l.synced.end < e.end() && l.quorum.Epoch > 0 && l.quorum.Epoch < e.epoch:
		l.dropLast(s, fmt.Sprintf("a batch of epoch %d, but %s knows none beyond %d", e.epoch, quorumStateName, l.quorum.Epoch))
	}
}

// dropLast ends s in front of the last batch that was read, which is bad after
// all.
func (l *Log) dropLast(s *scanned, reason string) {
	n := len(s.entries) - 1
	e := s.entries[n]
	s.entries = s.entries[:n]
	if m := len(s.members); m > 0 && s.members[m-1].Index > uint64(n) {
		s.members = s.members[:m-1]
	}
	s.bad = &bad{seg: slices.Index(l.segments, e.seg), pos: e.pos, size: e.seg.size, err: &CorruptError{
		File: l.path(e.seg.name), Pos: e.pos, Reason: reason}}
	e.seg.size = e.pos
}
