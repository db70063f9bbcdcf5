// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
	"gregor/cluster/metarec"
)

// sim drives the cores of several nodes in one goroutine: time is ticks, and
// the network a queue. With a seed it goes the same way every time.
type sim struct {
	t     *testing.T
	nodes map[kafka.NodeID]*simNode
	queue []simMessage
	cut   map[[2]kafka.NodeID]bool // no message from, to
	now   time.Time
	n     int // of proposals
}

type simMessage struct {
	from, to Identity
	m        *pb.Message
}

type simNode struct {
	s  *sim
	id Identity
	fs *vfs.Memory
	// power can be cut at any call, in the middle of a round; cutLoss is what
	// then is lost.
	power   *vfs.Crash
	cutLoss vfs.Loss
	form    *Formation
	core    *core // nil while it is down
}

func directoryOf(id kafka.NodeID) kafka.DirectoryID {
	return kafka.DirectoryID{0: byte(id), 6: 0x40, 8: 0x80, 15: 1}
}

func endpointOf(id kafka.NodeID) metarec.VoterEndpoint {
	return metarec.VoterEndpoint{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9090 + uint16(id)}
}

func voterNamed(id kafka.NodeID) metarec.Voter {
	return metalog.NewVoter(id, directoryOf(id), endpointOf(id))
}

// newSim forms a cluster of n voters.
func newSim(t *testing.T, n int) *sim {
	t.Helper()
	cryptotest.SetGlobalRandom(t, 1) // raft's election jitter
	s := &sim{t: t, nodes: map[kafka.NodeID]*simNode{}, cut: map[[2]kafka.NodeID]bool{}, now: time.UnixMilli(1_700_000_000_000)}
	form := &Formation{
		Bootstrap: []metarec.Record{&metarec.FeatureLevel{Name: "metadata.version", Level: 33}}, MetadataVersion: 33,
	}
	for i := range n {
		form.Voters = append(form.Voters, voterNamed(kafka.NodeID(i+1)))
	}
	for i := range n {
		s.add(kafka.NodeID(i+1), form)
	}
	return s
}

func (s *sim) add(id kafka.NodeID, form *Formation) *simNode {
	n := &simNode{s: s, id: Identity{NodeID: id, DirectoryID: directoryOf(id)}, fs: vfs.NewMemory(), form: form}
	if err := errors.Join(n.fs.MkdirAll("/meta"), n.fs.SyncDir("/")); err != nil {
		s.t.Fatal(err)
	}
	s.nodes[id] = n
	n.start()
	return n
}

func (n *simNode) options() Options {
	o := Options{
		FS: n.power, Dir: "/meta", NodeID: n.id.NodeID, DirectoryID: n.id.DirectoryID, Form: n.form,
		Endpoints: []metarec.VoterEndpoint{endpointOf(n.id.NodeID)}, Transport: n,
		Now: func() time.Time { return n.s.now },
	}
	o.ensureDefaults()
	return o
}

// tryStart opens the directory as Open does, without a goroutine.
func (n *simNode) tryStart() error {
	n.power = vfs.NewCrash(n.fs)
	opened, err := Open(n.options())
	if err == nil {
		n.core = opened.core
	}
	return err
}

func (n *simNode) start() {
	n.s.t.Helper()
	if err := n.tryStart(); err != nil {
		n.s.t.Fatalf("start node %d: %v", n.id.NodeID, err)
	}
}

// crash ends the node and loses what was not synced.
func (n *simNode) crash() {
	n.fs = n.fs.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
	n.core = nil
}

func (n *simNode) Send(to Identity, ms []*pb.Message) {
	for _, m := range ms {
		n.s.queue = append(n.s.queue, simMessage{n.id, to, proto.Clone(m).(*pb.Message)})
	}
}

func (n *simNode) FetchCheckpoint(_ context.Context, from Identity, c metalog.Checkpoint) (io.ReadCloser, error) {
	f, err := n.s.nodes[from.NodeID].core.log.OpenCheckpoint(c)
	if err != nil {
		return nil, err
	}
	return asStream(f)
}

func (n *simNode) drain() { n.survive(n.core.drain()) }

// survive takes the end of the power as a crash, and any other error as the end
// of the test.
func (n *simNode) survive(err error) {
	n.s.t.Helper()
	switch {
	case errors.Is(err, vfs.ErrCut):
		n.fs, n.core = n.fs.CrashClone(n.cutLoss), nil
	case err != nil:
		n.s.t.Fatalf("node %d: %v", n.id.NodeID, err)
	}
}

