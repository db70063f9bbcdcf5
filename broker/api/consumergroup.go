// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
	"gregor/coordinator/group"
)

// ConsumerGroupHeartbeat and ConsumerGroupDescribe, versions 0 and 1: groups of
// the new protocol (KIP-848). In a cluster whose group.version is 0, and at a
// broker whose group.coordinator.rebalance.protocols leaves it out, they are
// UNSUPPORTED_VERSION, which tells clients to stay with the classic one.

func (a *API) hasConsumerGroups() bool {
	return a.limits.consumerGroups && a.image().FeatureLevel(image.FeatureGroupVersion) >= 1
}

func (a *API) handleConsumerGroupDescribe(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.ConsumerGroupDescribeRequest), callerOf(c)
	w := a.coordinate(len(req.Groups))
	supported := a.hasConsumerGroups()
	for i, id := range req.Groups {
		switch {
		case !supported:
			w.parts[i].code = kafka.UnsupportedVersion
			continue
		case id == "":
			w.parts[i].code = kafka.InvalidGroupID
			continue
		}
		one := kmsg.NewPtrConsumerGroupDescribeRequest()
		one.Version, one.Groups = req.Version, req.Groups[i:i+1]
		w.ask(c, i, id, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.ConsumerGroupDescribe(nowMs, by, one, to, out)
		})
	}
	return w.end(c, a.limits.timeoutMax, func(parts []coordinated) kmsg.Response {
		resp := kmsg.NewPtrConsumerGroupDescribeResponse()
		resp.Version = req.Version
		for i := range parts {
			answer := kmsg.NewConsumerGroupDescribeResponseGroup()
			answer.Group, answer.ErrorCode = req.Groups[i], int16(parts[i].code)
			if one, ok := parts[i].resp.(*kmsg.ConsumerGroupDescribeResponse); ok {
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
