// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"fmt"
	"testing"

	"gregor/wire/compress"
)

// sized is a batch of about bytes in records of recordBytes.
func sized(b *testing.B, codec compress.Codec, bytes, recordBytes int) []byte {
	c := good(codec)
	c.records, c.h.Count = nil, int32(bytes/recordBytes)
	c.h.LastOffsetDelta = c.h.Count - 1
	value := []byte(text(recordBytes))
	for i := range c.h.Count {
		c.records = append(c.records, raw{timestamp: 100, offset: i, key: []byte("key"), value: value})
	}
	return c.encode(b)
}

func BenchmarkVerifyCRC(b *testing.B) {
	data := sized(b, compress.None, 1<<20, 1000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := VerifyCRC(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClient validates 1 MiB of records, counted before compression.
func BenchmarkClient(b *testing.B) {
	for _, recordBytes := range []int{100, 1000} {
		for _, codec := range codecs {
			for _, strict := range []bool{false, true} {
				data := sized(b, codec, 1<<20, recordBytes)
				r := standard()
				r.Strict, r.MessageBytesMax = strict, 4<<20
				v := NewValidator(&compress.Pool{}, recordErrorsMax)
				b.Run(fmt.Sprintf("%s/%dB/strict=%v", codec, recordBytes, strict), func(b *testing.B) {
					b.SetBytes(1 << 20)
					b.ReportAllocs()
					for b.Loop() {
						if _, _, err := v.Client(data, &r, 13, now); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}
