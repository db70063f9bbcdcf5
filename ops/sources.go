// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/broker/api"
	"gregor/broker/conn"
	"gregor/broker/fetchsession"
	"gregor/broker/telemetry"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	groups "gregor/coordinator/group"
	"gregor/coordinator/shard"
	"gregor/quota"
	"gregor/replica"
	"gregor/storage/logdir"
	"gregor/storage/retention"
	"gregor/storage/segment"
)

// Sources are the parts of a node that are measured. A nil one is a part that
// this node does not have, and its metrics are left out.
type Sources struct {
	Node kafka.NodeID
	// TopicsMax is how many topics are shown one by one.
	TopicsMax int
	// Connections counts over all Kafka listeners.
	Connections func() conn.Stats
	// Requests counts what the APIs did.
	Requests func() api.Stats
	// FetchSessions of the broker.
	FetchSessions func() fetchsession.Stats
	// Quotas of clients.
	Quotas func() quota.Stats
	// Telemetry counts pushes of clients; Pushed is what they have said.
	Telemetry func() telemetry.Stats
	Pushed    func() []telemetry.Series
	// Groups is the group coordinator.
	Groups func() shard.Stats
	// GroupCounts counts its groups.
	GroupCounts func() groups.Counts
	// Partitions on this broker.
	Partitions Partitions
	// Image is the newest one that was published on this node.
	Image func() *image.Image
	// Active reports whether this node is the active controller; nil on nodes
	// that are not controllers.
	Active func() bool
	// Leader is what raft knows of the quorum; nil on nodes that are not
	// controllers.
	Leader func() metalog.Leadership
	// Metadata is this node's copy of the metadata log.
	Metadata MetadataLog
	// Files are the descriptors of segments and indexes.
	Files func() segment.Stats
	// Directories are the log directories.
	Directories []Directory
	// Assignments are the replicas whose directory the controller does not know yet.
	Assignments func() int
}

// Partitions is replica.Table.
type Partitions interface {
	All(f func(*replica.Partition) bool)
	Topics(f func(name string, t *replica.Traffic) bool)
}

// MetadataLog is metalog.Log.
type MetadataLog interface {
	End() kafka.Offset
	Committed() metalog.Committed
	Checkpoint() (metalog.Checkpoint, bool)
}

// Directory is logdir.Dir.
type Directory interface {
	Path() string
	Offline() error
	Usage() (vfs.Usage, error)
	// ReserveBytes is the room that producers leave, and Refuses why they wait.
	ReserveBytes() int64
	Refuses() error
	Dropped() [retention.Reasons]logdir.Dropped
	DeletesPending() int
	Scrub() logdir.ScrubStats
}

// topicCounts is what one walk over the image finds.
type topicCounts struct {
	leaders         int64 // partitions that this broker leads
	underReplicated int64 // of those, with a replica out of the ISR
	leaderless      int64 // partitions of the cluster without a leader
}

func countTopics(img *image.Image, self kafka.NodeID) (c topicCounts) {
	for t := range img.Topics() {
		for _, p := range t.Partitions() {
			switch p.Leader {
			case kafka.NoNode:
				c.leaderless++
			case self:
				c.leaders++
				if len(p.ISR) < len(p.Replicas) {
					c.underReplicated++
				}
			}
		}
	}
	return c
}

// brokerCounts tells brokers that are in service from those that are not.
func brokerCounts(img *image.Image) (active, fenced int64) {
	for b := range img.Brokers() {
		if b.Fenced {
			fenced++
		} else {
			active++
		}
	}
	return active, fenced
}

// partitionCounts walks over the partitions of this broker.
func partitionCounts(list Partitions) (all, broken int64) {
	list.All(func(p *replica.Partition) bool {
		all++
		if p.Status().Err != nil {
			broken++
		}
		return true
	})
	return all, broken
}
