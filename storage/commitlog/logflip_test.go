// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// batchAt reads the batch that holds an offset; nil: CORRUPT_MESSAGE.
func (b *bed) batchAt(c *Cursor, off kafka.Offset) []byte {
	b.t.Helper()
	r, err := b.l.Read(c, off, 1, ToLogEnd, true)
	if errors.Is(err, kafka.CorruptMessage) {
		return nil
	}
	if err != nil {
		b.t.Fatalf("offset %d: %v", off, err)
	}
	defer r.File.Src.Release()
	p := make([]byte, r.File.LenBytes)
	if _, err := r.File.Src.ReadAt(p, r.File.PosBytes); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// Whichever bit of a log file flips: a reader gets what was written, or
// CORRUPT_MESSAGE for the batch that it flipped in and no other. In the last
// segment the hint of a clean stop bears out where the log ends; after a crash
// nothing does so for the last batch, though it was synced.
func TestFlippedBitsOfALogFile(tb *testing.T) {
	rapid.Check(tb, func(t *rapid.T) {
		b := newBed(rig{tb, t}, vfs.NewMemory(), "/data/t-0")
		b.o.Config = Config{SegmentBytes: 1500, IndexIntervalBytes: 100}
		b.mustOpen()
		b.populate(t, 40)
		end := b.l.Tail().LogEnd
		want := make([][]byte, end)
		for off := range end {
			want[off] = b.batchAt(nil, off)
		}
		segments, err := b.l.Segments()
		if err != nil || len(segments) < 2 {
			t.Fatal(segments, err)
		}
		how := rapid.SampledFrom([]string{"hint", "clean stop", "crash"}).Draw(t, "how")
		last := segments[len(segments)-1]
		if how == "clean stop" || last.SizeBytes == 0 {
			segments = segments[:len(segments)-1]
		}
		if how == "crash" {
			if err := b.l.Flush(); err != nil {
				t.Fatal(err)
			}
			b.crash()
		} else {
			b.stop(how == "hint")
		}
		s := rapid.SampledFrom(segments).Draw(t, "segment")
		name := filepath.Join(b.o.Dir, segment.Name(s.Base, segment.LogSuffix))
		f, err := b.fs.Open(name, vfs.ReadOnly, 0)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.Int64Range(0, s.SizeBytes-1).Draw(t, "at")
		whole := make([]byte, s.SizeBytes)
		if _, err := f.ReadAt(whole, 0); err != nil {
			t.Fatal(err)
		}
		var hit batch.Header
		for pos := int64(0); pos <= at; pos += int64(hit.SizeBytes()) {
			if hit, err = batch.Parse(whole[pos:]); err != nil {
				t.Fatal(err)
			}
		}
		_ = f.Close()
		if how == "crash" && s.Base == last.Base && hit.NextOffset() == end {
			t.Skip("the last batch")
		}
		bit := byte(1) << rapid.IntRange(0, 7).Draw(t, "bit")
		if err := b.fs.(*vfs.Memory).Rot(name, func(f vfs.File) error {
			_, err := f.WriteAt([]byte{whole[at] ^ bit}, at)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.mustOpen()
		for _, cursor := range []*Cursor{nil, {}, nil} {
			for off := range end {
				got := b.batchAt(cursor, off)
				if lost := hit.BaseOffset <= off && off <= hit.LastOffset(); got == nil != lost || got != nil && !bytes.Equal(got, want[off]) {
					t.Fatalf("offset %d, where %d to %d are damaged: served %v, the same %v", off, hit.BaseOffset, hit.LastOffset(), got != nil, bytes.Equal(got, want[off]))
				}
			}
		}
		if tail := b.l.Tail(); tail.LogEnd != end {
			t.Fatalf("the log ends at %d, it ended at %d", tail.LogEnd, end)
		}
		b.stop(false)
	})
}
