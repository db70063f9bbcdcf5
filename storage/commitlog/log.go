// SPDX-License-Identifier: Apache-2.0

// Package commitlog is the log of one partition replica: ordered segments of
// record batches in Kafka's own files, with append, read, truncation, leader
// epochs, producer state and recovery.
//
// What changes the log is called by one goroutine at a time, on the
// partition's lane: Append, the truncations, Roll, StartEpoch, Configure,
// AdvanceLogStart, DeleteRecords, DropSegments, Retain, Flush, FlushDue,
// FlushDueAtMs, Checkpoint, Producers, RenameDir, Close and Kill. Everything
// else may be called from anywhere at any time. Of the world above it the log
// knows one number, the high watermark.
package commitlog

import (
	"log/slog"
	"math"
	"sync"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/prodstate"
	"gregor/storage/retention"
	"gregor/storage/scrub"
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
	// ProducerIDExpirationMs is producer.id.expiration.ms; 0 is Kafka's day.
	ProducerIDExpirationMs int64
	// FileDeleteDelayMs is file.delete.delay.ms: 0 is the directory's, and below
	// it none.
	FileDeleteDelayMs int64
	// Compacted: cleanup.policy holds compact, so a segment may end before the
	// next one begins.
	Compacted bool
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
	// RecoveryPointLost: there was a recovery point and nobody knows it any more.
	// RecoveryPoint is 0; everything is read, and nothing counts as written in vain.
	RecoveryPointLost bool
	// CleanStart: the directory was stopped cleanly, so nothing is scanned.
	CleanStart bool
	// Hint is what Log.Hint gave before that clean stop; with it (and
	// CleanStart) Open does no I/O at all. nil means an ordinary load.
	Hint *Hint
	// New: nobody has made the folder yet. It is made at the first use, so a
	// partition that is never used costs no I/O.
	New bool

	// Failed is called once, when a write failed with anything but a full
	// disk or a sync failed: the directory must go offline. It must not call
	// back into the log.
	Failed func(op string, err error)
	// NoRoom is told, on the lane, that a write found no room. nil: the log
	// writes a line for each.
	NoRoom func(err error)
	// Dirty counts bytes written, for the directory's flusher.
	Dirty func(n int64)
	// Lowered is called on the lane after the log end has moved back to off and
	// before the files are cut: the directory's checkpoints must not say more
	// once other records take the place. nil needs no telling.
	Lowered func(off kafka.Offset) error
	// DeleteLater takes over files that were renamed to .deleted, to remove
	// them after delay, which is as in Config. nil removes them at once.
	DeleteLater func(path string, delay time.Duration)
	// Quarantined is told of each range of a log file that is found to be bad, from
	// any goroutine. nil: the log's line is all.
	Quarantined func(BadRange)
	// Sum is what is known of the files of a sealed segment; nil: nothing.
	Sum func(base kafka.Offset) (scrub.Sum, bool)
	// Sealed is told, on the lane, of each segment that gets no more batches.
	Sealed func(base kafka.Offset)
	// Dropped counts segments that were deleted, on the lane.
	Dropped func(why retention.Reason, segments int, bytes int64)

	snapshotBytes int64 // 0: the constant of this name
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
// not open its files. It belongs into the directory's manifest.
type Hint struct {
	LogStart        kafka.Offset
	LocalLogStart   kafka.Offset
	LogEnd          kafka.Offset
	LastStable      kafka.Offset // first offset of the oldest open transaction; LogEnd where none is open
	Epoch           kafka.LeaderEpoch
	StartEpoch      kafka.LeaderEpoch // of the record at LogStart
	SizeBytes       int64             // of all log files
	LastBase        kafka.Offset      // base offset of the last segment
	LastSizeBytes   int64             // of its log file
	LastModTimeNano int64             // of its log file
	// The oldest segment, for retention.Oldest.
	OldestEnd       kafka.Offset
	OldestSizeBytes int64
	OldestNewestMs  int64
}

func (h *Hint) lastStable() kafka.Offset {
	if h.LastStable >= h.LogEnd {
		return math.MaxInt64
	}
	return max(h.LastStable, h.LogStart) // as updateStableLocked
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
// its folder until then, and a new one has none. Whoever comes first loads,
// others wait for it. What the tail alone tells (where the log begins and ends,
// that there is nothing behind its end) is no use.
//
// Invariants: what lies below the published log end is never rewritten except
// by a truncation, which publishes the shorter tail and gives the file another
// generation first; after a failed write the file is cut back to the published
// end before anything else is written. Rejected: an atomic pointer to an
// immutable tail, which allocates for every append.
type Log struct {
	o       Options
	loading gate
	lane    laneState

	mu     sync.Mutex // leaf; guards what follows
	tail   Tail
	folder string
	cfg    Config
	pub    published
}

// published is what readers see beside the tail, guarded by Log.mu.
type published struct {
	loaded   bool
	closed   bool
	leaving  bool          // its folder gets another name: nothing is opened by the old one
	made     bool          // there is a folder
	err      error         // why nothing can be changed any more
	segments []*logSegment // by base offset, at least one; replaced, not changed in place
	hw, lso  place
	marks    marks
	txns     prodstate.Txns
	epochs   epochList
	pending  epochList // epochs that began before the log was loaded
	// cutting is open while a truncation changes files: nobody begins to read then.
	cutting chan struct{}
	cuts    int // truncations so far
	// leftovers: files of segments that left the log could not be renamed yet.
	leftovers bool
	futureMs  int64        // the last timestamp of the future that was told
	cut       bool         // there was a truncation since the last Synced
	cutTo     kafka.Offset // the lowest of them
	// syncedBelow: files of all kinds of the segments that begin below it were
	// durable at the last Synced.
	syncedBelow kafka.Offset
}

// laneState is what only the lane touches once the log is loaded.
type laneState struct {
	producers prodstate.State
	snapshot  kafka.Offset // of the newest producer snapshot; NoOffset: none
	// inside are the producer snapshots inside the last two segments, those at their
	// starts excepted; sinceSnapshot is the bytes since the newest of all.
	inside        []kafka.Offset
	sinceSnapshot int64
	epochsDirty   bool
	dirUnsynced   bool  // a file was created since the folder was last synced
	unflushedMs   int64 // when the oldest unflushed append came; 0: none
	failedCalled  bool
	doomed        []*logSegment // out of the log, and their files still have their names
	batchOfAppend
}

// place is where a batch begins. Without a segment it is not known.
type place struct {
	seg      *logSegment
	posBytes int64
}

func (p *published) active() *logSegment { return p.segments[len(p.segments)-1] }

func (p *published) end() place {
	s := p.active()
	return place{seg: s, posBytes: s.sizeBytes}
}

// marks are where the last batches above the high watermark end, so that the
// high watermark knows its place without reading the log. It is a cache.
type marks struct {
	list []mark
	head int
}

type mark struct {
	next kafka.Offset // behind the batch
	at   place
}

const marksMax = 512

func (m *marks) push(x mark) {
	if m.head > marksMax {
		m.list = append(m.list[:0], m.list[m.head:]...)
		m.head = 0
	}
	if len(m.list)-m.head < marksMax {
		m.list = append(m.list, x)
	}
}

// take forgets the marks up to off and gives the place of off, if it is known.
func (m *marks) take(off kafka.Offset) place {
	var p place
	for m.head < len(m.list) && m.list[m.head].next <= off {
		if m.list[m.head].next == off {
			p = m.list[m.head].at
		}
		m.head++
	}
	if m.head == len(m.list) {
		if cap(m.list) > 64 {
			m.list = nil
		}
		m.list, m.head = m.list[:0], 0
	}
	return p
}

// settledLocked waits until the log is loaded and no truncation is under way.
func (l *Log) settledLocked() error {
	for {
		switch cutting := l.pub.cutting; {
		case !l.pub.loaded || l.pub.closed:
			l.mu.Unlock()
			err := l.ready()
			l.mu.Lock()
			if err != nil {
				return err
			}
		case cutting != nil:
			l.mu.Unlock()
			<-cutting
			l.mu.Lock()
		default:
			return nil
		}
	}
}

func (m *marks) reset() { m.list, m.head = nil, 0 }

// log names the partition in each line. It is made when there is something to
// say: an idle log is to cost little memory.
func (l *Log) log() *slog.Logger { return l.o.Logger.With("partition", l.o.TopicPartition.String()) }

// dir is the partition's folder.
func (l *Log) dir() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.folder
}

func (l *Log) isLeaving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pub.leaving
}

