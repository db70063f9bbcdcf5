// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"gregor/base/kafka"
	"gregor/storage/prodstate"
	"gregor/wire/reply"
)

type laneState struct{}
type loader struct{}
type published struct{}

// Origin says who appends.
type Origin int8

// Origins.
const (
	// OriginClient: a producer; the leader assigns offsets and checks sequences.
	OriginClient Origin = iota
	// OriginReplica: a follower's fetch; offsets and epochs are the leader's.
	OriginReplica
	// OriginCoordinator: a coordinator of this broker; as a client, but
	// sequences are not checked and control batches are allowed.
	OriginCoordinator
)

// Append is one append: batches back to back, and what became of them.
type Append struct {
	// Batches were checked by the caller (size, magic, CRC). Base offsets and
	// leader epochs are patched in place unless a replica appends.
	Batches []byte
	Origin  Origin
	// ExpectedEpoch, unless kafka.NoLeaderEpoch, must be the epoch that Append
	// is called with.
	ExpectedEpoch kafka.LeaderEpoch

	Err          error
	BaseOffset   kafka.Offset
	LastOffset   kafka.Offset
	AppendTimeMs int64 // -1 unless LogAppendTime, or a duplicate's own timestamp
	LogStart     kafka.Offset
	Duplicate    bool // it was there already; nothing was written

	Next *Append
}

// Cursor remembers where a sequential reader is, so that it needs no index. The
// zero value is ready. It belongs to one goroutine at a time.
type Cursor struct{}

// AbortedTxn is an aborted transaction that a read_committed consumer skips.
type AbortedTxn struct {
	ProducerID  kafka.ProducerID
	FirstOffset kafka.Offset
}

// Read is one section of one segment: whole batches.
type Read struct {
	File    reply.FileRange // LenBytes 0 and no Src: nothing there
	First   kafka.Offset    // base offset of the first batch when known, else where the read began
	Next    kafka.Offset    // where the next read goes on
	More    bool            // there was more below the bound
	Tail    Tail            // as of the read
	Aborted []AbortedTxn    // only with ToLastStable
}

// Found is a record that was looked for by time.
type Found struct {
	Offset      kafka.Offset // kafka.NoOffset: none
	TimestampMs int64        // -1: none
	Epoch       kafka.LeaderEpoch
}

// EpochEnd answers OffsetForLeaderEpoch.
type EpochEnd struct {
	Epoch kafka.LeaderEpoch // largest known that is not above the asked one; -1: none
	End   kafka.Offset      // start of the epoch behind it, or the log end; -1: none
}

// Open opens a log; a missing folder is created with partition.metadata.
func Open(o Options) (*Log, error) { panic("not yet") }

// Append appends a chain in order, as leader of epoch (or as follower, for
// OriginReplica). Results are in the chain.
func (l *Log) Append(chain *Append, epoch kafka.LeaderEpoch) { panic("not yet") }

// TruncateTo cuts everything from off on.
func (l *Log) TruncateTo(off kafka.Offset) error { panic("not yet") }

// TruncateFullyAndStartAt empties the log; its next offset is off.
func (l *Log) TruncateFullyAndStartAt(off kafka.Offset) error { panic("not yet") }

// Roll starts a new segment.
func (l *Log) Roll() error { panic("not yet") }

// StartEpoch notes that a leader of epoch begins at the log end.
func (l *Log) StartEpoch(epoch kafka.LeaderEpoch) error { panic("not yet") }

// Configure applies a changed topic configuration.
func (l *Log) Configure(c Config) { panic("not yet") }

// AdvanceLogStart moves the log start forward (DeleteRecords, a leader's log start).
func (l *Log) AdvanceLogStart(off kafka.Offset) error { panic("not yet") }

// Checkpoint writes what is in memory only: index entries, producer snapshot, epochs.
func (l *Log) Checkpoint() error { panic("not yet") }

// Flush makes everything appended so far durable.
func (l *Log) Flush() error { panic("not yet") }

// FlushDue flushes if flush.ms has passed since the oldest unflushed append.
func (l *Log) FlushDue() error { panic("not yet") }

// Synced says that everything below off was made durable from outside (syncfs).
// It may be called from anywhere.
func (l *Log) Synced(off kafka.Offset) { panic("not yet") }

// Close writes indexes and the producer snapshot and closes the files.
func (l *Log) Close() (Hint, error) { panic("not yet") }

// Kill closes the files and writes nothing.
func (l *Log) Kill() { panic("not yet") }

// RenameDir renames the partition's folder (to its -delete name) and tells the files.
func (l *Log) RenameDir(dir string) error { panic("not yet") }

// Dir is the partition's folder.
func (l *Log) Dir() string { panic("not yet") }

// TopicPartition names the partition.
func (l *Log) TopicPartition() kafka.TopicPartition { return l.o.TopicPartition }

// TopicID is the topic's id.
func (l *Log) TopicID() kafka.TopicID { return l.o.TopicID }

// Tail copies the tail.
func (l *Log) Tail() Tail { panic("not yet") }

// AdvanceHighWatermark moves the high watermark forward, never beyond the log
// end and never back, and reports whether it moved. The last stable offset follows.
func (l *Log) AdvanceHighWatermark(off kafka.Offset) (moved bool) { panic("not yet") }

// Read finds batches from the one that holds from on, as far as bound and
// bytesMax allow. With oneBatchAtLeast the first batch may exceed bytesMax.
// The caller owns the reference in File.
func (l *Log) Read(c *Cursor, from kafka.Offset, bytesMax int, bound Bound, oneBatchAtLeast bool) (Read, error) {
	panic("not yet")
}

// OffsetForTime finds the first record whose timestamp is not before timestampMs.
func (l *Log) OffsetForTime(timestampMs int64) (Found, error) { panic("not yet") }

// MaxTimestamp finds the first record with the greatest timestamp.
func (l *Log) MaxTimestamp() (Found, error) { panic("not yet") }

// EndOffsetForEpoch answers OffsetForLeaderEpoch.
func (l *Log) EndOffsetForEpoch(epoch kafka.LeaderEpoch) (EpochEnd, error) { panic("not yet") }

// EpochAt is the leader epoch of the record at off; -1 where unknown.
func (l *Log) EpochAt(off kafka.Offset) (kafka.LeaderEpoch, error) { panic("not yet") }

// HasLateTransaction reports whether an open transaction is older than
// maxTimeoutMs and the five minutes that Kafka adds.
func (l *Log) HasLateTransaction(nowMs, maxTimeoutMs int64) bool { panic("not yet") }

func (l *Log) producers() ([]prodstate.Producer, error) { panic("not yet") }
