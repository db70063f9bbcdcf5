// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"log/slog"
	"strings"
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

// A crash may take a log start inside a batch back. The leader epochs, which were
// cut with it, are whole again without a word of damage.
func TestDeleteRecordsInsideABatchThenCrash(t *testing.T) {
	for _, epochs := range []int{1, 2} {
		b := memoryBed(t).mustOpen()
		for e := range epochs {
			for range 2 {
				if a := b.append(plain(10, 1), kafka.LeaderEpoch(3+e), OriginClient); a.Err != nil {
					t.Fatal(a.Err)
				}
			}
		}
		b.l.AdvanceHighWatermark(b.l.Tail().LogEnd)
		want := b.get(epochsFile)
		if err := b.l.DeleteRecords(15); err != nil {
			t.Fatal(err)
		}
		if string(b.get(epochsFile)) == string(want) {
			t.Fatal("the epochs were not cut")
		}
		b.crash()
		b.o.LogStart = 0
		var said strings.Builder
		b.o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		b.mustOpen()
		if got := b.get(epochsFile); string(got) != string(want) {
			t.Errorf("%d epochs: %q, want %q", epochs, got, want)
		}
		if said.Len() > 0 {
			t.Errorf("%d epochs: %s", epochs, &said)
		}
	}
}
