// SPDX-License-Identifier: Apache-2.0

package assignor

import (
	"cmp"
	"slices"

	"gregor/base/kafka"
)

// balanceRoundsMax bounds how often all topics are balanced one after the other.
const balanceRoundsMax = 16

// heterogeneous is one assignment of members that read different topics:
//
//	keep      what each had of topics that it still reads
//	deal out  what nobody has, topic by topic, always to the member with the fewest
//	balance   topic by topic, from those with the most to those with the fewest, until a round changes nothing
//
// Topics with the most partitions for each reader come first: they leave the
// least choice.
type heterogeneous struct {
	*table
	readers [][]int32 // by topic: members, in order
	sizes   []int32   // by member: partitions
	b       balancer
}

func uniformHeterogeneous(g Group) []Assignment {
	var topics []kafka.TopicID
	for i := range g.Members {
		topics = append(topics, g.Members[i].Topics...)
	}
	h := &heterogeneous{table: newTable(g, topics), sizes: make([]int32, len(g.Members))}
	h.b.sizes = h.sizes
	h.readers = make([][]int32, len(h.topics))
	for i := range g.Members {
		for _, id := range g.Members[i].Topics {
			topic := h.index[id]
			h.readers[topic] = append(h.readers[topic], int32(i))
		}
	}
	h.keepAll(g)
	h.dealOut()
	h.balance()
	return h.assignments(len(g.Members))
}

func (h *heterogeneous) keepAll(g Group) {
	for i := range g.Members {
		reads := make(map[int]bool, len(g.Members[i].Topics))
		for _, id := range g.Members[i].Topics {
			reads[h.index[id]] = true
		}
		h.each(g.Members[i].Assigned, func(at slot) {
			if reads[at.topic] && h.owners[at.topic][at.partition] == nobody {
				h.give(at, int32(i))
			}
		})
	}
}

func (h *heterogeneous) give(at slot, member int32) {
	owner := &h.owners[at.topic][at.partition]
	if *owner >= 0 {
		h.sizes[*owner]--
	}
	*owner = member
	h.sizes[member]++
}

// inOrder sorts topics: fewest choices first.
func (h *heterogeneous) inOrder(topics []int) []int {
	slices.SortFunc(topics, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(h.partitionsEach(b), h.partitionsEach(a)),
			cmp.Compare(len(h.readers[a]), len(h.readers[b])),
			cmp.Compare(a, b), // by id
		)
	})
	return topics
}

func (h *heterogeneous) partitionsEach(topic int) float64 {
	return float64(len(h.owners[topic])) / float64(len(h.readers[topic]))
}

func (h *heterogeneous) dealOut() {
	var topics []int
	for topic, owners := range h.owners {
		if slices.Contains(owners, nobody) {
			topics = append(topics, topic)
		}
	}
	for _, topic := range h.inOrder(topics) {
		h.b.begin(h.readers[topic])
		for p, owner := range h.owners[topic] {
			if owner == nobody {
				h.give(slot{topic, p}, h.b.nextLeast())
			}
		}
	}
}

func (h *heterogeneous) balance() {
	var topics []int
	for topic, readers := range h.readers {
		if len(readers) >= 2 {
			topics = append(topics, topic)
		}
	}
	h.inOrder(topics)
	lastMoved := -1
	for range balanceRoundsMax {
		for i, topic := range topics {
			if i == lastMoved {
				return
			}
			if moved := h.balanceTopic(topic); moved || lastMoved == -1 {
				lastMoved = i
			}
		}
	}
}

// balanceTopic moves partitions of a topic, of each member the highest first.
func (h *heterogeneous) balanceTopic(topic int) (moved bool) {
	if h.b.begin(h.readers[topic]) <= 1 {
		return false
	}
	owned := map[int32][]int{}
	for p, owner := range h.owners[topic] {
		owned[owner] = append(owned[owner], p)
	}
	for !h.b.balanced() {
		most := h.b.nextMost()
		for most != nobody && len(owned[most]) == 0 {
			h.b.excludeMost()
			most = h.b.nextMost()
		}
		if most == nobody {
			break
		}
		last := len(owned[most]) - 1
		p := owned[most][last]
		owned[most] = owned[most][:last]
		least := h.b.nextLeast()
		if h.b.balanced() {
			break
		}
		h.give(slot{topic, p}, least)
		moved = true
	}
	return moved
}

// balancer walks the readers of a topic from both ends of the order by size:
// those with the fewest partitions, filled evenly, and those with the most, emptied evenly.
//
// Invariant: sorted[:leastEnd] have leastSize partitions or, up to leastNext, one
// more; sorted[mostStart:mostEnd] have mostSize or, after mostNext, one less.
// sorted[mostEnd:] have nothing left to give.
type balancer struct {
	sizes               []int32
	sorted              []int32
	leastEnd, leastNext int
	leastSize           int32
	mostStart, mostEnd  int
	mostNext            int
	mostSize            int32
}

// begin takes the readers of a topic and tells how far apart they are.
func (b *balancer) begin(readers []int32) (imbalance int32) {
	b.sorted = append(b.sorted[:0], readers...)
	slices.SortFunc(b.sorted, func(x, y int32) int { return cmp.Or(cmp.Compare(b.sizes[x], b.sizes[y]), cmp.Compare(x, y)) })
	n := len(b.sorted)
	least, most := b.sizes[b.sorted[0]], b.sizes[b.sorted[n-1]]
	b.leastEnd, b.leastNext, b.leastSize = 0, 0, least-1
	b.mostStart, b.mostEnd, b.mostNext, b.mostSize = n, n, n-1, most+1
	return most - least
}

func (b *balancer) nextLeast() int32 {
	if b.leastNext >= b.leastEnd {
		b.leastSize++
		for b.leastEnd < len(b.sorted) && b.sizes[b.sorted[b.leastEnd]] == b.leastSize {
			b.leastEnd++
		}
		b.leastNext = 0
	}
	b.leastNext++
	return b.sorted[b.leastNext-1]
}

func (b *balancer) nextMost() int32 {
	if b.mostNext < b.mostStart {
		if b.mostEnd <= b.mostStart && b.mostStart > 0 {
			b.mostSize = b.sizes[b.sorted[b.mostStart-1]]
		} else {
			b.mostSize--
		}
		for b.mostStart > 0 && b.sizes[b.sorted[b.mostStart-1]] == b.mostSize {
			b.mostStart--
		}
		b.mostNext = b.mostEnd - 1
	}
	if b.mostNext < 0 {
		return nobody
	}
	b.mostNext--
	return b.sorted[b.mostNext+1]
}

// excludeMost takes out the member that nextMost gave.
func (b *balancer) excludeMost() {
	at, end := b.mostNext+1, b.mostEnd-1
	b.sorted[at], b.sorted[end] = b.sorted[end], b.sorted[at]
	b.mostEnd--
}

func (b *balancer) balanced() bool { return b.mostSize-b.leastSize <= 1 }
