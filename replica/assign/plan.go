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
	"gregor/storage/logdir"
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
			s := Step{
				ID:             kafka.TopicIDPartition{TopicID: topic.ID, Partition: part.ID},
				TopicPartition: kafka.TopicPartition{Topic: topic.Name, Partition: part.ID},
			}
			switch {
			case was && !is:
				p.Delete = append(p.Delete, s)
			case is:
				s.Directory = part.After.DirectoryOf(self)
				s.Leadership = leadership(part.After, self)
				if part.After.Leader == self {
					p.Lead = append(p.Lead, s)
				} else {
					p.Follow = append(p.Follow, s)
				}
			}
		}
	}
	return p
}

func leadership(p *image.Partition, self kafka.NodeID) isr.Leadership {
	return isr.Leadership{Self: self, Epoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Replicas: p.Replicas, ISR: p.ISR}
}

// Strays are logs that the image does not place on this broker: their topic
// was deleted, or given to others, while this broker was away.
func Strays(found []logdir.Found, img *image.Image, self kafka.NodeID) []logdir.Found {
	var strays []logdir.Found
	for _, f := range found {
		t := img.Topic(f.TopicPartition.Topic)
		if t != nil && (f.TopicID.IsZero() || f.TopicID == t.ID) {
			if p := t.Partition(f.TopicPartition.Partition); p != nil && p.HasReplica(self) {
				continue
			}
		}
		strays = append(strays, f)
	}
	return strays
}
