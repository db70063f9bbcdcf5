// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// damageOptions have small segments: a log of a few appends has several.
func damageOptions(fsys vfs.FS) Options {
	return Options{FS: fsys, Dir: "/meta", SegmentBytesMax: 900}
}

// damageLog is a log of several segments with a checkpoint inside of one, and
// appends of several batches; nothing of what came behind the first term's
// beginning is in quorum-state.
func damageLog(t *testing.T, m *vfs.Memory) (*Log, *twin) {
	t.Helper()
	makeMeta(t, m)
	l, err := Open(damageOptions(m))
	if err != nil {
		t.Fatal(err)
	}
	formTestLog(t, l)
	w := &twin{first: 2}
	for epoch := kafka.LeaderEpoch(1); epoch <= 2; epoch++ {
		if err := l.SaveQuorum(QuorumState{Leader: 1, Epoch: epoch, Voted: 1, Commit: max(1, w.last()), HasCommit: true}); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := l.Append(w.put(w.last()+1, epoch, []int{1, 2 + i, 1 + 3*i})); err != nil {
				t.Fatal(err)
			}
			l.Commit(w.last())
			if epoch == 1 && i == 1 {
				end, _ := l.OffsetAfter(w.last() - 2)
				if _, err := l.WriteCheckpoint(State{End: end, ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return l, w
}

// sameAs reports how l differs from what was appended. It may begin behind the
// newest checkpoint. An epoch may differ that is in order all the same: nothing
// tells that it is not the one that was written.
func (w *twin) sameAs(l *Log) error {
	ck, _ := l.Checkpoint()
	if l.LastIndex() != w.last() || l.FirstIndex() > ck.Index+1 {
		return fmt.Errorf("index %d to %d, %d were appended, and the checkpoint is of index %d", l.FirstIndex(), l.LastIndex(), w.last(), ck.Index)
	}
	for i := l.FirstIndex(); i <= l.LastIndex(); i++ {
		es, err := l.Entries(i, i+1, 0)
		if err != nil {
			return err
		}
		got := bytes.Clone(es[0].Batch)
		batch.SetLeaderEpoch(got, w.epochOf(i))
		if !bytes.Equal(got, w.batches[i-w.first]) {
			return fmt.Errorf("index %d differs", i)
		}
	}
	return nil
}

func (w *twin) epochOf(index uint64) kafka.LeaderEpoch {
	h, err := batch.Parse(w.batches[index-w.first])
	if err != nil {
		panic(err)
	}
	return h.LeaderEpoch
}

// Whichever bit of the log or of a checkpoint flips behind a clean stop or a kill, the start is
// refused and names the file, or nothing is missing and nothing differs: never
// is the damage taken for the end of an append that was torn.
func TestAnyBitMayFlip(t *testing.T) {
	for _, stop := range []string{"clean", "killed", "killed, what was durable is not known"} {
		t.Run(stop, func(t *testing.T) {
			m := vfs.NewMemory()
			l, w := damageLog(t, m)
			dir := "/meta/" + DirName + "/"
			if stop == "clean" {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(stop, "not known") {
				if err := m.Remove(dir + syncedName); err != nil {
					t.Fatal(err)
				}
			}
			infos, err := m.ReadDir("/meta/" + DirName)
			if err != nil {
				t.Fatal(err)
			}
			outcomes := map[string]int{}
			for _, info := range infos {
				every := int64(23) // odd: every place in a byte comes up
				if stop == "killed" {
					every = 7
				}
				for bit := int64(0); bit < info.SizeBytes*8; bit += every {
					outcome, err := flipOne(m, dir+info.Name, bit, w)
					if err != nil {
						t.Errorf("bit %d of byte %d of %s: %v", bit%8, bit/8, info.Name, err)
					}
					outcomes[info.Name+" "+outcome]++
				}
			}
			t.Log(outcomes)
			newest, _ := l.Checkpoint()
			if n := outcomes[newest.Name()+" refused"]; n > 0 {
				t.Errorf("refused for want of the newest checkpoint %d times, and all is in the log", n)
			}
			if outcomes["00000000000000000000.log refused"] == 0 {
				t.Error("never is damage of the log refused")
			}
		})
	}
}

func flipOne(m *vfs.Memory, name string, bit int64, w *twin) (outcome string, err error) {
	m = m.CrashClone(vfs.Loss{Data: vfs.KeepAll, Entries: vfs.KeepAll})
	f, err := m.Open(name, vfs.ReadWrite, 0)
	if err != nil {
		return "", err
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], bit/8)
	b[0] ^= 1 << (bit % 8)
	if err == nil {
		_, err = f.WriteAt(b[:], bit/8)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	l, err := Open(damageOptions(m))
	if err != nil {
		if !strings.Contains(err.Error(), path.Base(name)) {
			return "", fmt.Errorf("refused, but not by name: %w", err)
		}
		return "refused", nil
	}
	return "no difference", errors.Join(w.sameAs(l), l.Close())
}

// Wherever the power goes while appends of many sectors are written, and while a
// leader cuts away what another one has appended, the next start needs nobody.
// What an append has returned for is there.
func TestTornAppendsNeedNobody(t *testing.T) {
	for cut := int64(1); ; cut++ {
		m := newDisk(t)
		crash := vfs.NewCrash(m)
		crash.CutAt(cut)
		w, durable, err := tornHistory(crash)
		if err == nil {
			if cut < 50 {
				t.Errorf("only %d places to cut", cut)
			}
			return
		}
		for seed := range uint64(10) {
			loss := vfs.Loss{Data: vfs.Keep(seed % 4), Entries: vfs.Keep((seed + uint64(cut)) % 4), Seed: seed + uint64(cut)<<8}
			l, err := Open(Options{FS: crash.Image(loss), Dir: "/meta", SegmentBytesMax: 9000})
			if err != nil {
				t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
			}
			for i := l.FirstIndex(); i <= durable; i++ {
				es, err := l.Entries(i, i+1, 0)
				if err != nil {
					t.Fatalf("cut at call %d, %+v: %v", cut, loss, err)
				}
				if !bytes.Equal(es[0].Batch, w.batches[i-w.first]) {
					t.Fatalf("cut at call %d, %+v: index %d differs", cut, loss, i)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tornHistory appends writes of up to 6,000 bytes and cuts some of them away
// again, until the first error. durable is the last index that must be there.
func tornHistory(fsys vfs.FS) (w *twin, durable uint64, err error) {
	w = &twin{first: 2}
	l, err := Open(Options{FS: fsys, Dir: "/meta", SegmentBytesMax: 9000})
	if err != nil {
		return w, 0, err
	}
	if err := l.Form(nil, []byte("conf"), nil, 33, 1); err != nil {
		return w, 0, err
	}
	durable = 1
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 15 {
		epoch := kafka.LeaderEpoch(1 + round/3)
		if round%3 == 0 {
			if err := l.SaveQuorum(QuorumState{Leader: 1, Epoch: epoch, Voted: 1, Commit: max(1, l.Committed().Index), HasCommit: true}); err != nil {
				return w, durable, err
			}
		}
		at := w.last() + 1
		if round%3 == 0 && round > 0 { // the new leader has less
			at = l.Committed().Index + 1
			durable = at - 1
		}
		counts := make([]int, 1+r.IntN(4))
		for i := range counts {
			counts[i] = 1 + r.IntN(60)
		}
		if err := l.Append(w.put(at, epoch, counts)); err != nil {
			return w, durable, err
		}
		durable = w.last()
		if round%3 == 1 {
			l.Commit(durable)
		}
	}
	return w, durable, l.Close()
}

// The damage of a range of bytes, as of a block that a file system has lost.
func TestAnyBlockOfTheLogMayBeLost(t *testing.T) {
	m := vfs.NewMemory()
	_, w := damageLog(t, m)
	infos, err := m.ReadDir("/meta/" + DirName)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, info := range infos {
		for at := int64(0); path.Ext(info.Name) == ".log" && at < info.SizeBytes; at += 64 {
			clone := m.CrashClone(vfs.Loss{Data: vfs.KeepAll, Entries: vfs.KeepAll})
			f, err := clone.Open("/meta/"+DirName+"/"+info.Name, vfs.ReadWrite, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(make([]byte, min(512, info.SizeBytes-at)), at); err != nil {
				t.Fatal(err)
			}
			l, err := Open(damageOptions(clone))
			if err != nil {
				var damaged *DamagedError
				if !errors.As(err, &damaged) {
					t.Errorf("512 bytes from byte %d of %s: %v", at, info.Name, err)
				}
				refused++
				continue
			}
			if err := errors.Join(w.sameAs(l), l.Close()); err != nil {
				t.Errorf("512 bytes from byte %d of %s: %v", at, info.Name, err)
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// A voter that is alone is told how to go on without what is damaged; one among
// others is sent to them.
func TestRefusalTellsTheWay(t *testing.T) {
	for voters, want := range map[int]string{1: "gregor.metadata.cut.offset=2", 3: "join the others anew"} {
		m := newDisk(t)
		l, err := Open(damageOptions(m))
		if err != nil {
			t.Fatal(err)
		}
		var list []metarec.Voter
		for i := range voters {
			list = append(list, NewVoter(kafka.NodeID(i), kafka.DirectoryID{15: byte(9 + i)}))
		}
		w := &twin{first: 2}
		err = errors.Join(l.Form(list, []byte("conf"), nil, 33, 1),
			l.SaveQuorum(QuorumState{Leader: 1, Epoch: 1, Voted: 1, HasCommit: true}), l.Append(w.put(2, 1, []int{2, 1})), l.Close())
		if err != nil {
			t.Fatal(err)
		}
		chop(t, m, segmentName(0), 7)
		_, err = Open(damageOptions(m))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "cut.offset") != (voters == 1) {
			t.Errorf("%d voters: %v", voters, err)
		}
	}
}

// Wherever in its sectors a batch begins and ends: damage that nothing but the
// sectors tells of is not taken for a torn append because a sector holds no more
// of the batch than zeros that are in every batch.
func TestDamageAtAnyPlaceOfASector(t *testing.T) {
	for size := range sectorBytes {
		m := newDisk(t)
		l, err := Open(Options{FS: m, Dir: "/meta"})
		if err != nil {
			t.Fatal(err)
		}
		formTestLog(t, l)
		first := DataBatch(1, [][]byte{bytes.Repeat([]byte{'x'}, size)})
		second := DataBatch(1, [][]byte{bytes.Repeat([]byte{'y'}, 700)})
		err = errors.Join(l.SaveQuorum(QuorumState{Leader: 1, Epoch: 1, Voted: 1, HasCommit: true}),
			l.Append([]Entry{{Index: 2, Epoch: 1, Batch: first}, {Index: 3, Epoch: 1, Batch: second}}), l.Close())
		s := scriptLog{fs: m}
		if _, flip := s.command("flip", []string{segmentName(0), fmt.Sprint(len(first) + 300)}); errors.Join(err, flip, m.Remove(s.path(syncedName))) != nil {
			t.Fatal(err, flip)
		}
		var damaged *DamagedError
		if l, err = Open(Options{FS: m, Dir: "/meta"}); !errors.As(err, &damaged) {
			t.Errorf("a batch from byte %d to %d: index %d is the last, %v", len(first), len(first)+len(second), l.LastIndex(), err)
		}
	}
}
