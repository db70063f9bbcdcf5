// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// every runs one test on each file system, each in a directory of its own.
func every(t *testing.T, test func(t *testing.T, fsys FS, root string)) {
	t.Helper()
	t.Run("os", func(t *testing.T) { test(t, OS{}, t.TempDir()) })
	inMemory := map[string]func(*Memory) FS{
		"memory": func(m *Memory) FS { return m },
		"crash":  func(m *Memory) FS { return NewCrash(m) },
		"fault":  func(m *Memory) FS { return NewFault(m) },
	}
	for name, wrap := range inMemory {
		t.Run(name, func(t *testing.T) {
			fsys := wrap(NewMemory())
			if err := fsys.MkdirAll("/data/node"); err != nil {
				t.Fatal(err)
			}
			test(t, fsys, "/data/node")
		})
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys FS, name, content string) {
	t.Helper()
	f := must[File](t)(fsys.Open(name, Create|Truncate, 0o644))
	_, err := f.WriteAt([]byte(content), 0)
	ok(t, err)
	ok(t, f.Close())
}

func content(t *testing.T, fsys FS, name string) string {
	t.Helper()
	return string(must[[]byte](t)(ReadFile(fsys, name, 1<<20)))
}

func TestReadAndWriteAtOffsets(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		name := filepath.Join(root, "f")
		f := must[File](t)(fsys.Open(name, Create, 0o644))
		defer f.Close()
		if n, err := f.WriteAt([]byte("world"), 6); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := f.WriteVAt([][]byte{[]byte("he"), nil, []byte("llo"), []byte(" ")}, 0); n != 6 || err != nil {
			t.Fatal(n, err)
		}
		buf := make([]byte, 20)
		n, err := f.ReadAt(buf, 0)
		if n != 11 || err != io.EOF || string(buf[:n]) != "hello world" {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		if n, err := f.ReadAt(buf[:5], 6); n != 5 || err != nil || string(buf[:5]) != "world" {
			t.Fatalf("read %q, %v", buf[:n], err)
		}
		if n, err := f.ReadAt(buf, 11); n != 0 || err != io.EOF {
			t.Fatalf("read at the end: %d, %v", n, err)
		}
		ok(t, f.Truncate(3))
		ok(t, f.Truncate(8))
		if size, err := f.Size(); size != 8 || err != nil {
			t.Fatal(size, err)
		}
		n, _ = f.ReadAt(buf, 0)
		if got, want := string(buf[:n]), "hel\x00\x00\x00\x00\x00"; got != want {
			t.Fatalf("after cutting and growing %q, want %q", got, want)
		}
		ok(t, f.Preallocate(0, 1<<16))
		if size, _ := f.Size(); size != 8 {
			t.Fatalf("preallocation changed the size to %d", size)
		}
		ok(t, f.SyncRange(0, 8))
		ok(t, f.SyncData())
		ok(t, f.Advise(0, 0, AdviseSequential))
		ok(t, f.Advise(0, 0, AdviseWillNeed))
		ok(t, f.Advise(0, 8, AdviseDontNeed))
	})
}

func TestVectoredWriteOfManyBuffers(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		f := must[File](t)(fsys.Open(filepath.Join(root, "f"), Create, 0o644))
		defer f.Close()
		var bufs [][]byte
		var want []byte
		for i := range 3000 {
			b := bytes.Repeat([]byte{byte(i)}, i%5)
			bufs = append(bufs, b)
			want = append(want, b...)
		}
		if n, err := f.WriteVAt(bufs, 7); n != int64(len(want)) || err != nil {
			t.Fatal(n, err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 7); err != nil || !bytes.Equal(got, want) {
			t.Fatal("other bytes came back", err)
		}
		if len(bufs[4]) != 4 {
			t.Fatal("the caller's buffers were changed")
		}
	})
}

