// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
)

// ElectLeaders, versions 0 to 2 (KIP-183, KIP-460). The controller elects; the
// answer leaves when this broker's own image has the new leaders, or others
// were elected since.

func (a *API) handleElectLeaders(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.ElectLeadersRequest)
	before := a.image()
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		return a.answer(c, failedElection(req, a.code(c, err), message(err)))
	}
	elected := resp.(*kmsg.ElectLeadersResponse)
	a.awaitElected(ctx, before, elected)
	return a.answer(c, elected)
}

func failedElection(req *kmsg.ElectLeadersRequest, code kafka.Code, text string) *kmsg.ElectLeadersResponse {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.ErrorCode = int16(code)
	for i := range req.Topics {
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = req.Topics[i].Topic
		for _, id := range req.Topics[i].Partitions {
			rp := kmsg.NewElectLeadersResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = id, int16(code), &text
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// awaitElected waits until the partitions that got a leader have another epoch
// than before, or are gone.
func (a *API) awaitElected(ctx context.Context, before *image.Image, resp *kmsg.ElectLeadersResponse) {
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for i := range resp.Topics {
			was, is := before.Topic(resp.Topics[i].Topic), img.Topic(resp.Topics[i].Topic)
			if was == nil || is == nil || was.ID != is.ID {
				continue
			}
			for _, p := range resp.Topics[i].Partitions {
				if p.ErrorCode != 0 {
					continue
				}
				old, now := was.Partition(kafka.PartitionID(p.Partition)), is.Partition(kafka.PartitionID(p.Partition))
				if old != nil && now != nil && now.LeaderEpoch <= old.LeaderEpoch {
					return false
				}
			}
		}
		return true
	})
}
