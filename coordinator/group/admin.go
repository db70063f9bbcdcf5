// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// ListGroups, v0-5: the groups of this coordinator partition, by id. Filters are
// by state (v4) and by type (v5), in any case; Kafka passes over blanks around a state.
func (g *Groups) ListGroups(_ int64, _ Caller, req *kmsg.ListGroupsRequest, to Token, out *Out) {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = req.Version
	wanted := func(filter []string, value string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
	}
	states := make([]string, 0, len(req.StatesFilter))
	for _, state := range req.StatesFilter {
		states = append(states, strings.TrimFunc(state, func(r rune) bool { return r <= ' ' }))
	}
	for _, id := range g.groupIDs() {
		found := g.groups[id]
		if wanted(states, found.stateName()) && wanted(req.TypesFilter, string(found.kind())) {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
				Group: id, ProtocolType: found.protocolTypeName(), GroupState: found.stateName(), GroupType: string(found.kind()),
			})
		}
	}
	out.reply(to, resp)
}

// DescribeGroups, v0-6: classic groups. A group that is not there is Dead, and
// since v6 GROUP_ID_NOT_FOUND (KIP-1043).
func (g *Groups) DescribeGroups(_ int64, _ Caller, req *kmsg.DescribeGroupsRequest, to Token, out *Out) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = req.Version
	for _, id := range req.Groups {
		resp.Groups = append(resp.Groups, g.describeClassic(id, req.Version))
	}
	out.reply(to, resp)
}

func (g *Groups) describeClassic(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	answer := kmsg.NewDescribeGroupsResponseGroup()
	answer.Group = id
	c, ok := g.groups[id].(*classicGroup)
	if !ok {
		answer.State = "Dead"
		if version >= 6 {
			message := fmt.Sprintf("Group %s not found.", id)
			if g.groups[id] != nil {
				message = fmt.Sprintf("Group %s is not a classic group.", id)
			}
			message = kafka.Message(message)
			answer.ErrorCode, answer.ErrorMessage = int16(kafka.GroupIDNotFound), &message
		}
		return answer
	}
	answer.State, answer.ProtocolType = c.stateName(), c.protocolType
	if c.state == stateStable {
		answer.Protocol = deref(c.protocol)
	}
	for _, m := range c.members {
		member := kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.id, InstanceID: m.instance, ClientID: m.clientID, ClientHost: m.clientHost, MemberAssignment: m.assignment,
		}
		if c.state == stateStable {
			member.ProtocolMetadata = m.metadataOf(c.protocol)
		}
		answer.Members = append(answer.Members, member)
	}
	return answer
}

// DeleteGroups, v0-3: groups without members, with their offsets. A group with
// more offsets than one event can delete loses as many as that, and is answered
// with an error that makes the client ask again.
func (g *Groups) DeleteGroups(_ int64, _ Caller, req *kmsg.DeleteGroupsRequest, to Token, out *Out) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = req.Version
	answered := make(map[string]struct{}, len(req.Groups))
	for _, id := range req.Groups {
		if _, twice := answered[id]; twice {
			continue
		}
		answered[id] = struct{}{}
		resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: id, ErrorCode: int16(g.deleteGroup(id, out))})
	}
	out.reply(to, resp)
}

func (g *Groups) deleteGroup(id string, out *Out) kafka.Code {
	found := g.groups[id]
	if found == nil {
		return kafka.GroupIDNotFound
	}
	if !found.empty() {
		return kafka.NonEmptyGroup
	}
	all := func(string, kafka.PartitionID, committed) bool { return true }
	for _, tp := range g.offsets[id].partitionsOf(all) {
		if !g.emitOffsetTombstone(id, tp.Topic, tp.Partition, out) {
			return kafka.CoordinatorLoadInProgress
		}
	}
	if !g.emitTombstones(found, out) {
		return kafka.CoordinatorLoadInProgress
	}
	return kafka.None
}

// emitTombstones writes down that a group is no more; false if the event has no
// room for that.
func (g *Groups) emitTombstones(found group, out *Out) bool {
	id, records := found.tombstones()
	bytes := 0
	for _, rec := range records {
		bytes += sizeOf(rec)
	}
	if !g.fits(out, bytes) {
		return false
	}
	for _, rec := range records {
		out.add(rec)
	}
	g.removeGroup(id, out)
	return true
}

func (c *classicGroup) tombstones() (string, []grouprec.Record) {
	return c.id, []grouprec.Record{grouprec.Tombstone(&grouprec.GroupMetadataKey{Group: c.id})}
}
