// SPDX-License-Identifier: Apache-2.0

// Package index keeps Kafka's three indexes of a segment, byte for byte:
//
//	.index      relative offset int32 | position int32                     8 bytes an entry
//	.timeindex  timestamp int64 | relative offset int32                   12
//	.txnindex   version int16 | producer id int64 | first offset int64 |
//	            last offset int64 | last stable offset int64              34
//
// Entries rise strictly in the field they are searched by. Relative offsets
// count from the segment's base offset. An offset entry names the last offset
// of a batch and where that batch begins, so every record from the named
// offset on is found by walking forward from there.
//
// New entries stay in memory and reach the file at Spill: at most SpillEntries
// of them, so an index costs a bounded amount of memory and one small write in
// half a megabyte of log. Changes belong to the log's lane; searches may run
// beside them from any goroutine. A search that runs beside a truncation may
// answer for the log as it was before or after: the reader finds out from its
// segment's generation.
package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"gregor/base/vfs"
	"gregor/storage/segment"
)

// SpillEntries is how many entries an index keeps in memory before it asks to
// be spilled.
const SpillEntries = 128

// ErrCorrupt says that an index file is not one; the index is to be rebuilt.
var ErrCorrupt = errors.New("corrupt index")

// table is entries of one size, in a file and, behind them, in memory.
type table struct {
	file       *segment.File
	entryBytes int

	mu     sync.Mutex // guards what follows
	inFile int        // entries in the file
	tail   []byte     // entries behind them
	stale  int        // entries in the file while a rebuild goes on: those behind inFile are not compared yet
	dirty  bool       // the file changed since it was last synced
}

// field reads what a table is searched by from an entry.
type field func(entry []byte) int64

func (t *table) init(file *segment.File, entryBytes int, fileBytes int64) error {
	t.file, t.entryBytes = file, entryBytes
	t.inFile = int(fileBytes / int64(entryBytes))
	if fileBytes%int64(entryBytes) != 0 {
		return fmt.Errorf("%s has %d bytes, not a multiple of %d: %w", file.Path(), fileBytes, entryBytes, ErrCorrupt)
	}
	return nil
}

// Entries is the number of entries.
func (t *table) Entries() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inFile + len(t.tail)/t.entryBytes
}

// WantsSpill reports whether enough is in memory for a write.
func (t *table) WantsSpill() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stale == 0 && len(t.tail) >= SpillEntries*t.entryBytes
}

// Unspilled reports whether there are entries that the file does not hold.
func (t *table) Unspilled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.tail) > 0 || t.stale > 0
}

func (t *table) add(entry []byte) {
	t.mu.Lock()
	t.tail = append(t.tail, entry...)
	t.mu.Unlock()
}

// Spill writes what is in memory to the file, which is made if it is missing.
func (t *table) Spill() error {
	if err := t.Settle(); err != nil {
		return err
	}
	t.mu.Lock()
	tail, at := t.tail, int64(t.inFile)*int64(t.entryBytes)
	t.mu.Unlock()
	// Only the lane changes tail, and this is the lane.
	if _, err := t.file.WriteAt(tail, at); err != nil {
		return fmt.Errorf("write index %s: %w", t.file.Path(), err)
	}
	t.mu.Lock()
	t.dirty = true
	t.inFile += len(tail) / t.entryBytes
	if cap(t.tail) > 2*SpillEntries*t.entryBytes {
		t.tail = nil
	}
	t.tail = t.tail[:0]
	t.mu.Unlock()
	return nil
}

// rebuild forgets all entries but the first keep, and leaves the file as it is
// until Settle: after a crash it mostly holds what is found again, and to write to
// many files waits for what the crash left to be written.
func (t *table) rebuild(keep int) {
	t.mu.Lock()
	t.stale, t.inFile, t.tail = max(t.stale, t.inFile), keep, nil
	t.mu.Unlock()
}

// Settle ends a rebuild: the file keeps what it holds of the new entries, and
// nothing else.
func (t *table) Settle() error {
	t.mu.Lock()
	stale, kept, tail := t.stale, t.inFile, t.tail
	t.mu.Unlock()
	if stale == 0 {
		return nil
	}
	same, err := t.same(tail, kept, min(stale-kept, len(tail)/t.entryBytes))
	if err != nil {
		return err
	}
	if kept+same < stale {
		err := t.file.With(func(f vfs.File) error { return f.Truncate(int64(kept+same) * int64(t.entryBytes)) })
		if err != nil {
			return fmt.Errorf("cut index %s: %w", t.file.Path(), err)
		}
	}
	t.mu.Lock()
	t.inFile, t.stale, t.dirty = kept+same, 0, true
	t.tail = append([]byte(nil), tail[same*t.entryBytes:]...)
	t.mu.Unlock()
	return nil
}

// same counts the entries of the file from number first on, of at most n, that are
// those of b.
func (t *table) same(b []byte, first, n int) (int, error) {
	buf := t.file.Files().Scratch()
	defer t.file.Files().Unscratch(buf)
	step := len(buf) / t.entryBytes
	for at := 0; at < n; at += step {
		part := buf[:min(step, n-at)*t.entryBytes]
		if err := t.read(part, first+at); errors.Is(err, ErrCorrupt) {
			return at, nil
		} else if err != nil {
			return 0, err
		}
		for i := range len(part) / t.entryBytes {
			if from := i * t.entryBytes; !bytes.Equal(part[from:from+t.entryBytes], b[at*t.entryBytes+from:][:t.entryBytes]) {
				return at + i, nil
			}
		}
	}
	return n, nil
}

