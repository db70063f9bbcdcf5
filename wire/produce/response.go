// SPDX-License-Identifier: Apache-2.0

package produce

import (
	"gregor/base/kafka"
	"gregor/wire/frame"
)

// RecordError names a record that made its whole batch fail.
type RecordError struct {
	BatchIndex int32  // the record's place in the batch
	Message    string // empty is null
}

// Result is the answer for one partition.
type Result struct {
	Index           kafka.PartitionID
	Code            kafka.Code
	BaseOffset      kafka.Offset
	LogAppendTimeMs int64
	LogStartOffset  kafka.Offset
	RecordErrors    []RecordError
	ErrorMessage    string // empty is null
	// CurrentLeader is sent where HasCurrentLeader says so, from version 10 on
	// (KIP-951).
	HasCurrentLeader bool
	CurrentLeader    kafka.NodeID
	CurrentEpoch     kafka.LeaderEpoch
}

// Failed is a Result with the values that go with an error.
func Failed(index kafka.PartitionID, code kafka.Code) Result {
	return Result{Index: index, Code: code, BaseOffset: kafka.NoOffset, LogAppendTimeMs: -1, LogStartOffset: kafka.NoOffset}
}

// Encoder writes a response's body, in this order of calls: Begin, then for
// each topic Topic, Partition as many times as it announced, and EndTopic, then
// End.
type Encoder struct {
	out     *frame.Appender
	version int16
}

// Begin starts a response that holds as many topics.
func (e *Encoder) Begin(out *frame.Appender, version int16, topics int) {
	e.out, e.version = out, version
	if version >= FlexibleFrom {
		out.CompactArrayLen(topics)
	} else {
		out.ArrayLen(topics)
	}
}

// Topic starts a topic that holds as many partitions. Which of name and id is
// sent is up to the version.
func (e *Encoder) Topic(name []byte, id kafka.TopicID, partitions int) {
	switch {
	case e.version >= topicIDFrom:
		e.out.UUID(kafka.UUID(id))
	case e.version >= FlexibleFrom:
		e.out.CompactBytes(name)
	default:
		e.out.StringBytes(name)
	}
	if e.version >= FlexibleFrom {
		e.out.CompactArrayLen(partitions)
	} else {
		e.out.ArrayLen(partitions)
	}
}

// Partition writes one partition's result.
func (e *Encoder) Partition(p *Result) {
	o := e.out
	o.Int32(int32(p.Index))
	o.Int16(int16(p.Code))
	o.Int64(int64(p.BaseOffset))
	o.Int64(p.LogAppendTimeMs)
	if e.version >= 5 {
		o.Int64(int64(p.LogStartOffset))
	}
	if e.version >= 8 {
		e.errors(p)
	}
	if e.version >= FlexibleFrom {
		e.partitionTags(p)
	}
}

func (e *Encoder) errors(p *Result) {
	flexible := e.version >= FlexibleFrom
	if flexible {
		e.out.CompactArrayLen(len(p.RecordErrors))
	} else {
		e.out.ArrayLen(len(p.RecordErrors))
	}
	for i := range p.RecordErrors {
		e.out.Int32(p.RecordErrors[i].BatchIndex)
		e.nullableString(p.RecordErrors[i].Message)
		if flexible {
			e.out.NoTags()
		}
	}
	e.nullableString(p.ErrorMessage)
}

func (e *Encoder) partitionTags(p *Result) {
	if e.version < 10 || !p.HasCurrentLeader {
		e.out.NoTags()
		return
	}
	e.out.Uvarint(1)
	e.out.Uvarint(0)         // CurrentLeader
	e.out.Uvarint(4 + 4 + 1) // its size
	e.out.Int32(int32(p.CurrentLeader))
	e.out.Int32(int32(p.CurrentEpoch))
	e.out.NoTags()
}

// EndTopic ends the topic whose partitions have all been written.
func (e *Encoder) EndTopic() {
	if e.version >= FlexibleFrom {
		e.out.NoTags()
	}
}

// End writes what follows the topics. Endpoints are sent from version 10 on.
func (e *Encoder) End(throttleMs int32, endpoints []frame.NodeEndpoint) {
	e.out.Int32(throttleMs)
	switch {
	case e.version >= 10:
		e.out.EndpointTags(endpoints)
	case e.version >= FlexibleFrom:
		e.out.NoTags()
	}
}

// nullableString writes s; empty is null.
func (e *Encoder) nullableString(s string) {
	switch {
	case s == "" && e.version >= FlexibleFrom:
		e.out.Uvarint(0)
	case s == "":
		e.out.Int16(-1)
	case e.version >= FlexibleFrom:
		e.out.CompactString(s)
	default:
		// The two byte length cannot say more.
		e.out.String(s[:min(len(s), 1<<15-1)])
	}
}
