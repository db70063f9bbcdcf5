// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/broker/call"
	"gregor/cluster/image"
	"gregor/quota"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/wire/batch"
	"gregor/wire/frame"
	"gregor/wire/produce"
)

// Produce, versions 3 to 13. The frame is walked without copying; each batch is
// validated on the connection's goroutine and appended over its partition's
// lane. With acks=all the reply is parked until the high watermark has passed
// every batch, and the connection reads on. acks=0 has no reply; an error then
// closes the connection, which is all that such a client can notice.

// Values of acks.
const (
	acksNone   = 0
	acksLeader = 1
	acksAll    = -1
)

// produceState is what a connection keeps for its Produce requests.
type produceState struct {
	request   produce.Request
	validator *batch.Validator
	append    replica.Append
	patience  patience
}

// What stays between requests, in partitions: with a connection, and with each
// of its reply slots.
const (
	keepMax     = 1024
	slotKeepMax = 128
)

// reset lets go of the frame, and of what an uncommonly large request took.
func (p *produceState) reset() {
	large := len(p.request.Topics) > keepMax
	for i := range p.request.Topics {
		large = large || len(p.request.Topics[i].Partitions) > keepMax
	}
	if p.request.Reset(); large {
		p.request = produce.Request{}
	}
}

// produced is a Produce request on its way to its reply. It hangs on its
// reply slot and is used again with it.
type produced struct {
	api     *API
	topics  []producedTopic
	parts   []producedPart
	waiting int // parts that the high watermark has not passed
	faults  int // records that the answer names
	failed  bool
	names   []byte // of the topics, where the frame is gone when the reply is written
	nodes   []frame.NodeEndpoint
}

type producedTopic struct {
	name     []byte
	id       kafka.TopicID
	from, to int // in parts
}

type producedPart struct {
	result  produce.Result
	replica *replica.Partition // while waiting
	last    kafka.Offset
	epoch   kafka.LeaderEpoch
	entry   park.Entry
}

func (a *API) handleProduce(c *call.Call) call.Outcome {
	s := stateOf(c)
	req := &s.produce.request
	err := produce.Parse(c.Body, c.Version, produce.Limits{TopicsMax: a.limits.elementsMax, PartitionsMax: a.limits.elementsMax}, req)
	if err != nil {
		return a.close(c, fmt.Errorf("Produce v%d: %w", c.Version, err))
	}
	defer s.produce.reset()
	acks := req.Acks
	s.produce.patience = patience{}
	w := a.produced(c)
	w.begin(req)
	img := a.image()
	unauthorized := req.TransactionalID == nil && transactional(req)
	for i := range req.Topics {
		if unauthorized {
			a.refuseTopic(c, s, w, i, kafka.TransactionalIDAuthorizationFailed)
		} else {
			a.produceTopic(c, s, img, w, i, acks)
		}
	}
	a.chargeProduce(c, acks)
	switch {
	case acks == acksNone:
		if w.failed {
			return a.close(c, errors.New("produce with acks=0 failed"))
		}
		return call.NoReply
	case w.waiting > 0:
		return w.park(c, req.TimeoutMs)
	}
	w.answer(c)
	return call.Done
}

// chargeProduce counts the request's bytes, whatever became of its batches, and
// its time; that of acks=0 is not counted, as in Kafka. A reply that is parked
// later is charged already, so that clients that pipeline are held back too.
func (a *API) chargeProduce(c *call.Call, acks int16) {
	waitMs, ofTimeMs := a.charge(c, quota.Produce, float64(len(c.Payload))), int32(0)
	if acks != acksNone {
		ofTimeMs = a.chargeTime(c)
	}
	a.throttle(c, quota.Produce, waitMs, ofTimeMs)
}

// produced gives the slot's memory.
func (a *API) produced(c *call.Call) *produced {
	w, ok := c.Scratch.(*produced)
	if !ok {
		w = &produced{api: a}
		c.Scratch = w
	}
	return w
}

// begin makes room for the answers of a request.
func (w *produced) begin(req *produce.Request) {
	n := 0
	w.topics = w.topics[:0]
	for i := range req.Topics {
		t := &req.Topics[i]
		w.topics = append(w.topics, producedTopic{name: t.Name, id: t.ID, from: n, to: n + len(t.Partitions)})
		n += len(t.Partitions)
	}
	if n > cap(w.parts) {
		// Never copied: an old entry may still be in its parker's queue.
		w.parts = make([]producedPart, n)
	}
	w.parts = w.parts[:n]
	w.waiting, w.faults, w.failed, w.nodes = 0, 0, false, w.nodes[:0]
}

// end lets go of what an uncommonly large request took. No entry is in a list
// any more.
func (w *produced) end() {
	clear(w.topics)
	for i := range w.parts {
		w.parts[i].result = produce.Result{}
	}
	if cap(w.parts) > slotKeepMax {
		w.parts = nil
	}
	if cap(w.topics) > slotKeepMax {
		w.topics = nil
	}
}

func (a *API) produceTopic(c *call.Call, s *state, img *image.Image, w *produced, i int, acks int16) {
	t := &s.produce.request.Topics[i]
	var topic *image.Topic
	missing := error(kafka.UnknownTopicOrPartition)
	if c.Version >= 13 {
		topic, missing = img.TopicByID(t.ID), kafka.UnknownTopicID
	} else {
		topic = img.Topic(s.intern(img, t.Name))
	}
	for j := range t.Partitions {
		part := &w.parts[w.topics[i].from+j]
		err := missing
		if topic != nil {
			err = a.producePartition(c, s, topic, &t.Partitions[j], part, acks)
		}
		if err != nil {
			a.failPart(c, w, part, topic, t.Partitions[j].Index, err)
		} else if part.replica != nil {
			w.waiting++
		}
	}
}

