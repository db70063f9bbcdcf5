// SPDX-License-Identifier: Apache-2.0

package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
)

// AbortedEntryBytes is the size of an entry of .txnindex.
const AbortedEntryBytes = 34

// Aborted is one transaction that an abort marker in this segment ended.
type Aborted struct {
	ProducerID  kafka.ProducerID
	FirstOffset kafka.Offset // of the transaction, perhaps in an earlier segment
	LastOffset  kafka.Offset // of the marker
	LastStable  kafka.Offset // last stable offset once it was aborted
}

// AppendAborted appends the entry of a to b.
func AppendAborted(b []byte, a Aborted) []byte {
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(a.ProducerID))
	b = binary.BigEndian.AppendUint64(b, uint64(a.FirstOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(a.LastOffset))
	return binary.BigEndian.AppendUint64(b, uint64(a.LastStable))
}

// DecodeAborted reads the entries of a whole .txnindex of the segment at base.
// The error is ErrCorrupt.
func DecodeAborted(b []byte, base kafka.Offset) ([]Aborted, error) {
	if len(b)%AbortedEntryBytes != 0 {
		return nil, fmt.Errorf("%d bytes, not a multiple of %d: %w", len(b), AbortedEntryBytes, ErrCorrupt)
	}
	list := make([]Aborted, 0, len(b)/AbortedEntryBytes)
	last := base - 1
	for ; len(b) > 0; b = b[AbortedEntryBytes:] {
		if v := binary.BigEndian.Uint16(b); v != 0 {
			return nil, fmt.Errorf("entry %d has version %d: %w", len(list), v, ErrCorrupt)
		}
		a := Aborted{
			ProducerID:  kafka.ProducerID(binary.BigEndian.Uint64(b[2:])),
			FirstOffset: kafka.Offset(binary.BigEndian.Uint64(b[10:])),
			LastOffset:  kafka.Offset(binary.BigEndian.Uint64(b[18:])),
			LastStable:  kafka.Offset(binary.BigEndian.Uint64(b[26:])),
		}
		if a.LastOffset <= last || a.FirstOffset > a.LastOffset || a.FirstOffset < 0 {
			return nil, fmt.Errorf("entry %d spans %d to %d behind %d: %w", len(list), a.FirstOffset, a.LastOffset, last, ErrCorrupt)
		}
		last = a.LastOffset
		list = append(list, a)
	}
	return list, nil
}

// AbortedTxns is a segment's .txnindex. Few segments have one; it is written
// through and kept in memory from its first use on.
type AbortedTxns struct {
	file *segment.File
	base kafka.Offset

	mu     sync.Mutex // guards what follows
	bytes  int64      // size of the file
	loaded bool
	dirty  bool      // the file changed since it was last synced
	list   []Aborted // appended to, never changed in place
}

// NewAborted is an index over a file that has fileBytes; 0 also where there is none.
func NewAborted(file *segment.File, base kafka.Offset, fileBytes int64) *AbortedTxns {
	return &AbortedTxns{file: file, base: base, bytes: fileBytes, loaded: fileBytes == 0}
}

// File is the index's file.
func (x *AbortedTxns) File() *segment.File { return x.file }

// exists reports whether there is a file.
func (x *AbortedTxns) exists() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bytes > 0
}

// List gives all entries in the order of their markers. The caller must not change it.
func (x *AbortedTxns) List() ([]Aborted, error) {
	x.mu.Lock()
	list, loaded, size := x.list, x.loaded, x.bytes
	x.mu.Unlock()
	if loaded {
		return list, nil
	}
	b := make([]byte, size)
	if n, err := x.file.ReadAt(b, 0); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = ErrCorrupt
		}
		return nil, fmt.Errorf("read %s: %w", x.file.Path(), err)
	}
	list, err := DecodeAborted(b, x.base)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", x.file.Path(), err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.loaded && x.bytes == size {
		x.list, x.loaded = list, true
	}
	return list, nil
}

// Add appends an entry, and writes it together with those that earlier could
// not be written. It counts from now on even if the write fails.
func (x *AbortedTxns) Add(a Aborted) error {
	list, err := x.List()
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.list = append(list, a)
	x.mu.Unlock()
	return x.Spill()
}

// Spill writes entries that could not be written when they were added.
func (x *AbortedTxns) Spill() error {
	x.mu.Lock()
	written := x.bytes / AbortedEntryBytes
	if !x.loaded || int64(len(x.list)) <= written {
		x.mu.Unlock()
		return nil
	}
	list, at := x.list, x.bytes
	x.mu.Unlock()
	var b []byte
	for _, a := range list[written:] {
		b = AppendAborted(b, a)
	}
	if _, err := x.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("write index %s: %w", x.file.Path(), err)
	}
	x.set(list, at+int64(len(b)))
	return nil
}

// Sync makes what is in the file durable, if that is not known.
func (x *AbortedTxns) Sync() error {
	x.mu.Lock()
	dirty := x.dirty
	x.dirty = false
	x.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := x.file.SyncData(); err != nil {
		x.mu.Lock()
		x.dirty = true
		x.mu.Unlock()
		return fmt.Errorf("sync index %s: %w", x.file.Path(), err)
	}
	return nil
}

// TruncateTo drops entries whose marker is at or above off.
func (x *AbortedTxns) TruncateTo(off kafka.Offset) error {
	list, err := x.List()
	if err != nil {
		return err
	}
	n := len(list)
	for n > 0 && list[n-1].LastOffset >= off {
		n--
	}
	if n == len(list) {
		return nil
	}
	return x.cut(list[:n:n])
}

// Reset drops all entries, readable or not.
func (x *AbortedTxns) Reset() error {
	if !x.exists() {
		return nil
	}
	return x.cut(nil)
}

func (x *AbortedTxns) cut(keep []Aborted) error {
	size := int64(len(keep)) * AbortedEntryBytes
	x.set(keep, size)
	if err := x.file.With(func(f vfs.File) error { return f.Truncate(size) }); err != nil {
		return fmt.Errorf("cut index %s: %w", x.file.Path(), err)
	}
	return nil
}

func (x *AbortedTxns) set(list []Aborted, size int64) {
	x.mu.Lock()
	x.list, x.bytes, x.loaded, x.dirty = list, size, true, true
	x.mu.Unlock()
}
