// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/wire/frame"
	"gregor/wire/reply"
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

func drawPartition(t *rapid.T, version int16) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition = rapid.Int32().Draw(t, "partition")
	p.FetchOffset = rapid.Int64().Draw(t, "offset")
	p.PartitionMaxBytes = rapid.Int32().Draw(t, "max")
	if version >= 5 {
		p.LogStartOffset = rapid.Int64().Draw(t, "start")
	}
	if version >= 9 {
		p.CurrentLeaderEpoch = rapid.Int32().Draw(t, "epoch")
	}
	if version >= 12 {
		p.LastFetchedEpoch = rapid.Int32().Draw(t, "fetched epoch")
	}
	if version >= 17 && rapid.Bool().Draw(t, "directory?") {
		p.ReplicaDirectoryID = drawID(t)
	}
	if version >= 18 && rapid.Bool().Draw(t, "high watermark?") {
		p.HighWatermark = rapid.Int64().Draw(t, "high watermark")
	}
	drawTags(t, p.UnknownTags.Set)
	return p
}

func drawRequest(t *rapid.T, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	req.MaxWaitMillis = rapid.Int32().Draw(t, "wait")
	req.MinBytes = rapid.Int32().Draw(t, "min")
	req.MaxBytes = rapid.Int32().Draw(t, "max")
	req.IsolationLevel = rapid.Int8().Draw(t, "isolation")
	if version >= 7 {
		req.SessionID, req.SessionEpoch = rapid.Int32().Draw(t, "session"), rapid.Int32().Draw(t, "session epoch")
	}
	if version >= 11 {
		req.Rack = drawName(t)
	}
	if version >= 12 && rapid.Bool().Draw(t, "cluster?") {
		id := drawName(t)
		req.ClusterID = &id
	}
	if version < 15 {
		req.ReplicaID = rapid.Int32().Draw(t, "replica")
	} else if rapid.Bool().Draw(t, "replica?") {
		req.ReplicaState.ID, req.ReplicaState.Epoch = rapid.Int32().Draw(t, "replica"), rapid.Int64().Draw(t, "replica epoch")
		drawTags(t, req.ReplicaState.UnknownTags.Set)
	}
	for range rapid.IntRange(0, 4).Draw(t, "topics") {
		topic := kmsg.NewFetchRequestTopic()
		if version >= 13 {
			topic.TopicID = drawID(t)
		} else {
			topic.Topic = drawName(t)
		}
		for range rapid.IntRange(0, 5).Draw(t, "partitions") {
			topic.Partitions = append(topic.Partitions, drawPartition(t, version))
		}
		drawTags(t, topic.UnknownTags.Set)
		req.Topics = append(req.Topics, topic)
	}
	for range rapid.IntRange(0, 2).Draw(t, "forgotten") {
		topic := kmsg.NewFetchRequestForgottenTopic()
		if version >= 13 {
			topic.TopicID = drawID(t)
		} else {
			topic.Topic = drawName(t)
		}
		topic.Partitions = rapid.SliceOfN(rapid.Int32(), 0, 4).Draw(t, "forgotten partitions")
		drawTags(t, topic.UnknownTags.Set)
		if version >= 7 {
			req.ForgottenTopics = append(req.ForgottenTopics, topic)
		}
	}
	drawTags(t, req.UnknownTags.Set)
	return req
}

// asKmsg says in kmsg's words what we parsed.
func asKmsg(got *Request, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.IsolationLevel = got.MaxWaitMs, got.MinBytes, got.MaxBytes, int8(got.Isolation)
	req.SessionID, req.SessionEpoch, req.Rack = got.SessionID, got.SessionEpoch, string(got.RackID)
	if got.ClusterID != nil {
		id := string(got.ClusterID)
		req.ClusterID = &id
	}
	if version < 15 {
		req.ReplicaID = int32(got.ReplicaID)
	} else {
		req.ReplicaState.ID, req.ReplicaState.Epoch = int32(got.ReplicaID), int64(got.ReplicaEpoch)
	}
	for _, gt := range got.Topics {
		topic := kmsg.NewFetchRequestTopic()
		topic.Topic, topic.TopicID = string(gt.Name), gt.ID
		for _, gp := range gt.Partitions {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.FetchOffset = int32(gp.Index), int32(gp.CurrentLeaderEpoch), int64(gp.FetchOffset)
			p.LastFetchedEpoch, p.LogStartOffset, p.PartitionMaxBytes = int32(gp.LastFetchedEpoch), int64(gp.LogStartOffset), gp.MaxBytes
			p.ReplicaDirectoryID, p.HighWatermark = gp.ReplicaDirectoryID, int64(gp.HighWatermark)
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
	}
	for _, gt := range got.Forgotten {
		topic := kmsg.NewFetchRequestForgottenTopic()
		topic.Topic, topic.TopicID = string(gt.Name), gt.ID
		for _, p := range gt.Partitions {
			topic.Partitions = append(topic.Partitions, int32(p))
		}
		req.ForgottenTopics = append(req.ForgottenTopics, topic)
	}
	return req
}

var sameMessage = cmp.Options{cmpopts.IgnoreTypes(kmsg.Tags{}), cmpopts.EquateEmpty()}

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
		if d := cmp.Diff(want, asKmsg(&got, version), sameMessage); d != "" {
			t.Fatal(d)
		}
	})
}

