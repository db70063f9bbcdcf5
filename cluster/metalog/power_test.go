// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"errors"
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
		m := vfs.NewMemory()
		if err := errors.Join(m.MkdirAll("/meta"), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
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
