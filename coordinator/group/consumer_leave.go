// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// consumerLeave is a heartbeat of epoch -1, or of -2: a static member goes for a
// while, and its partitions wait for it as long as its session lasts.
func (g *Groups) consumerLeave(nowMs int64, req *kmsg.ConsumerGroupHeartbeatRequest, out *Out) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	p := &consumerPlan{g: g, nowMs: nowMs}
	if err := p.open(req.Group, false); err != nil {
		return nil, err
	}
	// Whatever epoch the member is at, it may leave.
	left, err := p.member(claim{id: req.MemberID, instance: req.InstanceID, classic: true})
	if err != nil {
		return nil, err
	}
	resp := HeartbeatRefused(req.Version, kafka.None)
	id := req.MemberID
	resp.MemberID, resp.MemberEpoch = &id, req.MemberEpoch
	if req.MemberEpoch == epochStaticLeave && req.InstanceID != nil {
		m := g.copyOf(left)
		m.epoch, m.revoking, m.assigned = epochStaticLeave, nil, m.assigned.resetEpochs()
		p.putCurrent(m)
		return resp, p.apply(out)
	}
	return resp, g.fence(p.c, []string{left.id}, nowMs, out)
}

// fence takes members out of a group: they left, or were not heard of in time.
// When only members of the classic protocol are left, the group goes back to it.
func (g *Groups) fence(c *consumerGroup, ids []string, nowMs int64, out *Out) error {
	if len(ids) == 0 {
		return nil
	}
	p := &consumerPlan{g: g, c: c, nowMs: nowMs}
	gone := make(map[string]bool, len(ids))
	for _, id := range ids {
		gone[id] = true
	}
	if p.mayDowngrade(gone) {
		// A group that cannot be turned back goes on without its members.
		if classic, err := p.downgrade(gone, nil); err == nil {
			if p.becomeClassic(classic, out) == nil {
				g.prepareRebalance(classic, nowMs, out)
				return nil
			}
		}
		p.records = nil
	}
	names := make(map[string]nameCount, len(c.names))
	for name, n := range c.names {
		names[name] = n
	}
	regexes := map[string]int{}
	for _, id := range ids {
		m := c.members[id]
		p.delMember(id)
		for _, name := range m.names {
			addName(names, name, -1, 0)
		}
		if regex := deref(m.regex); regex != "" {
			regexes[regex]++
		}
	}
	for _, regex := range sortedKeys(regexes) {
		if regexes[regex] != c.regexes[regex] {
			continue
		}
		p.del(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: c.id, RegularExpression: regex})
		for _, name := range c.resolved[regex].topics {
			addName(names, name, 0, -1)
		}
	}
	p.putEpoch(c.epoch+1, g.metadataHash(names))
	if len(gone) == len(c.members) {
		p.putAssignmentEpoch(c.epoch+1, 0)
	}
	return p.apply(out)
}

// fire is one of a member's timers.
func (m *consumerMember) fire(g *Groups, t *timer, nowMs int64, out *Out) {
	if t == &m.rebalance && m.epoch != m.rebalanceEpoch {
		return // it has moved on
	}
	// One member's end fits into a batch, or it would not have been taken.
	_ = g.fence(m.group, []string{m.id}, nowMs, out)
}
