// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naiveFS is the dumb twin: whole files in a map, and beside them what is
// durable. It knows no directories, as all its files lie in one.
type naiveFS struct {
	files   map[string]*naiveFile
	durable map[string]*naiveFile
}

type naiveFile struct {
	bytes   []byte
	durable []byte
}

func (f *naiveFile) write(p []byte, off int) {
	if len(p) == 0 {
		return
	}
	if need := off + len(p); need > len(f.bytes) {
		f.bytes = append(f.bytes, make([]byte, need-len(f.bytes))...)
	}
	copy(f.bytes[off:], p)
}

func (f *naiveFile) truncate(size int) {
	if size <= len(f.bytes) {
		f.bytes = slices.Clone(f.bytes[:size])
	} else {
		f.bytes = append(f.bytes, make([]byte, size-len(f.bytes))...)
	}
}

// Random calls go to the naive twin and to a Memory or the real file system;
// both must hold the same bytes, and what a crash leaves of the Memory must be
// the naive durable state.
func TestAgainstNaiveTwin(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			m := NewMemory()
			if err := m.MkdirAll("/d"); err != nil {
				r.Fatal(err)
			}
			if err := m.SyncDir("/"); err != nil {
				r.Fatal(err)
			}
			compareRun(r, m, "/d", m)
		})
	})
	t.Run("os", func(t *testing.T) {
		root := t.TempDir()
		run := 0
		rapid.Check(t, func(r *rapid.T) {
			run++
			dir := filepath.Join(root, string(rune('a'+run%26)), rapid.StringMatching(`[a-z]{12}`).Draw(r, "dir"))
			if err := (OS{}).MkdirAll(dir); err != nil {
				r.Fatal(err)
			}
			compareRun(r, OS{}, dir, nil)
			if err := (OS{}).RemoveAll(dir); err != nil {
				r.Fatal(err)
			}
		})
	})
}

func compareRun(r *rapid.T, fsys FS, dir string, crashable *Memory) {
	naive := &naiveFS{files: map[string]*naiveFile{}, durable: map[string]*naiveFile{}}
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	offsets := rapid.IntRange(0, 3*pageBytes)
	open := func(r *rapid.T, flag OpenFlag) (File, *naiveFile, string) {
		name := names.Draw(r, "name")
		f, err := fsys.Open(filepath.Join(dir, name), flag, 0o644)
		if (err == nil) != (naive.files[name] != nil || flag&Create != 0) {
			r.Fatalf("open %s: %v", name, err)
		}
		if err != nil {
			r.Skip("no such file")
		}
		if naive.files[name] == nil {
			naive.files[name] = &naiveFile{}
		}
		return f, naive.files[name], name
	}
	fatal := func(err error) {
		if err != nil {
			r.Fatal(err)
		}
	}
	r.Repeat(map[string]func(*rapid.T){
		"write": func(r *rapid.T) {
			f, twin, _ := open(r, Create)
			defer f.Close()
			p := bytes.Repeat([]byte{rapid.Byte().Draw(r, "byte")}, rapid.IntRange(0, 2*pageBytes).Draw(r, "length"))
			off := offsets.Draw(r, "offset")
			_, err := f.WriteAt(p, int64(off))
			fatal(err)
			twin.write(p, off)
		},
		"append": func(r *rapid.T) {
			f, twin, _ := open(r, Create)
			defer f.Close()
			a := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "a")
			b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "b")
			_, err := f.WriteVAt([][]byte{a, b}, int64(len(twin.bytes)))
			fatal(err)
			twin.write(append(slices.Clone(a), b...), len(twin.bytes))
		},
		"truncate": func(r *rapid.T) {
			f, twin, _ := open(r, ReadWrite)
			defer f.Close()
			size := offsets.Draw(r, "size")
			fatal(f.Truncate(int64(size)))
			twin.truncate(size)
		},
		"sync": func(r *rapid.T) {
			f, twin, _ := open(r, ReadWrite)
			defer f.Close()
			fatal(f.SyncData())
			twin.durable = slices.Clone(twin.bytes)
		},
		"syncDir": func(r *rapid.T) {
			fatal(fsys.SyncDir(dir))
			naive.durable = map[string]*naiveFile{}
			for name, f := range naive.files {
				naive.durable[name] = f
			}
		},
		"rename": func(r *rapid.T) {
			from, to := names.Draw(r, "from"), names.Draw(r, "to")
			err := fsys.Rename(filepath.Join(dir, from), filepath.Join(dir, to))
			f := naive.files[from]
			if (err == nil) != (f != nil) {
				r.Fatal(err)
			}
			if err == nil && from != to {
				delete(naive.files, from)
				naive.files[to] = f
			}
		},
		"remove": func(r *rapid.T) {
			name := names.Draw(r, "name")
			err := fsys.Remove(filepath.Join(dir, name))
			if (err == nil) != (naive.files[name] != nil) {
				r.Fatal(err)
			}
			delete(naive.files, name)
		},
		"": func(r *rapid.T) {
			current := map[string][]byte{}
			for name, f := range naive.files {
				current[name] = f.bytes
			}
			compareTree(r, fsys, dir, current)
			if crashable == nil {
				return
			}
			durable := map[string][]byte{}
			for name, f := range naive.durable {
				durable[name] = f.durable
			}
			compareTree(r, crashable.CrashClone(Loss{Data: KeepNone, Entries: KeepNone}), dir, durable)
			compareTree(r, crashable.CrashClone(Loss{Data: KeepAll, Entries: KeepAll}), dir, current)
		},
	})
}

