// SPDX-License-Identifier: Apache-2.0

// Package assignor divides the partitions of topics among the members of a
// group: uniform and range, the two that Apache Kafka's group coordinator has.
// It is pure, and gives what Kafka's give for members and topics in sorted
// order; Kafka itself leaves the order to its hash maps. Racks do not count, as
// they do not in Kafka.
//
// Every partition of a subscribed topic gets exactly one owner, which is
// subscribed to it, and a member is never given what does not exist.
package assignor

import (
	"cmp"
	"encoding/binary"
	"slices"

	"gregor/base/kafka"
)

// Topic is a topic with some of its partitions, in ascending order.
type Topic struct {
	ID         kafka.TopicID
	Partitions []kafka.PartitionID
}

// Assignment is what a member is to own: topics in the order of CompareTopics.
// It is not changed once it has been made.
type Assignment []Topic

// Equal says whether two assignments are the same.
func (a Assignment) Equal(b Assignment) bool {
	return slices.EqualFunc(a, b, func(x, y Topic) bool { return x.ID == y.ID && slices.Equal(x.Partitions, y.Partitions) })
}

// Partitions are those of a topic, nil if it is not there.
func (a Assignment) Partitions(id kafka.TopicID) []kafka.PartitionID {
	i, found := slices.BinarySearchFunc(a, id, func(t Topic, id kafka.TopicID) int { return CompareTopics(t.ID, id) })
	if !found {
		return nil
	}
	return a[i].Partitions
}

// Member is a member of a group. Topics exist; Assigned is the target that it
// has had so far.
type Member struct {
	ID         string
	InstanceID *string
	Topics     []kafka.TopicID
	Assigned   Assignment
}

// Group is who shares what. Homogeneous says that all members read the same topics.
type Group struct {
	Members     []Member // by ID
	Homogeneous bool
	// PartitionCount is that of a topic which a member reads.
	PartitionCount func(kafka.TopicID) int32
}

// Assignor makes an assignment for each member, in the order of Group.Members.
type Assignor func(Group) []Assignment

// Names lists the assignors that there are.
func Names() []string { return []string{"uniform", "range"} }

// ByName finds an assignor, nil if there is none of that name.
func ByName(name string) Assignor {
	switch name {
	case "uniform":
		return Uniform
	case "range":
		return Range
	}
	return nil
}

// CompareTopics is the order of topic ids in Java: two signed numbers.
func CompareTopics(a, b kafka.TopicID) int {
	high := cmp.Compare(int64(binary.BigEndian.Uint64(a[:8])), int64(binary.BigEndian.Uint64(b[:8])))
	if high != 0 {
		return high
	}
	return cmp.Compare(int64(binary.BigEndian.Uint64(a[8:])), int64(binary.BigEndian.Uint64(b[8:])))
}

// Owners of a partition that are no member.
const (
	nobody = -1
	// former is for a partition that had an owner, who may keep it.
	former = -2
)

// table is who owns what: by topic, then by partition, a member's index.
type table struct {
	topics []kafka.TopicID
	index  map[kafka.TopicID]int
	owners [][]int32
}

func newTable(g Group, topics []kafka.TopicID) *table {
	topics = slices.Clone(topics)
	slices.SortFunc(topics, CompareTopics)
	topics = slices.Compact(topics)
	t := &table{topics: topics, index: make(map[kafka.TopicID]int, len(topics)), owners: make([][]int32, len(topics))}
	for i, id := range topics {
		t.index[id] = i
		t.owners[i] = slices.Repeat([]int32{nobody}, int(g.PartitionCount(id)))
	}
	return t
}

// slot is a partition of the table.
type slot struct{ topic, partition int }

// assignments turns the table round.
func (t *table) assignments(members int) []Assignment {
	result := make([]Assignment, members)
	for i, owners := range t.owners {
		for p, owner := range owners {
			if owner < 0 {
				continue
			}
			a := &result[owner]
			if n := len(*a); n == 0 || (*a)[n-1].ID != t.topics[i] {
				*a = append(*a, Topic{ID: t.topics[i]})
			}
			last := &(*a)[len(*a)-1]
			last.Partitions = append(last.Partitions, kafka.PartitionID(p))
		}
	}
	return result
}
