// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/binary"
	"fmt"
	"math"

	"gregor/base/kafka"
	"gregor/storage/segment"
)

const (
	// OffsetEntryBytes is the size of an entry of .index.
	OffsetEntryBytes = 8
	// TimeEntryBytes is the size of an entry of .timeindex.
	TimeEntryBytes = 12
)

// Relative reports whether off can be written relative to base.
func Relative(base, off kafka.Offset) bool {
	return off >= base && off-base <= math.MaxInt32
}

// Position is where a batch begins, and the batch's last offset.
type Position struct {
	Offset   kafka.Offset
	PosBytes int64
}

// Offsets is a segment's .index.
type Offsets struct {
	table
	base kafka.Offset
}

// NewOffsets is an index over a file that has fileBytes. The error is
// ErrCorrupt where the size is impossible.
func NewOffsets(file *segment.File, base kafka.Offset, fileBytes int64) (*Offsets, error) {
	x := &Offsets{base: base}
	return x, x.init(file, OffsetEntryBytes, fileBytes)
}

func relativeOffset(e []byte) int64   { return int64(int32(binary.BigEndian.Uint32(e))) }
func relativePosition(e []byte) int64 { return int64(int32(binary.BigEndian.Uint32(e[4:]))) }

func (x *Offsets) decode(e []byte) Position {
	return Position{Offset: x.base + kafka.Offset(relativeOffset(e)), PosBytes: relativePosition(e)}
}

// Add appends an entry. off must be Relative to the base and above the last
// one.
func (x *Offsets) Add(off kafka.Offset, posBytes int64) {
	var e [OffsetEntryBytes]byte
	binary.BigEndian.PutUint32(e[:], uint32(off-x.base))
	binary.BigEndian.PutUint32(e[4:], uint32(posBytes))
	x.add(e[:])
}

// Floor is the last entry at or below off; the segment's start where there is
// none.
func (x *Offsets) Floor(off kafka.Offset) (Position, error) {
	return x.search(int64(off-x.base), relativeOffset)
}

// FloorPosition is the last entry whose batch begins at or before posBytes.
func (x *Offsets) FloorPosition(posBytes int64) (Position, error) {
	return x.search(posBytes, relativePosition)
}

// search gives an entry that is ErrCorrupt, too: one in front of it may do.
func (x *Offsets) search(key int64, at field) (Position, error) {
	var e [OffsetEntryBytes]byte
	slot, err := x.floor(e[:], key, at)
	if err != nil || slot < 0 {
		return Position{Offset: x.base}, err
	}
	p := x.decode(e[:])
	if p.PosBytes < 0 {
		err = fmt.Errorf("entry %d of %s is offset %d at byte %d: %w", slot, x.file.Path(), p.Offset, p.PosBytes, ErrCorrupt)
	}
	return p, err
}

// Last is the last entry, unless it is ErrCorrupt; ok is false where there is none.
func (x *Offsets) Last() (p Position, ok bool, err error) {
	var e [OffsetEntryBytes]byte
	ok, err = x.last(e[:])
	if p = x.decode(e[:]); ok && err == nil && p.PosBytes < 0 {
		err = fmt.Errorf("last entry of %s is offset %d at byte %d: %w", x.file.Path(), p.Offset, p.PosBytes, ErrCorrupt)
	}
	return p, ok, err
}

// TruncateTo drops entries at or above off.
func (x *Offsets) TruncateTo(off kafka.Offset) error {
	var e [OffsetEntryBytes]byte
	slot, err := x.floor(e[:], int64(off-x.base)-1, relativeOffset)
	if err != nil {
		return err
	}
	return x.cut(slot + 1)
}

// Reset drops all entries.
func (x *Offsets) Reset() error { return x.reset() }

// Rebuild is Reset for entries that will mostly come again: see Settle.
func (x *Offsets) Rebuild() { x.rebuild(0) }

// RebuildBehind keeps the first n entries, and is Rebuild for the others.
func (x *Offsets) RebuildBehind(n int) { x.rebuild(n) }

// Rising counts the entries of the file below an offset that follow each other as
// entries do, in a log of logBytes.
func (x *Offsets) Rising(below kafka.Offset, logBytes int64) (int, error) {
	before := Position{Offset: x.base - 1, PosBytes: -1}
	return x.rising(func(e []byte) bool {
		p := x.decode(e)
		ok := p.Offset > before.Offset && p.PosBytes > before.PosBytes && p.Offset < below && p.PosBytes < logBytes
		before = p
		return ok
	})
}

// At is entry number n.
func (x *Offsets) At(n int) (Position, error) {
	var e [OffsetEntryBytes]byte
	err := x.entry(e[:], n)
	return x.decode(e[:]), err
}

