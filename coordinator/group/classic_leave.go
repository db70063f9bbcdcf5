// SPDX-License-Identifier: Apache-2.0

package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// LeaveGroup, v0-5: takes members out. Before v3 it is one, and its error is
// the response's; after, an administrator may remove static members by instance id alone.
func (g *Groups) LeaveGroup(nowMs int64, _ Caller, req *kmsg.LeaveGroupRequest, to Token, out *Out) {
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = req.Version
	defer func() { out.reply(to, resp) }()
	if req.Group == "" {
		resp.ErrorCode = int16(kafka.InvalidGroupID)
		return
	}
	c, _ := g.groups[req.Group].(*classicGroup)
	leaving := req.Members
	if req.Version < 3 {
		leaving = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	left := false
	var codes []kafka.Code
	if consumer, ok := g.groups[req.Group].(*consumerGroup); ok {
		codes = g.leaveConsumer(consumer, nowMs, leaving, out)
	}
	for i, who := range leaving {
		code := kafka.UnknownMemberID // that there is no such group is said of each member
		switch {
		case codes != nil:
			code = codes[i]
		case c != nil:
			code = g.leave(c, who, out)
			left = left || code == kafka.None
		}
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
			MemberID: who.MemberID, InstanceID: who.InstanceID, ErrorCode: int16(code),
		})
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	if left && c.state != stateEmpty {
		g.rebalance(c, nowMs, out)
	}
}

func (g *Groups) leave(c *classicGroup, who kmsg.LeaveGroupRequestMember, out *Out) kafka.Code {
	id := who.MemberID
	switch {
	case id == "":
		if who.InstanceID == nil {
			return kafka.UnknownMemberID
		}
		static, ok := c.static[*who.InstanceID]
		if !ok {
			return kafka.UnknownMemberID
		}
		id = static
	case c.pendingJoin[id] != nil:
	default:
		if code := c.validateMember(id, who.InstanceID); code != kafka.None {
			return code
		}
	}
	if m := c.byID[id]; m != nil {
		c.answerJoin(m, joinError(m.join.version, "", kafka.UnknownMemberID), out)
	}
	c.remove(g, id, out)
	return kafka.None
}
