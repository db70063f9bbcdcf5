// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/bits"
	"slices"
	"strings"
	"syscall"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
)

// sectorBytes is what a disk writes whole or not at all.
const sectorBytes = 512

// What is cut off the log is kept beside it, under names with these endings.
const (
	tornSuffix    = ".torn"    // the end of a segment, named by the offset where it was cut
	damagedSuffix = ".damaged" // likewise, or a whole segment
	tornMax       = 10         // newest torn ends that are kept
)

// DamagedError refuses a log that has lost what was durable. Nothing was
// changed.
type DamagedError struct {
	Cause error        // what is wrong, and where
	From  kafka.Offset // metadata from here on cannot be read
	Proof string       // why it is no append that a crash has cut short
	// Others: other voters have the log, too. One that gives up what it has
	// acknowledged to them may let all of them lose it.
	Others bool
}

func (e *DamagedError) Error() string {
	way := "put the files back from a copy"
	switch {
	case e.Others:
		way += ", or let this voter join the others anew with an empty directory"
	case e.From > 0:
		way += fmt.Sprintf(", or give up all metadata from offset %d on by a start with gregor.metadata.cut.offset=%d", e.From, e.From)
	}
	return fmt.Sprintf("%v. It is no append that a crash has cut short: %s. Nothing was changed: %s", e.Cause, e.Proof, way)
}

func (e *DamagedError) Unwrap() error { return e.Cause }

// bad is where a scan had to end.
type bad struct {
	err  error
	seg  int   // in Log.segments
	pos  int64 // in its file
	size int64 // of its file
}

// proofOfMore tells why the log must reach beyond the offset and the index where
// it ends; empty if nothing says so.
func (l *Log) proofOfMore(end kafka.Offset, index uint64) string {
	switch {
	case l.synced.end > end:
		return fmt.Sprintf("it was durable up to offset %d, %s says", l.synced.end, syncedName)
	case l.quorum.HasCommit && l.quorum.Installing == "" && l.quorum.Commit > index:
		return fmt.Sprintf("batch %d is committed, %s says, and the log ends with %d", l.quorum.Commit, quorumStateName, index)
	}
	return ""
}

// settleTail judges how the log ends. What can be an append that was torn is cut
// off: nobody was told of it. What cannot be is refused, unless whoever runs the
// node gives it up.
func (l *Log) settleTail(s scanned) error {
	end := l.End()
	proof := l.proofOfMore(end, l.LastIndex())
	if s.bad == nil && proof == "" {
		return nil
	}
	if s.bad == nil {
		s.bad = l.missing()
	}
	if proof == "" && s.bad.seg < len(l.segments)-1 {
		proof = "a segment follows, and begins only behind what is durable"
	}
	if proof == "" {
		torn, err := l.mayBeTorn(s.bad, end)
		if err != nil {
			return err
		}
		if !torn {
			proof = "no part of it is missing"
		}
	}
	if proof == "" {
		l.o.Logger.Warn("torn tail of the metadata log is cut off", "end_offset", int64(end), "dropped_bytes", s.bad.size-s.bad.pos, "reason", s.bad.err)
		return l.cutTail(s.bad, tornSuffix)
	}
	if l.o.CutOffset != end || end == 0 {
		return &DamagedError{Cause: s.bad.err, From: end, Proof: proof, Others: len(l.lastMembers().Voters) > 1}
	}
	l.o.Logger.Error("metadata is given up", "from_offset", int64(end), "reason", s.bad.err, "proof", proof)
	return l.giveUp(s.bad)
}

// missing is the end of a log that should be longer.
func (l *Log) missing() *bad {
	n := len(l.segments)
	if n == 0 {
		return &bad{err: &CorruptError{File: l.dir, Reason: "there is no log"}, seg: -1}
	}
	seg := l.segments[n-1]
	return &bad{err: &CorruptError{File: l.path(seg.name), Pos: seg.size, Reason: "the log ends here"}, seg: n - 1, pos: seg.size, size: seg.size}
}

