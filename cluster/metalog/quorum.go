// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// Proposal is one batch that a leader wants in the log.
type Proposal struct {
	// Epoch is that of the leadership in which it was made.
	Epoch kafka.LeaderEpoch
	// Base is the offset that it must get: records may name their own offsets.
	Base  kafka.Offset
	Batch []byte // with Base and Epoch put in; not changed after it was proposed
}

// Leadership tells who leads the metadata quorum as far as this node knows.
type Leadership struct {
	Leader kafka.NodeID // NoNode while unknown
	Epoch  kafka.LeaderEpoch
	// Leading: this node leads, and its own epoch's first batch is committed.
	Leading bool
	// ServeFrom is the offset behind that batch: proposals begin here.
	ServeFrom kafka.Offset
}

// Quorum is the metadata quorum as its leader knows it.
type Quorum struct {
	Leader kafka.NodeID
	Epoch  kafka.LeaderEpoch
	// HighWatermark is behind all that is committed.
	HighWatermark kafka.Offset
	// Voters and Observers are sorted by node.
	Voters, Observers []Replica
	// Nodes are the voters with their listeners.
	Nodes []metarec.Voter
}

// Replica is how far a member of the quorum is.
type Replica struct {
	NodeID      kafka.NodeID
	DirectoryID kafka.DirectoryID
	// LogEndOffset is NoOffset while nobody knows.
	LogEndOffset kafka.Offset
	// LastFetchMs is when the leader heard of it last, and LastCaughtUpMs when it
	// last had all that the leader had; -1 for never.
	LastFetchMs, LastCaughtUpMs int64
}
