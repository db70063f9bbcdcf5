// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/compress"
)

// narrowSettings are a broker that allows little.
var narrowSettings = []string{
	"auto.create.topics.enable=false", "delete.topic.enable=false", "num.partitions=3", "socket.request.max.bytes=200000", "message.max.bytes=5000", "broker.rack=r1",
	"max.incremental.fetch.session.cache.slots=0", "fetch.max.bytes=1024", "log.cleanup.policy=compact", "min.insync.replicas=2", "log.retention.ms=-1",
}

// narrow meets the limits of its broker.
func (l *list) narrow() {
	str := kmsg.StringPtr
	l.each(keyDescribeCluster, "narrow/DescribeCluster", func(*site, int16) kmsg.Request { return &kmsg.DescribeClusterRequest{EndpointType: 1} })
	l.each(keyMetadata, "narrow/Metadata, create", func(*site, int16) kmsg.Request { return metadata(0, true, str("wanted")) })
	l.each(keyMetadata, "narrow/Metadata, created", func(*site, int16) kmsg.Request { return metadata(0, true, str("wanted")) })
	l.each(keyCreateTopics, "narrow/CreateTopics, defaults", func(*site, int16) kmsg.Request {
		return &kmsg.CreateTopicsRequest{TimeoutMillis: aMinute, ValidateOnly: true, Topics: []kmsg.CreateTopicsRequestTopic{newTopic("defaults", -1, -1, config{"retention.bytes", "10"})}}
	})
	l.topic("narrow", 3)
	l.each(keyDeleteTopics, "narrow/DeleteTopics", func(s *site, _ int16) kmsg.Request {
		return &kmsg.DeleteTopicsRequest{TimeoutMillis: aMinute, TopicNames: []string{"narrow", "unknown"}, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: str("narrow")}, {TopicID: s.id("narrow")}, {Topic: str("unknown")}, {}}}
	})
	l.each(keyMetadata, "narrow/Metadata", func(*site, int16) kmsg.Request { return metadata(0, true, str("narrow")) })
	for _, codec := range []compress.Codec{compress.None, compress.Gzip} {
		l.to("narrow", "keyless "+codec.String(), of(spec{keyless: true, codec: codec}))
		l.to("narrow", "keyed "+codec.String(), of(spec{records: 2, codec: codec}))
	}
	overhead := len(of(spec{value: 1000})) - 1000
	l.to("narrow", "5000 bytes", of(spec{value: 5000 - overhead}))
	l.to("narrow", "5001 bytes", of(spec{value: 5001 - overhead}))
	for _, acks := range []int16{0, 1, -1} {
		l.each(keyProduce, fmt.Sprintf("narrow/acks %d", acks), func(s *site, v int16) kmsg.Request {
			return producing(v, "narrow", s.id("narrow"), 1, acks, of(spec{value: 500}))
		})
	}
	l.topic("wide", 1, config{"max.message.bytes", "1000000"}, config{"min.insync.replicas", "1"}, config{"cleanup.policy", "delete"})
	l.to("wide", "50000 bytes", of(spec{value: 50_000}))
	l.to("wide", "more than a frame may have", of(spec{value: 300_000}))
	for _, n := range []int32{0, 1, 700, 1024, 2000, 1 << 20} {
		change := func(r *kmsg.FetchRequest) { r.MaxBytes = n }
		l.read(fmt.Sprintf("narrow, max %d", n), change, part{topic: "narrow", partition: 1}, part{topic: "wide"}, part{topic: "narrow"})
		l.read(fmt.Sprintf("narrow, max %d, big first", n), change, part{topic: "wide"}, part{topic: "narrow", partition: 1})
	}
	// There is room for no session.
	for i := range 2 {
		l.send(step{name: fmt.Sprintf("narrow/session %d", i), build: func(s *site) kmsg.Request {
			req := fetching(12, part{topic: "narrow", partition: 2})
			req.SessionEpoch = 0
			return req
		}, then: func(s *site, r kmsg.Response) { s.kept[fmt.Sprint(i)] = int64(r.(*kmsg.FetchResponse).SessionID) }})
	}
	for i := range 2 {
		l.one(fmt.Sprintf("narrow/session %d goes on", i), func(s *site) kmsg.Request {
			req := fetching(12)
			req.SessionID, req.SessionEpoch = int32(s.kept[fmt.Sprint(i)]), 1
			return req
		})
	}
}

// pipelines compares the order of answers to requests that were sent at once.
func (l *list) pipelines() {
	l.topic("pipeline", 1)
	var orders []string
	for _, s := range l.sites {
		w, err := s.conn("pipeline")
		if err != nil {
			l.t.Fatal(err)
		}
		waiting := fetching(12, part{topic: "pipeline", offset: 1})
		waiting.MaxWaitMillis, waiting.MinBytes = 300, 1
		var sent []byte
		for _, req := range []kmsg.Request{
			producing(9, "pipeline", [16]byte{}, 0, -1, of(spec{})), waiting, &kmsg.ApiVersionsRequest{}, producing(9, "pipeline", [16]byte{}, 0, 0, of(spec{})),
			metadata(7, false, kmsg.StringPtr("pipeline")), producing(9, "pipeline", [16]byte{}, 0, 1, of(spec{})), listing(-1, 0, offsetOf{topic: "pipeline", timestamp: -1}),
		} {
			if ask, ok := req.(*kmsg.ListOffsetsRequest); ok {
				ask.Version = 5
			}
			frame := payload(w.next(), req)
			sent = append(append(sent, byte(len(frame)>>24), byte(len(frame)>>16), byte(len(frame)>>8), byte(len(frame))), frame...)
		}
		if _, err := w.c.Write(sent); err != nil {
			l.t.Fatal(err)
		}
		order := ""
		for range 6 {
			id, body, err := w.receive(answerTimeout)
			order += fmt.Sprintf("%d: %t, %v; ", id, len(body) > 0, err)
		}
		orders = append(orders, order)
	}
	l.steps++
	for i := 1; i < len(orders); i++ {
		l.compare("pipeline", l.sites[i].name, []field{{"answers", orders[0]}}, []field{{"answers", orders[i]}})
	}
}
