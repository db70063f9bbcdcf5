// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// mesh carries messages between whole nodes, each with its goroutine.
type mesh struct {
	mu    sync.Mutex
	nodes map[kafka.NodeID]*Node
}

func (m *mesh) get(id kafka.NodeID) *Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[id]
}

func (m *mesh) set(id kafka.NodeID, n *Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[id] = n
}

// port is the mesh as one node sees it.
type port struct {
	*mesh
	self Identity
}

func (p port) Send(to Identity, ms []*pb.Message) {
	n := p.get(to.NodeID)
	if n == nil {
		return
	}
	for _, m := range ms {
		n.Step(p.self, proto.Clone(m).(*pb.Message))
	}
}

func (p port) FetchCheckpoint(_ context.Context, from Identity, c metalog.Checkpoint) (io.ReadCloser, error) {
	n := p.get(from.NodeID)
	if n == nil {
		return nil, errors.New("down")
	}
	f, err := n.Log().OpenCheckpoint(c)
	if err != nil {
		return nil, err
	}
	return asStream(f)
}

// meshNode starts one node of a cluster of three.
func meshNode(t *testing.T, m *mesh, fs vfs.FS, id kafka.NodeID) *Node {
	t.Helper()
	return meshMember(t, m, fs, id, 1, 2, 3)
}

