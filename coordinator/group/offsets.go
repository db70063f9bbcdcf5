// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// committed is how far a group has come in a partition.
type committed struct {
	offset      kafka.Offset
	leaderEpoch kafka.LeaderEpoch
	metadata    string
	commitMs    int64
	expireMs    int64 // -1: the broker's retention counts
	topicID     kafka.TopicID
	// sequence orders commits as they stand in the log: of a transaction that ends, only what is newer counts.
	sequence int64
}

// topicOffsets are offsets by topic and partition.
type topicOffsets map[string]map[kafka.PartitionID]committed

func (t topicOffsets) get(topic string, p kafka.PartitionID) (committed, bool) {
	c, ok := t[topic][p]
	return c, ok
}

func (t topicOffsets) put(topic string, p kafka.PartitionID, c committed) (isNew bool) {
	if t[topic] == nil {
		t[topic] = map[kafka.PartitionID]committed{}
	}
	_, had := t[topic][p]
	t[topic][p] = c
	return !had
}

func (t topicOffsets) remove(topic string, p kafka.PartitionID) (had bool) {
	_, had = t[topic][p]
	delete(t[topic], p)
	if len(t[topic]) == 0 {
		delete(t, topic)
	}
	return had
}

// groupOffsets are the offsets of a group of any kind.
//
// Invariant: unstable counts, for each partition, the producers in pending that
// have an offset of it.
type groupOffsets struct {
	committed topicOffsets
	// pending are offsets of transactions that have not ended.
	pending  map[kafka.ProducerID]topicOffsets
	unstable map[kafka.TopicPartition]int
}

func (o *groupOffsets) isUnstable(topic string, p kafka.PartitionID) bool {
	return o != nil && o.unstable[kafka.TopicPartition{Topic: topic, Partition: p}] != 0
}

func (o *groupOffsets) countUnstable(topic string, p kafka.PartitionID, by int) {
	tp := kafka.TopicPartition{Topic: topic, Partition: p}
	if o.unstable[tp] += by; o.unstable[tp] == 0 {
		delete(o.unstable, tp)
	}
}

func (g *Groups) replayOffset(rec grouprec.Record, from Origin) error {
	var k grouprec.OffsetCommitKey
	if err := k.Decode(rec.Key); err != nil {
		return fmt.Errorf("key of a commit: %w", err)
	}
	if rec.Value == nil {
		g.removeOffset(k.Group, k.Topic, k.Partition)
		return nil
	}
	v := grouprec.NewOffsetCommitValue()
	if _, err := v.Decode(rec.Value); err != nil {
		return fmt.Errorf("commit of group %q in %s-%d: %w", k.Group, k.Topic, k.Partition, err)
	}
	var in *Transaction
	if from.Transactional {
		in = &Transaction{ProducerID: from.ProducerID, ProducerEpoch: from.ProducerEpoch}
	}
	g.applyOffset(k, v, int64(from.Offset), in)
	return nil
}

func (g *Groups) replayLegacyOffset(rec grouprec.Record, from Origin) error {
	var k grouprec.LegacyOffsetCommitKey
	if err := k.Decode(rec.Key); err != nil {
		return fmt.Errorf("key of a legacy commit: %w", err)
	}
	if rec.Value == nil {
		g.removeOffset(k.Group, k.Topic, k.Partition)
		return nil
	}
	var old grouprec.LegacyOffsetCommitValue
	if _, err := old.Decode(rec.Value); err != nil {
		return fmt.Errorf("legacy commit of group %q in %s-%d: %w", k.Group, k.Topic, k.Partition, err)
	}
	v := grouprec.NewOffsetCommitValue()
	v.Offset, v.Metadata, v.CommitTimestamp = old.Offset, old.Metadata, old.CommitTimestamp
	g.applyOffset(grouprec.OffsetCommitKey(k), v, int64(from.Offset), nil)
	return nil
}

// applyOffset takes a commit in. A group that only commits is a classic one
// without a protocol.
func (g *Groups) applyOffset(k grouprec.OffsetCommitKey, v *grouprec.OffsetCommitValue, sequence int64, in *Transaction) {
	if g.groups[k.Group] == nil {
		g.groups[k.Group] = newClassicGroup(k.Group, -1)
	}
	o := g.offsets[k.Group]
	if o == nil {
		o = &groupOffsets{committed: topicOffsets{}}
		g.offsets[k.Group] = o
	}
	c := committed{
		offset: v.Offset, leaderEpoch: v.LeaderEpoch, metadata: v.Metadata,
		commitMs: v.CommitTimestamp, expireMs: v.ExpireTimestamp, topicID: v.TopicID, sequence: sequence,
	}
	if in == nil {
		o.committed.put(k.Topic, k.Partition, c)
		return
	}
	if o.pending == nil {
		o.pending, o.unstable = map[kafka.ProducerID]topicOffsets{}, map[kafka.TopicPartition]int{}
	}
	if o.pending[in.ProducerID] == nil {
		o.pending[in.ProducerID] = topicOffsets{}
	}
	if o.pending[in.ProducerID].put(k.Topic, k.Partition, c) {
		o.countUnstable(k.Topic, k.Partition, 1)
	}
	if g.producers[in.ProducerID] == nil {
		g.producers[in.ProducerID] = map[string]struct{}{}
	}
	g.producers[in.ProducerID][k.Group] = struct{}{}
}

