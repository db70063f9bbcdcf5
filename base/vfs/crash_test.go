// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"syscall"
	"testing"
)

// An atomically replaced file is the old one or the new one wherever the power
// fails and whatever of the unsynced state survives; once the call has returned
// it is the new one.
func TestAtomicReplaceSurvivesEveryCut(t *testing.T) {
	seen := map[string]int{}
	for _, data := range []Keep{KeepAll, KeepNone, KeepPrefix, KeepTorn} {
		for _, entries := range []Keep{KeepAll, KeepNone, KeepPrefix, KeepTorn} {
			for seed := range uint64(5) {
				loss := Loss{Data: data, Entries: entries, Seed: seed}
				m := NewMemory()
				ok(t, m.MkdirAll("/d"))
				ok(t, m.SyncDir("/"))
				ok(t, WriteFileAtomic(m, "/d/f", []byte("old")))
				c := NewCrash(m)
				points := 0
				c.Observe(func(number int64, call Call) {
					points++
					got := content(t, c.Image(loss), "/d/f")
					if got != "old" && got != "new" {
						t.Fatalf("%+v, before call %d (%+v): %q", loss, number, call, got)
					}
					seen[got]++
				})
				ok(t, WriteFileAtomic(c, "/d/f", []byte("new")))
				if points != 5 {
					t.Fatalf("%d cut points, want create, write, fdatasync, rename, fsync", points)
				}
				if got := content(t, c.Image(loss), "/d/f"); got != "new" {
					t.Fatalf("%+v: %q after the call returned", loss, got)
				}
			}
		}
	}
	if seen["old"] == 0 || seen["new"] == 0 {
		t.Fatal("the cuts never showed both states:", seen)
	}
}

// Without the sync of the data the rename may arrive before the bytes: the twin
// must show the mistake, else it is no use.
func TestCrashShowsAMissingSync(t *testing.T) {
	m := NewMemory()
	create(t, m, "/f", "old")
	m.syncAll()
	create(t, m, "/f.tmp", "new")
	ok(t, m.Rename("/f.tmp", "/f"))
	ok(t, m.SyncDir("/"))
	if got := content(t, m.CrashClone(Loss{Data: KeepNone}), "/f"); got != "" {
		t.Fatalf("%q survived without a sync", got)
	}
	if got := content(t, m, "/f"); got != "new" {
		t.Fatalf("the original changed to %q", got)
	}
}

// A file that was created and renamed is in one place, however much of both
// survives.
func TestRenameIsAtomic(t *testing.T) {
	states := map[string]bool{}
	for _, keep := range []Keep{KeepAll, KeepNone, KeepPrefix, KeepTorn} {
		for seed := range uint64(40) {
			m := NewMemory()
			ok(t, m.MkdirAll("/x"))
			ok(t, m.MkdirAll("/y"))
			m.syncAll()
			create(t, m, "/x/a", "")
			ok(t, m.Rename("/x/a", "/y/b"))
			ok(t, m.Rename("/y/b", "/y/c"))
			image := m.CrashClone(Loss{Entries: keep, Seed: seed})
			state := ""
			for _, name := range []string{"/x/a", "/y/b", "/y/c"} {
				if _, err := image.Stat(name); err == nil {
					state += name
				}
			}
			states[state] = true
		}
	}
	for state := range states {
		switch state {
		case "", "/x/a", "/y/b", "/y/c":
		default:
			t.Errorf("a crash left %q", state)
		}
	}
	if len(states) != 4 {
		t.Error("not every state was seen:", states)
	}
}

func TestSyncOfOneDirectoryPersistsARenameWhole(t *testing.T) {
	m := NewMemory()
	ok(t, m.MkdirAll("/x"))
	ok(t, m.MkdirAll("/y"))
	m.syncAll()
	create(t, m, "/x/a", "1")
	ok(t, m.Rename("/x/a", "/y/b"))
	ok(t, m.SyncDir("/y"))
	for _, keep := range []Keep{KeepAll, KeepNone, KeepTorn} {
		image := m.CrashClone(Loss{Entries: keep, Seed: 1})
		if _, err := image.Stat("/y/b"); err != nil {
			t.Fatal(err)
		}
		if _, err := image.Stat("/x/a"); err == nil {
			t.Fatal("the file came back under its first name")
		}
	}
}

