// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
)

// listReassignments: ListPartitionReassignments v0. Partitions that are not
// reassigned, or not there, are left out, and topics without any too.
func listReassignments(img *image.Image, req *kmsg.ListPartitionReassignmentsRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	add := func(rt *kmsg.ListPartitionReassignmentsResponseTopic, id kafka.PartitionID, p *image.Partition) {
		if p == nil || !p.Reassigning() {
			return
		}
		rp := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		rp.Partition, rp.Replicas = int32(id), wireIDs(p.Replicas)
		rp.AddingReplicas, rp.RemovingReplicas = wireIDs(p.AddingReplicas()), wireIDs(p.RemovingReplicas())
		rt.Partitions = append(rt.Partitions, rp)
	}
	finish := func(rt *kmsg.ListPartitionReassignmentsResponseTopic) {
		if len(rt.Partitions) > 0 {
			resp.Topics = append(resp.Topics, *rt)
		}
	}
	if req.Topics == nil {
		for t := range img.Topics() {
			rt := kmsg.NewListPartitionReassignmentsResponseTopic()
			rt.Topic = t.Name
			for id, p := range t.Partitions() {
				add(&rt, id, p)
			}
			finish(&rt)
		}
	}
	for i := range req.Topics {
		t := img.Topic(req.Topics[i].Topic)
		if t == nil {
			continue
		}
		rt := kmsg.NewListPartitionReassignmentsResponseTopic()
		rt.Topic = t.Name
		for _, id := range req.Topics[i].Partitions {
			add(&rt, kafka.PartitionID(id), t.Partition(kafka.PartitionID(id)))
		}
		finish(&rt)
	}
	return Outcome{Response: resp}
}

func wireIDs(ids []kafka.NodeID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
