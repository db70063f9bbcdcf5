// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/binary"
	"hash/crc32"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// Check says whether the batches from here on are read whole and checked.
func (s *Scan) Check(crc bool) { s.crc = crc }

// Peek reads the header at the start of a scan and judges nothing but it.
func (s *Scan) Peek() (batch.Header, error) {
	b, err := s.window(s.next, batch.HeaderSize)
	if err != nil {
		return batch.Header{}, err
	}
	h, err := batch.Parse(b)
	if err != nil {
		s.corrupt(false, "%v", err)
		return h, s.err
	}
	return h, nil
}

// NextBase is the base offset of the batch behind the present one, unless that
// is the last; ok is false then. A batch's CRC does not cover its base offset:
// what comes behind bears it out.
func (s *Scan) NextBase() (off kafka.Offset, ok bool, err error) {
	const offsetBytes = 8
	if s.end-s.next < offsetBytes {
		return 0, false, nil
	}
	if at := s.next - s.bufPos; at < 0 || at+offsetBytes > int64(s.bufLen) {
		n, err := s.f.ReadAt(s.buf[:min(headerAhead, s.end-s.next)], s.next)
		s.bufPos, s.bufLen = s.next, n
		if n < offsetBytes {
			return 0, false, s.readError(err)
		}
	}
	return kafka.Offset(binary.BigEndian.Uint64(s.buf[s.next-s.bufPos:])), true, nil
}

// AtEnd reports whether nothing stands behind the present batch.
func (s *Scan) AtEnd() bool { return s.next >= s.end }

// NextHeader is the header of the batch behind the present one; ok is false where
// nothing that looks like one stands there.
func (s *Scan) NextHeader() (h batch.Header, ok bool) { return s.behind(0) }

// CheckPresent reads the present batch whole and reports whether its CRC fits.
func (s *Scan) CheckPresent() (bool, error) {
	buf := s.f.files.Scratch()
	defer s.f.files.Unscratch(buf)
	var sum uint32
	for pos := s.PosBytes + crcFromPos; pos < s.next; {
		n, err := s.f.ReadAt(buf[:min(s.next-pos, ScratchBytes)], pos)
		if n == 0 {
			return false, s.readError(err)
		}
		sum = crc32.Update(sum, castagnoli, buf[:n])
		pos += int64(n)
	}
	return sum == s.Header.CRC, nil
}
