// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"gregor/base/vfs"
)

// chop cuts bytes off the end of a file of the metadata log.
func chop(t *testing.T, m *vfs.Memory, name string, bytes int64) {
	t.Helper()
	s := scriptLog{fs: m}
	if err := s.edit(name, func(f vfs.File, size int64) error { return f.Truncate(size - bytes) }); err != nil {
		t.Fatal(err)
	}
}

// A torn append on a disk that is full, of bytes or of names, needs nobody.
func TestTornTailOnAFullDisk(t *testing.T) {
	for name, ops := range map[string]vfs.Op{"bytes": vfs.OpWrite, "names": vfs.OpCreate, "both": vfs.OpWrite | vfs.OpCreate} {
		t.Run(name, func(t *testing.T) {
			m := vfs.NewMemory()
			_, w := damageLog(t, m)
			dir := "/meta/" + DirName + "/"
			if err := m.Remove(dir + syncedName); err != nil {
				t.Fatal(err)
			}
			infos, err := m.ReadDir("/meta/" + DirName)
			if err != nil {
				t.Fatal(err)
			}
			last := ""
			for _, i := range infos {
				if len(i.Name) == len(segmentName(0)) {
					last = i.Name
				}
			}
			chop(t, m, last, 7)
			fault := vfs.NewFault(m)
			fault.Add(vfs.Rule{Ops: ops, Err: syscall.ENOSPC})
			l, err := Open(damageOptions(fault))
			if err != nil {
				t.Fatal(err)
			}
			if l.LastIndex() != w.last()-1 {
				t.Errorf("index %d is the last, want %d", l.LastIndex(), w.last()-1)
			}
			fault.Clear()
			if err := errors.Join(l.Append(w.put(w.last(), 2, []int{3})), w.sameAs(l), l.Close()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A process is killed between any two calls, and the next one is when the power
// goes: what the second has appended is there.
func TestPowerCutBehindAKill(t *testing.T) {
	for cut := int64(1); ; cut++ {
		m := newDisk(t)
		crash := vfs.NewCrash(m)
		crash.CutAt(cut)
		o := Options{FS: crash, Dir: "/meta", SegmentBytesMax: 400, RetentionBytes: 1200}
		w, durable, err := crashHistory(o)
		if err == nil {
			return
		}
		o.FS = m // killed: nothing is lost, and nothing more is durable
		l, err := Open(o)
		if err != nil {
			t.Fatalf("killed at call %d: %v", cut, err)
		}
		if l.Empty() {
			continue
		}
		if err := w.keeps(l, durable); err != nil {
			t.Fatalf("killed at call %d: %v", cut, err)
		}
		q, _ := l.Quorum()
		w.batches = w.batches[:l.LastIndex()+1-w.first]
		if err := l.Append(w.put(l.LastIndex()+1, q.Epoch, []int{1, 2})); err != nil {
			t.Fatal(err)
		}
		for _, loss := range losses(uint64(cut)) {
			o.FS = m.CrashClone(loss)
			l, err := Open(o)
			if err != nil {
				t.Fatalf("killed at call %d, %+v: %v", cut, loss, err)
			}
			if err := w.keeps(l, w.last()); err != nil {
				t.Fatalf("killed at call %d, %+v: %v", cut, loss, err)
			}
		}
	}
}

// The power goes while a start sets damage aside, makes up for a checkpoint, cuts
// a torn tail off, or gives up what whoever runs the node has named. The next
// start comes to the same end.
func TestPowerCutWhileDamageIsSetAside(t *testing.T) {
	for _, scene := range []struct {
		name, file string
		bit        int64 // counted in bytes; -1: the file is chopped
		cutOffset  bool
	}{
		{"the checkpoint holds it", "", 40, false},
		{"an older checkpoint", ".checkpoint", 150, false},
		{"torn", "last", -1, false},
		{"given up", "last", 40, true},
		{"given up, segments follow", "second", 40, true},
	} {
		t.Run(scene.name, func(t *testing.T) {
			base := vfs.NewMemory()
			l, _ := damageLog(t, base)
			ck, _ := l.Checkpoint()
			base = base.CrashClone(vfs.Loss{})
			s := scriptLog{fs: base}
			file := l.segments[0].name
			for i, seg := range l.segments {
				if seg.base <= ck.End {
					file = seg.name
				}
				if scene.file == "last" || scene.file == "second" && seg.base > ck.End && i < len(l.segments)-1 {
					file = seg.name
				}
			}
			if scene.file == ".checkpoint" {
				file = ck.Name()
			}
			o := damageOptions(base)
			if scene.bit < 0 {
				chop(t, base, file, 7)
				if err := base.Remove(s.path(syncedName)); err != nil {
					t.Fatal(err)
				}
			} else if _, err := s.command("flip", []string{file, fmt.Sprint(scene.bit)}); err != nil {
				t.Fatal(err)
			}
			if scene.cutOffset {
				_, err := Open(o)
				var damaged *DamagedError
				if !errors.As(err, &damaged) {
					t.Fatalf("not refused: %v", err)
				}
				o.CutOffset = damaged.From
			}
			o.FS = base.CrashClone(vfs.Loss{})
			whole, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			for cut := int64(1); ; cut++ {
				crash := vfs.NewCrash(base.CrashClone(vfs.Loss{}))
				crash.CutAt(cut)
				o.FS = crash
				l, err := Open(o)
				if err == nil {
					_ = l.Close()
				}
				done := crash.Calls() < cut
				for _, loss := range losses(uint64(cut)) {
					o.FS = crash.Image(loss)
					l, err := Open(o)
					if err != nil {
						t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
					}
					if l.LastIndex() != whole.LastIndex() || l.End() != whole.End() || l.FirstIndex() != whole.FirstIndex() || l.Committed() != whole.Committed() {
						t.Fatalf("cut at call %d, %+v: index %d to %d end %d, want %d to %d end %d", cut, loss,
							l.FirstIndex(), l.LastIndex(), l.End(), whole.FirstIndex(), whole.LastIndex(), whole.End())
					}
					files, err := (&scriptLog{fs: o.FS.(*vfs.Memory)}).files()
					if strings.Contains(files, partSuffix) {
						t.Fatalf("cut at call %d, %+v: left over:\n%s", cut, loss, files)
					}
					if err := errors.Join(err, l.Close()); err != nil {
						t.Fatal(err)
					}
				}
				if done {
					if cut < 6 {
						t.Errorf("only %d calls", cut)
					}
					break
				}
			}
		})
	}
}
