// SPDX-License-Identifier: Apache-2.0

package image

import (
	"iter"

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

type fan struct {
	owner *token
	down  *[fanout]*fan       // inner levels
	leaf  *[fanout]*Partition // lowest level
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
		f = f.down[uint32(id)>>(fanBits*d)%fanout]
	}
	if f == nil {
		return nil
	}
	return f.leaf[id%fanout]
}

// set puts a partition that is not nil at an id that is not negative.
func (p *partitions) set(tok *token, id kafka.PartitionID, part *Partition) {
	for uint64(id)>>(fanBits*(p.depth+1)) != 0 {
		if p.root != nil {
			up := &fan{owner: tok, down: new([fanout]*fan)}
			up.down[0] = p.root
			p.root = up
		}
		p.depth++
	}
	at := &p.root
	for d := p.depth; ; d-- {
		f := ownFan(tok, *at, d)
		*at = f
		if d == 0 {
			slot := &f.leaf[id%fanout]
			if *slot == nil {
				p.count++
			}
			*slot = part
			return
		}
		at = &f.down[uint32(id)>>(fanBits*d)%fanout]
	}
}

func ownFan(tok *token, f *fan, depth int) *fan {
	if f != nil && tok != nil && f.owner == tok {
		return f
	}
	c := &fan{owner: tok}
	switch {
	case depth > 0:
		c.down = new([fanout]*fan)
		if f != nil {
			*c.down = *f.down
		}
	default:
		c.leaf = new([fanout]*Partition)
		if f != nil {
			*c.leaf = *f.leaf
		}
	}
	return c
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
	if depth == 0 {
		for i, part := range f.leaf {
			if part != nil && !yield(base|kafka.PartitionID(i), part) {
				return false
			}
		}
		return true
	}
	for i, down := range f.down {
		if !down.walk(depth-1, base|kafka.PartitionID(i)<<(fanBits*depth), yield) {
			return false
		}
	}
	return true
}
