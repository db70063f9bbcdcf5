// SPDX-License-Identifier: Apache-2.0

// Package fetch holds the hand-written codec of the Fetch API, versions 4 to
// 18: a request walker that allocates nothing once its Request has grown, and
// a response encoder that writes all but the records, which stay in their
// files.
//
// A Request or Encoder belongs to one goroutine.
package fetch

import (
	"fmt"
	"math"

	"gregor/base/kafka"
	"gregor/wire/frame"
)

// The versions that are spoken.
const (
	VersionMin = 4
	VersionMax = 18
)

// FlexibleFrom is the first version with compact lengths and tagged fields.
const FlexibleFrom = 12

// topicIDFrom is the first version that names topics by id.
const topicIDFrom = 13

// Numbers of the tagged fields.
const (
	tagClusterID          = 0
	tagReplicaState       = 1
	tagReplicaDirectoryID = 0
	tagHighWatermark      = 1
)

// Sessions as the protocol numbers them (KIP-227).
const (
	NoSessionID  int32 = 0
	EpochInitial int32 = 0
	EpochFinal   int32 = -1
)

// HighWatermarkUnsupported is the high watermark of a replica that does not
// tell it (KIP-1166).
const HighWatermarkUnsupported kafka.Offset = math.MaxInt64

// Isolation is which records a fetch may see.
type Isolation int8

// The isolation levels.
const (
	ReadUncommitted Isolation = 0
	ReadCommitted   Isolation = 1
)

// Limits bound what one request may hold. Counts above them make the request
// malformed.
type Limits struct {
	TopicsMax     int
	PartitionsMax int // over all topics; forgotten ones count on their own
}

// Request is a parsed request. All byte slices alias the frame. A Request may
// be used for one request after another; its slices are then used again.
type Request struct {
	ClusterID    []byte // nil is null
	ReplicaID    kafka.NodeID
	ReplicaEpoch kafka.BrokerEpoch
	MaxWaitMs    int32
	MinBytes     int32
	MaxBytes     int32
	Isolation    Isolation
	SessionID    int32
	SessionEpoch int32
	Topics       []Topic
	Forgotten    []ForgottenTopic
	RackID       []byte

	partitions []Partition // what the Topics' slices are cut from
	forgotten  []kafka.PartitionID
}

// Topic is the part of a request for one topic: by name below version 13, by
// id from there on.
type Topic struct {
	Name       []byte
	ID         kafka.TopicID
	Partitions []Partition
}

// Partition is the part of a request for one partition.
type Partition struct {
	Index              kafka.PartitionID
	CurrentLeaderEpoch kafka.LeaderEpoch
	FetchOffset        kafka.Offset
	LastFetchedEpoch   kafka.LeaderEpoch
	LogStartOffset     kafka.Offset
	MaxBytes           int32
	ReplicaDirectoryID kafka.DirectoryID
	HighWatermark      kafka.Offset
}

// ForgottenTopic lists partitions that leave a session.
type ForgottenTopic struct {
	Name       []byte
	ID         kafka.TopicID
	Partitions []kafka.PartitionID
}

// Parse reads the body of a request into req. The error is a
// *frame.MalformedError, or kafka.UnsupportedVersion.
func Parse(body []byte, version int16, limits Limits, req *Request) error {
	if version < VersionMin || version > VersionMax {
		return fmt.Errorf("fetch version %d: %w", version, kafka.UnsupportedVersion)
	}
	req.Reset()
	r := frame.NewReader(body)
	p := parser{r: &r, version: version, flexible: version >= FlexibleFrom, limits: limits, req: req}
	p.head()
	p.topics()
	if version >= 7 && r.Err() == nil {
		p.forgottenTopics()
	}
	if version >= 11 {
		req.RackID = p.string()
	}
	if p.flexible {
		p.tags()
	}
	return r.Err()
}

// Reset empties the request so that it holds no frame any more.
func (req *Request) Reset() {
	clear(req.Topics)
	clear(req.Forgotten)
	*req = Request{
		ReplicaID: kafka.NoNode, ReplicaEpoch: -1,
		SessionID: NoSessionID, SessionEpoch: EpochFinal,
		Topics: req.Topics[:0], Forgotten: req.Forgotten[:0],
		partitions: req.partitions[:0], forgotten: req.forgotten[:0],
	}
}

type parser struct {
	r        *frame.Reader
	version  int16
	flexible bool
	limits   Limits
	req      *Request
}

func (p *parser) head() {
	r, req := p.r, p.req
	if p.version < 15 {
		req.ReplicaID = kafka.NodeID(r.Int32())
	}
	req.MaxWaitMs = r.Int32()
	req.MinBytes = r.Int32()
	req.MaxBytes = r.Int32()
	req.Isolation = Isolation(r.Int8())
	if p.version >= 7 {
		req.SessionID = r.Int32()
		req.SessionEpoch = r.Int32()
	}
}

