// SPDX-License-Identifier: Apache-2.0

// Package retention decides which segments of a log go: those below the log
// start, those over retention.bytes and those older than retention.ms, in this
// order and from the oldest on, as Apache Kafka does.
//
// Everything is pure: what the log holds, the rules and the time go in, a Plan
// comes out. Package commitlog carries it out.
package retention

import (
	"math"

	"gregor/base/kafka"
)

// Rules are what a topic's configuration says of deletion. The zero value
// deletes only what lies below the log start, which no configuration prevents.
type Rules struct {
	// Delete: cleanup.policy holds delete. Without it neither time nor size
	// counts, whether the policy is compact or nothing at all.
	Delete bool
	Ms     int64 // retention.ms; below 0: for ever
	Bytes  int64 // retention.bytes; below 0: as many as come
}

// Unread is the NewestMs of a segment whose newest timestamp nobody has read
// yet.
const Unread int64 = math.MinInt64

// Segment is a segment of a log.
type Segment struct {
	Base      kafka.Offset
	SizeBytes int64 // of its log file
	// NewestMs is the greatest timestamp of its records, or where there is none
	// the time when its file was last written, or Unread.
	NewestMs int64
}

// Log is a log as it is now.
type Log struct {
	Segments      []Segment // oldest first; the last one is appended to
	Start         kafka.Offset
	HighWatermark kafka.Offset
	End           kafka.Offset
}

// Reason says why a segment goes.
type Reason int8

// The reasons, in the order in which they are looked at.
const (
	LogStart Reason = iota // it lies below the log start
	Size
	Time
	Reasons // how many there are
)

func (r Reason) String() string {
	return [...]string{"log start", "size", "time"}[r]
}

// Plan is what goes: segments from the oldest on, first for one reason, then
// for the next.
type Plan struct {
	Segments [Reasons]int
	Bytes    [Reasons]int64
	// Roll: every segment goes, so a new one must begin at the log end first.
	Roll bool
	// Start is where the first segment that stays begins.
	Start kafka.Offset
	// Read, if not below 0, is a segment whose timestamp must be read before it
	// can be said whether more goes.
	Read int
}

// Count is the number of segments that go.
func (p *Plan) Count() int {
	n := 0
	for _, of := range p.Segments {
		n += of
	}
	return n
}

// Decide makes the plan.
//
// A segment goes only when all of it lies below the high watermark, and only
// after those in front of it. The last one goes too, unless it is empty. Size
// is judged by what would be left: a log is never cut below retention.bytes.
// Time is judged by the newest record of a segment alone: a segment with a
// record of the future holds up those behind it.
func Decide(l *Log, r Rules, nowMs int64) Plan {
	d := decision{log: l, plan: Plan{Read: -1}}
	d.take(LogStart, func(i int) bool { return i+1 < len(l.Segments) && l.Segments[i+1].Base <= l.Start })
	if r.Delete && r.Bytes >= 0 {
		over := d.sizeBytes() - r.Bytes
		d.take(Size, func(i int) bool {
			if over < 0 || over < l.Segments[i].SizeBytes {
				return false
			}
			over -= l.Segments[i].SizeBytes
			return true
		})
	}
	if r.Delete && r.Ms >= 0 {
		d.take(Time, func(i int) bool {
			if l.Segments[i].NewestMs == Unread {
				d.plan.Read = i
				return false
			}
			return nowMs-l.Segments[i].NewestMs > r.Ms
		})
	}
	p := &d.plan
	p.Start = l.End
	if d.next < len(l.Segments) {
		p.Start = l.Segments[d.next].Base
	}
	p.Roll = d.next == len(l.Segments)
	return *p
}

type decision struct {
	log  *Log
	next int // the first segment that still stays
	plan Plan
}

// take lets the segments go for which breached is true, up to the first for
// which it is not. It asks for none twice.
func (d *decision) take(reason Reason, breached func(i int) bool) {
	segments := d.log.Segments
	for ; d.next < len(segments); d.next++ {
		s, end := &segments[d.next], d.log.End
		last := d.next == len(segments)-1
		if !last {
			end = segments[d.next+1].Base
		}
		if d.log.HighWatermark < end || last && s.SizeBytes == 0 || !breached(d.next) {
			return
		}
		d.plan.Segments[reason]++
		d.plan.Bytes[reason] += s.SizeBytes
	}
}

// sizeBytes is how large the log is without what goes already.
func (d *decision) sizeBytes() int64 {
	var sum int64
	for _, s := range d.log.Segments[d.next:] {
		sum += s.SizeBytes
	}
	return sum
}

// Oldest is what can be known of a log without looking at its files: how large
// it is, and its oldest segment.
type Oldest struct {
	// End is where the segment ends; kafka.NoOffset: it is empty and the only
	// one, and never goes.
	End       kafka.Offset
	Last      bool // it is the one that is appended to
	SizeBytes int64
	NewestMs  int64 // or Unread
	LogBytes  int64 // of all segments
}

// Due reports whether Decide may find something: it does when the oldest
// segment goes, or may go once its timestamp was read. It costs nothing, so
// that a pass over very many logs may ask it of each.
func Due(o *Oldest, start, highWatermark kafka.Offset, r Rules, nowMs int64) bool {
	switch {
	case o.End == kafka.NoOffset || highWatermark < o.End:
		return false
	case !o.Last && o.End <= start:
		return true
	case !r.Delete:
		return false
	case r.Bytes >= 0 && o.LogBytes-r.Bytes >= o.SizeBytes:
		return true
	}
	return r.Ms >= 0 && (o.NewestMs == Unread || nowMs-o.NewestMs > r.Ms)
}
