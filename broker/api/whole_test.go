// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Every version of Produce and Fetch carries records from a client to a client.
func TestProduceAndFetchInEveryVersion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 2)
		c := n.dial()
		var want []string
		for v := int16(3); v <= 13; v++ {
			for _, acks := range []int16{1, -1} {
				value := fmt.Sprintf("v%d acks %d", v, acks)
				p := c.produce(v, "events", id, 1, acks, records(value))
				if p.ErrorCode != 0 || p.BaseOffset != int64(len(want)) {
					t.Fatalf("produce v%d: code %v, offset %d, want %d", v, kafka.Code(p.ErrorCode), p.BaseOffset, len(want))
				}
				want = append(want, fmt.Sprintf("%d=%s", len(want), value))
			}
		}
		for v := int16(4); v <= 18; v++ {
			p := c.fetchOne(fetchRequest(v, place{"events", id, 1, 0}))
			if p.ErrorCode != 0 || p.HighWatermark != int64(len(want)) {
				t.Fatalf("fetch v%d: code %v, high watermark %d", v, kafka.Code(p.ErrorCode), p.HighWatermark)
			}
			if got := values(t, p.RecordBatches); !slices.Equal(got, want) {
				t.Fatalf("fetch v%d: got %q, want %q", v, got, want)
			}
		}
	})
}

func TestTopicLifeOverTheWire(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		for v := int16(2); v <= 7; v++ {
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Version, req.TimeoutMillis = v, 5000
			rt := kmsg.NewCreateTopicsRequestTopic()
			rt.Topic, rt.NumPartitions, rt.ReplicationFactor = fmt.Sprintf("t%d", v), 4, 1
			req.Topics = append(req.Topics, rt)
			created := c.do(req).(*kmsg.CreateTopicsResponse).Topics[0]
			if created.ErrorCode != 0 {
				t.Fatalf("create v%d: %v", v, kafka.Code(created.ErrorCode))
			}
			// The answer came after this broker knew the topic, so it works at once.
			if p := c.produce(9, rt.Topic, kafka.TopicID{}, 3, -1, records("x")); p.ErrorCode != 0 {
				t.Fatalf("produce right after create v%d: %v", v, kafka.Code(p.ErrorCode))
			}
		}
		for v := int16(1); v <= 6; v++ {
			name := fmt.Sprintf("t%d", v+1)
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version, req.TimeoutMillis, req.TopicNames = v, 5000, []string{name}
			if v == 6 {
				dt := kmsg.NewDeleteTopicsRequestTopic()
				dt.Topic = &name
				req.Topics = append(req.Topics, dt)
			}
			deleted := c.do(req).(*kmsg.DeleteTopicsResponse).Topics[0]
			if deleted.ErrorCode != 0 {
				t.Fatalf("delete v%d: %v", v, kafka.Code(deleted.ErrorCode))
			}
			if p := c.produce(9, name, kafka.TopicID{}, 0, 1, records("x")); kafka.Code(p.ErrorCode) != kafka.UnknownTopicOrPartition {
				t.Fatalf("produce right after delete v%d: %v", v, kafka.Code(p.ErrorCode))
			}
		}
	})
}
