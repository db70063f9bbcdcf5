// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"testing"

	"gregor/base/kafka"
)

func inTxn(seq int32) spec { return spec{n: 1, ts: 1, size: 10, pid: 7, seq: seq, txn: true} }

// Where deletion took the beginning of an open transaction, readers of
// committed records stand at the log start, not below it.
func TestDeleteRecordsInAnOpenTransaction(t *testing.T) {
	b := memoryBed(t).mustOpen()
	for i := range int32(5) {
		b.mustAppend(inTxn(i))
	}
	b.l.AdvanceHighWatermark(5)
	if got := b.l.Tail().LastStable; got != 0 {
		t.Fatalf("last stable offset %d", got)
	}
	if err := b.l.DeleteRecords(3); err != nil {
		t.Fatal(err)
	}
	if tail := b.l.Tail(); tail.LogStart != 3 || tail.LastStable != 3 {
		t.Errorf("%+v", tail)
	}
	b.mustAppend(spec{n: 1, ts: 1, pid: 7, marker: "commit", seq: -1})
	b.l.AdvanceHighWatermark(6)
	if tail := b.l.Tail(); tail.LastStable != 6 {
		t.Errorf("after the commit: %+v", tail)
	}
}

// Room that cannot be had back is no reason to say that the records are there.
func TestDeleteRecordsOnAFailingDisk(t *testing.T) {
	b, fault := faultyBed(t)
	b.o.Config = Config{SegmentBytes: 100}
	b.mustOpen()
	for range 5 {
		b.mustAppend(plain(1, 1))
	}
	b.l.AdvanceHighWatermark(5)
	if err := b.l.DeleteRecords(6); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Fatalf("beyond the high watermark: %v", err)
	}
	fault.SetBudget(0) // a full disk
	if err := b.l.DeleteRecords(5); err != nil {
		t.Fatal(err)
	}
	if tail := b.l.Tail(); tail.LogStart != 5 || tail.LogEnd != 5 {
		t.Errorf("%+v", tail)
	}
	if _, err := b.readAll(2, 1<<20, ToLogEnd); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("read below the log start: %v", err)
	}
	fault.Clear()
	if a := b.mustAppend(plain(1, 1)); a.BaseOffset != 5 || a.LogStart != 5 {
		t.Errorf("%+v", a)
	}
	b.crash()
	b.mustOpen()
	if tail := b.l.Tail(); tail.LogStart != 5 || tail.LogEnd != 6 {
		t.Errorf("after a crash: %+v", tail)
	}
	if _, err := b.o.FS.Stat(b.o.Dir + "/00000000000000000000.log"); err == nil {
		t.Error("the first segment is still there")
	}
}
