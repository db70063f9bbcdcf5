// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"fmt"

	"gregor/base/kafka"
)

// skipDamage lets the log begin behind what is bad where the newest checkpoint
// holds all of it: with a segment that begins at the checkpoint's end. The
// damaged one is set aside. Where that cannot be done, s comes back as it is.
func (l *Log) skipDamage(b basis, s scanned) (scanned, error) {
	seg := l.segments[s.bad.seg]
	if !b.exists || seg.base >= b.c.End {
		return s, nil
	}
	from, found, err := l.findNext(s.bad, b.c.End)
	if err != nil {
		return s, err
	}
	if !found {
		if l.synced.end != b.c.End || s.bad.seg < len(l.segments)-1 {
			return s, nil // there was more, or may have been
		}
		from = s.bad.size
	}
	name := segmentName(b.c.End)
	if err := l.copyOut(seg, from, s.bad.size, name+partSuffix); err != nil {
		return s, fmt.Errorf("begin the log anew at offset %d: %w", b.c.End, err)
	}
	if err := l.fs.Rename(l.path(name+partSuffix), l.path(name)); err != nil {
		return s, fmt.Errorf("begin the log anew at offset %d: %w", b.c.End, err)
	}
	if err := l.syncDir(); err != nil {
		return s, fmt.Errorf("begin the log anew at offset %d: %w", b.c.End, err)
	}
	kept, err := l.freeName(seg.name + damagedSuffix)
	if err != nil {
		return s, err
	}
	if err := l.fs.Rename(l.path(seg.name), l.path(kept)); err != nil {
		return s, fmt.Errorf("set %s aside: %w", seg.name, err)
	}
	if err := l.syncDir(); err != nil {
		return s, fmt.Errorf("set %s aside: %w", seg.name, err)
	}
	l.o.Logger.Error("damaged metadata that a checkpoint holds too is set aside", "reason", s.bad.err, "checkpoint", b.c.Name(), "kept_as", l.path(kept))
	for _, other := range l.segments[s.bad.seg:] {
		if other.file != nil {
			if err := other.file.Close(); err != nil {
				return s, err
			}
			other.file = nil
		}
	}
	l.segments[s.bad.seg] = &segment{base: b.c.End, name: name, size: s.bad.size - from, refs: 1}
	return l.scan(b.c.End)
}

// findNext looks behind what is bad for the batch of an offset. The base offset of
// another batch may be what is wrong: what follows the right one bears it out.
func (l *Log) findNext(b *bad, due kafka.Offset) (pos int64, found bool, err error) {
	seg, limit := l.segments[b.seg], kafka.NoOffset
	if b.seg+1 < len(l.segments) {
		limit = l.segments[b.seg+1].base
	}
	for pos = b.pos + 1; ; pos++ {
		pos, found, err = l.findBatch(seg, pos, b.size, func(base kafka.Offset) bool { return base == due })
		if err != nil || !found {
			return 0, false, err
		}
		r := reader{f: seg.file, name: seg.name, size: b.size, batchBytesMax: l.o.BatchBytesMax, pos: pos}
		_, h, err := r.next()
		if err != nil {
			return 0, false, err
		}
		next := h.NextOffset()
		following, h, err := r.next()
		switch {
		case err != nil && !isCorrupt(err):
			return 0, false, err
		case err == nil && following == nil && (limit == kafka.NoOffset || limit == next):
			return pos, true, nil
		case err == nil && following != nil && h.BaseOffset == next:
			return pos, true, nil
		}
	}
}
