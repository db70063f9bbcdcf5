// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

const (
	quorumStateName    = "quorum-state"
	quorumStateTmp     = quorumStateName + ".tmp"
	quorumStateVersion = 1
	quorumStateBytes   = 1 << 20 // more is no quorum-state
)

// QuorumState is the file quorum-state: what a voter must not forget, and in
// fields of our own what raft needs besides.
//
//	{"leaderId":1,"leaderEpoch":3,"votedId":1,"votedDirectoryId":"…","data_version":1,"gregorCommit":113}
//
// Kafka accepts fields that it does not know and drops them with its first
// write, so their absence tells that Kafka wrote last.
type QuorumState struct {
	Leader         kafka.NodeID // NoNode while unknown
	Epoch          kafka.LeaderEpoch
	Voted          kafka.NodeID // NoNode: no vote in this epoch
	VotedDirectory kafka.DirectoryID
	// Commit is raft's commit index; HasCommit is false where Kafka wrote last.
	Commit    uint64
	HasCommit bool
	// Installing names the checkpoint whose installation has begun: until it is
	// done the log beside it belongs to another history.
	Installing string

	// CurrentVoters is the static quorum of a version 0 file. It is kept until
	// the log names the voters.
	CurrentVoters []kafka.NodeID
}

// quorumStateFile is the JSON of both versions.
type quorumStateFile struct {
	ClusterID        *string            `json:"clusterId,omitempty"`
	LeaderID         int32              `json:"leaderId"`
	LeaderEpoch      int32              `json:"leaderEpoch"`
	VotedID          int32              `json:"votedId"`
	VotedDirectoryID string             `json:"votedDirectoryId,omitempty"`
	AppliedOffset    *int64             `json:"appliedOffset,omitempty"`
	CurrentVoters    []quorumStateVoter `json:"currentVoters,omitempty"`
	DataVersion      int16              `json:"data_version"`
	Commit           *uint64            `json:"gregorCommit,omitempty"`
	Installing       string             `json:"gregorInstalling,omitempty"`
}

type quorumStateVoter struct {
	VoterID int32 `json:"voterId"`
}

func (q QuorumState) marshal() []byte {
	f := quorumStateFile{
		LeaderID: int32(q.Leader), LeaderEpoch: int32(q.Epoch), VotedID: int32(q.Voted),
		VotedDirectoryID: q.VotedDirectory.String(), DataVersion: quorumStateVersion, Installing: q.Installing,
	}
	if q.HasCommit {
		f.Commit = &q.Commit
	}
	for _, id := range q.CurrentVoters {
		f.CurrentVoters = append(f.CurrentVoters, quorumStateVoter{int32(id)})
	}
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // numbers and ASCII strings
	}
	return b
}

func parseQuorumState(b []byte) (QuorumState, error) {
	var f quorumStateFile
	if err := json.Unmarshal(b, &f); err != nil {
		return QuorumState{}, err
	}
	if f.DataVersion < 0 || f.DataVersion > quorumStateVersion {
		return QuorumState{}, fmt.Errorf("data_version %d is not known", f.DataVersion)
	}
	if f.LeaderEpoch < 0 || f.LeaderID < -1 || f.VotedID < -1 {
		return QuorumState{}, fmt.Errorf("leaderId %d, leaderEpoch %d, votedId %d cannot be", f.LeaderID, f.LeaderEpoch, f.VotedID)
	}
	q := QuorumState{
		Leader: kafka.NodeID(f.LeaderID), Epoch: kafka.LeaderEpoch(f.LeaderEpoch), Voted: kafka.NodeID(f.VotedID),
		Installing: f.Installing,
	}
	if f.VotedDirectoryID != "" {
		id, err := kafka.ParseUUID(f.VotedDirectoryID)
		if err != nil {
			return QuorumState{}, fmt.Errorf("votedDirectoryId: %w", err)
		}
		q.VotedDirectory = kafka.DirectoryID(id)
	}
	if f.Commit != nil {
		q.Commit, q.HasCommit = *f.Commit, true
	}
	for _, v := range f.CurrentVoters {
		q.CurrentVoters = append(q.CurrentVoters, kafka.NodeID(v.VoterID))
	}
	return q, nil
}

func (l *Log) loadQuorumState() error {
	b, err := vfs.ReadFile(l.fs, l.path(quorumStateName), quorumStateBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read quorum-state: %w", err)
	}
	q, err := parseQuorumState(b)
	if err != nil {
		return fmt.Errorf("%w. A voter that is alone may do without the file; one of several might then vote twice, and should join the others anew with an empty directory",
			&CorruptError{File: l.path(quorumStateName), Reason: err.Error()})
	}
	l.quorum, l.hasQuorum = q, true
	return nil
}

// Quorum gives the last saved quorum-state; ok is false if there is none.
func (l *Log) Quorum() (q QuorumState, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quorum, l.hasQuorum
}

// SaveQuorum replaces quorum-state durably.
func (l *Log) SaveQuorum(q QuorumState) error {
	tmp := l.path(quorumStateTmp)
	if err := writeFile(l.fs, tmp, q.marshal(), 0o644); err != nil {
		return fmt.Errorf("save quorum-state: %w", err)
	}
	if err := l.fs.Rename(tmp, l.path(quorumStateName)); err != nil {
		return fmt.Errorf("save quorum-state: %w", err)
	}
	if err := l.syncDir(); err != nil {
		return fmt.Errorf("save quorum-state: %w", err)
	}
	l.mu.Lock()
	l.quorum, l.hasQuorum = q, true
	l.mu.Unlock()
	return nil
}

// writeFile creates or replaces a file and makes its content durable, not yet
// its name.
func writeFile(fsys vfs.FS, name string, b []byte, perm fs.FileMode) error {
	f, err := fsys.Open(name, vfs.Create|vfs.Truncate, perm)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.SyncData()
	}
	return errors.Join(err, f.Close())
}
