// SPDX-License-Identifier: Apache-2.0

// Package group is the group coordinator: who belongs to a group, who has what,
// and how far each group has come. It is pure: an event is a function of the
// state, a request and the time, and gives records of __consumer_offsets and
// replies. Nothing here has a goroutine, a lock, a clock or I/O, and the order
// of a map never shows: the same events give the same bytes.
//
//	groups.go            what all groups share; load, leave office, metadata
//	timers.go            what is due
//	classic*.go          the classic protocol: one verb a file
//	consumer*.go         the new protocol (KIP-848), and moving between the two
//	subscription.go      what a classic member's metadata says it reads
//	offsets*.go          committed offsets, of groups of every kind
//	admin.go             list, describe, delete
package group

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// Groups are the groups of one partition of __consumer_offsets.
//
//	event ─► validate ─► emit ─► apply ─► state
//	                      │               ▲
//	                      └─► records     Replay ◄─ the log
//
// An event changes durable state only by applying the records that it emits, by
// the same function that Replay uses, so the log gives the same groups again.
// Beside it stands soft state, which the log does not have: who waits for a
// reply, which timers run, and a classic rebalance that is under way. A classic
// rebalance becomes durable as one snapshot (GroupMetadata) when the leader's
// assignment arrives or the group becomes empty; a coordinator that loads the
// log in the middle of one is back at the generation before, as in Kafka.
//
// Nothing is ever rolled back: a reply of an event may leave only when the
// event's records, and those of all events before it, are committed. If an
// append fails, the caller drops the whole Groups and loads another.
//
// Rejected: timeline hash maps that give both the committed and the latest
// state, as Kafka has. They let a read answer at once with the committed state,
// but double the memory of every offset; here a read's reply waits for the
// records before it, which is a wait of the same length as a commit's.
//
// Nothing of a request's bytes is kept: they may be used again when the event is over.
//
// Invariant: a reply is given exactly once for each Token that an event took.
type Groups struct {
	options Options
	topics  Topics
	groups  map[string]group
	offsets map[string]*groupOffsets
	// producers are the groups in which a producer has pending offsets.
	producers map[kafka.ProducerID]map[string]struct{}
	timers    timers
	// retention is the next check; expiredTo is the group before which it has
	// looked at all, if it could not do all at once.
	retention timer
	expiredTo string
	// deleted are topics whose offsets are still to be deleted.
	deleted  []DeletedTopic
	deletion timer
	// sequence is above that of every commit applied so far. While loading it
	// is the offset of the record; only the order counts.
	sequence int64
	// topicsVersion is that of the metadata when topics last came; topicHashes
	// are of topics as they are now.
	topicsVersion int64
	topicHashes   map[string]uint64
	// changing is a member on its way from one state to the next (copyOf).
	changing memberData
}

// group is what groups of every protocol have in common.
type group interface {
	kind() Kind
	stateName() string
	// size is how many members are in it.
	size() int
	protocolTypeName() string
	// empty says that no member is in it, so that it may be deleted.
	empty() bool
	// validateCommit judges a commit of offsets. A verdict by partition may
	// come on top.
	validateCommit(commitOf) (partitionVerdict, error)
	// validateFetch judges a fetch of offsets; a nil member id is nobody's.
	validateFetch(memberID *string, memberEpoch int32) error
	validateOffsetDelete() error
	subscribes(topic string) bool
	// expiresFrom is the time from which the retention of a commit counts;
	// false while offsets may not expire.
	expiresFrom(committed) (int64, bool)
	// tombstones are the records that say that the group is no more.
	tombstones() (id string, records []grouprec.Record)
	// abandon stops timers and answers who waits, because the group goes away
	// or this coordinator does.
	abandon(g *Groups, code kafka.Code, out *Out)
}

// Kind is the protocol of a group.
type Kind string

// Kinds of groups, by Kafka's names.
const (
	Classic  Kind = "classic"
	Consumer Kind = "consumer"
)

// New makes an empty coordinator partition: replay the log into it, then call
// Loaded.
func New(o Options) *Groups {
	o.ensureDefaults()
	return &Groups{
		options:       o,
		topics:        o.Topics,
		groups:        map[string]group{},
		offsets:       map[string]*groupOffsets{},
		producers:     map[kafka.ProducerID]map[string]struct{}{},
		topicsVersion: o.Topics.Version(),
		topicHashes:   map[string]uint64{},
	}
}

