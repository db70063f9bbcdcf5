// SPDX-License-Identifier: Apache-2.0

package group

// Counts are how many there are of what a coordinator keeps.
type Counts struct {
	Groups  map[GroupState]int
	Members map[Kind]int
	Offsets int // committed, of all groups
}

// GroupState is what a group of a protocol can be in.
type GroupState struct {
	Kind  Kind
	State string
}

// CountInto adds the groups of this partition to c.
func (g *Groups) CountInto(c *Counts) {
	for _, found := range g.groups {
		c.Groups[GroupState{found.kind(), found.stateName()}]++
		c.Members[found.kind()] += found.size()
	}
	for _, o := range g.offsets {
		for _, partitions := range o.committed {
			c.Offsets += len(partitions)
		}
	}
}

func (c *classicGroup) size() int  { return len(c.members) }
func (c *consumerGroup) size() int { return len(c.members) }
