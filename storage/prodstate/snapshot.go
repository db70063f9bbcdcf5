// SPDX-License-Identifier: Apache-2.0

package prodstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

const (
	snapshotVersion    = 1
	snapshotCRCFrom    = 6
	snapshotHeader     = 10
	snapshotEntryBytes = 46
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorrupt says that bytes are not a producer snapshot.
var ErrCorrupt = errors.New("corrupt producer snapshot")

// AppendSnapshot appends the state in Kafka's .snapshot format, producers
// ordered by id.
func (s *State) AppendSnapshot(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, snapshotVersion)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.producers)))
	for _, e := range s.sorted() {
		last := Batch{LastSequence: batch.NoSequence, LastOffset: kafka.NoOffset}
		if e.kept > 0 {
			last = e.batches[e.kept-1]
		}
		b = binary.BigEndian.AppendUint64(b, uint64(e.id))
		b = binary.BigEndian.AppendUint16(b, uint16(e.epoch))
		b = binary.BigEndian.AppendUint32(b, uint32(last.LastSequence))
		b = binary.BigEndian.AppendUint64(b, uint64(last.LastOffset))
		b = binary.BigEndian.AppendUint32(b, uint32(last.OffsetDelta))
		b = binary.BigEndian.AppendUint64(b, uint64(e.timestampMs))
		b = binary.BigEndian.AppendUint32(b, uint32(e.coordinatorEpoch))
		b = binary.BigEndian.AppendUint64(b, uint64(e.txnStart))
	}
	binary.BigEndian.PutUint32(b[start+2:], crc32.Checksum(b[start+snapshotCRCFrom:], castagnoli))
	return b
}

// LoadSnapshot replaces the state by that of a snapshot, leaving out producers
// that have expired. The error is ErrCorrupt; the state is empty then.
func (s *State) LoadSnapshot(b []byte, nowMs, expirationMs int64) error {
	s.Reset()
	if len(b) < snapshotHeader {
		return fmt.Errorf("%d bytes: %w", len(b), ErrCorrupt)
	}
	if v := binary.BigEndian.Uint16(b); v != snapshotVersion {
		return fmt.Errorf("version %d: %w", v, ErrCorrupt)
	}
	if stored, computed := binary.BigEndian.Uint32(b[2:]), crc32.Checksum(b[snapshotCRCFrom:], castagnoli); stored != computed {
		return fmt.Errorf("stored crc %d, computed crc %d: %w", stored, computed, ErrCorrupt)
	}
	count := int64(int32(binary.BigEndian.Uint32(b[snapshotCRCFrom:])))
	b = b[snapshotHeader:]
	if count < 0 || count*snapshotEntryBytes != int64(len(b)) {
		return fmt.Errorf("%d entries in %d bytes: %w", count, len(b), ErrCorrupt)
	}
	s.producers = make(map[kafka.ProducerID]*entry, count)
	for ; len(b) > 0; b = b[snapshotEntryBytes:] {
		e := entry{
			id:               kafka.ProducerID(binary.BigEndian.Uint64(b)),
			epoch:            kafka.ProducerEpoch(binary.BigEndian.Uint16(b[8:])),
			timestampMs:      int64(binary.BigEndian.Uint64(b[26:])),
			coordinatorEpoch: int32(binary.BigEndian.Uint32(b[34:])),
			txnStart:         kafka.Offset(binary.BigEndian.Uint64(b[38:])),
		}
		last := Batch{
			LastSequence: int32(binary.BigEndian.Uint32(b[10:])),
			LastOffset:   kafka.Offset(binary.BigEndian.Uint64(b[14:])),
			OffsetDelta:  int32(binary.BigEndian.Uint32(b[22:])),
			TimestampMs:  e.timestampMs,
		}
		if last.LastOffset >= 0 {
			e.keep(last)
		}
		if e.txnStart < 0 {
			e.txnStart = kafka.NoOffset
		}
		if !e.expired(nowMs, expirationMs) {
			s.producers[e.id] = &e
		}
	}
	return nil
}

// OpenTxns gives the open transactions, for Txns.Reset after a load.
func (s *State) OpenTxns() []Txn {
	var list []Txn
	for _, e := range s.producers {
		if e.txnStart != kafka.NoOffset {
			list = append(list, Txn{ProducerID: e.id, First: e.txnStart, Last: kafka.NoOffset})
		}
	}
	return list
}
