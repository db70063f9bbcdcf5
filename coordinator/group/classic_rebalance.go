// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"

	"gregor/base/kafka"
)

// rebalance begins one, or finds out whether the one under way is complete.
func (g *Groups) rebalance(c *classicGroup, nowMs int64, out *Out) {
	if c.canRebalance() {
		g.prepareRebalance(c, nowMs, out)
	} else {
		g.completeJoinIfAllThere(c, nowMs, out)
	}
}

// prepareRebalance begins to collect members. The first rebalance of an empty
// group waits group.initial.rebalance.delay.ms for more to come; another one
// waits for those that are known, up to the rebalance timeout.
func (g *Groups) prepareRebalance(c *classicGroup, nowMs int64, out *Out) {
	if c.state == stateCompletingRebalance {
		for _, m := range c.members {
			m.assignment = nil
			if c.answerSync(m, syncError(m.sync.version, kafka.RebalanceInProgress), out) {
				g.keepAlive(m, nowMs)
			}
		}
	}
	g.endSyncPhase(c)
	first := c.state == stateEmpty
	c.transition(statePreparingRebalance, nowMs)
	if first {
		delay := g.options.GroupInitialRebalanceDelayMs
		c.initial = &initialRebalance{delayMs: delay, remainingMs: max(c.rebalanceTimeoutMs()-delay, 0)}
		g.timers.set(&c.joinTimer, c, nowMs+int64(delay))
		return
	}
	if c.allJoined() {
		g.completeJoin(c, nowMs, out)
		return
	}
	g.setJoinTimer(c, nowMs+int64(c.rebalanceTimeoutMs()))
}

// setJoinTimer starts the join timer for a time that may be earlier or later
// than the one it had.
func (g *Groups) setJoinTimer(c *classicGroup, dueMs int64) {
	g.timers.cancel(&c.joinTimer)
	g.timers.set(&c.joinTimer, c, dueMs)
}

// completeJoinIfAllThere ends the collecting early. A first rebalance always
// takes its delay.
func (g *Groups) completeJoinIfAllThere(c *classicGroup, nowMs int64, out *Out) {
	if c.state == statePreparingRebalance && c.previous != stateEmpty && c.allJoined() {
		g.completeJoin(c, nowMs, out)
	}
}

// fire is one of the two timers of a group.
func (c *classicGroup) fire(g *Groups, t *timer, nowMs int64, out *Out) {
	if t == &c.syncTimer {
		g.expireSync(c, nowMs, out)
		return
	}
	if in := c.initial; in != nil && c.newMemberAdded && in.remainingMs != 0 {
		c.newMemberAdded = false
		delay := min(g.options.GroupInitialRebalanceDelayMs, in.remainingMs)
		c.initial = &initialRebalance{delayMs: delay, remainingMs: max(in.remainingMs-in.delayMs, 0)}
		g.timers.set(&c.joinTimer, c, nowMs+int64(delay))
		return
	}
	g.completeJoin(c, nowMs, out)
}

// completeJoin begins the generation with those who are there. Dynamic members
// that did not come are out; static ones keep their place until their session
// ends or they miss the SyncGroup.
func (g *Groups) completeJoin(c *classicGroup, nowMs int64, out *Out) {
	g.timers.cancel(&c.joinTimer)
	c.initial = nil // newMemberAdded stays, as in Kafka: who came too late to prolong this delay prolongs the next one
	for _, id := range c.notRejoined() {
		c.remove(g, id, out)
	}
	if len(c.members) != 0 && !c.electJoinedLeader() {
		g.setJoinTimer(c, nowMs+int64(c.rebalanceTimeoutMs()))
		return
	}
	c.beginGeneration(nowMs)
	if len(c.members) == 0 {
		g.emitClassic(c, nil, out)
		return
	}
	for _, m := range c.members {
		c.answerJoin(m, c.joinReply(m, m.join.version), out)
		g.keepAlive(m, nowMs)
		m.isNew = false
		c.pendingSync[m.id] = struct{}{}
	}
	c.syncGeneration = c.generation
	g.timers.cancel(&c.syncTimer)
	g.timers.set(&c.syncTimer, c, nowMs+int64(c.rebalanceTimeoutMs()))
}

func (c *classicGroup) notRejoined() []string {
	var ids []string
	for _, m := range c.members {
		if !m.join.on && m.instance == nil {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// electJoinedLeader keeps the leader if it is there and takes the first member
// that is otherwise.
func (c *classicGroup) electJoinedLeader() bool {
	if c.leader != nil && c.byID[*c.leader].join.on {
		return true
	}
	for _, m := range c.members {
		if m.join.on {
			c.leader = &m.id
			return true
		}
	}
	return false
}

func (c *classicGroup) beginGeneration(nowMs int64) {
	c.generation++
	if len(c.members) == 0 {
		c.protocol = nil
		c.readSubscriptions()
		c.transition(stateEmpty, nowMs)
	} else {
		protocol := c.selectProtocol()
		c.protocol = &protocol
		c.readSubscriptions()
		c.transition(stateCompletingRebalance, nowMs)
	}
	clear(c.pendingSync)
}

// expireSync takes out members that got a generation and never asked for their
// assignment: they hold the others up.
func (g *Groups) expireSync(c *classicGroup, nowMs int64, out *Out) {
	if c.generation != c.syncGeneration || c.state != stateCompletingRebalance && c.state != stateStable || len(c.pendingSync) == 0 {
		return
	}
	for _, id := range sortedKeys(maps.Clone(c.pendingSync)) {
		c.remove(g, id, out)
	}
	g.prepareRebalance(c, nowMs, out)
}

func (g *Groups) endSyncPhase(c *classicGroup) {
	clear(c.pendingSync)
	g.timers.cancel(&c.syncTimer)
}
