// SPDX-License-Identifier: Apache-2.0

package produce

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/wire/frame"
)

var roomy = Limits{TopicsMax: 100, PartitionsMax: 1000}

func drawTags(t *rapid.T, set func(tag uint32, value []byte)) {
	for tag, value := range rapid.MapOfN(rapid.Uint32Range(100, 200), rapid.SliceOfN(rapid.Byte(), 0, 20), 0, 3).Draw(t, "tags") {
		set(tag, value)
	}
}

func drawName(t *rapid.T) string { return rapid.StringMatching(`[a-z0-9._-]{0,30}`).Draw(t, "name") }

func drawID(t *rapid.T) [16]byte {
	return [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
}

func drawBytes(t *rapid.T, label string) []byte {
	if rapid.IntRange(0, 4).Draw(t, label+" null") == 0 {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, label)
}

func drawRequest(t *rapid.T, version int16) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version = version
	req.Acks = rapid.Int16().Draw(t, "acks")
	req.TimeoutMillis = rapid.Int32().Draw(t, "timeout")
	if rapid.Bool().Draw(t, "transactional") {
		id := drawName(t)
		req.TransactionID = &id
	}
	for range rapid.IntRange(0, 4).Draw(t, "topics") {
		topic := kmsg.NewProduceRequestTopic()
		if version >= 13 {
			topic.TopicID = drawID(t)
		} else {
			topic.Topic = drawName(t)
		}
		for range rapid.IntRange(0, 5).Draw(t, "partitions") {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition = rapid.Int32().Draw(t, "partition")
			p.Records = drawBytes(t, "records")
			drawTags(t, p.UnknownTags.Set)
			topic.Partitions = append(topic.Partitions, p)
		}
		drawTags(t, topic.UnknownTags.Set)
		req.Topics = append(req.Topics, topic)
	}
	drawTags(t, req.UnknownTags.Set)
	return req
}

// TestRequestsOfEveryVersion parses what kmsg encodes, with one Request for
// all, so that nothing of an earlier request may show.
func TestRequestsOfEveryVersion(t *testing.T) {
	var got Request
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Int16Range(VersionMin, VersionMax).Draw(t, "version")
		want := drawRequest(t, version)
		if err := Parse(want.AppendTo(nil), version, roomy, &got); err != nil {
			t.Fatal(err)
		}
		if (got.TransactionalID == nil) != (want.TransactionID == nil) ||
			want.TransactionID != nil && string(got.TransactionalID) != *want.TransactionID ||
			got.Acks != want.Acks || got.TimeoutMs != want.TimeoutMillis || len(got.Topics) != len(want.Topics) {
			t.Fatalf("%+v is not %+v", got, want)
		}
		for i, w := range want.Topics {
			g := got.Topics[i]
			if string(g.Name) != w.Topic || g.ID != w.TopicID || len(g.Partitions) != len(w.Partitions) {
				t.Fatalf("topic %d: %+v is not %+v", i, g, w)
			}
			for j, wp := range w.Partitions {
				gp := g.Partitions[j]
				if int32(gp.Index) != wp.Partition || !bytes.Equal(gp.Records, wp.Records) || (gp.Records == nil) != (wp.Records == nil) {
					t.Fatalf("topic %d partition %d: %+v is not %+v", i, j, gp, wp)
				}
			}
		}
	})
}

func drawEndpoints(t *rapid.T) []frame.NodeEndpoint {
	var out []frame.NodeEndpoint
	for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
		out = append(out, frame.NodeEndpoint{
			NodeID: kafka.NodeID(rapid.Int32().Draw(t, "node")), Host: drawName(t), Port: rapid.Int32().Draw(t, "port"), Rack: drawName(t),
		})
	}
	return out
}

