// SPDX-License-Identifier: Apache-2.0

package image

import (
	"iter"
	"slices"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
	"gregor/wire/schema"
)

// Topic is a topic with its partitions.
type Topic struct {
	Name    string
	ID      kafka.TopicID
	parts   partitions
	owner   *token
	unknown []schema.Tag
}

// Partition returns a partition, nil if there is none of this id.
func (t *Topic) Partition(id kafka.PartitionID) *Partition { return t.parts.get(id) }

// Partitions walks over the partitions by id.
func (t *Topic) Partitions() iter.Seq2[kafka.PartitionID, *Partition] { return t.parts.all() }

// PartitionCount is the number of partitions.
func (t *Topic) PartitionCount() int { return t.parts.count }

// Leader recovery states of a partition.
const (
	Recovered  int8 = 0
	Recovering int8 = 1 // its leader was elected uncleanly and has not recovered yet
)

// Partition is the registration of a partition. Slices may be shared.
type Partition struct {
	// Replicas stand in order of preference, Directories beside them.
	Replicas    []kafka.NodeID
	Directories []kafka.DirectoryID
	ISR         []kafka.NodeID
	// Leader is NoNode if there is none.
	Leader              kafka.NodeID
	LeaderEpoch         kafka.LeaderEpoch
	PartitionEpoch      kafka.PartitionEpoch
	LeaderRecoveryState int8

	// rare is nil for nearly every partition, which keeps a million of them
	// small.
	rare *rarePartition
}

type rarePartition struct {
	removing, adding, elr, lastKnownELR []kafka.NodeID
	unknown                             []schema.Tag
}

// RemovingReplicas are replicas that a reassignment takes away.
func (p *Partition) RemovingReplicas() []kafka.NodeID { return p.rareOr().removing }

// AddingReplicas are replicas that a reassignment adds.
func (p *Partition) AddingReplicas() []kafka.NodeID { return p.rareOr().adding }

// ELR are the eligible leader replicas (KIP-966): not in sync, but known to
// hold all that is below the high watermark.
func (p *Partition) ELR() []kafka.NodeID { return p.rareOr().elr }

// LastKnownELR are who was eligible last, for an unclean recovery.
func (p *Partition) LastKnownELR() []kafka.NodeID { return p.rareOr().lastKnownELR }

// Reassigning reports whether a reassignment is under way.
func (p *Partition) Reassigning() bool {
	return len(p.rareOr().removing) != 0 || len(p.rareOr().adding) != 0
}

var noRare rarePartition // never written

func (p *Partition) rareOr() *rarePartition {
	if p.rare == nil {
		return &noRare
	}
	return p.rare
}

// HasReplica reports whether the node is one of the replicas.
func (p *Partition) HasReplica(id kafka.NodeID) bool { return slices.Contains(p.Replicas, id) }

// InSync reports whether the node is in the ISR.
func (p *Partition) InSync(id kafka.NodeID) bool { return slices.Contains(p.ISR, id) }

// DirectoryOf is the directory of a replica, DirectoryUnassigned if it has none
// or the node is no replica.
func (p *Partition) DirectoryOf(id kafka.NodeID) kafka.DirectoryID {
	if i := slices.Index(p.Replicas, id); i >= 0 && i < len(p.Directories) {
		return p.Directories[i]
	}
	return kafka.DirectoryUnassigned
}

// Record is the partition as a record.
func (p *Partition) Record(topic kafka.TopicID, id kafka.PartitionID) *metarec.Partition {
	r := p.rareOr()
	rec := &metarec.Partition{
		PartitionID: id, TopicID: topic,
		Replicas: p.Replicas, ISR: p.ISR, RemovingReplicas: r.removing, AddingReplicas: r.adding,
		Leader: p.Leader, LeaderRecoveryState: p.LeaderRecoveryState,
		LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		Directories: p.Directories, Unknown: r.unknown,
	}
	if len(r.elr) != 0 {
		rec.ELR = r.elr
	}
	if len(r.lastKnownELR) != 0 {
		rec.LastKnownELR = r.lastKnownELR
	}
	return rec
}

