// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// The rules R1 to R9 of a log that is raft's and Kafka's at once. R6, R10 and
// R11 are those of the files alone and are tested in package metalog.

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
	data, err := proto.Marshal(&pb.ConfChangeV2{Changes: []*pb.ConfChangeSingle{{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(other.RaftID())}}})
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
	if slices.Contains(l.core.conf.GetLearners(), other.RaftID()) == false {
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

// fixture copies a directory that Kafka wrote into a memory file system.
func fixture(t *testing.T, name string) (*vfs.Memory, kafka.DirectoryID) {
	t.Helper()
	m := vfs.NewMemory()
	root := filepath.Join("testdata", "kafka", name)
	var directory kafka.UUID
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if d.Name() == "meta.properties" {
			for line := range strings.Lines(string(b)) {
				if id, ok := strings.CutPrefix(line, "directory.id="); ok {
					directory, err = kafka.ParseUUID(strings.TrimSpace(id))
				}
			}
			return err
		}
		rel, _ := filepath.Rel(root, path)
		to := filepath.Join("/meta", rel)
		if err := m.MkdirAll(filepath.Dir(to)); err != nil {
			return err
		}
		f, err := m.Open(to, vfs.Create, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(b, 0)
		return errors.Join(err, f.SyncData(), f.Close(), m.SyncDir(filepath.Dir(to)), m.SyncDir("/meta"), m.SyncDir("/"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, kafka.DirectoryID(directory)
}

func fixtureOptions(t *testing.T, name string) Options {
	m, d := fixture(t, name)
	o := singleOptions(t, m, "/meta")
	o.DirectoryID = d
	return o
}

// startFixture opens what Kafka left and lets this node lead it.
func startFixture(t *testing.T, o Options) *Node {
	t.Helper()
	var n *Node
	o.Image = func() Applied { return appliedBy(t, n.Log()) }
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

func appliedBy(t testing.TB, log *metalog.Log) Applied {
	l := loader.New(log)
	if _, _, err := l.Load(); err != nil {
		t.Error(err)
	}
	img := l.Image()
	return Applied{End: l.Next(), MetadataVersion: img.MetadataVersion(), Records: img.Records()}
}

func topicsOf(t *testing.T, log *metalog.Log) (names []string) {
	t.Helper()
	l := loader.New(log)
	if _, _, err := l.Load(); err != nil {
		t.Fatal(err)
	}
	for topic := range l.Image().Topics() {
		names = append(names, topic.Name)
	}
	return names
}

// R4: no commit index in quorum-state means that Kafka wrote last; then the
// latest voters record is the quorum. A lone voter has all of its log
// committed, and writes a checkpoint at once behind which it serves.
func TestR4KafkaWroteLast(t *testing.T) {
	o := fixtureOptions(t, "dynamic")
	n := startFixture(t, o)
	l := n.Leader()
	if !l.Leading || l.Epoch != 3 {
		t.Fatalf("leadership %+v, want that of Kafka's epoch+1", l)
	}
	if got, want := topicsOf(t, n.Log()), []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("topics %v, want %v", got, want)
	}
	waitFor(t, func() bool {
		ck, _ := n.Log().Checkpoint()
		return ck.ConfState != nil && n.Log().FirstIndex() > ck.Index
	})
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Now we wrote last; the next start goes by our own checkpoint.
	again, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer again.Kill()
	if l := again.Leader(); l.Epoch != 4 || !l.Leading {
		t.Errorf("leadership %+v", l)
	}
	if got := topicsOf(t, again.Log()); len(got) != 3 {
		t.Errorf("topics %v", got)
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// R4, the other half: one of two voters must not lead alone.
func TestR4OneOfTwoVotersDoesNotLeadAlone(t *testing.T) {
	o := fixtureOptions(t, "pair")
	s := newSim(t, 0)
	o.Transport = &simNode{s: s}
	o.ensureDefaults()
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	if got := len(n.core.conf.GetVoters()); got != 2 {
		t.Fatalf("%d voters", got)
	}
	for range 5 * electionTicks {
		n.core.tick()
		if err := n.core.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if l := n.core.leadership(); l.Leading || l.Leader != kafka.NoNode {
		t.Errorf("leadership %+v", l)
	}
	if got := n.core.log.Committed().Index; got != 1 {
		t.Errorf("committed to index %d, but nobody knows", got)
	}
}

// R4: Kafka has added a voter behind the newest checkpoint. By the checkpoint
// this node would be alone.
func TestR4VoterThatKafkaAddedCounts(t *testing.T) {
	fs := vfs.NewMemory()
	o := singleOptions(t, fs, "/meta")
	n := startNode(t, o)
	n.Kill()
	log, err := metalog.Open(metalog.Options{FS: fs, Dir: "/meta"})
	if err != nil {
		t.Fatal(err)
	}
	own, _ := log.MembersAt(log.LastIndex())
	added := metalog.ControlBatch(1, &metarec.KRaftVoters{Voters: append(own.Voters, voterNamed(2))})
	if err := log.Append([]metalog.Entry{{Index: log.LastIndex() + 1, Epoch: 1, Batch: added}}); err != nil {
		t.Fatal(err)
	}
	// As Kafka leaves it: no commit index.
	if err := log.SaveQuorum(metalog.QuorumState{Leader: 1, Epoch: 1, Voted: -1}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	o.Transport = &simNode{s: newSim(t, 0)}
	n, err = Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Kill()
	for range 5 * electionTicks {
		n.core.tick()
		if err := n.core.drain(); err != nil {
			t.Fatal(err)
		}
	}
	if l := n.core.leadership(); l.Leading || len(n.core.conf.GetVoters()) != 2 {
		t.Errorf("leadership %+v with voters %x", l, n.core.conf.GetVoters())
	}
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
		{"own vote", metalog.QuorumState{Leader: -1, Voted: 1, VotedDirectory: self.DirectoryID}, self.RaftID()},
		{"leader, no vote", metalog.QuorumState{Leader: 2, Voted: -1}, two.RaftID()},
		{"self as leader, no vote", metalog.QuorumState{Leader: 1, Voted: -1}, self.RaftID()},
		{"vote without directory", metalog.QuorumState{Leader: -1, Voted: 2}, two.RaftID()},
		{"vote for a disk that is gone", metalog.QuorumState{Leader: -1, Voted: 2, VotedDirectory: directoryOf(77)}, metalog.RaftID(directoryOf(77))},
		{"unknown leader", metalog.QuorumState{Leader: 5, Voted: -1}, metalog.RaftID(kafka.DirectoryID{})},
	} {
		core := &core{self: self, names: map[uint64]Identity{self.RaftID(): self, two.RaftID(): two}}
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

// R9: a directory that Kafka kept with a static quorum of this node is taken
// over, and the first batch names the voters.
func TestR9StaticQuorumOfOneIsTakenOver(t *testing.T) {
	o := fixtureOptions(t, "static")
	before, err := metalog.Open(metalog.Options{FS: o.FS, Dir: o.Dir})
	if err != nil {
		t.Fatal(err)
	}
	end := before.End()
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := Open(o) // without an image: no checkpoint hides what is written
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if got := topicsOf(t, n.Log()); !slices.Equal(got, []string{"one"}) {
		t.Errorf("topics %v", got)
	}
	index, ok := n.Log().IndexBefore(end)
	if !ok {
		t.Fatalf("no batch ends at %d", end)
	}
	es, err := n.Log().Entries(index+1, index+2, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []int16{metarec.TypeLeaderChange, metarec.TypeKRaftVersion, metarec.TypeKRaftVoters}
	if got := controlTypes(t, es[0].Batch); !slices.Equal(got, want) {
		t.Errorf("first batch holds %v", got)
	}
	m, _ := n.Log().MembersAt(n.Log().LastIndex())
	if len(m.Voters) != 1 || m.Voters[0].DirectoryID != o.DirectoryID || m.KRaftVersion != 1 {
		t.Errorf("quorum %+v", m)
	}
	if q, _ := n.Log().Quorum(); q.Voted != 1 {
		t.Errorf("quorum-state %+v", q)
	}
	n.Kill()
	again := startFixture(t, o)
	if l := again.Leader(); !l.Leading || l.Epoch != 3 {
		t.Errorf("second start: %+v", l)
	}
}

// R9: a crash between the vote and the first own batch must not lose the static
// quorum, which nothing but quorum-state tells.
func TestR9StaticQuorumSurvivesACrash(t *testing.T) {
	clean := fixtureOptions(t, "static")
	mem := clean.FS.(*vfs.Memory)
	for cut := int64(1); ; cut++ {
		crash := vfs.NewCrash(mem.CrashClone(vfs.Loss{}))
		crash.CutAt(cut)
		o := clean
		o.FS, o.Failed = crash, nil
		n, err := Open(o)
		if err == nil {
			err = n.Start()
			n.Kill()
		}
		if err == nil && crash.Calls() < cut {
			return // the whole start went through
		}
		o.FS = crash.Image(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
		o.Failed = clean.Failed
		after, err := Open(o)
		if err != nil {
			t.Fatalf("cut at call %d: %v", cut, err)
		}
		if err := after.Start(); err != nil || !after.Leader().Leading {
			t.Fatalf("cut at call %d: %v, %+v", cut, err, after.Leader())
		}
		if got := topicsOf(t, after.Log()); !slices.Equal(got, []string{"one"}) {
			t.Fatalf("cut at call %d: topics %v", cut, got)
		}
		after.Kill()
	}
}

// R9: of a static quorum of several voters nobody here can tell who they are.
func TestR9StaticQuorumOfSeveralIsRefused(t *testing.T) {
	o := fixtureOptions(t, "static")
	name := "/meta/" + metalog.DirName + "/quorum-state"
	f, err := o.FS.Open(name, vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	state := `{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}`
	if _, err := f.WriteAt([]byte(state), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); !errors.Is(err, ErrStaticQuorum) {
		t.Errorf("open: %v", err)
	}
}

// A directory that Kafka's format tool prepared and nobody has run begins here.
func TestFormattedDirectoryBeginsHere(t *testing.T) {
	o := fixtureOptions(t, "formatted")
	n := startFixture(t, o)
	if l := n.Leader(); !l.Leading || l.Epoch != 1 {
		t.Errorf("leadership %+v", l)
	}
	recs, err := n.Log().Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]int16{}
	for _, rec := range recs {
		f := rec.(*metarec.FeatureLevel)
		levels[f.Name] = f.Level
	}
	if levels["metadata.version"] != 33 || levels["group.version"] != 1 || len(levels) != 6 {
		t.Errorf("bootstrap records %v", levels)
	}
	if img := appliedBy(t, n.Log()); img.MetadataVersion != 0 {
		t.Error("bootstrap records count as state before they were proposed")
	}
}

// A directory that was formatted for a static quorum has no voters in it: they
// come from the configuration.
func TestFormattedStaticDirectoryBeginsHere(t *testing.T) {
	o := fixtureOptions(t, "static")
	for _, name := range []string{"quorum-state", "00000000000000000000.log"} {
		if err := o.FS.Remove("/meta/" + metalog.DirName + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	o.Form.Voters[0].DirectoryID = o.DirectoryID
	n := startFixture(t, o)
	if l := n.Leader(); !l.Leading || l.Epoch != 1 {
		t.Errorf("leadership %+v", l)
	}
	if m, _ := n.Log().MembersAt(n.Log().LastIndex()); len(m.Voters) != 1 || m.KRaftVersion != 1 {
		t.Errorf("quorum %+v", m)
	}
	n.Kill()
	again := startFixture(t, o)
	if l := again.Leader(); !l.Leading || l.Epoch != 2 {
		t.Errorf("second start: %+v", l)
	}

	// Without voters in the configuration it waits to be taken in.
	o = fixtureOptions(t, "static")
	for _, name := range []string{"quorum-state", "00000000000000000000.log"} {
		if err := o.FS.Remove("/meta/" + metalog.DirName + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	o.Form = nil
	n = startFixture(t, o)
	if l := n.Leader(); l.Leading || l.Epoch != 0 {
		t.Errorf("a joiner leads: %+v", l)
	}
}
