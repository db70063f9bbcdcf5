// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// election says who may become leader of a partition.
type election int8

const (
	// electOnline keeps the leader if it can stay, else takes the first of the
	// ISR, or of the ELR if that is empty.
	electOnline election = iota
	// electPreferred is electOnline that prefers the first replica.
	electPreferred
	// electUnclean is electOnline that ends with any live replica.
	electUnclean
)

// change plans what becomes of one partition when its ISR, its replicas or the
// liveness of brokers change: completion of a reassignment, eligible leader
// replicas (KIP-966), election, and the epochs that follow. It gives the same
// records as Kafka's controller for the same state.
//
// Invariant: a leader is in the new ISR; without ELR the last ISR is kept when
// nobody can lead, so that only one of it leads next.
type change struct {
	part  *image.Partition
	topic kafka.TopicID
	id    kafka.PartitionID
	level int16 // of metadata.version

	isr, replicas, removing, adding, elr []kafka.NodeID
	directories                          []kafka.DirectoryID
	recovery                             int8
	how                                  election
	minISR                               int
	elrEnabled                           bool
	acceptable                           func(kafka.NodeID) bool
	unclean                              kafka.NodeID // lost its disk cache; NoNode if none
}

func (v view) newChange(t *image.Topic, id kafka.PartitionID, p *image.Partition) change {
	c := change{
		part: p, topic: t.ID, id: id, level: v.img.MetadataVersion(),
		isr: p.ISR, replicas: p.Replicas, removing: p.RemovingReplicas(), adding: p.AddingReplicas(), elr: p.ELR(),
		directories: p.Directories, recovery: p.LeaderRecoveryState,
		elrEnabled: v.elrEnabled(), unclean: kafka.NoNode,
		acceptable: func(n kafka.NodeID) bool { return v.mayLead(p, n) },
	}
	if c.elrEnabled {
		c.minISR = v.minISR(t)
	}
	return c
}

// mayLead reports whether the broker is active and has the replica's directory.
func (v view) mayLead(p *image.Partition, n kafka.NodeID) bool {
	b := v.img.Broker(n)
	return b != nil && b.Active() && b.HasDirectory(p.DirectoryOf(n))
}

// record gives the change, nil if there is none.
func (c *change) record() *metarec.PartitionChange {
	rec := metarec.NewPartitionChange()
	rec.TopicID, rec.PartitionID = c.topic, c.id
	c.completeReassignment()
	c.planELR()
	c.elect(rec)
	if rec.Leader == image.NoLeaderChange && !containsAll(c.replicas, c.part.Replicas) {
		rec.Leader = c.part.Leader // a removed replica must not be able to count as in sync
	}
	c.putELR(rec)
	if rec.ISR == nil && (len(c.isr) != 0 || c.elrEnabled) && !slices.Equal(c.isr, c.part.ISR) {
		rec.ISR = nonNil(c.isr)
	}
	if c.level < metadataVersion36IV0 && rec.Leader == image.NoLeaderChange && rec.ISR != nil && !containsAll(rec.ISR, c.part.ISR) {
		rec.Leader = c.part.Leader // brokers of that time rely on a new epoch (KAFKA-15021)
	}
	c.putLastKnownLeader(rec)
	c.putAssignment(rec)
	if c.recovery != c.part.LeaderRecoveryState {
		rec.LeaderRecoveryState = c.recovery
	}
	if c.isNothing(rec) {
		return nil
	}
	return rec
}

// completeReassignment ends a reassignment when all that it adds is in sync.
func (c *change) completeReassignment() {
	if len(c.removing) == 0 && len(c.adding) == 0 {
		return
	}
	isr, replicas := without(c.isr, c.removing...), without(c.replicas, c.removing...)
	if len(isr) == 0 || len(replicas) == 0 || !containsAll(isr, c.adding) {
		return
	}
	if len(c.adding) < len(c.removing) && !containsAll(isr, replicas) {
		return // with fewer replicas than before, each one counts
	}
	c.isr, c.removing, c.adding = isr, nil, nil
	c.setReplicas(replicas)
}

// setReplicas gives the partition other replicas; those that stay keep their
// directories.
func (c *change) setReplicas(replicas []kafka.NodeID) {
	c.replicas, c.directories = replicas, make([]kafka.DirectoryID, len(replicas))
	for i, r := range replicas {
		c.directories[i] = c.part.DirectoryOf(r)
	}
}