func TestOpenFlags(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		name := filepath.Join(root, "f")
		if _, err := fsys.Open(name, ReadOnly, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := fsys.Open(name, ReadWrite, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		create(t, fsys, name, "abc")
		if _, err := fsys.Open(name, Create|Exclusive, 0o644); !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		if _, err := fsys.Open(root, ReadOnly, 0); !errors.Is(err, syscall.EISDIR) {
			t.Fatal(err)
		}
		if _, err := fsys.Open(filepath.Join(name, "x"), Create, 0o644); !errors.Is(err, syscall.ENOTDIR) {
			t.Fatal(err)
		}
		r := must[File](t)(fsys.Open(name, ReadOnly, 0))
		if _, err := r.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EBADF) {
			t.Fatal("a file opened for reading was written:", err)
		}
		ok(t, r.Close())
		if err := r.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Fatal("second close:", err)
		}
		w := must[File](t)(fsys.Open(name, Truncate, 0))
		if size, _ := w.Size(); size != 0 {
			t.Fatal("not cut:", size)
		}
		ok(t, w.Close())
	})
}

func TestTree(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		at := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
		ok(t, fsys.MkdirAll(at("a", "b")))
		ok(t, fsys.MkdirAll(at("a", "b")))
		create(t, fsys, at("a", "z"), "zz")
		create(t, fsys, at("a", "c"), "")
		if err := fsys.MkdirAll(at("a", "c", "d")); !errors.Is(err, syscall.ENOTDIR) {
			t.Fatal(err)
		}
		infos := must[[]FileInfo](t)(fsys.ReadDir(at("a")))
		if len(infos) != 3 || infos[0].Name != "b" || !infos[0].IsDir() || infos[1].Name != "c" ||
			infos[2].Name != "z" || infos[2].SizeBytes != 2 || infos[2].IsDir() || infos[2].Inode == 0 {
			t.Fatalf("%+v", infos)
		}
		if err := fsys.Remove(at("a")); !errors.Is(err, syscall.ENOTEMPTY) {
			t.Fatal(err)
		}
		if err := fsys.Remove(at("missing")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}

		before := must[FileInfo](t)(fsys.Stat(at("a", "z")))
		create(t, fsys, at("y"), "old")
		ok(t, fsys.Rename(at("a", "z"), at("y")))
		after := must[FileInfo](t)(fsys.Stat(at("y")))
		if after.Inode != before.Inode || content(t, fsys, at("y")) != "zz" {
			t.Fatal("the rename did not replace the file")
		}
		if _, err := fsys.Stat(at("a", "z")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := fsys.Rename(at("missing"), at("x")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := fsys.Rename(at("a"), at("a", "b", "a")); err == nil {
			t.Fatal("a directory moved into itself")
		}
		if err := fsys.Rename(at("a"), at("y")); !errors.Is(err, syscall.ENOTDIR) {
			t.Fatal(err)
		}
		if err := fsys.Rename(at("y"), at("a")); err == nil {
			t.Fatal("a file replaced a directory")
		}
		ok(t, fsys.Rename(at("a"), at("moved")))
		if !must[FileInfo](t)(fsys.Stat(at("moved", "b"))).IsDir() {
			t.Fatal("the moved directory lost its child")
		}
		ok(t, fsys.SyncDir(root))
		if err := fsys.SyncDir(at("missing")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		ok(t, fsys.RemoveAll(at("moved")))
		ok(t, fsys.RemoveAll(at("moved")))
		if _, err := fsys.Stat(at("moved")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := fsys.ReadDir(at("moved")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		usage := must[Usage](t)(fsys.Usage(root))
		if usage.TotalBytes <= 0 || usage.FreeBytes < 0 || usage.FreeBytes > usage.TotalBytes {
			t.Fatalf("%+v", usage)
		}
		syncer := must[Syncer](t)(fsys.OpenSyncer(root))
		ok(t, syncer.SyncFS())
		ok(t, syncer.Close())
	})
}

// A removed or replaced file lives as long as somebody has it open: a fetch may
// still be sending a segment that retention deleted.
func TestOpenFileOutlivesItsName(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		name := filepath.Join(root, "f")
		create(t, fsys, name, "first")
		f := must[File](t)(fsys.Open(name, ReadWrite, 0))
		defer f.Close()
		ok(t, fsys.Remove(name))
		create(t, fsys, name, "second")
		buf := make([]byte, 5)
		if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "first" {
			t.Fatalf("%q, %v", buf, err)
		}
		_, err := f.WriteAt([]byte("FIRST"), 0)
		ok(t, err)
		if got := content(t, fsys, name); got != "second" {
			t.Fatalf("writing to the removed file changed its successor to %q", got)
		}
	})
}

func TestModTimeMovesWithWrites(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		name := filepath.Join(root, "f")
		create(t, fsys, name, "a")
		first := must[FileInfo](t)(fsys.Stat(name)).ModTimeNano
		if first == 0 {
			t.Fatal("no modification time")
		}
		if _, real := fsys.(OS); real {
			return // its clock may be coarser than two calls
		}
		create(t, fsys, name, "b")
		if must[FileInfo](t)(fsys.Stat(name)).ModTimeNano <= first {
			t.Fatal("a write left the modification time")
		}
	})
}

