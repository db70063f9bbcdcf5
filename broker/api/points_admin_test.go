// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/config"
)

// 56: which topics a Metadata request means, and what unknown ones are called.
func TestPoint56MetadataTopics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"auto.create.topics.enable=false"} })
		a, b := n.topic("a", 2), n.topic("b", 1)
		c := n.dial()
		for v := int16(0); v <= 13; v++ {
			null := metadata(v)
			null.Topics = nil
			empty := metadata(v)
			wantNull, wantEmpty := 2, 0
			if v == 0 {
				wantEmpty = 2 // version 0 has no null
			}
			if got := len(c.do(null).(*kmsg.MetadataResponse).Topics); got != wantNull {
				t.Errorf("v%d null: %d topics", v, got)
			}
			if got := len(c.do(empty).(*kmsg.MetadataResponse).Topics); got != wantEmpty {
				t.Errorf("v%d empty: %d topics", v, got)
			}
			resp := c.do(metadata(v, "a", "nowhere", "not/valid", "a", "")).(*kmsg.MetadataResponse)
			wants := []kafka.Code{kafka.None, kafka.UnknownTopicOrPartition, kafka.InvalidTopicException, kafka.InvalidTopicException}
			if len(resp.Topics) != len(wants) {
				t.Fatalf("v%d: %d topics", v, len(resp.Topics))
			}
			for i, want := range wants {
				if kafka.Code(resp.Topics[i].ErrorCode) != want {
					t.Errorf("v%d %s: %v, want %v", v, *resp.Topics[i].Topic, kafka.Code(resp.Topics[i].ErrorCode), want)
				}
			}
			own := resp.Topics[0]
			if len(own.Partitions) != 2 || own.Partitions[1].Leader != int32(self) || own.Partitions[1].ErrorCode != 0 {
				t.Errorf("v%d: %+v", v, own)
			}
			if v >= 10 && own.TopicID != a {
				t.Errorf("v%d: topic id %v", v, own.TopicID)
			}
			if v >= 2 && (resp.ClusterID == nil || *resp.ClusterID != clusterID) {
				t.Errorf("v%d: cluster %v", v, resp.ClusterID)
			}
		}
		byID := func(v int16, ids ...kafka.TopicID) *kmsg.MetadataResponse {
			req := metadata(v)
			for _, id := range ids {
				rt := kmsg.NewMetadataRequestTopic()
				rt.TopicID = id
				req.Topics = append(req.Topics, rt)
			}
			return c.do(req).(*kmsg.MetadataResponse)
		}
		for v := int16(10); v <= 13; v++ {
			resp := byID(v, b, kafka.TopicID{7})
			if v < 12 {
				if got := kafka.Code(resp.Topics[0].ErrorCode); got != kafka.InvalidRequest {
					t.Errorf("v%d by id: %v", v, got)
				}
				continue
			}
			if *resp.Topics[0].Topic != "b" || kafka.Code(resp.Topics[1].ErrorCode) != kafka.UnknownTopicID || resp.Topics[1].TopicID != [16]byte{7} {
				t.Errorf("v%d by id: %+v", v, resp.Topics)
			}
		}
	})
}

// 57: a topic is created on first sight only if the broker and the request
// want it and not all topics were asked for; the first answer still says that
// there is none.
func TestPoint57AutoCreation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		refusing := metadata(9, "unwanted")
		refusing.AllowAutoTopicCreation = false
		c.do(refusing)
		wanting := metadata(9, "wanted", "__consumer_offsets", "in/valid")
		wanting.AllowAutoTopicCreation = true
		if got := kafka.Code(c.do(wanting).(*kmsg.MetadataResponse).Topics[0].ErrorCode); got != kafka.UnknownTopicOrPartition {
			t.Errorf("first answer: %v", got)
		}
		time.Sleep(time.Second)
		resp := c.do(wanting).(*kmsg.MetadataResponse)
		if got := resp.Topics[0]; got.ErrorCode != 0 || len(got.Partitions) != 3 {
			t.Errorf("second answer: %v, %d partitions", kafka.Code(got.ErrorCode), len(got.Partitions))
		}
		c.do(metadata(3, "old-client")) // before v4 there was no flag
		time.Sleep(time.Second)
		img := n.images.Load()
		if img.Topic("unwanted") != nil || img.Topic("__consumer_offsets").PartitionCount() != 50 || img.Topic("old-client") == nil || img.TopicCount() != 3 {
			t.Errorf("%d topics", img.TopicCount())
		}
	})
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"auto.create.topics.enable=false"} })
		req := metadata(9, "wanted")
		req.AllowAutoTopicCreation = true
		n.dial().do(req)
		time.Sleep(time.Second)
		if n.images.Load().TopicCount() != 0 {
			t.Error("a topic was created though the broker does not want it")
		}
	})
}

// A topic that is asked for a thousand times is created once.
func TestAutoCreationAsksOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.mu.Lock() // the controller takes its time
		for range 20 {
			c := n.dial()
			req := metadata(9, "wanted")
			req.AllowAutoTopicCreation = true
			for range 5 {
				c.do(req)
			}
		}
		n.mu.Unlock()
		time.Sleep(time.Second)
		if got := n.api.Stats().AutoCreatedTotal; got != 1 {
			t.Errorf("the controller was asked %d times", got)
		}
	})
}