// Dir is the partition's folder.
func (l *Log) Dir() string { return l.dir() }

// TopicPartition names the partition.
func (l *Log) TopicPartition() kafka.TopicPartition { return l.o.TopicPartition }

// TopicID is the topic's id; zero where the folder names none.
func (l *Log) TopicID() kafka.TopicID { return l.o.TopicID }

// Tail copies the tail.
func (l *Log) Tail() Tail {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tail
}

// config copies the configuration.
func (l *Log) config() Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg
}

func (l *Log) indexInterval() int64 { return int64(l.config().IndexIntervalBytes) }

// Configure applies a changed topic configuration.
func (l *Log) Configure(c Config) {
	c.setDefaults()
	l.mu.Lock()
	l.cfg = c
	l.mu.Unlock()
}

func (c *Config) setDefaults() {
	orDefault(&c.SegmentBytes, 1<<30)
	orDefault(&c.SegmentMs, 7*24*3600*1000)
	orDefault(&c.IndexBytes, 10<<20)
	orDefault(&c.IndexIntervalBytes, 4096)
	orDefault(&c.FlushMessages, math.MaxInt64)
	orDefault(&c.FlushMs, math.MaxInt64)
	orDefault(&c.ProducerIDExpirationMs, defaultProducerExpirationMs)
}

func orDefault[T int32 | int64](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// AdvanceHighWatermark moves the high watermark forward, never beyond the log
// end and never back, and reports whether it moved. The last stable offset
// follows.
func (l *Log) AdvanceHighWatermark(off kafka.Offset) (moved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	off = min(off, l.tail.LogEnd)
	if off <= l.tail.HighWatermark {
		return false
	}
	l.setHighWatermarkLocked(off)
	return true
}

func (l *Log) setHighWatermarkLocked(off kafka.Offset) {
	l.tail.HighWatermark = off
	if !l.pub.loaded {
		l.tail.LastStable = min(off, l.hintStable())
		return
	}
	l.pub.hw = l.pub.marks.take(off)
	if off == l.tail.LogEnd {
		l.pub.hw = l.pub.end()
	}
	l.pub.txns.Replicated(off)
	l.updateStableLocked()
}

// hintStable is the first offset that an open transaction made unstable when
// the log was last closed.
func (l *Log) hintStable() kafka.Offset {
	if l.o.Hint == nil {
		return math.MaxInt64
	}
	return l.o.Hint.lastStable()
}

func (l *Log) updateStableLocked() {
	first, ok := l.pub.txns.FirstUnstable()
	first = max(first, l.tail.LogStart) // where DeleteRecords took the beginning of a transaction
	if !ok || first >= l.tail.HighWatermark {
		l.tail.LastStable, l.pub.lso = l.tail.HighWatermark, l.pub.hw
		return
	}
	if l.tail.LastStable != first {
		l.tail.LastStable, l.pub.lso = first, place{}
	}
}
