// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
)

// ErrNotMember is the error of a directory whose voters record does not name
// the node that opens it, and that has no way to ask the others (R8).
var ErrNotMember = errors.New("this node and directory is none of the metadata quorum's voters")

// ErrStaticQuorum is the error of a directory that Kafka kept with a static
// quorum of several voters.
var ErrStaticQuorum = errors.New("a static metadata quorum of several voters can only be taken over after Kafka has made it dynamic")

// initialState finds out what raft starts with.
//
// The ConfState is that of the newest checkpoint, and the commit index that of
// quorum-state, so raft replays the membership changes between. Without a
// commit index Kafka wrote last; then KRaft's rule holds: the latest voters
// record counts, committed or not (R4).
func (c *core) initialState() error {
	q, hasQ := c.log.Quorum()
	ck, _ := c.log.Checkpoint()
	floor, last := max(ck.Index, c.log.FirstIndex()-1), c.log.LastIndex()
	c.learnNames()

	until := ck.Index
	if !q.HasCommit {
		until = last
	}
	conf, err := confAt(c.log, until)
	if err != nil {
		return err
	}
	if len(conf.GetVoters()) == 0 && last > 0 {
		if conf, err = c.firstConf(q); err != nil {
			return err
		}
	}
	commit := max(floor, min(q.Commit, last))
	if !q.HasCommit {
		c.contained = last
		c.forget = last > floor || ck.End > 0
		if slices.Equal(conf.GetVoters(), []uint64{c.id}) {
			commit = last
		}
	}
	if err := c.checkMember(conf); err != nil {
		return err
	}
	term, vote := uint64(0), uint64(raft.None)
	if epoch, ok := c.log.Epoch(last); ok {
		term = uint64(epoch)
	}
	if hasQ && uint64(q.Epoch) >= term { // else the vote is of an older term (R5)
		term, vote = uint64(q.Epoch), c.voteOf(q)
	}
	c.conf = conf
	c.store = &storage{log: c.log, conf: conf, wanted: c.forget}
	if term > 0 || commit > 0 {
		c.store.hard = &pb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
	}
	for _, m := range c.log.MembersSince() {
		if m.Index <= max(floor, c.contained) && m.VotersHere {
			c.store.lastChange = m.Index
		}
	}
	return nil
}

// checkMember refuses a directory that is not the one this node votes under, and
// one that another node does.
func (c *core) checkMember(conf *pb.ConfState) error {
	who := fmt.Sprintf("node.id %d, directory.id %s of meta.properties", c.self.NodeID, c.self.DirectoryID)
	member := slices.Contains(conf.GetVoters(), c.id) || slices.Contains(conf.GetLearners(), c.id)
	if !member && len(conf.GetVoters()) > 0 && c.o.Transport == nil {
		return fmt.Errorf("%s: %w", who, ErrNotMember)
	}
	voters := c.lastMembers().Voters
	if at := voterOf(voters, c.self.DirectoryID); at >= 0 && voters[at].VoterID != c.self.NodeID {
		return fmt.Errorf("%s: %w; the directory is that of node %d", who, ErrNotMember, voters[at].VoterID)
	}
	return nil
}

// firstConf is the quorum of a log that no checkpoint names one for: the first
// voters record says it, which is no change, or else the static quorum. A
// directory that was formatted without voters and has never run takes them from
// the configuration, or is to join a cluster.
func (c *core) firstConf(q metalog.QuorumState) (*pb.ConfState, error) {
	if c.log.End() == 0 {
		if c.o.Form != nil {
			return confOfVoters(c.o.Form.Voters), nil
		}
		return &pb.ConfState{AutoLeave: new(false)}, nil
	}
	for _, m := range c.log.MembersSince() {
		if m.Voters != nil {
			return confOfVoters(m.Voters), nil
		}
	}
	if !slices.Equal(q.CurrentVoters, []kafka.NodeID{c.self.NodeID}) {
		return nil, fmt.Errorf("voters %v: %w", q.CurrentVoters, ErrStaticQuorum)
	}
	return &pb.ConfState{Voters: []uint64{c.id}, AutoLeave: new(false)}, nil
}

// voteOf is the raft id that got this node's vote in q's epoch. Kafka forgets
// its vote when it leads or follows; then the vote is the leader's, since
// another one in that epoch must not be given (R5).
func (c *core) voteOf(q metalog.QuorumState) uint64 {
	node, directory := q.Voted, q.VotedDirectory
	if node == kafka.NoNode {
		if node = q.Leader; node == kafka.NoNode {
			return raft.None
		}
		directory = kafka.DirectoryUnassigned
	}
	who := Identity{NodeID: node, DirectoryID: directory}
	if directory.IsZero() {
		for _, known := range c.names {
			if known.NodeID == node {
				who = known
			}
		}
	}
	if _, known := c.names[who.raftID()]; !known {
		c.names[who.raftID()] = who
	}
	return who.raftID()
}

// quorumState is what quorum-state has to say now.
func (c *core) quorumState() metalog.QuorumState {
	status := c.rn.BasicStatus()
	q := metalog.QuorumState{
		Leader: kafka.NoNode, Epoch: kafka.LeaderEpoch(status.GetTerm()), Voted: kafka.NoNode,
		Commit: c.applied, HasCommit: true,
	}
	if who, ok := c.names[status.GetVote()]; ok && status.GetVote() != raft.None {
		q.Voted, q.VotedDirectory = who.NodeID, who.DirectoryID
	}
	if who, ok := c.names[status.Lead]; ok && status.Lead != raft.None {
		q.Leader = who.NodeID
	} else if c.alone() && status.GetVote() == c.id {
		q.Leader = c.self.NodeID // a vote of its own is all it needs: one write instead of two
	}
	if c.lastMembers().Voters == nil {
		old, _ := c.log.Quorum()
		q.CurrentVoters = old.CurrentVoters
	}
	return q
}

// saveQuorum writes quorum-state where term or vote changed, and where this
// node has begun to lead: Kafka would lead a second time in an epoch whose
// leader it does not find in the file (R5).
func (c *core) saveQuorum(*raft.Ready) error {
	now := c.quorumState()
	was, has := c.log.Quorum()
	if now.Epoch == 0 {
		return nil
	}
	if was.Epoch != now.Epoch || !has {
		c.granted = append(c.granted[:0], c.self.NodeID)
	}
	leads := now.Leader == c.self.NodeID && was.Leader != now.Leader
	if has && was.HasCommit && was.Epoch == now.Epoch && was.Voted == now.Voted && was.VotedDirectory == now.VotedDirectory && !leads {
		return nil
	}
	return c.log.SaveQuorum(now)
}

// checkpointOf reads the name and the metadata of a snapshot message.
func checkpointOf(s *pb.Snapshot) metalog.Checkpoint {
	c, ok := metalog.ParseCheckpointName(string(s.GetData()))
	if !ok {
		return metalog.Checkpoint{}
	}
	c.Index = s.GetMetadata().GetIndex()
	return c
}
