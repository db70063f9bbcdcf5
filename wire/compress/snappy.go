// SPDX-License-Identifier: Apache-2.0

package compress

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/s2"
)

const (
	xerialMagic       = "\x82SNAPPY\x00"
	xerialHeaderBytes = 16
	// xerialBlockBytes is the block size of snappy-java.
	xerialBlockBytes = 32 << 10
	// snappyRatioMax is more than any block can expand by: three bytes copy 64.
	snappyRatioMax = 24
)

// snappyReader streams a xerial stream block by block, or one raw block.
type snappyReader struct {
	src   []byte
	block []byte // decoded
	pos   int    // read of block
}

func (s *snappyReader) reset(src []byte) error {
	s.src, s.block, s.pos = src, s.block[:0], 0
	if len(src) >= len(xerialMagic) && string(src[:len(xerialMagic)]) == xerialMagic {
		if len(src) < xerialHeaderBytes {
			return corrupt(Snappy, io.ErrUnexpectedEOF)
		}
		return nil
	}
	// A raw block: all of src at once.
	s.src = nil
	if len(src) == 0 {
		return corrupt(Snappy, io.ErrUnexpectedEOF)
	}
	return s.decode(src)
}

func (s *snappyReader) Read(p []byte) (int, error) {
	for s.pos == len(s.block) {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.block[s.pos:])
	s.pos += n
	return n, nil
}

// next decodes the next block. A stream may hold further headers, where
// streams were put behind one another.
func (s *snappyReader) next() error {
	for len(s.src) >= xerialHeaderBytes && string(s.src[:len(xerialMagic)]) == xerialMagic {
		s.src = s.src[xerialHeaderBytes:]
	}
	if len(s.src) == 0 {
		return io.EOF
	}
	if len(s.src) < 4 {
		return corrupt(Snappy, io.ErrUnexpectedEOF)
	}
	n := int64(binary.BigEndian.Uint32(s.src))
	if n > int64(len(s.src)-4) {
		return corrupt(Snappy, io.ErrUnexpectedEOF)
	}
	block := s.src[4 : 4+n]
	s.src = s.src[4+n:]
	return s.decode(block)
}

func (s *snappyReader) decode(block []byte) error {
	n, err := s2.DecodedLen(block)
	if err != nil {
		return corrupt(Snappy, err)
	}
	if n > snappyRatioMax*len(block) {
		return corrupt(Snappy, errors.New("block claims more than it can hold"))
	}
	if cap(s.block) < n {
		s.block = make([]byte, n)
	}
	s.pos = 0
	if s.block, err = s2.Decode(s.block[:cap(s.block)], block); err != nil {
		s.block = s.block[:0]
		return corrupt(Snappy, err)
	}
	return nil
}

// xerialWriter writes a xerial stream.
type xerialWriter struct {
	w      io.Writer
	plain  []byte // not yet a block
	coded  []byte
	header bool // already written
}

func (x *xerialWriter) reset(w io.Writer) {
	x.w, x.plain, x.header = w, x.plain[:0], false
}

func (x *xerialWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), xerialBlockBytes-len(x.plain))
		x.plain = append(x.plain, p[:n]...)
		p = p[n:]
		written += n
		if len(x.plain) == xerialBlockBytes {
			if err := x.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

func (x *xerialWriter) Close() error {
	if len(x.plain) > 0 || !x.header {
		return x.flush()
	}
	return nil
}

func (x *xerialWriter) flush() error {
	x.coded = x.coded[:0]
	if !x.header {
		x.coded = append(x.coded, xerialMagic...)
		x.coded = binary.BigEndian.AppendUint32(x.coded, 1) // version
		x.coded = binary.BigEndian.AppendUint32(x.coded, 1) // lowest version that can read it
		x.header = true
	}
	if len(x.plain) > 0 {
		start := len(x.coded) + 4
		need := start + s2.MaxEncodedLen(len(x.plain))
		if cap(x.coded) < need {
			x.coded = append(make([]byte, 0, need), x.coded...)
		}
		block := s2.EncodeSnappy(x.coded[start:need], x.plain)
		x.coded = binary.BigEndian.AppendUint32(x.coded, uint32(len(block)))
		x.coded = x.coded[:start+len(block)]
		x.plain = x.plain[:0]
	}
	_, err := x.w.Write(x.coded)
	return err
}
