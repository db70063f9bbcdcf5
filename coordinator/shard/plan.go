// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"math"
	"unicode/utf16"

	"gregor/base/kafka"
	"gregor/cluster/image"
)

// Election is a partition that this broker leads from here on.
type Election struct {
	Partition kafka.PartitionID
	Epoch     kafka.LeaderEpoch
}

// Plan says what a delta changes for the coordinators of a topic: which
// partitions this broker leads no more, and which it leads in a new epoch. One
// that stays the leader in a new epoch is in both, since another broker may have
// led in between.
func Plan(d *image.Delta, topic string, self kafka.NodeID) (resign []kafka.PartitionID, elect []Election) {
	for t := range d.Topics() {
		if t.Name != topic {
			continue
		}
		for p := range t.Partitions() {
			was := p.Before != nil && p.Before.Leader == self
			is := p.After != nil && p.After.Leader == self
			if was && is && p.Before.LeaderEpoch == p.After.LeaderEpoch {
				continue
			}
			if was {
				resign = append(resign, p.ID)
			}
			if is {
				elect = append(elect, Election{p.ID, p.After.LeaderEpoch})
			}
		}
	}
	return resign, elect
}

// PartitionOf is the partition of an internal topic that is responsible for a
// key: the absolute value of Java's hash of a string, over UTF-16, where 0 stands
// for that of the lowest number, which has none. Other than the mask by which
// producers choose partitions, this keeps -1 and 1 together.
func PartitionOf(key string, partitions int) kafka.PartitionID {
	var hash uint32
	for _, r := range key { // bytes that are no UTF-8 count as U+FFFD, as in Java
		if r <= 0xffff {
			hash = 31*hash + uint32(r)
			continue
		}
		high, low := utf16.EncodeRune(r)
		hash = 31*(31*hash+uint32(high)) + uint32(low)
	}
	signed := int64(int32(hash))
	if signed == math.MinInt32 {
		signed = 0
	}
	return kafka.PartitionID(max(signed, -signed) % int64(partitions))
}
