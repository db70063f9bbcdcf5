// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/coordinator/group"
	"gregor/coordinator/shard"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/wire/batch"
)

// marker asks for one marker in partitions of one topic.
type marker struct {
	producer    kafka.ProducerID
	epoch       kafka.ProducerEpoch
	commit      bool
	coordinator int32
	version     int8 // of the transaction
	topic       string
	partitions  []int32
}

func markersRequest(version int16, list ...marker) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = version
	for _, m := range list {
		k := kmsg.NewWriteTxnMarkersRequestMarker()
		k.ProducerID, k.ProducerEpoch, k.Committed, k.CoordinatorEpoch, k.TransactionVersion = int64(m.producer), int16(m.epoch), m.commit, m.coordinator, m.version
		t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = m.topic, m.partitions
		k.Topics = append(k.Topics, t)
		req.Markers = append(req.Markers, k)
	}
	return req
}

// said shows a response, a line for each partition.
func said(resp kmsg.Response) (lines []string) {
	for _, m := range resp.(*kmsg.WriteTxnMarkersResponse).Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				lines = append(lines, fmt.Sprintf("%d %s-%d %v", m.ProducerID, t.Topic, p.Partition, kafka.Code(p.ErrorCode)))
			}
		}
	}
	return lines
}

// transact appends a transactional batch, as a producer does whose coordinator
// knows of it.
func (n *node) transact(id kafka.TopicID, partition kafka.PartitionID, pid kafka.ProducerID, epoch kafka.ProducerEpoch, sequence int32, values ...string) {
	n.t.Helper()
	a := replica.Append{Batches: built(batch.Options{Transactional: true, ProducerID: pid, ProducerEpoch: epoch, BaseSequence: sequence}, values...),
		Origin: commitlog.OriginClient, ExpectedEpoch: kafka.NoLeaderEpoch, AllReplicas: true}
	if n.table.Get(id, partition).Append(&a); a.Err != nil {
		n.t.Fatal(a.Err)
	}
}

func committed(version int16, places ...place) *kmsg.FetchRequest {
	req := fetchRequest(version, places...)
	req.IsolationLevel = 1
	return req
}

// A marker of no producer is not written.
func TestMarkersOfNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("t", 1)
		c := n.dial()
		for _, m := range []marker{
			{producer: -1, epoch: 3, topic: "t", partitions: []int32{0}},
			{producer: 7, epoch: -1, topic: "t", partitions: []int32{0}},
			{producer: 7, epoch: 3, version: -1, topic: "t", partitions: []int32{0}},
		} {
			want := fmt.Sprintf("%d t-0 %v", m.producer, kafka.InvalidRequest)
			if got := said(c.do(markersRequest(2, m))); len(got) != 1 || got[0] != want {
				t.Errorf("%+v: %q, want %q", m, got, want)
			}
		}
		list := c.do(&kmsg.ListOffsetsRequest{Version: 7, ReplicaID: -1, Topics: []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: -1, Timestamp: -1}}}}})
		if end := list.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset; end != 0 {
			t.Errorf("the log ends at %d", end)
		}
	})
}

