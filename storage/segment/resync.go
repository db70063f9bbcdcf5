// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// Damage is a range of a log file in which no batch can be read.
type Damage struct {
	FromBytes, ToBytes int64 // ToBytes is where the next good batch begins, or the end of the file's part of the log
	From, To           kafka.Offset
}

// FindDamageEnd fills in how far the damage goes that a scan met at
// d.FromBytes, behind offset d.From. No batch behind it may reach beyond
// d.To. Found is whether there is a good batch behind it; otherwise all up to
// endBytes and d.To is damaged.
//
// Where the header of the bad batch still says how long it is, the next batch
// lies there. Else every byte may be the first of the next one. A batch that
// lies inside a record, as bytes that somebody produced, is kept out by what
// has to follow it: another header, or the end.
func (d *Damage) FindDamageEnd(f *File, endBytes int64) (found bool, err error) {
	ceiling := d.To
	d.ToBytes = endBytes
	buf := f.files.Scratch()
	defer f.files.Unscratch(buf)
	n, err := f.ReadAt(buf[:min(endBytes-d.FromBytes, batch.HeaderSize)], d.FromBytes)
	if n == batch.HeaderSize {
		if h, bad := batch.Parse(buf[:n]); bad == nil {
			next := d.FromBytes + int64(h.SizeBytes())
			if next == endBytes {
				return false, nil
			}
			if found, err := d.tryEnd(f, next, endBytes, ceiling, false); found || err != nil {
				return found, err
			}
		}
	} else if err != nil && !isEOF(err) {
		return false, err
	}
	const stepBytes = ScratchBytes - batch.HeaderSize
	for pos := d.FromBytes + 1; pos+batch.HeaderSize <= endBytes; pos += stepBytes {
		n, err := f.ReadAt(buf[:min(endBytes-pos, ScratchBytes)], pos)
		if err != nil && !isEOF(err) {
			return false, err
		}
		for i := 0; i+batch.HeaderSize <= n && i < stepBytes; i++ {
			if !plausible(buf[i:i+batch.HeaderSize], d.From, ceiling, endBytes-pos-int64(i)) {
				continue
			}
			if found, err := d.tryEnd(f, pos+int64(i), endBytes, ceiling, true); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// IsNone reports whether there is a good batch at d.FromBytes after all, which
// d then ends at.
func (d *Damage) IsNone(f *File, endBytes int64) (bool, error) {
	return d.tryEnd(f, d.FromBytes, endBytes, d.To, false)
}

func plausible(b []byte, floor, ceiling kafka.Offset, leftBytes int64) bool {
	if b[magicAt] != batch.Magic {
		return false
	}
	h, err := batch.Parse(b)
	return err == nil && h.BaseOffset >= floor && h.LastOffsetDelta >= 0 && h.LastOffset() < ceiling && int64(h.SizeBytes()) <= leftBytes
}

const magicAt = 16

// tryEnd notes that the damage ends at pos, if a good batch begins there and,
// where that is wanted, another header or the end follows.
func (d *Damage) tryEnd(f *File, pos, endBytes int64, ceiling kafka.Offset, followed bool) (found bool, err error) {
	if pos >= endBytes {
		return false, nil
	}
	var scan Scan
	scan.Start(f, pos, endBytes, true)
	defer scan.Done()
	scan.Floor(d.From)
	if !scan.Next() {
		return false, ignoreCorrupt(scan.Err())
	}
	h := scan.Header
	if h.LastOffset() >= ceiling {
		return false, nil
	}
	if followed && scan.NextPos() < endBytes {
		scan.Start(f, scan.NextPos(), endBytes, false)
		scan.Floor(h.NextOffset())
		if !scan.Next() {
			return false, ignoreCorrupt(scan.Err())
		}
	}
	d.ToBytes, d.To = pos, h.BaseOffset
	return true, nil
}

func ignoreCorrupt(err error) error {
	if errors.Is(err, kafka.CorruptMessage) {
		return nil
	}
	return err
}
