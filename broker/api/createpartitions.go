// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
)

// CreatePartitions, versions 0 to 3. As with CreateTopics the answer leaves
// when this broker's own image holds the new partitions.

func (a *API) handleCreatePartitions(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.CreatePartitionsRequest)
	before := a.image()
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		return a.answer(c, failedGrowth(req, a.code(c, err), message(err)))
	}
	grown := resp.(*kmsg.CreatePartitionsResponse)
	if !req.ValidateOnly {
		a.awaitGrown(ctx, before, req, grown)
	}
	return a.answer(c, grown)
}

func failedGrowth(req *kmsg.CreatePartitionsRequest, code kafka.Code, text string) *kmsg.CreatePartitionsResponse {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for i := range req.Topics {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic, t.ErrorCode, t.ErrorMessage = req.Topics[i].Topic, int16(code), &text
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// awaitGrown waits until the image holds the partitions that were created, or
// a topic is gone again.
func (a *API) awaitGrown(ctx context.Context, before *image.Image, req *kmsg.CreatePartitionsRequest, resp *kmsg.CreatePartitionsResponse) {
	counts := make(map[string]int, len(resp.Topics))
	for i := range resp.Topics {
		if resp.Topics[i].ErrorCode == 0 {
			counts[resp.Topics[i].Topic] = 0
		}
	}
	for i := range req.Topics {
		if _, grown := counts[req.Topics[i].Topic]; grown {
			counts[req.Topics[i].Topic] = int(req.Topics[i].Count)
		}
	}
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for name, count := range counts {
			t := img.Topic(name)
			gone := t == nil && before.Topic(name) != nil
			if !gone && (t == nil || t.PartitionCount() < count) {
				return false
			}
		}
		return true
	})
}
