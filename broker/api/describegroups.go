// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// groupOperations are what an ACL can allow on a group: read, delete, describe,
// and its configuration. Without an authorizer that is what everybody may do.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// DescribeGroups, versions 0 to 6: classic groups, each at its coordinator.
func (a *API) handleDescribeGroups(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.DescribeGroupsRequest), callerOf(c)
	w := a.coordinate(len(req.Groups))
	for i, id := range req.Groups {
		one := kmsg.NewPtrDescribeGroupsRequest()
		one.Version, one.Groups = req.Version, req.Groups[i:i+1]
		w.ask(c, i, id, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.DescribeGroups(nowMs, by, one, to, out)
		})
	}
	return w.end(c, a.limits.timeoutMax, func(parts []coordinated) kmsg.Response {
		resp := kmsg.NewPtrDescribeGroupsResponse()
		for i := range parts {
			answer := kmsg.NewDescribeGroupsResponseGroup()
			answer.Group, answer.ErrorCode = req.Groups[i], int16(parts[i].code)
			if one, ok := parts[i].resp.(*kmsg.DescribeGroupsResponse); ok {
				answer = one.Groups[0]
			}
			if req.IncludeAuthorizedOperations && kafka.Code(answer.ErrorCode) == kafka.None {
				answer.AuthorizedOperations = groupOperations
			}
			resp.Groups = append(resp.Groups, answer)
		}
		return resp
	})
}