// memory is a source of file ranges.
type memory struct {
	b        []byte
	released int
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, off) }
func (m *memory) Fd() (int, bool)                         { return 0, false }
func (m *memory) Intact() bool                            { return true }
func (m *memory) Release()                                { m.released++ }

func drawHeader(t *rapid.T) PartitionHeader {
	offset := func(label string) kafka.Offset { return kafka.Offset(rapid.Int64().Draw(t, label)) }
	p := PartitionHeader{
		Index: kafka.PartitionID(rapid.Int32().Draw(t, "partition")), Code: kafka.Code(rapid.Int16().Draw(t, "code")),
		HighWatermark: offset("high watermark"), LastStableOffset: offset("last stable"), LogStartOffset: offset("start"),
		PreferredReadReplica: kafka.NodeID(rapid.Int32().Draw(t, "preferred")),
		HasAborted:           rapid.Bool().Draw(t, "aborted?"), HasDiverging: rapid.Bool().Draw(t, "diverging?"),
		HasCurrentLeader: rapid.Bool().Draw(t, "leader?"), HasSnapshot: rapid.Bool().Draw(t, "snapshot?"),
		Diverging:     EpochEnd{kafka.LeaderEpoch(rapid.Int32().Draw(t, "epoch")), offset("end")},
		CurrentLeader: kafka.NodeID(rapid.Int32().Draw(t, "leader")), CurrentEpoch: kafka.LeaderEpoch(rapid.Int32().Draw(t, "epoch")),
		Snapshot: EpochEnd{kafka.LeaderEpoch(rapid.Int32().Draw(t, "epoch")), offset("end")},
	}
	for range rapid.IntRange(0, 3).Draw(t, "aborted") {
		if p.HasAborted {
			p.Aborted = append(p.Aborted, AbortedTransaction{kafka.ProducerID(rapid.Int64().Draw(t, "producer")), offset("first")})
		}
	}
	return p
}

// expect is what kmsg should read of p and its records.
func expect(p PartitionHeader, records []byte, version int16) kmsg.FetchResponseTopicPartition {
	w := kmsg.NewFetchResponseTopicPartition()
	w.Partition, w.ErrorCode, w.HighWatermark, w.LastStableOffset = int32(p.Index), int16(p.Code), int64(p.HighWatermark), int64(p.LastStableOffset)
	w.RecordBatches = records
	if version >= 5 {
		w.LogStartOffset = int64(p.LogStartOffset)
	}
	for _, a := range p.Aborted {
		w.AbortedTransactions = append(w.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: int64(a.ProducerID), FirstOffset: int64(a.FirstOffset)})
	}
	if version >= 11 {
		w.PreferredReadReplica = int32(p.PreferredReadReplica)
	}
	if version >= 12 && p.HasDiverging {
		w.DivergingEpoch.Epoch, w.DivergingEpoch.EndOffset = int32(p.Diverging.Epoch), int64(p.Diverging.EndOffset)
	}
	if version >= 12 && p.HasCurrentLeader {
		w.CurrentLeader.LeaderID, w.CurrentLeader.LeaderEpoch = int32(p.CurrentLeader), int32(p.CurrentEpoch)
	}
	if version >= 12 && p.HasSnapshot {
		w.SnapshotID.Epoch, w.SnapshotID.EndOffset = int32(p.Snapshot.Epoch), int64(p.Snapshot.EndOffset)
	}
	return w
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

// wire puts a reply's parts together as a connection does.
func wire(t *rapid.T, r *reply.Reply) []byte {
	var out []byte
	for b, f := range r.Parts() {
		out = append(out, b...)
		if f.Src != nil {
			p := make([]byte, f.LenBytes)
			if _, err := f.Src.ReadAt(p, f.PosBytes); err != nil {
				t.Fatal(err)
			}
			out = append(out, p...)
		}
	}
	if len(out) != r.Size() || int(frame.Size(out)) != len(out)-frame.SizeBytes {
		t.Fatalf("%d bytes on the wire, Size says %d, the prefix %d", len(out), r.Size(), frame.Size(out))
	}
	return out
}

