// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// JoinGroup, versions 0 to 9, and SyncGroup, versions 0 to 5: a member waits in
// them until the group's other members have come, and until its leader has
// assigned the partitions.

func (a *API) handleJoinGroup(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.JoinGroupRequest), callerOf(c)
	return a.askNamed(c, req.Group, rebalanceWaitMax, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.JoinGroup(nowMs, by, req, to, out)
	}, func(code kafka.Code) kmsg.Response {
		if code == kafka.InvalidGroupID {
			return group.JoinRefused(req.Version, req.MemberID, code)
		}
		return group.JoinRefused(req.Version, "", code) // the member is only the coordinator's to name
	})
}

func (a *API) handleSyncGroup(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.SyncGroupRequest), callerOf(c)
	return a.askOne(c, req.Group, rebalanceWaitMax, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.SyncGroup(nowMs, by, req, to, out)
	}, func(code kafka.Code) kmsg.Response { return group.SyncRefused(req.Version, code) })
}
