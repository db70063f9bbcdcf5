// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// versions asks for what the broker speaks, in every way that clients do.
func (l *list) versions() {
	said := func(name, version string) func(*site, int16) kmsg.Request {
		return func(*site, int16) kmsg.Request {
			return &kmsg.ApiVersionsRequest{ClientSoftwareName: name, ClientSoftwareVersion: version, NodeID: -1}
		}
	}
	l.each(keyApiVersions, "ApiVersions/plain", said("parity", "1.0"))
	for i, c := range [][2]string{{"", ""}, {"", "1"}, {"a", ""}, {"a", "1"}, {"-a", "1"}, {"a-", "1"}, {"a b", "1"}, {"a", "1_0"}, {"apache.kafka-java", "4.4.0"}, {"ä", "1"}, {"a\n", "1"}, {strings.Repeat("a", 300), "1"}} {
		l.from(keyApiVersions, 3, fmt.Sprintf("ApiVersions/software %d", i), said(c[0], c[1]))
	}
	l.from(keyApiVersions, 3, "ApiVersions/cluster and node", func(s *site, _ int16) kmsg.Request {
		return &kmsg.ApiVersionsRequest{ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: &s.cluster, NodeID: 1}
	})
	for _, node := range []int32{0, 2, -1, -2} {
		l.from(keyApiVersions, 5, fmt.Sprintf("ApiVersions/right cluster, node %d", node), func(s *site, _ int16) kmsg.Request {
			return &kmsg.ApiVersionsRequest{ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: &s.cluster, NodeID: node}
		})
	}
	for _, c := range []struct {
		name    string
		cluster *string
		node    int32
	}{
		{"other cluster", kmsg.StringPtr("AAAAAAAAAAAAAAAAAAAAAA"), -1}, {"other cluster, right node", kmsg.StringPtr("x"), 1}, {"other cluster, node -2", kmsg.StringPtr("x"), -2}, {"empty cluster, right node", kmsg.StringPtr(""), 1},
		{"empty cluster", kmsg.StringPtr(""), -1},
		{"other node", nil, 2}, {"node 1", nil, 1}, {"node 0", nil, 0}, {"node -2", nil, -2},
	} {
		l.from(keyApiVersions, 5, "ApiVersions/"+c.name, func(*site, int16) kmsg.Request {
			return &kmsg.ApiVersionsRequest{ClientSoftwareName: "a", ClientSoftwareVersion: "1", ClusterID: c.cluster, NodeID: c.node}
		})
	}
	for _, v := range []int16{6, 7, 99, 32767, -1} {
		l.raw(fmt.Sprintf("ApiVersions/unknown/v%d", v), keyApiVersions, v, func(_ *site, id int32) []byte {
			return (&kmsg.ApiVersionsRequest{Version: 5, ClientSoftwareName: "a", ClientSoftwareVersion: "1", NodeID: -1}).AppendTo(header(id, keyApiVersions, v, true))
		})
		l.raw(fmt.Sprintf("ApiVersions/unknown, no body/v%d", v), keyApiVersions, v, func(_ *site, id int32) []byte {
			return header(id, keyApiVersions, v, true)
		})
		l.raw(fmt.Sprintf("ApiVersions/unknown, header without tags/v%d", v), keyApiVersions, v, func(_ *site, id int32) []byte {
			return header(id, keyApiVersions, v, false)
		})
	}
	// What nobody serves ends the connection.
	for key, versions := range byName(served) {
		for _, v := range []int16{-1, versions[0] - 1, versions[1] + 1, 32767} {
			if key == keyApiVersions || v < 0 && versions[0] > 0 {
				continue
			}
			l.raw(fmt.Sprintf("unsupported/key %d v%d", key, v), key, v, func(_ *site, id int32) []byte {
				req := kmsg.RequestForKey(key)
				req.SetVersion(min(max(v, 0), versions[1]))
				return req.AppendTo(header(id, key, v, req.IsFlexible()))
			})
		}
	}
	for _, key := range []int16{-1, 4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82, 95, 1000, 32767} {
		l.raw(fmt.Sprintf("unsupported/key %d", key), keyApiVersions, 0, func(_ *site, id int32) []byte { return header(id, key, 0, true) })
	}
	for v := int16(0); v < 3; v++ {
		l.raw(fmt.Sprintf("unsupported/Produce v%d", v), keyProduce, v, func(_ *site, id int32) []byte {
			req := producing(v, "old", [16]byte{}, 0, 1, of(spec{}))
			return req.AppendTo(header(id, keyProduce, v, false))
		})
	}
}

// raw sends a payload as it is.
func (l *list) raw(name string, key, version int16, build func(s *site, id int32) []byte) {
	l.t.Helper()
	l.send(step{name: name, key: key, version: version, raw: build})
}

