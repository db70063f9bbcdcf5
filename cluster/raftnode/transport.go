// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"io"

	pb "go.etcd.io/raft/v3/raftpb"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
)

// Transport carries messages between the voters. A nil Transport is that of a
// voter that is alone.
type Transport interface {
	// Send hands over messages and does not wait. What cannot be sent is
	// dropped: raft repeats it. The messages are shared and not changed.
	Send(to Identity, messages []*pb.Message)
	// FetchCheckpoint reads a checkpoint of another node. It is called on a
	// goroutine of its own.
	FetchCheckpoint(ctx context.Context, from Identity, c metalog.Checkpoint) (io.ReadCloser, error)
}

// Identity is a member of the quorum by both its ids. A node whose disk was
// wiped has another directory id, and is another member.
type Identity struct {
	NodeID      kafka.NodeID
	DirectoryID kafka.DirectoryID
}

// raftID is the member's id in raft.
func (i Identity) raftID() uint64 { return metalog.RaftID(i.DirectoryID) }
