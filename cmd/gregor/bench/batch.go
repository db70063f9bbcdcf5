// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cmd/gregor/codec"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseCodec names a codec's compressor; none is nil.
func parseCodec(name string) (kgo.Compressor, error) {
	if name == "none" {
		return nil, nil
	}
	chosen, ok := codec.Of(name)
	if !ok {
		return nil, fmt.Errorf("codec %q: none, gzip, snappy, lz4 or zstd", name)
	}
	return kgo.DefaultCompressor(chosen)
}

// payload fills a value: words that repeat and numbers that do not, so that a
// codec finds about what it finds in a log file.
func payload(value []byte, seed uint64) {
	const words = "GET /orders/items?page= 200 OK user-agent=client session="
	for i := 0; i < len(value); {
		i += copy(value[i:], words)
		seed += 0x9e3779b97f4a7c15 // splitmix64
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		i += copy(value[i:], fmt.Sprintf("%016x", z^z>>31))
	}
}

// encodedBatch is a record batch ready to be sent any number of times.
type encodedBatch struct {
	bytes       []byte
	records     int
	recordBytes int64 // of values, before compression
}

const batchHeaderBytes = 61

// encodeBatch packs records of one size until the batch has the wanted size;
// it holds at least one.
func encodeBatch(batchBytes, recordBytes int, codecName string, now time.Time) (encodedBatch, error) {
	compressor, err := parseCodec(codecName)
	if err != nil {
		return encodedBatch{}, err
	}
	var records []byte
	count := 0
	value := make([]byte, recordBytes)
	for {
		payload(value, uint64(count))
		one := appendRecord(nil, int32(count), value)
		if count > 0 && batchHeaderBytes+len(records)+len(one) > batchBytes {
			break
		}
		records = append(records, one...)
		count++
	}
	var attributes int16
	if compressor != nil {
		var kind kgo.CompressionCodecType
		records, kind = compressor.Compress(new(bytes.Buffer), records)
		attributes = int16(kind)
	}
	batch := kmsg.RecordBatch{
		Length: int32(batchHeaderBytes - 12 + len(records)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes,
		LastOffsetDelta: int32(count - 1), FirstTimestamp: now.UnixMilli(), MaxTimestamp: now.UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(count), Records: records,
	}
	encoded := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(encoded[17:], crc32.Checksum(encoded[21:], castagnoli))
	return encodedBatch{bytes: encoded, records: count, recordBytes: int64(count) * int64(recordBytes)}, nil
}

func appendRecord(dst []byte, offsetDelta int32, value []byte) []byte {
	r := kmsg.Record{OffsetDelta: offsetDelta, Value: value}
	// The length is written before the rest and counts it without itself; one
	// byte stands for it while it is zero.
	r.Length = int32(len(r.AppendTo(nil)) - 1)
	return r.AppendTo(dst)
}