// frames sends frames that are cut short, run on, or lie.
func (l *list) frames() {
	for _, size := range []uint32{0, 1, 2, 4, 7} {
		l.verbatim(fmt.Sprintf("frame/of %d bytes", size), func(int32) []byte {
			return append(binary.BigEndian.AppendUint32(nil, size), make([]byte, size)...)
		})
	}
	for _, size := range []uint32{0xffffffff, 0x80000000, 0x7fffffff, 104857601} {
		l.verbatim(fmt.Sprintf("frame/that claims %d bytes", int32(size)), func(int32) []byte {
			return append(binary.BigEndian.AppendUint32(nil, size), header(1, keyMetadata, 1, false)...)
		})
	}
	requests := l.wellFormed()
	for _, key := range sorted(requests) {
		for v := served[key][0]; v <= served[key][1]; v++ {
			req := requests[key](v)
			req.SetVersion(v)
			whole := req.AppendTo(nil)
			flexible := req.IsFlexible()
			as := func(what string) string { return fmt.Sprintf("frame/key %d/%s/v%d", key, what, v) }
			// Each cut is a request that ends too early.
			for cut := 1; cut <= len(whole); cut += max(1, len(whole)/6) {
				l.raw(as(fmt.Sprintf("%d bytes short", cut)), key, v, func(_ *site, id int32) []byte {
					return append(header(id, key, v, flexible), whole[:len(whole)-cut]...)
				})
			}
			l.raw(as("one byte more"), key, v, func(_ *site, id int32) []byte {
				return append(append(header(id, key, v, flexible), whole...), 0)
			})
			l.raw(as("no client id"), key, v, func(_ *site, id int32) []byte {
				h := header(id, key, v, false)
				h = append(h[:8:8], 0xff, 0xff)
				if flexible {
					h = append(h, 0)
				}
				return append(h, whole...)
			})
			if flexible {
				l.raw(as("tags in the header"), key, v, func(_ *site, id int32) []byte {
					return append(append(header(id, key, v, false), 2, 0, 1, 'x', 100, 2, 'y', 'z'), whole...)
				})
				l.raw(as("unknown tags in the body"), key, v, func(_ *site, id int32) []byte {
					return append(append(header(id, key, v, true), whole[:len(whole)-1]...), 1, 99, 2, 'y', 'z')
				})
				l.raw(as("tags out of order"), key, v, func(_ *site, id int32) []byte {
					return append(append(header(id, key, v, true), whole[:len(whole)-1]...), 2, 99, 1, 'y', 98, 1, 'z')
				})
				l.raw(as("a tag that runs over"), key, v, func(_ *site, id int32) []byte {
					return append(append(header(id, key, v, true), whole[:len(whole)-1]...), 1, 99, 50, 'y')
				})
			}
		}
	}
	l.counts()
}

// wellFormed are small requests that change nothing.
func (l *list) wellFormed() map[int16]func(version int16) kmsg.Request {
	return map[int16]func(int16) kmsg.Request{
		keyProduce: func(int16) kmsg.Request {
			return producing(0, "nowhere", [16]byte{1}, 0, 1, of(spec{}))
		},
		keyFetch: func(int16) kmsg.Request { return fetching(0, part{topic: "nowhere", id: [16]byte{1}}) },
		keyListOffsets: func(int16) kmsg.Request {
			return listing(-1, 0, offsetOf{topic: "nowhere", timestamp: -1})
		},
		keyMetadata: func(int16) kmsg.Request { return metadata(0, false, kmsg.StringPtr("bad name")) },
		keyApiVersions: func(int16) kmsg.Request {
			return &kmsg.ApiVersionsRequest{ClientSoftwareName: "a", ClientSoftwareVersion: "1", NodeID: -1}
		},
		keyCreateTopics: func(int16) kmsg.Request {
			return &kmsg.CreateTopicsRequest{TimeoutMillis: aMinute, ValidateOnly: true, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("bad name", 1, 1)}}
		},
		keyDeleteTopics: func(int16) kmsg.Request {
			return &kmsg.DeleteTopicsRequest{TimeoutMillis: aMinute, TopicNames: []string{"nowhere"}, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("nowhere")}}}
		},
		keyInitProducerID: func(int16) kmsg.Request { return initProducerID(nil, 60_000, -1, -1) },
		keyOffsetForLeaderEpoch: func(int16) kmsg.Request {
			return epochOf(-1, epochAsked{topic: "nowhere", current: -1})
		},
		keyDescribeCluster: func(int16) kmsg.Request { return &kmsg.DescribeClusterRequest{EndpointType: 1} },
	}
}

