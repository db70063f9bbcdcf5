// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// The rules R1 to R9 of docs/format/metadata-log.md. R6, R10 and R11 are those of the
// files alone and are tested in package metalog.

// R1: the bytes of a batch are decided once, by the leader that appends it.
func TestR1BytesAreDecidedOnce(t *testing.T) {
	s := newSim(t, 3)
	l := s.leader(3)
	s.proposeMany(3)
	// A membership change while one is unapplied becomes an empty entry of
	// raft's in mid-term: it too is the leader's batch, everywhere.
	other := Identity{9, directoryOf(9)}
	voters := []metarec.Voter{voterNamed(1), voterNamed(2), voterNamed(3)}
	if err := l.core.proposeChange(pb.ConfChangeAddLearnerNode, other, voters); err != nil {
		t.Fatal(err)
	}
	data, err := proto.Marshal(&pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(other.raftID())}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.core.rn.Step(&pb.Message{Type: pb.MsgProp.Enum(), From: new(l.core.id),
		Entries: []*pb.Entry{{Type: pb.EntryConfChangeV2.Enum(), Data: data}}}); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Hour) // the followers' clocks must not matter
	s.deliver()
	s.tick(2 * heartbeatTicks)
	last := l.core.log.LastIndex()
	s.same(last - 1)
	es, err := l.core.log.Entries(last, last+1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := controlTypes(t, es[0].Batch); !slices.Equal(got, []int16{metarec.TypeLeaderChange}) {
		t.Errorf("the refused change became control records %v", got)
	}
	if slices.Contains(l.core.conf.GetLearners(), other.raftID()) == false {
		t.Error("the first change does not count")
	}
}

func controlTypes(t *testing.T, b []byte) (types []int16) {
	t.Helper()
	h, err := batch.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	it := batch.Records(&h, b[batch.HeaderSize:])
	var rec batch.Record
	for it.Next(&rec) {
		typ, err := metarec.ControlType(rec.Key)
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, typ)
	}
	return types
}

// R2: the 0-0 checkpoint is index 1 and offset 0 is index 2, so an empty node
// is served by snapshot and gets the whole quorum.
func TestR2JoinerGetsTheWholeQuorum(t *testing.T) {
	s := newSim(t, 3)
	l := s.leader(3)
	if first, _ := l.core.log.OffsetAfter(1); l.core.log.FirstIndex() != 2 || first != 0 {
		t.Fatalf("the log begins with index %d, index 1 ends at offset %d", l.core.log.FirstIndex(), first)
	}
	s.add(4, nil)
	s.change(pb.ConfChangeAddLearnerNode, 4, 1, 2, 3)
	s.leader(3).checkpoint()
	s.tick(6 * electionTicks)
	if got := s.nodes[4].core.conf; !slices.Equal(got.GetVoters(), raftIDs(1, 2, 3)) || !slices.Equal(got.GetLearners(), raftIDs(4)) {
		t.Errorf("the joiner's quorum is %v", got)
	}
	// And it stays so over a restart.
	s.nodes[4].crash()
	s.nodes[4].start()
	if got := s.nodes[4].voters(); !slices.Equal(got, raftIDs(1, 2, 3)) {
		t.Errorf("after a restart %x", got)
	}
}

// R3: the commit index is durable before a membership change counts, so a lone
// voter that has added another one does not lead alone after a restart.
func TestR3CommitIndexBeforeMembershipChange(t *testing.T) {
	s := newSim(t, 1)
	s.leader(1)
	s.add(2, nil)
	s.change(pb.ConfChangeAddLearnerNode, 2, 1)
	s.nodes[1].checkpoint()
	s.tick(6 * electionTicks)
	s.change(pb.ConfChangeAddNode, 2, 1, 2)
	s.proposeMany(3)
	s.nodes[2].crash()
	s.nodes[1].crash()
	s.nodes[1].start()
	s.tick(6 * electionTicks)
	if l := s.nodes[1].core.leadership(); l.Leading {
		t.Fatal("one voter of two leads alone")
	}
	if got := s.nodes[1].voters(); !slices.Equal(got, raftIDs(1, 2)) {
		t.Errorf("voters %x", got)
	}
	s.nodes[2].start()
	s.leader(2)
}

// R5: quorum-state names this node as leader as soon as it leads; else Kafka
// would lead a second time in the same epoch.
func TestR5LeaderIsInQuorumState(t *testing.T) {
	n := startNode(t, singleOptions(t, vfs.NewMemory(), "/meta"))
	q, ok := n.Log().Quorum()
	if !ok || q.Leader != 1 || q.Epoch != 1 || q.Voted != 1 || q.VotedDirectory != n.o.DirectoryID || !q.HasCommit {
		t.Errorf("quorum-state of a leader: %+v", q)
	}
	n.Kill()

	s := newSim(t, 3)
	l := s.leader(3)
	for _, n := range s.up() {
		q, _ := n.core.log.Quorum()
		if leads := n == l; leads != (q.Leader == n.id.NodeID) {
			t.Errorf("node %d, leads %v: %+v", n.id.NodeID, leads, q)
		}
		if q.Epoch == l.core.leadership().Epoch && q.Voted == kafka.NoNode {
			t.Errorf("node %d has forgotten its vote: %+v", n.id.NodeID, q)
		}
	}
}

