// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/wire/batch"
	"gregor/wire/reply"
)

var _ reply.Source = (*File)(nil)

func make100(t *testing.T, openMax int) (*Files, []*File) {
	fs := NewFiles(vfs.OS{}, openMax)
	dir := t.TempDir()
	var list []*File
	for i := range 100 {
		f := fs.File(fmt.Sprintf("%s/%d", dir, i), true)
		if _, err := f.WriteAt([]byte{byte(i)}, 0); err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return fs, list
}

func TestFewDescriptorsForManyFiles(t *testing.T) {
	fs, list := make100(t, 10)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			p := make([]byte, 1)
			for i := range 2000 {
				n := i * 7 % 100
				if _, err := list[n].ReadAt(p, 0); err != nil || p[0] != byte(n) {
					t.Error(p, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := fs.Stats(); s.Open > 10+4 || s.Evictions == 0 {
		t.Fatalf("%+v", s)
	}
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}
	if s := fs.Stats(); s.Open != 0 {
		t.Fatalf("%+v", s)
	}
	if _, err := list[0].ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestAReferencedFileStaysOpen(t *testing.T) {
	fs, list := make100(t, 8)
	list[3].Ref()
	if err := list[3].Opened(); err != nil {
		t.Fatal(err)
	}
	fd, ok := list[3].Fd()
	if !ok {
		t.Fatal("no descriptor")
	}
	p := make([]byte, 1)
	for _, f := range list {
		if _, err := f.ReadAt(p, 0); err != nil {
			t.Fatal(err)
		}
	}
	if again, ok := list[3].Fd(); !ok || again != fd {
		t.Fatalf("descriptor %d became %d", fd, again)
	}
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := list[3].ReadAt(p, 0); err != nil || p[0] != 3 {
		t.Fatal("a reader lost its file", err)
	}
	list[3].Release()
	if s := fs.Stats(); s.Open != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestTruncateMakesAnotherGeneration(t *testing.T) {
	for _, read := range []bool{false, true} {
		fs := NewFiles(vfs.OS{}, 8)
		f := fs.File(t.TempDir()+"/x", true)
		if _, err := f.WriteAt([]byte("old bytes"), 0); err != nil {
			t.Fatal(err)
		}
		if read {
			f.Ref()
			if err := f.Opened(); err != nil {
				t.Fatal(err)
			}
		}
		next, err := f.Truncate(3)
		if err != nil {
			t.Fatal(err)
		}
		if f.Intact() || !next.Intact() {
			t.Fatal("generations are not told apart")
		}
		if _, err := next.WriteAt([]byte(" new"), 3); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 20)
		if n, err := next.ReadAt(p, 0); string(p[:n]) != "old new" {
			t.Fatalf("%q %v", p[:n], err)
		}
		if read {
			if n, err := f.ReadAt(p, 0); string(p[:n]) != "old bytes" {
				t.Fatalf("the reader sees %q, %v", p[:n], err)
			}
			f.Release()
		}
		if err := fs.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRetiredFileIsNotMadeAgain(t *testing.T) {
	fs := NewFiles(vfs.NewMemory(), 8)
	f := fs.File("/x", true)
	f.Retire("/x.deleted")
	f.Ref()
	defer f.Release()
	if err := f.Opened(); err == nil {
		t.Fatal("a retired file was created")
	}
}

func TestNames(t *testing.T) {
	name := Name(1234567890123, IndexSuffix)
	if name != "00000001234567890123.index" {
		t.Fatal(name)
	}
	base, suffix, ok := ParseName(name + DeletedSuffix)
	if base != 1234567890123 || suffix != ".index.deleted" || !ok {
		t.Fatal(base, suffix, ok)
	}
	for _, bad := range []string{"", ".log", "x.log", "partition.metadata", "-1.log", "99999999999999999999.log", "12"} {
		if _, _, ok := ParseName(bad); ok {
			t.Fatal(bad)
		}
	}
}

func logFile(t testing.TB, b []byte) *File {
	f := NewFiles(vfs.NewMemory(), 8).File("/00000000000000000000.log", true)
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func batches(t testing.TB, sizes ...int) []byte {
	var out []byte
	for i, size := range sizes {
		var b batch.Builder
		b.Begin(batch.NoProducer(kafka.Offset(i), 0))
		b.Add(int64(i), nil, make([]byte, size))
		var err error
		if out, err = b.Finish(out, nil); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestScanFindsDamage(t *testing.T) {
	good := batches(t, 10, 100_000, 10, 70_000, 200, 10)
	count := func(b []byte, crc bool) (n int, err error) {
		var s Scan
		s.Start(logFile(t, b), 0, int64(len(b)), crc)
		defer s.Done()
		for s.Next() {
			n++
		}
		return n, s.Err()
	}
	for _, crc := range []bool{false, true} {
		if n, err := count(good, crc); n != 6 || err != nil {
			t.Fatal(n, err)
		}
		for _, cut := range []int{1, 60, 300} {
			_, err := count(good[:len(good)-cut], crc)
			var bad *CorruptError
			if !errors.As(err, &bad) || !bad.Torn || !errors.Is(err, kafka.CorruptMessage) {
				t.Fatalf("cut by %d: %v", cut, err)
			}
		}
	}
	bad := append([]byte(nil), good...)
	bad[50_000] ^= 1
	if n, err := count(bad, true); n != 1 || err == nil {
		t.Fatal("a changed bit went unnoticed", n, err)
	}
	back := append(batches(t, 10, 10), batches(t, 10)...)
	if n, err := count(back, false); n != 2 || err == nil {
		t.Fatal("offsets that go back went unnoticed", n, err)
	}
}

func TestZerosAreNoOldFormat(t *testing.T) {
	for _, b := range [][]byte{make([]byte, 200), batches(t, 10), {1, 2, 3}} {
		if _, found, err := OldFormat(logFile(t, b), int64(len(b))); found || err != nil {
			t.Fatal(found, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(batches(f, 10, 20), true)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}, false)
	f.Fuzz(func(t *testing.T, b []byte, crc bool) {
		var s Scan
		s.Start(logFile(t, b), 0, int64(len(b)), crc)
		defer s.Done()
		last := kafka.Offset(-1)
		for s.Next() {
			if s.Header.BaseOffset <= last || s.NextPos() > int64(len(b)) {
				t.Fatalf("batch at %d to %d behind %d", s.Header.BaseOffset, s.NextPos(), last)
			}
			last = s.Header.LastOffset()
			body, err := s.Body(nil)
			if err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if crc && batch.VerifyCRC(body) != nil {
				t.Fatal("a batch with a wrong CRC was let through")
			}
		}
		if s.Err() == nil && s.NextPos() != int64(len(b)) {
			t.Fatalf("stopped at %d of %d without an error", s.NextPos(), len(b))
		}
	})
}

// moving moves a file's folder while it is being opened, as the deletion of a
// topic does, and gives its name to another.
type moving struct {
	vfs.FS
	move func(path string)
}

func (m *moving) Open(path string, flag vfs.OpenFlag, perm fs.FileMode) (vfs.File, error) {
	if m.move != nil {
		move := m.move
		m.move = nil
		move(path)
	}
	return m.FS.Open(path, flag, perm)
}

func TestFileThatMovesWhileItIsOpened(t *testing.T) {
	for _, anew := range []bool{false, true} {
		memory := vfs.NewMemory()
		write := func(path, text string) {
			f := NewFiles(memory, 8).File(path, true)
			if _, err := f.WriteAt([]byte(text), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := memory.MkdirAll("/old"); err != nil {
			t.Fatal(err)
		}
		write("/old/file", "mine")
		fsys := &moving{FS: memory}
		f := NewFiles(fsys, 8).File("/old/file", false)
		fsys.move = func(string) {
			if err := memory.Rename("/old", "/gone"); err != nil {
				t.Fatal(err)
			}
			f.MovedTo("/gone")
			if anew {
				if err := memory.MkdirAll("/old"); err != nil {
					t.Fatal(err)
				}
				write("/old/file", "other")
			}
		}
		p := make([]byte, 4)
		if _, err := f.ReadAt(p, 0); err != nil || string(p) != "mine" {
			t.Errorf("anew %v: %q, %v", anew, p, err)
		}
	}
}
