// SPDX-License-Identifier: Apache-2.0

// Package kafka is the vocabulary that all of gregor shares: the distinct
// types of offsets, epochs and ids, and the error codes of the Kafka protocol.
// They are written and read as Kafka does, and do nothing else.
package kafka

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Offset is a position in a partition, counted in records. It is not a
// position in a file: that is a plain int64 whose name ends in Pos or Bytes.
type Offset int64

// NoOffset is what the protocol sends where there is no offset.
const NoOffset Offset = -1

// LeaderEpoch counts the leaders of a partition. In __cluster_metadata it is
// the raft term.
type LeaderEpoch int32

// NoLeaderEpoch is what the protocol sends where there is no epoch. As an
// expected epoch it means "do not check".
const NoLeaderEpoch LeaderEpoch = -1

// PartitionEpoch counts the changes of one partition's registration.
type PartitionEpoch int32

// NodeID is node.id, of a broker or a controller.
type NodeID int32

// NoNode stands for "no node" in the protocol (no leader, no controller).
const NoNode NodeID = -1

// BrokerEpoch identifies one incarnation of a broker: the offset of its
// registration record in __cluster_metadata.
type BrokerEpoch int64

// PartitionID is the index of a partition within its topic.
type PartitionID int32

// ProducerID identifies an idempotent or transactional producer.
type ProducerID int64

// NoProducerID marks a batch that no idempotent producer wrote.
const NoProducerID ProducerID = -1

// ProducerEpoch fences older incarnations of one producer id.
type ProducerEpoch int16

// NoProducerEpoch goes with NoProducerID.
const NoProducerEpoch ProducerEpoch = -1

// UUID is Kafka's 16 byte id. Its text form is the URL-safe base64 without
// padding that Kafka prints.
type UUID [16]byte

// TopicID identifies one life of a topic: a topic that is deleted and created
// again under its old name has another one.
type TopicID UUID

// DirectoryID identifies one log directory of one node.
type DirectoryID UUID

// Reserved directory ids of Kafka's DirectoryId class.
var (
	// DirectoryUnassigned: no directory was chosen yet.
	DirectoryUnassigned = DirectoryID{}
	// DirectoryLost: the directory went offline.
	DirectoryLost = DirectoryID{15: 1}
	// DirectoryMigrating: the broker does not know directories yet.
	DirectoryMigrating = DirectoryID{15: 2}
)

func (u UUID) String() string        { return base64.RawURLEncoding.EncodeToString(u[:]) }
func (t TopicID) String() string     { return UUID(t).String() }
func (d DirectoryID) String() string { return UUID(d).String() }

// IsZero reports whether u is the zero id, which the protocol uses for "none".
func (u UUID) IsZero() bool { return u == UUID{} }

// IsZero reports whether t is the zero id, which the protocol uses for "none".
func (t TopicID) IsZero() bool { return t == TopicID{} }

// IsZero reports whether d is DirectoryUnassigned.
func (d DirectoryID) IsZero() bool { return d == DirectoryID{} }

// ParseUUID reads Kafka's text form.
func ParseUUID(s string) (UUID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return UUID{}, fmt.Errorf("uuid %q: %w", s, err)
	}
	if len(b) != 16 {
		return UUID{}, fmt.Errorf("uuid %q: has %d bytes, want 16", s, len(b))
	}
	return UUID(b), nil
}

// NewUUID makes a random version 4 id from random. As Kafka's Uuid class, it
// avoids ids that start with a dash, which command lines would take for flags,
// and the reserved ids, whose first eight bytes are zero.
func NewUUID(random io.Reader) (UUID, error) {
	for {
		var u UUID
		if _, err := io.ReadFull(random, u[:]); err != nil {
			return UUID{}, fmt.Errorf("draw a uuid: %w", err)
		}
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if u.String()[0] != '-' {
			return u, nil
		}
	}
}

// The topics of the coordinators. Clients may read them, not write to them.
const (
	OffsetsTopic      = "__consumer_offsets"
	TransactionsTopic = "__transaction_state"
	ShareStateTopic   = "__share_group_state"
)

// TopicPartition names a partition as people do.
type TopicPartition struct {
	Topic     string
	Partition PartitionID
}

// String gives Kafka's folder name, topic-partition.
func (tp TopicPartition) String() string {
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition))
}

// TopicIDPartition names a partition for as long as its topic lives.
type TopicIDPartition struct {
	TopicID   TopicID
	Partition PartitionID
}

// CodeOf returns the protocol code that err carries. ok is false where err is
// not nil and carries none.
func CodeOf(err error) (code Code, ok bool) {
	if err == nil {
		return None, true
	}
	if errors.As(err, &code) {
		return code, true
	}
	return UnknownServerError, false
}
