// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"gregor/base/vfs"
)

// installed is the checkpoint that the tests below are sent.
var installed = Checkpoint{End: 12, Epoch: 2, Index: 11}

func installOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, Dir: "/meta", SegmentBytesMax: 400}
}

// beforeInstall is a log of several segments, committed up to index 4, with the
// checkpoint beside it.
func beforeInstall(t *testing.T, m *vfs.Memory, fsys vfs.FS) (*Log, *twin) {
	t.Helper()
	makeMeta(t, m)
	l, err := Open(installOptions(fsys))
	if err != nil {
		t.Fatal(err)
	}
	formTestLog(t, l)
	if err := l.SaveQuorum(QuorumState{Leader: 1, Epoch: 1, Voted: 1, Commit: 4, HasCommit: true}); err != nil {
		t.Fatal(err)
	}
	w := &twin{first: 2}
	for range 3 {
		if err := l.Append(w.put(w.last()+1, 1, []int{1, 2, 1})); err != nil {
			t.Fatal(err)
		}
	}
	l.Commit(4)
	if err := (&scriptLog{log: l}).receive([]string{"12", "2", "11"}); err != nil {
		t.Fatal(err)
	}
	return l, w
}

// endsWith checks that l ends with the batches that w got last.
func (w *twin) endsWith(l *Log, from uint64) error {
	if l.LastIndex() != w.last() || l.FirstIndex() > from {
		return fmt.Errorf("index %d to %d, want %d to %d", l.FirstIndex(), l.LastIndex(), from, w.last())
	}
	for i := from; i <= w.last(); i++ {
		es, err := l.Entries(i, i+1, 0)
		if err != nil {
			return err
		}
		if !bytes.Equal(es[0].Batch, w.batches[i-w.first]) {
			return fmt.Errorf("index %d differs", i)
		}
	}
	return nil
}

// The power goes while a checkpoint is installed. It is installed behind that, or
// the log is as it was, and no more of it is committed. That log may go on to
// where the checkpoint ends, and beyond: it is not dropped then.
func TestInstallationCutShort(t *testing.T) {
	before, behind := 0, 0
	for cut := int64(1); ; cut++ {
		m := vfs.NewMemory()
		crash := vfs.NewCrash(m)
		l, w := beforeInstall(t, m, crash)
		crash.CutAt(crash.Calls() + cut)
		err := l.Install(installed)
		for _, loss := range losses(uint64(cut)) {
			fsys := crash.Image(loss)
			l, openErr := Open(installOptions(fsys))
			if openErr != nil {
				t.Fatalf("cut at call %d, %+v: %v", cut, loss, openErr)
			}
			if ck, _ := l.Checkpoint(); ck.End == installed.End {
				behind++
				if l.LastIndex() != installed.Index {
					t.Fatalf("cut at call %d, %+v: index %d is the last", cut, loss, l.LastIndex())
				}
			} else {
				before++
				if q, _ := l.Quorum(); q.Commit != 4 {
					t.Fatalf("cut at call %d, %+v: index %d is committed", cut, loss, q.Commit)
				}
				if err := w.endsWith(l, 2); err != nil {
					t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
				}
				if err := reachInstalled(l, *w); err != nil {
					t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil {
			break
		}
	}
	if before < 10 || behind < 10 {
		t.Errorf("%d times the log was there, %d times the checkpoint", before, behind)
	}
}

// reachInstalled lets a log get by itself to where the checkpoint ends.
func reachInstalled(l *Log, w twin) error {
	if err := l.Append(w.put(5, 2, []int{2, 1, 1, 1, 1, 1, 1})); err != nil {
		return err
	}
	l.Commit(installed.Index)
	c, err := l.WriteCheckpoint(State{End: w.end(), ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords})
	if err != nil || c.Name() != installed.Name() {
		return fmt.Errorf("checkpoint %s: %w", c.Name(), err)
	}
	if err := l.Append(w.put(w.last()+1, 2, []int{1, 1})); err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	if l, err = Open(l.o); err != nil {
		return err
	}
	return errors.Join(w.endsWith(l, installed.Index+1), l.Close())
}

// An installation runs out of room, and is repeated as raft does: until the
// checkpoint is the newest. What is appended then is there at the next start.
func TestInstallationWithoutRoom(t *testing.T) {
	for skip := 0; ; skip++ {
		m := vfs.NewMemory()
		fault := vfs.NewFault(m)
		l, _ := beforeInstall(t, m, fault)
		ops := vfs.OpWrite | vfs.OpCreate | vfs.OpRename | vfs.OpRemove
		calls := fault.Count(ops)
		fault.Add(vfs.Rule{Ops: ops, Skip: skip, Times: 1, Err: syscall.ENOSPC})
		for {
			err := l.Install(installed)
			if ck, _ := l.Checkpoint(); err == nil || ck.Index == installed.Index {
				break
			}
			if !isFull(err) {
				t.Fatalf("call %d: %v", skip, err)
			}
		}
		done := fault.Count(ops)-calls <= int64(skip)
		fault.Clear()
		w := &twin{first: installed.Index + 1}
		raw := testBatch(1, 2)
		if err := l.Append([]Entry{{Index: w.first, Epoch: 2, Batch: raw}}); err != nil {
			t.Fatalf("call %d: %v", skip, err)
		}
		es, err := l.Entries(w.first, w.first+1, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.batches = append(w.batches, es[0].Batch)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = Open(installOptions(m)); err != nil {
			t.Fatalf("call %d: %v", skip, err)
		}
		if err := errors.Join(w.endsWith(l, w.first), l.Close()); err != nil {
			t.Fatalf("call %d: %v", skip, err)
		}
		if done {
			if skip < 8 {
				t.Errorf("only %d calls", skip)
			}
			return
		}
	}
}