// Markers end the transactions of the partitions that they name, with Kafka's
// error for each where they do not.
func TestWriteTxnMarkers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 3)
		late := n.topic("late", 1, "message.timestamp.type", "LogAppendTime")
		c := n.dial()
		for p := range kafka.PartitionID(2) {
			n.transact(id, p, 7, 3, 0, "a", "b")
		}
		n.transact(late, 0, 7, 3, 0, "x")
		for _, step := range []struct {
			name    string
			version int16
			markers []marker
			want    []string
		}{
			{"none", 1, nil, nil},
			{"no partitions", 2, []marker{{producer: 7, epoch: 3, topic: "t"}}, nil},
			{"a stale epoch", 1, []marker{{producer: 7, epoch: 2, topic: "t", partitions: []int32{0}}}, []string{"7 t-0 INVALID_PRODUCER_EPOCH"}},
			{"an epoch of the transaction before", 2, []marker{{producer: 7, epoch: 3, version: 2, topic: "t", partitions: []int32{0}}}, []string{"7 t-0 INVALID_PRODUCER_EPOCH"}},
			{"version 1 tells no transaction version", 1, []marker{{producer: 7, epoch: 3, version: 2, coordinator: 5, commit: true, topic: "t", partitions: []int32{0, 0}}}, []string{"7 t-0 NONE"}},
			{"again", 1, []marker{{producer: 7, epoch: 3, coordinator: 5, commit: true, topic: "t", partitions: []int32{0}}}, []string{"7 t-0 NONE"}},
			{"an old coordinator", 1, []marker{{producer: 7, epoch: 3, coordinator: 4, topic: "t", partitions: []int32{0, 1}}}, []string{"7 t-0 TRANSACTION_COORDINATOR_FENCED", "7 t-1 NONE"}},
			{"what is not there", 1, []marker{{producer: 7, epoch: 3, topic: "t", partitions: []int32{2, 3, -1}}, {producer: 7, epoch: 3, topic: "nowhere", partitions: []int32{0}}},
				[]string{"7 t-2 NONE", "7 t-3 UNKNOWN_TOPIC_OR_PARTITION", "7 t--1 UNKNOWN_TOPIC_OR_PARTITION", "7 nowhere-0 UNKNOWN_TOPIC_OR_PARTITION"}},
			{"a producer that nobody knows", 2, []marker{{producer: 99, epoch: 0, version: 2, topic: "t", partitions: []int32{0}}}, []string{"99 t-0 NONE"}},
			{"the last marker of a producer counts", 1, []marker{{producer: 99, epoch: 1, topic: "t", partitions: []int32{0}}, {producer: 99, epoch: 0, topic: "t", partitions: []int32{0}}},
				[]string{"99 t-0 INVALID_PRODUCER_EPOCH"}},
			{"log append time", 2, []marker{{producer: 7, epoch: 4, version: 2, topic: "late", partitions: []int32{0}}}, []string{"7 late-0 NONE"}},
		} {
			if diff := cmp.Diff(step.want, said(c.do(markersRequest(step.version, step.markers...)))); diff != "" {
				t.Errorf("%s: %s", step.name, diff)
			}
		}
		got := c.describeProducers("t", 0, 1)
		now := time.Now().UnixMilli()
		one := func(pid int64, epoch, sequence, coordinator int32) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
			return kmsg.DescribeProducersResponseTopicPartitionActiveProducer{ProducerID: pid, ProducerEpoch: epoch, LastSequence: sequence,
				LastTimestamp: now, CoordinatorEpoch: coordinator, CurrentTxnStartOffset: -1}
		}
		type list = []kmsg.DescribeProducersResponseTopicPartitionActiveProducer
		if want := []list{{one(7, 3, 1, 5), one(99, 1, -1, 0)}, {one(7, 3, 1, 4)}}; !reflect.DeepEqual(want, []list{got[0].ActiveProducers, got[1].ActiveProducers}) {
			t.Errorf("%+v, want %+v", got, want)
		}
		p := c.fetchOne(committed(13, place{"t", id, 1, 0}))
		if len(p.AbortedTransactions) != 1 || p.AbortedTransactions[0].ProducerID != 7 || p.AbortedTransactions[0].FirstOffset != 0 || p.LastStableOffset != 3 {
			t.Errorf("aborted %+v up to %d", p.AbortedTransactions, p.LastStableOffset)
		}
		if p := c.fetchOne(committed(13, place{"t", id, 0, 0})); p.AbortedTransactions == nil || len(p.AbortedTransactions) != 0 || p.LastStableOffset != 6 {
			t.Errorf("committed: aborted %+v up to %d", p.AbortedTransactions, p.LastStableOffset)
		}
		if p := c.fetchOne(fetchRequest(13, place{"t", id, 1, 0})); p.AbortedTransactions != nil {
			t.Errorf("read_uncommitted is told of %+v", p.AbortedTransactions)
		}
		p = c.fetchOne(fetchRequest(13, place{"late", late, 0, 1}))
		if h, err := batch.Parse(p.RecordBatches); err != nil || !h.Attributes.IsControl() || h.Attributes.TimestampType() != batch.LogAppendTime || h.MaxTimestampMs != now {
			t.Errorf("marker with log append time: %+v, %v", h, err)
		}
	})
}

