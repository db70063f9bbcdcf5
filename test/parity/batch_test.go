// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/compress"
)

// epochMs is when all records are from, unless they say otherwise: long enough
// ago that nobody takes it for a time of the run.
const epochMs = 1_600_000_000_000

// spec is a batch to be built, good or bad. The zero value is a batch of one
// record.
type spec struct {
	records    int   // 0: one
	value      int   // bytes of each value; 0: 10
	keyless    bool  //
	nullValue  bool  //
	timestamp  int64 // 0: epochMs
	step       int64 // between the timestamps of two records
	attributes int16
	codec      compress.Codec
	producer   int64 // 0: none
	epoch      int16
	sequence   int32
	headers    int
	// what is said wrongly, each as a change of the right value
	lastDelta, count, length, recordLength, keyLength, headerCount int32
	offsetStep                                                     int32 // of the records' offset deltas; 0: 1
	recordAttributes                                               int8
	maxTimestamp                                                   *int64
	baseTimestamp                                                  *int64
	magic                                                          int8 // added to 2
	crc                                                            uint32
	baseOffset                                                     int64
	leaderEpoch                                                    int32
	text                                                           []byte // instead of the records
	noRecords                                                      bool
	behind                                                         []byte // bytes behind the last record, inside the batch
}

// of builds batches one behind the other.
func of(specs ...spec) []byte {
	b := []byte{}
	for i := range specs {
		b = specs[i].appendTo(b)
	}
	return b
}

func (s spec) appendTo(dst []byte) []byte {
	count := max(s.records, 1)
	if s.noRecords {
		count = 0
	}
	first := s.timestamp
	if first == 0 {
		first = epochMs
	}
	last := first + int64(max(count-1, 0))*s.step
	var records []byte
	for i := range count {
		records = s.record(records, i)
	}
	records = append(records, s.behind...)
	if s.text != nil {
		records = s.text
	}
	attributes := s.attributes
	if s.codec != compress.None {
		attributes |= int16(s.codec)
		var coder compress.Coder
		packed, err := coder.Compress(nil, s.codec, s.codec.DefaultLevel(), records)
		if err != nil {
			panic(err)
		}
		records = packed
	}
	producer, epoch, sequence := int64(-1), int16(-1), int32(-1)
	if s.producer != 0 {
		producer, epoch, sequence = s.producer, s.epoch, s.sequence
	}
	base, highest := first, max(first, last)
	if s.baseTimestamp != nil {
		base = *s.baseTimestamp
	}
	if s.maxTimestamp != nil {
		highest = *s.maxTimestamp
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(s.baseOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(49+len(records))+uint32(s.length))
	b = binary.BigEndian.AppendUint32(b, uint32(s.leaderEpoch))
	b = append(b, byte(2+s.magic))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(attributes))
	b = binary.BigEndian.AppendUint32(b, uint32(int32(count-1)+s.lastDelta))
	b = binary.BigEndian.AppendUint64(b, uint64(base))
	b = binary.BigEndian.AppendUint64(b, uint64(highest))
	b = binary.BigEndian.AppendUint64(b, uint64(producer))
	b = binary.BigEndian.AppendUint16(b, uint16(epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(sequence))
	b = binary.BigEndian.AppendUint32(b, uint32(int32(count)+s.count))
	b = append(b, records...)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli)^s.crc)
	return append(dst, b...)
}

func (s *spec) record(dst []byte, i int) []byte {
	size := s.value
	if size == 0 {
		size = 10
	}
	value := make([]byte, size)
	for j := range value {
		value[j] = byte('a' + (i+j/7)%26)
	}
	offsetStep := s.offsetStep
	if offsetStep == 0 {
		offsetStep = 1
	}
	b := []byte{byte(s.recordAttributes)}
	b = binary.AppendVarint(b, int64(i)*s.step)
	b = binary.AppendVarint(b, int64(i)*int64(offsetStep))
	if s.keyless {
		b = binary.AppendVarint(b, -1+int64(s.keyLength))
	} else {
		b = binary.AppendVarint(b, 3+int64(s.keyLength))
		b = append(b, 'k', byte('0'+i/10%10), byte('0'+i%10))
	}
	if s.nullValue {
		b = binary.AppendVarint(b, -1)
	} else {
		b = binary.AppendVarint(b, int64(size))
		b = append(b, value...)
	}
	b = binary.AppendVarint(b, int64(s.headers)+int64(s.headerCount))
	for h := range s.headers {
		b = binary.AppendVarint(b, 2)
		b = append(b, 'h', byte('0'+h))
		b = binary.AppendVarint(b, 1)
		b = append(b, 'v')
	}
	dst = binary.AppendVarint(dst, int64(len(b))+int64(s.recordLength))
	return append(dst, b...)
}

// producing makes a Produce request for one partition.
func producing(version int16, topic string, id [16]byte, partition int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, aMinute
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}}}}
	return req
}
