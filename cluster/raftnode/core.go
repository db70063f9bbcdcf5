// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// core is everything of a Node but its goroutine: one step follows another,
// and a test can drive several in one goroutine. What is done in a round, a
// Ready of raft, has an order that decides safety:
//
//	checkpoint to install ► quorum-state (term, vote, leader) ► entries, fdatasync
//	► messages ► commit index into quorum-state before a membership change ► apply ► Advance
//
// A step that fails leaves the round where it is: retry goes on from there.
// Until then no message leaves.
type core struct {
	o     Options
	log   *metalog.Log
	self  Identity
	id    uint64
	rn    *raft.RawNode
	store *storage

	round *round // the one that failed; nil if none did
	names map[uint64]Identity
	// granted are the members that voted for this node in the term it campaigns for.
	granted []kafka.NodeID

	conf    *pb.ConfState
	applied uint64
	// contained is the index up to which membership changes are in the
	// ConfState that raft started with (R4).
	contained uint64
	// ownFirst is the index of the batch that began this node's leadership, 0
	// while there is none; serveFrom is the offset where proposals of others
	// begin, 0 until that batch is applied.
	ownFirst      uint64
	announcedTerm uint64
	serveFrom     kafka.Offset
	forget        bool // the next checkpoint is the first that others may rely on (R4)
	// proposed counts the records that were proposed since the last round.
	proposed kafka.Offset
	snapTo   map[uint64]int // ticks until a snapshot that was sent counts as lost
	incoming map[string]*pb.Message
}

// round is one Ready on its way.
type round struct {
	rd   raft.Ready
	done int // steps
}

// Ticks of raft's clock.
const (
	electionTicks  = 10
	heartbeatTicks = 2
	snapshotTicks  = 2 * electionTicks // then the message is sent again; who fetches already goes on
)

func newCore(o Options, log *metalog.Log) (*core, error) {
	self := Identity{NodeID: o.NodeID, DirectoryID: o.DirectoryID}
	c := &core{
		o: o, log: log, self: self, id: self.raftID(), names: map[uint64]Identity{self.raftID(): self},
		snapTo: map[uint64]int{}, incoming: map[string]*pb.Message{},
	}
	if err := c.initialState(); err != nil {
		return nil, err
	}
	ck, _ := log.Checkpoint()
	var err error
	c.rn, err = raft.NewRawNode(&raft.Config{
		ID: c.id, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks,
		Storage: c.store, Applied: max(ck.Index, log.FirstIndex()-1),
		MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 4 << 20,
		MaxUncommittedEntriesSize: o.UncommittedBytesMax, MaxInflightMsgs: 256, MaxInflightBytes: 64 << 20,
		CheckQuorum: true, PreVote: true, DisableProposalForwarding: true, StepDownOnRemoval: true,
		Logger: raftLogger{o.Logger},
	})
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	c.applied = max(ck.Index, log.FirstIndex()-1)
	return c, nil
}

// drain works off all that raft has ready.
func (c *core) drain() error {
	for c.round != nil || c.rn.HasReady() {
		if c.round == nil {
			c.round = &round{rd: c.rn.Ready()}
		}
		if err := c.work(c.round); err != nil {
			return err
		}
		c.rn.Advance(c.round.rd)
		c.round = nil
		c.proposed = 0
		if err := c.lead(); err != nil {
			return err
		}
	}
	return nil
}

func (c *core) work(r *round) error {
	steps := [...]func(*raft.Ready) error{c.install, c.saveQuorum, c.append, c.send, c.apply}
	for r.done < len(steps) {
		if err := steps[r.done](&r.rd); err != nil {
			return err
		}
		r.done++
	}
	return nil
}

func (c *core) install(rd *raft.Ready) error {
	if raft.IsEmptySnap(rd.Snapshot) {
		return nil
	}
	meta := rd.Snapshot.GetMetadata()
	ck := metalog.Checkpoint{}
	for name, m := range c.incoming {
		if name == string(rd.Snapshot.GetData()) {
			ck = checkpointOf(m.GetSnapshot())
		}
	}
	if ck.Index != meta.GetIndex() {
		return fmt.Errorf("raft took a snapshot of index %d that was not received", meta.GetIndex())
	}
	if now, ok := c.log.Checkpoint(); !ok || now.Index < ck.Index {
		if err := c.log.Install(ck); err != nil {
			return err
		}
	}
	clear(c.incoming)
	c.conf, c.applied, c.store.lastChange = meta.GetConfState(), ck.Index, ck.Index
	c.contained = ck.Index
	c.learnNames()
	return nil
}

