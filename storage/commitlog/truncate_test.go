// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
)

// A truncation to an offset that no batch begins at leaves nothing that a start
// would take for lost records: what is acknowledged behind it outlives the
// process, what a power cut tears of that is torn, and a clean stop is one.
func TestTruncationToWhereNoBatchBegins(t *testing.T) {
	size := int64(len(plain(2, 1000).build()))
	for _, c := range []struct {
		name    string
		bases   []kafka.Offset // of batches of two records
		start   kafka.Offset   // the log start, which is durable if it is not forgotten
		forget  bool
		to, end kafka.Offset
	}{
		{name: "inside a batch", bases: []kafka.Offset{0, 2, 4}, to: 3, end: 2},
		{name: "inside the first batch", bases: []kafka.Offset{0, 2, 4}, to: 1, end: 0},
		{name: "inside a batch that reaches over the log start", bases: []kafka.Offset{0, 2, 4}, start: 3, to: 3, end: 2},
		{name: "inside a batch that reaches over a log start that a crash takes back", bases: []kafka.Offset{0, 2, 4}, start: 3, forget: true, to: 3, end: 2},
		{name: "inside a gap", bases: []kafka.Offset{0, 2, 14}, to: 9, end: 4},
		{name: "behind a gap", bases: []kafka.Offset{0, 2, 14}, to: 15, end: 4},
	} {
		for _, way := range []string{"kill", "kill of two batches", "tear", "tear of the first of two", "stop", "stop, no hint", "stop of what was appended"} {
			t.Run(c.name+", "+way, func(t *testing.T) {
				var said strings.Builder
				b := memoryBed(t)
				b.o.Logger = slog.New(slog.NewTextHandler(&said, nil))
				b.mustOpen()
				for _, base := range c.bases {
					s := plain(2, 1000)
					s.base = base
					if a := b.append(s, 0, OriginReplica); a.Err != nil {
						t.Fatal(a.Err)
					}
				}
				b.l.AdvanceHighWatermark(b.l.Tail().LogEnd)
				if err := b.l.AdvanceLogStart(c.start); err != nil {
					t.Fatal(err)
				}
				if err := b.l.TruncateTo(c.to); err != nil {
					t.Fatal(err)
				}
				tail := b.l.Tail()
				if tail.LogEnd != c.end || tail.LogStart != min(c.start, c.end) || tail.SizeBytes != int64(c.end/2)*size {
					t.Fatalf("%+v", tail)
				}
				first, batches, kept := tail.LogEnd, 0, 0
				switch way {
				case "kill", "stop of what was appended":
					batches, kept = 1, 1
				case "kill of two batches":
					batches, kept = 2, 2
				case "tear":
					batches = 1
				case "tear of the first of two":
					batches = 2
				}
				for range batches {
					b.mustAppend(plain(2, 1000))
				}
				if strings.HasPrefix(way, "stop") {
					b.stop(way != "stop, no hint")
				} else {
					b.crash()
					b.o.RecoveryPoint = min(b.o.RecoveryPoint, tail.Flushed)
					if c.forget {
						b.o.LogStart = 0
					}
				}
				if kept < batches {
					b.flip(logZero, b.size(logZero)-int64(batches)*size+16, 1) // magic 0
				}
				for round := range 2 {
					b.mustOpen()
					after := b.l.Tail()
					if want := first + kafka.Offset(2*kept); after.LogEnd != want {
						t.Fatalf("round %d: the log ends at %d, want %d; %s", round, after.LogEnd, want, said.String())
					}
					if there, corrupt := b.offsets(); len(corrupt) > 0 || len(there) != int(after.LogEnd-after.LogStart) {
						t.Fatalf("round %d: there %v, corrupt %v; %s", round, there, corrupt, said.String())
					}
					if a := b.mustAppend(plain(2, 1000)); a.BaseOffset != after.LogEnd {
						t.Fatalf("round %d: the next record has offset %d", round, a.BaseOffset)
					}
					kept++
					if round == 0 && said.Len() > 0 && strings.HasPrefix(way, "stop") {
						t.Fatal(said.String())
					}
					b.crash()
				}
			})
		}
	}
}

func (b *bed) size(name string) int64 {
	b.t.Helper()
	f, err := b.fs.Open(b.o.Dir+"/"+name, vfs.ReadOnly, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		b.t.Fatal(fmt.Errorf("size of %s: %w", name, err))
	}
	return size
}

// What damage took keeps its offsets over a truncation behind it, and loses them to
// one inside of it.
func TestTruncationBesideDamage(t *testing.T) {
	size := int64(len(plain(1, 1000).build()))
	for _, c := range []struct {
		to            kafka.Offset
		there, broken string
	}{
		{4, "[0 1 3 4]", "[2]"},
		{3, "[0 1 3]", "[2]"},
		{2, "[0 1 2]", "[]"},
	} {
		for _, known := range []bool{true, false} {
			for _, before := range []bool{true, false} { // the next record is written before the crash
				b := damaged(t, true)
				b.crash()
				b.flip(logZero, 2*size+20, 1)
				b.mustOpen()
				if known {
					if _, corrupt := b.offsets(); fmt.Sprint(corrupt) != "[2]" {
						t.Fatal(corrupt)
					}
				}
				if err := b.l.TruncateTo(c.to); err != nil {
					t.Fatal(err)
				}
				if end := b.l.Tail().LogEnd; end != c.to {
					t.Fatalf("truncated to %d, known %v: the log ends at %d", c.to, known, end)
				}
				if before {
					b.mustAppend(plain(1, 1000))
				}
				b.crash()
				b.mustOpen()
				if !before {
					b.mustAppend(plain(1, 1000))
				}
				if there, corrupt := b.offsets(); fmt.Sprint(there) != c.there || fmt.Sprint(corrupt) != c.broken {
					t.Errorf("truncated to %d, known %v, written before the crash %v: there %v, corrupt %v", c.to, known, before, there, corrupt)
				}
				b.l.Kill()
			}
		}
	}
}

// Whatever bit of a batch's header flipped, and whoever has not read it yet: next to
// a truncation it neither takes the offset of what is appended then, nor has a
// recovery cut that.
func TestTruncationBesideADamagedHeader(t *testing.T) {
	size := int64(len(plain(1, 1000).build()))
	for bit := range 8 * batch.HeaderSize {
		for _, to := range []kafka.Offset{2, 3, 4} {
			b := memoryBed(t)
			b.o.Config = Config{IndexIntervalBytes: 1}
			b.mustOpen()
			for range 6 {
				b.mustAppend(plain(1, 1000))
			}
			b.stop(false)
			b.flip(logZero, 2*size+int64(bit/8), bit%8)
			b.mustOpen()
			if err := b.l.TruncateTo(to); err != nil {
				t.Fatal(err)
			}
			b.mustAppend(plain(1, 2000))
			b.crash()
			b.mustOpen()
			there, corrupt := b.offsets()
			if end := b.l.Tail().LogEnd; end != to+1 || len(there)+len(corrupt) != int(end) || to == 2 && len(corrupt) > 0 {
				t.Fatalf("bit %d, truncated to %d: the log ends at %d, there %v, corrupt %v", bit, to, end, there, corrupt)
			}
			if list, err := b.readAll(to, 1<<20, ToLogEnd); err != nil || len(list) != 1 || list[0].BaseOffset != to || list[0].MaxTimestampMs != 2000 {
				t.Fatalf("bit %d, truncated to %d: %+v, %v", bit, to, list, err)
			}
			b.l.Kill()
		}
	}
}
