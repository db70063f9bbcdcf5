// SPDX-License-Identifier: Apache-2.0

package group

import "gregor/base/kafka"

// firstEpochCommit is the version of OffsetCommit that a member of the new
// protocol needs: before, it could not be told that its epoch is stale.
const firstEpochCommit = 9

// validateCommit: a member commits at its epoch, or at an older one for
// partitions that it has had since then (KIP-1251): a commit that was on its way
// while the member was moved on is as good as it was.
func (c *consumerGroup) validateCommit(who commitOf) (partitionVerdict, error) {
	if who.generation < 0 && c.empty() {
		return nil, nil
	}
	if who.transactional && who.generation == -1 && who.memberID == "" && who.instance == nil {
		return nil, nil
	}
	m := c.members[who.memberID]
	if m == nil {
		return nil, kafka.UnknownMemberID
	}
	if !who.transactional && !m.isClassic() && who.version < firstEpochCommit {
		return nil, kafka.UnsupportedVersion
	}
	switch {
	case who.generation == m.epoch:
		return nil, nil
	case who.generation > m.epoch:
		return nil, m.stale()
	}
	held := m.memberData
	return func(_ string, id kafka.TopicID, p kafka.PartitionID) error {
		since, ok := held.assigned.epochOf(id, p)
		if !ok {
			since, ok = held.revoking.epochOf(id, p)
		}
		if !ok || who.generation < since {
			return m.stale()
		}
		return nil
	}, nil
}

// stale is the error of a wrong epoch, as the member's protocol has it.
func (m *consumerMember) stale() error {
	if m.isClassic() {
		return kafka.IllegalGeneration
	}
	return kafka.StaleMemberEpoch
}

// validateFetch: who says who it is must be that.
func (c *consumerGroup) validateFetch(memberID *string, memberEpoch int32) error {
	if memberID == nil && memberEpoch < 0 {
		return nil
	}
	m := c.members[deref(memberID)]
	if m == nil {
		return kafka.UnknownMemberID
	}
	if memberEpoch != m.epoch {
		return m.stale()
	}
	return nil
}
