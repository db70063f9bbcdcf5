// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/coordinator/group"
)

// OffsetFetch, versions 1 to 10. Since version 8 it asks for several groups:
// each is asked for at its coordinator, and the answers are put together in the
// order of the request.
func (a *API) handleOffsetFetch(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req, by := decoded.(*kmsg.OffsetFetchRequest), callerOf(c)
	if req.Version < 8 {
		return a.askOne(c, req.Group, a.limits.timeoutMax, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.OffsetFetch(nowMs, by, req, to, out)
		}, func(code kafka.Code) kmsg.Response { return fetchRefused(req, code) })
	}
	w := a.coordinate(len(req.Groups))
	for i := range req.Groups {
		one := kmsg.NewPtrOffsetFetchRequest()
		one.Version, one.RequireStable, one.Groups = req.Version, req.RequireStable, req.Groups[i:i+1]
		w.ask(c, i, req.Groups[i].Group, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.OffsetFetch(nowMs, by, one, to, out)
		})
	}
	return w.end(c, a.limits.timeoutMax, func(parts []coordinated) kmsg.Response {
		resp := kmsg.NewPtrOffsetFetchResponse()
		for i := range parts {
			if one, ok := parts[i].resp.(*kmsg.OffsetFetchResponse); ok {
				resp.Groups = append(resp.Groups, one.Groups...)
				continue
			}
			refused := kmsg.NewOffsetFetchResponseGroup()
			refused.Group, refused.ErrorCode = req.Groups[i].Group, int16(parts[i].code)
			resp.Groups = append(resp.Groups, refused)
		}
		return resp
	})
}

// fetchRefused is an error of a version that knows one group. Version 1 has no
// place for it but the partitions.
func fetchRefused(req *kmsg.OffsetFetchRequest, code kafka.Code) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.ErrorCode = int16(code)
	if req.Version >= 2 {
		return resp
	}
	for _, t := range req.Topics {
		answer := kmsg.NewOffsetFetchResponseTopic()
		answer.Topic = t.Topic
		for _, p := range t.Partitions {
			of := kmsg.NewOffsetFetchResponseTopicPartition()
			of.Partition, of.Offset, of.Metadata, of.ErrorCode = p, -1, new(string), int16(code)
			answer.Partitions = append(answer.Partitions, of)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}
