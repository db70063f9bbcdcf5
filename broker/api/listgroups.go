// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// ListGroups, versions 0 to 5: the groups that this broker coordinates, by id.
// A client asks every broker. While a coordinator loads the list is not whole,
// and there is none; one that is no more is another broker's to list.
func (a *API) handleListGroups(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.ListGroupsRequest), callerOf(c)
	active, loading := a.d.Groups.Active()
	if loading {
		return a.answer(c, listRefused(kafka.CoordinatorLoadInProgress))
	}
	w := a.coordinate(len(active))
	for i, p := range active {
		w.askPartition(c, i, p, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.ListGroups(nowMs, by, req, to, out)
		})
	}
	return w.end(c, a.limits.timeoutMax, func(parts []coordinated) kmsg.Response {
		resp := kmsg.NewPtrListGroupsResponse()
		for i := range parts {
			if one, ok := parts[i].resp.(*kmsg.ListGroupsResponse); ok {
				resp.Groups = append(resp.Groups, one.Groups...)
			} else if code := parts[i].code; code != kafka.NotCoordinator {
				return listRefused(code)
			}
		}
		slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
		return resp
	})
}

func listRefused(code kafka.Code) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.ErrorCode = int16(code)
	return resp
}