// Check judges the last entry against the size of the log file, as far as
// that can be without reading the index: ErrCorrupt means rebuild.
func (x *Offsets) Check(logBytes int64) error {
	p, ok, err := x.Last()
	if err != nil || !ok {
		return err
	}
	if p.Offset < x.base || p.PosBytes < 0 || p.PosBytes >= logBytes || (x.Entries() > 1 && p.Offset == x.base) {
		return fmt.Errorf("last entry of %s is offset %d at byte %d of %d: %w", x.file.Path(), p.Offset, p.PosBytes, logBytes, ErrCorrupt)
	}
	return nil
}

// Time is the greatest timestamp up to an offset.
type Time struct {
	TimestampMs int64
	Offset      kafka.Offset
}

// Times is a segment's .timeindex.
type Times struct {
	table
	base kafka.Offset
	top  Time // last entry, so that Add need not read; lane
	any  bool
}

// NewTimes is an index over a file that has fileBytes. It reads the last
// entry. The error is ErrCorrupt where size or last entry are impossible.
func NewTimes(file *segment.File, base kafka.Offset, fileBytes int64) (*Times, error) {
	x := &Times{base: base, top: Time{TimestampMs: -1, Offset: base}}
	if err := x.init(file, TimeEntryBytes, fileBytes); err != nil {
		return x, err
	}
	return x, x.refresh()
}

func (x *Times) refresh() error {
	t, ok, err := x.Last()
	x.top, x.any = Time{TimestampMs: -1, Offset: x.base}, false
	if err != nil || !ok {
		return err
	}
	if t.Offset < x.base || t.TimestampMs < 0 || (t.TimestampMs == 0 && x.Entries() > 1) { // zeros: preallocated, never cut
		return fmt.Errorf("last entry of %s is time %d, offset %d: %w", x.file.Path(), t.TimestampMs, t.Offset, ErrCorrupt)
	}
	x.top, x.any = t, true
	return nil
}

func timestamp(e []byte) int64 { return int64(binary.BigEndian.Uint64(e)) }
func timeOffset(e []byte) int64 {
	return int64(int32(binary.BigEndian.Uint32(e[8:])))
}

func (x *Times) decode(e []byte) Time {
	return Time{TimestampMs: timestamp(e), Offset: x.base + kafka.Offset(timeOffset(e))}
}

// Add appends an entry if its timestamp is above the last one's.
func (x *Times) Add(t Time) {
	if t.TimestampMs <= x.top.TimestampMs || t.Offset < x.top.Offset {
		return
	}
	var e [TimeEntryBytes]byte
	binary.BigEndian.PutUint64(e[:], uint64(t.TimestampMs))
	binary.BigEndian.PutUint32(e[8:], uint32(t.Offset-x.base))
	x.add(e[:])
	x.top, x.any = t, true
}

// FloorTwo is the last entry whose timestamp is at or below timestampMs and the
// entry in front of it; the segment's start where there is none.
func (x *Times) FloorTwo(timestampMs int64) (before, at Time, err error) {
	var e [TimeEntryBytes]byte
	at = Time{TimestampMs: -1, Offset: x.base}
	before = at
	slot, err := x.floor(e[:], timestampMs, timestamp)
	if err != nil || slot < 0 {
		return before, at, err
	}
	at = x.decode(e[:])
	if slot > 0 {
		if err := x.entry(e[:], slot-1); err != nil {
			return before, at, err
		}
		before = x.decode(e[:])
	}
	return before, at, nil
}

// Last is the last entry; ok is false where there is none.
func (x *Times) Last() (t Time, ok bool, err error) {
	var e [TimeEntryBytes]byte
	ok, err = x.last(e[:])
	return x.decode(e[:]), ok, err
}

// TruncateTo drops entries whose offset is at or above off.
func (x *Times) TruncateTo(off kafka.Offset) error {
	var e [TimeEntryBytes]byte
	slot, err := x.floor(e[:], int64(off-x.base)-1, timeOffset)
	if err != nil {
		return err
	}
	if err := x.cut(slot + 1); err != nil {
		return err
	}
	return x.refresh()
}

// Reset drops all entries.
func (x *Times) Reset() error {
	if err := x.reset(); err != nil {
		return err
	}
	return x.refresh()
}

// Rebuild is Reset for entries that will mostly come again: see Settle.
func (x *Times) Rebuild() {
	x.rebuild(0)
	x.top, x.any = Time{TimestampMs: -1, Offset: x.base}, false
}

// RebuildBehind keeps the first n entries, and is Rebuild for the others.
func (x *Times) RebuildBehind(n int) error {
	x.rebuild(n)
	return x.refresh()
}

// Rising counts the entries of the file up to an offset that follow each other as
// entries do.
func (x *Times) Rising(upTo kafka.Offset) (int, error) {
	before := Time{TimestampMs: -1, Offset: x.base}
	return x.rising(func(e []byte) bool {
		t := x.decode(e)
		ok := t.TimestampMs > before.TimestampMs && t.Offset >= before.Offset && t.Offset <= upTo
		before = t
		return ok
	})
}
