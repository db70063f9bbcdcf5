// SPDX-License-Identifier: Apache-2.0

// Package commitlog is the log of one partition replica: ordered segments of
// record batches in Kafka's own files, with append, read, truncation, leader
// epochs, producer state and recovery.
//
// Verbs that change the log (those of append.go, truncate.go, roll.go,
// flush.go and start.go, and Close) are called by one goroutine at a time: on
// the partition's lane. Everything else may be called from anywhere at any
// time. Of the world above it the log knows one number, the high watermark.
package commitlog

import (
	"log/slog"
	"sync"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
)

// Config is what of a topic's configuration the log itself obeys, by Kafka's
// names and units. Zero fields take Kafka's defaults.
type Config struct {
	SegmentBytes       int32 // segment.bytes
	SegmentMs          int64 // segment.ms
	SegmentJitterMs    int64 // segment.jitter.ms
	IndexBytes         int32 // segment.index.bytes
	IndexIntervalBytes int32 // index.interval.bytes
	Preallocate        bool  // preallocate
	FlushMessages      int64 // flush.messages
	FlushMs            int64 // flush.ms
}

// Options says which log to open and what it may use.
type Options struct {
	FS             vfs.FS
	Files          *segment.Files
	Dir            string // the partition's folder
	TopicPartition kafka.TopicPartition
	// TopicID is written into partition.metadata of a new folder; an existing
	// one must name the same topic. Zero accepts any and writes none.
	TopicID kafka.TopicID
	Config  Config
	Logger  *slog.Logger
	Now     func() time.Time

	// What the directory's checkpoints say of this log; 0 where they say nothing.
	RecoveryPoint kafka.Offset
	HighWatermark kafka.Offset
	LogStart      kafka.Offset
	// CleanStart: the directory was stopped cleanly, so nothing is scanned.
	CleanStart bool
	// Hint is what Log.Hint gave before that clean stop; with it (and
	// CleanStart) Open does no I/O at all. nil means an ordinary load.
	Hint *Hint

	// ProducerIDExpirationMs is producer.id.expiration.ms; 0 is Kafka's day.
	ProducerIDExpirationMs int64

	// Failed is called once, when a write failed with anything but a full
	// disk or a sync failed: the directory must go offline. It must not call
	// back into the log.
	Failed func(op string, err error)
	// Dirty counts bytes written, for the directory's flusher.
	Dirty func(n int64)
	// DeleteLater takes over files that were renamed to .deleted, to remove
	// them after file.delete.delay.ms. nil removes them at once.
	DeleteLater func(path string)
}

// Tail is where a log begins and ends, at one moment.
//
// Invariant: LocalLogStart ≥ LogStart, LogStart ≤ HighWatermark ≤ LogEnd,
// LastStable ≤ HighWatermark, Flushed ≤ LogEnd.
type Tail struct {
	LogStart      kafka.Offset // first offset of the partition, remote segments included
	LocalLogStart kafka.Offset // first offset on this disk
	LogEnd        kafka.Offset // offset of the next record
	HighWatermark kafka.Offset
	LastStable    kafka.Offset      // read_committed consumers read below it
	Flushed       kafka.Offset      // below it everything is on the disk
	Epoch         kafka.LeaderEpoch // latest of the leader epoch checkpoint
	SizeBytes     int64             // of all log files
}

// Hint is what a clean stop remembers of a log, so that the next start need
// not open its files. It belongs into the directory's manifest (decision 4).
type Hint struct {
	LogStart        kafka.Offset
	LocalLogStart   kafka.Offset
	LogEnd          kafka.Offset
	LastStable      kafka.Offset
	Epoch           kafka.LeaderEpoch
	SizeBytes       int64        // of all log files
	LastBase        kafka.Offset // base offset of the last segment
	LastSizeBytes   int64        // of its log file
	LastModTimeNano int64        // of its log file
}

// Log is one partition's log.
//
// The way of an append: check epochs and sequences of every batch in memory
// (with an undo list), patch base offset and leader epoch into the caller's
// bytes, write all of the chain with one positioned write per segment, add
// index entries in memory, then publish the new tail under mu. Only then can a
// reader see any of it. The way of a read: copy the tail and take a reference
// on the segment's file under mu, then read files without a lock.
//
// Nothing is opened before the first use; a log with a Hint does not even list
// its folder until then. Whoever comes first loads, others wait for it.
//
// Invariants: what lies below the published log end is never rewritten except
// by a truncation, which publishes the shorter tail and gives the file another
// generation first; after a failed write the file is cut back to the published
// end before anything else is written. Rejected: an atomic pointer to an
// immutable tail, which allocates for every append.
type Log struct {
	o       Options
	cfg     Config // lane
	logger  *slog.Logger
	folder  string // guarded by mu; changes with RenameDir
	lane    laneState
	loading loader

	mu   sync.Mutex // leaf; guards what follows
	tail Tail
	pub  published
}

// Bound limits what a read may see.
type Bound int8

// Bounds: followers read to the log end, consumers to the high watermark,
// read_committed consumers to the last stable offset.
const (
	ToLogEnd Bound = iota
	ToHighWatermark
	ToLastStable
)

// Producers lists the log's producers, ordered by id, for DescribeProducers.
func (l *Log) Producers() ([]prodstate.Producer, error) { return l.producers() }
