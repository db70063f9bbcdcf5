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
//
// What one event cannot hold goes on with the next Tick; what none can, since
// batches may be smaller than they were, stays.
func (g *Groups) expireOffsets(nowMs int64, out *Out) {
	for _, id := range g.groupIDs() {
		if id < g.expiredTo {
			continue
		}
		found := g.groups[id]
		bare, done := g.expireOffsetsOf(id, found, nowMs, out)
		if done && bare && found.empty() {
			done = g.emitTombstones(found, out)
		}
		if !done && len(out.Records) != 0 {
			g.expiredTo = id
			g.timers.set(&g.retention, g, nowMs)
			return
		}
	}
	g.expiredTo = ""
	g.timers.set(&g.retention, g, nowMs+g.options.OffsetsRetentionCheckIntervalMs)
}

// expireOffsetsOf reports whether the group has no offset left, and whether all
// that had expired fitted in.
func (g *Groups) expireOffsetsOf(id string, found group, nowMs int64, out *Out) (bare, done bool) {
	o := g.offsets[id]
	if o == nil {
		return true, true
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
		if !g.emitOffsetTombstone(id, tp.Topic, tp.Partition, out) {
			return false, false
		}
	}
	return g.offsets[id] == nil, true
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