// Replay applies one record of the log. Records of kinds that are not known
// here are skipped, as Kafka does. Those of a newer version are not, as in Kafka:
// an offset would be lost in silence. The error names the record.
func (g *Groups) Replay(rec grouprec.Record, from Origin) error {
	typ, err := grouprec.TypeOf(rec.Key)
	if errors.Is(err, grouprec.ErrUnknown) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("replaying offset %d: %w", from.Offset, err)
	}
	if err := g.replay(typ, rec, from); err != nil {
		return fmt.Errorf("replaying offset %d: %w", from.Offset, err)
	}
	return nil
}

func (g *Groups) replay(typ int16, rec grouprec.Record, from Origin) error {
	g.sequence = max(g.sequence, int64(from.Offset))
	switch typ {
	case grouprec.TypeLegacyOffsetCommit:
		return g.replayLegacyOffset(rec, from)
	case grouprec.TypeOffsetCommit:
		return g.replayOffset(rec, from)
	case grouprec.TypeGroupMetadata:
		return g.replayClassic(rec)
	case grouprec.TypeConsumerGroupMetadata, grouprec.TypeConsumerGroupPartitionMetadata, grouprec.TypeConsumerGroupMemberMetadata,
		grouprec.TypeConsumerGroupTargetAssignmentMetadata, grouprec.TypeConsumerGroupTargetAssignmentMember,
		grouprec.TypeConsumerGroupCurrentMemberAssignment, grouprec.TypeConsumerGroupRegularExpression:
		return g.replayConsumer(typ, rec)
	}
	return nil
}

// ReplayMarker ends a producer's transaction: its pending offsets become
// committed ones, or are dropped. A marker that this coordinator writes itself
// is applied the same way.
func (g *Groups) ReplayMarker(id kafka.ProducerID, _ kafka.ProducerEpoch, commit bool) error {
	g.endTransaction(id, commit)
	return nil
}

// Loaded follows the last record of the log. Sessions start now: members had no
// one to send heartbeats to.
func (g *Groups) Loaded(nowMs int64, out *Out) {
	for _, id := range g.groupIDs() {
		switch c := g.groups[id].(type) {
		case *classicGroup:
			c.loaded(g, nowMs, out)
		case *consumerGroup:
			c.loaded(g, nowMs)
		}
	}
	g.timers.set(&g.retention, g, nowMs+g.options.OffsetsRetentionCheckIntervalMs)
}

// Tick does what is due, up to the first that gives records: NextDueMs tells
// whether there is more.
func (g *Groups) Tick(nowMs int64, out *Out) {
	for len(out.Records) == 0 {
		t := g.timers.due(nowMs)
		if t == nil {
			return
		}
		t.owner.fire(g, t, nowMs, out)
	}
}

// fits says whether an event may give so many more bytes of records.
func (g *Groups) fits(out *Out, bytes int) bool {
	return out.bytes+bytes <= int(g.options.RecordsBytesMax)
}

// NextDueMs is the earliest time at which Tick may have something to do; false
// if it never will.
func (g *Groups) NextDueMs() (int64, bool) { return g.timers.next() }

// MetadataChanged brings a newer view of the topics. Offsets of deleted topics
// are deleted, pending ones too. A group of the new protocol that reads one of
// the topics looks at all of its own with the next heartbeat.
func (g *Groups) MetadataChanged(nowMs int64, topics Topics, change TopicsChange, out *Out) {
	g.topics = topics
	if change.Created { // a topic that has only grown, or is gone, matches no regex that it did not match before
		g.topicsVersion = topics.Version()
	}
	if change.Names == nil {
		clear(g.topicHashes)
	}
	for _, name := range change.Names {
		delete(g.topicHashes, name)
	}
	for _, found := range g.groups {
		if c, ok := found.(*consumerGroup); ok && (change.Names == nil || slices.ContainsFunc(change.Names, c.subscribes)) {
			c.freshUntilMs = 0
		}
	}
	g.deleted = append(g.deleted, change.Deleted...)
	g.deleteTopicOffsets(nowMs, out)
}

// Abandon answers everyone who waits: this broker leads the partition no more.
// The Groups is of no use afterwards.
func (g *Groups) Abandon(out *Out) {
	for _, id := range g.groupIDs() {
		g.groups[id].abandon(g, kafka.NotCoordinator, out)
	}
}

// fire is the retention check, or the rest of a deletion.
func (g *Groups) fire(_ *Groups, t *timer, nowMs int64, out *Out) {
	if t == &g.deletion {
		g.deleteTopicOffsets(nowMs, out)
		return
	}
	g.expireOffsets(nowMs, out)
}

func (g *Groups) groupIDs() []string { return sortedKeys(g.groups) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// removeGroup forgets a group; out is nil while loading.
func (g *Groups) removeGroup(id string, out *Out) {
	if old := g.groups[id]; old != nil {
		old.abandon(g, kafka.UnknownMemberID, out)
		delete(g.groups, id)
	}
}
