// SPDX-License-Identifier: Apache-2.0

package index

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
)

func file(name string) *segment.File { return segment.NewFiles(vfs.NewMemory(), 8).File(name, true) }

// TestOffsetsAgainstASlice adds, spills, cuts and reopens at random.
func TestOffsetsAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := file("/00000000000000001000.index")
		x, err := NewOffsets(f, 1000, 0)
		if err != nil {
			t.Fatal(err)
		}
		var twin []Position
		off, pos := kafka.Offset(1000), int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 400).Draw(t, "entries") {
					off += kafka.Offset(rapid.IntRange(1, 3).Draw(t, "offsets"))
					pos += 10
					x.Add(off, pos)
					twin = append(twin, Position{off, pos})
				}
			},
			"spill": func(t *rapid.T) {
				if err := x.Spill(); err != nil {
					t.Fatal(err)
				}
			},
			"truncate": func(t *rapid.T) {
				at := kafka.Offset(rapid.Int64Range(1000, int64(off)+1).Draw(t, "at"))
				if err := x.TruncateTo(at); err != nil {
					t.Fatal(err)
				}
				for len(twin) > 0 && twin[len(twin)-1].Offset >= at {
					twin = twin[:len(twin)-1]
				}
			},
			"reopen": func(t *rapid.T) {
				if err := x.Spill(); err != nil {
					t.Fatal(err)
				}
				size, err := f.SizeBytes()
				if err != nil {
					t.Fatal(err)
				}
				if x, err = NewOffsets(f, 1000, size); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				if x.Entries() != len(twin) {
					t.Fatalf("%d entries, want %d", x.Entries(), len(twin))
				}
				key := kafka.Offset(rapid.Int64Range(999, int64(off)+2).Draw(t, "key"))
				at := rapid.Int64Range(0, pos+5).Draw(t, "position")
				want, wantAt := Position{Offset: 1000}, Position{Offset: 1000}
				for _, p := range twin {
					if p.Offset <= key {
						want = p
					}
					if p.PosBytes <= at {
						wantAt = p
					}
				}
				if got, err := x.Floor(key); err != nil || got != want {
					t.Fatalf("floor of %d is %+v, %v; want %+v", key, got, err, want)
				}
				if got, err := x.FloorPosition(at); err != nil || got != wantAt {
					t.Fatalf("floor of byte %d is %+v, %v; want %+v", at, got, err, wantAt)
				}
				last, ok, err := x.Last()
				if err != nil || ok != (len(twin) > 0) || (ok && last != twin[len(twin)-1]) {
					t.Fatalf("last is %+v, %v, %v", last, ok, err)
				}
			},
		})
	})
}

func TestTimesRiseAndAreFound(t *testing.T) {
	f := file("/00000000000000000100.timeindex")
	x, err := NewTimes(f, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []Time{{50, 101}, {40, 105}, {60, 110}, {60, 120}, {90, 130}} {
		x.Add(e)
	}
	if x.Entries() != 3 {
		t.Fatalf("%d entries, want 3: only rising timestamps count", x.Entries())
	}
	if err := x.Spill(); err != nil {
		t.Fatal(err)
	}
	want := []byte{
		0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 1,
		0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 10,
		0, 0, 0, 0, 0, 0, 0, 90, 0, 0, 0, 30,
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("% x, %v", got, err)
	}
	if x, err = NewTimes(f, 100, int64(len(want))); err != nil {
		t.Fatal(err)
	}
	for ts, offset := range map[int64]kafka.Offset{49: 100, 50: 101, 89: 110, 90: 130, 1000: 130} {
		if _, got, err := x.FloorTwo(ts); err != nil || got.Offset != offset {
			t.Fatalf("time %d is at %+v, %v; want %d", ts, got, err, offset)
		}
	}
	if err := x.TruncateTo(130); err != nil {
		t.Fatal(err)
	}
	x.Add(Time{70, 125})
	if last, ok, err := x.Last(); !ok || err != nil || last != (Time{70, 125}) {
		t.Fatal(last, ok, err)
	}
}

func TestCorruptIndexesAreRecognised(t *testing.T) {
	f := file("/00000000000000000100.index")
	if _, err := f.WriteAt(make([]byte, 80), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewOffsets(f, 100, 77); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	x, err := NewOffsets(f, 100, 80)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Check(1000); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("zeros: %v", err)
	}
	if _, err := NewTimes(f, 100, 72); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("zeros: %v", err)
	}
	short, err := NewOffsets(f, 100, 8000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.Floor(200); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a file that is shorter than it was: %v", err)
	}
}

