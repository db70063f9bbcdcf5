// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// BenchmarkAppend appends one batch at a time to a real file system.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			bed := newBed(b, vfs.OS{}, b.TempDir()+"/t-0")
			bed.o.Config.SegmentBytes = 256 << 20
			bed.mustOpen()
			defer bed.l.Kill()
			s := plain(1, 1)
			s.size = size - 75
			batches := s.build()
			a := &Append{Batches: batches, ExpectedEpoch: kafka.NoLeaderEpoch}
			b.SetBytes(int64(len(batches)))
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				bed.l.Append(a, 1)
				if a.Err != nil {
					b.Fatal(a.Err)
				}
				if end := bed.l.tail.LogEnd; bed.l.tail.SizeBytes > 512<<20 {
					b.StopTimer()
					bed.l.AdvanceHighWatermark(end)
					if _, err := bed.l.DropSegments(end); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkReadSequential reads a log that this process wrote from end to end,
// without touching the bytes themselves.
func BenchmarkReadSequential(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			bed := newBed(b, vfs.OS{}, b.TempDir()+"/t-0")
			bed.o.Config.SegmentBytes = 32 << 20
			bed.mustOpen()
			defer bed.l.Kill()
			s := plain(1, 1)
			s.size = size - 75
			batches := s.build()
			for range (128 << 20) / size {
				bed.l.Append(&Append{Batches: batches, ExpectedEpoch: kafka.NoLeaderEpoch}, 1)
			}
			bed.l.AdvanceHighWatermark(kafka.Offset(1 << 40))
			b.ReportAllocs()
			b.SetBytes(1 << 20)
			var c Cursor
			from := kafka.Offset(0)
			b.ResetTimer()
			for b.Loop() {
				r, err := bed.l.Read(&c, from, 1<<20, ToHighWatermark, true)
				if err != nil {
					b.Fatal(err)
				}
				from = r.Next
				if r.File.LenBytes == 0 {
					from = 0
					continue
				}
				r.File.Src.Release()
			}
		})
	}
}
