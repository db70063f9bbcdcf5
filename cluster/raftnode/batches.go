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
	"gregor/wire/batch"
)

// Data of an entry has one of three forms: a batch, which begins with a zero
// byte as every base offset does; nothing, raft's own entry at the beginning of
// a term and in place of a membership change that came too early; a
// ConfChangeV2, which never begins with a zero byte. The leader that appends
// makes batches of the latter two: they name leader, time and endpoints, which
// followers cannot know (R1).

func (c *core) batches(entries []*pb.Entry) ([]metalog.Entry, error) {
	out := make([]metalog.Entry, len(entries))
	members := c.lastMembers()
	end := c.endBefore(entries[0].GetIndex())
	for i, e := range entries {
		out[i] = metalog.Entry{Index: e.GetIndex(), Epoch: kafka.LeaderEpoch(e.GetTerm()), Batch: e.GetData(), Sealed: true}
		var err error
		switch {
		case len(e.GetData()) == 0:
			out[i].Batch, out[i].Sealed = c.leaderBatch(members, end), false
			if c.ownFirst == 0 {
				c.ownFirst = e.GetIndex()
			}
		case e.GetData()[0] != 0:
			out[i].Batch, err = c.changeBatch(e)
			out[i].Sealed = false
		}
		if err != nil {
			return nil, fmt.Errorf("metadata index %d: %w", e.GetIndex(), err)
		}
		h, err := batch.Parse(out[i].Batch)
		if err != nil {
			return nil, fmt.Errorf("metadata index %d: %w", e.GetIndex(), err)
		}
		end += kafka.Offset(h.LastOffsetDelta) + 1
	}
	return out, nil
}

// endBefore is the offset that the batch at index gets.
func (c *core) endBefore(index uint64) kafka.Offset {
	end, ok := c.log.OffsetAfter(index - 1)
	if !ok {
		return c.log.End()
	}
	return end
}

// leaderBatch begins a leadership. The first batch of a log, or the first of
// one that Kafka kept with a static quorum, also names the voters.
func (c *core) leaderBatch(m metalog.Members, base kafka.Offset) []byte {
	voters := m.Voters
	if voters == nil && c.o.Form != nil && slices.Equal(confOfVoters(c.o.Form.Voters).Voters, c.conf.GetVoters()) {
		voters = c.o.Form.Voters
	}
	if voters == nil {
		voters = []metarec.Voter{metalog.NewVoter(c.self.NodeID, c.self.DirectoryID, c.o.Endpoints...)}
	}
	change := &metarec.LeaderChange{LeaderID: c.self.NodeID, Voters: nodeIDs(voters)}
	for _, id := range c.granted {
		change.GrantingVoters = append(change.GrantingVoters, metarec.LeaderChangeVoter{VoterID: id})
	}
	control := []metarec.Control{change}
	if base == 0 || m.KRaftVersion == 0 {
		control = append(control, &metarec.KRaftVersion{Level: metalog.KRaftVersion}, &metarec.KRaftVoters{Voters: voters})
	}
	return metalog.ControlBatch(c.o.Now().UnixMilli(), control...)
}

// changeBatch makes a voters record of a ConfChangeV2, whose Context is the
// record as it shall be but for raft's bytes.
func (c *core) changeBatch(e *pb.Entry) ([]byte, error) {
	change := &pb.ConfChangeV2{}
	if err := proto.Unmarshal(e.GetData(), change); err != nil {
		return nil, fmt.Errorf("membership change: %w", err)
	}
	rec, err := metarec.UnmarshalControl(metarec.ControlKey(nil, &metarec.KRaftVoters{}), change.GetContext())
	if err != nil {
		return nil, fmt.Errorf("voters of a membership change: %w", err)
	}
	voters := rec.(*metarec.KRaftVoters)
	change.Context = nil
	raft, err := proto.MarshalOptions{Deterministic: true}.Marshal(change)
	if err != nil {
		return nil, fmt.Errorf("membership change: %w", err)
	}
	voters.Unknown = metalog.WithRaft(voters.Unknown, raft)
	return metalog.ControlBatch(c.o.Now().UnixMilli(), voters), nil
}

// checkEntries judges the entries of a message before raft sees them: all are
// whole batches of the term they claim.
func checkEntries(m *pb.Message) error {
	for i, e := range m.GetEntries() {
		b := e.GetData()
		h, err := batch.Parse(b)
		if err == nil && (h.SizeBytes() != len(b) || uint64(h.LeaderEpoch) != e.GetTerm() || h.LastOffsetDelta < 0 || h.Count < 1) {
			err = errors.New("header does not fit")
		}
		if err == nil && e.GetIndex() != m.GetIndex()+1+uint64(i) {
			err = errors.New("index does not follow")
		}
		if err == nil && e.GetType() != pb.EntryNormal && e.GetType() != pb.EntryConfChangeV2 {
			err = fmt.Errorf("entry type %d", e.GetType())
		}
		if err == nil {
			err = batch.VerifyCRC(b)
		}
		if err != nil {
			return fmt.Errorf("entry %d of an append: %w", e.GetIndex(), err)
		}
	}
	return nil
}

// nextBase is the offset that a proposal made now gets.
func (c *core) nextBase() kafka.Offset { return c.log.End() + c.proposed }

// proposeSealed proposes a batch for an offset. Nothing may be between it and
// the end of the log but what this round has proposed already.
func (c *core) proposeSealed(b []byte, base kafka.Offset) error {
	if c.round != nil || base != c.nextBase() {
		return fmt.Errorf("proposal for offset %d where %d is due", base, c.nextBase())
	}
	h, err := batch.Parse(b)
	if err != nil {
		return fmt.Errorf("proposal: %w", err)
	}
	if h.SizeBytes() != len(b) || len(b) > c.o.BatchBytesMax {
		return fmt.Errorf("proposal of %d bytes: %w", len(b), kafka.RecordListTooLarge)
	}
	batch.SetBaseOffset(b, base)
	batch.SetLeaderEpoch(b, kafka.LeaderEpoch(c.rn.BasicStatus().GetTerm()))
	if err := c.rn.Propose(b); err != nil {
		return fmt.Errorf("proposal: %w", err)
	}
	c.proposed += kafka.Offset(h.LastOffsetDelta) + 1
	return nil
}

func (c *core) lastMembers() metalog.Members {
	all := c.log.MembersSince()
	if len(all) == 0 {
		return metalog.Members{}
	}
	return all[len(all)-1]
}

// learnNames keeps who is behind a raft id: quorum-state needs both ids of a
// member, also of a learner or of a candidate that no record names yet.
func (c *core) learnNames() {
	for _, m := range c.log.MembersSince() {
		for _, v := range m.Voters {
			c.names[metalog.RaftID(v.DirectoryID)] = Identity{NodeID: v.VoterID, DirectoryID: v.DirectoryID}
		}
	}
}