// TestResponsesOfEveryVersion reads with kmsg what encoder and reply put on
// the wire, records from files included.
func TestResponsesOfEveryVersion(t *testing.T) {
	var r reply.Reply
	rapid.Check(t, func(t *rapid.T) {
		version := rapid.Int16Range(VersionMin, VersionMax).Draw(t, "version")
		want := kmsg.NewPtrFetchResponse()
		want.Version = version
		want.ThrottleMillis = rapid.Int32().Draw(t, "throttle")
		code := rapid.Int16().Draw(t, "code")
		session := rapid.Int32().Draw(t, "session")
		if version >= 7 {
			want.ErrorCode, want.SessionID = code, session
		}
		src := &memory{b: rapid.SliceOfN(rapid.Byte(), 0, 500).Draw(t, "file")}
		ranges := 0
		r.Begin(77, version >= FlexibleFrom)
		var e Encoder
		topics := rapid.IntRange(0, 3).Draw(t, "topics")
		e.Begin(r.Appender(), version, want.ThrottleMillis, kafka.Code(code), session, topics)
		for range topics {
			name, id := drawName(t), drawID(t)
			partitions := rapid.IntRange(0, 4).Draw(t, "partitions")
			e.Topic([]byte(name), id, partitions)
			wt := kmsg.NewFetchResponseTopic()
			if version >= 13 {
				wt.TopicID = id
			} else {
				wt.Topic = name
			}
			for range partitions {
				p := drawHeader(t)
				from := rapid.IntRange(0, len(src.b)).Draw(t, "from")
				to := rapid.IntRange(from, len(src.b)).Draw(t, "to")
				e.Partition(&p, to-from)
				r.AddFile(reply.FileRange{Src: src, PosBytes: int64(from), LenBytes: to - from})
				ranges++
				e.EndPartition(&p)
				wt.Partitions = append(wt.Partitions, expect(p, src.b[from:to], version))
			}
			e.EndTopic()
			want.Topics = append(want.Topics, wt)
		}
		endpoints := drawEndpoints(t)
		e.End(endpoints)
		r.Finish()
		if version >= 16 {
			for _, n := range endpoints {
				b := kmsg.FetchResponseBroker{NodeID: int32(n.NodeID), Host: n.Host, Port: n.Port}
				if n.Rack != "" {
					b.Rack = &n.Rack
				}
				want.Brokers = append(want.Brokers, b)
			}
		}
		correlation, body, err := frame.ParseResponse(wire(t, &r)[frame.SizeBytes:], version >= FlexibleFrom)
		if err != nil || correlation != 77 {
			t.Fatal(correlation, err)
		}
		got := kmsg.NewPtrFetchResponse()
		got.Version = version
		if err := got.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, sameMessage); d != "" {
			t.Fatal(d)
		}
		r.Release()
		r.Release()
		if src.released != ranges {
			t.Fatalf("%d references taken, %d given back", ranges, src.released)
		}
	})
}

func TestAbortedIsNullUnlessReadCommitted(t *testing.T) {
	for version := int16(VersionMin); version <= VersionMax; version++ {
		for _, has := range []bool{false, true} {
			var out frame.Appender
			e := Encoder{out: &out, version: version}
			e.aborted(&PartitionHeader{HasAborted: has})
			want := []byte{0xff, 0xff, 0xff, 0xff}
			if has {
				want = []byte{0, 0, 0, 0}
			}
			if version >= FlexibleFrom {
				want = []byte{0}
				if has {
					want[0] = 1
				}
			}
			if !bytes.Equal(out.B, want) {
				t.Errorf("version %d, read committed %v: % x", version, has, out.B)
			}
		}
	}
}

