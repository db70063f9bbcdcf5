// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// DeleteRecords, versions 0 to 2: the leader moves the log start, and answers
// with the lowest log start of all replicas. A partition that is named twice is
// answered once, and its last offset counts. With one replica there is nobody
// to wait for, so the timeout never passes.

func (a *API) handleDeleteRecords(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DeleteRecordsRequest)
	var left patience
	resp := kmsg.NewPtrDeleteRecordsResponse()
	topics := make(map[string]int)
	for _, t := range mergeDeletions(req) {
		at, seen := topics[t.topic]
		if !seen {
			at = len(resp.Topics)
			topics[t.topic] = at
			rt := kmsg.NewDeleteRecordsResponseTopic()
			rt.Topic = t.topic
			resp.Topics = append(resp.Topics, rt)
		}
		p := kmsg.NewDeleteRecordsResponseTopicPartition()
		p.Partition = t.partition
		low, err := a.deleteRecords(t, &left)
		p.LowWatermark, p.ErrorCode = int64(low), int16(a.code(c, err))
		resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p)
	}
	return a.answer(c, resp)
}

// deletion asks for one partition.
type deletion struct {
	topic     string
	partition int32
	below     kafka.Offset
}

// mergeDeletions lists what is asked for, each partition once.
func mergeDeletions(req *kmsg.DeleteRecordsRequest) []deletion {
	type place struct {
		topic     string
		partition int32
	}
	var list []deletion
	seen := make(map[place]int)
	for i := range req.Topics {
		t := &req.Topics[i]
		for _, p := range t.Partitions {
			key := place{t.Topic, p.Partition}
			at, again := seen[key]
			if !again {
				at = len(list)
				seen[key] = at
				list = append(list, deletion{topic: t.Topic, partition: p.Partition})
			}
			list[at].below = kafka.Offset(p.Offset)
		}
	}
	return list
}

func (a *API) deleteRecords(d deletion, left *patience) (lowWatermark kafka.Offset, err error) {
	t := a.image().Topic(d.topic)
	if t == nil || t.Partition(kafka.PartitionID(d.partition)) == nil {
		return kafka.NoOffset, kafka.UnknownTopicOrPartition
	}
	if isInternal(d.topic) {
		return kafka.NoOffset, fmt.Errorf("records of the internal topic %s may not be deleted: %w", d.topic, kafka.InvalidTopicException)
	}
	p, err := a.partition(t, kafka.PartitionID(d.partition), left)
	if err != nil {
		return kafka.NoOffset, err
	}
	return p.DeleteRecords(d.below)
}
