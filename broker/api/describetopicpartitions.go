// SPDX-License-Identifier: Apache-2.0

package api

import (
	"iter"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
	"gregor/config"
)

// DescribeTopicPartitions, version 0 (KIP-966): topics by name, in pages of
// partitions. A page that is cut names where the next one begins. It is the
// only API that tells eligible leader replicas. Two answers differ from
// Kafka's, which are defects there: the empty topic name is a bad name and not
// an unknown error, and a cursor near the highest partition id gives no
// negative one.

func (a *API) handleDescribeTopicPartitions(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeTopicPartitionsRequest)
	if !validCursor(req) {
		return a.answer(c, failedDescribe(req, kafka.InvalidRequest))
	}
	p := page{
		view: view{img: a.image(), listener: c.Conn.Listener.Name, version: c.Version},
		left: max(min(int(a.d.Config.Int(config.MaxRequestPartitionSizeLimit)), int(req.ResponsePartitionLimit)), 1),
		resp: kmsg.NewPtrDescribeTopicPartitionsResponse(),
	}
	if req.Cursor != nil {
		p.from = *req.Cursor
	}
	for name := range p.topics(req) {
		if !p.add(name, len(req.Topics) != 0) {
			break
		}
	}
	return a.answer(c, p.resp)
}

// validCursor: a cursor's topic must be asked for, if any is, and its partition
// must not be negative.
func validCursor(req *kmsg.DescribeTopicPartitionsRequest) bool {
	if req.Cursor == nil {
		return true
	}
	asked := len(req.Topics) == 0 || slices.ContainsFunc(req.Topics, func(t kmsg.DescribeTopicPartitionsRequestTopic) bool {
		return t.Topic == req.Cursor.Topic
	})
	return asked && req.Cursor.Partition >= 0
}

func failedDescribe(req *kmsg.DescribeTopicPartitionsRequest, code kafka.Code) *kmsg.DescribeTopicPartitionsResponse {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range req.Topics {
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic, t.ErrorCode = &req.Topics[i].Topic, int16(code)
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// page is one answer under way.
type page struct {
	view
	from kmsg.DescribeTopicPartitionsRequestCursor // the zero value is the beginning
	left int                                       // partitions that still fit
	resp *kmsg.DescribeTopicPartitionsResponse
}

// topics gives the names that the request means, from the cursor on: all if it
// names none.
func (p *page) topics(req *kmsg.DescribeTopicPartitionsRequest) iter.Seq[string] {
	if len(req.Topics) == 0 {
		return func(yield func(string) bool) {
			for t := range p.img.TopicsFrom(p.from.Topic) {
				if !yield(t.Name) {
					return
				}
			}
		}
	}
	names := make([]string, 0, len(req.Topics))
	for i := range req.Topics {
		if name := req.Topics[i].Topic; strings.Compare(name, p.from.Topic) >= 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Values(slices.Compact(names))
}

// add describes a topic, and reports whether there is room for another.
func (p *page) add(name string, named bool) (more bool) {
	if p.left == 0 {
		p.next(name, 0)
		return false
	}
	r := kmsg.NewDescribeTopicPartitionsResponseTopic()
	r.Topic, r.IsInternal, r.AuthorizedOperations = &name, isInternal(name), topicOperations
	t := p.img.Topic(name)
	switch {
	case t != nil:
		r.TopicID = t.ID
		more = p.partitions(t, &r)
	case !named: // it was deleted meanwhile
		return true
	case validTopicName(name):
		r.ErrorCode, more = int16(kafka.UnknownTopicOrPartition), true
	default:
		r.ErrorCode, more = int16(kafka.InvalidTopicException), true
	}
	p.resp.Topics = append(p.resp.Topics, r)
	return more
}

// partitions puts the partitions of a topic in, as far as they fit.
func (p *page) partitions(t *image.Topic, r *kmsg.DescribeTopicPartitionsResponseTopic) (more bool) {
	first := kafka.PartitionID(0)
	if t.Name == p.from.Topic {
		first = kafka.PartitionID(p.from.Partition)
	}
	for id := first; int(id) < t.PartitionCount(); id++ {
		part := t.Partition(id)
		if part == nil {
			continue
		}
		if p.left == 0 {
			p.next(t.Name, id)
			return false
		}
		p.left--
		r.Partitions = append(r.Partitions, p.describe(id, part))
	}
	return true
}

func (p *page) next(topic string, id kafka.PartitionID) {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, int32(id)
	p.resp.NextCursor = &cursor
}

func (p *page) describe(id kafka.PartitionID, part *image.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	r := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	r.Partition, r.LeaderID, r.LeaderEpoch = int32(id), int32(part.Leader), int32(part.LeaderEpoch)
	if _, _, ok := p.endpoint(part.Leader); !ok {
		r.LeaderID = int32(kafka.NoNode)
	}
	r.Replicas, r.ISR = nodeIDs(part.Replicas), nodeIDs(part.ISR)
	r.EligibleLeaderReplicas, r.LastKnownELR = nodeIDs(part.ELR()), nodeIDs(part.LastKnownELR())
	for _, n := range part.Replicas {
		if !p.online(n, part) {
			r.OfflineReplicas = append(r.OfflineReplicas, int32(n))
		}
	}
	return r
}

// nodeIDs is a list for the wire; never null.
func nodeIDs(ids []kafka.NodeID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