func drawResult(t *rapid.T) Result {
	r := Result{
		Index: kafka.PartitionID(rapid.Int32().Draw(t, "partition")), Code: kafka.Code(rapid.Int16().Draw(t, "code")),
		BaseOffset: kafka.Offset(rapid.Int64().Draw(t, "base")), LogAppendTimeMs: rapid.Int64().Draw(t, "time"),
		LogStartOffset: kafka.Offset(rapid.Int64().Draw(t, "start")), ErrorMessage: drawName(t),
		HasCurrentLeader: rapid.Bool().Draw(t, "leader?"),
	}
	if r.HasCurrentLeader {
		r.CurrentLeader = kafka.NodeID(rapid.Int32().Draw(t, "leader"))
		r.CurrentEpoch = kafka.LeaderEpoch(rapid.Int32().Draw(t, "epoch"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "errors") {
		r.RecordErrors = append(r.RecordErrors, RecordError{BatchIndex: rapid.Int32().Draw(t, "index"), Message: drawName(t)})
	}
	return r
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// expect is what kmsg should read of r.
func expect(r Result, version int16) kmsg.ProduceResponseTopicPartition {
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.ErrorCode, p.BaseOffset, p.LogAppendTime = int32(r.Index), int16(r.Code), int64(r.BaseOffset), r.LogAppendTimeMs
	if version >= 5 {
		p.LogStartOffset = int64(r.LogStartOffset)
	}
	if version >= 8 {
		for _, e := range r.RecordErrors {
			p.ErrorRecords = append(p.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: e.BatchIndex, ErrorMessage: text(e.Message)})
		}
		p.ErrorMessage = text(r.ErrorMessage)
	}
	if version >= 10 && r.HasCurrentLeader {
		p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int32(r.CurrentLeader), int32(r.CurrentEpoch)
	}
	return p
}

func TestResponsesOfEveryVersion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Int16Range(VersionMin, VersionMax).Draw(t, "version")
		want := kmsg.NewPtrProduceResponse()
		want.Version = version
		want.ThrottleMillis = rapid.Int32().Draw(t, "throttle")
		var out frame.Appender
		var e Encoder
		topics := rapid.IntRange(0, 3).Draw(t, "topics")
		e.Begin(&out, version, topics)
		for range topics {
			name, id := drawName(t), drawID(t)
			partitions := rapid.IntRange(0, 4).Draw(t, "partitions")
			e.Topic([]byte(name), id, partitions)
			wt := kmsg.NewProduceResponseTopic()
			if version >= 13 {
				wt.TopicID = id
			} else {
				wt.Topic = name
			}
			for range partitions {
				r := drawResult(t)
				e.Partition(&r)
				wt.Partitions = append(wt.Partitions, expect(r, version))
			}
			e.EndTopic()
			want.Topics = append(want.Topics, wt)
		}
		endpoints := drawEndpoints(t)
		e.End(want.ThrottleMillis, endpoints)
		if version >= 10 {
			for _, n := range endpoints {
				want.Brokers = append(want.Brokers, kmsg.ProduceResponseBroker{NodeID: int32(n.NodeID), Host: n.Host, Port: n.Port, Rack: text(n.Rack)})
			}
		}
		got := kmsg.NewPtrProduceResponse()
		got.Version = version
		if err := got.ReadFrom(out.B); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(kmsg.Tags{}), cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		// Byte for byte what kmsg writes, too, unless it leaves out a leader of
		// -1 and -1, which is its default.
		if again := got.AppendTo(nil); len(again) == len(out.B) && !bytes.Equal(again, out.B) {
			t.Fatalf("kmsg writes\n%x, not\n%x", again, out.B)
		}
	})
}

