// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"encoding/binary"
	"fmt"
	"os"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/segment"
)

// OffsetEntry is an entry of a .index file.
type OffsetEntry struct {
	Offset   kafka.Offset `json:"offset"`
	Position int64        `json:"position"`
}

// TimeEntry is an entry of a .timeindex file.
type TimeEntry struct {
	Timestamp int64        `json:"timestamp"`
	Offset    kafka.Offset `json:"offset"`
}

// indexBytesMax bounds an index file: Kafka's segment.index.bytes default,
// many times over.
const indexBytesMax = 1 << 30

// entriesOf reads entries of one size. Kafka preallocates an index and cuts it
// when the segment is closed, so zeros behind the first entry are its end.
func entriesOf(path string, entryBytes int, f func(entry []byte)) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > indexBytesMax {
		return &segment.CorruptError{File: path, Reason: fmt.Sprintf("an index of %d bytes", info.Size())}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(b)%entryBytes != 0 {
		return &segment.CorruptError{File: path, PosBytes: int64(len(b) / entryBytes * entryBytes),
			Reason: fmt.Sprintf("%d bytes, not a multiple of %d", len(b), entryBytes)}
	}
	for i := 0; i < len(b); i += entryBytes {
		e := b[i : i+entryBytes]
		if zeros(e) && (i > 0 || zeros(b)) {
			return nil
		}
		f(e)
	}
	return nil
}

// Offsets reads a .index file of a segment that begins at base.
func Offsets(path string, base kafka.Offset) (list []OffsetEntry, err error) {
	err = entriesOf(path, index.OffsetEntryBytes, func(e []byte) {
		list = append(list, OffsetEntry{base + kafka.Offset(int32(binary.BigEndian.Uint32(e))), int64(int32(binary.BigEndian.Uint32(e[4:])))})
	})
	return list, err
}

// Times reads a .timeindex file of a segment that begins at base.
func Times(path string, base kafka.Offset) (list []TimeEntry, err error) {
	err = entriesOf(path, index.TimeEntryBytes, func(e []byte) {
		list = append(list, TimeEntry{int64(binary.BigEndian.Uint64(e)), base + kafka.Offset(int32(binary.BigEndian.Uint32(e[8:])))})
	})
	return list, err
}

// Aborted reads a .txnindex file.
func Aborted(path string, base kafka.Offset) ([]index.Aborted, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > indexBytesMax {
		return nil, &segment.CorruptError{File: path, Reason: fmt.Sprintf("an index of %d bytes", info.Size())}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := index.DecodeAborted(b, base)
	if err != nil {
		return nil, &segment.CorruptError{File: path, Reason: err.Error()}
	}
	return list, nil
}
