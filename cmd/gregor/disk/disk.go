// SPDX-License-Identifier: Apache-2.0

// Package disk reads the files of a log directory as they lie there, without
// opening a log: what `gregor storage` shows. It writes nothing. Batches are
// held one at a time; a batch that claims more bytes than its file has left is
// refused before anything is allocated for it.
package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"gregor/base/kafka"
	"gregor/storage/segment"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// Batch is one batch of a file.
type Batch struct {
	batch.Header
	PosBytes int64
	Bytes    []byte // whole; of use until the next batch is read
}

// Walk calls f for the batches of a .log or .checkpoint file, in order. Damage
// is a *segment.CorruptError, which ends the walk.
func Walk(path string, f func(*Batch) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was read only
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return walk(path, bufio.NewReaderSize(file, 256<<10), info.Size(), f)
}

func walk(path string, in *bufio.Reader, sizeBytes int64, f func(*Batch) error) error {
	b := &Batch{}
	floor := kafka.Offset(0)
	for left := sizeBytes; left > 0; left -= int64(len(b.Bytes)) {
		corrupt := func(torn bool, format string, args ...any) error {
			return &segment.CorruptError{File: path, PosBytes: b.PosBytes, Reason: fmt.Sprintf(format, args...), Torn: torn}
		}
		if left < batch.HeaderSize {
			return corrupt(true, "%d bytes are left, too few for a batch header", left)
		}
		head, err := in.Peek(batch.HeaderSize)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if b.Header, err = batch.Parse(head); err != nil {
			if zeros(head) {
				return corrupt(true, "zeros, as preallocation or a crash leaves them")
			}
			return corrupt(false, "%v", err)
		}
		size := int64(b.SizeBytes())
		switch {
		case size > left:
			return corrupt(true, "the batch claims %d bytes, %d are left", size, left)
		case b.LastOffsetDelta < 0:
			return corrupt(false, "last offset delta %d", b.LastOffsetDelta)
		case b.BaseOffset < floor:
			return corrupt(false, "base offset %d, want %d or more", b.BaseOffset, floor)
		}
		if int64(cap(b.Bytes)) < size {
			b.Bytes = make([]byte, size)
		}
		b.Bytes = b.Bytes[:size]
		if _, err := io.ReadFull(in, b.Bytes); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if err := f(b); err != nil {
			return err
		}
		floor = b.NextOffset()
		b.PosBytes += size
	}
	return nil
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// recordsMax bounds what one batch may decompress to.
const recordsMax = 1 << 30

// Reader gives the records of batches.
type Reader struct {
	coder   compress.Coder
	scratch []byte
}

// Records calls f for the records of a batch.
func (r *Reader) Records(b *Batch, f func(*batch.Record) error) error {
	it, scratch, err := batch.Open(&b.Header, b.Bytes, &r.coder, r.scratch[:0], recordsMax)
	r.scratch = scratch
	if err != nil {
		return err
	}
	var rec batch.Record
	for it.Next(&rec) {
		if err := f(&rec); err != nil {
			return err
		}
	}
	return it.Err()
}

// isCorrupt finds damage in err.
func isCorrupt(err error) (*segment.CorruptError, bool) {
	var c *segment.CorruptError
	return c, errors.As(err, &c)
}
