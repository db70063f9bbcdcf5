// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// The quorum is told twice: in Kafka's words, a list of voters, and in raft's,
// a ConfState that also has learners. Here one is made of the other.

// confOfVoters is the ConfState of a list of voters and no learner.
func confOfVoters(voters []metarec.Voter) *pb.ConfState {
	conf := &pb.ConfState{AutoLeave: new(false)}
	for _, v := range voters {
		conf.Voters = append(conf.Voters, metalog.RaftID(v.DirectoryID))
	}
	slices.Sort(conf.Voters)
	return conf
}

func marshalConf(conf *pb.ConfState) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(conf)
	if err != nil {
		panic(err) // numbers
	}
	return b
}

// confOfCheckpoint is the ConfState that a checkpoint's header holds, or that
// follows from the voters it lists.
func confOfCheckpoint(c metalog.Checkpoint, voters []metarec.Voter) (*pb.ConfState, error) {
	if c.ConfState == nil {
		return confOfVoters(voters), nil
	}
	conf := &pb.ConfState{}
	if err := proto.Unmarshal(c.ConfState, conf); err != nil {
		return nil, fmt.Errorf("quorum in the header of %s: %w", c.Name(), err)
	}
	return pb.EnsureConfState(conf), nil
}

// changed is conf after the batch that m stands for.
func changed(conf *pb.ConfState, m metalog.Members) (*pb.ConfState, error) {
	switch {
	case len(m.Change) > 0:
		change, err := parseChange(m.Change)
		if err != nil {
			return nil, err
		}
		return applyChange(conf, change), nil
	case m.VotersHere:
		next := confOfVoters(m.Voters)
		for _, id := range conf.GetLearners() {
			if !slices.Contains(next.Voters, id) {
				next.Learners = append(next.Learners, id)
			}
		}
		return next, nil
	}
	return conf, nil
}

// applyChange is what raft makes of a change without joint consensus.
func applyChange(conf *pb.ConfState, change *pb.ConfChangeV2) *pb.ConfState {
	next := &pb.ConfState{Voters: slices.Clone(conf.GetVoters()), Learners: slices.Clone(conf.GetLearners()), AutoLeave: new(false)}
	for _, c := range change.GetChanges() {
		id := c.GetNodeId()
		is := func(other uint64) bool { return other == id }
		switch c.GetType() {
		case pb.ConfChangeAddNode, pb.ConfChangeAddLearnerNode, pb.ConfChangeRemoveNode:
			next.Voters = slices.DeleteFunc(next.Voters, is)
			next.Learners = slices.DeleteFunc(next.Learners, is)
		}
		switch c.GetType() {
		case pb.ConfChangeAddNode:
			next.Voters = append(next.Voters, id)
		case pb.ConfChangeAddLearnerNode:
			next.Learners = append(next.Learners, id)
		}
	}
	slices.Sort(next.Voters)
	slices.Sort(next.Learners)
	return next
}

func parseChange(b []byte) (*pb.ConfChangeV2, error) {
	change := &pb.ConfChangeV2{}
	if err := proto.Unmarshal(b, change); err != nil {
		return nil, fmt.Errorf("membership change in a voters record: %w", err)
	}
	if len(change.GetChanges()) != 1 {
		return nil, fmt.Errorf("membership change of %d members: one at a time", len(change.GetChanges()))
	}
	return change, nil
}

// changeAt is the membership change that the batch at index stands for; nil if
// it stands for none. A batch that Kafka wrote has no bytes of raft's: there
// the change is the difference to the voters before it.
func changeAt(log *metalog.Log, index uint64) (*pb.ConfChangeV2, error) {
	m, here := log.MembersAt(index)
	if !here || !m.VotersHere {
		return nil, nil
	}
	if len(m.Change) > 0 {
		return parseChange(m.Change)
	}
	before, _ := log.MembersAt(index - 1)
	if before.Voters == nil {
		return nil, nil // the first list there is
	}
	return difference(before.Voters, m.Voters)
}

var errManyChanges = errors.New("a voters record changes more than one member")

func difference(before, after []metarec.Voter) (*pb.ConfChangeV2, error) {
	was, is := confOfVoters(before).Voters, confOfVoters(after).Voters
	var changes []*pb.ConfChangeSingle
	for _, id := range is {
		if !slices.Contains(was, id) {
			changes = append(changes, &pb.ConfChangeSingle{Type: pb.ConfChangeAddNode.Enum(), NodeId: new(id)})
		}
	}
	for _, id := range was {
		if !slices.Contains(is, id) {
			changes = append(changes, &pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(id)})
		}
	}
	switch len(changes) {
	case 0:
		return nil, nil
	case 1:
		return &pb.ConfChangeV2{Changes: changes}, nil
	}
	return nil, errManyChanges
}

// confAt is the quorum, in raft's words, as the batch at index left it.
func confAt(log *metalog.Log, index uint64) (*pb.ConfState, error) {
	c, _ := log.Checkpoint()
	at, _ := log.MembersAt(c.Index)
	conf, err := confOfCheckpoint(c, at.Voters)
	for _, m := range log.MembersSince() {
		if err == nil && m.Index > c.Index && m.Index <= index {
			conf, err = changed(conf, m)
		}
	}
	return conf, err
}

// nodeIDs lists the voters as LeaderChange names them.
func nodeIDs(voters []metarec.Voter) []metarec.LeaderChangeVoter {
	out := make([]metarec.LeaderChangeVoter, len(voters))
	for i, v := range voters {
		out[i].VoterID = v.VoterID
	}
	return out
}

func voterOf(voters []metarec.Voter, d kafka.DirectoryID) int {
	return slices.IndexFunc(voters, func(v metarec.Voter) bool { return v.DirectoryID == d })
}
