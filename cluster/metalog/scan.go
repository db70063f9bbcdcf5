// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"

	"gregor/base/vfs"
	"gregor/wire/batch"
)

// scanBytes is how much a scan reads at once.
const scanBytes = 1 << 20

// reader gives the batches of one file in order, whole and verified.
type reader struct {
	f             vfs.File
	name          string
	size          int64
	batchBytesMax int

	pos int64  // of the next batch
	buf []byte // what was read from pos on
	mem []byte
}

// next gives the next batch, which is valid until the call after; nil at the
// end of the file. Bytes that are no batch give a *CorruptError.
func (r *reader) next() ([]byte, batch.Header, error) {
	if r.pos == r.size {
		return nil, batch.Header{}, nil
	}
	if err := r.fill(batch.HeaderSize); err != nil {
		return nil, batch.Header{}, err
	}
	h, err := batch.Parse(r.buf)
	if err != nil {
		return nil, h, r.corrupt(err.Error())
	}
	if h.SizeBytes() > r.batchBytesMax {
		return nil, h, r.corrupt(fmt.Sprintf("a batch of %d bytes, more than %d", h.SizeBytes(), r.batchBytesMax))
	}
	if err := r.fill(h.SizeBytes()); err != nil {
		return nil, h, err
	}
	b := r.buf[:h.SizeBytes()]
	if err := batch.VerifyCRC(b); err != nil {
		return nil, h, r.corrupt(err.Error())
	}
	if h.LastOffsetDelta < 0 || h.Count < 1 {
		return nil, h, r.corrupt("a batch without records")
	}
	r.buf = r.buf[len(b):]
	r.pos += int64(len(b))
	return b, h, nil
}

// fill makes at least n bytes from pos on available.
func (r *reader) fill(n int) error {
	if len(r.buf) >= n {
		return nil
	}
	left := r.size - r.pos
	if int64(n) > left {
		return r.corrupt(fmt.Sprintf("%d bytes are left where a batch needs %d", left, n))
	}
	want := int(min(left, int64(max(n, scanBytes))))
	if cap(r.mem) < want {
		r.mem = make([]byte, want)
	}
	r.buf = r.mem[:want]
	if err := readFull(r.f, r.buf, r.pos); err != nil {
		return fmt.Errorf("read %s at byte %d: %w", r.name, r.pos, err)
	}
	return nil
}

func (r *reader) corrupt(reason string) error {
	return &CorruptError{File: r.name, Pos: r.pos, Reason: reason}
}

func isCorrupt(err error) bool {
	var c *CorruptError
	return errors.As(err, &c)
}