// deliver works off all messages.
func (s *sim) deliver() {
	s.t.Helper()
	for _, n := range s.up() {
		n.drain()
	}
	for count := 0; len(s.queue) > 0; count++ {
		if count > 100_000 {
			s.t.Fatal("the network does not come to rest")
		}
		q := s.queue[0]
		s.queue = s.queue[1:]
		to := s.nodes[q.to.NodeID]
		if to == nil || to.core == nil || to.id != q.to || s.cut[[2]kafka.NodeID{q.from.NodeID, q.to.NodeID}] {
			continue
		}
		to.take(q)
	}
}

func (n *simNode) take(q simMessage) {
	if q.m.GetType() == pb.MsgSnap {
		if err := n.core.fetchCheckpoint(context.Background(), q.from, checkpointOf(q.m.GetSnapshot())); err != nil {
			return // as if it had been lost
		}
		n.core.incoming[string(q.m.GetSnapshot().GetData())] = q.m
	}
	if err := n.core.step(q.from, q.m); err != nil {
		n.s.t.Fatalf("node %d, step: %v", n.id.NodeID, err)
	}
	n.drain()
}

func (s *sim) up() []*simNode {
	var up []*simNode
	for _, id := range slices.Sorted(maps.Keys(s.nodes)) {
		if s.nodes[id].core != nil {
			up = append(up, s.nodes[id])
		}
	}
	return up
}

// tick moves every clock, and the network comes to rest each time.
func (s *sim) tick(ticks int) {
	s.t.Helper()
	for range ticks {
		s.now = s.now.Add(100 * time.Millisecond)
		for _, n := range s.up() {
			n.core.tick()
		}
		s.deliver()
	}
}

// leader waits for a node that leads and that count nodes follow.
func (s *sim) leader(count int) *simNode {
	s.t.Helper()
	for range 40 {
		for _, n := range s.up() {
			l := n.core.leadership()
			if !l.Leading {
				continue
			}
			followers := 0
			for _, f := range s.up() {
				if f.core.leadership().Epoch == l.Epoch && f.core.leadership().Leader == n.id.NodeID {
					followers++
				}
			}
			if followers >= count {
				return n
			}
		}
		s.tick(electionTicks)
	}
	s.t.Fatal("no leader")
	return nil
}

// isolate cuts a node from all others, or lets it back.
func (s *sim) isolate(id kafka.NodeID, cut bool) {
	for other := range s.nodes {
		if other != id {
			s.cut[[2]kafka.NodeID{id, other}], s.cut[[2]kafka.NodeID{other, id}] = cut, cut
		}
	}
}

// propose has the leader append one batch, without delivering anything.
func (n *simNode) propose() error {
	n.s.n++
	rec := &metarec.FeatureLevel{Name: fmt.Sprintf("feature-%d", n.s.n), Level: 1}
	b := metalog.DataBatch(n.s.now.UnixMilli(), [][]byte{metarec.Marshal(nil, rec, 33)})
	if err := n.core.propose(metalog.Proposal{Epoch: n.core.leadership().Epoch, Base: n.core.nextBase(), Batch: b}); err != nil {
		return err
	}
	return n.core.drain()
}

func (s *sim) proposeMany(count int) {
	s.t.Helper()
	for range count {
		if err := s.leader(1).propose(); err != nil {
			s.t.Fatal(err)
		}
		s.deliver()
	}
}

// checkpoint writes one of all that the node has applied.
func (n *simNode) checkpoint() {
	n.s.t.Helper()
	l := loader.New(n.core.log)
	if _, _, err := l.Load(); err != nil {
		n.survive(err)
		return
	}
	img := l.Image()
	n.survive(n.core.writeCheckpoint(Applied{End: l.Next(), MetadataVersion: 33, Records: img.Records()}, 0, n.core.forget))
}

// change proposes one membership change and waits until it counts everywhere.
func (s *sim) change(typ pb.ConfChangeType, member kafka.NodeID, voters ...kafka.NodeID) {
	s.t.Helper()
	var list []metarec.Voter
	for _, id := range voters {
		list = append(list, voterNamed(id))
	}
	l := s.leader(1)
	if err := l.core.proposeChange(typ, Identity{member, directoryOf(member)}, list); err != nil {
		s.t.Fatal(err)
	}
	s.deliver()
	s.tick(2 * heartbeatTicks)
}

