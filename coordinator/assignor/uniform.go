// SPDX-License-Identifier: Apache-2.0

package assignor

import "gregor/base/kafka"

// Uniform gives members as equal numbers of partitions as their subscriptions
// allow, and moves no more partitions than that takes.
func Uniform(g Group) []Assignment {
	if len(g.Members) == 0 {
		return nil
	}
	if g.Homogeneous {
		return uniformHomogeneous(g)
	}
	return uniformHeterogeneous(g)
}

// quota is how many partitions a member may still take.
type quota struct{ member, left int }

// uniformHomogeneous: all members read the same topics, so each has a quota that
// is known from the start. Members keep what is within theirs; what is left over
// is dealt out to those who have room.
func uniformHomogeneous(g Group) []Assignment {
	t := newTable(g, g.Members[0].Topics)
	total := 0
	for _, owners := range t.owners {
		total += len(owners)
	}
	free := t.freeSlots(g)
	each, extra := total/len(g.Members), total%len(g.Members)
	var open []quota
	for i := range g.Members {
		left, hasExtra := each, extra > 0
		if hasExtra {
			left++
		}
		left, free = t.keep(i, g.Members[i].Assigned, left, free)
		// A member that would need the extra partition only to fill up leaves it to one that has it already,
		// as long as enough members come after it.
		if left > 0 && hasExtra && len(g.Members)-i > extra {
			left--
			hasExtra = false
		}
		if left > 0 {
			open = append(open, quota{i, left})
		}
		if hasExtra {
			extra--
		}
	}
	for _, q := range open {
		for ; q.left > 0 && len(free) > 0; q.left-- {
			t.owners[free[0].topic][free[0].partition] = int32(q.member)
			free = free[1:]
		}
	}
	return t.assignments(len(g.Members))
}

// freeSlots lists the partitions that nobody had, and marks the others.
func (t *table) freeSlots(g Group) []slot {
	for i := range g.Members {
		t.each(g.Members[i].Assigned, func(at slot) { t.owners[at.topic][at.partition] = former })
	}
	var free []slot
	for i, owners := range t.owners {
		for p, owner := range owners {
			if owner == nobody {
				free = append(free, slot{i, p})
			}
		}
	}
	return free
}

// each visits the partitions of an assignment that are in the table.
func (t *table) each(a Assignment, visit func(slot)) {
	for i := range a {
		topic, ok := t.index[a[i].ID]
		if !ok {
			continue
		}
		for _, p := range a[i].Partitions {
			if p >= 0 && p < kafka.PartitionID(len(t.owners[topic])) {
				visit(slot{topic, int(p)})
			}
		}
	}
}

// keep lets a member keep what it had, up to its quota.
func (t *table) keep(member int, had Assignment, left int, free []slot) (int, []slot) {
	t.each(had, func(at slot) {
		owner := &t.owners[at.topic][at.partition]
		switch {
		case *owner != former: // another member has it already, by an older mistake
		case left > 0:
			*owner = int32(member)
			left--
		default:
			*owner = nobody
			free = append(free, at)
		}
	})
	return left, free
}
