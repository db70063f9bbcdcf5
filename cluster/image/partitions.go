// SPDX-License-Identifier: Apache-2.0

package image

import (
	"iter"
	"slices"

	"gregor/base/kafka"
)

// partitions is an immutable array from partition ids to partitions: a radix
// tree of fanout 64, as deep as the highest id needs, so that the usual dense
// ids cost little more than a slice, a change copies a node or two, and a wild
// id in a log cannot make it large. Edits work as in tree.
type partitions struct {
	root  *fan
	depth int // levels below root
	count int
}

// fan is a node. Its slice ends with the last child that there is, so that a
// topic of one partition does not pay for 64.
type fan struct {
	owner *token
	down  []*fan       // inner levels
	leaf  []*Partition // lowest level
}

const (
	fanBits = 6
	fanout  = 1 << fanBits
)

func (p *partitions) get(id kafka.PartitionID) *Partition {
	if id < 0 || uint64(id)>>(fanBits*(p.depth+1)) != 0 {
		return nil
	}
	f := p.root
	for d := p.depth; f != nil && d > 0; d-- {
		f = at(f.down, slot(id, d))
	}
	if f == nil {
		return nil
	}
	return at(f.leaf, slot(id, 0))
}

func slot(id kafka.PartitionID, depth int) int { return int(uint32(id)>>(fanBits*depth)) % fanout }

func at[T any](s []*T, i int) *T {
	if i < len(s) {
		return s[i]
	}
	return nil
}

// reach returns s with a place at i.
func reach[T any](s []*T, i int) []*T {
	for len(s) <= i {
		s = append(s, nil)
	}
	return s
}

// set puts a partition that is not nil at an id that is not negative.
func (p *partitions) set(tok *token, id kafka.PartitionID, part *Partition) {
	for uint64(id)>>(fanBits*(p.depth+1)) != 0 {
		if p.root != nil {
			p.root = &fan{owner: tok, down: []*fan{p.root}}
		}
		p.depth++
	}
	link := &p.root
	for d := p.depth; ; d-- {
		f := ownFan(tok, *link)
		*link = f
		i := slot(id, d)
		if d == 0 {
			f.leaf = reach(f.leaf, i)
			if f.leaf[i] == nil {
				p.count++
			}
			f.leaf[i] = part
			return
		}
		f.down = reach(f.down, i)
		link = &f.down[i]
	}
}

func ownFan(tok *token, f *fan) *fan {
	switch {
	case f == nil:
		return &fan{owner: tok}
	case tok != nil && f.owner == tok:
		return f
	}
	return &fan{owner: tok, down: slices.Clone(f.down), leaf: slices.Clone(f.leaf)}
}

// all walks in ascending order.
func (p *partitions) all() iter.Seq2[kafka.PartitionID, *Partition] {
	return func(yield func(kafka.PartitionID, *Partition) bool) {
		p.root.walk(p.depth, 0, yield)
	}
}

func (f *fan) walk(depth int, base kafka.PartitionID, yield func(kafka.PartitionID, *Partition) bool) bool {
	if f == nil {
		return true
	}
	for i, part := range f.leaf {
		if part != nil && !yield(base|kafka.PartitionID(i), part) {
			return false
		}
	}
	for i, down := range f.down {
		if !down.walk(depth-1, base|kafka.PartitionID(i)<<(fanBits*depth), yield) {
			return false
		}
	}
	return true
}