// R5, reading: no vote beside a leader means that the leader has it.
func TestR5VoteIsTheLeaders(t *testing.T) {
	self := Identity{1, directoryOf(1)}
	two := Identity{2, directoryOf(2)}
	for _, c := range []struct {
		name string
		q    metalog.QuorumState
		want uint64
	}{
		{"nothing", metalog.QuorumState{Leader: -1, Voted: -1}, raft.None},
		{"own vote", metalog.QuorumState{Leader: -1, Voted: 1, VotedDirectory: self.DirectoryID}, self.raftID()},
		{"leader, no vote", metalog.QuorumState{Leader: 2, Voted: -1}, two.raftID()},
		{"self as leader, no vote", metalog.QuorumState{Leader: 1, Voted: -1}, self.raftID()},
		{"vote without directory", metalog.QuorumState{Leader: -1, Voted: 2}, two.raftID()},
		{"vote for a disk that is gone", metalog.QuorumState{Leader: -1, Voted: 2, VotedDirectory: directoryOf(77)}, metalog.RaftID(directoryOf(77))},
		{"unknown leader", metalog.QuorumState{Leader: 5, Voted: -1}, metalog.RaftID(kafka.DirectoryID{})},
	} {
		core := &core{self: self, names: map[uint64]Identity{self.raftID(): self, two.raftID(): two}}
		if got := core.voteOf(c.q); got != c.want {
			t.Errorf("%s: vote of %x, want %x", c.name, got, c.want)
		}
	}
}

// R5: a log whose epoch is above that of quorum-state counts more.
func TestR5EpochOfTheLogCounts(t *testing.T) {
	o := fixtureOptions(t, "dynamic")
	if err := o.FS.Remove("/meta/" + metalog.DirName + "/quorum-state"); err != nil {
		t.Fatal(err)
	}
	n := startFixture(t, o)
	if l := n.Leader(); l.Epoch != 3 {
		t.Errorf("epoch %d, want 3: the log's is 2", l.Epoch)
	}
}

// R7: while the newest checkpoint is older than the last membership change,
// there is no snapshot, and one is ordered.
func TestR7SnapshotIsNewerThanTheLastChange(t *testing.T) {
	s := newSim(t, 1)
	l := s.leader(1)
	s.proposeMany(5)
	l.checkpoint()
	if _, err := l.core.store.Snapshot(); err != nil {
		t.Fatal(err)
	}
	s.add(2, nil)
	s.change(pb.ConfChangeAddLearnerNode, 2, 1)
	l.core.store.wanted = false
	if _, err := l.core.store.Snapshot(); !errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable) {
		t.Errorf("snapshot from before the change: %v", err)
	}
	if !l.core.store.wanted {
		t.Error("no checkpoint is ordered")
	}
	l.checkpoint()
	snap, err := l.core.store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if got := snap.GetMetadata().GetConfState().GetLearners(); !slices.Equal(got, raftIDs(2)) {
		t.Errorf("learners %x in the snapshot", got)
	}
	s.tick(6 * electionTicks)
	s.same(l.core.log.LastIndex())
}

// R8: a directory that the voters record does not name cannot vote; another
// endpoint than the record's is written over it, before anything else.
func TestR8DirectoryOrEndpointMismatch(t *testing.T) {
	fs := vfs.NewMemory()
	o := singleOptions(t, fs, "/meta")
	n := startNode(t, o)
	n.Kill()

	other := o
	other.DirectoryID = directoryOf(55)
	if _, err := Open(other); !errors.Is(err, ErrNotMember) {
		t.Errorf("open with another directory id: %v", err)
	}
	other = o
	other.NodeID += 2
	if _, err := Open(other); !errors.Is(err, ErrNotMember) {
		t.Errorf("open as another node: %v", err)
	}

	o.Endpoints = []metarec.VoterEndpoint{{Name: "CONTROLLER", Host: "127.0.0.1", Port: 19093}}
	n = startNode(t, o)
	defer n.Kill()
	m, _ := n.Log().MembersAt(n.Log().LastIndex())
	if m.Voters[0].Endpoints[0].Port != 19093 || m.Change != nil {
		t.Errorf("voters record %+v", m)
	}
	if l := n.Leader(); !l.Leading || l.ServeFrom != n.Log().End() {
		t.Errorf("serves from %d, the log ends at %d", l.ServeFrom, n.Log().End())
	}
}
