// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// The tests named TestPointNN are the rules that compatible brokers get wrong,
// numbered as in the list this project keeps of them.

func apiVersions(version int16) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion, req.NodeID = version, "a-client", "1.0.0", -1
	return req
}

// 1: an unknown version of ApiVersions is answered in the layout of version 0
// with error 35 and the range of ApiVersions alone, and the connection lives.
func TestPoint01UnknownApiVersionsVersion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t).dial()
		for _, version := range []int16{6, 7, 99, 32767} {
			req := apiVersions(5)
			b := encode(req, 1)
			binary.BigEndian.PutUint16(b[6:], uint16(version))
			c.write(b)
			_, body, err := c.frame()
			if err != nil {
				t.Fatal(err)
			}
			want := []byte{0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5}
			if !bytes.Equal(body, want) {
				t.Errorf("version %d: got % x, want % x", version, body, want)
			}
		}
		if resp := c.do(apiVersions(3)).(*kmsg.ApiVersionsResponse); resp.ErrorCode != 0 {
			t.Errorf("afterwards: %v", kafka.Code(resp.ErrorCode))
		}
	})
}

// 2: the response header of ApiVersions is never flexible. (receive reads it so.)
func TestPoint02ApiVersionsHeader(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t).dial()
		for v := int16(0); v <= 5; v++ {
			resp := c.do(apiVersions(v)).(*kmsg.ApiVersionsResponse)
			if resp.ErrorCode != 0 || len(resp.ApiKeys) != advertised() {
				t.Errorf("v%d: code %v, %d keys", v, kafka.Code(resp.ErrorCode), len(resp.ApiKeys))
			}
		}
	})
}

// 3: software names are checked; other unsupported keys and versions end the
// connection.
func TestPoint03SoftwareNamesAndUnsupportedRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		for name, want := range map[string]kafka.Code{
			"librdkafka": 0, "a": 0, "apache-kafka-java": 0, "a.b-c": 0,
			"": kafka.InvalidRequest, "-a": kafka.InvalidRequest, "a-": kafka.InvalidRequest, "a b": kafka.InvalidRequest, "ä": kafka.InvalidRequest,
		} {
			req := apiVersions(3)
			req.ClientSoftwareName = name
			if resp := c.do(req).(*kmsg.ApiVersionsResponse); kafka.Code(resp.ErrorCode) != want {
				t.Errorf("name %q: %v, want %v", name, kafka.Code(resp.ErrorCode), want)
			}
			req = apiVersions(3)
			req.ClientSoftwareVersion = name
			if resp := c.do(req).(*kmsg.ApiVersionsResponse); kafka.Code(resp.ErrorCode) != want {
				t.Errorf("version %q: %v, want %v", name, kafka.Code(resp.ErrorCode), want)
			}
		}
		unsupported := [][2]int16{{-1, 0}, {4, 0}, {10, 0}, {62, 0}, {999, 0}, {keyMetadata, 14}, {keyMetadata, -1}, {keyFetch, 3}, {keyProduce, 2}, {keyProduce, 0}, {keyCreateTopics, 1}}
		for _, u := range unsupported {
			c := n.dial()
			b := encode(apiVersions(0), 1)
			binary.BigEndian.PutUint16(b[4:], uint16(u[0]))
			binary.BigEndian.PutUint16(b[6:], uint16(u[1]))
			c.write(b)
			if !c.isClosed() {
				t.Errorf("key %d version %d: the connection is open", u[0], u[1])
			}
		}
	})
}

// 4: features with minimum 0 are hidden from versions 0 to 3 (KAFKA-17011);
// finalized levels and their epoch are exact.
func TestPoint04Features(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		for v := int16(3); v <= 5; v++ {
			resp := c.do(apiVersions(v)).(*kmsg.ApiVersionsResponse)
			var supported []string
			for _, f := range resp.SupportedFeatures {
				supported = append(supported, f.Name)
				if f.Name == "metadata.version" && (f.MinVersion != 7 || f.MaxVersion != 33) {
					t.Errorf("v%d: metadata.version %d to %d", v, f.MinVersion, f.MaxVersion)
				}
			}
			want := []string{"metadata.version"}
			if v >= 4 {
				want = []string{"kraft.version", "metadata.version"}
			}
			if !slices.Equal(supported, want) {
				t.Errorf("v%d supports %v, want %v", v, supported, want)
			}
			finalized := map[string]int16{}
			for _, f := range resp.FinalizedFeatures {
				finalized[f.Name] = f.MaxVersionLevel
			}
			if len(finalized) != 2 || finalized["metadata.version"] != 33 || finalized["kraft.version"] != 1 {
				t.Errorf("v%d: finalized %v", v, finalized)
			}
			if resp.FinalizedFeaturesEpoch != int64(n.images.Load().Offset()) {
				t.Errorf("v%d: features of epoch %d", v, resp.FinalizedFeaturesEpoch)
			}
		}
		// A level that a newer program has finalized is told no higher than what is built.
		n.mu.Lock()
		n.publish([]metarec.Record{&metarec.FeatureLevel{Name: "metadata.version", Level: 40}, &metarec.FeatureLevel{Name: "transaction.version", Level: 2}})
		n.mu.Unlock()
		for _, f := range c.do(apiVersions(4)).(*kmsg.ApiVersionsResponse).FinalizedFeatures {
			if f.Name == "metadata.version" && f.MaxVersionLevel != 33 || f.Name == "transaction.version" {
				t.Errorf("told %s %d", f.Name, f.MaxVersionLevel)
			}
		}
	})
}

