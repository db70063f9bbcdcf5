// SPDX-License-Identifier: Apache-2.0

package group

import "gregor/base/kafka"

// expireOffsets forgets offsets that nobody has used for
// offsets.retention.minutes, and groups that have nothing left (KIP-211).
//
//	a group without members    from the time it became empty
//	a group of consumers       of topics it reads no more, from the commit
//	offsets without a group    from the commit
//
// A group that rebalances loses nothing, nor does a partition with an offset of
// a transaction that goes on.
func (g *Groups) expireOffsets(nowMs int64, out *Out) {
	for _, id := range g.groupIDs() {
		found := g.groups[id]
		if g.expireOffsetsOf(id, found, nowMs, out) && found.empty() {
			found.emitTombstones(g, out)
			g.removeGroup(id, out)
		}
	}
	out.Divisible = true
}

// expireOffsetsOf reports whether the group has no offset left.
func (g *Groups) expireOffsetsOf(id string, found group, nowMs int64, out *Out) bool {
	o := g.offsets[id]
	if o == nil {
		return true
	}
	expired := o.partitionsOf(func(topic string, p kafka.PartitionID, c committed) bool {
		if _, ok := o.committed.get(topic, p); !ok || o.isUnstable(topic, p) || found.subscribes(topic) {
			return false
		}
		from, may := found.expiresFrom(c)
		if !may {
			return false
		}
		if c.expireMs != -1 {
			return nowMs >= c.expireMs
		}
		return nowMs-from >= g.options.OffsetsRetentionMs
	})
	for _, tp := range expired {
		g.emitOffsetTombstone(id, tp.Topic, tp.Partition, out)
	}
	return g.offsets[id] == nil
}

func (c *classicGroup) expiresFrom(o committed) (int64, bool) {
	switch {
	case c.protocolType == "":
		return o.commitMs, true
	case c.state == stateEmpty:
		if c.stateSinceMs == -1 {
			return o.commitMs, true
		}
		return c.stateSinceMs, true
	case c.state == stateStable && c.usesConsumerProtocol() && c.subscriptionKnown:
		return o.commitMs, true
	}
	return 0, false
}
