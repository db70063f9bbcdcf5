// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

func (d *Delta) addTopic(r *metarec.Topic) error {
	n := &d.next
	if n.Topic(r.Name) != nil || n.TopicByID(r.TopicID) != nil {
		return fmt.Errorf("%w: topic %s (%v) is there already", errInconsistent, r.Name, r.TopicID)
	}
	d.touch(r.TopicID, nil)
	t := &Topic{Name: r.Name, ID: r.TopicID, owner: d.tok, unknown: r.Unknown}
	n.byName.set(d.tok, t.Name, t)
	n.byID.set(d.tok, t.ID, t)
	return nil
}

func (d *Delta) addPartition(r *metarec.Partition) error {
	if r.PartitionID < 0 || len(r.Replicas) == 0 {
		return fmt.Errorf("%w: partition %d of topic %v with %d replicas", errInconsistent, r.PartitionID, r.TopicID, len(r.Replicas))
	}
	t, err := d.edit(r.TopicID)
	if err != nil {
		return err
	}
	// A record for a partition that is there replaces it, as in Kafka.
	d.like = newPartition(r, d.like)
	d.setPartition(t, r.PartitionID, d.like)
	return nil
}

func (d *Delta) changePartition(r *metarec.PartitionChange) error {
	t, err := d.edit(r.TopicID)
	if err != nil {
		return err
	}
	p := t.Partition(r.PartitionID)
	if p == nil {
		return fmt.Errorf("%w: change of partition %s-%d, which is not there", errInconsistent, t.Name, r.PartitionID)
	}
	if r.Replicas != nil && len(r.Replicas) == 0 {
		return fmt.Errorf("%w: partition %s-%d is left without replicas", errInconsistent, t.Name, r.PartitionID)
	}
	d.setPartition(t, r.PartitionID, p.change(r))
	return nil
}

func (d *Delta) setPartition(t *Topic, id kafka.PartitionID, p *Partition) {
	before := t.parts.count
	t.parts.set(d.tok, id, p)
	d.next.partitions += t.parts.count - before
	if parts := d.topics[t.ID].parts; parts != nil {
		parts[id] = struct{}{}
	}
}

func (d *Delta) removeTopic(r *metarec.RemoveTopic) error {
	n := &d.next
	t := n.TopicByID(r.TopicID)
	if t == nil {
		return fmt.Errorf("%w: removal of topic %v, which is not there", errInconsistent, r.TopicID)
	}
	d.touch(t.ID, t)
	n.byName.delete(d.tok, t.Name)
	n.byID.delete(d.tok, t.ID)
	n.partitions -= t.PartitionCount()
	if res := TopicResource(t.Name); n.Configs(res) != nil {
		d.touchConfig(res)
		n.configs.delete(d.tok, res)
	}
	return nil
}

// clearELR is rare: it looks at all partitions of the topic, or of all topics.
func (d *Delta) clearELR(r *metarec.ClearELR) error {
	topics := []*Topic{d.next.Topic(r.TopicName)}
	if r.TopicName == "" {
		topics = slices.Collect(d.next.Topics())
	}
	for _, t := range topics {
		if t == nil {
			return fmt.Errorf("%w: topic %s is not there", errInconsistent, r.TopicName)
		}
		for id, p := range t.Partitions() {
			if len(p.ELR())+len(p.LastKnownELR()) == 0 {
				continue
			}
			t, err := d.edit(t.ID)
			if err != nil {
				return err
			}
			cleared := *p
			rare := *p.rareOr()
			rare.elr, rare.lastKnownELR = nil, nil
			cleared.setRare(rare)
			cleared.PartitionEpoch++
			d.setPartition(t, id, &cleared)
		}
	}
	return nil
}

// edit returns the topic to change in place: a copy of this edit's own.
func (d *Delta) edit(id kafka.TopicID) (*Topic, error) {
	n := &d.next
	t := n.TopicByID(id)
	if t == nil {
		return nil, fmt.Errorf("%w: partition of topic %v, which is not there", errInconsistent, id)
	}
	d.touch(id, t)
	if t.owner == d.tok {
		return t, nil
	}
	c := *t
	c.owner = d.tok
	n.byName.set(d.tok, c.Name, &c)
	n.byID.set(d.tok, c.ID, &c)
	return &c, nil
}

// touch notes that the topic changes; before is what it was if this is the
// first change.
func (d *Delta) touch(id kafka.TopicID, before *Topic) {
	d.changed |= KindTopics
	if d.topics[id] != nil {
		return
	}
	t := &touched{before: before}
	if before != nil {
		t.parts = map[kafka.PartitionID]struct{}{}
	}
	d.topics[id] = t
}

// TopicChange is what became of a topic. Before is nil for a new one, After for
// a deleted one. A topic that was deleted and created again under its name is
// two changes, of two ids.
type TopicChange struct {
	ID            kafka.TopicID
	Name          string
	Before, After *Topic
	parts         map[kafka.PartitionID]struct{}
}

// PartitionChange is what became of a partition, as in TopicChange.
type PartitionChange struct {
	ID            kafka.PartitionID
	Before, After *Partition
}

// Topics walks over the topics that changed, by name; deleted ones come before
// others of their name.
func (d *Delta) Topics() iter.Seq[TopicChange] {
	var all []TopicChange
	for id, t := range d.topics {
		c := TopicChange{ID: id, Before: t.before, After: d.next.TopicByID(id), parts: t.parts}
		switch {
		case c.After != nil:
			c.Name = c.After.Name
		case c.Before != nil:
			c.Name = c.Before.Name
		default: // came and went
			continue
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b TopicChange) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), compareBool(a.After != nil, b.After != nil), compareTopicIDs(a.ID, b.ID))
	})
	return slices.Values(all)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Partitions walks over the partitions that changed, by id: all of a topic that
// is new or deleted.
func (c TopicChange) Partitions() iter.Seq[PartitionChange] {
	return func(yield func(PartitionChange) bool) {
		switch {
		case c.Before == nil:
			for id, p := range c.After.Partitions() {
				if !yield(PartitionChange{id, nil, p}) {
					return
				}
			}
		case c.After == nil:
			for id, p := range c.Before.Partitions() {
				if !yield(PartitionChange{id, p, nil}) {
					return
				}
			}
		default:
			for _, id := range slices.Sorted(maps.Keys(c.parts)) {
				if !yield(PartitionChange{id, c.Before.Partition(id), c.After.Partition(id)}) {
					return
				}
			}
		}
	}
}
