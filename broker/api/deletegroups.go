// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/broker/call"
	"gregor/coordinator/group"
)

// DeleteGroups, versions 0 to 3: groups without members, each at its
// coordinator. One that is named twice is answered once.
func (a *API) handleDeleteGroups(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.DeleteGroupsRequest), callerOf(c)
	named := make(map[string]struct{}, len(req.Groups))
	groups := req.Groups[:0]
	for _, id := range req.Groups {
		if _, again := named[id]; !again {
			named[id] = struct{}{}
			groups = append(groups, id)
		}
	}
	w := a.coordinate(len(groups))
	for i, id := range groups {
		one := kmsg.NewPtrDeleteGroupsRequest()
		one.Version, one.Groups = req.Version, groups[i:i+1]
		w.ask(c, i, id, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.DeleteGroups(nowMs, by, one, to, out)
		})
	}
	return w.end(c, a.limits.timeoutMax, func(parts []coordinated) kmsg.Response {
		resp := kmsg.NewPtrDeleteGroupsResponse()
		for i := range parts {
			if one, ok := parts[i].resp.(*kmsg.DeleteGroupsResponse); ok {
				resp.Groups = append(resp.Groups, one.Groups...)
				continue
			}
			refused := kmsg.NewDeleteGroupsResponseGroup()
			refused.Group, refused.ErrorCode = groups[i], int16(parts[i].code)
			resp.Groups = append(resp.Groups, refused)
		}
		return resp
	})
}
