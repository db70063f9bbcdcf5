// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"testing"

	"gregor/base/kafka"
)

func TestAppendReadReopen(t *testing.T) {
	for _, hinted := range []bool{false, true} {
		b := memoryBed(t)
		b.o.Config = Config{SegmentBytes: 1000, IndexIntervalBytes: 100}
		b.mustOpen()
		for i := range 50 {
			a := b.mustAppend(plain(3, int64(1000+i*10)))
			if a.BaseOffset != kafka.Offset(i*3) || a.LastOffset != kafka.Offset(i*3+2) {
				t.Fatalf("append %d got offsets %d to %d", i, a.BaseOffset, a.LastOffset)
			}
		}
		check := func() {
			t.Helper()
			list, err := b.readAll(0, 250, ToLogEnd)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) != 50 {
				t.Fatalf("read %d batches, want 50", len(list))
			}
		}
		check()
		b.stop(hinted)
		b.mustOpen()
		if hinted && b.l.isLoaded() {
			t.Fatal("a hinted log was opened")
		}
		check()
		b.crash()
		b.mustOpen()
		check()
		if _, err := b.readAll(151, 100, ToLogEnd); !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Fatalf("read beyond the end: %v", err)
		}
	}
}
