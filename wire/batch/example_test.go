// SPDX-License-Identifier: Apache-2.0

package batch_test

import (
	"fmt"

	"gregor/wire/batch"
	"gregor/wire/compress"
)

// A batch is built, put where the log wants it, and read back.
func Example() {
	options := batch.NoProducer(0, 0)
	options.Codec, options.Level = compress.Zstd, compress.Zstd.DefaultLevel()
	var coder compress.Coder
	var builder batch.Builder
	builder.Begin(options)
	builder.Add(1000, []byte("key"), []byte("one"))
	builder.Add(1005, nil, []byte("two"), batch.RecordHeader{Key: []byte("trace"), Value: []byte("7")})
	b, err := builder.Finish(nil, &coder)
	if err != nil {
		panic(err)
	}

	batch.SetBaseOffset(b, 42)
	batch.SetLeaderEpoch(b, 3)
	h, err := batch.Parse(b)
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Count, "records at", h.BaseOffset, "to", h.LastOffset(), "in", h.Attributes.Codec(), "crc", batch.VerifyCRC(b))

	it, _, err := batch.Open(&h, b, &coder, nil, 1<<20)
	if err != nil {
		panic(err)
	}
	for record := (batch.Record{}); it.Next(&record); {
		fmt.Printf("%d %d %q=%q\n", record.Offset, record.TimestampMs, record.Key, record.Value)
		for header := range record.Headers() {
			fmt.Printf("  %s: %s\n", header.Key, header.Value)
		}
	}
	fmt.Println(it.Err())
	// Output:
	// 2 records at 42 to 43 in zstd crc <nil>
	// 42 1000 "key"="one"
	// 43 1005 ""="two"
	//   trace: 7
	// <nil>
}
