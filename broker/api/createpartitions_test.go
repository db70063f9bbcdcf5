// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

func growth(version int16, topic string, count int32) *kmsg.CreatePartitionsRequest {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.TimeoutMillis = version, 5000
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, count
	req.Topics = append(req.Topics, t)
	return req
}

// 62: there is an answer for each topic, a count that is not above the current
// one is INVALID_PARTITIONS, and whoever sees the answer can use the new
// partitions.
func TestPoint62CreatePartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("a", 1)
		c := n.dial()
		for v := int16(0); v <= 3; v++ {
			count := int32(v) + 2
			req := growth(v, "a", count)
			req.ValidateOnly = true
			if got := c.do(req).(*kmsg.CreatePartitionsResponse).Topics; len(got) != 1 || got[0].ErrorCode != 0 {
				t.Fatalf("v%d, to look only: %+v", v, got)
			}
			if got := n.images.Load().Topic("a").PartitionCount(); got != int(count)-1 {
				t.Fatalf("v%d: looking made %d partitions", v, got)
			}
			req = growth(v, "a", count)
			req.Topics = append(req.Topics, growth(v, "nowhere", 3).Topics...)
			got := c.do(req).(*kmsg.CreatePartitionsResponse).Topics
			if len(got) != 2 || got[0].ErrorCode != 0 || got[0].ErrorMessage != nil || kafka.Code(got[1].ErrorCode) != kafka.UnknownTopicOrPartition {
				t.Fatalf("v%d: %+v", v, got)
			}
			if p := c.produce(9, "a", kafka.TopicID{}, count-1, -1, records("x")); p.ErrorCode != 0 || p.BaseOffset != 0 {
				t.Fatalf("v%d: produce right after: %v", v, kafka.Code(p.ErrorCode))
			}
			for _, no := range []int32{count, count - 1, 0, -1} {
				got := c.do(growth(v, "a", no)).(*kmsg.CreatePartitionsResponse).Topics[0]
				if kafka.Code(got.ErrorCode) != kafka.InvalidPartitions || got.ErrorMessage == nil {
					t.Errorf("v%d count %d: %+v", v, no, got)
				}
			}
		}
	})
}

func TestCreatePartitionsWithoutAController(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("a", 1)
		n.frozen = true
		got := n.dial().do(growth(3, "a", 2)).(*kmsg.CreatePartitionsResponse).Topics
		if len(got) != 1 || got[0].Topic != "a" || kafka.Code(got[0].ErrorCode) != kafka.NotController {
			t.Errorf("%+v", got)
		}
	})
}
