// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"math"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"gregor/cluster/metalog"
)

// storage shows the metadata log to raft. Data of an entry is its whole batch;
// raft looks at the type alone.
type storage struct {
	log *metalog.Log
	// hard and conf are what raft starts with.
	hard *pb.HardState
	conf *pb.ConfState
	// lastChange is the index of the last membership change that was applied: a
	// snapshot before it would name a quorum that is no longer (R7).
	lastChange uint64
	// wanted is set when raft asked for a snapshot that has to be written first.
	wanted bool
}

var _ raft.Storage = (*storage)(nil)

// InitialState implements raft.Storage.
func (s *storage) InitialState() (*pb.HardState, *pb.ConfState, error) { return s.hard, s.conf, nil }

// Entries implements raft.Storage.
func (s *storage) Entries(lo, hi, bytesMax uint64) ([]*pb.Entry, error) {
	es, err := s.log.Entries(lo, hi, int(min(bytesMax, math.MaxInt)))
	if errors.Is(err, metalog.ErrCompacted) {
		return nil, raft.ErrCompacted
	}
	if err != nil {
		return nil, err
	}
	out := make([]*pb.Entry, len(es))
	for i, e := range es {
		typ := pb.EntryNormal
		change, err := changeAt(s.log, e.Index)
		if err != nil {
			return nil, fmt.Errorf("metadata index %d: %w", e.Index, err)
		}
		if change != nil {
			typ = pb.EntryConfChangeV2
		}
		out[i] = &pb.Entry{Index: new(e.Index), Term: new(uint64(e.Epoch)), Type: typ.Enum(), Data: e.Batch}
	}
	return out, nil
}

// Term implements raft.Storage.
func (s *storage) Term(index uint64) (uint64, error) {
	if epoch, ok := s.log.Epoch(index); ok {
		return uint64(epoch), nil
	}
	if index < s.log.FirstIndex() {
		return 0, raft.ErrCompacted
	}
	return 0, raft.ErrUnavailable
}

// LastIndex implements raft.Storage.
func (s *storage) LastIndex() (uint64, error) { return s.log.LastIndex(), nil }

// FirstIndex implements raft.Storage.
func (s *storage) FirstIndex() (uint64, error) { return s.log.FirstIndex(), nil }

// Snapshot implements raft.Storage. The file itself is fetched by who gets the
// message, by the name that is its Data.
func (s *storage) Snapshot() (*pb.Snapshot, error) {
	c, ok := s.log.Checkpoint()
	if !ok || c.ConfState == nil || c.Index < s.lastChange {
		s.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	conf, err := confOfCheckpoint(c, nil)
	if err != nil {
		return nil, err
	}
	return &pb.Snapshot{
		Data:     []byte(c.Name()),
		Metadata: &pb.SnapshotMetadata{Index: new(c.Index), Term: new(uint64(c.Epoch)), ConfState: conf},
	}, nil
}
