// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
	"gregor/replica"
	"gregor/wire/batch"
)

// deletionOf asks for one partition.
func deletionOf(version int16, topic string, partition int32, below int64) *kmsg.DeleteRecordsRequest {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, 1000
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, below
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func (c *client) deleteRecords(version int16, topic string, partition int32, below int64) kmsg.DeleteRecordsResponseTopicPartition {
	c.t.Helper()
	resp := c.do(deletionOf(version, topic, partition, below)).(*kmsg.DeleteRecordsResponse)
	if len(resp.Topics) != 1 || resp.Topics[0].Topic != topic || len(resp.Topics[0].Partitions) != 1 || resp.Topics[0].Partitions[0].Partition != partition {
		c.t.Fatalf("%+v", resp)
	}
	return resp.Topics[0].Partitions[0]
}

// keyed makes a batch of one record with a key.
func keyed(value string) []byte {
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	b.Add(time.Now().UnixMilli(), []byte("k"), []byte(value))
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err)
	}
	return out
}

func (c *client) listOffset(topic string, timestamp int64) int64 {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 8, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = timestamp
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	r := c.do(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if r.ErrorCode != 0 {
		c.t.Fatalf("list offset: %v", kafka.Code(r.ErrorCode))
	}
	return r.Offset
}

// What DeleteRecords took is gone for readers; what it did not is there.
func TestDeleteRecords(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 1)
		c := n.dial()
		for range 10 {
			c.produce(13, "", id, 0, -1, records("x"))
		}
		for _, step := range []struct {
			version int16
			below   int64
			code    kafka.Code
			low     int64
			start   int64 // afterwards
		}{
			{0, 3, kafka.None, 3, 3},
			{1, 2, kafka.None, 3, 3}, // it never goes back
			{2, 11, kafka.OffsetOutOfRange, -1, 3},
			{2, -2, kafka.OffsetOutOfRange, -1, 3},
			{2, 7, kafka.None, 7, 7},
			{0, -1, kafka.None, 10, 10},
			{2, -1, kafka.None, 10, 10},
		} {
			got := c.deleteRecords(step.version, "events", 0, step.below)
			if kafka.Code(got.ErrorCode) != step.code || got.LowWatermark != step.low {
				t.Errorf("v%d below %d: %v, low watermark %d", step.version, step.below, kafka.Code(got.ErrorCode), got.LowWatermark)
			}
			for _, earliest := range []int64{replica.Earliest, replica.EarliestLocal} {
				if at := c.listOffset("events", earliest); at != step.start {
					t.Errorf("below %d: timestamp %d is at %d", step.below, earliest, at)
				}
			}
			below := c.fetchOne(fetchRequest(13, place{"", id, 0, step.start - 1}))
			if kafka.Code(below.ErrorCode) != kafka.OffsetOutOfRange {
				t.Errorf("fetch below the log start: %v", kafka.Code(below.ErrorCode))
			}
			at := c.fetchOne(fetchRequest(13, place{"", id, 0, step.start}))
			if at.ErrorCode != 0 || at.LogStartOffset != step.start || len(values(t, at.RecordBatches)) != 10-int(step.start) {
				t.Errorf("fetch at the log start: %v, log start %d, %d bytes", kafka.Code(at.ErrorCode), at.LogStartOffset, len(at.RecordBatches))
			}
		}
		if p := c.produce(13, "", id, 0, -1, records("after")); p.BaseOffset != 10 || p.LogStartOffset != 10 {
			t.Errorf("%+v", p)
		}
	})
}

func TestDeleteRecordsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		compacted := n.topic("compacted", 1, "cleanup.policy", "compact")
		both := n.topic("both", 1, "cleanup.policy", "compact,delete")
		kept := n.topic("kept", 1, "cleanup.policy", "")
		c := n.dial()
		for _, id := range []kafka.TopicID{compacted, both, kept} {
			if p := c.produce(13, "", id, 0, -1, keyed("v")); p.ErrorCode != 0 {
				t.Fatal(kafka.Code(p.ErrorCode))
			}
		}
		ledBy := func(name string, node kafka.NodeID) {
			id := kafka.TopicID{byte(node), 99}
			n.publish([]metarec.Record{&metarec.Topic{Name: name, TopicID: id}, &metarec.Partition{TopicID: id, Leader: node,
				Replicas: []kafka.NodeID{node}, ISR: []kafka.NodeID{node}, Directories: []kafka.DirectoryID{{1: 7}}}})
		}
		ledBy("elsewhere", 7)
		ledBy("__consumer_offsets", self)
		for v := int16(0); v <= 2; v++ {
			for _, q := range []struct {
				topic     string
				partition int32
				want      kafka.Code
			}{
				{"nowhere", 0, kafka.UnknownTopicOrPartition}, {"both", 1, kafka.UnknownTopicOrPartition}, {"both", -1, kafka.UnknownTopicOrPartition},
				{"elsewhere", 0, kafka.NotLeaderForPartition}, {"__consumer_offsets", 0, kafka.InvalidTopicException},
				{"compacted", 0, kafka.PolicyViolation}, {"both", 0, kafka.None}, {"kept", 0, kafka.None},
			} {
				got := c.deleteRecords(v, q.topic, q.partition, -1)
				if kafka.Code(got.ErrorCode) != q.want || (q.want != kafka.None) != (got.LowWatermark == -1) {
					t.Errorf("v%d %s %d: %v, low watermark %d, want %v", v, q.topic, q.partition, kafka.Code(got.ErrorCode), got.LowWatermark, q.want)
				}
			}
		}
		// A policy that changes counts at once.
		if got := c.deleteRecords(2, "compacted", 0, 0); kafka.Code(got.ErrorCode) != kafka.PolicyViolation {
			t.Errorf("%v", kafka.Code(got.ErrorCode))
		}
		value := "delete"
		n.publish([]metarec.Record{&metarec.Config{ResourceType: 2, ResourceName: "compacted", Name: "cleanup.policy", Value: &value}})
		n.exec.Wait()
		if got := c.deleteRecords(2, "compacted", 0, -1); got.ErrorCode != 0 || got.LowWatermark != 1 {
			t.Errorf("after the change: %v, %d", kafka.Code(got.ErrorCode), got.LowWatermark)
		}
	})
}

