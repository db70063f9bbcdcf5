// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"math"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// stepOver lets a scan of headers, which looks for what a log can still tell, go
// on behind damage, which whoever reads the records will judge. A batch that is
// whole shows that it was the one before it whose offsets are wrong.
func stepOver(scan *segment.Scan, file *segment.File, sizeBytes int64) {
	scan.Over(func(bad *CorruptError, _ kafka.Offset) (int64, kafka.Offset, bool) {
		d := segment.Damage{FromBytes: bad.PosBytes, To: math.MaxInt64}
		whole, err := d.IsNone(file, sizeBytes)
		if !whole && err == nil {
			if found, _ := d.FindDamageEnd(file, sizeBytes); !found {
				d.To = 0
			}
		}
		return d.ToBytes, d.To, err == nil
	})
}

func badRange(s *logSegment, bad *CorruptError, d segment.Damage) BadRange {
	return BadRange{File: bad.File, Base: s.base, From: d.From, Next: d.To, PosBytes: d.FromBytes, EndBytes: d.ToBytes, Reason: bad.Reason}
}

// over judges a bad batch that a recovery meets at the log end found so far.
//
// What lies below the recovery point was on the disk, so no crash did this:
// the damage is quarantined, nothing behind it is dropped, and no other record
// ever takes the offsets that are lost. So it is, too, behind a clean stop, and
// where the recovery point is not known any more, as far as good batches
// follow. Above it the bad batch is not over: there the log ends, as in Apache
// Kafka, even if good batches follow, which nobody has made durable.
func (r *recovery) over(s *logSegment, bad *CorruptError) (d segment.Damage, ok bool, err error) {
	i := slices.Index(r.segments, s)
	last := i == len(r.segments)-1
	if r.end >= r.promised && r.end >= r.durable {
		return d, false, nil
	}
	d = segment.Damage{FromBytes: bad.PosBytes, From: r.end, To: math.MaxInt64}
	if !last {
		if d.To = r.segments[i+1].base; d.To == r.end {
			return d, false, nil // nothing is missing
		}
	}
	found, err := d.FindDamageEnd(s.log, s.sizeBytes)
	switch {
	case err != nil:
		return d, false, fmt.Errorf("look for the end of the damage: %w", err)
	case found || !last:
	case r.promised <= r.end:
		return d, false, nil
	default:
		d.To = r.promised
		next := r.l.newSegment(r.promised, r.nowMs)
		if err := r.l.createLogFile(next); err != nil { // an end of the log that a restart finds
			return d, false, err
		}
		r.segments = append(r.segments, next)
	}
	r.l.quarantine(s, badRange(s, bad, d))
	return d, true, nil
}

// misplaced says what is wrong with the offsets and the epoch of a batch, which
// its CRC does not cover: both never go back. Where it contradicts the batch
// behind it, that one has to fit to what came before. The last batch of a segment
// has none behind it, see tooFar.
func (r *recovery) misplaced(s *logSegment, h, behind batch.Header, followed bool) string {
	if wrong := r.beyondStop(&h); wrong != "" {
		return wrong
	}
	switch {
	case !index.Relative(s.base, h.LastOffset()):
		return fmt.Sprintf("offsets %d to %d, in a segment that begins at %d", h.BaseOffset, h.LastOffset(), s.base)
	case h.LeaderEpoch != kafka.NoLeaderEpoch && h.LeaderEpoch < max(r.lastEpoch, 0):
		return fmt.Sprintf("leader epoch %d, behind a batch of epoch %d", h.LeaderEpoch, r.lastEpoch)
	case !followed && h.BaseOffset > r.end && r.tooFar(s, &h):
		return fmt.Sprintf("offsets %d to %d, behind a log end of %d", h.BaseOffset, h.LastOffset(), r.end)
	case !followed:
	case behind.BaseOffset < h.NextOffset() && behind.BaseOffset >= r.end+h.NextOffset()-h.BaseOffset:
		return fmt.Sprintf("offsets %d to %d, in front of a batch that begins at %d", h.BaseOffset, h.LastOffset(), behind.BaseOffset)
	case behind.LeaderEpoch >= 0 && behind.LeaderEpoch < h.LeaderEpoch && behind.LeaderEpoch >= r.lastEpoch:
		return fmt.Sprintf("leader epoch %d in front of a batch of epoch %d", h.LeaderEpoch, behind.LeaderEpoch)
	default:
		r.lastEpoch = max(r.lastEpoch, min(h.LeaderEpoch, behind.LeaderEpoch)) // what two batches say
	}
	return ""
}

// tooFar judges a gap in front of the last batch of a segment. It may not reach into
// the next segment; where there is none, in a log that is not compacted, not beyond
// the recovery point.
func (r *recovery) tooFar(s *logSegment, h *batch.Header) bool {
	if i := slices.Index(r.segments, s) + 1; i < len(r.segments) {
		return h.LastOffset() >= r.segments[i].base
	}
	return h.BaseOffset > r.durable && !r.l.config().Compacted
}

// beyondStop says what of a batch cannot be since a clean stop told where the
// log ends, and at which epoch. Nothing else bears out the last batch's base
// offset, and the end of the log follows from it.
func (r *recovery) beyondStop(h *batch.Header) string {
	switch {
	case r.stopped == nil:
	case h.LastOffset() >= r.stopped.LogEnd:
		return fmt.Sprintf("offsets %d to %d, in a log that was stopped at %d", h.BaseOffset, h.LastOffset(), r.stopped.LogEnd)
	case h.LeaderEpoch > r.stopped.Epoch && h.LastOffset() >= r.logStart:
		return fmt.Sprintf("leader epoch %d, in a log that was stopped at %d", h.LeaderEpoch, r.stopped.Epoch)
	}
	return ""
}
