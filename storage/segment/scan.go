// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// CorruptError names bytes of a file that are not what was written. It
// carries CORRUPT_MESSAGE.
type CorruptError struct {
	File     string
	PosBytes int64
	Reason   string
	// Torn: the file ends inside a batch, as it does after a crash.
	Torn bool
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt data in %s at byte %d: %s", e.File, e.PosBytes, e.Reason)
}

// Unwrap makes errors.Is(err, kafka.CorruptMessage) true.
func (e *CorruptError) Unwrap() error { return kafka.CorruptMessage }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	crcFromPos  = 21 // where the bytes that it covers begin
	hopBytes    = 8 << 10
	headerAhead = 512
)

// Scan walks the batches of a log file from one batch boundary to another. It
// reads through one borrowed buffer: ahead where batches are small, headers
// alone where they are large. The caller holds a reference on the file, and
// calls Done in the end. Offsets must rise from batch to batch.
//
//	for s.Start(f, pos, end, crc); s.Next(); { … s.Header … }
type Scan struct {
	Header   batch.Header // of the present batch
	PosBytes int64        // where it begins

	f         *File
	next, end int64
	crc       bool
	floor     kafka.Offset // the next base offset may not be below
	buf       *[ScratchBytes]byte
	bufPos    int64
	bufLen    int
	err       error
	judge     func(h, behind batch.Header, followed bool) (wrong string)
	over      func(bad *CorruptError, floor kafka.Offset) (toBytes int64, to kafka.Offset, ok bool)
}

// Start begins at pos, a batch boundary, and goes to end. With crc every
// batch is read whole and checked.
func (s *Scan) Start(f *File, pos, end int64, crc bool) {
	buf := s.buf
	if buf == nil {
		buf = f.files.Scratch()
	}
	*s = Scan{f: f, next: pos, end: end, crc: crc, buf: buf}
}

// Floor sets the least base offset that the first batch may have.
func (s *Scan) Floor(off kafka.Offset) { s.floor = off }

// Over makes the scan go on behind damage: do is told what is wrong and which
// offset would have come, and says where the next batch begins and the least
// offset that it may have; not ok ends the scan there.
func (s *Scan) Over(do func(bad *CorruptError, floor kafka.Offset) (toBytes int64, to kafka.Offset, ok bool)) {
	s.over = do
}

// Judge lets do have a look at each batch, with the header of the one behind where
// one can be read: what it finds wrong makes the batch corrupt.
func (s *Scan) Judge(do func(h, behind batch.Header, followed bool) (wrong string)) { s.judge = do }

// Done gives the buffer back. It may be called again.
func (s *Scan) Done() {
	if s.buf != nil {
		s.f.files.Unscratch(s.buf)
		s.buf = nil
	}
}

// Err is what stopped Next short of the end: a *CorruptError, or an error of
// the file system.
func (s *Scan) Err() error { return s.err }

// NextPos is where the batch behind the present one begins: how far the scan
// found everything in order.
func (s *Scan) NextPos() int64 { return s.next }

// Next goes to the next batch.
func (s *Scan) Next() bool {
	for !s.advance() {
		if s.err == nil || s.over == nil {
			return false
		}
		var bad *CorruptError
		if !errors.As(s.err, &bad) {
			return false
		}
		toBytes, to, ok := s.over(bad, s.floor)
		if !ok || toBytes < s.next || toBytes == s.next && to >= s.floor {
			return false
		}
		s.err, s.next, s.floor = nil, toBytes, to
	}
	return true
}

func (s *Scan) advance() bool {
	if s.err != nil || s.next >= s.end {
		return false
	}
	left := s.end - s.next
	if left < batch.HeaderSize {
		return s.corrupt(true, "%d bytes are left, too few for a batch header", left)
	}
	b, err := s.window(s.next, batch.HeaderSize)
	if err != nil {
		s.err = err
		return false
	}
	h, err := batch.Parse(b)
	if err != nil {
		return s.corrupt(false, "%v", err)
	}
	size := int64(h.SizeBytes())
	switch {
	case size > left:
		return s.corrupt(true, "the batch claims %d bytes, %d are left", size, left)
	case h.LastOffsetDelta < 0:
		return s.corrupt(false, "last offset delta %d", h.LastOffsetDelta)
	case h.BaseOffset < s.floor:
		return s.corrupt(false, "base offset %d, want %d or more", h.BaseOffset, s.floor)
	}
	if s.crc {
		if err := s.checkCRC(&h, size); err != nil {
			s.err = err
			return false
		}
	}
	if s.judge != nil {
		behind, followed := s.behind(size)
		if wrong := s.judge(h, behind, followed); wrong != "" {
			return s.corrupt(false, "%s", wrong)
		}
	}
	s.Header, s.PosBytes = h, s.next
	s.next += size
	s.floor = h.NextOffset()
	return true
}