// newPartition is Record's inverse. like is a partition to share slices with,
// or nil.
func newPartition(rec *metarec.Partition, like *Partition) *Partition {
	p := &Partition{
		Replicas: rec.Replicas, ISR: rec.ISR, Directories: rec.Directories,
		Leader: rec.Leader, LeaderEpoch: rec.LeaderEpoch, PartitionEpoch: rec.PartitionEpoch,
		LeaderRecoveryState: rec.LeaderRecoveryState,
	}
	p.fitDirectories()
	if like != nil {
		p.Replicas = shared(p.Replicas, like.Replicas)
		p.Directories = shared(p.Directories, like.Directories)
	}
	p.ISR = shared(p.ISR, p.Replicas)
	p.setRare(rarePartition{
		removing: rec.RemovingReplicas, adding: rec.AddingReplicas,
		elr: rec.ELR, lastKnownELR: rec.LastKnownELR, unknown: rec.Unknown,
	})
	return p
}

// fitDirectories: records of metadata.version below 3.7-IV2 have no directories.
func (p *Partition) fitDirectories() {
	if len(p.Directories) == len(p.Replicas) {
		return
	}
	p.Directories = make([]kafka.DirectoryID, len(p.Replicas))
	for i := range p.Directories {
		p.Directories[i] = kafka.DirectoryMigrating
	}
}

func shared[T comparable](a, b []T) []T {
	if slices.Equal(a, b) {
		return b
	}
	return a
}

func (p *Partition) setRare(r rarePartition) {
	if len(r.removing)+len(r.adding)+len(r.elr)+len(r.lastKnownELR)+len(r.unknown) == 0 {
		p.rare = nil
		return
	}
	p.rare = &r
}

// change returns the partition after a change record.
func (p *Partition) change(rec *metarec.PartitionChange) *Partition {
	n := *p
	r := *p.rareOr()
	if rec.Replicas != nil {
		n.Replicas = rec.Replicas
	}
	if rec.Directories != nil {
		n.Directories = rec.Directories
	}
	n.fitDirectories()
	if rec.ISR != nil {
		n.ISR = shared(rec.ISR, n.Replicas)
	}
	if rec.RemovingReplicas != nil {
		r.removing = rec.RemovingReplicas
	}
	if rec.AddingReplicas != nil {
		r.adding = rec.AddingReplicas
	}
	if rec.ELR != nil {
		r.elr = rec.ELR
	}
	if rec.LastKnownELR != nil {
		r.lastKnownELR = rec.LastKnownELR
	}
	n.setRare(r)
	// A record that names the leader starts an epoch, even if it names the
	// one there was.
	if rec.Leader != NoLeaderChange {
		n.Leader = rec.Leader
		n.LeaderEpoch++
	}
	if rec.LeaderRecoveryState != -1 {
		n.LeaderRecoveryState = rec.LeaderRecoveryState
	}
	n.PartitionEpoch++
	return &n
}

// NoLeaderChange is a PartitionChange's leader that leaves leader and epoch.
const NoLeaderChange kafka.NodeID = -2

// Topic returns the topic of a name, nil if there is none.
func (i *Image) Topic(name string) *Topic {
	t, _ := i.byName.get(name)
	return t
}

// TopicByID returns the topic of an id, nil if there is none.
func (i *Image) TopicByID(id kafka.TopicID) *Topic {
	t, _ := i.byID.get(id)
	return t
}

// Topics walks over the topics by name.
func (i *Image) Topics() iter.Seq[*Topic] { return i.byName.values() }

// TopicsFrom walks over the topics whose names are not below name, by name.
func (i *Image) TopicsFrom(name string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range i.byName.from(name) {
			if !yield(t) {
				return
			}
		}
	}
}

// TopicCount is the number of topics.
func (i *Image) TopicCount() int { return i.byName.len() }

// PartitionCount is the number of partitions of all topics.
func (i *Image) PartitionCount() int { return i.partitions }

// Partition returns a partition by its topic's id, nil if there is none.
func (i *Image) Partition(tp kafka.TopicIDPartition) *Partition {
	if t := i.TopicByID(tp.TopicID); t != nil {
		return t.Partition(tp.Partition)
	}
	return nil
}

// Changed is the partition as it will be after the change.
func Changed(p *Partition, rec *metarec.PartitionChange) *Partition { return p.change(rec) }