// counts sends arrays and strings whose length is not true, or null where
// nothing may be null.
func (l *list) counts() {
	u32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for _, c := range []struct {
		name    string
		key, v  int16
		body    []byte
		version bool // flexible
	}{
		{"Metadata/null topics", keyMetadata, 1, u32(0xffffffff), false},
		{"Metadata/null topics v0", keyMetadata, 0, u32(0xffffffff), false},
		{"Metadata/-2 topics", keyMetadata, 1, u32(0xfffffffe), false},
		{"Metadata/2 billion topics", keyMetadata, 1, u32(0x7fffffff), false},
		{"Metadata/1000 topics, one there", keyMetadata, 1, append(u32(1000), 0, 1, 'a'), false},
		{"Metadata/name of -1", keyMetadata, 1, append(u32(1), 0xff, 0xff), false},
		{"Metadata/name of -2", keyMetadata, 1, append(u32(1), 0xff, 0xfe), false},
		{"Metadata/name of 32767", keyMetadata, 1, append(u32(1), 0x7f, 0xff, 'a'), false},
		{"Metadata/name not UTF-8", keyMetadata, 1, append(u32(1), 0, 2, 0xff, 0xfe), false},
		{"Metadata/flag is 2", keyMetadata, 4, append(u32(0), 2), false},
		{"Metadata/compact null topics", keyMetadata, 9, []byte{0, 0, 0, 0, 0}, true},
		{"Metadata/compact count runs on", keyMetadata, 9, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0}, true},
		{"Metadata/compact count of 5 bytes", keyMetadata, 9, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0}, true},
		{"Metadata/compact name null", keyMetadata, 9, []byte{2, 0, 0, 0, 0, 0, 0}, true},
		{"Produce/null topics", keyProduce, 3, append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, u32(0xffffffff)...), false},
		{"Produce/null topics v9", keyProduce, 9, []byte{0, 0, 1, 0, 0, 0, 9, 0, 0}, true},
		{"Produce/no topics", keyProduce, 3, append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, u32(0)...), false},
		{"Produce/no topics v9", keyProduce, 9, []byte{0, 0, 1, 0, 0, 0, 9, 1, 0}, true},
		{"Produce/null partitions", keyProduce, 3, append(append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, u32(1)...), 0, 1, 'a', 0xff, 0xff, 0xff, 0xff), false},
		{"Produce/no partitions", keyProduce, 3, append(append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, u32(1)...), 0, 1, 'a', 0, 0, 0, 0), false},
		{"Produce/records of -2", keyProduce, 3, append(append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, u32(1)...), 0, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe), false},
		{"Produce/records of 1000", keyProduce, 3, append(append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 9}, u32(1)...), 0, 1, 'a', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0xe8), false},
		{"DeleteTopics/null topics", keyDeleteTopics, 1, append(u32(0xffffffff), 0, 0, 0, 1), false},
		{"DeleteTopics/no topics", keyDeleteTopics, 1, append(u32(0), 0, 0, 0, 1), false},
		{"CreateTopics/null topics", keyCreateTopics, 2, append(u32(0xffffffff), 0, 0, 0, 1, 0), false},
		{"CreateTopics/no topics", keyCreateTopics, 2, append(u32(0), 0, 0, 0, 1, 0), false},
		{"ListOffsets/null topics", keyListOffsets, 1, append(u32(0xffffffff), u32(0xffffffff)...), false},
		{"ListOffsets/no topics", keyListOffsets, 1, append(u32(0xffffffff), u32(0)...), false},
		{"OffsetForLeaderEpoch/null topics", keyOffsetForLeaderEpoch, 2, u32(0xffffffff), false},
		{"OffsetForLeaderEpoch/no topics", keyOffsetForLeaderEpoch, 2, u32(0), false},
		{"Fetch/null topics", keyFetch, 4, append(append(u32(0xffffffff), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 0), u32(0xffffffff)...), false},
		{"InitProducerId/empty id", keyInitProducerID, 0, []byte{0, 0, 0, 0, 0, 9}, false},
	} {
		l.raw("count/"+c.name, c.key, c.v, func(_ *site, id int32) []byte {
			return append(header(id, c.key, c.v, c.version), c.body...)
		})
	}
}

// verbatim sends bytes without a frame of ours around them.
func (l *list) verbatim(name string, build func(id int32) []byte) {
	l.t.Helper()
	l.send(step{name: name, key: keyApiVersions, verbatim: true, conn: "verbatim", raw: func(_ *site, id int32) []byte { return build(id) }})
}

// cluster asks who is there.
func (l *list) cluster() {
	for _, operations := range []bool{false, true} {
		for _, fenced := range []bool{false, true} {
			for _, endpoint := range []int8{1, 2, 0, 3, -1} {
				l.each(keyDescribeCluster, fmt.Sprintf("DescribeCluster/endpoint %d, operations %t, fenced %t", endpoint, operations, fenced), func(*site, int16) kmsg.Request {
					return &kmsg.DescribeClusterRequest{IncludeClusterAuthorizedOperations: operations, EndpointType: endpoint, IncludeFencedBrokers: fenced}
				})
			}
		}
	}
}
