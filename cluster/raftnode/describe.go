// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
)

// heard is when a leader heard of a member.
type heard struct {
	fetchMs, caughtUpMs int64
}

// noteHeard keeps when a member told this leader how far it is.
func (n *Node) noteHeard(from Identity) {
	if n.core.rn.BasicStatus().RaftState != raft.StateLeader {
		clear(n.heard)
		return
	}
	id, last, nowMs := from.raftID(), n.log.LastIndex(), n.o.Now().UnixMilli()
	n.core.rn.WithProgress(func(of uint64, _ raft.ProgressType, pr tracker.Progress) {
		if of != id {
			return
		}
		h, ok := n.heard[id]
		if h.fetchMs = nowMs; pr.Match >= last {
			h.caughtUpMs = nowMs
		} else if !ok {
			h.caughtUpMs = -1
		}
		n.heard[id] = h
	})
}

// Describe tells how far each member of the quorum is. Only its leader knows:
// kafka.NotLeaderForPartition from others.
func (n *Node) Describe(ctx context.Context) (metalog.Quorum, error) {
	type answer struct {
		q   metalog.Quorum
		err error
	}
	done := make(chan answer, 1)
	n.post(func() {
		q, err := n.describe()
		done <- answer{q, err}
	})
	select {
	case a := <-done:
		return a.q, a.err
	case <-n.stopped:
		return metalog.Quorum{}, fmt.Errorf("metadata quorum has stopped: %w", kafka.NotLeaderForPartition)
	case <-ctx.Done():
		return metalog.Quorum{}, fmt.Errorf("describe the metadata quorum: %w", ctx.Err())
	}
}

func (n *Node) describe() (metalog.Quorum, error) {
	status := n.core.rn.BasicStatus()
	if status.RaftState != raft.StateLeader {
		return metalog.Quorum{}, kafka.NotLeaderForPartition
	}
	q := metalog.Quorum{
		Leader: n.o.NodeID, Epoch: kafka.LeaderEpoch(status.GetTerm()), HighWatermark: n.log.Committed().End,
		Nodes: slices.Clone(n.core.lastMembers().Voters),
	}
	n.core.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		r := n.replica(id, pr.Match)
		if typ == raft.ProgressTypeLearner {
			q.Observers = append(q.Observers, r)
		} else {
			q.Voters = append(q.Voters, r)
		}
	})
	byNode := func(a, b metalog.Replica) int { return cmp.Compare(a.NodeID, b.NodeID) }
	slices.SortFunc(q.Voters, byNode)
	slices.SortFunc(q.Observers, byNode)
	return q, nil
}

func (n *Node) replica(id, match uint64) metalog.Replica {
	r := metalog.Replica{NodeID: kafka.NoNode, LogEndOffset: kafka.NoOffset, LastFetchMs: -1, LastCaughtUpMs: -1}
	if name, ok := n.core.names[id]; ok {
		r.NodeID, r.DirectoryID = name.NodeID, name.DirectoryID
	}
	if id == n.core.id {
		r.LogEndOffset, r.LastFetchMs = n.log.End(), n.o.Now().UnixMilli()
		r.LastCaughtUpMs = r.LastFetchMs
		return r
	}
	if end, ok := n.log.OffsetAfter(match); ok {
		r.LogEndOffset = end
	}
	if h, ok := n.heard[id]; ok {
		r.LastFetchMs, r.LastCaughtUpMs = h.fetchMs, h.caughtUpMs
	}
	return r
}
