// SPDX-License-Identifier: Apache-2.0

package group

import (
	"bytes"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/coordinator/grouprec"
)

// groupMetadataVersion is the version that Kafka 4.4 writes.
const groupMetadataVersion = 3

// emitClassic writes a group down as it is, with these assignments; false if
// that is more than a batch holds.
func (g *Groups) emitClassic(c *classicGroup, assignments map[string][]byte, out *Out) bool {
	return g.emitGroupMetadata(c, c.saved(assignments), out)
}

func (c *classicGroup) saved(assignments map[string][]byte) *grouprec.GroupMetadataValue {
	v := grouprec.NewGroupMetadataValue()
	v.ProtocolType, v.Generation, v.Protocol, v.Leader = c.protocolType, c.generation, c.protocol, c.leader
	v.CurrentStateTimestamp = c.stateSinceMs
	for _, m := range c.members {
		v.Members = append(v.Members, grouprec.GroupMember{
			MemberID: m.id, GroupInstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost,
			RebalanceTimeout: m.rebalanceTimeoutMs, SessionTimeout: m.sessionTimeoutMs,
			Subscription: m.metadataOf(c.protocol), Assignment: assignments[m.id],
		})
	}
	return v
}

// record is the group as it is.
func (c *classicGroup) record() grouprec.Record {
	k := grouprec.GroupMetadataKey{Group: c.id}
	return grouprec.Record{Key: k.Append(nil), Value: c.saved(c.assignments()).AppendVersion(nil, groupMetadataVersion)}
}

// emitNewClassic writes down that there is a group. Nothing of its first rebalance is in it.
func (g *Groups) emitNewClassic(c *classicGroup, out *Out) {
	v := grouprec.NewGroupMetadataValue()
	v.CurrentStateTimestamp = c.stateSinceMs
	g.emitGroupMetadata(c, v, out)
}

func (g *Groups) emitGroupMetadata(c *classicGroup, v *grouprec.GroupMetadataValue, out *Out) bool {
	k := grouprec.GroupMetadataKey{Group: c.id}
	rec := grouprec.Record{Key: k.Append(nil), Value: v.AppendVersion(nil, groupMetadataVersion)}
	if !g.fits(out, sizeOf(rec)) {
		return false
	}
	out.add(rec)
	c.adopt(v)
	return true
}

// adopt takes from a snapshot what the snapshot decides: who has what.
func (c *classicGroup) adopt(v *grouprec.GroupMetadataValue) {
	for _, saved := range v.Members {
		if m := c.byID[saved.MemberID]; m != nil {
			m.assignment = bytes.Clone(saved.Assignment)
		}
	}
}

// replayClassic builds a group from its snapshot.
func (g *Groups) replayClassic(rec grouprec.Record) error {
	var k grouprec.GroupMetadataKey
	if err := k.Decode(rec.Key); err != nil {
		return fmt.Errorf("key of group metadata: %w", err)
	}
	if rec.Value == nil {
		g.removeGroup(k.Group, nil)
		return nil
	}
	v := grouprec.NewGroupMetadataValue()
	if _, err := v.Decode(rec.Value); err != nil {
		return fmt.Errorf("metadata of group %q: %w", k.Group, err)
	}
	c := newClassicGroup(k.Group, v.CurrentStateTimestamp)
	c.protocolType, c.generation, c.protocol, c.leader = v.ProtocolType, v.Generation, v.Protocol, v.Leader
	for i := range v.Members {
		if c.byID[v.Members[i].MemberID] == nil {
			c.add(memberOf(&v.Members[i], v))
		}
	}
	if len(c.members) == 0 {
		c.leader = nil
	} else {
		c.state, c.previous, c.leaderless = stateStable, stateStable, v.Leader == nil
		if c.byID[c.leaderName()] == nil {
			c.leader = &c.members[0].id // of a snapshot that names a leader who is no member
		}
	}
	c.readSubscriptions()
	g.removeGroup(k.Group, nil)
	g.groups[k.Group] = c
	return nil
}

func memberOf(saved *grouprec.GroupMember, v *grouprec.GroupMetadataValue) *classicMember {
	m := &classicMember{
		id: saved.MemberID, instance: saved.GroupInstanceID, clientID: saved.ClientID, clientHost: saved.ClientHost,
		rebalanceTimeoutMs: saved.RebalanceTimeout, sessionTimeoutMs: saved.SessionTimeout,
		protocolType: v.ProtocolType, assignment: saved.Assignment,
		protocols: []kmsg.JoinGroupRequestProtocol{{Name: deref(v.Protocol), Metadata: saved.Subscription}},
	}
	if m.rebalanceTimeoutMs == -1 {
		m.rebalanceTimeoutMs = m.sessionTimeoutMs
	}
	return m
}

// loaded starts the sessions of a group's members.
func (c *classicGroup) loaded(g *Groups, nowMs int64, out *Out) {
	for _, m := range c.members {
		g.keepAlive(m, nowMs)
	}
	// group.max.size is smaller now: the rebalance finds out who stays. And in a
	// group that came back from the new protocol it finds out who leads.
	if (len(c.members) > int(g.options.GroupMaxSize) || c.leaderless) && c.canRebalance() {
		g.prepareRebalance(c, nowMs, out)
	}
}