// A marker is answered for when all replicas have it; the high watermark moves
// the last stable offset then.
func TestMarkersWaitForTheReplicas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.shared("t", 1)
		n.transact(id, 0, 7, 0, 0, "a")
		n.change(id, image.NoLeaderChange, 1, 2)
		c := n.dial()
		abort := markersRequest(1, marker{producer: 7, topic: "t", partitions: []int32{0}})
		sent, began := c.send(abort), time.Now()
		c.send(apiVersions(3)) // the connection reads on
		time.Sleep(time.Second)
		p := n.table.Get(id, 0)
		if tail, _ := p.Tail(); tail.LogEnd != 2 || tail.HighWatermark != 1 || tail.LastStable != 0 || p.Waiting(1) != 1 {
			t.Fatalf("%+v, %d wait", tail, p.Waiting(1))
		}
		go func() {
			time.Sleep(time.Second)
			n.change(id, image.NoLeaderChange, 1)
		}()
		if got := said(c.receive(abort, sent)); len(got) != 1 || got[0] != "7 t-0 NONE" || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		c.receive(apiVersions(3), sent+1)
		if tail, _ := p.Tail(); tail.LastStable != 2 || p.Waiting(1) != 0 {
			t.Errorf("%+v, %d wait", tail, p.Waiting(1))
		}

		n.change(id, image.NoLeaderChange, 1, 2)
		began = time.Now()
		if got := said(c.do(abort)); len(got) != 1 || got[0] != "7 t-0 REQUEST_TIMED_OUT" || time.Since(began) != markersTimeout {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		sent, began = c.send(abort), time.Now()
		go func() {
			time.Sleep(time.Second)
			n.change(id, 2, 1, 2)
		}()
		if got := said(c.receive(abort, sent)); len(got) != 1 || got[0] != "7 t-0 NOT_LEADER_FOR_PARTITION" || time.Since(began) != time.Second {
			t.Errorf("%v after %v", got, time.Since(began))
		}
		if got := said(c.do(abort)); len(got) != 1 || got[0] != "7 t-0 NOT_LEADER_FOR_PARTITION" || p.Waiting(1) != 0 {
			t.Errorf("a follower: %v, %d wait", got, p.Waiting(1))
		}
	})
}

// In __consumer_offsets it is the coordinator that ends a transaction: pending
// offsets count when the marker is committed, and not before.
func TestMarkersOfPendingOffsets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.coordinated(t)
		p := shard.PartitionOf("g", 50)
		end := markersRequest(1, marker{producer: 7, commit: true, topic: kafka.OffsetsTopic, partitions: []int32{int32(p)}},
			marker{producer: 8, topic: kafka.OffsetsTopic, partitions: []int32{50}})
		commit := kmsg.NewPtrTxnOffsetCommitRequest()
		commit.Version, commit.Group, commit.ProducerID, commit.Generation = 3, "g", 7, -1
		of := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		of.Offset = 3
		commit.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{of}}}
		if err := n.groups.Do(p, &shard.Ticket{}, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
			g.TxnOffsetCommit(nowMs, group.Caller{}, commit, to, out)
		}); err != nil {
			t.Fatal(err)
		}
		offset := func() kafka.Offset {
			offsets, _ := offsetsIn(c.do(offsetsOf(9, id, "g")).(*kmsg.OffsetFetchResponse))
			return kafka.Offset(offsets[0])
		}
		if got := offset(); got != -1 {
			t.Errorf("a pending offset is told: %d", got)
		}
		n.groups.log(p).Hold(true)
		sent, began := c.send(end), time.Now()
		go func() {
			time.Sleep(time.Second)
			n.groups.log(p).Hold(false)
		}()
		want := fmt.Sprintf("[7 __consumer_offsets-%d NONE 8 __consumer_offsets-50 UNKNOWN_TOPIC_OR_PARTITION]", p)
		if got := said(c.receive(end, sent)); fmt.Sprint(got) != want || time.Since(began) != time.Second {
			t.Errorf("%v after %v, want %s", got, time.Since(began), want)
		}
		if got := offset(); got != 3 {
			t.Errorf("the committed offset is %d", got)
		}
		n.groups.Resign(p)
		time.Sleep(time.Second)
		if got := said(c.do(end)); got[0] != fmt.Sprintf("7 __consumer_offsets-%d NOT_LEADER_FOR_PARTITION", p) {
			t.Error(got)
		}
	})
}

