// SPDX-License-Identifier: Apache-2.0

package metalog

import "gregor/base/kafka"

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