func TestVersionsOutsideTheWindow(t *testing.T) {
	var req Request
	for _, v := range []int16{-1, 0, 1, 2, 14} {
		if err := Parse(nil, v, roomy, &req); !errors.Is(err, kafka.UnsupportedVersion) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

func TestCountsAboveTheLimitsAreMalformed(t *testing.T) {
	req := kmsg.NewPtrProduceRequest()
	for range 2 {
		req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: "t", Partitions: make([]kmsg.ProduceRequestTopicPartition, 3)})
	}
	for version := int16(VersionMin); version <= VersionMax; version++ {
		req.Version = version
		body := req.AppendTo(nil)
		var got Request
		if err := Parse(body, version, Limits{TopicsMax: 2, PartitionsMax: 6}, &got); err != nil {
			t.Errorf("version %d, just the limit: %v", version, err)
		}
		for _, l := range []Limits{{TopicsMax: 1, PartitionsMax: 6}, {TopicsMax: 2, PartitionsMax: 5}} {
			var malformed *frame.MalformedError
			if err := Parse(body, version, l, &got); !errors.As(err, &malformed) {
				t.Errorf("version %d, %+v: %v", version, l, err)
			}
		}
	}
}

// TestClaimedCountsAllocateNothing sends counts of 2^31-1 in a small frame.
func TestClaimedCountsAllocateNothing(t *testing.T) {
	body := []byte{0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}
	var req Request
	unlimited := Limits{TopicsMax: math.MaxInt32, PartitionsMax: math.MaxInt32}
	if err := Parse(body, 3, unlimited, &req); err == nil {
		t.Fatal("accepted")
	}
	if cap(req.Topics) != 0 {
		t.Fatalf("room for %d topics", cap(req.Topics))
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, version := range []int16{3, 9, 12, 13} {
		req := kmsg.NewPtrProduceRequest()
		req.Version = version
		for range 3 {
			topic := kmsg.ProduceRequestTopic{Topic: "orders"}
			for p := range int32(40) {
				topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{Partition: p, Records: make([]byte, 100)})
			}
			req.Topics = append(req.Topics, topic)
		}
		body := req.AppendTo(nil)
		var got Request
		if n := testing.AllocsPerRun(100, func() {
			if err := Parse(body, version, roomy, &got); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("version %d: %v allocations", version, n)
		}
	}
}

func TestEncoderAllocatesNothing(t *testing.T) {
	var out frame.Appender
	var e Encoder
	result := Result{RecordErrors: []RecordError{{1, "m"}}, ErrorMessage: "x", HasCurrentLeader: true}
	if n := testing.AllocsPerRun(100, func() {
		out.B = out.B[:0]
		e.Begin(&out, 13, 1)
		e.Topic(nil, kafka.TopicID{}, 100)
		for range 100 {
			e.Partition(&result)
		}
		e.EndTopic()
		e.End(0, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	req := kmsg.NewPtrProduceRequest()
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1, Records: []byte("records")}}}}
	for v := int16(VersionMin); v <= VersionMax; v++ {
		req.Version = v
		f.Add(v, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < VersionMin || version > VersionMax {
			return
		}
		var got Request
		err := Parse(body, version, roomy, &got)
		if len(got.Topics) > roomy.TopicsMax || cap(got.partitions) > 2*roomy.PartitionsMax+64 {
			t.Fatalf("limits passed: %d topics, room for %d partitions", len(got.Topics), cap(got.partitions))
		}
		if err != nil {
			return
		}
		// What we take, kmsg takes, and it sees the same.
		want := kmsg.NewPtrProduceRequest()
		want.Version = version
		if err := want.ReadFrom(body); err != nil {
			if version >= FlexibleFrom {
				// kmsg refuses varints with bits above the 32nd, which Kafka drops.
				return
			}
			t.Fatalf("kmsg: %v", err)
		}
		if len(want.Topics) != len(got.Topics) || want.Acks != got.Acks {
			t.Fatalf("%+v is not %+v", got, want)
		}
		for i := range got.Topics {
			for j, p := range got.Topics[i].Partitions {
				if w := want.Topics[i].Partitions[j]; w.Partition != int32(p.Index) || !bytes.Equal(w.Records, p.Records) {
					t.Fatalf("%+v is not %+v", p, w)
				}
			}
		}
	})
}