// 58: validateOnly creates nothing.
func TestPoint58ValidateOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.ValidateOnly, req.TimeoutMillis = 7, true, 60_000
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "t", 1, 1
		req.Topics = append(req.Topics, rt)
		began := time.Now()
		if got := n.dial().do(req).(*kmsg.CreateTopicsResponse).Topics[0]; got.ErrorCode != 0 {
			t.Errorf("%v", kafka.Code(got.ErrorCode))
		}
		if n.images.Load().TopicCount() != 0 || time.Since(began) != 0 {
			t.Errorf("%d topics after %v", n.images.Load().TopicCount(), time.Since(began))
		}
	})
}

// 61: name and id together, and ids that nobody knows.
func TestPoint61DeleteTopics(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		name := "t"
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TimeoutMillis = 6, 1000
		add := func(name *string, id kafka.TopicID) {
			rt := kmsg.NewDeleteTopicsRequestTopic()
			rt.Topic, rt.TopicID = name, id
			req.Topics = append(req.Topics, rt)
		}
		add(&name, id)
		add(nil, kafka.TopicID{3})
		got := map[kafka.Code]bool{}
		for _, r := range n.dial().do(req).(*kmsg.DeleteTopicsResponse).Topics {
			got[kafka.Code(r.ErrorCode)] = true
		}
		if !got[kafka.InvalidRequest] || !got[kafka.UnknownTopicID] || len(got) != 2 {
			t.Errorf("codes %v", got)
		}
	})
}

// A controller that cannot be reached gives each topic its code.
func TestControllerIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.frozen = true
		c := n.dial()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version = 7
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic = "t"
		req.Topics = append(req.Topics, rt)
		if got := c.do(req).(*kmsg.CreateTopicsResponse).Topics; len(got) != 1 || kafka.Code(got[0].ErrorCode) != kafka.NotController {
			t.Errorf("create: %+v", got)
		}
		del := kmsg.NewPtrDeleteTopicsRequest()
		del.Version, del.TopicNames = 5, []string{"t"}
		if got := c.do(del).(*kmsg.DeleteTopicsResponse).Topics; len(got) != 1 || kafka.Code(got[0].ErrorCode) != kafka.NotController {
			t.Errorf("delete: %+v", got)
		}
	})
}

func TestInitProducerID(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t).dial()
		seen := map[int64]bool{}
		for v := int16(0); v <= 5; v++ {
			req := kmsg.NewPtrInitProducerIDRequest()
			req.Version, req.ProducerID, req.ProducerEpoch = v, -1, -1
			resp := c.do(req).(*kmsg.InitProducerIDResponse)
			if resp.ErrorCode != 0 || resp.ProducerEpoch != 0 || seen[resp.ProducerID] {
				t.Errorf("v%d: %v id %d epoch %d", v, kafka.Code(resp.ErrorCode), resp.ProducerID, resp.ProducerEpoch)
			}
			seen[resp.ProducerID] = true
			for _, id := range []string{"", "tx"} {
				req.TransactionalID = &id
				resp = c.do(req).(*kmsg.InitProducerIDResponse)
				if kafka.Code(resp.ErrorCode) != kafka.InvalidRequest || resp.ProducerID != -1 {
					t.Errorf("v%d transactional id %q: %v", v, id, kafka.Code(resp.ErrorCode))
				}
			}
			if v >= 3 {
				req.TransactionalID, req.ProducerID = nil, 5
				if resp = c.do(req).(*kmsg.InitProducerIDResponse); kafka.Code(resp.ErrorCode) != kafka.InvalidRequest {
					t.Errorf("v%d id without epoch: %v", v, kafka.Code(resp.ErrorCode))
				}
			}
		}
	})
}

func TestDescribeCluster(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t).dial()
		for v := int16(0); v <= 2; v++ {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.EndpointType, req.IncludeClusterAuthorizedOperations = v, 1, true
			resp := c.do(req).(*kmsg.DescribeClusterResponse)
			if resp.ErrorCode != 0 || resp.ClusterID != clusterID || resp.ControllerID != int32(self) || len(resp.Brokers) != 1 ||
				resp.Brokers[0].Host != "node" || resp.Brokers[0].Port != 9092 || resp.ClusterAuthorizedOperations != clusterOperations {
				t.Errorf("v%d: %+v", v, resp)
			}
			if v >= 1 {
				for endpoint, want := range map[int8]kafka.Code{2: kafka.MismatchedEndpointType, 3: kafka.UnsupportedEndpointType} {
					req.EndpointType = endpoint
					if got := kafka.Code(c.do(req).(*kmsg.DescribeClusterResponse).ErrorCode); got != want {
						t.Errorf("v%d endpoint type %d: %v", v, endpoint, got)
					}
				}
			}
		}
	})
}

func TestTopicNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "a.b_c-D9": true, "": false, ".": false, "..": false, "...": true,
		"a b": false, "ä": false, "a/b": false, strings.Repeat("x", 249): true, strings.Repeat("x", 250): false} {
		if got := validTopicName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// A controller's listener offers what controllers have, and nothing else.
func TestListenerRoles(t *testing.T) {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	a := New(Deps{Config: cfg, Images: NewImages(), Quotas: newQuotas(), Now: time.Now})
	c := &call.Call{Conn: &call.Conn{Listener: &call.Listener{Role: call.Controller}}, Key: keyMetadata}
	a.Open(c.Conn)
	if got := a.Handle(c); got != call.Close {
		t.Errorf("metadata on a controller's listener: %v", got)
	}
}
