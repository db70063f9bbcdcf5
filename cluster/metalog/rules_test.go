// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
)

// The rules R6, R10 and R11 of docs/format/metadata-log.md, those of the files;
// the others are raft's and are tested in package raftnode.

// newDisk is a disk with nothing on it but the folder of a log.
func newDisk(t rapid.TB) *vfs.Memory {
	t.Helper()
	m := vfs.NewMemory()
	makeMeta(t, m)
	return m
}

func makeMeta(t rapid.TB, fsys vfs.FS) {
	t.Helper()
	if err := errors.Join(fsys.MkdirAll("/meta"), fsys.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
}

func newTestLog(t testing.TB, fsys vfs.FS) *Log {
	t.Helper()
	makeMeta(t, fsys)
	return openTestLog(t, fsys)
}

func openTestLog(t testing.TB, fsys vfs.FS) *Log {
	t.Helper()
	l, err := Open(Options{FS: fsys, Dir: "/meta"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func formTestLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Form([]metarec.Voter{NewVoter(1, kafka.DirectoryID{15: 9})}, []byte("conf"), nil, 33, 1000); err != nil {
		t.Fatal(err)
	}
}

func appendTest(t testing.TB, l *Log, epoch kafka.LeaderEpoch, batches ...int) {
	t.Helper()
	index := l.LastIndex()
	var es []Entry
	for i, n := range batches {
		es = append(es, Entry{Index: index + 1 + uint64(i), Epoch: epoch, Batch: testBatch(n, 1+n%3)})
	}
	if err := l.Append(es); err != nil {
		t.Fatal(err)
	}
}

// losses are the crashes that a test looks at.
func losses(seed uint64) []vfs.Loss {
	return []vfs.Loss{
		{Data: vfs.KeepAll, Entries: vfs.KeepAll}, {Data: vfs.KeepNone, Entries: vfs.KeepNone},
		{Data: vfs.KeepPrefix, Entries: vfs.KeepPrefix, Seed: seed}, {Data: vfs.KeepTorn, Entries: vfs.KeepTorn, Seed: seed},
		{Data: vfs.KeepAll, Entries: vfs.KeepNone}, {Data: vfs.KeepNone, Entries: vfs.KeepAll},
	}
}

// R6: Kafka's leader-epoch-checkpoint is gone before the first byte of the log
// changes, whether by an append or a cut.
func TestR6EpochCheckpointGoesFirst(t *testing.T) {
	m := vfs.NewMemory()
	l := newTestLog(t, m)
	formTestLog(t, l)
	appendTest(t, l, 1, 1, 2, 3)
	name := "/meta/" + DirName + "/leader-epoch-checkpoint"
	if err := writeFile(m, name, []byte("0\n1\n9 50\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.SyncDir("/meta/" + DirName); err != nil {
		t.Fatal(err)
	}
	crash := vfs.NewCrash(m)
	l = openTestLog(t, crash)
	var changed bool
	crash.Observe(func(_ int64, call vfs.Call) {
		image := crash.Image(vfs.Loss{Entries: vfs.KeepNone})
		_, err := image.Stat(name)
		b, readErr := vfs.ReadFile(image, "/meta/"+DirName+"/00000000000000000000.log", 1<<20)
		if readErr != nil {
			t.Error(readErr)
		}
		if changed = changed || len(b) > int(l.segments[0].size); changed && err == nil {
			t.Errorf("at %v the log has changed and the file is there", call)
		}
	})
	appendTest(t, l, 2, 4)
	if _, err := crash.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("leader-epoch-checkpoint after an append: %v", err)
	}
}

// R10: wherever an installation is cut, the next start has either the log or
// the checkpoint, and never a log that does not belong to the checkpoint.
func TestR10CrashWhileInstalling(t *testing.T) {
	for cut := int64(1); ; cut++ {
		m := vfs.NewMemory()
		l := newTestLog(t, m)
		formTestLog(t, l)
		appendTest(t, l, 1, 1, 2, 3, 4, 5)
		if err := l.SaveQuorum(QuorumState{Leader: -1, Epoch: 1, Voted: -1, Commit: 1, HasCommit: true}); err != nil {
			t.Fatal(err)
		}
		end := l.End()
		s := &scriptLog{t: t, log: l}
		// The checkpoint ends where a batch of another epoch ends here, the worst case.
		if err := s.receive([]string{"5", "2", "4"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		crash := vfs.NewCrash(m)
		l = openLeavingParts(t, crash)
		crash.CutAt(crash.Calls() + cut)
		err := l.Install(Checkpoint{End: 5, Epoch: 2})
		if err == nil {
			if cut < 10 {
				t.Fatalf("an installation takes %d calls", cut)
			}
			return
		}
		for _, loss := range losses(uint64(cut)) {
			after := openTestLog(t, crash.Image(loss))
			ck, _ := after.Checkpoint()
			switch {
			case ck.End == 0 && after.End() == end && after.FirstIndex() == 2:
			case ck.End == 5 && ck.Index == 4 && after.End() == 5 && after.LastIndex() == 4:
			default:
				t.Errorf("cut at call %d: checkpoint %+v, index %d to %d, end %d", cut, ck, after.FirstIndex(), after.LastIndex(), after.End())
			}
			if err := after.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// R10, where the checkpoint ends at the very offset at which a segment of the old
// log begins: nothing in the files tells that it is another history.
func TestR10SegmentThatBeginsAtTheCheckpoint(t *testing.T) {
	for cut := int64(1); ; cut++ {
		m := newDisk(t)
		o := Options{FS: m, Dir: "/meta", SegmentBytesMax: 170}
		open := func(fsys vfs.FS) *Log {
			o.FS = fsys
			l, err := Open(o)
			if err != nil {
				t.Fatalf("cut at call %d: %v", cut, err)
			}
			return l
		}
		l := open(m)
		formTestLog(t, l)
		s := &scriptLog{t: t, log: l}
		if err := l.Append(s.entries([]string{"2", "1:1", "1:1", "1:1", "1:1"})); err != nil { // segments 0 and 2
			t.Fatal(err)
		}
		if err := s.receive([]string{"2", "2", "9"}); err != nil {
			t.Fatal(err)
		}
		part := "/meta/" + DirName + "/" + Checkpoint{End: 2, Epoch: 2}.Name() + partSuffix
		b, err := vfs.ReadFile(m, part, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		crash := vfs.NewCrash(m)
		l = open(crash)
		if err := writeFile(crash, part, b, 0o400); err != nil {
			t.Fatal(err)
		}
		crash.CutAt(crash.Calls() + cut)
		if err := l.Install(Checkpoint{End: 2, Epoch: 2}); err == nil {
			return
		}
		for _, loss := range losses(uint64(cut)) {
			after := open(crash.Image(loss))
			if ck, _ := after.Checkpoint(); ck.End == 2 && (after.LastIndex() != 9 || after.End() != 2) {
				t.Errorf("cut at call %d: index %d, end %d behind the checkpoint", cut, after.LastIndex(), after.End())
			}
			if err := after.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// openLeavingParts opens a log whose received checkpoint is still to be
// installed, which a start throws away.
func openLeavingParts(t *testing.T, fsys vfs.FS) *Log {
	t.Helper()
	part := "/meta/" + DirName + "/" + Checkpoint{End: 5, Epoch: 2}.Name() + partSuffix
	b, err := vfs.ReadFile(fsys, part, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	l := openTestLog(t, fsys)
	if err := writeFile(fsys, part, b, 0o400); err != nil {
		t.Fatal(err)
	}
	return l
}

// R11: a log that starts above 0 without a checkpoint that reaches its start is
// refused; a checkpoint without a log is enough.
func TestR11LogAboveZeroNeedsACheckpoint(t *testing.T) {
	m := vfs.NewMemory()
	l := newTestLog(t, m)
	formTestLog(t, l)
	appendTest(t, l, 1, 1, 2, 3)
	l.Commit(4)
	ck, err := l.WriteCheckpoint(State{End: l.End(), ConfState: []byte("conf"), MetadataVersion: 33, Records: noRecords})
	if err != nil {
		t.Fatal(err)
	}
	appendTest(t, l, 1, 4)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	remove := func(names ...string) {
		for _, name := range names {
			if err := m.Remove("/meta/" + DirName + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove("00000000000000000000.log")
	l = openTestLog(t, m)
	if l.FirstIndex() != ck.Index+1 || l.LastIndex() != ck.Index+1 {
		t.Errorf("index %d to %d", l.FirstIndex(), l.LastIndex())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	remove(ck.Name())
	if _, err := Open(Options{FS: m, Dir: "/meta"}); !errors.Is(err, errNoCheckpoint) {
		t.Errorf("open without the checkpoint: %v", err)
	}
	remove(segmentName(ck.End))
	l = openTestLog(t, m) // the 0-0 checkpoint alone
	if l.End() != 0 || l.LastIndex() != 1 || l.Empty() {
		t.Errorf("end %d, last index %d, empty %v", l.End(), l.LastIndex(), l.Empty())
	}
}

// The bytes that Kafka's own files have in the same places.
func TestControlRecordBytes(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	leader := &metarec.LeaderChange{LeaderID: 1, Voters: []metarec.LeaderChangeVoter{{VoterID: 1}}, GrantingVoters: []metarec.LeaderChangeVoter{{VoterID: 1}}}
	if got, want := metarec.MarshalControl(nil, leader), unhex("000000000001020000000100020000000100"+"00"); !bytes.Equal(got, want) {
		t.Errorf("leader change %x, want %x", got, want)
	}
	directory := kafka.DirectoryID(unhex("8e9400000000000000000000000045" + "77"))
	voters := &metarec.KRaftVoters{Voters: []metarec.Voter{NewVoter(1, directory, metarec.VoterEndpoint{Name: "CONTROLLER", Host: "127.0.0.1", Port: 0x7209})}}
	voters.Unknown = WithRaft(nil, unhex("12040803104d"))
	want := unhex("00000200000001" + hex.EncodeToString(directory[:]) + "020b434f4e54524f4c4c45520a3132372e302e302e31720900" + "000000010000" + "01904e0612040803104d")
	if got := metarec.MarshalControl(nil, voters); !bytes.Equal(got, want) {
		t.Errorf("voters\n%x, want\n%x", got, want)
	}
	tag := snapshotTag{index: 14, confState: unhex("08b6d9e8b3aff1cfda21")}
	header := &metarec.SnapshotHeader{LastContainedLogTimestampMs: 7, Unknown: WithRaft(nil, tag.bytes())}
	if got, want := metarec.MarshalControl(nil, header), unhex("0000"+"0000000000000007"+"01904e0b0e08b6d9e8b3aff1cfda21"); !bytes.Equal(got, want) {
		t.Errorf("snapshot header %x, want %x", got, want)
	}
	id := kafka.DirectoryID(unhex("8e94000000000000" + "af210000000069c1"))
	if got, want := RaftID(id), uint64(0x8e94000000000000^0xaf210000000069c1); got != want {
		t.Errorf("raft id %x, want %x", got, want)
	}
	for _, d := range []kafka.DirectoryID{{}, {0: 0xff, 1: 0xff, 2: 0xff, 3: 0xff, 4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff}} {
		if id := RaftID(d); id == 0 || id >= 1<<64-2 {
			t.Errorf("raft id %x is reserved", id)
		}
	}
}

func TestQuorumStateFile(t *testing.T) {
	dir, err := kafka.ParseUUID("jpQAAAAAAAAAAAAAAABFdw")
	if err != nil {
		t.Fatal(err)
	}
	q := QuorumState{Leader: 1, Epoch: 3, Voted: 1, VotedDirectory: kafka.DirectoryID(dir), Commit: 113, HasCommit: true}
	want := `{"leaderId":1,"leaderEpoch":3,"votedId":1,"votedDirectoryId":"jpQAAAAAAAAAAAAAAABFdw","data_version":1,"gregorCommit":113}`
	if got := string(q.marshal()); got != want {
		t.Errorf("%s\n%s", got, want)
	}
	back, err := parseQuorumState([]byte(want))
	if err != nil || back.Commit != 113 || back.VotedDirectory != q.VotedDirectory || back.Leader != 1 {
		t.Errorf("%+v, %v", back, err)
	}
	kafkas := `{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":3}],"data_version":0}`
	back, err = parseQuorumState([]byte(kafkas))
	if err != nil || back.HasCommit || !slices.Equal(back.CurrentVoters, []kafka.NodeID{1, 3}) {
		t.Errorf("version 0: %+v, %v", back, err)
	}
	for _, bad := range []string{"", "{", `{"leaderId":-5,"leaderEpoch":1,"votedId":-1,"data_version":1}`, `{"leaderId":1,"leaderEpoch":1,"votedId":-1,"data_version":2}`, `{"leaderId":1,"leaderEpoch":1,"votedId":1,"votedDirectoryId":"x","data_version":1}`} {
		if _, err := parseQuorumState([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