// rising counts the entries of the file up to the first for which more is false.
func (t *table) rising(more func(entry []byte) bool) (n int, err error) {
	t.mu.Lock()
	inFile := t.inFile
	t.mu.Unlock()
	buf := t.file.Files().Scratch()
	defer t.file.Files().Unscratch(buf)
	step := len(buf) / t.entryBytes
	for n < inFile {
		part := buf[:min(step, inFile-n)*t.entryBytes]
		if err := t.read(part, n); err != nil {
			return n, err
		}
		for ; len(part) > 0; part = part[t.entryBytes:] {
			if !more(part[:t.entryBytes]) {
				return n, nil
			}
			n++
		}
	}
	return n, nil
}

// Sync makes what is in the file durable, if that is not known.
func (t *table) Sync() error {
	t.mu.Lock()
	dirty := t.dirty
	t.dirty = false
	t.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := t.file.SyncData(); err != nil {
		t.mu.Lock()
		t.dirty = true
		t.mu.Unlock()
		return fmt.Errorf("sync index %s: %w", t.file.Path(), err)
	}
	return nil
}

// Shrink frees the memory of an index that will not grow soon.
func (t *table) Shrink() {
	t.mu.Lock()
	if len(t.tail) == 0 {
		t.tail = nil
	}
	t.mu.Unlock()
}

// cut keeps the first n entries.
func (t *table) cut(n int) error {
	t.mu.Lock()
	inFile := t.inFile
	if n >= inFile {
		t.tail = t.tail[:min(len(t.tail), (n-inFile)*t.entryBytes)]
		t.mu.Unlock()
		return nil
	}
	t.inFile, t.tail, t.dirty = n, t.tail[:0], true
	t.mu.Unlock()
	err := t.file.With(func(f vfs.File) error { return f.Truncate(int64(n) * int64(t.entryBytes)) })
	if err != nil {
		return fmt.Errorf("cut index %s: %w", t.file.Path(), err)
	}
	return nil
}

// reset drops everything, whatever the file holds.
func (t *table) reset() error {
	t.mu.Lock()
	t.inFile, t.tail, t.stale, t.dirty = 0, nil, 0, true
	t.mu.Unlock()
	if err := t.file.With(func(f vfs.File) error { return f.Truncate(0) }); err != nil {
		return fmt.Errorf("empty index %s: %w", t.file.Path(), err)
	}
	return nil
}

// floor copies the last entry whose field is not above key into dst. slot is
// its number; -1 where every entry is above.
func (t *table) floor(dst []byte, key int64, at field) (slot int, err error) {
	t.mu.Lock()
	n := t.inFile
	if len(t.tail) > 0 && at(t.tail) <= key {
		i := t.floorOf(t.tail, key, at)
		copy(dst, t.tail[i*t.entryBytes:(i+1)*t.entryBytes])
		t.mu.Unlock()
		return n + i, nil
	}
	t.mu.Unlock()
	if n == 0 {
		return -1, nil
	}
	buf := t.file.Files().Scratch()
	defer t.file.Files().Unscratch(buf)
	lo, hi := 0, n // the floor lies in [lo-1, hi)
	const block = 256
	for hi-lo > block {
		mid := lo + (hi-lo)/2
		if err := t.read(buf[:t.entryBytes], mid); err != nil {
			return -1, err
		}
		if at(buf[:]) <= key {
			lo = mid
		} else {
			hi = mid
		}
	}
	entries := buf[:(hi-lo)*t.entryBytes]
	if err := t.read(entries, lo); err != nil {
		return -1, err
	}
	i := t.floorOf(entries, key, at)
	if i < 0 {
		return -1, nil // lo is 0: a larger lo was seen not to be above key
	}
	copy(dst, entries[i*t.entryBytes:(i+1)*t.entryBytes])
	return lo + i, nil
}

// floorOf is the number of the last entry in b that is not above key, or -1.
func (t *table) floorOf(b []byte, key int64, at field) int {
	lo, hi := -1, len(b)/t.entryBytes
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		if at(b[mid*t.entryBytes:]) <= key {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// entry copies entry number slot into dst.
func (t *table) entry(dst []byte, slot int) error {
	t.mu.Lock()
	n := t.inFile
	if slot >= n {
		off := (slot - n) * t.entryBytes
		if off+t.entryBytes > len(t.tail) {
			t.mu.Unlock()
			return fmt.Errorf("entry %d of %s: %w", slot, t.file.Path(), ErrCorrupt)
		}
		copy(dst, t.tail[off:off+t.entryBytes])
		t.mu.Unlock()
		return nil
	}
	t.mu.Unlock()
	buf := t.file.Files().Scratch() // dst may be on the caller's stack, and stays there
	defer t.file.Files().Unscratch(buf)
	if err := t.read(buf[:t.entryBytes], slot); err != nil {
		return err
	}
	copy(dst, buf[:t.entryBytes])
	return nil
}

// last copies the last entry into dst; ok is false where there is none.
func (t *table) last(dst []byte) (ok bool, err error) {
	n := t.Entries()
	if n == 0 {
		return false, nil
	}
	return true, t.entry(dst, n-1)
}

func (t *table) read(b []byte, slot int) error {
	_, err := t.file.ReadAt(b, int64(slot)*int64(t.entryBytes))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s ends before entry %d: %w", t.file.Path(), slot, ErrCorrupt)
	}
	return fmt.Errorf("read index %s: %w", t.file.Path(), err)
}

// File is the index's file.
func (t *table) File() *segment.File { return t.file }
