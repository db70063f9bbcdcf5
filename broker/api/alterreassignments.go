// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
)

// AlterPartitionReassignments, versions 0 and 1 (KIP-455, KIP-860), which kmsg
// calls AlterPartitionAssignments. The controller decides; the answer leaves
// when this broker's own image has the replicas, or the partition has changed
// since.

func (a *API) handleAlterPartitionReassignments(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.AlterPartitionAssignmentsRequest)
	before := a.image()
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		return a.answer(c, failedReassignment(req, a.code(c, err), message(err)))
	}
	altered := resp.(*kmsg.AlterPartitionAssignmentsResponse)
	a.awaitReassigned(ctx, before, req, altered)
	return a.answer(c, altered)
}

func failedReassignment(req *kmsg.AlterPartitionAssignmentsRequest, code kafka.Code, text string) *kmsg.AlterPartitionAssignmentsResponse {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.ErrorCode, resp.ErrorMessage = int16(code), &text
	for i := range req.Topics {
		rt := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		rt.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			rp := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = req.Topics[i].Partitions[j].Partition, int16(code), &text
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// awaitReassigned waits until the partitions that were reassigned are where the
// request wants them, have another epoch than before, or are gone. The response
// has them in the order of the request.
func (a *API) awaitReassigned(ctx context.Context, before *image.Image, req *kmsg.AlterPartitionAssignmentsRequest, resp *kmsg.AlterPartitionAssignmentsResponse) {
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for i := range resp.Topics {
			was, is := before.Topic(resp.Topics[i].Topic), img.Topic(resp.Topics[i].Topic)
			if was == nil || is == nil || was.ID != is.ID {
				continue
			}
			for j, p := range resp.Topics[i].Partitions {
				if p.ErrorCode != 0 {
					continue
				}
				old, now := was.Partition(kafka.PartitionID(p.Partition)), is.Partition(kafka.PartitionID(p.Partition))
				if old != nil && now != nil && now.PartitionEpoch <= old.PartitionEpoch && !placed(now, req.Topics[i].Partitions[j].Replicas) {
					return false
				}
			}
		}
		return true
	})
}

// placed reports whether the partition has these replicas, for good; null asks
// for those that it had.
func placed(p *image.Partition, replicas []int32) bool {
	return !p.Reassigning() && (replicas == nil || slices.EqualFunc(p.Replicas, replicas, func(a kafka.NodeID, b int32) bool { return int32(a) == b }))
}