// append turns what raft wants in the log into batches and makes them durable.
func (c *core) append(rd *raft.Ready) error {
	if len(rd.Entries) == 0 {
		return nil
	}
	batches, err := c.batches(rd.Entries)
	if err != nil {
		return err
	}
	if rd.Entries[0].GetIndex() <= c.contained {
		return fmt.Errorf("the log is cut back to index %d, but the quorum was taken from index %d: start again", rd.Entries[0].GetIndex()-1, c.contained)
	}
	if err := c.log.Append(batches); err != nil {
		return err
	}
	c.learnNames()
	return nil
}

// send replaces raft's raw entries by the bytes that the log holds for them
// (R1), and hands the messages over.
func (c *core) send(rd *raft.Ready) error {
	by := map[uint64][]*pb.Message{}
	for _, m := range rd.Messages {
		if m.GetType() == pb.MsgApp {
			var err error
			if m, err = c.sealed(m); err != nil {
				return err
			}
		}
		if m == nil {
			continue
		}
		if m.GetType() == pb.MsgSnap {
			c.snapTo[m.GetTo()] = snapshotTicks
		}
		by[m.GetTo()] = append(by[m.GetTo()], m)
	}
	for to, ms := range by {
		if name, ok := c.names[to]; ok && c.o.Transport != nil {
			c.o.Transport.Send(name, ms)
		}
	}
	return nil
}

// sealed is m with the log's bytes; nil if m speaks of entries that were cut
// away since.
func (c *core) sealed(m *pb.Message) (*pb.Message, error) {
	raw := func(e *pb.Entry) bool { return len(e.GetData()) == 0 || e.GetData()[0] != 0 }
	if !slices.ContainsFunc(m.GetEntries(), raw) {
		return m, nil
	}
	out := &pb.Message{
		Type: m.Type, To: m.To, From: m.From, Term: m.Term, LogTerm: m.LogTerm, Index: m.Index, Commit: m.Commit,
		Entries: slices.Clone(m.GetEntries()),
	}
	for i, e := range out.Entries {
		if !raw(e) {
			continue
		}
		if epoch, ok := c.log.Epoch(e.GetIndex()); !ok || uint64(epoch) != e.GetTerm() {
			return nil, nil
		}
		es, err := c.log.Entries(e.GetIndex(), e.GetIndex()+1, 0)
		if errors.Is(err, metalog.ErrCompacted) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		out.Entries[i] = &pb.Entry{Index: e.Index, Term: e.Term, Type: e.Type, Data: es[0].Batch}
	}
	return out, nil
}

// apply takes up membership changes and shows readers what is committed. What
// it applies is in the log, by index; the entries of the round tell no more
// than how far.
func (c *core) apply(rd *raft.Ready) error {
	for _, e := range rd.CommittedEntries {
		if e.GetIndex() <= c.applied {
			continue
		}
		if e.GetType() != pb.EntryNormal {
			if err := c.applyChange(e.GetIndex()); err != nil {
				return err
			}
		}
		c.applied = e.GetIndex()
	}
	c.log.Commit(c.applied)
	return nil
}

// applyChange makes a membership change count. The commit index is durable
// first: else a restart could take the quorum from before it (R3).
func (c *core) applyChange(index uint64) error {
	change, err := changeAt(c.log, index)
	if err != nil || change == nil || index <= c.contained {
		return err
	}
	q := c.quorumState()
	q.Commit = max(q.Commit, index)
	if err := c.log.SaveQuorum(q); err != nil {
		return err
	}
	c.conf = c.rn.ApplyConfChange(change)
	c.store.lastChange = index
	return nil
}

// lead looks at what the round has made of this node.
func (c *core) lead() error {
	status := c.rn.BasicStatus()
	if status.RaftState != raft.StateLeader {
		c.ownFirst, c.serveFrom = 0, 0
		return nil
	}
	if c.ownFirst == 0 {
		return nil // its first batch is still to be appended
	}
	if c.announcedTerm != status.GetTerm() {
		c.announcedTerm = status.GetTerm()
		if err := c.announce(); err != nil {
			return err
		}
	}
	if c.serveFrom == 0 && c.applied >= c.ownFirst && c.proposed == 0 && c.applied == c.log.LastIndex() {
		c.serveFrom = c.log.End()
	}
	return nil
}