// bytes gives the committed batches of a node by index.
func (n *simNode) bytes() map[uint64][]byte {
	n.s.t.Helper()
	out := map[uint64][]byte{}
	first, end := n.core.log.FirstIndex(), n.core.log.Committed().Index+1
	for i := first; i < end; {
		es, err := n.core.log.Entries(i, end, 1<<20)
		if errors.Is(err, vfs.ErrCut) {
			return out // it will notice
		}
		if err != nil {
			n.s.t.Fatal(err)
		}
		for _, e := range es {
			out[e.Index] = e.Batch
		}
		i += uint64(len(es))
	}
	return out
}

// same requires that all nodes hold the same committed bytes, up to at least index.
func (s *sim) same(atLeast uint64) {
	s.t.Helper()
	all := map[uint64][]byte{}
	for _, n := range s.up() {
		if got := n.core.log.Committed().Index; got < atLeast {
			s.t.Errorf("node %d has committed to index %d, want %d", n.id.NodeID, got, atLeast)
		}
		for i, b := range n.bytes() {
			if known, ok := all[i]; ok && !bytes.Equal(known, b) {
				s.t.Errorf("node %d: batch of index %d differs:\n%x\n%x", n.id.NodeID, i, b, known)
			}
			all[i] = b
		}
	}
}

func (n *simNode) voters() []uint64 { return n.core.conf.GetVoters() }

func raftIDs(ids ...kafka.NodeID) []uint64 {
	var out []uint64
	for _, id := range ids {
		out = append(out, metalog.RaftID(directoryOf(id)))
	}
	slices.Sort(out)
	return out
}

func TestThreeVotersElectAndReplicate(t *testing.T) {
	s := newSim(t, 3)
	l := s.leader(3)
	s.proposeMany(50)
	s.tick(heartbeatTicks)
	s.same(l.core.log.LastIndex())

	// The leader goes: another one takes over and goes on.
	l.crash()
	l2 := s.leader(2)
	if l2 == l {
		t.Fatal("a node that is down leads")
	}
	s.proposeMany(10)
	l.start()
	s.tick(2 * electionTicks)
	s.same(l2.core.log.LastIndex())
	if e1, e2 := l.core.leadership().Epoch, l2.core.leadership().Epoch; e1 != e2 {
		t.Errorf("epochs %d and %d", e1, e2)
	}
}

func TestFiveVotersSurviveTwo(t *testing.T) {
	s := newSim(t, 5)
	s.leader(5)
	s.proposeMany(5)
	s.nodes[1].crash()
	s.nodes[2].crash()
	s.leader(3)
	s.proposeMany(5)
	s.nodes[3].crash()
	s.tick(5 * electionTicks)
	for _, n := range s.up() {
		if n.core.leadership().Leading {
			t.Errorf("node %d leads without a majority", n.id.NodeID)
		}
	}
	for id := kafka.NodeID(1); id <= 3; id++ {
		s.nodes[id].start()
	}
	l := s.leader(5)
	s.proposeMany(1)
	s.tick(2 * heartbeatTicks)
	s.same(l.core.log.LastIndex())
}

func TestUncommittedSuffixIsLost(t *testing.T) {
	s := newSim(t, 3)
	old := s.leader(3)
	s.proposeMany(5)
	committed := old.core.log.LastIndex()
	s.isolate(old.id.NodeID, true)
	for range 20 {
		if err := old.propose(); err != nil {
			t.Fatal(err)
		}
	}
	s.queue = nil
	if got := old.core.log.Committed().Index; got != committed {
		t.Fatalf("committed to %d without a majority, want %d", got, committed)
	}
	// Check quorum: the isolated leader notices.
	for range 4 * electionTicks {
		s.tick(1)
	}
	if old.core.leadership().Leading {
		t.Error("an isolated leader still leads")
	}
	l := s.leader(2)
	s.proposeMany(3)
	s.isolate(old.id.NodeID, false)
	s.tick(2 * electionTicks)
	s.same(l.core.log.LastIndex())
	if old.core.log.LastIndex() != l.core.log.LastIndex() || old.core.log.End() != l.core.log.End() {
		t.Errorf("logs end at %d and %d", old.core.log.End(), l.core.log.End())
	}
	old.crash()
	old.start()
	s.tick(2 * electionTicks)
	s.same(l.core.log.LastIndex())
}

