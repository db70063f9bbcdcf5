// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
)

// gappy makes a log whose segments do not follow each other, as compaction
// leaves them, on a topic that is no longer compacted.
func gappy(t *testing.T) *bed {
	b := memoryBed(t)
	b.o.Config = Config{SegmentBytes: 100} // of one batch each
	b.mustOpen()
	for _, base := range []kafka.Offset{0, 10, 20} {
		s := plain(2, 1000)
		s.base = base
		if a := b.append(s, 0, OriginReplica); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	return b
}

func (b *bed) wantBases(want ...kafka.Offset) {
	b.t.Helper()
	list, err := b.readAll(0, 1<<20, ToLogEnd)
	if err != nil || len(list) != len(want) {
		b.t.Fatalf("%d batches, want %d; %v", len(list), len(want), err)
	}
	for i, h := range list {
		if h.BaseOffset != want[i] {
			b.t.Fatalf("batch %d is at %d, want %d", i, h.BaseOffset, want[i])
		}
	}
}

// What was durable before the crash has no holes, only gaps.
func TestGapsOfCompactionAreNoHoles(t *testing.T) {
	t.Run("stopped cleanly, last index damaged", func(t *testing.T) {
		b := gappy(t)
		b.stop(false)
		name := segment.Name(20, segment.LogSuffix)
		f, err := b.fs.Open(b.o.Dir+"/"+name, vfs.ReadWrite, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		if _, err := f.WriteAt([]byte("torn"), size); err != nil {
			t.Fatal(err)
		}
		b.mustOpen()
		b.wantBases(0, 10, 20)
	})
	t.Run("somebody wrote to it since the clean stop", func(t *testing.T) {
		b := gappy(t)
		b.stop(true)
		b.o.Hint.LastModTimeNano++
		b.o.RecoveryPoint = 0
		b.mustOpen()
		b.wantBases(0, 10, 20)
	})
	t.Run("crash, below the recovery point", func(t *testing.T) {
		b := gappy(t)
		if err := b.l.Flush(); err != nil {
			t.Fatal(err)
		}
		b.crash()
		b.mustOpen()
		b.wantBases(0, 10, 20)
	})
	t.Run("crash, above the recovery point", func(t *testing.T) {
		b := gappy(t)
		b.crash()
		b.mustOpen()
		b.wantBases(0)
	})
}

// A topic that was compacted, and is so no longer, keeps what lies behind its
// gaps: offsets that are missing inside any file or batch tell of it. A crash
// takes the end of a file, never its middle.
func TestCrashBehindCompactionOfLongAgo(t *testing.T) {
	for name, c := range map[string]struct {
		bases  []kafka.Offset // of batches of two records, four to a file
		holes  bool           // the first batch had four
		behind bool           // the gap is kept
	}{
		"a gap in a file":                 {bases: []kafka.Offset{0, 4, 6, 8, 20, 22}, behind: true},
		"a gap where a file begins":       {bases: []kafka.Offset{3, 5, 7, 9, 20, 22}, behind: true},
		"a gap in a later file":           {bases: []kafka.Offset{0, 2, 4, 6, 20, 22, 26, 28}, behind: true},
		"a gap in a batch":                {bases: []kafka.Offset{0, 4, 6, 8, 20, 22}, holes: true, behind: true},
		"none: the end of a file is lost": {bases: []kafka.Offset{0, 2, 4, 6, 20, 22}},
	} {
		t.Run(name, func(t *testing.T) {
			b := memoryBed(t)
			b.o.Config = Config{SegmentBytes: int32(4 * len(plain(2, 1000).build()))}
			b.mustOpen()
			for i, base := range c.bases {
				s := plain(2, 1000)
				s.base = base
				batches := s.build()
				if c.holes && i == 0 {
					binary.BigEndian.PutUint32(batches[23:], 3) // last offset delta
					binary.BigEndian.PutUint32(batches[17:], crc32.Checksum(batches[21:], crc32.MakeTable(crc32.Castagnoli)))
				}
				a := Append{Batches: batches, Origin: OriginReplica, ExpectedEpoch: kafka.NoLeaderEpoch}
				if b.l.Append(&a, 0); a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			b.crash()
			b.o.RecoveryPoint = 0 // as after kill -9 of Kafka, which notes it once a minute
			b.mustOpen()
			want := c.bases
			if !c.behind {
				want = want[:4]
			}
			b.wantBases(want...)
		})
	}
}

// The last batch of a closed segment has none behind it that bears out its base
// offset, and a next segment that does: it is the batch that is wrong, not where
// the next segment begins.
func TestBaseOffsetOfTheLastBatchOfASegment(t *testing.T) {
	size := int64(len(plain(1, 1000).build()))
	for _, flushed := range []kafka.Offset{0, 2, 3, 4} {
		for bit := range 64 {
			b := memoryBed(t)
			b.o.Config = Config{SegmentBytes: int32(3 * size)}
			b.mustOpen()
			for range 8 {
				b.mustAppend(plain(1, 1000))
			}
			b.crash()
			b.o.RecoveryPoint = flushed
			b.flip(logZero, 2*size+int64(bit/8), bit%8)
			b.mustOpen()
			there, corrupt := b.offsets()
			want, wantCorrupt := "[0 1]", "[]"
			if flushed > 2 {
				want, wantCorrupt = "[0 1 3 4 5 6 7]", "[2]"
			}
			if fmt.Sprint(there) != want || fmt.Sprint(corrupt) != wantCorrupt {
				t.Errorf("flushed to %d, bit %d: there %v, corrupt %v", flushed, bit, there, corrupt)
			}
			b.l.Kill()
		}
	}
}

// A closed segment that ends where the next one begins has lost nothing,
// whatever lies behind its last batch.
func TestGarbageBehindAClosedSegment(t *testing.T) {
	b := memoryBed(t).mustOpen()
	for i := range 3 {
		if i > 0 {
			if err := b.l.Roll(); err != nil {
				t.Fatal(err)
			}
		}
		b.mustAppend(plain(2, 1000))
	}
	b.crash()
	f, err := b.fs.Open(b.o.Dir+"/"+segment.Name(2, segment.LogSuffix), vfs.ReadWrite, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	if _, err := f.WriteAt(make([]byte, 4096), size); err != nil {
		t.Fatal(err)
	}
	b.mustOpen()
	b.wantBases(0, 2, 4)
	b.stop(false)
	if after, _ := f.Size(); after != size {
		t.Fatalf("%d bytes, want %d", after, size)
	}
	b.mustOpen()
	b.wantBases(0, 2, 4)
}

// A log whose last segment has got no batch yet, and so no file, is as the
// clean stop left it.
func TestStopBehindARoll(t *testing.T) {
	b := memoryBed(t)
	b.mustOpen()
	b.mustAppend(plain(2, 1000))
	if err := b.l.Roll(); err != nil {
		t.Fatal(err)
	}
	b.stop(true)
	var said strings.Builder
	b.o.Logger = slog.New(slog.NewTextHandler(&said, nil))
	b.mustOpen()
	b.wantBases(0)
	if a := b.mustAppend(plain(1, 1000)); a.BaseOffset != 2 || said.Len() > 0 {
		t.Fatalf("the next record has offset %d; %s", a.BaseOffset, said.String())
	}
}
