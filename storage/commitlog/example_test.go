// SPDX-License-Identifier: Apache-2.0

package commitlog_test

import (
	"fmt"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// A leader appends a batch, its followers have it, a consumer reads it.
func Example() {
	fs := vfs.NewMemory()
	log, err := commitlog.Open(commitlog.Options{
		FS: fs, Files: segment.NewFiles(fs, 100), Dir: "/data/orders-0", Now: time.Now,
		TopicPartition: kafka.TopicPartition{Topic: "orders"}, TopicID: kafka.TopicID{1},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	b.Add(1000, []byte("key"), []byte("value"))
	b.Add(1001, []byte("key"), []byte("another"))
	records, _ := b.Finish(nil, nil)

	const epoch = 4
	a := commitlog.Append{Batches: records, Origin: commitlog.OriginClient, ExpectedEpoch: epoch}
	log.Append(&a, epoch) // on the partition's lane
	fmt.Println("appended", a.BaseOffset, "to", a.LastOffset, a.Err)

	var c commitlog.Cursor
	r, _ := log.Read(&c, 0, 1<<20, commitlog.ToHighWatermark, true)
	fmt.Println("before it is committed:", r.File.LenBytes, "bytes")
	log.AdvanceHighWatermark(2)
	r, _ = log.Read(&c, 0, 1<<20, commitlog.ToHighWatermark, true)
	fmt.Println("then:", r.File.LenBytes == len(records), "and the next read begins at", r.Next)
	r.File.Src.Release()

	found, _ := log.OffsetForTime(1001)
	fmt.Println("time 1001 is at offset", found.Offset, "of epoch", found.Epoch)
	// Output:
	// appended 0 to 1 <nil>
	// before it is committed: 0 bytes
	// then: true and the next read begins at 2
	// time 1001 is at offset 1 of epoch 4
}
