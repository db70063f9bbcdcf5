// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// LeaveGroup, versions 0 to 5: members leave, or are removed.
func (a *API) handleLeaveGroup(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.LeaveGroupRequest), callerOf(c)
	return a.askNamed(c, req.Group, a.limits.timeoutMax, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.LeaveGroup(nowMs, by, req, to, out)
	}, func(code kafka.Code) kmsg.Response {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = int16(code)
		return resp
	})
}