// kafkaRanges are what Apache Kafka 4.4 advertises, by API key. Produce begins
// at 0 though it is spoken from 3 on, and InitProducerId 6 is not stable.
var kafkaRanges = map[int16][2]int16{
	0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9},
	12: {0, 4}, 13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 17: {0, 1}, 18: {0, 5}, 19: {2, 7},
	20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 24: {0, 5}, 25: {0, 4}, 26: {0, 5}, 27: {1, 2},
	28: {0, 6}, 29: {1, 3}, 30: {1, 3}, 31: {1, 3}, 32: {1, 4}, 33: {0, 2}, 34: {1, 2}, 35: {1, 5},
	36: {0, 2}, 37: {0, 3}, 38: {1, 3}, 39: {1, 2}, 40: {1, 2}, 41: {1, 3}, 42: {0, 3}, 43: {0, 2},
	44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0}, 48: {0, 1}, 49: {0, 1}, 50: {0, 0}, 51: {0, 0},
	52: {0, 2}, 53: {0, 1}, 54: {0, 1}, 55: {0, 2}, 56: {2, 3}, 57: {0, 2}, 58: {0, 0}, 59: {0, 1},
	60: {0, 2}, 61: {0, 0}, 62: {0, 4}, 63: {0, 2}, 64: {0, 0}, 65: {0, 0}, 66: {0, 2}, 67: {0, 0},
	68: {0, 1}, 69: {0, 1}, 70: {0, 0}, 71: {0, 0}, 72: {0, 0}, 73: {0, 0}, 74: {0, 1}, 75: {0, 0},
	76: {1, 1}, 77: {1, 1}, 78: {1, 2}, 79: {1, 2}, 80: {0, 1}, 81: {0, 0}, 82: {0, 0}, 83: {0, 0},
	84: {0, 0}, 85: {0, 1}, 86: {0, 0}, 87: {0, 1}, 88: {0, 1}, 89: {0, 1}, 90: {0, 1}, 91: {0, 0},
	92: {0, 0}, 93: {0, 0}, 94: {0, 0},
}

// advertised counts the APIs that clients are told of.
func advertised() int { return len(rows()) }

// 5: what is built has the ranges of Kafka 4.4, and no others.
func TestPoint05AdvertisedRanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		resp := start(t).dial().do(apiVersions(4)).(*kmsg.ApiVersionsResponse)
		if len(resp.ApiKeys) != advertised() {
			t.Errorf("%d keys are advertised, %d are built", len(resp.ApiKeys), advertised())
		}
		for _, k := range resp.ApiKeys {
			if want := kafkaRanges[k.ApiKey]; want != [2]int16{k.MinVersion, k.MaxVersion} {
				t.Errorf("key %d: %d to %d, want %v", k.ApiKey, k.MinVersion, k.MaxVersion, want)
			}
		}
	})
}

// 6: replies keep the order of requests, with a long poll in between; a
// Produce with acks=0 takes no reply.
func TestPoint06RepliesKeepTheirOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		poll := fetchRequest(12, place{"t", id, 0, 2})
		poll.MaxWaitMillis = 5000
		began := time.Now()
		first := produceRequest(9, "t", id, 0, -1, records("a"))
		a := c.send(first)
		c.send(produceRequest(9, "t", id, 0, 0, records("b"))) // no reply
		b := c.send(poll)
		d := c.send(apiVersions(3))
		c.receive(first, a)
		c.receive(poll, b)
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("the long poll took %v", waited)
		}
		c.receive(apiVersions(3), d)
	})
}

// 7: acks=0 with an error closes the connection.
func TestPoint07AcksZeroWithAnError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		c.send(produceRequest(9, "t", id, 0, 0, records("fine")))
		if p := c.produce(9, "t", id, 0, 1, records("fine")); p.BaseOffset != 1 {
			t.Fatalf("offset %d", p.BaseOffset)
		}
		c.send(produceRequest(9, "nowhere", id, 0, 0, records("lost")))
		if !c.isClosed() {
			t.Error("the connection is open")
		}
	})
}

