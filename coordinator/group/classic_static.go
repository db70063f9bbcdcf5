// SPDX-License-Identifier: Apache-2.0

package group

import "gregor/base/kafka"

// replaceStatic gives a group.instance.id to a new member id: the process has
// restarted, or there are two with one name. Who held it before is fenced. In a
// stable group nothing is rebalanced as long as the protocol stays (KIP-345);
// the new member takes over the old one's assignment.
func (j *join) replaceStatic(oldID, newID string) {
	c := j.c
	leader := c.leaderName()
	old := c.byID[oldID]
	c.answerJoin(old, joinError(old.join.version, oldID, kafka.FencedInstanceID), j.out)
	c.answerSync(old, syncError(old.sync.version, kafka.FencedInstanceID), j.out)
	m := &classicMember{
		group: c, id: newID, instance: old.instance, clientID: old.clientID, clientHost: old.clientHost,
		rebalanceTimeoutMs: old.rebalanceTimeoutMs, sessionTimeoutMs: old.sessionTimeoutMs,
		protocolType: old.protocolType, protocols: old.protocols, assignment: old.assignment,
	}
	c.swap(j.g, old, m)
	j.g.keepAlive(m, j.nowMs)
	c.update(m, j.req, j.to, j.out)
	switch c.state {
	case stateStable:
		if c.selectProtocol() != deref(c.protocol) || !j.g.emitClassic(c, c.assignments(), j.out) {
			j.g.rebalance(c, j.nowMs, j.out)
			return
		}
		c.readSubscriptions()
		resp := c.joinReply(m, j.req.Version)
		if j.req.Version >= 9 {
			resp.SkipAssignment = c.isLeader(newID)
		} else {
			// An older client that heard it leads would assign, and nobody would ask for the
			// assignment: it is told that its former self leads.
			resp.LeaderID, resp.Members = leader, nil
		}
		c.answerJoin(m, resp, j.out)
	case stateCompletingRebalance:
		j.g.prepareRebalance(c, j.nowMs, j.out)
	default:
		j.g.completeJoinIfAllThere(c, j.nowMs, j.out)
	}
}

// swap puts a member in another one's place.
func (c *classicGroup) swap(g *Groups, old, m *classicMember) {
	g.timers.cancel(&old.session)
	delete(c.byID, old.id)
	c.byID[m.id] = m
	for i := range c.members {
		if c.members[i] == old {
			c.members[i] = m
		}
	}
	if c.isLeader(old.id) {
		c.leader = &m.id
	}
	c.static[*m.instance] = m.id
	if _, ok := c.pendingSync[old.id]; ok {
		delete(c.pendingSync, old.id)
		c.pendingSync[m.id] = struct{}{}
	}
}

func (c *classicGroup) assignments() map[string][]byte {
	all := make(map[string][]byte, len(c.members))
	for _, m := range c.members {
		all[m.id] = m.assignment
	}
	return all
}
