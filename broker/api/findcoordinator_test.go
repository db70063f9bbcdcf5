// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

func finding(version int16, kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorType, req.CoordinatorKeys = version, kind, keys
	if version < 4 {
		req.CoordinatorKey = keys[0]
	}
	return req
}

// FindCoordinator answers COORDINATOR_NOT_AVAILABLE and creates
// __consumer_offsets with the coordinator's own settings; then it names the
// leader of the partition that the group hashes to, at every version.
func TestFindCoordinatorCreatesTheTopic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) {
			s.set = []string{"offsets.topic.num.partitions=7", "offsets.topic.segment.bytes=2000000", "auto.create.topics.enable=false"}
		})
		c := n.dial()
		for i := range 3 { // one who asks again meanwhile starts nothing
			resp := c.do(finding(6, 0, "a", "b")).(*kmsg.FindCoordinatorResponse)
			if i > 0 && resp.Coordinators[0].ErrorCode == 0 {
				break // it was quick
			}
			for _, k := range resp.Coordinators {
				if kafka.Code(k.ErrorCode) != kafka.CoordinatorNotAvailable || k.NodeID != -1 || k.Host != "" || k.Port != -1 {
					t.Errorf("before the topic is there: %+v", k)
				}
			}
		}
		time.Sleep(time.Second)
		topic := n.images.Load().Topic("__consumer_offsets")
		if topic == nil || topic.PartitionCount() != 7 || len(topic.Partition(0).Replicas) != 1 {
			t.Fatalf("the topic: %+v", topic)
		}
		for v := range int16(7) {
			resp := c.do(finding(v, 0, "a", "b")).(*kmsg.FindCoordinatorResponse)
			if v < 4 {
				if resp.ErrorCode != 0 || resp.NodeID != int32(self) || resp.Host != "node" || resp.Port != 9092 {
					t.Errorf("v%d: %+v", v, resp)
				}
				continue
			}
			if len(resp.Coordinators) != 2 {
				t.Fatalf("v%d: %+v", v, resp)
			}
			for i, k := range resp.Coordinators {
				if k.ErrorCode != 0 || k.Key != []string{"a", "b"}[i] || k.NodeID != int32(self) || k.Port != 9092 {
					t.Errorf("v%d: %+v", v, k)
				}
			}
		}
	})
}

// The replicas of the topic: what was set by hand holds, and fails as in Kafka
// when there are not so many brokers.
func TestOffsetsTopicReplicas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"offsets.topic.replication.factor=3"} })
		c := n.dial()
		for range 3 {
			resp := c.do(finding(3, 0, "a")).(*kmsg.FindCoordinatorResponse)
			if kafka.Code(resp.ErrorCode) != kafka.CoordinatorNotAvailable {
				t.Errorf("%v", kafka.Code(resp.ErrorCode))
			}
			time.Sleep(time.Second)
		}
		if n.images.Load().Topic("__consumer_offsets") != nil {
			t.Error("there is a topic of three replicas on one broker")
		}
	})
}

// Coordinators that are not here, keys and types that are none.
func TestFindCoordinatorOthers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		for _, k := range []struct {
			version int16
			kind    int8
			key     string
			want    kafka.Code
		}{
			{6, 1, "tx", kafka.CoordinatorNotAvailable}, {6, 3, "x", kafka.InvalidRequest}, {4, -1, "x", kafka.InvalidRequest},
			{6, 2, "g:AAAAAAAAAAAAAAAAAAAAAQ:0", kafka.CoordinatorNotAvailable}, {6, 2, "a:b:AAAAAAAAAAAAAAAAAAAAAQ==:1", kafka.CoordinatorNotAvailable},
			{5, 2, "g:AAAAAAAAAAAAAAAAAAAAAQ:0", kafka.InvalidRequest}, {6, 2, "g", kafka.InvalidRequest}, {6, 2, "g:0", kafka.InvalidRequest},
			{6, 2, " :AAAAAAAAAAAAAAAAAAAAAQ:0", kafka.InvalidRequest}, {6, 2, "g:short:0", kafka.InvalidRequest}, {6, 2, "g:AAAAAAAAAAAAAAAAAAAAAQ:x", kafka.InvalidRequest},
			{6, 2, "g:AAAAAAAAAAAAAAAAAAAAAQ:4294967296", kafka.InvalidRequest}, {6, 2, strings.Repeat("g", 30000), kafka.InvalidRequest},
		} {
			resp := c.do(finding(k.version, k.kind, k.key)).(*kmsg.FindCoordinatorResponse)
			if got := kafka.Code(resp.Coordinators[0].ErrorCode); got != k.want {
				t.Errorf("v%d type %d %.40q: %v, want %v", k.version, k.kind, k.key, got, k.want)
			}
		}
		time.Sleep(time.Second)
		if got := n.images.Load().TopicCount(); got != 0 {
			t.Errorf("%d topics were created", got)
		}
	})
}
