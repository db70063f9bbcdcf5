// SPDX-License-Identifier: Apache-2.0

// Package batch reads, writes and judges record batches of format v2 (magic
// 2), the only one that Kafka still writes.
//
//	 0 baseOffset           int64   patched by the leader
//	 8 batchLength          int32   bytes that follow this field
//	12 partitionLeaderEpoch int32   patched by the leader
//	16 magic                int8    2
//	17 crc                  uint32  CRC32C of all that follows
//	21 attributes           int16   codec 0-2, timestamp type 3, transactional 4, control 5, delete horizon 6
//	23 lastOffsetDelta      int32
//	27 baseTimestamp        int64
//	35 maxTimestamp         int64
//	43 producerId           int64
//	51 producerEpoch        int16
//	53 baseSequence         int32
//	57 recordCount          int32
//	61 records              compressed as one block unless the codec is none
//
//	record := length:varint attributes:int8 timestampDelta:varlong offsetDelta:varint
//	          keyLength:varint key valueLength:varint value headerCount:varint header...
//	header := keyLength:varint key valueLength:varint value
//
// A length of -1 is null. What the leader patches lies before the bytes that
// the CRC covers.
//
// Everything here is pure: bytes in, bytes out, time as an argument. Functions
// keep nothing; a Builder, Iter or Validator belongs to one goroutine.
package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

const (
	// HeaderSize is the length of a batch before its records.
	HeaderSize = 61
	// LogOverhead is the length of a batch up to and including its length field.
	LogOverhead = 12
	// Magic is the only format that is read or written.
	Magic = 2
	// NoTimestamp stands for "no timestamp" in records and batches.
	NoTimestamp int64 = -1
	// NoSequence marks a batch that no idempotent producer wrote.
	NoSequence int32 = -1
)

// Where the fields begin.
const (
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Attributes are the flags of a batch.
type Attributes int16

// The flags of a batch.
const (
	codecMask         Attributes = 0x07
	AttrLogAppendTime Attributes = 0x08
	AttrTransactional Attributes = 0x10
	AttrControl       Attributes = 0x20
	AttrDeleteHorizon Attributes = 0x40
)

// Codec is how the records are compressed.
func (a Attributes) Codec() compress.Codec { return compress.Codec(a & codecMask) }

// TimestampType says whose clock the timestamps are from.
func (a Attributes) TimestampType() TimestampType {
	if a&AttrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// IsTransactional reports whether the batch belongs to a transaction.
func (a Attributes) IsTransactional() bool { return a&AttrTransactional != 0 }

// IsControl reports whether the batch holds a marker instead of records.
func (a Attributes) IsControl() bool { return a&AttrControl != 0 }

// HasDeleteHorizon reports whether the base timestamp is the time from which
// on tombstones may go.
func (a Attributes) HasDeleteHorizon() bool { return a&AttrDeleteHorizon != 0 }

// TimestampType is message.timestamp.type.
type TimestampType int8

// The two timestamp types.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// Header is a batch's header.
type Header struct {
	BaseOffset      kafka.Offset
	LengthBytes     int32 // of what follows the length field
	LeaderEpoch     kafka.LeaderEpoch
	Magic           int8
	CRC             uint32
	Attributes      Attributes
	LastOffsetDelta int32
	BaseTimestampMs int64
	MaxTimestampMs  int64
	ProducerID      kafka.ProducerID
	ProducerEpoch   kafka.ProducerEpoch
	BaseSequence    int32
	Count           int32
}

// SizeBytes is the length of the whole batch.
func (h *Header) SizeBytes() int { return LogOverhead + int(h.LengthBytes) }

// LastOffset is the offset of the last record, or of where it was before
// compaction.
func (h *Header) LastOffset() kafka.Offset { return h.BaseOffset + kafka.Offset(h.LastOffsetDelta) }

// NextOffset is the offset behind the batch.
func (h *Header) NextOffset() kafka.Offset { return h.LastOffset() + 1 }

// LastSequence is the sequence of the last record: sequences go on with 0
// behind the greatest int32.
func (h *Header) LastSequence() int32 {
	if h.BaseSequence == NoSequence {
		return NoSequence
	}
	return AddSequence(h.BaseSequence, h.LastOffsetDelta)
}

// AddSequence is sequence + n, going on with 0 behind the greatest int32.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// HasProducerID reports whether an idempotent producer wrote the batch.
func (h *Header) HasProducerID() bool { return h.ProducerID > kafka.NoProducerID }

// CorruptError says which check a batch failed. It carries CORRUPT_MESSAGE.
type CorruptError struct {
	Reason string
}

func (e *CorruptError) Error() string { return "corrupt record batch: " + e.Reason }

// Unwrap makes errors.Is(err, kafka.CorruptMessage) true.
func (e *CorruptError) Unwrap() error { return kafka.CorruptMessage }

// Parse reads the header of the batch that b starts with. It needs HeaderSize
// bytes of it, and checks magic and length but not whether b holds the whole
// batch: a reader of files looks at headers alone. The error is a
// *CorruptError.
func Parse(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, &CorruptError{Reason: fmt.Sprintf("%d bytes are too few for a header", len(b))}
	}
	h := Header{
		BaseOffset:      kafka.Offset(binary.BigEndian.Uint64(b)),
		LengthBytes:     int32(binary.BigEndian.Uint32(b[posLength:])),
		LeaderEpoch:     kafka.LeaderEpoch(binary.BigEndian.Uint32(b[posLeaderEpoch:])),
		Magic:           int8(b[posMagic]),
		CRC:             binary.BigEndian.Uint32(b[posCRC:]),
		Attributes:      Attributes(binary.BigEndian.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:])),
		BaseTimestampMs: int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])),
		MaxTimestampMs:  int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])),
		ProducerID:      kafka.ProducerID(binary.BigEndian.Uint64(b[posProducerID:])),
		ProducerEpoch:   kafka.ProducerEpoch(binary.BigEndian.Uint16(b[posProducerEpoch:])),
		BaseSequence:    int32(binary.BigEndian.Uint32(b[posBaseSequence:])),
		Count:           int32(binary.BigEndian.Uint32(b[posCount:])),
	}
	if h.Magic != Magic {
		return h, &CorruptError{Reason: fmt.Sprintf("magic %d, want %d", h.Magic, Magic)}
	}
	if h.LengthBytes < HeaderSize-LogOverhead {
		return h, &CorruptError{Reason: fmt.Sprintf("length %d is too small for a header", h.LengthBytes)}
	}
	return h, nil
}