func TestCutFailsEverythingAfterIt(t *testing.T) {
	m := NewMemory()
	c := NewCrash(m)
	f := must[File](t)(c.Open("/f", Create, 0o644)) // call 1
	c.CutAt(3)
	_, err := f.WriteAt([]byte("a"), 0) // call 2
	ok(t, err)
	if got := content(t, c, "/f"); got != "a" {
		t.Fatalf("%q before the cut", got)
	}
	if _, err := f.WriteAt([]byte("b"), 1); !errors.Is(err, ErrCut) {
		t.Fatal(err)
	}
	if _, err := c.Stat("/f"); !errors.Is(err, ErrCut) {
		t.Fatal("reads go on after the cut:", err)
	}
	if got := content(t, c.Image(Loss{}), "/f"); got != "a" {
		t.Fatalf("%q in the image", got)
	}
}

func TestImageIsIndependent(t *testing.T) {
	m := NewMemory()
	create(t, m, "/f", "aaaa")
	image := m.CrashClone(Loss{})
	f := must[File](t)(m.Open("/f", ReadWrite, 0))
	_, err := f.WriteAt([]byte("bb"), 0)
	ok(t, err)
	g := must[File](t)(image.Open("/f", ReadWrite, 0))
	_, err = g.WriteAt([]byte("c"), 3)
	ok(t, err)
	if a, b := content(t, m, "/f"), content(t, image, "/f"); a != "bbaa" || b != "aaac" {
		t.Fatal(a, b)
	}
	second := image.CrashClone(Loss{Data: KeepNone})
	if got := content(t, second, "/f"); got != "aaaa" {
		t.Fatalf("%q: an image is durable from its start", got)
	}
}

func TestMadeDirectorySurvivesWithItsParents(t *testing.T) {
	m := NewMemory()
	ok(t, m.MkdirAll("/there"))
	ok(t, m.SyncDir("/"))
	for _, dir := range []string{"/there/new", "/there/new", "/there/a/b/c", "/x/y"} {
		ok(t, MakeDir(m, dir))
		left := m.CrashClone(Loss{Data: KeepNone, Entries: KeepNone})
		if info, err := left.Stat(dir); err != nil || !info.IsDir() {
			t.Errorf("%s after a power cut: %+v, %v", dir, info, err)
		}
	}
	create(t, m, "/there/file", "")
	if err := MakeDir(m, "/there/file/below"); !errors.Is(err, syscall.ENOTDIR) {
		t.Error(err)
	}
}

// What was written behind the end that a crash left is in the file again when the
// next crash keeps a new size and no new bytes, unless the file was cut to its
// size before it grew.
func TestBytesBehindTheEndComeBack(t *testing.T) {
	torn := func(m *Memory, seed uint64) (*Memory, string) {
		left := m.CrashClone(Loss{Data: KeepTorn, Entries: KeepAll, Seed: seed})
		b, err := ReadFile(left, "/f", 100)
		ok(t, err)
		return left, string(b)
	}
	write := func(m *Memory, cut bool, text string, off int64) {
		f := must[File](t)(m.Open("/f", Create, 0o644))
		if cut {
			ok(t, f.Truncate(off))
		}
		_, err := f.WriteAt([]byte(text), off)
		ok(t, errors.Join(err, f.Close()))
	}
	for _, cut := range []bool{false, true} {
		cameBack := 0
		for seed := range uint64(300) {
			m := NewMemory()
			write(m, false, "kept", 0)
			m.syncAll()
			write(m, false, "old!", 4)
			m, is := torn(m, seed)
			if is != "kept" {
				continue
			}
			write(m, cut, "new!", 4)
			if _, is := torn(m, seed+1000); is == "keptold!" {
				cameBack++
			}
		}
		if cut != (cameBack == 0) {
			t.Errorf("cut to its size: %v; old bytes came back %d times", cut, cameBack)
		}
	}
}
