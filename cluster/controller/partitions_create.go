// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// createPartitions: CreatePartitions v0–3. Each topic stands for itself, but a
// request that adds too many partitions is refused as a whole.
func createPartitions(img *image.Image, env *Env, req *kmsg.CreatePartitionsRequest) Outcome {
	g := growth{
		view: view{img, env}, resp: req.ResponseKind().(*kmsg.CreatePartitionsResponse), random: &random{from: env.Random},
	}
	topics := g.refuseDuplicates(req)
	if g.additional(topics) > env.Config.RecordsMax {
		why := refuse(kafka.PolicyViolation, "Excessively large number of additional partitions per request.")
		for _, t := range topics {
			g.answer(t.Topic, why)
		}
		return Outcome{Response: g.resp, Reason: why.text}
	}
	for _, t := range topics {
		recs, why := g.grow(t)
		g.recs = append(g.recs, recs...)
		g.answer(t.Topic, why)
	}
	if req.ValidateOnly {
		g.recs = nil
	}
	g.resp.ThrottleMillis = g.throttleMs()
	return Outcome{Records: g.recs, Atomic: true, Response: g.resp}
}

// growth is one CreatePartitions request under way.
type growth struct {
	view
	resp   *kmsg.CreatePartitionsResponse
	random *random
	recs   []metarec.Record
}

func (g *growth) answer(name string, why *refusal) {
	t := kmsg.NewCreatePartitionsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, why.wire(), why.message()
	g.resp.Topics = append(g.resp.Topics, t)
}

// refuseDuplicates answers for topics that are named twice, once each, and
// returns the others.
func (g *growth) refuseDuplicates(req *kmsg.CreatePartitionsRequest) []*kmsg.CreatePartitionsRequestTopic {
	named := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	var once []*kmsg.CreatePartitionsRequestTopic
	for i := range req.Topics {
		switch t := &req.Topics[i]; {
		case named[t.Topic] == 1:
			once = append(once, t)
		case named[t.Topic] > 1:
			named[t.Topic] = 0
			g.answer(t.Topic, refuse(kafka.InvalidRequest, "Duplicate topic name."))
		}
	}
	return once
}

// additional is how many partitions the request asks for, before any work is
// done.
func (g *growth) additional(topics []*kmsg.CreatePartitionsRequestTopic) (n int) {
	for _, ask := range topics {
		if t := g.img.Topic(ask.Topic); t != nil {
			n += max(int(ask.Count)-t.PartitionCount(), 0)
		}
	}
	return n
}

// grow gives the records of one topic's new partitions.
func (g *growth) grow(ask *kmsg.CreatePartitionsRequestTopic) ([]metarec.Record, *refusal) {
	t := g.img.Topic(ask.Topic)
	if t == nil {
		return nil, &refusal{code: kafka.UnknownTopicOrPartition}
	}
	has, want := t.PartitionCount(), int(ask.Count)
	switch {
	case want == has:
		return nil, refuse(kafka.InvalidPartitions, "Topic already has %d partition(s).", has)
	case want < has:
		return nil, refuse(kafka.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, has, want)
	case ask.Assignment != nil && len(ask.Assignment) != want-has:
		return nil, refuse(kafka.InvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", want-has, len(ask.Assignment))
	}
	if why := g.charge(want-has, g.resp.Version >= strictCreatePartitions); why != nil {
		return nil, why
	}
	if t.Partition(0) == nil { // no record makes such a topic
		return nil, refuse(kafka.UnknownServerError, "Invalid state: topic %s appears to have no partitions.", t.Name)
	}
	factor := len(t.Partition(0).Replicas)
	var parts []*metarec.Partition
	var why *refusal
	if ask.Assignment != nil {
		parts, why = g.assigned(ask, kafka.PartitionID(has), factor)
	} else {
		parts, why = g.placed(want-has, factor)
	}
	if why != nil {
		return nil, why
	}
	recs := make([]metarec.Record, len(parts))
	for i, p := range parts {
		p.TopicID, p.PartitionID = t.ID, kafka.PartitionID(has+i)
		recs[i] = p
	}
	return recs, nil
}

func (g *growth) assigned(ask *kmsg.CreatePartitionsRequestTopic, first kafka.PartitionID, factor int) ([]*metarec.Partition, *refusal) {
	parts := make([]*metarec.Partition, len(ask.Assignment))
	for i := range ask.Assignment {
		replicas, why := g.checkAssignment(ask.Assignment[i].Replicas, factor)
		if why != nil {
			return nil, why
		}
		if parts[i] = g.partition(replicas); len(parts[i].ISR) == 0 {
			return nil, refuse(kafka.InvalidReplicaAssignment,
				"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", int(first)+i)
		}
	}
	return parts, nil
}

// placed places new partitions with as many replicas as the topic's first one
// has.
func (g *growth) placed(count, factor int) ([]*metarec.Partition, *refusal) {
	place := newPlacer(g.img, g.random)
	if why := place.check(factor); why != nil {
		return nil, why
	}
	parts := make([]*metarec.Partition, count)
	for i := range parts {
		if parts[i] = g.partition(place.place(factor)); len(parts[i].ISR) == 0 {
			return nil, refuse(kafka.InvalidReplicationFactor,
				"Unable to replicate the partition %d time(s): All brokers are currently fenced or in controlled shutdown.", factor)
		}
	}
	if g.random.err != nil {
		return nil, refuse(kafka.UnknownServerError, "%v", g.random.err)
	}
	return parts, nil
}
