// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"math"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/segment"
)

// passOver lets a scan of a load, which looks for what a log can still tell, go
// on behind damage. The damage itself is quarantined.
func (l *Log) passOver(scan *segment.Scan, s *logSegment, sizeBytes int64, next kafka.Offset) {
	scan.Over(func(bad *CorruptError, floor kafka.Offset) (int64, kafka.Offset, bool) {
		d := segment.Damage{FromBytes: bad.PosBytes, From: max(floor, s.base), To: next}
		if _, err := d.FindDamageEnd(s.log, sizeBytes); err != nil {
			return 0, 0, false
		}
		l.quarantine(s, badRange(s, bad, d))
		return d.ToBytes, d.To, true
	})
}

// stepOver lets a scan that builds or reads an index go on behind damage, which
// whoever reads the records will tell.
func stepOver(scan *segment.Scan, file *segment.File, sizeBytes int64) {
	scan.Over(func(bad *CorruptError, floor kafka.Offset) (int64, kafka.Offset, bool) {
		d := segment.Damage{FromBytes: bad.PosBytes, From: floor, To: math.MaxInt64}
		found, err := d.FindDamageEnd(file, sizeBytes)
		if !found {
			d.To = floor
		}
		return d.ToBytes, d.To, err == nil
	})
}

func badRange(s *logSegment, bad *CorruptError, d segment.Damage) BadRange {
	return BadRange{File: bad.File, Base: s.base, From: d.From, Next: d.To, PosBytes: d.FromBytes, EndBytes: d.ToBytes, Reason: bad.Reason}
}

// passOver is Log.passOver for a segment that is being loaded.
func (r *recovery) passOver(scan *segment.Scan, s *logSegment) {
	r.l.passOver(scan, s, s.sizeBytes, r.nextBase(s))
}

// nextBase is the offset that no batch of a segment reaches.
func (r *recovery) nextBase(s *logSegment) kafka.Offset {
	i := slices.Index(r.segments, s)
	switch {
	case i+1 < len(r.segments):
		return r.segments[i+1].base
	case r.end > s.base:
		return r.end
	}
	return math.MaxInt64
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
