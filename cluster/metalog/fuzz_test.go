// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gregor/base/vfs"
	"gregor/cluster/metarec"
)

// FuzzOpen opens a directory whose log and checkpoint are any bytes: it is
// refused or cut, never a panic, and what is then there can be read.
func FuzzOpen(f *testing.F) {
	seeds, err := filepath.Glob("../raftnode/testdata/kafka/*/__cluster_metadata-0")
	if err != nil {
		f.Fatal(err)
	}
	for _, dir := range seeds {
		log, _ := os.ReadFile(filepath.Join(dir, segmentName(0)))
		checkpoint, err := os.ReadFile(filepath.Join(dir, Checkpoint{}.Name()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(log, checkpoint)
		f.Add(log, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, log, checkpoint []byte) {
		m := vfs.NewMemory()
		dir := "/meta/" + DirName
		if err := m.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		if len(log) > 0 {
			if err := writeFile(m, dir+"/"+segmentName(0), log, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if len(checkpoint) > 0 {
			if err := writeFile(m, dir+"/"+Checkpoint{}.Name(), checkpoint, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Open(Options{FS: m, Dir: "/meta"})
		if err != nil {
			return
		}
		defer l.Close()
		for i := l.FirstIndex(); i <= l.LastIndex(); i++ {
			if _, err := l.Entries(i, i+1, 0); err != nil {
				t.Fatalf("index %d: %v", i, err)
			}
		}
		l.Commit(l.LastIndex())
		next, err := l.Replay(l.Committed().End-1, func(Batch) error { return nil })
		if err == nil && next != l.Committed().End && l.LastIndex() > 1 {
			t.Errorf("replay ends at %d, committed to %d", next, l.Committed().End)
		}
		_, _ = l.Bootstrap()
		// A second start finds the same.
		again, err := Open(Options{FS: m, Dir: "/meta"})
		if err != nil {
			t.Fatalf("second start: %v", err)
		}
		defer again.Close()
		if again.LastIndex() != l.LastIndex() || again.End() != l.End() {
			t.Errorf("second start ends with index %d, offset %d; the first with %d, %d", again.LastIndex(), again.End(), l.LastIndex(), l.End())
		}
	})
}

// FuzzReceive takes in any bytes as another node's checkpoint.
func FuzzReceive(f *testing.F) {
	dir, err := filepath.Glob("../raftnode/testdata/kafka/dynamic/__cluster_metadata-0/*.checkpoint")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range dir {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := vfs.NewMemory()
		l := newTestLog(t, m)
		defer l.Close()
		in, err := l.Receive(Checkpoint{End: 10, Epoch: 3}, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(b); err != nil {
			if err := in.Abort(); err != nil {
				t.Fatal(err)
			}
			return
		}
		c, err := in.Finish()
		if err != nil {
			return
		}
		if err := l.Install(c); err != nil {
			t.Fatalf("install what was verified: %v", err)
		}
		err = l.ReadCheckpoint(c, func(metarec.Record) error { return nil })
		if err != nil && !errors.Is(err, metarec.ErrMalformed) && !errors.Is(err, metarec.ErrUnknown) {
			t.Errorf("read what was verified: %v", err)
		}
	})
}

func FuzzQuorumState(f *testing.F) {
	f.Add([]byte(`{"leaderId":1,"leaderEpoch":3,"votedId":1,"votedDirectoryId":"jpQAAAAAAAAAAAAAAABFdw","data_version":1,"gregorCommit":113}`))
	f.Add([]byte(`{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseQuorumState(b)
		if err != nil {
			return
		}
		back, err := parseQuorumState(q.marshal())
		if err != nil {
			t.Fatal(err)
		}
		if back.Epoch != q.Epoch || back.Leader != q.Leader || back.Voted != q.Voted || back.VotedDirectory != q.VotedDirectory ||
			back.Commit != q.Commit || back.HasCommit != q.HasCommit || len(back.CurrentVoters) != len(q.CurrentVoters) {
			t.Errorf("%+v came back as %+v", q, back)
		}
	})
}

func FuzzSynced(f *testing.F) {
	s := synced{end: 1234, epoch: 7}
	f.Add(s.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSynced(b)
		if err == nil && !bytes.Equal(s.marshal(), b) {
			t.Errorf("%x came back as %x", b, s.marshal())
		}
	})
}