// transactional reports whether a batch of the request says that it belongs to
// a transaction.
func transactional(req *produce.Request) bool {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			if h, err := batch.Parse(req.Topics[i].Partitions[j].Records); err == nil && h.Attributes.IsTransactional() {
				return true
			}
		}
	}
	return false
}

// refuseTopic answers for all partitions of a topic with the same error.
func (a *API) refuseTopic(c *call.Call, s *state, w *produced, i int, err error) {
	t := &s.produce.request.Topics[i]
	for j := range t.Partitions {
		a.failPart(c, w, &w.parts[w.topics[i].from+j], nil, t.Partitions[j].Index, err)
	}
}

// producePartition appends one batch. part.replica is set if its answer must
// wait.
func (a *API) producePartition(c *call.Call, s *state, topic *image.Topic, q *produce.Partition, part *producedPart, acks int16) error {
	if isInternal(topic.Name) {
		return fmt.Errorf("clients may not produce to %s: %w", topic.Name, kafka.InvalidTopicException)
	}
	p, err := a.partition(topic, q.Index, &s.produce.patience)
	if err != nil {
		return err
	}
	if acks != acksNone && acks != acksLeader && acks != acksAll {
		return kafka.InvalidRequiredAcks
	}
	rules := p.Rules()
	out, h, err := s.produce.validator.Client(q.Records, &rules.Batch, c.Version, c.ReceivedAt.UnixMilli())
	switch {
	case err != nil:
		return err
	case h.Attributes.IsTransactional():
		// Nobody could ever end the transaction.
		return fmt.Errorf("transactional batch outside of a transaction: %w", kafka.InvalidTxnState)
	case len(out) > int(rules.Log.SegmentBytes):
		return fmt.Errorf("batch of %d bytes exceeds segment.bytes of %d: %w", len(out), rules.Log.SegmentBytes, kafka.RecordListTooLarge)
	}
	w := &s.produce.append
	w.Batches, w.Origin, w.ExpectedEpoch, w.AllReplicas = out, commitlog.OriginClient, kafka.NoLeaderEpoch, acks == acksAll
	p.Append(w)
	w.Batches = nil
	if w.Err != nil {
		return w.Err
	}
	if w.Duplicate {
		a.count.duplicates.Add(1)
		p.Traffic().Produced(0, 0)
	} else {
		p.Traffic().Produced(int64(h.Count), int64(len(out)))
		a.count.producedRecords.Add(int64(h.Count))
		a.count.producedBytes.Add(int64(len(out)))
	}
	part.result = produce.Result{Index: q.Index, BaseOffset: w.BaseOffset, LogAppendTimeMs: w.AppendTimeMs, LogStartOffset: w.LogStart}
	part.replica = nil
	if acks == acksAll && !w.Committed {
		part.replica, part.last, part.epoch = p, w.LastOffset, w.Epoch
	}
	return nil
}

// failPart notes an error as the answer for a partition.
func (a *API) failPart(c *call.Call, w *produced, part *producedPart, topic *image.Topic, index kafka.PartitionID, err error) {
	a.count.producedFailed.Add(1)
	w.failed = true
	code := a.code(c, err)
	part.replica = nil
	part.result = produce.Failed(index, code)
	part.result.ErrorMessage = produceMessage(err)
	var invalid *batch.Error
	unread := errors.As(err, &invalid) && invalid.Unread
	var p *replica.Partition
	if topic != nil {
		p = a.d.Table.Get(topic.ID, index)
	}
	if p != nil {
		p.Traffic().ProduceFailed()
		if tail, open := p.Tail(); open && !unread && !logUnseen(code) {
			part.result.LogStartOffset = tail.LogStart
		}
	}
	if invalid != nil {
		for _, r := range invalid.Records[:min(len(invalid.Records), a.limits.recordErrorsMax-w.faults)] {
			w.faults++
			part.result.RecordErrors = append(part.result.RecordErrors, produce.RecordError{BatchIndex: r.BatchIndex, Message: r.Message})
		}
	}
	if code == kafka.NotLeaderForPartition && c.Version >= 10 && topic != nil {
		node, epoch, at, known := a.leader(c.Conn.Listener.Name, topic.ID, index)
		part.result.HasCurrentLeader, part.result.CurrentLeader, part.result.CurrentEpoch = true, node, epoch
		if known {
			w.nodes = addEndpoint(w.nodes, at)
		}
	}
}

// logUnseen tells the errors for which Kafka's answer does not hold the log
// start offset.
func logUnseen(code kafka.Code) bool {
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.NotLeaderForPartition, kafka.MessageTooLarge, kafka.RecordListTooLarge,
		kafka.CorruptMessage, kafka.KafkaStorageError, kafka.InvalidRequiredAcks, kafka.InvalidTopicException:
		return true
	}
	return false
}

// produceMessage is the text of an error that says more than its code.
func produceMessage(err error) string {
	if _, bare := err.(kafka.Code); bare { //nolint:errorlint // the bare code says it all
		return ""
	}
	return err.Error()
}

// answer writes the reply.
func (w *produced) answer(c *call.Call) {
	c.Reply.Begin(c.CorrelationID, c.Version >= produce.FlexibleFrom)
	var e produce.Encoder
	e.Begin(c.Reply.Appender(), c.Version, len(w.topics))
	for i := range w.topics {
		t := &w.topics[i]
		e.Topic(t.name, t.id, t.to-t.from)
		for j := t.from; j < t.to; j++ {
			e.Partition(&w.parts[j].result)
		}
		e.EndTopic()
	}
	e.End(c.ThrottleMs, w.nodes)
	w.end()
}
