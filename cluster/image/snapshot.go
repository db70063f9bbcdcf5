// SPDX-License-Identifier: Apache-2.0

package image

import (
	"iter"
	"maps"
	"slices"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// Records walks over records whose replay on an empty image gives this one. The
// order of kinds is Kafka's, metadata.version first, since it decides how the
// others are to be read; within a kind the order is fixed, so that a checkpoint
// is a function of the image.
func (i *Image) Records() iter.Seq[metarec.Record] {
	return func(yield func(metarec.Record) bool) {
		_ = i.featureRecords(yield) &&
			i.clusterRecords(yield) &&
			i.topicRecords(yield) &&
			i.configRecords(yield) &&
			i.quotaRecords(yield) &&
			(i.producerIDs == nil || yield(i.producerIDs)) &&
			each(i.acls, yield) &&
			each(i.scram, yield) &&
			each(i.tokens, yield)
	}
}

type yieldRecord = func(metarec.Record) bool

func each[K any, R metarec.Record](t tree[K, R], yield yieldRecord) bool {
	for _, r := range t.all() {
		if !yield(r) {
			return false
		}
	}
	return true
}

func (i *Image) featureRecords(yield yieldRecord) bool {
	if v := i.MetadataVersion(); v != 0 && !yield(&metarec.FeatureLevel{Name: FeatureMetadataVersion, Level: v}) {
		return false
	}
	if i.migration != nil && !yield(i.migration) {
		return false
	}
	for name, level := range i.features.all() {
		if name != FeatureMetadataVersion && !yield(&metarec.FeatureLevel{Name: name, Level: level}) {
			return false
		}
	}
	return true
}

func (i *Image) clusterRecords(yield yieldRecord) bool {
	for b := range i.Brokers() {
		if !yield(&b.RegisterBroker) {
			return false
		}
	}
	for c := range i.Controllers() {
		if !yield(&c.RegisterController) {
			return false
		}
	}
	return true
}

func (i *Image) topicRecords(yield yieldRecord) bool {
	for t := range i.Topics() {
		if !yield(&metarec.Topic{Name: t.Name, TopicID: t.ID, Unknown: t.unknown}) {
			return false
		}
		for id, p := range t.Partitions() {
			if !yield(p.Record(t.ID, id)) {
				return false
			}
		}
	}
	return true
}

func (i *Image) configRecords(yield yieldRecord) bool {
	for res, values := range i.configs.all() {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			value := values[name]
			rec := &metarec.Config{ResourceType: int8(res.Type), ResourceName: res.Name, Name: name, Value: &value}
			if !yield(rec) {
				return false
			}
		}
	}
	return true
}

func (i *Image) quotaRecords(yield yieldRecord) bool {
	for q := range i.quotas.values() {
		for _, key := range slices.Sorted(maps.Keys(q.values)) {
			if !yield(&metarec.ClientQuota{Entity: q.entity, Key: key, Value: q.values[key]}) {
				return false
			}
		}
	}
	return true
}

// Diff returns a delta from one image to another that does not continue it, as
// a checkpoint from elsewhere makes it. It looks at all topics and, where they
// are not shared, at all partitions.
func Diff(from, to *Image) *Delta {
	d := NewDelta(from)
	d.next = *to
	for _, b := range union(from.brokers, to.brokers) {
		if b[0] != b[1] {
			d.changed |= KindBrokers
			break
		}
	}
	for res, m := range union(from.configs, to.configs) {
		if !maps.Equal(m[0], m[1]) {
			d.touchConfig(res)
		}
	}
	for id, t := range union(from.byID, to.byID) {
		if t[0] != t[1] {
			d.diffTopic(id, t[0], t[1])
		}
	}
	// The rest is small or rare: who listens to it reads it anew.
	d.changed |= KindFeatures | KindControllers | KindQuotas | KindProducerIDs | KindACLs | KindScram | KindTokens
	return d
}

func (d *Delta) diffTopic(id kafka.TopicID, from, to *Topic) {
	parts := map[kafka.PartitionID]struct{}{}
	if from != nil && to != nil {
		for p, after := range to.Partitions() {
			if before := from.Partition(p); before == nil || !before.equal(after) {
				parts[p] = struct{}{}
			}
		}
		for p := range from.Partitions() {
			if to.Partition(p) == nil {
				parts[p] = struct{}{}
			}
		}
		if len(parts) == 0 {
			return
		}
	}
	d.changed |= KindTopics
	d.topics[id] = &touched{before: from, parts: parts}
}

func (p *Partition) equal(q *Partition) bool {
	a, b := p.rareOr(), q.rareOr()
	return p == q || p.Leader == q.Leader && p.LeaderEpoch == q.LeaderEpoch && p.PartitionEpoch == q.PartitionEpoch &&
		p.LeaderRecoveryState == q.LeaderRecoveryState && slices.Equal(p.Replicas, q.Replicas) && slices.Equal(p.ISR, q.ISR) &&
		slices.Equal(p.Directories, q.Directories) && slices.Equal(a.removing, b.removing) && slices.Equal(a.adding, b.adding) &&
		slices.Equal(a.elr, b.elr) && slices.Equal(a.lastKnownELR, b.lastKnownELR)
}

// union walks over the keys of both trees with the value of each, zero where
// one lacks the key.
func union[K, V any](a, b tree[K, V]) iter.Seq2[K, [2]V] {
	return func(yield func(K, [2]V) bool) {
		for k, v := range a.all() {
			w, _ := b.get(k)
			if !yield(k, [2]V{v, w}) {
				return
			}
		}
		for k, w := range b.all() {
			if _, ok := a.get(k); !ok {
				var none V
				if !yield(k, [2]V{none, w}) {
					return
				}
			}
		}
	}
}
