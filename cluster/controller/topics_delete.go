// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// deleteTopics: DeleteTopics v1–6. A topic is named by name or, from v6 on, by
// id. A requester that may not describe a topic does not learn that it exists,
// nor which name an id has. Results stand in the request's order, those of
// doubly named topics once; Kafka shuffles them.
func deleteTopics(img *image.Image, env *Env, req *kmsg.DeleteTopicsRequest) Outcome {
	d := deletion{view: view{img, env}, resp: req.ResponseKind().(*kmsg.DeleteTopicsResponse)}
	topics := req.Topics
	if req.GetVersion() < 6 {
		topics = make([]kmsg.DeleteTopicsRequestTopic, len(req.TopicNames))
		for i := range topics {
			topics[i].Topic = &req.TopicNames[i]
		}
	}
	if !env.Config.DeleteTopicEnable {
		return d.disabled(topics, req.GetVersion())
	}
	d.count(topics)
	for _, t := range topics {
		d.add(t)
	}
	if len(d.recs) > env.Config.RecordsMax {
		why := refuse(kafka.PolicyViolation, "Unable to perform excessively large batch operation.")
		for i := range d.resp.Topics {
			d.resp.Topics[i].ErrorCode, d.resp.Topics[i].ErrorMessage = why.wire(), why.message()
		}
		d.recs = nil
	}
	d.resp.ThrottleMillis = d.throttleMs()
	return Outcome{Records: d.recs, Atomic: true, Response: d.resp}
}

type deletion struct {
	view
	resp  *kmsg.DeleteTopicsResponse
	recs  []metarec.Record
	names map[string]int
	ids   map[kafka.TopicID]int
}

func (d *deletion) answer(name *string, id kafka.TopicID, why *refusal) {
	t := kmsg.NewDeleteTopicsResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = name, id, why.wire(), why.message()
	d.resp.Topics = append(d.resp.Topics, t)
}

func (d *deletion) disabled(topics []kmsg.DeleteTopicsRequestTopic, version int16) Outcome {
	why := &refusal{code: kafka.TopicDeletionDisabled} // no text, as in Kafka: the code says it all
	if version < 3 {
		why.code = kafka.InvalidRequest
	}
	for _, t := range topics {
		d.answer(t.Topic, t.TopicID, why)
	}
	return Outcome{Response: d.resp, Reason: why.text}
}

// count finds what is named more than once. Topics with both a name and an id,
// or neither, are wrong by themselves and do not count.
func (d *deletion) count(topics []kmsg.DeleteTopicsRequestTopic) {
	d.names, d.ids = map[string]int{}, map[kafka.TopicID]int{}
	for _, t := range topics {
		id := kafka.TopicID(t.TopicID)
		switch {
		case t.Topic != nil && id.IsZero():
			d.names[*t.Topic]++
		case t.Topic == nil && !id.IsZero():
			d.ids[id]++
		}
	}
}

func (d *deletion) add(t kmsg.DeleteTopicsRequestTopic) {
	id := kafka.TopicID(t.TopicID)
	switch {
	case t.Topic != nil && !id.IsZero():
		d.answer(t.Topic, id, refuse(kafka.InvalidRequest, "You may not specify both topic name and topic id."))
	case t.Topic == nil && id.IsZero():
		d.answer(nil, id, refuse(kafka.InvalidRequest, "Neither topic name nor id were specified."))
	case t.Topic != nil:
		d.addName(*t.Topic)
	default:
		d.addID(id)
	}
}

func (d *deletion) addName(name string) {
	switch n := d.names[name]; {
	case n > 1:
		d.names[name] = 0
		d.answer(&name, kafka.TopicID{}, refuse(kafka.InvalidRequest, "Duplicate topic name."))
		return
	case n == 0: // answered already
		return
	}
	t := d.img.Topic(name)
	switch {
	case !d.mayDescribe(name):
		d.answer(&name, kafka.TopicID{}, notAuthorized)
	case t == nil:
		d.answer(&name, kafka.TopicID{}, refuse(kafka.UnknownTopicOrPartition, "This server does not host this topic-partition."))
	case !d.mayDelete(name):
		d.answer(&name, kafka.TopicID{}, notAuthorized)
	case d.ids[t.ID] != 0:
		d.answer(&name, t.ID, refuse(kafka.InvalidRequest, "The provided topic name maps to an ID that was already supplied."))
	default:
		d.delete(t)
	}
}

func (d *deletion) addID(id kafka.TopicID) {
	switch n := d.ids[id]; {
	case n > 1:
		d.ids[id] = -1
		d.answer(nil, id, refuse(kafka.InvalidRequest, "Duplicate topic id."))
		return
	case n < 0: // answered already
		return
	}
	t := d.img.TopicByID(id)
	switch {
	case t == nil:
		d.answer(nil, id, refuse(kafka.UnknownTopicID, "This server does not host this topic ID."))
	case !d.mayDelete(t.Name) && d.mayDescribe(t.Name):
		d.answer(&t.Name, id, notAuthorized)
	case !d.mayDelete(t.Name):
		d.answer(nil, id, notAuthorized)
	case d.names[t.Name] == 1:
		// The name says so too: Kafka refuses the pair, once.
		return
	default:
		d.delete(t)
	}
}

var notAuthorized = &refusal{code: kafka.TopicAuthorizationFailed}

func (d *deletion) delete(t *image.Topic) {
	if why := d.charge(t.PartitionCount(), d.resp.Version >= strictDeleteTopics); why != nil {
		d.answer(&t.Name, t.ID, why)
		return
	}
	d.recs = append(d.recs, &metarec.RemoveTopic{TopicID: t.ID})
	d.answer(&t.Name, t.ID, nil)
}

func (d *deletion) mayDescribe(name string) bool {
	return d.env.MayDescribe == nil || d.env.MayDescribe(name)
}

func (d *deletion) mayDelete(name string) bool {
	return d.env.MayDelete == nil || d.env.MayDelete(name)
}