// giveUp cuts off what was durable. Whatever says that there was more has to go
// first, so that a start that is cut short here is followed by one that can end.
func (l *Log) giveUp(b *bad) error {
	end, epoch := l.tail()
	if err := l.forgetMore(end, epoch, l.LastIndex()); err != nil {
		return err
	}
	if err := l.setAside(b.seg + 1); err != nil {
		return err
	}
	if b.seg < 0 {
		return nil
	}
	return l.cutTail(b, damagedSuffix)
}

// forgetMore makes what proofOfMore goes by end where the log does.
func (l *Log) forgetMore(end kafka.Offset, epoch kafka.LeaderEpoch, index uint64) error {
	if err := l.lowerSynced(end, epoch); err != nil {
		return err
	}
	q, _ := l.Quorum()
	if q.Commit <= index {
		return nil
	}
	q.Commit = index
	return l.SaveQuorum(q)
}

// setAside keeps the files of the segments from one on under names that no start
// reads; the last goes first, so that what stays has no hole.
func (l *Log) setAside(from int) error {
	for n := len(l.segments); n > from; n = len(l.segments) {
		seg := l.segments[n-1]
		name, err := l.freeName(seg.name + damagedSuffix)
		if err == nil {
			err = l.fs.Rename(l.path(seg.name), l.path(name))
		}
		if err == nil {
			err = l.syncDir()
		}
		if err == nil {
			err = l.release(seg)
		}
		if err != nil {
			return fmt.Errorf("set %s aside: %w", seg.name, err)
		}
		l.segments = l.segments[:n-1]
	}
	return nil
}

// freeName is name, with a number if there is such a file.
func (l *Log) freeName(name string) (string, error) {
	for n := 1; ; n++ {
		try := name
		if n > 1 {
			try = fmt.Sprintf("%s.%d", name, n)
		}
		if _, err := l.fs.Stat(l.path(try)); errors.Is(err, fs.ErrNotExist) {
			return try, nil
		} else if err != nil {
			return "", err
		}
	}
}

// cutTail cuts bytes off the end of the last segment that are no batches, and
// keeps a copy of them beside the log.
func (l *Log) cutTail(b *bad, suffix string) error {
	seg := l.segments[b.seg]
	if b.size > b.pos {
		name, err := l.freeName(fmt.Sprintf("%020d%s", int64(l.End()), suffix))
		if err == nil {
			err = l.copyOut(seg, b.pos, b.size, name)
		}
		if isFull(err) && suffix == tornSuffix {
			l.o.Logger.Warn("no room to keep the torn tail of the metadata log", "err", err)
			if err = l.fs.Remove(l.path(name)); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		if err == nil {
			err = l.pruneTorn()
		}
		if err != nil {
			return fmt.Errorf("keep the end of %s: %w", seg.name, err)
		}
	}
	if err := l.forgetEpochs(); err != nil {
		return err
	}
	l.untidy = true
	return l.tidy()
}

// pruneTorn removes the oldest torn ends beyond tornMax.
func (l *Log) pruneTorn() error {
	infos, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return err
	}
	infos = slices.DeleteFunc(infos, func(i vfs.FileInfo) bool { return i.IsDir() || !strings.Contains(i.Name, tornSuffix) })
	slices.SortStableFunc(infos, func(a, b vfs.FileInfo) int { return cmp.Compare(a.ModTimeNano, b.ModTimeNano) })
	for len(infos) > tornMax {
		if err := l.fs.Remove(l.path(infos[0].Name)); err != nil {
			return err
		}
		infos = infos[1:]
	}
	return nil
}

// copyOut copies bytes of a segment to another file, durably.
func (l *Log) copyOut(seg *segment, from, to int64, name string) error {
	f, err := l.fs.Open(l.path(name), vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		return err
	}
	buf := make([]byte, min(to-from, scanBytes))
	for at := from; err == nil && at < to; at += int64(len(buf)) {
		buf = buf[:min(to-at, scanBytes)]
		if err = readFull(seg.file, buf, at); err == nil {
			_, err = f.WriteAt(buf, at-from)
		}
	}
	if err == nil {
		err = f.SyncData()
	}
	return errors.Join(err, f.Close(), l.syncDir())
}