// Who reads committed records waits for the last stable offset: other records
// behind an open transaction do not wake it, and do not count as bytes.
func TestReadCommittedWaitsForTheLastStableOffset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		n.transact(id, 0, 7, 0, 0, "a")
		reader, writer := n.dial(), n.dial()
		req := committed(13, place{"t", id, 0, 0})
		req.MaxWaitMillis = 60_000
		sent, began := reader.send(req), time.Now()
		time.Sleep(time.Second)
		for range 20 {
			writer.produce(13, "", id, 0, -1, records("plain"))
		}
		time.Sleep(time.Second)
		p := n.table.Get(id, 0)
		if p.Waiting(commitlog.ToLastStable) != 1 || p.Waiting(commitlog.ToHighWatermark) != 0 {
			t.Fatalf("%d and %d wait", p.Waiting(commitlog.ToLastStable), p.Waiting(commitlog.ToHighWatermark))
		}
		writer.do(markersRequest(1, marker{producer: 7, topic: "t", partitions: []int32{0}}))
		got := reader.receive(req, sent).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("answered after %v", d)
		}
		if v := values(t, got.RecordBatches); len(v) != 22 || got.LastStableOffset != 22 || len(got.AbortedTransactions) != 1 {
			t.Errorf("%d records up to %d, aborted %+v", len(v), got.LastStableOffset, got.AbortedTransactions)
		}

		// Bytes behind the last stable offset are not waited with.
		n.transact(id, 0, 7, 0, 1, "b")
		writer.produce(13, "", id, 0, -1, records(string(make([]byte, 5000))))
		req = committed(13, place{"t", id, 0, 21})
		req.MaxWaitMillis, req.MinBytes = 10_000, 1000
		began = time.Now()
		if got := reader.fetchOne(req); time.Since(began) != 10*time.Second || len(values(t, got.RecordBatches)) != 1 {
			t.Errorf("answered after %v with %d bytes", time.Since(began), len(got.RecordBatches))
		}
	})
}

// Point 35: the latest offset is the last stable one, and a time that only an
// open transaction reaches has no offset yet.
func TestPoint35ListOffsetsOfReadCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		began := time.Now().UnixMilli()
		c.produce(13, "", id, 0, -1, records("plain")) // 0
		time.Sleep(time.Second)
		n.transact(id, 0, 7, 0, 0, "a") // 1
		time.Sleep(time.Second)
		c.produce(13, "", id, 0, -1, records("plain")) // 2
		ask := func(isolation int8, timestamp int64) string {
			t.Helper()
			req := kmsg.NewPtrListOffsetsRequest()
			req.Version, req.ReplicaID, req.IsolationLevel = 9, -1, isolation
			topic, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp, p.CurrentLeaderEpoch = timestamp, -1
			topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
			req.Topics = append(req.Topics, topic)
			r := c.do(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
			return fmt.Sprintf("%v %d", kafka.Code(r.ErrorCode), r.Offset)
		}
		for _, q := range []struct {
			timestamp              int64
			uncommitted, committed string
		}{
			{-1, "NONE 3", "NONE 1"}, {-2, "NONE 0", "NONE 0"}, {began, "NONE 0", "NONE 0"},
			{began + 1, "NONE 1", "NONE -1"}, {began + 2000, "NONE 2", "NONE -1"}, {began + 2001, "NONE -1", "NONE -1"},
		} {
			if u, r := ask(0, q.timestamp), ask(1, q.timestamp); u != q.uncommitted || r != q.committed {
				t.Errorf("time %d: %s and %s, want %s and %s", q.timestamp-began, u, r, q.uncommitted, q.committed)
			}
		}
		c.do(markersRequest(1, marker{producer: 7, topic: "t", partitions: []int32{0}}))
		if u, r := ask(0, began+1), ask(1, began+1); u != "NONE 1" || r != "NONE 1" {
			t.Errorf("after the marker: %s and %s", u, r)
		}
		if u, r := ask(0, -1), ask(1, -1); u != "NONE 4" || r != "NONE 4" {
			t.Errorf("latest after the marker: %s and %s", u, r)
		}
	})
}
