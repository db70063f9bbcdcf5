// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/scrub"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// flip changes one bit of a file in the log's folder.
func (b *bed) flip(name string, posBytes int64, bit int) {
	b.t.Helper()
	f, err := b.fs.Open(b.o.Dir+"/"+name, vfs.ReadWrite, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	var p [1]byte
	if _, err := f.ReadAt(p[:], posBytes); err != nil {
		b.t.Fatal(err)
	}
	p[0] ^= 1 << bit
	if _, err := f.WriteAt(p[:], posBytes); err != nil {
		b.t.Fatal(err)
	}
}

// offsets reads record by record from a log with damage: what is there, and
// what is CORRUPT_MESSAGE.
func (b *bed) offsets() (there, corrupt []kafka.Offset) {
	b.t.Helper()
	t := b.l.Tail()
	for off := t.LogStart; off < t.LogEnd; off++ {
		r, err := b.l.Read(nil, off, 1, ToLogEnd, true)
		if errors.Is(err, kafka.CorruptMessage) {
			corrupt = append(corrupt, off)
			continue
		}
		if err != nil {
			b.t.Fatalf("read of %d: %v", off, err)
		}
		p := make([]byte, r.File.LenBytes)
		if _, err := r.File.Src.ReadAt(p, r.File.PosBytes); err != nil {
			b.t.Fatal(err)
		}
		r.File.Src.Release()
		h, err := batch.Parse(p)
		if err == nil {
			err = batch.VerifyCRC(p[:h.SizeBytes()])
		}
		if err != nil || h.BaseOffset > off || h.LastOffset() < off {
			b.t.Fatalf("read of %d gave %d to %d: %v", off, h.BaseOffset, h.LastOffset(), err)
		}
		there = append(there, off)
	}
	return there, corrupt
}

// Six batches of one record and 72 bytes, from offset 0 on; the third begins at
// 144.
func damaged(t *testing.T, flushed bool) *bed {
	b := memoryBed(t).mustOpen()
	for range 6 {
		b.mustAppend(plain(1, 1000))
	}
	if flushed {
		if err := b.l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

const logZero = "00000000000000000000.log"

// Below the recovery point damage takes nothing with it that is good, and above
// it the log is cut, as Kafka cuts it.
func TestDamageBelowAndAboveTheRecoveryPoint(t *testing.T) {
	size := int64(len(plain(1, 1000).build()))
	for _, c := range []struct {
		name    string
		flushed bool
		stopped bool
		batch   int64
		pos     int64
		corrupt []kafka.Offset
		end     kafka.Offset
	}{
		{"above, in records", false, false, 2, size - 3, nil, 2},
		{"above, in the length", false, false, 2, 10, nil, 2},
		{"below, in records", true, false, 2, size - 3, []kafka.Offset{2}, 6},
		{"below, in the length", true, false, 2, 10, []kafka.Offset{2}, 6},
		{"below, in the high bits of the length", true, false, 2, 8, []kafka.Offset{2}, 6},
		{"below, in the magic", true, false, 0, 16, []kafka.Offset{0}, 6},
		{"below, in the last batch", true, false, 5, 16, []kafka.Offset{5}, 6},
		{"stopped, in records", true, true, 2, size - 3, []kafka.Offset{2}, 6},
		{"stopped, in the magic", true, true, 2, 16, []kafka.Offset{2}, 6},
		{"stopped, in the last batch", true, true, 5, 16, []kafka.Offset{5}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := damaged(t, c.flushed)
			if c.stopped {
				b.stop(false)
			} else {
				b.crash()
			}
			b.flip(logZero, c.batch*size+c.pos, 2)
			for round := range 3 {
				b.mustOpen()
				there, corrupt := b.offsets()
				if fmt.Sprint(corrupt) != fmt.Sprint(c.corrupt) || len(there)+len(corrupt) != int(c.end) {
					t.Fatalf("round %d: there %v, corrupt %v; want %v, end %d", round, there, corrupt, c.corrupt, c.end)
				}
				if round == 0 {
					if a := b.mustAppend(plain(1, 1000)); a.BaseOffset != c.end {
						t.Fatalf("the next record has offset %d", a.BaseOffset)
					}
					c.end++
				}
				b.stop(round == 1)
			}
		})
	}
}

// A recovery point that nobody knows any more makes no gap a hole, and damage in
// the middle hides nothing.
func TestRecoveryPointThatIsNotKnown(t *testing.T) {
	t.Run("gaps", func(t *testing.T) {
		b := gappy(t)
		b.crash()
		b.o.RecoveryPoint, b.o.RecoveryPointLost = 0, true
		b.mustOpen()
		b.wantBases(0, 10, 20)
	})
	t.Run("damage", func(t *testing.T) {
		b := damaged(t, true)
		b.crash()
		b.flip(logZero, 2*int64(len(plain(1, 1000).build()))+20, 1)
		b.o.RecoveryPoint, b.o.RecoveryPointLost = 0, true
		b.mustOpen()
		if there, corrupt := b.offsets(); len(there) != 5 || len(corrupt) != 1 {
			t.Fatal(there, corrupt)
		}
	})
	t.Run("torn tail", func(t *testing.T) {
		b := damaged(t, true)
		b.crash()
		b.flip(logZero, 5*int64(len(plain(1, 1000).build()))+20, 1)
		b.o.RecoveryPoint, b.o.RecoveryPointLost = 0, true
		b.mustOpen()
		if there, corrupt := b.offsets(); len(there) != 5 || len(corrupt) != 0 {
			t.Fatal(there, corrupt)
		}
	})
}

// Bytes that look like a batch inside a record are not taken for one.
func TestBatchInsideARecordIsNoBatch(t *testing.T) {
	b := memoryBed(t).mustOpen()
	inner := plain(1, 5)
	inner.base = 1
	outer := plain(1, 1000)
	outer.value = "...." + string(inner.build()) + "...."
	b.mustAppend(plain(1, 1000))
	b.mustAppend(outer)
	b.mustAppend(plain(1, 1000))
	if err := b.l.Flush(); err != nil {
		t.Fatal(err)
	}
	b.crash()
	b.flip(segment.Name(0, segment.LogSuffix), int64(len(plain(1, 1000).build()))+9, 4)
	b.mustOpen()
	if there, corrupt := b.offsets(); fmt.Sprint(there, corrupt) != "[0 2] [1]" {
		t.Fatal(there, corrupt)
	}
}

// A reader that knows its place meets a damaged header with its first step, and
// knows nothing of what stands in front: only what the damage took is lost.
func TestDamageAtACursorTakesNothingInFront(t *testing.T) {
	size := int64(len(plain(1, 1000).build()))
	for name, flip := range map[string]struct {
		batch, pos int64
		bit        int
	}{
		"magic":                          {3, 16, 0},
		"length":                         {3, 8, 6},
		"base offset":                    {3, 7, 0}, // 2, where 3 is
		"base offset of the batch after": {4, 7, 2}, // 0, where 4 is
	} {
		t.Run(name, func(t *testing.T) {
			b := damaged(t, true)
			var c Cursor
			for off := kafka.Offset(0); off < 3; off++ {
				r, err := b.l.Read(&c, off, 1, ToLogEnd, true)
				if err != nil || r.Next != off+1 {
					t.Fatalf("read of %d: %+v, %v", off, r, err)
				}
				r.File.Src.Release()
			}
			b.flip(logZero, flip.batch*size+flip.pos, flip.bit)
			if r, err := b.l.Read(&c, 3, 1, ToLogEnd, true); err == nil {
				r.File.Src.Release()
			}
			_, corrupt := b.offsets()
			if want := []kafka.Offset{kafka.Offset(flip.batch)}; fmt.Sprint(corrupt) != fmt.Sprint(want) {
				t.Fatalf("corrupt %v, want %v; bad ranges %+v", corrupt, want, b.l.BadRanges())
			}
			for _, r := range b.l.BadRanges() {
				if r.From != kafka.Offset(flip.batch) || r.PosBytes != flip.batch*size {
					t.Fatalf("%+v", r)
				}
			}
		})
	}
}

// What is known of aborted transactions outlives the mending of the other indexes,
// also while the folder cannot be listed to look it up again.
func TestMendedIndexesKeepWhatWasAborted(t *testing.T) {
	for _, c := range []struct {
		name, flipped string
		err           error
	}{
		{"readable", ".index", nil},
		{"no descriptors", ".index", syscall.EMFILE},
		{"the transactions themselves", ".txnindex", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, fault := faultyBed(t)
			b.o.Config = Config{IndexIntervalBytes: 1}
			b.mustOpen()
			for seq := range int32(5) {
				b.mustAppend(spec{n: 1, ts: 1000 + int64(seq), size: 10, pid: 7, seq: seq, txn: true})
			}
			if a := b.append(spec{ts: 2000, pid: 7, seq: batch.NoSequence, marker: "abort"}, 0, OriginCoordinator); a.Err != nil {
				t.Fatal(a.Err)
			}
			if err := b.l.Roll(); err != nil {
				t.Fatal(err)
			}
			b.l.AdvanceHighWatermark(6)
			b.flip("00000000000000000000"+c.flipped, 7, 3)
			look := func() error {
				found, _, err := b.l.Scrub(&Scrub{After: kafka.NoOffset, Read: func(int64) bool { return true },
					Sum: func(kafka.Offset) (scrub.Sum, bool) { return scrub.Sum{}, false }})
				return errors.Join(err, found.Indexes)
			}
			if look() == nil {
				t.Fatal("the scrub found nothing")
			}
			if c.err != nil {
				fault.Add(vfs.Rule{Ops: vfs.OpReadDir, Err: c.err})
			}
			if err := b.l.Checkpoint(); err != nil {
				t.Fatal(err)
			}
			r, err := b.l.Read(nil, 0, 1<<20, ToLastStable, true)
			if err != nil {
				t.Fatal(err)
			}
			r.File.Src.Release()
			if len(r.Aborted) != 1 || r.Aborted[0] != (AbortedTxn{ProducerID: 7}) {
				t.Fatalf("aborted %+v", r.Aborted)
			}
			fault.Clear()
			if err := look(); err != nil {
				t.Fatalf("after mending the scrub still finds: %v", err)
			}
		})
	}
}

// A truncation that comes while a segment is looked at makes no checksum of one
// file from the content of another.
func TestScrubBesideATruncation(t *testing.T) {
	b := memoryBed(t)
	b.o.Config = Config{SegmentBytes: 300}
	b.mustOpen()
	for range 6 {
		b.mustAppend(plain(1, 1000))
	}
	found, done, err := b.l.Scrub(&Scrub{After: kafka.NoOffset, Read: func(int64) bool { return true },
		Sum: func(kafka.Offset) (scrub.Sum, bool) {
			if err := b.l.TruncateTo(2); err != nil {
				t.Error(err)
			}
			return scrub.Sum{}, false
		}})
	if err != nil || !done || found.Whole || found.Rotten || found.Indexes != nil {
		t.Fatalf("%+v, %v, %v", found, done, err)
	}
	if list := b.l.BadRanges(); len(list) > 0 {
		t.Fatalf("%+v", list)
	}
}

// A topic that is deleted while it is looked at is no segment that cannot be read.
func TestScrubBesideADeletion(t *testing.T) {
	b := memoryBed(t)
	b.o.Config = Config{SegmentBytes: 300}
	b.mustOpen()
	for range 6 {
		b.mustAppend(plain(1, 1000))
	}
	_, _, err := b.l.Scrub(&Scrub{After: kafka.NoOffset, Sum: func(kafka.Offset) (scrub.Sum, bool) { return scrub.Sum{}, false },
		Read: func(int64) bool {
			b.l.Kill()
			if err := b.fs.RemoveAll(b.o.Dir); err != nil {
				t.Error(err)
			}
			return true
		}})
	if !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// Indexes that were found wrong are no reason to give a directory up when their
// log cannot be read: only a failed write is.
func TestMendingAnUnreadableSegment(t *testing.T) {
	b, fault := faultyBed(t)
	b.o.Config = Config{IndexIntervalBytes: 1}
	b.mustOpen()
	for range 5 {
		b.mustAppend(plain(1, 1000))
	}
	if err := b.l.Roll(); err != nil {
		t.Fatal(err)
	}
	b.flip("00000000000000000000.index", 7, 3)
	found, _, err := b.l.Scrub(&Scrub{After: kafka.NoOffset, Read: func(int64) bool { return true },
		Sum: func(kafka.Offset) (scrub.Sum, bool) { return scrub.Sum{}, false }})
	if err != nil || found.Indexes == nil {
		t.Fatal(found, err)
	}
	fault.Add(vfs.Rule{Ops: vfs.OpRead, Path: logZero, Err: syscall.EIO})
	if err := b.l.Checkpoint(); err != nil || len(b.failed) > 0 {
		t.Fatal(err, b.failed)
	}
	b.mustAppend(plain(1, 1000))
}
