// SPDX-License-Identifier: Apache-2.0

package assignor

import (
	"cmp"
	"slices"

	"gregor/base/kafka"
)

// Range gives each member neighbouring partitions of each of its topics, and
// members in the same place of the order the same partitions of topics with as
// many, so that who reads two topics may join them. Static members come first,
// by instance id. It is not sticky.
func Range(g Group) []Assignment {
	order := make([]int, len(g.Members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareForRange(&g.Members[a], &g.Members[b]) })
	readers := map[kafka.TopicID]int32{}
	for i := range g.Members {
		for _, id := range g.Members[i].Topics {
			readers[id]++
		}
	}
	shares := make(map[kafka.TopicID]*share, len(readers))
	topics := make([]kafka.TopicID, 0, len(readers))
	for id, n := range readers {
		partitions := g.PartitionCount(id)
		shares[id] = &share{each: partitions / n, extra: partitions % n}
		topics = append(topics, id)
	}
	t := newTable(g, topics)
	for _, i := range order {
		for _, id := range g.Members[i].Topics {
			owners := t.owners[t.index[id]]
			from, to := shares[id].take()
			for p := from; p < to; p++ {
				owners[p] = int32(i)
			}
		}
	}
	return t.assignments(len(g.Members))
}

// share is what is left of a topic.
type share struct{ each, extra, next int32 }

func (s *share) take() (from, to int32) {
	from, to = s.next, s.next+s.each
	if s.extra > 0 {
		to++
		s.extra--
	}
	s.next = to
	return from, to
}

func compareForRange(a, b *Member) int {
	switch {
	case a.InstanceID != nil && b.InstanceID != nil:
		return cmp.Compare(*a.InstanceID, *b.InstanceID)
	case a.InstanceID != nil:
		return -1
	case b.InstanceID != nil:
		return 1
	}
	return cmp.Compare(a.ID, b.ID)
}