// VerifyCRC checks the CRC of b, which is one whole batch. The error is a
// *CorruptError.
func VerifyCRC(b []byte) error {
	if len(b) < HeaderSize {
		return &CorruptError{Reason: fmt.Sprintf("%d bytes are too few for a header", len(b))}
	}
	stored := binary.BigEndian.Uint32(b[posCRC:])
	if computed := crc32.Checksum(b[posAttributes:], castagnoli); computed != stored {
		return &CorruptError{Reason: fmt.Sprintf("stored crc %d, computed crc %d", stored, computed)}
	}
	return nil
}

// SetBaseOffset writes the offset of the first record. The CRC stays valid.
func SetBaseOffset(b []byte, o kafka.Offset) { binary.BigEndian.PutUint64(b, uint64(o)) }

// SetLeaderEpoch writes the leader epoch. The CRC stays valid.
func SetLeaderEpoch(b []byte, e kafka.LeaderEpoch) {
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(e))
}

// SetMaxTimestamp writes the greatest timestamp and the timestamp type of b,
// one whole batch, and computes its CRC anew.
func SetMaxTimestamp(b []byte, t TimestampType, maxTimestampMs int64) {
	attributes := Attributes(binary.BigEndian.Uint16(b[posAttributes:])) &^ AttrLogAppendTime
	if t == LogAppendTime {
		attributes |= AttrLogAppendTime
	}
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(maxTimestampMs))
	sealCRC(b)
}

func sealCRC(b []byte) {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}

// putHeader writes h over the first HeaderSize bytes of b, one whole batch,
// and computes length and CRC from b.
func putHeader(b []byte, h *Header) {
	binary.BigEndian.PutUint64(b, uint64(h.BaseOffset))
	binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-LogOverhead))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(h.LeaderEpoch))
	b[posMagic] = Magic
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(h.Attributes))
	binary.BigEndian.PutUint32(b[posLastOffsetDelta:], uint32(h.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[posBaseTimestamp:], uint64(h.BaseTimestampMs))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(h.MaxTimestampMs))
	binary.BigEndian.PutUint64(b[posProducerID:], uint64(h.ProducerID))
	binary.BigEndian.PutUint16(b[posProducerEpoch:], uint16(h.ProducerEpoch))
	binary.BigEndian.PutUint32(b[posBaseSequence:], uint32(h.BaseSequence))
	binary.BigEndian.PutUint32(b[posCount:], uint32(h.Count))
	sealCRC(b)
}