func compareTree(r *rapid.T, fsys FS, dir string, want map[string][]byte) {
	infos, err := fsys.ReadDir(dir)
	if err != nil {
		r.Fatal(err)
	}
	if len(infos) != len(want) {
		r.Fatalf("%d files, want %d", len(infos), len(want))
	}
	for _, info := range infos {
		f, err := fsys.Open(filepath.Join(dir, info.Name), ReadOnly, 0)
		if err != nil {
			r.Fatal(err)
		}
		got := make([]byte, len(want[info.Name])+1)
		n, err := f.ReadAt(got, 0)
		if !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want[info.Name]) || info.SizeBytes != int64(n) {
			r.Fatalf("%s holds %d other bytes (size %d, want %d): %v", info.Name, n, info.SizeBytes, len(want[info.Name]), err)
		}
		f.Close()
	}
}

// Whatever a crash keeps, each sector is one that the file held durably or
// holds now, and what was synced and not written since is there.
func TestCrashKeepsOldOrNewSectors(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := NewMemory()
		f, err := m.Open("/f", Create, 0o644)
		if err != nil {
			r.Fatal(err)
		}
		if err := m.SyncDir("/"); err != nil {
			r.Fatal(err)
		}
		durableLen := rapid.IntRange(0, 5000).Draw(r, "durable")
		f.WriteAt(bytes.Repeat([]byte{'d'}, durableLen), 0)
		f.SyncData()
		size := durableLen
		if rapid.Bool().Draw(r, "cut") {
			size = rapid.IntRange(0, durableLen).Draw(r, "to")
			f.Truncate(int64(size))
		}
		kept := size
		more := rapid.IntRange(0, 9000).Draw(r, "more")
		f.WriteAt(bytes.Repeat([]byte{'n'}, more), int64(size))
		size += more

		loss := Loss{
			Data: rapid.SampledFrom([]Keep{KeepAll, KeepNone, KeepPrefix, KeepTorn}).Draw(r, "keep"),
			Seed: rapid.Uint64().Draw(r, "seed"),
		}
		image := m.CrashClone(loss)
		got, err := ReadFile(image, "/f", 1<<20)
		if err != nil {
			r.Fatal(err)
		}
		if twice, _ := ReadFile(m.CrashClone(loss), "/f", 1<<20); !bytes.Equal(got, twice) {
			r.Fatal("one seed gave two images")
		}
		if len(got) > max(size, durableLen) || len(got) < kept {
			r.Fatalf("size %d, durable %d, now %d, never below %d", len(got), durableLen, size, kept)
		}
		for i, b := range got {
			switch {
			case i < kept && b != 'd':
				r.Fatalf("byte %d was durable and is %q", i, b)
			case b == 'd' && i >= durableLen, b == 'n' && (i < kept || i >= size):
				r.Fatalf("byte %d is %q, which was never there", i, b)
			case b != 'd' && b != 'n' && b != 0:
				r.Fatalf("byte %d is %q", i, b)
			case b == 0 && loss.Data != KeepTorn:
				r.Fatalf("byte %d is a hole", i)
			case i > kept && i%sectorBytes != 0 && i != size && i < durableLen && b != got[i-1]:
				r.Fatalf("torn at %d, within a sector", i)
			}
		}
	})
}
