// SPDX-License-Identifier: Apache-2.0

package scrub

import (
	"encoding/binary"
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/wire/batch"
)

// Judge compares the offset index and the time index of a segment with its
// batches, which it is shown in order. It keeps nothing of them.
//
// An offset entry names a byte where a batch begins, and an offset of it or, as
// Apache Kafka before 4.0 writes it, of a batch that follows. A time entry names
// the greatest timestamp so far and an offset in the batch that has it. Entries
// rise. The last time entry holds the greatest timestamp of a sealed segment.
type Judge struct {
	base           kafka.Offset
	offsets, times []byte // what is left of them
	lastOffset     kafka.Offset
	lastPosBytes   int64
	lastTime       index.Time
	top            int64
	bad            error
}

// NewJudge takes the content of both files.
func NewJudge(base kafka.Offset, offsets, times []byte) *Judge {
	j := &Judge{base: base, offsets: offsets, times: times, lastOffset: base - 1, lastPosBytes: -1,
		lastTime: index.Time{TimestampMs: batch.NoTimestamp, Offset: base}, top: batch.NoTimestamp}
	if len(offsets)%index.OffsetEntryBytes != 0 || len(times)%index.TimeEntryBytes != 0 {
		j.fail("%d and %d bytes, which are no whole entries", len(offsets), len(times))
	}
	return j
}

func (j *Judge) fail(format string, args ...any) {
	if j.bad == nil {
		j.bad = fmt.Errorf(format, args...)
	}
}

// Batch shows it the next batch.
func (j *Judge) Batch(h *batch.Header, posBytes int64) {
	if j.bad != nil {
		return
	}
	if len(j.offsets) > 0 {
		off := j.base + kafka.Offset(int32(binary.BigEndian.Uint32(j.offsets)))
		pos := int64(int32(binary.BigEndian.Uint32(j.offsets[4:])))
		switch {
		case pos > posBytes:
		case pos < posBytes || off <= j.lastOffset || off < h.BaseOffset || pos <= j.lastPosBytes:
			j.fail("offset index: offset %d at byte %d, where offsets %d to %d begin at byte %d", off, pos, h.BaseOffset, h.LastOffset(), posBytes)
		default:
			j.lastOffset, j.lastPosBytes, j.offsets = off, pos, j.offsets[index.OffsetEntryBytes:]
		}
	}
	j.top = max(j.top, h.MaxTimestampMs)
	for len(j.times) > 0 {
		t := index.Time{TimestampMs: int64(binary.BigEndian.Uint64(j.times)), Offset: j.base + kafka.Offset(int32(binary.BigEndian.Uint32(j.times[8:])))}
		if t.Offset > h.LastOffset() {
			break
		}
		if t.Offset < h.BaseOffset || t.TimestampMs != j.top || h.MaxTimestampMs != j.top || t.TimestampMs <= j.lastTime.TimestampMs || t.Offset < j.lastTime.Offset {
			j.fail("time index: timestamp %d at offset %d, where offsets %d to %d have %d", t.TimestampMs, t.Offset, h.BaseOffset, h.LastOffset(), h.MaxTimestampMs)
			return
		}
		j.lastTime, j.times = t, j.times[index.TimeEntryBytes:]
	}
}

// Done says what is wrong once all batches were shown.
func (j *Judge) Done() error {
	switch {
	case j.bad != nil:
		return j.bad
	case len(j.offsets) > 0:
		return fmt.Errorf("offset index: %d entries lie behind the last batch", len(j.offsets)/index.OffsetEntryBytes)
	case len(j.times) > 0:
		return fmt.Errorf("time index: %d entries lie behind the last batch", len(j.times)/index.TimeEntryBytes)
	case j.lastTime.TimestampMs != j.top:
		return fmt.Errorf("time index: the last entry has timestamp %d, the segment's greatest is %d", j.lastTime.TimestampMs, j.top)
	}
	return nil
}
