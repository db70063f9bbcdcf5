// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
	"gregor/coordinator/grouprec"
)

// subscriptionChange is what a member's request changes for the group.
type subscriptionChange struct {
	subscription bool // the member reads other topics than it did
	epoch        int32
	homogeneous  bool
}

// subscribe plans what follows from what a member says of itself: its record,
// and a new group epoch if members are to be assigned anew.
func (p *consumerPlan) subscribe(old, m *memberData) (subscriptionChange, error) {
	names, err := p.changeNames(old, m)
	if err != nil {
		return subscriptionChange{}, err
	}
	regex, err := p.changeRegex(old, m)
	if err != nil {
		return subscriptionChange{}, err
	}
	bump := names || regex == regexResolved || p.unfinished
	if m.isClassic() {
		bump = bump || regex == regexChanged
	} else {
		uniform := p.g.options.ConsumerAssignors[0]
		bump = bump || !sameText(old.assignor, m.assignor) && p.c.assignor(nil, nil, uniform) != p.c.assignor(old, m, uniform)
	}
	change := subscriptionChange{subscription: names || regex != regexSame, epoch: p.c.epoch}
	if bump || p.nowMs >= p.c.freshUntilMs {
		p.bumpEpoch(old, m, bump, &change)
	} else if p.c.assignmentEpoch < p.c.epoch {
		change.homogeneous = homogeneous(p.c.names, p.c.regexes, len(p.c.members))
	}
	return change, nil
}

func (p *consumerPlan) changeNames(old, m *memberData) (bool, error) {
	if old.sameMetadata(m) {
		return false, nil
	}
	if !p.endFits(m) {
		return false, refuse(kafka.UnknownServerError, "The names of the member are too long for one batch of __consumer_offsets.")
	}
	p.putMember(m)
	return !slices.Equal(old.names, m.names), nil
}

// endFits says whether there is room in a batch for the end of a member, of
// whatever it may come to. Otherwise it would stay when it is gone.
func (p *consumerPlan) endFits(m *memberData) bool {
	end := consumerPlan{g: p.g, c: p.c}
	end.delMember(m.id)
	end.del(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: p.c.id, RegularExpression: deref(m.regex)})
	end.putEpoch(p.c.epoch, p.c.metadataHash)
	end.putAssignmentEpoch(p.c.epoch, p.nowMs)
	return end.bytes() <= int(p.g.options.RecordsBytesMax)
}

// metadataFreshMs is after which a group looks at the metadata of its topics
// even if nobody has told it of a change; Kafka's largest int.
const metadataFreshMs = 1<<31 - 1

// bumpEpoch plans a new epoch, if there is to be one or the topics have changed.
func (p *consumerPlan) bumpEpoch(old, m *memberData, bump bool, change *subscriptionChange) {
	c := p.c
	names := c.namesAfter(old, m)
	hash := p.g.metadataHash(names)
	members := len(c.members)
	if c.members[m.id] == nil && c.staticMember(m.instance) == nil {
		members++
	}
	change.homogeneous = homogeneous(names, c.regexesAfter(old, m), members)
	if bump || hash != c.metadataHash {
		change.epoch++
		p.putEpoch(change.epoch, hash)
	}
	p.freshUntilMs = p.nowMs + metadataFreshMs
	if c.legacyMetadata {
		p.dropLegacyMetadata()
	}
}

// namesAfter are the topics of the group when old has become m.
func (c *consumerGroup) namesAfter(old, m *memberData) map[string]nameCount {
	names := make(map[string]nameCount, len(c.names))
	for name, n := range c.names {
		names[name] = n
	}
	for _, name := range old.names {
		addName(names, name, -1, 0)
	}
	for _, name := range m.names {
		addName(names, name, 1, 0)
	}
	if regex := deref(old.regex); regex != "" && regex != deref(m.regex) && c.regexes[regex] == 1 {
		for _, name := range c.resolved[regex].topics {
			addName(names, name, 0, -1)
		}
	}
	return names
}

// retarget plans a new target of all members if the group has a new epoch, and
// the last one is older than the assignment interval: while many members come,
// each would otherwise cost an assignment of all.
func (p *consumerPlan) retarget(old, m *memberData, change subscriptionChange) target {
	c := p.c
	if c.assignmentEpoch >= change.epoch || !p.g.mayAssign(c, p.nowMs) {
		to := target{epoch: c.assignmentEpoch}
		if !m.rests(to.epoch, change.subscription) {
			to.assignment = c.target(m)
		}
		return to
	}
	spec := p.assignorGroup(m, change.homogeneous)
	assign := assignor.ByName(c.assignor(old, m, p.g.options.ConsumerAssignors[0]))
	mine := target{epoch: change.epoch}
	for i, a := range assign(spec) {
		member := &spec.Members[i]
		if had, ok := c.targets[p.formerID(member)]; !ok || !a.Equal(had) {
			p.putTarget(member.ID, a)
		}
		if member.ID == m.id {
			mine.assignment = a
		}
	}
	p.putAssignmentEpoch(change.epoch, p.nowMs)
	return mine
}

// mayAssign says whether the assignment interval is over.
func (g *Groups) mayAssign(c *consumerGroup, nowMs int64) bool {
	interval := int64(g.groupConfig(c.id).AssignmentIntervalMs)
	return c.assignmentMs == 0 || interval == 0 || nowMs >= c.assignmentMs+interval
}

// formerID is under which id a member's target stands so far.
func (p *consumerPlan) formerID(m *assignor.Member) string {
	if former := p.c.staticMember(m.InstanceID); former != nil {
		return former.id
	}
	return m.ID
}

// assignorGroup is the group as it will be with m. What the counts say of it may
// be of before: a member that came, or changed its regex, and is no change for the
// others yet. So the lists have the last word. Kafka takes the counts', and
// assigns by the first member's list what the others do not read.
func (p *consumerPlan) assignorGroup(m *memberData, homogeneous bool) assignor.Group {
	c := p.c
	members := make([]*memberData, 0, len(c.members)+1)
	former := c.staticMember(m.instance)
	for _, other := range c.members {
		if other.id != m.id && other != former {
			members = append(members, &other.memberData)
		}
	}
	members = append(members, m)
	slices.SortFunc(members, func(a, b *memberData) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	counts := map[kafka.TopicID]int32{}
	spec := assignor.Group{Homogeneous: homogeneous, PartitionCount: func(id kafka.TopicID) int32 { return counts[id] }}
	var last *memberData // members that read the same share the list of it
	var topics []kafka.TopicID
	for _, member := range members {
		if last == nil || !slices.Equal(last.names, member.names) || deref(last.regex) != deref(member.regex) {
			before := topics
			topics = p.topicIDs(member, counts)
			spec.Homogeneous = spec.Homogeneous && (last == nil || slices.Equal(before, topics))
			last = member
		}
		a := assignor.Member{ID: member.id, InstanceID: member.instance, Topics: topics}
		a.Assigned = c.targets[p.formerID(&a)]
		spec.Members = append(spec.Members, a)
	}
	return spec
}

// topicIDs are the topics that a member reads and that exist.
func (p *consumerPlan) topicIDs(m *memberData, counts map[kafka.TopicID]int32) []kafka.TopicID {
	names := m.names
	if r := p.c.resolved[deref(m.regex)]; len(r.topics) != 0 {
		names = slices.Concat(names, r.topics)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	var ids []kafka.TopicID
	for _, name := range names {
		if id, partitions, ok := p.g.topics.Topic(name); ok {
			ids = append(ids, id)
			counts[id] = partitions
		}
	}
	return ids
}
