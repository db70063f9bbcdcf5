// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
)

// reconcile brings a member as far towards its target as what it owns, and what
// others own, allows, and plans the record if that is any further. says is what
// the member says it owns; nil if it does not say.
func (p *consumerPlan) reconcile(m *memberData, to target, resubscribed bool, says []kmsg.ConsumerGroupHeartbeatRequestTopic) {
	if m.rests(to.epoch, resubscribed) {
		return
	}
	before := *m
	r := reconciliation{p: p, m: m, to: to, says: says}
	switch m.state {
	case memberStable:
		if m.epoch != to.epoch {
			r.next(m.epoch)
		} else if resubscribed {
			r.dropUnread()
		}
	case memberUnrevoked:
		switch {
		case !r.stillOwns(m.revoking):
			r.next(m.epoch)
		case resubscribed:
			r.dropUnread()
		}
	case memberUnreleased:
		r.next(m.epoch)
	case memberUnknown:
		r.next(to.epoch)
	}
	if !before.sameAssignment(m) {
		p.putCurrent(m)
	}
}

// rests says that a member is where it has to come to.
func (m *memberData) rests(epoch int32, resubscribed bool) bool {
	return !resubscribed && m.reconciledTo(epoch)
}

// reconciliation is one step of one member.
type reconciliation struct {
	p    *consumerPlan
	m    *memberData
	to   target
	says []kmsg.ConsumerGroupHeartbeatRequestTopic
}

// stillOwns says whether the member owns one of these, for all that is known.
func (r *reconciliation) stillOwns(some owned) bool {
	if r.says == nil {
		return true
	}
	for _, t := range r.says {
		for _, p := range t.Partitions {
			if _, ok := some.epochOf(t.TopicID, kafka.PartitionID(p)); ok {
				return true
			}
		}
	}
	return false
}

// reads says whether the member is subscribed to a topic.
func (r *reconciliation) reads(id kafka.TopicID) bool {
	name, ok := r.p.g.topics.TopicName(id)
	if !ok {
		return false
	}
	if _, ok := slices.BinarySearch(r.m.names, name); ok {
		return true
	}
	_, ok = slices.BinarySearch(r.p.c.resolved[deref(r.m.regex)].topics, name)
	return ok
}

// next is the step towards the target. What is to be revoked is revoked first,
// at the epoch the member has; only who has nothing to give up moves on to the
// target's epoch, and gets what is free.
func (r *reconciliation) next(epoch int32) {
	var kept, revoked, all owned
	gained, unreleased := false, false
	for _, id := range topicsOf(r.m.assigned, r.to.assignment) {
		t := r.split(id)
		kept, revoked, all = kept.with(t.kept), revoked.with(t.revoked), all.with(t.all)
		gained, unreleased = gained || t.gained, unreleased || t.unreleased
	}
	if len(revoked) != 0 && r.stillOwns(revoked) {
		r.m.state, r.m.assigned, r.m.revoking = memberUnrevoked, kept, revoked
		r.m.advance(epoch)
		return
	}
	r.m.state, r.m.assigned, r.m.revoking = memberStable, all, nil
	if unreleased {
		r.m.state = memberUnreleased
	}
	r.m.advance(r.to.epoch)
}

// splitTopic is what becomes of a topic.
type splitTopic struct {
	kept, revoked, all ownedTopic // all is kept and gained
	gained, unreleased bool
}

func (r *reconciliation) split(id kafka.TopicID) splitTopic {
	had := r.m.assigned.topic(id)
	s := splitTopic{kept: ownedTopic{id: id}, revoked: ownedTopic{id: id}, all: ownedTopic{id: id}}
	var wanted []kafka.PartitionID
	if r.reads(id) {
		wanted = r.to.assignment.Partitions(id)
	}
	for i, p := range had.partitions {
		if _, ok := slices.BinarySearch(wanted, p); ok {
			s.kept.add(p, had.epochs[i])
		} else {
			s.revoked.add(p, had.epochs[i])
		}
	}
	for _, p := range wanted {
		if i, ok := slices.BinarySearch(s.kept.partitions, p); ok {
			s.all.add(p, s.kept.epochs[i])
		} else if r.free(id, p) {
			s.all.add(p, r.to.epoch)
			s.gained = true
		} else {
			s.unreleased = true
		}
	}
	return s
}

// free says that nobody has a partition, or only the member itself, which was
// about to give it up.
func (r *reconciliation) free(id kafka.TopicID, p kafka.PartitionID) bool {
	if _, taken := r.p.c.partitionEpochs[kafka.TopicIDPartition{TopicID: id, Partition: p}]; !taken {
		return true
	}
	_, own := r.m.revoking.epochOf(id, p)
	return own
}

// dropUnread takes away at once what the member no longer reads, before there is a new target.
func (r *reconciliation) dropUnread() {
	var kept owned
	revoking := slices.Clone(r.m.revoking)
	for _, t := range r.m.assigned {
		if r.reads(t.id) {
			kept = append(kept, t)
		} else {
			revoking = revoking.merge(t)
		}
	}
	if len(kept) == len(r.m.assigned) {
		return
	}
	if r.m.assigned = kept; r.stillOwns(revoking) {
		r.m.state, r.m.revoking = memberUnrevoked, revoking
	}
	r.m.advance(r.m.epoch)
}

// merge adds the partitions of a topic.
func (o owned) merge(t ownedTopic) owned {
	i, found := slices.BinarySearchFunc(o, t.id, func(have ownedTopic, id kafka.TopicID) int { return assignor.CompareTopics(have.id, id) })
	if !found {
		return slices.Insert(o, i, t)
	}
	both := ownedTopic{id: t.id, partitions: slices.Concat(t.partitions, o[i].partitions), epochs: slices.Concat(t.epochs, o[i].epochs)}
	both.sort()
	o[i] = both
	return o
}

// topicsOf lists the topics of both, in order.
func topicsOf(o owned, a assignor.Assignment) []kafka.TopicID {
	var ids []kafka.TopicID
	for _, t := range o {
		ids = append(ids, t.id)
	}
	for _, t := range a {
		ids = append(ids, t.ID)
	}
	slices.SortFunc(ids, assignor.CompareTopics)
	return slices.Compact(ids)
}
