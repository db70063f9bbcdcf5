// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/broker/call"
	"gregor/coordinator/shard"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/storage/prodstate"
	"gregor/wire/batch"
)

// WriteTxnMarkers, versions 1 and 2: end transactions in the partitions that
// this broker leads, with a control batch in each. A transaction's coordinator
// asks for it, and so does an administrator who aborts one that hangs (KIP-664),
// which is why every listener of a broker takes it, as in Kafka. Markers are
// appended with acks=all; a producer that is named twice has one result for each
// partition, that of the last marker. Where a group's offsets are pending it is
// the coordinator of groups that appends the marker, and applies it.

// markersTimeout is how long the replicas of a partition are waited for
// (request.timeout.ms of the broker, which Kafka waits here).
const markersTimeout = 30 * time.Second

// markers is a WriteTxnMarkers request on its way to its reply.
type markers struct {
	api     *API
	results []markerResult
	waiting int
}

// markerResult is what became of one marker in one partition.
type markerResult struct {
	producer  int64
	topic     string
	partition int32
	code      kafka.Code

	replica *replica.Partition // while the high watermark has not passed it
	last    kafka.Offset
	epoch   kafka.LeaderEpoch
	ticket  *shard.Ticket // while a coordinator has not answered
	entry   park.Entry
}

func (a *API) handleWriteTxnMarkers(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.WriteTxnMarkersRequest)
	w := &markers{api: a}
	// Never copied once an entry is in a list.
	w.results = make([]markerResult, 0, countMarkers(req))
	var left patience
	for i := range req.Markers {
		w.append(c, &req.Markers[i], &left)
	}
	if w.waiting > 0 {
		return w.park(c)
	}
	return a.write(c, w.response())
}

func countMarkers(req *kmsg.WriteTxnMarkersRequest) (n int) {
	for i := range req.Markers {
		for j := range req.Markers[i].Topics {
			n += len(req.Markers[i].Topics[j].Partitions)
		}
	}
	return n
}

// append writes one marker into all partitions that are named.
func (w *markers) append(c *call.Call, m *kmsg.WriteTxnMarkersRequestMarker, left *patience) {
	type place struct {
		topic     string
		partition int32
	}
	seen := make(map[place]bool)
	for i := range m.Topics {
		t := &m.Topics[i]
		for _, p := range t.Partitions {
			if at := (place{t.Topic, p}); !seen[at] {
				seen[at] = true
				w.results = append(w.results, markerResult{producer: m.ProducerID, topic: t.Topic, partition: p})
				w.write(c, m, &w.results[len(w.results)-1], left)
			}
		}
	}
}

// write appends the marker to one partition. The entry of r waits if the
// replicas have to have it first.
func (w *markers) write(c *call.Call, m *kmsg.WriteTxnMarkersRequestMarker, r *markerResult, left *patience) {
	p, err := w.api.markerPartition(r.topic, r.partition, left)
	if err != nil {
		r.code = w.api.code(c, err)
		return
	}
	if m.ProducerID < 0 || m.ProducerEpoch < 0 || m.TransactionVersion < 0 {
		r.code = kafka.InvalidRequest // Kafka fails with UNKNOWN_SERVER_ERROR
		return
	}
	if r.topic == kafka.OffsetsTopic {
		w.coordinate(c, m, r)
		return
	}
	nowMs := w.api.d.Now().UnixMilli()
	b, err := prodstate.AppendMarker(nil, kafka.ProducerID(m.ProducerID), kafka.ProducerEpoch(m.ProducerEpoch),
		prodstate.Marker{Commit: m.Committed, CoordinatorEpoch: m.CoordinatorEpoch}, nowMs)
	if err != nil {
		r.code = w.api.code(c, err)
		return
	}
	if p.Rules().Batch.TimestampType == batch.LogAppendTime {
		batch.SetMaxTimestamp(b, batch.LogAppendTime, nowMs)
	}
	a := replica.Append{Batches: b, Origin: commitlog.OriginCoordinator, ExpectedEpoch: kafka.NoLeaderEpoch, AllReplicas: true, TxnVersion: m.TransactionVersion}
	p.Append(&a)
	if a.Err != nil {
		r.code = w.api.code(c, a.Err)
	} else if !a.Committed {
		r.replica, r.last, r.epoch = p, a.LastOffset, a.Epoch
		w.waiting++
	}
}

// markerPartition finds a partition that markers may be written to. A partition
// that is not here, or whose directory is offline, is unknown, as Kafka says.
func (a *API) markerPartition(topic string, id int32, left *patience) (*replica.Partition, error) {
	p, err := a.partitionOf(topic, id, left)
	if err != nil || p.Status().Role == replica.Offline {
		return nil, kafka.UnknownTopicOrPartition
	}
	return p, nil
}