// removeOffset applies a tombstone: it takes pending offsets along, so that the
// end of a transaction does not bring back what was deleted.
func (g *Groups) removeOffset(group, topic string, p kafka.PartitionID) {
	o := g.offsets[group]
	if o == nil {
		return
	}
	o.committed.remove(topic, p)
	for id, offsets := range o.pending {
		if offsets.remove(topic, p) {
			o.countUnstable(topic, p, -1)
		}
		if len(offsets) == 0 {
			g.forgetProducer(o, group, id)
		}
	}
	g.forgetIfEmpty(group)
}

func (g *Groups) forgetProducer(o *groupOffsets, group string, id kafka.ProducerID) {
	delete(o.pending, id)
	delete(g.producers[id], group)
	if len(g.producers[id]) == 0 {
		delete(g.producers, id)
	}
}

func (g *Groups) forgetIfEmpty(group string) {
	if o := g.offsets[group]; len(o.committed) == 0 && len(o.pending) == 0 {
		delete(g.offsets, group)
	}
}

// endTransaction makes a producer's pending offsets count, or drops them. What
// was committed after a pending offset was written stays.
func (g *Groups) endTransaction(id kafka.ProducerID, commit bool) {
	for _, group := range sortedKeys(g.producers[id]) {
		o := g.offsets[group]
		for topic, partitions := range o.pending[id] {
			for p, pending := range partitions {
				o.countUnstable(topic, p, -1)
				if before, ok := o.committed.get(topic, p); commit && (!ok || before.sequence < pending.sequence) {
					o.committed.put(topic, p, pending)
				}
			}
		}
		g.forgetProducer(o, group, id)
		g.forgetIfEmpty(group)
	}
}

// Versions of values that Kafka 4.4 writes; the old one is the only one with an expiry.
const (
	offsetCommitVersion           = 4
	offsetCommitVersionWithExpiry = 1
)

func encodeOffset(k grouprec.OffsetCommitKey, v *grouprec.OffsetCommitValue) (rec grouprec.Record, version int16) {
	version = offsetCommitVersion
	if v.ExpireTimestamp != -1 {
		version = offsetCommitVersionWithExpiry
	}
	return grouprec.Record{Key: k.Append(nil), Value: v.AppendVersion(nil, version)}, version
}

func (g *Groups) emitOffset(k grouprec.OffsetCommitKey, v *grouprec.OffsetCommitValue, in *Transaction, out *Out) {
	rec, version := encodeOffset(k, v)
	out.add(rec)
	if version == offsetCommitVersionWithExpiry {
		// What this version cannot hold would be gone after a load.
		v.LeaderEpoch, v.TopicID = -1, kafka.TopicID{}
	}
	g.sequence++
	g.applyOffset(k, v, g.sequence, in)
}

// emitOffsetTombstone deletes an offset; false if the event has no room for it.
func (g *Groups) emitOffsetTombstone(group, topic string, p kafka.PartitionID, out *Out) bool {
	rec := grouprec.Tombstone(&grouprec.OffsetCommitKey{Group: group, Topic: topic, Partition: p})
	if !g.fits(out, sizeOf(rec)) {
		return false
	}
	out.add(rec)
	g.removeOffset(group, topic, p)
	return true
}

// partitionsOf lists, in order, the partitions of which a group has an offset,
// a pending one included.
func (o *groupOffsets) partitionsOf(wanted func(topic string, p kafka.PartitionID, c committed) bool) []kafka.TopicPartition {
	if o == nil {
		return nil
	}
	found := map[string]map[kafka.PartitionID]struct{}{}
	note := func(offsets topicOffsets) {
		for topic, partitions := range offsets {
			for p, c := range partitions {
				if !wanted(topic, p, c) {
					continue
				}
				if found[topic] == nil {
					found[topic] = map[kafka.PartitionID]struct{}{}
				}
				found[topic][p] = struct{}{}
			}
		}
	}
	note(o.committed)
	for _, offsets := range o.pending {
		note(offsets)
	}
	var list []kafka.TopicPartition
	for _, topic := range sortedKeys(found) {
		for _, p := range sortedKeys(found[topic]) {
			list = append(list, kafka.TopicPartition{Topic: topic, Partition: p})
		}
	}
	return list
}
