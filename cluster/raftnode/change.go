// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
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

// The quorum changes by one member at a time and without joint consensus: a new
// member comes as a learner, is promoted when it has caught up, and leaves from
// either state.

// ChangeKind is what happens to a member.
type ChangeKind int8

// Kinds of changes.
const (
	AddLearner ChangeKind = iota
	Promote
	Remove
)

var (
	// ErrChangePending refuses a change while another is under way.
	ErrChangePending = errors.New("a change of the metadata quorum is under way")
	// ErrNotCaughtUp refuses to promote a learner that lacks what is committed.
	// It would stop the quorum: raft itself does not ask.
	ErrNotCaughtUp = errors.New("the learner has not caught up with the metadata log")
	// ErrChangeLost says that a change was not taken up, or that nobody knows.
	ErrChangeLost = errors.New("the change of the metadata quorum was lost")
)

// pendingChange is a change that is on its way.
type pendingChange struct {
	index uint64
	epoch kafka.LeaderEpoch
	done  chan error // has room for one
	is    func(*pb.ConfState) bool
}

// Change changes the quorum, if this node leads it, and returns when the change
// counts. It takes a place in the log, so a controller that has proposals in
// flight at that moment loses its leadership.
func (n *Node) Change(ctx context.Context, kind ChangeKind, member metarec.Voter) error {
	done := make(chan error, 1)
	n.post(func() {
		p, err := n.core.startChange(kind, member)
		if err != nil {
			done <- err
			return
		}
		p.done = done
		n.changes = append(n.changes, p)
	})
	select {
	case err := <-done:
		return err
	case <-n.stopped:
		return ErrChangeLost
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrChangeLost, ctx.Err())
	}
}

// settleChanges answers those whose fate is known.
func (n *Node) settleChanges(l metalog.Leadership) {
	n.changes = slices.DeleteFunc(n.changes, func(p pendingChange) bool {
		switch {
		case n.core.applied >= p.index && p.is(n.core.conf):
			p.done <- nil
		case n.core.applied >= p.index || !l.Leading || l.Epoch != p.epoch:
			// raft makes an empty entry of a change that comes too early.
			p.done <- ErrChangeLost
		default:
			return false
		}
		return true
	})
}

// startChange proposes a change after having looked whether it is safe.
func (c *core) startChange(kind ChangeKind, member metarec.Voter) (pendingChange, error) {
	l := c.leadership()
	if !l.Leading {
		return pendingChange{}, fmt.Errorf("change of the metadata quorum: %w", kafka.NotController)
	}
	id := metalog.RaftID(member.DirectoryID)
	voters := slices.Clone(c.lastMembers().Voters)
	at := voterOf(voters, member.DirectoryID)
	p := pendingChange{epoch: l.Epoch}
	var typ pb.ConfChangeType
	switch kind {
	case AddLearner:
		typ = pb.ConfChangeAddLearnerNode
		if at >= 0 {
			return p, fmt.Errorf("node %d votes already: %w", member.VoterID, kafka.DuplicateVoter)
		}
		p.is = func(conf *pb.ConfState) bool { return slices.Contains(conf.GetLearners(), id) }
	case Promote:
		typ = pb.ConfChangeAddNode
		if !c.caughtUp(id) {
			return p, ErrNotCaughtUp
		}
		voters = append(voters, member)
		p.is = func(conf *pb.ConfState) bool { return slices.Contains(conf.GetVoters(), id) }
	case Remove:
		typ = pb.ConfChangeRemoveNode
		if at >= 0 {
			voters = slices.Delete(voters, at, at+1)
		}
		if len(voters) == 0 {
			return p, fmt.Errorf("node %d is the last voter: %w", member.VoterID, kafka.InvalidRequest)
		}
		p.is = func(conf *pb.ConfState) bool {
			return !slices.Contains(conf.GetVoters(), id) && !slices.Contains(conf.GetLearners(), id)
		}
	}
	if err := c.proposeChange(typ, Identity{NodeID: member.VoterID, DirectoryID: member.DirectoryID}, voters); err != nil {
		return p, err
	}
	p.index = c.log.LastIndex() + 1
	return p, nil
}

// caughtUp reports whether a learner has all that is committed and was heard of.
func (c *core) caughtUp(id uint64) (yes bool) {
	commit := c.rn.BasicStatus().GetCommit()
	c.rn.WithProgress(func(of uint64, typ raft.ProgressType, pr tracker.Progress) {
		yes = yes || of == id && typ == raft.ProgressTypeLearner && pr.RecentActive && pr.Match >= commit
	})
	return yes
}

// proposeChange proposes one change of the quorum. voters is the list as Kafka
// shall see it afterwards; learners are in none.
func (c *core) proposeChange(typ pb.ConfChangeType, member Identity, voters []metarec.Voter) error {
	id := member.raftID()
	if taken, ok := c.names[id]; ok && taken.DirectoryID != member.DirectoryID {
		return fmt.Errorf("directory id %s folds to the raft id of member %d: %w", member.DirectoryID, taken.NodeID, kafka.InvalidRequest)
	}
	if m := c.lastMembers(); m.Index > c.applied || c.proposed > 0 || c.round != nil {
		return ErrChangePending
	}
	c.names[id] = member
	change := &pb.ConfChangeV2{
		Changes: []*pb.ConfChangeSingle{{Type: typ.Enum(), NodeId: new(id)}},
		Context: metarec.MarshalControl(nil, &metarec.KRaftVoters{Voters: voters}),
	}
	if err := c.rn.ProposeConfChange(change); err != nil {
		return fmt.Errorf("change of the metadata quorum: %w", err)
	}
	c.proposed++
	return nil
}
