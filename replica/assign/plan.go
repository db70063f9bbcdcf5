// SPDX-License-Identifier: Apache-2.0

// Package assign makes this broker's replicas follow the metadata image: a pure
// plan, and its executor.
//
//	image delta ─► Make ─► Plan{Delete, Follow, Lead} ─► Executor ─► replica.Table, log directories
//
// The executor never waits for a partition: it enters what changes into the
// table at once, marked as switching, and lets a few workers open, close and
// switch; requests for a partition that is still switching wait for it.
package assign

import (
	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/replica/isr"
)

// Step is what one partition needs.
type Step struct {
	ID             kafka.TopicIDPartition
	TopicPartition kafka.TopicPartition
	// Directory is where the image places the replica; it may be one of the
	// reserved ids.
	Directory kafka.DirectoryID
	// Leadership is for Lead; for Follow only its Epoch counts.
	Leadership isr.Leadership
}

// Plan lists what a delta changes for this broker, each part by topic name and
// partition. The parts are carried out in the order of the fields: a topic
// that was deleted and created again under its name gives its folder free
// first, and followers come before leaders so that two brokers that trade
// places do not both lead.
type Plan struct {
	Delete []Step
	Follow []Step
	Lead   []Step
}

// Make plans for the changes of a delta.
func Make(d *image.Delta, self kafka.NodeID) Plan {
	var p Plan
	for topic := range d.Topics() {
		for part := range topic.Partitions() {
			was := part.Before != nil && part.Before.HasReplica(self)
			is := part.After != nil && part.After.HasReplica(self)
			tp := kafka.TopicPartition{Topic: topic.Name, Partition: part.ID}
			switch {
			case was && !is:
				p.Delete = append(p.Delete, Step{ID: kafka.TopicIDPartition{TopicID: topic.ID, Partition: part.ID}, TopicPartition: tp})
			case is:
				p.place(topic.ID, tp, part.After, self)
			}
		}
	}
	return p
}

// place adds what a partition needs that this broker holds.
func (p *Plan) place(id kafka.TopicID, tp kafka.TopicPartition, part *image.Partition, self kafka.NodeID) {
	s := Step{
		ID:             kafka.TopicIDPartition{TopicID: id, Partition: tp.Partition},
		TopicPartition: tp,
		Directory:      part.DirectoryOf(self),
		Leadership:     leadership(part, self),
	}
	if part.Leader == self {
		p.Lead = append(p.Lead, s)
	} else {
		p.Follow = append(p.Follow, s)
	}
}

func leadership(p *image.Partition, self kafka.NodeID) isr.Leadership {
	return isr.Leadership{Self: self, Epoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Replicas: p.Replicas, ISR: p.ISR}
}