func TestAbortedRoundTrip(t *testing.T) {
	f := file("/00000000000000000000.txnindex")
	x := NewAborted(f, 0, 0)
	want := []Aborted{{1, 5, 9, 3}, {2, 3, 12, 13}, {1, 14, 20, 21}}
	for _, a := range want {
		if err := x.Add(a); err != nil {
			t.Fatal(err)
		}
	}
	reopened := NewAborted(f, 0, int64(len(want))*AbortedEntryBytes)
	if got, err := reopened.List(); err != nil || cmp.Diff(want, got) != "" {
		t.Fatal(got, err)
	}
	if err := reopened.TruncateTo(12); err != nil {
		t.Fatal(err)
	}
	if got, err := reopened.List(); err != nil || cmp.Diff(want[:1], got) != "" {
		t.Fatal(got, err)
	}
	if size, err := f.SizeBytes(); err != nil || size != AbortedEntryBytes {
		t.Fatal(size, err)
	}
}

func FuzzAborted(f *testing.F) {
	f.Add(AppendAborted(nil, Aborted{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeAborted(b, 0)
		if err != nil {
			return
		}
		var again []byte
		for _, a := range list {
			again = AppendAborted(again, a)
		}
		if !bytes.Equal(b, again) {
			t.Fatal("another encoding")
		}
	})
}

// A rebuild that finds what the file holds writes nothing, and one that finds
// something else leaves nothing of the old.
func TestRebuildKeepsWhatTheFileHolds(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory())
	files := segment.NewFiles(fault, 4)
	file := func() *segment.File { return files.File("/0.index", true) }
	x, err := NewOffsets(file(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	const entries = 300
	for i := range entries {
		x.Add(kafka.Offset(i), int64(i)*10)
	}
	if err := x.Spill(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ found, wrongFrom, writes int }{{entries, entries, 0}, {entries + 5, entries, 0}, {entries, 200, 1}, {7, entries, 1}, {0, 0, 1}} {
		x, err := NewOffsets(file(), 0, entries*OffsetEntryBytes)
		if err != nil {
			t.Fatal(err)
		}
		x.Rebuild()
		for i := range c.found {
			pos := int64(i) * 10
			if i >= c.wrongFrom && i < entries {
				pos++
			}
			x.Add(kafka.Offset(i), pos)
		}
		before := fault.Count(vfs.OpWrite | vfs.OpTruncate)
		if err := x.Settle(); err != nil {
			t.Fatal(err)
		}
		if wrote := fault.Count(vfs.OpWrite|vfs.OpTruncate) - before; wrote != int64(c.writes) {
			t.Errorf("%+v: %d writes", c, wrote)
		}
		if err := x.Spill(); err != nil {
			t.Fatal(err)
		}
		info, err := fault.Stat("/0.index")
		if err != nil || info.SizeBytes != int64(c.found)*OffsetEntryBytes || x.Entries() != c.found {
			t.Fatalf("%+v: %+v, %d entries, %v", c, info, x.Entries(), err)
		}
		if p, ok, err := x.Last(); err != nil || ok && p.Offset != kafka.Offset(c.found-1) {
			t.Fatalf("%+v: %+v, %v", c, p, err)
		}
		y, _ := NewOffsets(file(), 0, 0)
		if err := y.Reset(); err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			y.Add(kafka.Offset(i), int64(i)*10)
		}
		if err := y.Spill(); err != nil {
			t.Fatal(err)
		}
	}
}