// planELR moves who leaves an ISR that falls below min.insync.replicas into the
// ELR: the high watermark does not move from there on, so they hold all of it.
func (c *change) planELR() {
	switch {
	case !c.elrEnabled:
	case len(c.isr) >= c.minISR:
		c.elr = nil
	default:
		candidates := slices.Sorted(slices.Values(slices.Concat(c.elr, c.part.ISR)))
		c.elr = without(without(slices.Compact(candidates), c.isr...), c.unclean)
	}
}

func (c *change) elect(rec *metarec.PartitionChange) {
	leader, unclean := c.leader()
	if leader == c.part.Leader {
		return
	}
	rec.Leader = leader
	if leader != kafka.NoNode && slices.Contains(c.elr, leader) {
		c.isr, c.elr = []kafka.NodeID{leader}, without(c.elr, leader)
	}
	if unclean {
		rec.ISR = []kafka.NodeID{leader}
		c.isr = rec.ISR
		if c.part.LeaderRecoveryState != image.Recovering {
			c.recovery = image.Recovering
		}
	}
}

func (c *change) leader() (id kafka.NodeID, unclean bool) {
	valid := func(n kafka.NodeID) bool {
		in := slices.Contains(c.isr, n) || len(c.isr) == 0 && slices.Contains(c.elr, n)
		return in && c.acceptable(n)
	}
	if c.how == electPreferred && valid(c.replicas[0]) {
		return c.replicas[0], false
	}
	if valid(c.part.Leader) {
		return c.part.Leader, false
	}
	if i := slices.IndexFunc(c.replicas, valid); i >= 0 {
		return c.replicas[i], false
	}
	if last := c.part.LastKnownELR(); c.elrEnabled && len(c.isr) == 0 && len(c.elr) == 0 && len(last) == 1 &&
		slices.Contains(c.replicas, last[0]) && c.acceptable(last[0]) {
		return last[0], true
	}
	if c.how == electUnclean {
		if i := slices.IndexFunc(c.replicas, c.acceptable); i >= 0 {
			return c.replicas[i], true
		}
	}
	return kafka.NoNode, false
}

func (c *change) putELR(rec *metarec.PartitionChange) {
	if rec.ISR != nil || !c.elrEnabled { // an unclean election voids it
		c.elr = nil
	}
	if !slices.Equal(c.elr, c.part.ELR()) {
		rec.ELR = nonNil(c.elr)
	}
}

// putLastKnownLeader keeps who led when nobody can: once it is back it may lead
// again, if ISR and ELR are empty by then.
func (c *change) putLastKnownLeader(rec *metarec.PartitionChange) {
	last := c.part.LastKnownELR()
	switch {
	case !c.elrEnabled:
		if len(last) != 0 {
			rec.LastKnownELR = []kafka.NodeID{}
		}
	case rec.Leader == kafka.NoNode && c.part.Leader != kafka.NoNode && !slices.Equal(last, []kafka.NodeID{c.part.Leader}):
		rec.LastKnownELR = []kafka.NodeID{c.part.Leader}
	case len(last) != 0 && (rec.Leader >= 0 || c.part.Leader != kafka.NoNode && rec.Leader != kafka.NoNode):
		rec.LastKnownELR = []kafka.NodeID{}
	}
}

func (c *change) putAssignment(rec *metarec.PartitionChange) {
	if c.level >= metadataVersion37IV2 && !slices.Equal(c.directories, c.part.Directories) {
		rec.Directories = c.directories
	}
	if !slices.Equal(c.replicas, c.part.Replicas) {
		rec.Replicas = c.replicas
	}
	if !slices.Equal(c.removing, c.part.RemovingReplicas()) {
		rec.RemovingReplicas = nonNil(c.removing)
	}
	if !slices.Equal(c.adding, c.part.AddingReplicas()) {
		rec.AddingReplicas = nonNil(c.adding)
	}
}

func (c *change) isNothing(rec *metarec.PartitionChange) bool {
	return rec.ISR == nil && rec.ELR == nil && rec.LastKnownELR == nil && rec.Leader == image.NoLeaderChange &&
		rec.Replicas == nil && rec.RemovingReplicas == nil && rec.AddingReplicas == nil &&
		rec.LeaderRecoveryState == -1 && rec.Directories == nil
}

func without(ids []kafka.NodeID, drop ...kafka.NodeID) []kafka.NodeID {
	out := make([]kafka.NodeID, 0, len(ids))
	for _, id := range ids {
		if !slices.Contains(drop, id) {
			out = append(out, id)
		}
	}
	return out
}

func containsAll(set, of []kafka.NodeID) bool {
	for _, id := range of {
		if !slices.Contains(set, id) {
			return false
		}
	}
	return true
}

func nonNil(ids []kafka.NodeID) []kafka.NodeID {
	if ids == nil {
		return []kafka.NodeID{}
	}
	return ids
}