// announce proposes this node's endpoints if the voters record has others (R8).
func (c *core) announce() error {
	m := c.lastMembers()
	at := voterOf(m.Voters, c.self.DirectoryID)
	if at < 0 || len(c.o.Endpoints) == 0 || sameEndpoints(m.Voters[at].Endpoints, c.o.Endpoints) {
		return nil
	}
	voters := slices.Clone(m.Voters)
	voters[at].Endpoints = c.o.Endpoints
	b := metalog.ControlBatch(c.o.Now().UnixMilli(), &metarec.KRaftVoters{Voters: voters})
	return c.proposeSealed(b, c.nextBase())
}

func sameEndpoints(a, b []metarec.VoterEndpoint) bool {
	return slices.EqualFunc(a, b, func(a, b metarec.VoterEndpoint) bool {
		return a.Name == b.Name && a.Host == b.Host && a.Port == b.Port
	})
}

// alone reports whether this node is the whole quorum: then no clock is needed.
func (c *core) alone() bool {
	return len(c.conf.GetLearners()) == 0 && slices.Equal(c.conf.GetVoters(), []uint64{c.id})
}

// tick moves raft's clock.
func (c *core) tick() {
	c.rn.Tick()
	for to, left := range c.snapTo {
		if left > 0 {
			c.snapTo[to] = left - 1
			continue
		}
		delete(c.snapTo, to)
		c.rn.ReportSnapshot(to, raft.SnapshotFailure)
	}
	for id := range c.snapTo {
		if pr, ok := c.rn.Status().Progress[id]; !ok || pr.State != tracker.StateSnapshot {
			delete(c.snapTo, id)
		}
	}
}

// campaign starts an election now. It has to follow a drain: raft refuses while
// membership changes are not applied.
func (c *core) campaign() error {
	if err := c.rn.Campaign(); err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	return nil
}

// abdicate gives up the leadership and its term, since what is in the log may
// no longer be what the controller believes.
func (c *core) abdicate() {
	if c.rn.BasicStatus().RaftState != raft.StateLeader {
		return
	}
	term := c.rn.BasicStatus().GetTerm() + 1
	// An answer from a later term is how raft learns that its own is over.
	_ = c.rn.Step(&pb.Message{Type: pb.MsgAppResp.Enum(), From: new(c.id), To: new(c.id), Term: new(term)})
	c.ownFirst, c.serveFrom = 0, 0
}

// step takes a message from another member. What is not well-formed or not for
// us is dropped; raft repeats what matters.
func (c *core) step(from Identity, m *pb.Message) error {
	if m.GetTo() != c.id || m.GetFrom() != from.raftID() || raft.IsLocalMsg(m.GetType()) {
		return fmt.Errorf("message %s from raft id %x to %x: not between these two", m.GetType(), m.GetFrom(), m.GetTo())
	}
	switch m.GetType() {
	case pb.MsgApp:
		if err := checkEntries(m); err != nil {
			return err
		}
	case pb.MsgSnap:
		ck := checkpointOf(m.GetSnapshot())
		if got, ok := c.incoming[ck.Name()]; !ok || got != m {
			return fmt.Errorf("snapshot %q was not received", m.GetSnapshot().GetData())
		}
	case pb.MsgProp, pb.MsgReadIndex:
		return fmt.Errorf("message %s: nobody forwards", m.GetType())
	case pb.MsgVoteResp:
		if !m.GetReject() && m.GetTerm() == c.rn.BasicStatus().GetTerm() && !slices.Contains(c.granted, from.NodeID) {
			c.granted = append(c.granted, from.NodeID)
		}
	}
	c.names[from.raftID()] = from
	if err := c.rn.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) && !errors.Is(err, raft.ErrProposalDropped) {
		return fmt.Errorf("step %s: %w", m.GetType(), err)
	}
	return nil
}

// leadership is what others may know.
func (c *core) leadership() metalog.Leadership {
	status := c.rn.BasicStatus()
	l := metalog.Leadership{Leader: kafka.NoNode, Epoch: kafka.LeaderEpoch(status.GetTerm())}
	if name, ok := c.names[status.Lead]; ok {
		l.Leader = name.NodeID
	}
	if c.round == nil && status.RaftState == raft.StateLeader && c.serveFrom > 0 {
		l.Leading, l.ServeFrom = true, c.serveFrom
	}
	return l
}

var errNotLeading = errors.New("not leading")

// propose puts a controller's batch into raft's log. On any error the
// controller's picture of the log is wrong.
func (c *core) propose(p metalog.Proposal) error {
	status := c.rn.BasicStatus()
	if status.RaftState != raft.StateLeader || uint64(p.Epoch) != status.GetTerm() {
		return errNotLeading
	}
	return c.proposeSealed(bytes.Clone(p.Batch), p.Base)
}
