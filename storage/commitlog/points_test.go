// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"slices"
	"testing"

	"gregor/base/kafka"
)

// Point 32: who reads committed records gets what is below the last stable
// offset, not the high watermark, and the aborted transactions of it, sorted by
// their first offsets in whatever order they ended.
func TestPoint32ReadCommitted(t *testing.T) {
	b := memoryBed(t)
	b.mustOpen()
	append1 := func(pid kafka.ProducerID, seq int32, marker string) {
		t.Helper()
		s := spec{n: 1, ts: b.now.UnixMilli(), pid: pid, seq: seq, txn: marker == "", marker: marker}
		origin := OriginClient
		if marker != "" {
			s.seq, origin = -1, OriginCoordinator
		}
		if a := b.append(s, 0, origin); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	for i, pid := range []kafka.ProducerID{7, 8, 9, 7} { // at 0, 1, 2, 3
		append1(pid, int32(i/3), "")
	}
	stable := func(want int64) {
		t.Helper()
		b.l.AdvanceHighWatermark(b.l.Tail().LogEnd)
		if got := int64(b.l.Tail().LastStable); got != want {
			t.Fatalf("last stable offset %d, want %d", got, want)
		}
		list, err := b.readAll(0, 1<<20, ToLastStable)
		if err != nil || len(list) != int(want) {
			t.Fatalf("%d batches below %d: %v", len(list), want, err)
		}
		if all, err := b.readAll(0, 1<<20, ToHighWatermark); err != nil || len(all) != int(b.l.Tail().LogEnd) {
			t.Fatalf("uncommitted: %d batches, %v", len(all), err)
		}
	}
	stable(0)
	append1(9, 0, "abort") // 4
	append1(8, 0, "abort") // 5
	stable(0)
	append1(7, 0, "abort") // 6
	stable(7)
	aborted := func(want ...AbortedTxn) {
		t.Helper()
		r, err := b.l.Read(nil, 0, 1<<20, ToLastStable, true)
		if err != nil {
			t.Fatal(err)
		}
		r.File.Src.Release()
		if !slices.Equal(r.Aborted, want) {
			t.Errorf("aborted %+v, want %+v", r.Aborted, want)
		}
	}
	aborted(AbortedTxn{ProducerID: 7, FirstOffset: 0}, AbortedTxn{ProducerID: 8, FirstOffset: 1}, AbortedTxn{ProducerID: 9, FirstOffset: 2})
	append1(8, 1, "") // 7, committed at 8
	append1(8, 0, "commit")
	stable(9)
	aborted(AbortedTxn{ProducerID: 7, FirstOffset: 0}, AbortedTxn{ProducerID: 8, FirstOffset: 1}, AbortedTxn{ProducerID: 9, FirstOffset: 2})
}