// 8: unknown tagged fields are read over.
func TestPoint08UnknownTags(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		produce := produceRequest(9, "t", id, 0, 1, records("x"))
		produce.UnknownTags.Set(77, []byte("something"))
		produce.Topics[0].UnknownTags.Set(78, []byte("more"))
		produce.Topics[0].Partitions[0].UnknownTags.Set(79, nil)
		if p := c.do(produce).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Errorf("produce: %v", kafka.Code(p.ErrorCode))
		}
		fetch := fetchRequest(16, place{"t", id, 0, 0})
		fetch.UnknownTags.Set(77, []byte("something"))
		fetch.Topics[0].Partitions[0].UnknownTags.Set(79, []byte{1})
		if p := c.fetchOne(fetch); len(values(t, p.RecordBatches)) != 1 {
			t.Errorf("fetch: %v", kafka.Code(p.ErrorCode))
		}
		meta := kmsg.NewPtrMetadataRequest()
		meta.Version = 12
		meta.UnknownTags.Set(5, []byte("x"))
		if resp := c.do(meta).(*kmsg.MetadataResponse); len(resp.Topics) != 1 {
			t.Errorf("metadata: %d topics", len(resp.Topics))
		}
	})
}

// 10: ApiVersions v5 for another cluster or node says REBOOTSTRAP_REQUIRED; one
// without the other is INVALID_REQUEST.
func TestPoint10Rebootstrap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t).dial()
		other, own := "Another-Cluster-000000", clusterID
		for _, tc := range []struct {
			cluster *string
			node    int32
			want    kafka.Code
		}{
			{nil, -1, 0}, {&own, int32(self), 0}, {&own, -1, kafka.InvalidRequest}, {nil, int32(self), kafka.InvalidRequest},
			{&other, int32(self), kafka.RebootstrapRequired}, {&own, 2, kafka.RebootstrapRequired}, {&other, 2, kafka.RebootstrapRequired},
		} {
			req := apiVersions(5)
			req.ClusterID, req.NodeID = tc.cluster, tc.node
			if resp := c.do(req).(*kmsg.ApiVersionsResponse); kafka.Code(resp.ErrorCode) != tc.want {
				t.Errorf("%v, node %d: %v, want %v", tc.cluster, tc.node, kafka.Code(resp.ErrorCode), tc.want)
			}
		}
	})
}

func metadata(version int16, topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = version, []kmsg.MetadataRequestTopic{}
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

// 11: only brokers with the client's listener are told; the leader without it
// is LISTENER_NOT_FOUND from v6 on, LEADER_NOT_AVAILABLE before.
func TestPoint11Listeners(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		other := metarec.NewRegisterBroker()
		other.BrokerID, other.Fenced = 2, false
		other.EndPoints = []metarec.Endpoint{{Name: "OTHER", Host: "elsewhere", Port: 1}}
		fenced := metarec.NewRegisterBroker()
		fenced.BrokerID, fenced.Fenced = 3, true
		fenced.EndPoints = []metarec.Endpoint{{Name: "PLAINTEXT", Host: "asleep", Port: 1}}
		id := kafka.TopicID{9}
		part := func(p kafka.PartitionID, node kafka.NodeID) metarec.Record {
			r := &metarec.Partition{TopicID: id, PartitionID: p, Leader: node}
			r.Replicas, r.ISR, r.Directories = []kafka.NodeID{node}, []kafka.NodeID{node}, []kafka.DirectoryID{{1: 9}}
			return r
		}
		n.mu.Lock()
		n.publish([]metarec.Record{other, fenced, &metarec.Topic{Name: "far", TopicID: id}, part(0, 2), part(1, 3), part(2, 4)})
		n.mu.Unlock()
		c := n.dial()
		for v := int16(0); v <= 13; v++ {
			resp := c.do(metadata(v, "far")).(*kmsg.MetadataResponse)
			if len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != int32(self) || v >= 1 && resp.ControllerID != int32(self) {
				t.Errorf("v%d: brokers %v, controller %d", v, resp.Brokers, resp.ControllerID)
			}
			wants := []kafka.Code{kafka.ListenerNotFound, kafka.ListenerNotFound, kafka.LeaderNotAvailable}
			if v < 6 {
				wants[0], wants[1] = kafka.LeaderNotAvailable, kafka.LeaderNotAvailable
			}
			for i, want := range wants {
				p := resp.Topics[0].Partitions[i]
				if kafka.Code(p.ErrorCode) != want || p.Leader != -1 {
					t.Errorf("v%d partition %d: %v, leader %d, want %v", v, i, kafka.Code(p.ErrorCode), p.Leader, want)
				}
				if v >= 5 && len(p.OfflineReplicas) != 1 {
					t.Errorf("v%d partition %d: offline replicas %v", v, i, p.OfflineReplicas)
				}
			}
		}
	})
}