func TestLockExcludesASecondLock(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		name := filepath.Join(root, ".lock")
		lock := must[io.Closer](t)(fsys.Lock(name))
		if _, err := fsys.Lock(name); !errors.Is(err, ErrLocked) {
			t.Fatal("locked twice:", err)
		}
		// A POSIX lock would be lost by the close of any descriptor of the file.
		_, err := ReadFile(fsys, name, 10)
		ok(t, err)
		if _, err := fsys.Lock(name); !errors.Is(err, ErrLocked) {
			t.Fatal("reading the lock file released it:", err)
		}
		ok(t, lock.Close())
		again := must[io.Closer](t)(fsys.Lock(name))
		ok(t, again.Close())
	})
}

func TestWriteFileAtomic(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		name := filepath.Join(root, "checkpoint")
		ok(t, WriteFileAtomic(fsys, name, []byte("one, which is longer")))
		ok(t, WriteFileAtomic(fsys, name, []byte("two")))
		if got := content(t, fsys, name); got != "two" {
			t.Fatalf("%q", got)
		}
		if infos := must[[]FileInfo](t)(fsys.ReadDir(root)); len(infos) != 1 {
			t.Fatalf("left something behind: %+v", infos)
		}
		if _, err := ReadFile(fsys, name, 2); !errors.Is(err, ErrTooLarge) {
			t.Fatal("a file beyond the limit was read:", err)
		}
	})
}

func TestManyGoroutines(t *testing.T) {
	every(t, func(t *testing.T, fsys FS, root string) {
		f := must[File](t)(fsys.Open(filepath.Join(root, "f"), Create, 0o644))
		defer f.Close()
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				own := bytes.Repeat([]byte{byte('a' + g)}, 1000)
				got := make([]byte, 1000)
				for i := range 50 {
					off := int64(i*8+g) * 1000
					if _, err := f.WriteAt(own, off); err != nil {
						t.Error(err)
					}
					if _, err := f.ReadAt(got, off); err != nil || !bytes.Equal(got, own) {
						t.Errorf("goroutine %d read other bytes: %v", g, err)
					}
					name := filepath.Join(root, strings.Repeat("x", g+1))
					if err := ReplaceFile(fsys, name, own); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if size, _ := f.Size(); size != 400_000 {
			t.Fatal(size)
		}
	})
}

func TestOSDescriptor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	create(t, OS{}, name, "x")
	f := must[File](t)(OS{}.Open(name, ReadOnly, 0))
	defer f.Close()
	if fd, ok := f.Fd(); !ok || fd <= 0 {
		t.Fatal("no descriptor for sendfile")
	}
	info := must[os.FileInfo](t)(os.Lstat(name))
	own := must[FileInfo](t)(OS{}.Stat(name))
	if own.SizeBytes != 1 || own.ModTimeNano != info.ModTime().UnixNano() || own.Mode != info.Mode() {
		t.Fatalf("%+v, package os says %v", own, info)
	}
}
