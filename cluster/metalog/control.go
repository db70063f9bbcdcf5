// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
	"gregor/wire/schema"
)

// tagRaft is the number of the one tagged field of our own: raft's bytes in a
// KRaftVoters record (the ConfChangeV2 that it stands for) and in a
// SnapshotHeader record (uvarint index, then the ConfState). Kafka skips it.
const tagRaft = 10000

// KRaftVersion is the level of kraft.version that is written.
const KRaftVersion = 1

// Members is the quorum from one batch on.
type Members struct {
	// Index of the batch, or of the checkpoint, that says so.
	Index uint64
	// Voters as the latest KRaftVoters record lists them; nil before the first.
	Voters []metarec.Voter
	// Change is raft's ConfChangeV2 if the batch stands for one.
	Change []byte
	// KRaftVersion is the level of the latest KRaftVersion record, 0 without one.
	KRaftVersion int16
	// VotersHere tells that the batch holds a KRaftVoters record.
	VotersHere bool
}

// RaftID folds a directory id to raft's 64 bits: the high half XOR the low
// half. raft keeps 0 and the two greatest numbers for itself.
func RaftID(d kafka.DirectoryID) uint64 {
	id := binary.BigEndian.Uint64(d[:8]) ^ binary.BigEndian.Uint64(d[8:])
	switch id {
	case 0, 1<<64 - 1, 1<<64 - 2:
		return id ^ 1<<32
	}
	return id
}

// NewVoter describes a voter that speaks every kraft.version up to ours.
func NewVoter(node kafka.NodeID, directory kafka.DirectoryID, endpoints ...metarec.VoterEndpoint) metarec.Voter {
	return metarec.Voter{
		VoterID: node, DirectoryID: directory, Endpoints: endpoints,
		KRaftVersion: metarec.KRaftVersionRange{Max: KRaftVersion},
	}
}

// WithRaft returns kept with the tagged field tagRaft set to raft's bytes, at
// its place: tags ascend.
func WithRaft(kept []schema.Tag, raft []byte) []schema.Tag {
	out := make([]schema.Tag, 0, len(kept)+1)
	for _, t := range kept {
		if t.Key < tagRaft {
			out = append(out, t)
		}
	}
	out = append(out, schema.Tag{Key: tagRaft, Value: raft})
	for _, t := range kept {
		if t.Key > tagRaft {
			out = append(out, t)
		}
	}
	return out
}

// raftTag is the inverse of WithRaft; nil if there is no such field.
func raftTag(kept []schema.Tag) []byte {
	i := slices.IndexFunc(kept, func(t schema.Tag) bool { return t.Key == tagRaft })
	if i < 0 {
		return nil
	}
	if kept[i].Value == nil {
		return []byte{}
	}
	return kept[i].Value
}

// snapshotTag is what raft wants to know of a checkpoint.
type snapshotTag struct {
	index     uint64
	confState []byte
}

func (t snapshotTag) bytes() []byte {
	return append(binary.AppendUvarint(nil, t.index), t.confState...)
}

func parseSnapshotTag(raft []byte) (snapshotTag, error) {
	index, n := binary.Uvarint(raft)
	if n <= 0 || index == 0 {
		return snapshotTag{}, errors.New("raft's index in the snapshot header is not a positive number")
	}
	return snapshotTag{index: index, confState: raft[n:]}, nil
}

// see takes up what a control record says of the quorum.
func (m *Members) see(rec metarec.Control) error {
	switch rec := rec.(type) {
	case *metarec.KRaftVersion:
		m.KRaftVersion = rec.Level
	case *metarec.KRaftVoters:
		ids := make(map[uint64]kafka.NodeID, len(rec.Voters))
		for _, v := range rec.Voters {
			id := RaftID(v.DirectoryID)
			if other, ok := ids[id]; ok {
				return fmt.Errorf("voters %d and %d have directory ids that fold to one raft id", other, v.VoterID)
			}
			ids[id] = v.VoterID
		}
		m.Voters, m.Change, m.VotersHere = rec.Voters, raftTag(rec.Unknown), true
	}
	return nil
}
