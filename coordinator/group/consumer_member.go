// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"iter"
	"slices"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
	"gregor/coordinator/grouprec"
)

// Epochs of a heartbeat that are none.
const (
	epochJoin        = 0
	epochLeave       = -1
	epochStaticLeave = -2
)

// memberState is where a member stands between what it has and its target; the
// numbers are those of the log.
type memberState int8

// The states of a member. One of a newer version is unknown: its member has to join anew.
const (
	memberStable     memberState = 0
	memberUnrevoked  memberState = 1
	memberUnreleased memberState = 2
	memberUnknown    memberState = 127
)

// consumerMember is a member with what the log does not have.
type consumerMember struct {
	memberData
	group     *consumerGroup
	session   timer
	rebalance timer // it must give partitions up by then
	// rebalanceEpoch is the epoch that the member must have left by then.
	rebalanceEpoch int32
	// join and sync are of a member that speaks the classic protocol.
	join, sync timer
}

// memberData is a member as the log has it. It is replaced, not changed; what it
// points to is never written again.
type memberData struct {
	id                   string
	instance, rack       *string
	clientID, clientHost string
	names                []string // sorted
	regex                *string
	rebalanceTimeoutMs   int32
	assignor             *string
	classic              *grouprec.ClassicMemberMetadata // it speaks the classic protocol
	epoch, previousEpoch int32
	state                memberState
	assigned, revoking   owned
}

func newMemberData(id string) memberData { return *newMember(id) }

func newMember(id string) *memberData {
	return &memberData{id: id, regex: new(string), rebalanceTimeoutMs: -1, previousEpoch: -1}
}

func (m *memberData) reconciledTo(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

func (m *memberData) isClassic() bool { return m.classic != nil }

// advance is how a member comes to an epoch; it may be the one that it has.
func (m *memberData) advance(epoch int32) { m.previousEpoch, m.epoch = m.epoch, epoch }

// sameMetadata compares what stands in ConsumerGroupMemberMetadata.
func (m *memberData) sameMetadata(o *memberData) bool {
	return m.rebalanceTimeoutMs == o.rebalanceTimeoutMs && m.clientID == o.clientID && m.clientHost == o.clientHost &&
		sameText(m.instance, o.instance) && sameText(m.rack, o.rack) && sameText(m.regex, o.regex) && sameText(m.assignor, o.assignor) &&
		(same(m.names, o.names) || slices.Equal(m.names, o.names)) && sameClassic(m.classic, o.classic)
}

// sameAssignment compares what stands in ConsumerGroupCurrentMemberAssignment.
func (m *memberData) sameAssignment(o *memberData) bool {
	return m.epoch == o.epoch && m.previousEpoch == o.previousEpoch && m.state == o.state && m.assigned.equal(o.assigned) && m.revoking.equal(o.revoking)
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func sameClassic(a, b *grouprec.ClassicMemberMetadata) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeoutMs == b.SessionTimeoutMs && slices.EqualFunc(a.SupportedProtocols, b.SupportedProtocols, func(x, y grouprec.ClassicProtocol) bool {
		return x.Name == y.Name && bytes.Equal(x.Metadata, y.Metadata)
	})
}

// holds are the partitions that nobody else may have.
func (m *memberData) holds() iter.Seq[kafka.TopicIDPartition] {
	return func(yield func(kafka.TopicIDPartition) bool) {
		for _, list := range [2]owned{m.assigned, m.revoking} {
			for _, t := range list {
				for _, p := range t.partitions {
					if !yield(kafka.TopicIDPartition{TopicID: t.id, Partition: p}) {
						return
					}
				}
			}
		}
	}
}

// owned are partitions with the epoch at which the member got each (KIP-1251).
// It is in order and does not change.
type owned []ownedTopic

type ownedTopic struct {
	id         kafka.TopicID
	partitions []kafka.PartitionID
	epochs     []int32
}

func (t ownedTopic) equal(o ownedTopic) bool {
	return t.id == o.id && slices.Equal(t.partitions, o.partitions) && slices.Equal(t.epochs, o.epochs)
}

func (o owned) equal(other owned) bool {
	return same(o, other) || slices.EqualFunc(o, other, ownedTopic.equal)
}

// same says that two lists are one, which a glance at them need not bring into
// the cache. What a member that changes nothing has is compared with itself.
func same[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

func (o owned) topic(id kafka.TopicID) ownedTopic {
	i, found := slices.BinarySearchFunc(o, id, func(t ownedTopic, id kafka.TopicID) int { return assignor.CompareTopics(t.id, id) })
	if !found {
		return ownedTopic{id: id}
	}
	return o[i]
}

// epochOf tells since which epoch a partition is owned.
func (o owned) epochOf(id kafka.TopicID, p kafka.PartitionID) (int32, bool) {
	t := o.topic(id)
	i, found := slices.BinarySearch(t.partitions, p)
	if !found {
		return 0, false
	}
	return t.epochs[i], true
}

func (t *ownedTopic) add(p kafka.PartitionID, epoch int32) {
	t.partitions, t.epochs = append(t.partitions, p), append(t.epochs, epoch)
}

// sort puts partitions in order, with their epochs; of one that is there twice the first counts.
func (t *ownedTopic) sort() {
	ascending := true
	for i := 1; i < len(t.partitions); i++ {
		ascending = ascending && t.partitions[i-1] < t.partitions[i]
	}
	if ascending {
		return
	}
	epochs := make(map[kafka.PartitionID]int32, len(t.partitions))
	for i, p := range t.partitions {
		if _, twice := epochs[p]; !twice {
			epochs[p] = t.epochs[i]
		}
	}
	t.partitions, t.epochs = sortedKeys(epochs), nil
	for _, p := range t.partitions {
		t.epochs = append(t.epochs, epochs[p])
	}
}

// with appends a topic, unless it is without partitions.
func (o owned) with(t ownedTopic) owned {
	if len(t.partitions) == 0 {
		return o
	}
	return append(o, t)
}

// ownedSince gives all of an assignment one epoch.
func ownedSince(a assignor.Assignment, epoch int32) owned {
	var o owned
	for _, t := range a {
		o = o.with(ownedTopic{id: t.ID, partitions: t.Partitions, epochs: slices.Repeat([]int32{epoch}, len(t.Partitions))})
	}
	return o
}

// resetEpochs is what a static member leaves behind: its next self may commit at once.
func (o owned) resetEpochs() owned {
	reset := slices.Clone(o)
	for i := range reset {
		reset[i].epochs = make([]int32, len(reset[i].partitions))
	}
	return reset
}

func (m *consumerMember) cancelTimers(g *Groups) {
	for _, t := range [...]*timer{&m.session, &m.rebalance, &m.join, &m.sync} {
		g.timers.cancel(t)
	}
}