func TestVersionsOutsideTheWindow(t *testing.T) {
	var req Request
	for _, v := range []int16{-1, 0, 3, 19} {
		if err := Parse(nil, v, roomy, &req); !errors.Is(err, kafka.UnsupportedVersion) {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

func TestDefaultsOfFieldsThatAVersionLacks(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.Topics = []kmsg.FetchRequestTopic{{Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}}}
	for version := int16(VersionMin); version <= VersionMax; version++ {
		req.Version = version
		var got Request
		if err := Parse(req.AppendTo(nil), version, roomy, &got); err != nil {
			t.Fatal(err)
		}
		p := got.Topics[0].Partitions[0]
		if got.ReplicaID != kafka.NoNode || got.ReplicaEpoch != -1 || got.ClusterID != nil ||
			p.CurrentLeaderEpoch != -1 || p.LastFetchedEpoch != -1 || p.LogStartOffset != -1 || p.HighWatermark != math.MaxInt64 {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

func TestCountsAboveTheLimitsAreMalformed(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	for range 2 {
		req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: "t", Partitions: slices.Repeat([]kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}, 3)})
		req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: "t", Partitions: make([]int32, 3)})
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

func TestKnownTagOfTheWrongLengthIsMalformed(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	req.ReplicaState.ID, req.ReplicaState.Epoch = 1, 2
	body := req.AppendTo(nil)
	var got Request
	if err := Parse(body, 17, roomy, &got); err != nil || got.ReplicaID != 1 || got.ReplicaEpoch != 2 {
		t.Fatal(err, got.ReplicaID)
	}
	at := bytes.Index(body, []byte{tagReplicaState, 4 + 8 + 1, 0, 0, 0, 1})
	body[at+1]--
	if err := Parse(body[:len(body)-1], 17, roomy, &got); err == nil {
		t.Fatal("a replica state without its last byte was taken")
	}
}

func big(version int16) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	for range 3 {
		topic := kmsg.FetchRequestTopic{Topic: "orders"}
		for p := range int32(40) {
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition = p
			if version >= 17 {
				part.ReplicaDirectoryID = [16]byte{1}
			}
			if version >= 18 {
				part.HighWatermark = 5
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
		req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: "t", Partitions: make([]int32, 3)})
	}
	return req.AppendTo(nil)
}

func TestParseAllocatesNothing(t *testing.T) {
	for version := int16(VersionMin); version <= VersionMax; version++ {
		body := big(version)
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
	var r reply.Reply
	src := &memory{b: make([]byte, 100)}
	p := PartitionHeader{HasAborted: true, Aborted: make([]AbortedTransaction, 3), HasDiverging: true, HasCurrentLeader: true}
	if n := testing.AllocsPerRun(100, func() {
		r.Begin(1, true)
		var e Encoder
		e.Begin(r.Appender(), 18, 0, kafka.None, 0, 1)
		e.Topic(nil, kafka.TopicID{}, 100)
		for range 100 {
			e.Partition(&p, 100)
			r.AddFile(reply.FileRange{Src: src, LenBytes: 100})
			e.EndPartition(&p)
		}
		e.EndTopic()
		e.End(nil)
		r.Finish()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A tagged field that a later version has is not an unknown one: the request is
// malformed, as it is for Kafka.
func TestTagsOfLaterVersionsAreMalformed(t *testing.T) {
	state := []byte{1, tagReplicaState, 13, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0}
	directory := append([]byte{1, tagReplicaDirectoryID, 16}, make([]byte, 16)...)
	highWatermark := append([]byte{1, tagHighWatermark, 8}, make([]byte, 8)...)
	for version := int16(FlexibleFrom); version <= VersionMax; version++ {
		body := func(ofPartition, ofRequest []byte) []byte {
			req := kmsg.NewPtrFetchRequest()
			req.Version = version
			b := req.AppendTo(nil)
			b = b[:len(b)-4] // no topics, none forgotten, no rack, no tags
			b = append(b, 2)
			if version >= topicIDFrom {
				b = append(b, make([]byte, 16)...)
			} else {
				b = append(b, 2, 't')
			}
			b = append(append(b, 2), make([]byte, 32)...) // one partition
			b = append(b, ofPartition...)
			b = append(b, 0)    // tags of the topic
			b = append(b, 1, 1) // none forgotten, no rack
			return append(b, ofRequest...)
		}
		none := []byte{0}
		for _, c := range []struct {
			name  string
			body  []byte
			since int16
		}{
			{"no tags", body(none, none), FlexibleFrom}, {"replica state", body(none, state), 15},
			{"directory", body(directory, none), 17}, {"high watermark", body(highWatermark, none), 18},
		} {
			var got Request
			if err := Parse(c.body, version, roomy, &got); (err == nil) != (version >= c.since) {
				t.Errorf("%s in version %d: %v", c.name, version, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for v := int16(VersionMin); v <= VersionMax; v++ {
		body := big(v)
		f.Add(v, body)
		claims := bytes.Clone(body)
		binary.BigEndian.PutUint32(claims[21:], math.MaxInt32)
		f.Add(v, claims)
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < VersionMin || version > VersionMax {
			return
		}
		var got Request
		err := Parse(body, version, roomy, &got)
		if len(got.Topics) > roomy.TopicsMax || cap(got.partitions) > 2*roomy.PartitionsMax+64 || cap(got.forgotten) > 2*roomy.PartitionsMax+64 {
			t.Fatal("limits passed")
		}
		if err != nil {
			return
		}
		// What we take, kmsg takes, and it sees the same.
		want := kmsg.NewPtrFetchRequest()
		want.Version = version
		if err := want.ReadFrom(body); err != nil {
			if version >= FlexibleFrom {
				// kmsg refuses varints with bits above the 32nd, which Kafka drops.
				return
			}
			t.Fatalf("kmsg: %v", err)
		}
		if d := cmp.Diff(want, asKmsg(&got, version), sameMessage); d != "" {
			t.Fatal(d)
		}
	})
}