// behind is the header of the batch that follows one of size bytes.
func (s *Scan) behind(size int64) (h batch.Header, ok bool) {
	if s.end-s.next-size < batch.HeaderSize {
		return h, false
	}
	b, err := s.window(s.next+size, batch.HeaderSize)
	if err == nil {
		h, err = batch.Parse(b)
	}
	return h, err == nil
}

// Body reads the present batch whole into dst, which grows as needed.
func (s *Scan) Body(dst []byte) ([]byte, error) {
	n := s.Header.SizeBytes()
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	if _, err := s.f.ReadAt(dst, s.PosBytes); err != nil {
		return dst[:0], s.readError(err)
	}
	return dst, nil
}

// window gives n bytes at pos, which lie before end.
func (s *Scan) window(pos int64, n int) ([]byte, error) {
	if off := pos - s.bufPos; off >= 0 && off+int64(n) <= int64(s.bufLen) {
		return s.buf[off : off+int64(n)], nil
	}
	want := int64(ScratchBytes)
	if !s.crc && s.Header.LengthBytes > hopBytes {
		want = headerAhead
	}
	want = min(want, s.end-pos)
	m, err := s.f.ReadAt(s.buf[:want], pos)
	s.bufPos, s.bufLen = pos, m
	if m < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, s.readError(err)
	}
	return s.buf[:n], nil
}

func (s *Scan) checkCRC(h *batch.Header, size int64) error {
	var sum uint32
	for pos := s.next + crcFromPos; pos < s.next+size; {
		n := min(s.next+size-pos, ScratchBytes)
		if off := pos - s.bufPos; off >= 0 && off < int64(s.bufLen) {
			n = min(n, int64(s.bufLen)-off)
		}
		b, err := s.window(pos, int(n))
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b)
		pos += n
	}
	if sum != h.CRC {
		s.corrupt(false, "stored crc %d, computed crc %d", h.CRC, sum)
		return s.err
	}
	return nil
}

func (s *Scan) corrupt(torn bool, format string, args ...any) bool {
	s.err = &CorruptError{File: s.f.Path(), PosBytes: s.next, Reason: fmt.Sprintf(format, args...), Torn: torn}
	return false
}

func (s *Scan) readError(err error) error {
	if isEOF(err) {
		return &CorruptError{File: s.f.Path(), PosBytes: s.next, Reason: "the file is shorter than the log", Torn: true}
	}
	return fmt.Errorf("read %s: %w", s.f.Path(), err)
}

func isEOF(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) }

// OldFormat reports the magic of a file that begins with a valid message of
// format 0 or 1. Zeros and garbage are not taken for one: the CRC must fit.
func OldFormat(f *File, sizeBytes int64) (magic int8, found bool, err error) {
	const overhead, crcAt, headMin = 12, 12, 26
	if sizeBytes < headMin {
		return 0, false, nil
	}
	buf := f.files.Scratch()
	defer f.files.Unscratch(buf)
	n, err := f.ReadAt(buf[:min(sizeBytes, ScratchBytes)], 0)
	if n < headMin {
		return 0, false, err
	}
	magic = int8(buf[magicAt])
	length := int64(int32(binary.BigEndian.Uint32(buf[8:])))
	if magic < 0 || magic > 1 || length < headMin-overhead || overhead+length > sizeBytes {
		return 0, false, nil
	}
	stored := binary.BigEndian.Uint32(buf[crcAt:])
	var sum uint32
	for pos, end := int64(magicAt), overhead+length; pos < end; {
		n, err := f.ReadAt(buf[:min(end-pos, ScratchBytes)], pos)
		if n == 0 {
			return 0, false, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, buf[:n])
		pos += int64(n)
	}
	return magic, sum == stored, nil
}
