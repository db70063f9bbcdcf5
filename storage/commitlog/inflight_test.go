// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"testing"

	"gregor/base/kafka"
	"gregor/storage/prodstate"
)

// A producer may have five batches in flight. When the node dies after it has
// written them and before it has answered, all five come again, oldest first,
// and none may be doubled or refused, wherever segments were rolled and
// snapshots written in between.
func TestBatchesInFlightAreKnownAfterARestart(t *testing.T) {
	for _, segmentBytes := range []int32{100, 250, 400, 1 << 20} {
		for _, way := range []string{"crash", "crash after a flush", "stop", "stop, no hint", "stop, then crash", "truncation"} {
			t.Run(fmt.Sprintf("%s, segments of %d bytes", way, segmentBytes), func(t *testing.T) {
				b := memoryBed(t)
				b.o.Config = Config{SegmentBytes: segmentBytes}
				b.mustOpen()
				const producers = 3
				batchOf := func(pid, seq int) spec {
					s := plain(1, b.now.UnixMilli())
					s.pid, s.pepoch, s.seq = kafka.ProducerID(pid), 0, int32(seq)
					return s
				}
				const older = 7
				for seq := range older {
					for pid := range producers {
						b.mustAppend(batchOf(pid, seq))
					}
				}
				var want [producers][prodstate.BatchesKept]Append
				for i := range prodstate.BatchesKept {
					for pid := range producers {
						want[pid][i] = b.mustAppend(batchOf(pid, older+i))
					}
				}
				end := b.l.Tail().LogEnd
				switch way {
				case "crash":
					b.crash()
				case "crash after a flush":
					if err := b.l.Flush(); err != nil {
						t.Fatal(err)
					}
					b.crash()
				case "stop":
					b.stop(true)
				case "stop, no hint":
					b.stop(false)
				case "stop, then crash":
					b.stop(true)
					b.mustOpen()
					b.crash()
				case "truncation":
					b.mustAppend(plain(1, b.now.UnixMilli()))
					if err := b.l.TruncateTo(end); err != nil {
						t.Fatal(err)
					}
				}
				if way != "truncation" {
					b.mustOpen()
				}
				for i := range prodstate.BatchesKept {
					for pid := range producers {
						a := b.append(batchOf(pid, older+i), 0, OriginClient)
						if a.Err != nil || !a.Duplicate || a.BaseOffset != want[pid][i].BaseOffset {
							t.Fatalf("producer %d repeats batch %d: offset %d, duplicate %v, %v; want offset %d",
								pid, older+i, a.BaseOffset, a.Duplicate, a.Err, want[pid][i].BaseOffset)
						}
					}
				}
				for pid := range producers {
					b.mustAppend(batchOf(pid, older+prodstate.BatchesKept))
				}
				if got := b.l.Tail().LogEnd; got != end+producers {
					t.Fatalf("log ends at %d, want %d", got, end+producers)
				}
			})
		}
	}
}
