// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"gregor/base/kafka"
	"gregor/wire/frame"
)

// Numbers of a partition's tagged fields.
const (
	tagDivergingEpoch = 0
	tagCurrentLeader  = 1
	tagSnapshotID     = 2
)

// AbortedTransaction lets a consumer leave out the records of a transaction
// that was aborted.
type AbortedTransaction struct {
	ProducerID  kafka.ProducerID
	FirstOffset kafka.Offset
}

// EpochEnd is where an epoch ended: DivergingEpoch, or a snapshot's id.
type EpochEnd struct {
	Epoch     kafka.LeaderEpoch
	EndOffset kafka.Offset
}

// PartitionHeader is all of one partition's answer but its records.
type PartitionHeader struct {
	Index            kafka.PartitionID
	Code             kafka.Code
	HighWatermark    kafka.Offset
	LastStableOffset kafka.Offset
	LogStartOffset   kafka.Offset
	// Aborted is sorted by first offset. It is sent as null unless
	// HasAborted, which is so for read committed only.
	HasAborted           bool
	Aborted              []AbortedTransaction
	PreferredReadReplica kafka.NodeID

	// What follows is sent from version 12 on where its flag says so.
	HasDiverging     bool
	Diverging        EpochEnd
	HasCurrentLeader bool
	CurrentLeader    kafka.NodeID
	CurrentEpoch     kafka.LeaderEpoch
	HasSnapshot      bool
	Snapshot         EpochEnd
}

// Failed is a header with the values that go with an error.
func Failed(index kafka.PartitionID, code kafka.Code) PartitionHeader {
	return PartitionHeader{
		Index: index, Code: code, HighWatermark: kafka.NoOffset, LastStableOffset: kafka.NoOffset,
		LogStartOffset: kafka.NoOffset, PreferredReadReplica: kafka.NoNode,
	}
}

// Encoder writes a response's body to the buffer of a reply, in this order of
// calls:
//
//	Begin
//	  Topic             as many times as Begin announced
//	    Partition       as many times as Topic announced: its header and the length of its records;
//	                    the caller then adds that many bytes to the reply: a file range, or bytes
//	    EndPartition
//	  EndTopic
//	End
//
// The counts come first on the wire, so a caller that leaves partitions out (an
// incremental answer) decides which before it begins.
type Encoder struct {
	out     *frame.Appender
	version int16
}

// Begin starts a response that holds as many topics.
func (e *Encoder) Begin(out *frame.Appender, version int16, throttleMs int32, code kafka.Code, sessionID int32, topics int) {
	e.out, e.version = out, version
	out.Int32(throttleMs)
	if version >= 7 {
		out.Int16(int16(code))
		out.Int32(sessionID)
	}
	e.count(topics)
}

// Topic starts a topic that holds as many partitions. Which of name and id is
// sent is up to the version.
func (e *Encoder) Topic(name []byte, id kafka.TopicID, partitions int) {
	switch {
	case e.version >= topicIDFrom:
		e.out.UUID(kafka.UUID(id))
	case e.flexible():
		e.out.CompactBytes(name)
	default:
		e.out.StringBytes(name)
	}
	e.count(partitions)
}

// Partition writes one partition's header; the caller puts recordsBytes bytes
// behind it. No records are sent as zero bytes, never as null: old consumers
// do not expect null.
func (e *Encoder) Partition(p *PartitionHeader, recordsBytes int) {
	o := e.out
	o.Int32(int32(p.Index))
	o.Int16(int16(p.Code))
	o.Int64(int64(p.HighWatermark))
	o.Int64(int64(p.LastStableOffset))
	if e.version >= 5 {
		o.Int64(int64(p.LogStartOffset))
	}
	e.aborted(p)
	if e.version >= 11 {
		o.Int32(int32(p.PreferredReadReplica))
	}
	if e.flexible() {
		o.Uvarint(uint32(recordsBytes) + 1)
	} else {
		o.Int32(int32(recordsBytes))
	}
}

func (e *Encoder) aborted(p *PartitionHeader) {
	if !p.HasAborted {
		e.count(-1)
		return
	}
	e.count(len(p.Aborted))
	for i := range p.Aborted {
		e.out.Int64(int64(p.Aborted[i].ProducerID))
		e.out.Int64(int64(p.Aborted[i].FirstOffset))
		if e.flexible() {
			e.out.NoTags()
		}
	}
}

// EndPartition writes what follows the records of the partition with header p.
func (e *Encoder) EndPartition(p *PartitionHeader) {
	if !e.flexible() {
		return
	}
	o := e.out
	tags := 0
	for _, has := range [...]bool{p.HasDiverging, p.HasCurrentLeader, p.HasSnapshot} {
		if has {
			tags++
		}
	}
	o.Uvarint(uint32(tags))
	if p.HasDiverging {
		o.Uvarint(tagDivergingEpoch)
		o.Uvarint(4 + 8 + 1)
		o.Int32(int32(p.Diverging.Epoch))
		o.Int64(int64(p.Diverging.EndOffset))
		o.NoTags()
	}
	if p.HasCurrentLeader {
		o.Uvarint(tagCurrentLeader)
		o.Uvarint(4 + 4 + 1)
		o.Int32(int32(p.CurrentLeader))
		o.Int32(int32(p.CurrentEpoch))
		o.NoTags()
	}
	if p.HasSnapshot {
		o.Uvarint(tagSnapshotID)
		o.Uvarint(8 + 4 + 1)
		o.Int64(int64(p.Snapshot.EndOffset))
		o.Int32(int32(p.Snapshot.Epoch))
		o.NoTags()
	}
}

// EndTopic ends the topic whose partitions have all been written.
func (e *Encoder) EndTopic() {
	if e.flexible() {
		e.out.NoTags()
	}
}

// End writes what follows the topics. Endpoints are sent from version 16 on.
func (e *Encoder) End(endpoints []frame.NodeEndpoint) {
	switch {
	case e.version >= 16:
		e.out.EndpointTags(endpoints)
	case e.flexible():
		e.out.NoTags()
	}
}

func (e *Encoder) flexible() bool { return e.version >= FlexibleFrom }

func (e *Encoder) count(n int) {
	if e.flexible() {
		e.out.CompactArrayLen(n)
	} else {
		e.out.ArrayLen(n)
	}
}
