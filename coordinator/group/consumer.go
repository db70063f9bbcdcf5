// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"slices"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
	"gregor/coordinator/grouprec"
)

// consumerGroup is a group of the new protocol (KIP-848), in which the
// coordinator assigns and each member comes to its target at its own pace.
//
//	subscription changes ─► group epoch ─► target assignment (assignment epoch) ─► members, one by one
//	   of a member, of topics   bumped        of all members, at once                 reconcile
//
// A member is at an epoch of its own. It comes to the assignment epoch when it
// owns nothing that is not in its target, and has got all of it that is free:
//
//	STABLE ─► UNREVOKED_PARTITIONS   it has to give something up; its epoch stays
//	       ─► UNRELEASED_PARTITIONS  what it lacks another member still has
//
// An event is planned against the group as it is: its records are gathered, and
// applied only when all of them fit into one batch. So a plan that fails, at
// whatever step, has changed nothing.
//
// Invariant: partitionEpochs holds each partition that some member owns or has
// yet to give up; a partition that is in it is given to no other member. That is
// why no partition ever has two owners.
// Invariant: the counts (names, assignors, regexes, classicMembers,
// classicProtocols, static) are those of members.
type consumerGroup struct {
	id              string
	epoch           int32
	metadataHash    int64
	assignmentEpoch int32
	assignmentMs    int64 // when the target was made; 0: any time is late enough for the next
	members         map[string]*consumerMember
	targets         map[string]assignor.Assignment
	resolved        map[string]resolvedRegex
	// legacyMetadata: the log has a record of what metadataHash has replaced.
	legacyMetadata bool

	static           map[string]string // instance id to member id
	names            map[string]nameCount
	assignors        map[string]int
	regexes          map[string]int
	classicMembers   int
	classicProtocols map[string]int
	partitionEpochs  map[kafka.TopicIDPartition]int32

	// freshUntilMs is when the metadata hash has to be looked at again; 0: now.
	freshUntilMs int64
	// matching is under way beside the lane; unfitMs is when the outcome of one did last not fit into a batch.
	matching *Matching
	unfitMs  int64
}

// nameCount is how many members name a topic, and how many regexes match it.
type nameCount struct{ byName, byRegex int }

func newConsumerGroup(id string) *consumerGroup {
	return &consumerGroup{
		id: id, epoch: 1, assignmentEpoch: 1,
		members: map[string]*consumerMember{}, targets: map[string]assignor.Assignment{}, resolved: map[string]resolvedRegex{},
		static: map[string]string{}, names: map[string]nameCount{}, assignors: map[string]int{}, regexes: map[string]int{},
		classicProtocols: map[string]int{}, partitionEpochs: map[kafka.TopicIDPartition]int32{},
	}
}

func (c *consumerGroup) kind() Kind               { return Consumer }
func (c *consumerGroup) protocolTypeName() string { return protocolTypeConsumer }
func (c *consumerGroup) empty() bool              { return len(c.members) == 0 }