// meshMember starts a node of a cluster that is formed by some voters; with none
// it joins.
func meshMember(t *testing.T, m *mesh, fs vfs.FS, id kafka.NodeID, voters ...kafka.NodeID) *Node {
	t.Helper()
	var form *Formation
	if len(voters) > 0 {
		form = &Formation{MetadataVersion: 33}
	}
	for _, v := range voters {
		form.Voters = append(form.Voters, voterNamed(v))
	}
	var n *Node
	n, err := Open(Options{
		FS: fs, Dir: "/meta", NodeID: id, DirectoryID: directoryOf(id), Form: form,
		Endpoints: []metarec.VoterEndpoint{endpointOf(id)}, Transport: port{m, Identity{id, directoryOf(id)}},
		Image:           func() Applied { return appliedBy(t, n.Log()) },
		CheckpointEvery: 40,
		Failed:          func(op string, err error) { t.Errorf("node %d: %s: %v", id, op, err) },
		Now:             time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.set(id, n)
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

func (m *mesh) leader(t *testing.T) *Node {
	t.Helper()
	for range 300 {
		synctest.Wait()
		for id := kafka.NodeID(1); id <= 3; id++ {
			if n := m.get(id); n != nil && n.Leader().Leading {
				return n
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no leader")
	return nil
}

func (m *mesh) propose(t *testing.T, count int) {
	t.Helper()
	n := m.leader(t)
	end := n.Log().End()
	for i := range count { // one behind the other, without waiting
		b := metalog.DataBatch(1, [][]byte{metarec.Marshal(nil, &metarec.FeatureLevel{Name: fmt.Sprint("f", end, i), Level: 1}, 33)})
		n.Propose(metalog.Proposal{Epoch: n.Leader().Epoch, Base: end + kafka.Offset(i), Batch: b})
	}
	for range 100 {
		synctest.Wait()
		if n.Log().Committed().End == end+kafka.Offset(count) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("committed to %d, want %d", n.Log().Committed().End, end+kafka.Offset(count))
}

// Whole nodes: election, pipelined proposals, a leader that stops hands over at
// once, a node that comes back gets a checkpoint, and a leader that is killed is
// replaced.
func TestWholeNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{nodes: map[kafka.NodeID]*Node{}}
		disks := map[kafka.NodeID]vfs.FS{}
		for id := kafka.NodeID(1); id <= 3; id++ {
			disk := emptyDisk(t)
			disks[id] = disk
			meshNode(t, m, disk, id)
		}
		m.propose(t, 20)

		first := m.leader(t)
		id := first.o.NodeID
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := first.Stop(ctx); err != nil {
			t.Fatal(err)
		}
		m.set(id, nil)
		second := m.leader(t)
		if took := time.Since(begin); took > 500*time.Millisecond {
			t.Errorf("the next leader came after %v: nothing was handed over", took)
		}
		if second == first {
			t.Fatal("it still leads")
		}
		for range 4 { // more than two checkpoints
			m.propose(t, 50)
		}
		if second.Log().FirstIndex() < 50 {
			t.Errorf("the log begins with index %d: no checkpoints", second.Log().FirstIndex())
		}

		back := meshNode(t, m, disks[id], id)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got, want := back.Log().Committed(), second.Log().Committed(); got != want {
			t.Errorf("back at %+v, want %+v", got, want)
		}

		gone := second.o.NodeID
		m.set(gone, nil)
		second.Kill()
		m.propose(t, 5)
		again := meshNode(t, m, disks[gone], gone)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got, want := again.Log().Committed(), m.leader(t).Log().Committed(); got != want {
			t.Errorf("back at %+v, want %+v", got, want)
		}
		for id := kafka.NodeID(1); id <= 3; id++ {
			m.get(id).Kill()
		}
	})
}

// A quorum of one grows to two and shrinks to the other one.
func TestQuorumGrowsAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{nodes: map[kafka.NodeID]*Node{}}
		one := meshMember(t, m, emptyDisk(t), 1, 1)
		m.propose(t, 10)
		two := meshMember(t, m, emptyDisk(t), 2)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := one.Change(ctx, Promote, voterNamed(2)); !errors.Is(err, ErrNotCaughtUp) {
			t.Errorf("promotion of a stranger: %v", err)
		}
		if err := one.Change(ctx, Remove, voterNamed(1)); !errors.Is(err, kafka.InvalidRequest) {
			t.Errorf("removal of the last voter: %v", err)
		}
		if err := one.Change(ctx, AddLearner, voterNamed(1)); !errors.Is(err, kafka.DuplicateVoter) {
			t.Errorf("a voter as learner: %v", err)
		}
		if err := two.Change(ctx, AddLearner, voterNamed(2)); !errors.Is(err, kafka.NotController) {
			t.Errorf("a change by who does not lead: %v", err)
		}
		if err := one.Change(ctx, AddLearner, voterNamed(2)); err != nil {
			t.Fatal(err)
		}
		promoted := false
		for range 100 { // the checkpoint has to be written and fetched
			err := one.Change(ctx, Promote, voterNamed(2))
			if promoted = err == nil; promoted {
				break
			}
			if !errors.Is(err, ErrNotCaughtUp) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if !promoted {
			t.Fatal("the learner does not catch up")
		}
		m.propose(t, 5)
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := two.Log().Committed(), one.Log().Committed(); got != want {
			t.Errorf("the new voter is at %+v, want %+v", got, want)
		}
		at, _ := two.Log().MembersAt(two.Log().LastIndex())
		if len(at.Voters) != 2 {
			t.Errorf("voters %+v", at.Voters)
		}
		if err := one.Stop(ctx); err != nil { // hands over
			t.Fatal(err)
		}
		m.set(1, nil)
		one = meshMember(t, m, one.o.FS, 1)
		if m.leader(t) != two {
			t.Fatal("the heir does not lead")
		}
		if err := two.Change(ctx, Remove, voterNamed(1)); err != nil {
			t.Fatal(err)
		}
		one.Kill()
		m.set(1, nil)
		m.propose(t, 5) // alone now
		two.Kill()
	})
}

// A proposal for a place that is taken ends the leadership, and the next one
// begins at once.
func TestMisplacedProposalEndsTheLeadership(t *testing.T) {
	n := startNode(t, singleOptions(t, vfs.NewMemory(), "/meta"))
	defer n.Kill()
	before := n.Leader()
	b := metalog.DataBatch(1, [][]byte{metarec.Marshal(nil, &metarec.FeatureLevel{Name: "f", Level: 1}, 33)})
	n.Propose(metalog.Proposal{Epoch: before.Epoch, Base: before.ServeFrom + 1, Batch: b})
	waitFor(t, func() bool { l := n.Leader(); return l.Leading && l.Epoch > before.Epoch })
	// One of an epoch that is over is dropped and changes nothing.
	now := n.Leader()
	n.Propose(metalog.Proposal{Epoch: before.Epoch, Base: n.Log().End(), Batch: b})
	propose(t, n, &metarec.FeatureLevel{Name: "g", Level: 1})
	if n.Leader().Epoch != now.Epoch {
		t.Errorf("epoch %d after %d", n.Leader().Epoch, now.Epoch)
	}
	n.Abdicate(now.Epoch)
	waitFor(t, func() bool { l := n.Leader(); return l.Leading && l.Epoch > now.Epoch })
}

// Wherever the disk is full for a while, a start or a proposal goes on when
// there is room, and nothing is lost that was committed.
func TestFullDiskAnywhere(t *testing.T) {
	for skip := range 40 {
		fault := vfs.NewFault(vfs.NewMemory())
		o := singleOptions(t, fault, "/meta")
		o.Logger, o.RetryEvery = nil, time.Millisecond
		n, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		fault.Add(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate, Skip: skip, Times: 3, Err: syscall.ENOSPC})
		if err := n.Start(); err != nil {
			t.Fatalf("skip %d: %v", skip, err)
		}
		for i := range 5 {
			waitFor(t, func() bool { return n.Leader().Leading })
			l, end := n.Leader(), n.Log().End()
			name := fmt.Sprintf("f%d", i)
			n.Propose(metalog.Proposal{Epoch: l.Epoch, Base: end, Batch: metalog.DataBatch(1, [][]byte{metarec.Marshal(nil, &metarec.FeatureLevel{Name: name, Level: 1}, 33)})})
			waitFor(t, func() bool { return n.Log().Committed().End > end })
		}
		fault.Clear()
		committed := n.Log().Committed()
		n.Kill()
		n, err = Open(o)
		if err != nil {
			t.Fatalf("skip %d: %v", skip, err)
		}
		if n.Log().End() < committed.End {
			t.Errorf("skip %d: the log ends at %d, committed were %d", skip, n.Log().End(), committed.End)
		}
		n.Kill()
	}
}

// A message that is not well-formed is dropped before raft sees it.
func TestMalformedMessagesAreDropped(t *testing.T) {
	s := newSim(t, 3)
	l := s.leader(3)
	f := s.nodes[1]
	if f == l {
		f = s.nodes[2]
	}
	term := uint64(l.core.leadership().Epoch)
	good := func() *pb.Message {
		b := metalog.DataBatch(1, [][]byte{metarec.Marshal(nil, &metarec.FeatureLevel{Name: "x", Level: 1}, 33)})
		last := f.core.log.LastIndex()
		patch(b, f.core.log.End(), kafka.LeaderEpoch(term))
		return &pb.Message{
			Type: pb.MsgApp.Enum(), From: new(l.id.raftID()), To: new(f.id.raftID()), Term: new(term), LogTerm: new(term), Index: new(last),
			Entries: []*pb.Entry{{Index: new(last + 1), Term: new(term), Type: pb.EntryNormal.Enum(), Data: b}},
		}
	}
	for name, spoil := range map[string]func(m *pb.Message){
		"flipped bit":      func(m *pb.Message) { m.Entries[0].Data[70] ^= 1 },
		"cut short":        func(m *pb.Message) { m.Entries[0].Data = m.Entries[0].Data[:80] },
		"no data":          func(m *pb.Message) { m.Entries[0].Data = nil },
		"other epoch":      func(m *pb.Message) { m.Entries[0].Term = new(term + 1) },
		"index with a gap": func(m *pb.Message) { m.Entries[0].Index = new(m.GetIndex() + 2) },
		"joint change":     func(m *pb.Message) { m.Entries[0].Type = pb.EntryConfChange.Enum() },
		"from another":     func(m *pb.Message) { m.From = new(uint64(5)) },
		"to another":       func(m *pb.Message) { m.To = new(uint64(5)) },
		"local":            func(m *pb.Message) { m.Type = pb.MsgHup.Enum() },
		"forwarded":        func(m *pb.Message) { m.Type = pb.MsgProp.Enum() },
		"snapshot":         func(m *pb.Message) { m.Type, m.Snapshot = pb.MsgSnap.Enum(), &pb.Snapshot{Data: []byte("x")} },
	} {
		m := good()
		spoil(m)
		if err := f.core.step(l.id, m); err == nil {
			t.Errorf("%s: taken", name)
		}
		if err := f.core.drain(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.core.step(l.id, good()); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

func patch(b []byte, base kafka.Offset, epoch kafka.LeaderEpoch) {
	batch.SetBaseOffset(b, base)
	batch.SetLeaderEpoch(b, epoch)
}

func emptyDisk(t *testing.T) *vfs.Memory {
	t.Helper()
	fs := vfs.NewMemory()
	if err := fs.MkdirAll("/meta"); err != nil {
		t.Fatal(err)
	}
	return fs
}