// mayBeTorn reports whether an append that a crash has cut short can have left
// what lies from b on. One write at a time is not yet durable, and its place in
// the file was empty: so each of its sectors is there or reads as zeros, or the
// file ends before it. A bad batch that has all its sectors is something else.
func (l *Log) mayBeTorn(b *bad, next kafka.Offset) (bool, error) {
	seg := l.segments[b.seg]
	tail := make([]byte, min(b.size-b.pos, int64(l.o.BatchBytesMax)))
	if err := readFull(seg.file, tail, b.pos); err != nil {
		return false, fmt.Errorf("read %s at byte %d: %w", seg.name, b.pos, err)
	}
	if len(tail) < batch.HeaderSize {
		return true, nil
	}
	end, found, err := l.findBatch(seg, b.pos+1, b.size, func(base kafka.Offset) bool { return base > next && base-next <= checkpointBatchRecords })
	if err != nil {
		return false, err
	}
	switch {
	case found: // it ends where the next one begins
		tail = tail[:min(end-b.pos, int64(len(tail)))]
	case batch.LogOverhead+int64(int32(binary.BigEndian.Uint32(tail[8:]))) > int64(len(tail)):
		// The file ends too early, unless it is the length that is wrong.
		return crc32.Checksum(tail[21:], castagnoli) != binary.BigEndian.Uint32(tail[17:]), nil
	}
	at := b.pos
	if len(tail) > batch.HeaderSize {
		// The first bytes of its offset are zeros in any case, and so is its last
		// byte, for its last record has no headers: a sector of no more tells nothing.
		zeros := bits.LeadingZeros64(uint64(next)) / 8
		at, tail = at+int64(zeros), tail[zeros:len(tail)-1]
	}
	for len(tail) > 0 {
		sector := tail[:min(sectorBytes-at%sectorBytes, int64(len(tail)))]
		if isZero(sector) {
			return true, nil
		}
		at, tail = at+int64(len(sector)), tail[len(sector):]
	}
	return false, nil
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// findBatch looks for the first whole batch with a base offset that is wanted,
// byte by byte: the length of a bad one tells nothing.
func (l *Log) findBatch(seg *segment, from, to int64, wanted func(kafka.Offset) bool) (pos int64, found bool, err error) {
	buf := make([]byte, min(to-from, scanBytes))
	for from+batch.HeaderSize <= to {
		window := buf[:min(to-from, int64(len(buf)))]
		if err := readFull(seg.file, window, from); err != nil {
			return 0, false, fmt.Errorf("read %s at byte %d: %w", seg.name, from, err)
		}
		for i := 0; i+batch.HeaderSize <= len(window); i++ {
			if !wanted(kafka.Offset(binary.BigEndian.Uint64(window[i:]))) {
				continue
			}
			ok, err := l.wholeAt(seg, window[i:], from+int64(i), to)
			if err != nil || ok {
				return from + int64(i), ok, err
			}
		}
		from += int64(len(window) - batch.HeaderSize + 1)
	}
	return 0, false, nil
}

// wholeAt reports whether the header of a batch is the beginning of a whole one.
func (l *Log) wholeAt(seg *segment, header []byte, pos, to int64) (bool, error) {
	h, err := batch.Parse(header)
	if err != nil || h.SizeBytes() > l.o.BatchBytesMax || int64(h.SizeBytes()) > to-pos {
		return false, nil
	}
	b := make([]byte, h.SizeBytes())
	if err := readFull(seg.file, b, pos); err != nil {
		return false, fmt.Errorf("read %s at byte %d: %w", seg.name, pos, err)
	}
	return batch.VerifyCRC(b) == nil, nil
}
