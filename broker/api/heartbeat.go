// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// Heartbeat, versions 0 to 4. While the coordinator loads its groups every
// member is taken for alive, as in Kafka: sessions begin anew afterwards.
func (a *API) handleHeartbeat(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.HeartbeatRequest), callerOf(c)
	return a.askNamed(c, req.Group, a.limits.timeoutMax, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.Heartbeat(nowMs, by, req, to, out)
	}, func(code kafka.Code) kmsg.Response {
		resp := kmsg.NewPtrHeartbeatResponse()
		if code != kafka.CoordinatorLoadInProgress {
			resp.ErrorCode = int16(code)
		}
		return resp
	})
}