func (p *parser) topics() {
	req := p.req
	for range p.count(p.limits.TopicsMax, 3) {
		var t Topic
		t.Name, t.ID = p.topic()
		start := len(req.partitions)
		for range p.count(p.limits.PartitionsMax-start, 16) {
			req.partitions = append(req.partitions, p.partition())
		}
		p.skipTags()
		if p.r.Err() != nil {
			return
		}
		// Where a later append moves req.partitions, t keeps the old array,
		// whose elements no longer change.
		end := len(req.partitions)
		t.Partitions = req.partitions[start:end:end]
		req.Topics = append(req.Topics, t)
	}
}

func (p *parser) partition() Partition {
	r := p.r
	q := Partition{
		Index:              kafka.PartitionID(r.Int32()),
		CurrentLeaderEpoch: kafka.NoLeaderEpoch,
		LastFetchedEpoch:   kafka.NoLeaderEpoch,
		LogStartOffset:     kafka.NoOffset,
		HighWatermark:      HighWatermarkUnsupported,
	}
	if p.version >= 9 {
		q.CurrentLeaderEpoch = kafka.LeaderEpoch(r.Int32())
	}
	q.FetchOffset = kafka.Offset(r.Int64())
	if p.version >= 12 {
		q.LastFetchedEpoch = kafka.LeaderEpoch(r.Int32())
	}
	if p.version >= 5 {
		q.LogStartOffset = kafka.Offset(r.Int64())
	}
	q.MaxBytes = r.Int32()
	if p.flexible {
		p.partitionTags(&q)
	}
	return q
}

func (p *parser) partitionTags(q *Partition) {
	for n := p.r.Tags(); n > 0 && p.r.Err() == nil; n-- {
		tag, value := p.r.Tag()
		v := frame.NewReader(value)
		switch {
		case tag == tagReplicaDirectoryID && p.since(17):
			q.ReplicaDirectoryID = kafka.DirectoryID(v.UUID())
		case tag == tagHighWatermark && p.since(18):
			q.HighWatermark = kafka.Offset(v.Int64())
		default:
			continue
		}
		p.endTag(&v)
	}
}

func (p *parser) forgottenTopics() {
	req := p.req
	for range p.count(p.limits.TopicsMax, 3) {
		var t ForgottenTopic
		t.Name, t.ID = p.topic()
		start := len(req.forgotten)
		for range p.count(p.limits.PartitionsMax-start, 4) {
			req.forgotten = append(req.forgotten, kafka.PartitionID(p.r.Int32()))
		}
		p.skipTags()
		if p.r.Err() != nil {
			return
		}
		end := len(req.forgotten)
		t.Partitions = req.forgotten[start:end:end]
		req.Forgotten = append(req.Forgotten, t)
	}
}

// tags reads the tagged fields of the request itself.
func (p *parser) tags() {
	req := p.req
	for n := p.r.Tags(); n > 0 && p.r.Err() == nil; n-- {
		tag, value := p.r.Tag()
		v := frame.NewReader(value)
		switch {
		case tag == tagClusterID:
			req.ClusterID = v.CompactNullableString()
		case tag == tagReplicaState && p.since(15):
			req.ReplicaID = kafka.NodeID(v.Int32())
			req.ReplicaEpoch = kafka.BrokerEpoch(v.Int64())
			v.SkipTags()
		default:
			continue
		}
		p.endTag(&v)
	}
}

// since fails the request if a tagged field that we know comes in a version that
// does not have it yet, as Kafka does: it is not an unknown one.
func (p *parser) since(version int16) bool {
	if p.version < version {
		p.r.Fail("tagged field of a later version")
		return false
	}
	return true
}

// endTag fails the request if a tagged field that we know was cut short or had
// bytes left over.
func (p *parser) endTag(v *frame.Reader) {
	if v.Err() != nil || v.Remaining() != 0 {
		p.r.Fail("tagged field")
	}
}

func (p *parser) topic() (name []byte, id kafka.TopicID) {
	if p.version >= topicIDFrom {
		return nil, kafka.TopicID(p.r.UUID())
	}
	return p.string(), kafka.TopicID{}
}

func (p *parser) string() []byte {
	if p.flexible {
		return p.r.CompactString()
	}
	return p.r.String()
}

func (p *parser) count(countMax, elementBytesMin int) int {
	var n int
	if p.flexible {
		n = p.r.CompactArrayLen(countMax, elementBytesMin)
	} else {
		n = p.r.ArrayLen(countMax, elementBytesMin)
	}
	if n < 0 {
		p.r.Fail("array: null")
		return 0
	}
	return n
}

func (p *parser) skipTags() {
	if p.flexible {
		p.r.SkipTags()
	}
}
