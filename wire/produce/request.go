// SPDX-License-Identifier: Apache-2.0

// Package produce holds the hand-written codec of the Produce API, versions 3
// to 13: a request walker that allocates nothing once its Request has grown,
// and a response encoder that appends to the reply's own buffer.
//
// Versions 0 to 2 are advertised, because librdkafka turns compression off
// where version 0 is missing, and refused on use as Apache Kafka refuses them.
//
// A Request or Encoder belongs to one goroutine.
package produce

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/wire/frame"
)

// The versions that are spoken.
const (
	VersionMin = 3
	VersionMax = 13
)

// FlexibleFrom is the first version with compact lengths and tagged fields.
const FlexibleFrom = 9

// topicIDFrom is the first version that names topics by id.
const topicIDFrom = 13

// Limits bound what one request may hold. Counts above them make the request
// malformed.
type Limits struct {
	TopicsMax     int
	PartitionsMax int // over all topics
}

// Request is a parsed request. All byte slices alias the frame. A Request may
// be used for one request after another; its slices are then used again.
type Request struct {
	TransactionalID []byte // nil is null
	Acks            int16
	TimeoutMs       int32
	Topics          []Topic

	partitions []Partition // what the Topics' slices are cut from
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
	Index   kafka.PartitionID
	Records []byte // aliases the frame; nil is null
}

// Parse reads the body of a request into req. The error is a
// *frame.MalformedError, or kafka.UnsupportedVersion.
func Parse(body []byte, version int16, limits Limits, req *Request) error {
	if version < VersionMin || version > VersionMax {
		return fmt.Errorf("produce version %d: %w", version, kafka.UnsupportedVersion)
	}
	req.Reset()
	r := frame.NewReader(body)
	if version >= FlexibleFrom {
		parseFlexible(&r, version, limits, req)
	} else {
		parseClassic(&r, limits, req)
	}
	return r.Err()
}

// Reset empties the request so that it holds no frame any more.
func (req *Request) Reset() {
	clear(req.Topics)
	clear(req.partitions)
	*req = Request{Topics: req.Topics[:0], partitions: req.partitions[:0]}
}

func parseClassic(r *frame.Reader, limits Limits, req *Request) {
	req.TransactionalID = r.NullableString()
	req.Acks = r.Int16()
	req.TimeoutMs = r.Int32()
	topics := notNull(r, r.ArrayLen(limits.TopicsMax, 2+4))
	for range topics {
		t := Topic{Name: r.String()}
		start := len(req.partitions)
		count := notNull(r, r.ArrayLen(limits.PartitionsMax-start, 4+4))
		for range count {
			req.partitions = append(req.partitions, Partition{
				Index:   kafka.PartitionID(r.Int32()),
				Records: r.NullableBytes(),
			})
		}
		if r.Err() != nil {
			return
		}
		req.addTopic(t, start)
	}
}

func parseFlexible(r *frame.Reader, version int16, limits Limits, req *Request) {
	req.TransactionalID = r.CompactNullableString()
	req.Acks = r.Int16()
	req.TimeoutMs = r.Int32()
	topics := notNull(r, r.CompactArrayLen(limits.TopicsMax, 1+1+1))
	for range topics {
		var t Topic
		if version >= topicIDFrom {
			t.ID = kafka.TopicID(r.UUID())
		} else {
			t.Name = r.CompactString()
		}
		start := len(req.partitions)
		count := notNull(r, r.CompactArrayLen(limits.PartitionsMax-start, 4+1+1))
		for range count {
			req.partitions = append(req.partitions, Partition{
				Index:   kafka.PartitionID(r.Int32()),
				Records: r.CompactNullableBytes(),
			})
			r.SkipTags()
		}
		r.SkipTags()
		if r.Err() != nil {
			return
		}
		req.addTopic(t, start)
	}
	r.SkipTags()
}

// addTopic gives t what was parsed since start. Where a later append moves
// req.partitions, t keeps the old array, whose elements no longer change.
func (req *Request) addTopic(t Topic, start int) {
	end := len(req.partitions)
	t.Partitions = req.partitions[start:end:end]
	req.Topics = append(req.Topics, t)
}

func notNull(r *frame.Reader, count int) int {
	if count < 0 {
		r.Fail("array: null")
	}
	return count
}