// A partition that is named twice is answered once: the last offset counts.
func TestDeleteRecordsTwice(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		c := n.dial()
		for range 5 {
			c.produce(13, "", id, 0, -1, records("x"))
		}
		req := deletionOf(2, "events", 0, 4)
		req.Topics = append(req.Topics, deletionOf(2, "events", 1, 0).Topics[0], deletionOf(2, "events", 0, 2).Topics[0])
		resp := c.do(req).(*kmsg.DeleteRecordsResponse)
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 2 || resp.Topics[0].Partitions[0].LowWatermark != 2 {
			t.Errorf("%+v", resp.Topics)
		}
	})
}

// The files of segments that nothing is left of go after file.delete.delay.ms,
// the last one's too; the log start outlives a crash once it was checkpointed.
func TestDeleteRecordsGivesRoomBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		disk := vfs.NewMemory()
		n := start(t, func(s *setup) { s.fs = disk })
		id := n.topic("events", 1, "segment.bytes", "1048576")
		c := n.dial()
		for range 6 {
			if p := c.produce(13, "", id, 0, -1, records(strings.Repeat("x", 500_000))); p.ErrorCode != 0 {
				t.Fatal(kafka.Code(p.ErrorCode))
			}
		}
		logs := func(suffix string) (names []string) {
			list, err := disk.ReadDir("/data/events-0")
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if strings.HasSuffix(e.Name, suffix) {
					names = append(names, strings.TrimLeft(strings.TrimSuffix(e.Name, suffix), "0"))
				}
			}
			slices.Sort(names)
			return names
		}
		expect := func(what string, live, doomed []string) {
			t.Helper()
			if got := logs(".log"); !slices.Equal(got, live) {
				t.Errorf("%s: segments %q, want %q", what, got, live)
			}
			if got := logs(".log.deleted"); !slices.Equal(got, doomed) {
				t.Errorf("%s: deleted segments %q, want %q", what, got, doomed)
			}
		}
		expect("before", []string{"", "2", "4"}, nil)
		c.deleteRecords(2, "events", 0, 3)
		expect("one and a half", []string{"2", "4"}, []string{""})
		time.Sleep(61 * time.Second)
		expect("a minute later", []string{"2", "4"}, nil)
		c.deleteRecords(2, "events", 0, -1)
		expect("all", []string{"6"}, []string{"2", "4"})
		time.Sleep(61 * time.Second)
		expect("after all", []string{"6"}, nil)
		p := n.table.Get(id, 0)
		if tail, _ := p.Tail(); tail.SizeBytes != 0 || tail.LogStart != 6 {
			t.Errorf("%+v", tail)
		}
		c.produce(13, "", id, 0, -1, records("a", "b"))
		c.deleteRecords(2, "events", 0, 7)
		time.Sleep(61 * time.Second) // the flusher's checkpoint
		b, err := vfs.ReadFile(disk, "/data/log-start-offset-checkpoint", 1<<20)
		if err != nil || !strings.Contains(string(b), "events 0 7") {
			t.Errorf("%q, %v", b, err)
		}
	})
}

// A consumer that waits at the end does not notice, and goes on.
func TestDeleteRecordsUnderAWaitingFetch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 1)
		writer, reader := n.dial(), n.dial()
		writer.produce(13, "", id, 0, -1, records("a", "b"))
		req := fetchRequest(13, place{"", id, 0, 2})
		req.MaxWaitMillis = 60_000
		sent := reader.send(req)
		time.Sleep(time.Second)
		if got := writer.deleteRecords(2, "events", 0, -1); got.ErrorCode != 0 {
			t.Fatal(kafka.Code(got.ErrorCode))
		}
		time.Sleep(time.Second)
		writer.produce(13, "", id, 0, -1, records("c"))
		resp := reader.receive(req, sent).(*kmsg.FetchResponse)
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || !slices.Equal(values(t, p.RecordBatches), []string{"2=c"}) {
			t.Errorf("%v, %q", kafka.Code(p.ErrorCode), values(t, p.RecordBatches))
		}
	})
}