func (c *consumerGroup) stateName() string {
	switch {
	case c.empty():
		return "Empty"
	case c.epoch > c.assignmentEpoch:
		return "Assigning"
	}
	for _, m := range c.members {
		if !m.reconciledTo(c.assignmentEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

func (c *consumerGroup) subscribes(topic string) bool {
	_, ok := c.names[topic]
	return ok
}

func (c *consumerGroup) validateOffsetDelete() error { return nil }

func (c *consumerGroup) expiresFrom(o committed) (int64, bool) { return o.commitMs, true }

// tombstones stand in Kafka's order: a member's own record goes after those that refer to it.
func (c *consumerGroup) tombstones() (string, []grouprec.Record) {
	return c.id, c.tombstonesOf(c.memberIDs())
}

func (c *consumerGroup) tombstonesOf(members []string) (records []grouprec.Record) {
	for _, id := range members {
		records = append(records, grouprec.Tombstone(&grouprec.ConsumerGroupCurrentMemberAssignmentKey{GroupID: c.id, MemberID: id}))
	}
	for _, id := range members {
		records = append(records, grouprec.Tombstone(&grouprec.ConsumerGroupTargetAssignmentMemberKey{GroupID: c.id, MemberID: id}))
	}
	records = append(records, grouprec.Tombstone(&grouprec.ConsumerGroupTargetAssignmentMetadataKey{GroupID: c.id}))
	for _, id := range members {
		records = append(records, grouprec.Tombstone(&grouprec.ConsumerGroupMemberMetadataKey{GroupID: c.id, MemberID: id}))
	}
	for _, regex := range sortedKeys(c.resolved) {
		records = append(records, grouprec.Tombstone(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: c.id, RegularExpression: regex}))
	}
	return append(records,
		grouprec.Tombstone(&grouprec.ConsumerGroupPartitionMetadataKey{GroupID: c.id}),
		grouprec.Tombstone(&grouprec.ConsumerGroupMetadataKey{GroupID: c.id}))
}

// abandon has nobody to answer: no request waits in a group of this kind.
func (c *consumerGroup) abandon(g *Groups, _ kafka.Code, _ *Out) {
	for _, m := range c.members {
		m.cancelTimers(g)
	}
}

func (c *consumerGroup) memberIDs() []string { return sortedKeys(c.members) }

// loaded starts the sessions of members.
func (c *consumerGroup) loaded(g *Groups, nowMs int64) {
	for _, id := range c.memberIDs() {
		m := c.members[id]
		g.timers.set(&m.session, m, nowMs+int64(g.groupConfig(c.id).SessionTimeoutMs))
		if m.state == memberUnrevoked {
			g.startRebalanceTimer(m, nowMs)
		}
	}
}

// staticMember is who has an instance id, nil if nobody does.
func (c *consumerGroup) staticMember(instance *string) *consumerMember {
	if instance == nil {
		return nil
	}
	return c.members[c.static[*instance]]
}

// target is what a member shall own. A static member that is about to be
// replaced hands its target on.
func (c *consumerGroup) target(m *memberData) assignor.Assignment {
	if former := c.staticMember(m.instance); former != nil {
		return c.targets[former.id]
	}
	if m.instance != nil {
		return nil
	}
	return c.targets[m.id]
}

// assignor is the one that most members prefer, by a plan that replaces old by
// m. Of two with as many votes Kafka leaves it to a hash map; here it is the
// first by name.
func (c *consumerGroup) assignor(old, m *memberData, otherwise string) string {
	best, votes := otherwise, 0
	for _, name := range assignor.Names() {
		n := c.assignors[name]
		if old != nil && deref(old.assignor) == name {
			n--
		}
		if m != nil && deref(m.assignor) == name {
			n++
		}
		if n > votes || n == votes && n > 0 && name < best {
			best, votes = name, n
		}
	}
	return best
}

// update takes a member as it is now; it may be new.
func (c *consumerGroup) update(data memberData) {
	m := c.members[data.id]
	if m == nil {
		m = &consumerMember{group: c}
		c.members[data.id] = m
	} else {
		c.count(&m.memberData, -1)
		c.releasePartitions(&m.memberData)
	}
	m.memberData = data
	c.count(&m.memberData, 1)
	c.takePartitions(&m.memberData)
}

// remove forgets a member and stops its timers.
func (c *consumerGroup) remove(g *Groups, id string) {
	m := c.members[id]
	if m == nil {
		return
	}
	c.count(&m.memberData, -1)
	c.releasePartitions(&m.memberData)
	m.cancelTimers(g)
	delete(c.members, id)
}

func (c *consumerGroup) count(m *memberData, by int) {
	for _, name := range m.names {
		addName(c.names, name, by, 0)
	}
	if m.assignor != nil {
		addCount(c.assignors, *m.assignor, by)
	}
	if regex := deref(m.regex); regex != "" {
		addCount(c.regexes, regex, by)
	}
	if m.classic != nil {
		c.classicMembers += by
		for _, p := range m.classic.SupportedProtocols {
			addCount(c.classicProtocols, p.Name, by)
		}
	}
	if m.instance != nil {
		if by > 0 {
			c.static[*m.instance] = m.id
		} else if c.static[*m.instance] == m.id {
			delete(c.static, *m.instance)
		}
	}
}

func addCount(counts map[string]int, name string, by int) {
	if counts[name] += by; counts[name] == 0 {
		delete(counts, name)
	}
}

func addName(names map[string]nameCount, name string, byName, byRegex int) {
	n := names[name]
	n.byName += byName
	n.byRegex += byRegex
	if n == (nameCount{}) {
		delete(names, name)
	} else {
		names[name] = n
	}
}

func (c *consumerGroup) takePartitions(m *memberData) {
	for tp := range m.holds() {
		if epoch, taken := c.partitionEpochs[tp]; !taken || epoch < m.epoch {
			c.partitionEpochs[tp] = m.epoch
		}
	}
}

func (c *consumerGroup) releasePartitions(m *memberData) {
	for tp := range m.holds() {
		// Of another epoch it is another member's: a log that was compacted may show it so for a while.
		if c.partitionEpochs[tp] == m.epoch {
			delete(c.partitionEpochs, tp)
		}
	}
}

func (c *consumerGroup) setResolved(regex string, r resolvedRegex) {
	c.removeResolved(regex)
	c.resolved[regex] = r
	for _, topic := range r.topics {
		addName(c.names, topic, 0, 1)
	}
}

func (c *consumerGroup) removeResolved(regex string) {
	for _, topic := range c.resolved[regex].topics {
		addName(c.names, topic, 0, -1)
	}
	delete(c.resolved, regex)
}

// homogeneous says whether all of so many members read the same topics.
func homogeneous(names map[string]nameCount, regexes map[string]int, members int) bool {
	if len(regexes) == 0 {
		for _, n := range names {
			if n.byName != members {
				return false
			}
		}
		return true
	}
	if len(regexes) != 1 || slices.Collect(maps.Values(regexes))[0] != members {
		return false
	}
	for _, n := range names {
		if n.byRegex != 1 || n.byName > 0 {
			return false
		}
	}
	return true
}
