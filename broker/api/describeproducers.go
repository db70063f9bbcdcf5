// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/controller"
	"gregor/cluster/image"
)

// DescribeProducers, version 0 (KIP-664): the idempotent and transactional
// producers that a partition's log remembers, and their open transactions. Any
// replica answers, not only the leader.

func (a *API) handleDescribeProducers(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeProducersRequest)
	var left patience
	resp := kmsg.NewPtrDescribeProducersResponse()
	for i := range req.Topics {
		r := kmsg.NewDescribeProducersResponseTopic()
		r.Topic = req.Topics[i].Topic
		t := a.image().Topic(r.Topic)
		for _, id := range req.Topics[i].Partitions {
			r.Partitions = append(r.Partitions, a.describeProducers(c, r.Topic, t, id, &left))
		}
		resp.Topics = append(resp.Topics, r)
	}
	return a.answer(c, resp)
}

func (a *API) describeProducers(c *call.Call, name string, t *image.Topic, id int32, left *patience) kmsg.DescribeProducersResponseTopicPartition {
	r := kmsg.NewDescribeProducersResponseTopicPartition()
	r.Partition = id
	if text := controller.InvalidTopicName(name); text != "" {
		text = kafka.Message("Topic name is invalid: " + text)
		r.ErrorCode, r.ErrorMessage = int16(kafka.InvalidTopicException), &text
		return r
	}
	if t == nil {
		text := notHosted
		r.ErrorCode, r.ErrorMessage = int16(kafka.UnknownTopicOrPartition), &text
		return r
	}
	p, err := a.partition(t, kafka.PartitionID(id), left)
	if err != nil {
		r.ErrorCode = int16(a.code(c, err))
		return r
	}
	list, err := p.Producers()
	r.ErrorCode = int16(a.code(c, err))
	for i := range list {
		s := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		s.ProducerID, s.ProducerEpoch, s.LastSequence = int64(list[i].ID), int32(list[i].Epoch), list[i].LastSequence
		s.LastTimestamp, s.CoordinatorEpoch, s.CurrentTxnStartOffset = list[i].LastTimestampMs, list[i].CoordinatorEpoch, int64(list[i].TxnStart)
		r.ActiveProducers = append(r.ActiveProducers, s)
	}
	return r
}