func TestLaggingFollowerGetsTheCheckpoint(t *testing.T) {
	s := newSim(t, 3)
	l := s.leader(3)
	lag := s.nodes[1]
	if lag == l {
		lag = s.nodes[2]
	}
	s.isolate(lag.id.NodeID, true)
	s.proposeMany(30)
	l.checkpoint()
	s.proposeMany(30)
	l.checkpoint()
	if l.core.log.FirstIndex() < 20 {
		t.Fatalf("the log still begins with index %d", l.core.log.FirstIndex())
	}
	s.proposeMany(5)
	s.isolate(lag.id.NodeID, false)
	s.tick(4 * electionTicks)
	s.same(s.leader(3).core.log.LastIndex())
	if ck, _ := lag.core.log.Checkpoint(); ck.End == 0 {
		t.Error("the follower has no checkpoint")
	}
	lag.crash()
	lag.start()
	s.tick(2 * electionTicks)
	s.same(s.leader(3).core.log.LastIndex())
	mine, _ := lag.core.log.Checkpoint()
	theirs, _ := l.core.log.Checkpoint()
	compareFiles(t, lag.fs, l.fs, mine.Name(), theirs.Name())
}

// Checkpoints are a function of the log: those of two nodes are the same bytes.
func TestCheckpointsOfAllNodesAreEqual(t *testing.T) {
	s := newSim(t, 3)
	s.leader(3)
	s.proposeMany(25)
	s.tick(2 * heartbeatTicks)
	for _, n := range s.up() {
		n.checkpoint()
	}
	first, _ := s.nodes[1].core.log.Checkpoint()
	for id := kafka.NodeID(2); id <= 3; id++ {
		ck, _ := s.nodes[id].core.log.Checkpoint()
		compareFiles(t, s.nodes[1].fs, s.nodes[id].fs, first.Name(), ck.Name())
	}
}

func compareFiles(t *testing.T, a, b vfs.FS, nameA, nameB string) {
	t.Helper()
	if x, y := fileBytes(t, a, nameA), fileBytes(t, b, nameB); nameA != nameB || !bytes.Equal(x, y) {
		t.Errorf("%s and %s differ", nameA, nameB)
	}
}

func fileBytes(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open("/meta/"+metalog.DirName+"/"+name, vfs.ReadOnly, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, size)
	if _, err := f.ReadAt(out, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return out
}

func TestLearnerBecomesVoter(t *testing.T) {
	s := newSim(t, 1)
	s.leader(1)
	s.proposeMany(10)
	s.nodes[1].checkpoint()
	s.add(2, nil)
	s.change(pb.ConfChangeAddLearnerNode, 2, 1)
	s.nodes[1].checkpoint() // R7: a snapshot must be newer than the change
	s.tick(6 * electionTicks)
	s.same(s.nodes[1].core.log.LastIndex())
	if got := s.nodes[2].core.conf; !slices.Equal(got.GetVoters(), raftIDs(1)) || !slices.Equal(got.GetLearners(), raftIDs(2)) {
		t.Fatalf("the learner's quorum is %v", got)
	}
	s.change(pb.ConfChangeAddNode, 2, 1, 2)
	s.tick(2 * electionTicks)
	for _, n := range s.up() {
		if !slices.Equal(n.voters(), raftIDs(1, 2)) {
			t.Errorf("node %d: voters %v", n.id.NodeID, n.voters())
		}
	}
	s.add(3, nil)
	s.change(pb.ConfChangeAddLearnerNode, 3, 1, 2)
	s.leader(1).checkpoint()
	s.tick(6 * electionTicks)
	s.change(pb.ConfChangeAddNode, 3, 1, 2, 3)
	s.tick(2 * electionTicks)
	s.same(s.leader(3).core.log.LastIndex())

	// All restart, and one is gone: the two others are enough.
	for _, n := range s.up() {
		n.crash()
	}
	s.nodes[2].start()
	s.nodes[3].start()
	l := s.leader(2)
	s.proposeMany(3)
	s.nodes[1].start()
	s.tick(2 * electionTicks)
	s.same(l.core.log.LastIndex())

	// A member that is removed no longer counts.
	gone := kafka.NodeID(1)
	rest := []kafka.NodeID{2, 3}
	s.change(pb.ConfChangeRemoveNode, gone, rest...)
	s.nodes[gone].core = nil
	s.tick(2 * electionTicks)
	if l := s.leader(2); !slices.Equal(l.voters(), raftIDs(rest...)) {
		t.Errorf("voters %v after the removal", l.voters())
	}
	s.proposeMany(2)
}

func TestLeadershipIsHandedOver(t *testing.T) {
	s := newSim(t, 3)
	l := s.leader(3)
	s.proposeMany(3)
	s.tick(1)
	heir := l.core.heir()
	if heir == raft.None {
		t.Fatal("nobody to hand over to")
	}
	l.core.rn.TransferLeader(heir)
	s.deliver()
	if now := s.leader(3); now == l || now.id.raftID() != heir {
		t.Errorf("node %d leads", now.id.NodeID)
	}
}