// coordinate has the coordinator of groups write the marker.
func (w *markers) coordinate(c *call.Call, m *kmsg.WriteTxnMarkersRequestMarker, r *markerResult) {
	r.ticket = &shard.Ticket{}
	err := w.api.d.Groups.EndTransaction(kafka.PartitionID(r.partition), r.ticket, shard.Marker{
		Producer: shard.Producer{ID: kafka.ProducerID(m.ProducerID), Epoch: kafka.ProducerEpoch(m.ProducerEpoch)},
		Commit:   m.Committed, CoordinatorEpoch: m.CoordinatorEpoch, TxnVersion: m.TransactionVersion,
	})
	if err != nil {
		r.ticket, r.code = nil, w.coordinatorCode(c, err)
		return
	}
	w.waiting++
	w.settleTicket(c, r)
}

// coordinatorCode gives the code of a coordinator's error. Who writes markers
// asks the leader again, and knows no coordinators.
func (w *markers) coordinatorCode(c *call.Call, err error) kafka.Code {
	switch code := w.api.code(c, err); code {
	case kafka.NotCoordinator, kafka.CoordinatorNotAvailable, kafka.CoordinatorLoadInProgress:
		return kafka.NotLeaderForPartition
	default:
		return code
	}
}

// settleTicket takes the coordinator's answer if it is there.
func (w *markers) settleTicket(c *call.Call, r *markerResult) {
	_, err, done := r.ticket.Result()
	if !done {
		return
	}
	if w.leave(r); err != nil {
		r.code = w.coordinatorCode(c, err)
	}
}

// park leaves the reply until the high watermark has passed all markers.
func (w *markers) park(c *call.Call) call.Outcome {
	c.Deadline = c.ReceivedAt.Add(min(markersTimeout, w.api.limits.timeoutMax))
	for i := range w.results {
		r := &w.results[i]
		if r.waits() {
			r.entry.Parker, r.entry.Owner = c.Conn.Parker, c
		}
		if r.ticket != nil {
			r.ticket.Await(&r.entry)
		}
	}
	if w.settle(c, nil) {
		return w.api.write(c, w.response())
	}
	c.Waiter = w
	return call.Parked
}

// settle looks at the partition whose entry woke, or at all, and reports
// whether none waits any more.
func (w *markers) settle(c *call.Call, woken *park.Entry) bool {
	for i := range w.results {
		r := &w.results[i]
		if !r.waits() || woken != nil && woken != &r.entry {
			continue
		}
		if r.ticket != nil {
			w.settleTicket(c, r)
		} else {
			w.settleOne(c, r)
		}
	}
	return w.waiting == 0
}

func (w *markers) settleOne(c *call.Call, r *markerResult) {
	done, err := r.replica.AwaitAcknowledged(&r.entry, r.last, r.epoch)
	if !done {
		return
	}
	if w.leave(r); err != nil {
		r.code = w.api.code(c, err)
	}
}

func (r *markerResult) waits() bool { return r.replica != nil || r.ticket != nil }

func (w *markers) leave(r *markerResult) {
	if r.ticket != nil {
		r.ticket.Forget(&r.entry)
	} else {
		r.replica.Forget(commitlog.ToHighWatermark, &r.entry)
	}
	r.replica, r.ticket = nil, nil
	w.waiting--
}

// Ready is part of call.Waiter.
func (w *markers) Ready(c *call.Call, e *park.Entry) bool {
	if !w.settle(c, e) {
		return false
	}
	w.api.write(c, w.response())
	return true
}

// Expire is part of call.Waiter.
func (w *markers) Expire(c *call.Call) {
	if !w.settle(c, nil) {
		for i := range w.results {
			if r := &w.results[i]; r.waits() {
				w.leave(r)
				r.code = kafka.RequestTimedOut
			}
		}
	}
	w.api.write(c, w.response())
}

// Drop is part of call.Waiter.
func (w *markers) Drop(*call.Call) {
	for i := range w.results {
		if r := &w.results[i]; r.waits() {
			w.leave(r)
		}
	}
}

// response tells the results by producer, topic and partition, each in the
// order in which it was first named.
func (w *markers) response() *kmsg.WriteTxnMarkersResponse {
	type topicOf struct {
		producer int64
		topic    string
	}
	type partitionOf struct {
		topicOf
		partition int32
	}
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	producers, topics, partitions := make(map[int64]int), make(map[topicOf]int), make(map[partitionOf]int)
	for i := range w.results {
		r := &w.results[i]
		at, known := producers[r.producer]
		if !known {
			at = len(resp.Markers)
			producers[r.producer] = at
			m := kmsg.NewWriteTxnMarkersResponseMarker()
			m.ProducerID = r.producer
			resp.Markers = append(resp.Markers, m)
		}
		m, key := &resp.Markers[at], topicOf{r.producer, r.topic}
		if at, known = topics[key]; !known {
			at = len(m.Topics)
			topics[key] = at
			t := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			t.Topic = r.topic
			m.Topics = append(m.Topics, t)
		}
		t := &m.Topics[at]
		if at, known = partitions[partitionOf{key, r.partition}]; !known {
			at = len(t.Partitions)
			partitions[partitionOf{key, r.partition}] = at
			p := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
			p.Partition = r.partition
			t.Partitions = append(t.Partitions, p)
		}
		t.Partitions[at].ErrorCode = int16(r.code)
	}
	return resp
}
