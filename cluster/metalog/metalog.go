// SPDX-License-Identifier: Apache-2.0

// Package metalog keeps __cluster_metadata-0 on this node: one set of files
// that is the log of raft and the log of Kafka at once.
//
//	<metadata log dir>/__cluster_metadata-0/
//	  00000000000000000000.log                    segments, named by their first offset
//	  00000000000000000000-0000000000.checkpoint  who forms the cluster; records to be proposed
//	  00000000000000001234-0000000007.checkpoint  the state up to offset 1234, written in epoch 7
//	  quorum-state                                 term, vote, leader; commit index
//	  gregor.synced                                how far the log is durable; ours, may be deleted
//	  *.torn, *.damaged                            what was cut off the log; nobody reads them
//
// One raft entry is one record batch v2. Its partition leader epoch is the
// term; base offset and epoch lie before what the CRC covers and are put in at
// append, when the bytes of an entry are decided for all nodes. An index is
// counted in batches, an offset in records; the map between the two lives in
// memory and is built from the headers at open.
//
//	offset   0         3    4         9    10
//	batch    | leader  | A  | B       | L  | C ...
//	index      2         3    4         5    6        (index 1 is the 0-0 checkpoint)
//
// Concurrency: one goroutine writes (Append, SaveQuorum, Commit, Install,
// Close: the loop of raftnode); everything else may be called from anywhere at
// any time. WriteCheckpoint may run beside the writer.
//
// R1 to R13, which comments and tests name, are the rules in
// docs/format/metadata-log.md.
package metalog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// DirName is the folder of the metadata partition.
const DirName = "__cluster_metadata-0"

// Options says where a Log lives and how much of it is kept.
type Options struct {
	FS     vfs.FS
	Dir    string // metadata.log.dir; the log is in its folder DirName
	Logger *slog.Logger

	// SegmentBytesMax rolls a segment that would grow beyond it
	// (metadata.log.segment.bytes). Default 1 GiB.
	SegmentBytesMax int64
	// RetentionBytes and RetentionMs bound what is kept behind the newest
	// checkpoint (metadata.max.retention.bytes and .ms). Default 100 MiB and 7
	// days; below zero is without bound.
	RetentionBytes int64
	RetentionMs    int64
	// RecentBytesMax is how much of the end of the log stays in memory. Default
	// 1 MiB.
	RecentBytesMax int
	// BatchBytesMax bounds a batch that is read from disk or from a peer.
	// Default 64 MiB.
	BatchBytesMax int
	// CutOffset is where whoever runs the node gives up a damaged log: what a
	// DamagedError says. 0: nowhere.
	CutOffset kafka.Offset
}

func (o *Options) ensureDefaults() {
	if o.SegmentBytesMax == 0 {
		o.SegmentBytesMax = 1 << 30
	}
	if o.RetentionBytes == 0 {
		o.RetentionBytes = 100 << 20
	}
	if o.RetentionMs == 0 {
		o.RetentionMs = 7 * 24 * 3600 * 1000
	}
	if o.RecentBytesMax == 0 {
		o.RecentBytesMax = 1 << 20
	}
	if o.BatchBytesMax == 0 {
		o.BatchBytesMax = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Log is the metadata log. Batches that are committed never change, so readers
// take a position under the mutex and then read files without it, holding a
// reference on the segment.
//
// Invariants: entries follow each other without a gap in index and offset, the
// last one ends where the last segment ends; committed is at or above every
// checkpoint and never moves back.
//
// How it ends. An append is one write and one fdatasync, and nobody is told of it
// before; then gregor.synced is written, which says how far the log is durable. So
// a crash can only have torn the last write, and a start that finds bad bytes asks
// in this order:
//
//  1. Does the newest checkpoint hold all that is bad? Then the damaged segment is
//     set aside and the log begins at the checkpoint's end, with what follows it.
//  2. Is it known to have been durable: by gregor.synced, by the commit index in
//     quorum-state, by a segment that follows? Then it is damage.
//  3. Has the bad batch all its sectors, none of zeros and none beyond the end of
//     the file? Then all of it was written, and it is damage too. This is what is
//     left after a power cut, which may have kept an old gregor.synced.
//  4. Else it was torn: it is cut off, and kept in a file beside the log.
//
// Damage refuses the start: a voter that forgets what it has acknowledged loses what
// was committed. Kafka cuts at the first bad batch wherever it is, and has the rest
// from the other voters, if there are any. Whoever runs the node may give up what is
// damaged by naming its offset. For a checkpoint that is damaged the one before it
// and the log make up, as long as they are kept.
type Log struct {
	o   Options
	fs  vfs.FS
	dir string

	// Of the writer alone.
	synced     synced
	epochsGone bool       // leader-epoch-checkpoint was removed (R6)
	untidy     bool       // the files hold more than the maps below
	gone       []*segment // to be removed by tidy
	closed     bool

	mu sync.Mutex // guards what follows, for nanoseconds
	// before is the batch in front of entries[0], which may no longer be there:
	// its index and epoch are what raft compares with.
	before    position
	entries   []entry
	recent    [][]byte // the bytes of the last len(recent) entries
	recentLen int
	segments  []*segment // ascending; the last is written to

	checkpoints []Checkpoint // ascending by End
	members     []Members    // ascending by Index; the first is that of a checkpoint
	committed   Committed
	quorum      QuorumState
	hasQuorum   bool
	watchers    []chan<- struct{} // replaced, never changed
	writing     bool              // a checkpoint is being written
}

// position is a place between two batches.
type position struct {
	index uint64            // of the batch before it
	epoch kafka.LeaderEpoch // of that batch
	end   kafka.Offset      // of the batch after it
}

// entry is one batch in a segment.
type entry struct {
	base  kafka.Offset
	pos   int64
	seg   *segment
	size  int32
	count int32
	epoch kafka.LeaderEpoch
}

func (e *entry) end() kafka.Offset { return e.base + kafka.Offset(e.count) }

// segment is one .log file. The writer holds one reference, each reader one.
type segment struct {
	base kafka.Offset
	name string
	size int64
	file vfs.File // nil for one that lies before all entries and is only kept
	refs int
}

// Committed tells how far the log is known to be kept by the quorum.
type Committed struct {
	End   kafka.Offset // of the first batch that is not
	Epoch kafka.LeaderEpoch
	Index uint64
}

// errClosed is the error of a log that was closed.
var errClosed = errors.New("metadata log is closed")

// CorruptError names bytes on disk that cannot be what was written.
type CorruptError struct {
	File   string
	Pos    int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("metadata log is corrupt: %s at byte %d: %s", e.File, e.Pos, e.Reason)
}

// NotInLogError says that batches from an offset are no longer in the log, and
// that a reader has to start from the newest checkpoint.
type NotInLogError struct {
	From, LogStart kafka.Offset
}

func (e *NotInLogError) Error() string {
	return fmt.Sprintf("metadata offset %d is below the start of the log, %d", e.From, e.LogStart)
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }

func (l *Log) syncDir() error { return l.fs.SyncDir(l.dir) }

// FirstIndex is the index of the first batch that Entries can give.
func (l *Log) FirstIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.before.index + 1
}

// LastIndex is the index of the last batch; FirstIndex-1 if there is none.
func (l *Log) LastIndex() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastIndexLocked()
}

func (l *Log) lastIndexLocked() uint64 { return l.before.index + uint64(len(l.entries)) }

// End is the offset that the next batch gets.
func (l *Log) End() kafka.Offset {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endLocked()
}

func (l *Log) endLocked() kafka.Offset {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].end()
	}
	return l.before.end
}

// Committed tells how far readers may read.
func (l *Log) Committed() Committed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
}

// Commit makes the batches up to index visible to readers and wakes them. An
// index below what is committed already does nothing.
func (l *Log) Commit(index uint64) {
	l.mu.Lock()
	p, ok := l.positionLocked(index)
	ok = ok && index > l.committed.Index
	if ok {
		l.committed = Committed{End: p.end, Epoch: p.epoch, Index: index}
	}
	watchers := l.watchers
	l.mu.Unlock()
	if ok {
		wake(watchers)
	}
}

// Watch has c, which must have room for one, receive whenever Committed has
// moved.
func (l *Log) Watch(c chan<- struct{}) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers = append(slices.Clone(l.watchers), c)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watchers = slices.DeleteFunc(slices.Clone(l.watchers), func(w chan<- struct{}) bool { return w == c })
	}
}

func wake(watchers []chan<- struct{}) {
	for _, c := range watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Empty reports whether there is nothing at all: no quorum-state, no log, no
// checkpoint. Only then may a node form a cluster.
func (l *Log) Empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.hasQuorum && len(l.checkpoints) == 0 && l.lastIndexLocked() == l.before.index
}

// Close releases the files. What was appended is durable already.
func (l *Log) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	l.mu.Lock()
	segments := l.segments
	l.segments, l.entries, l.recent = nil, nil, nil
	l.mu.Unlock()
	var errs []error
	for _, s := range segments {
		errs = append(errs, l.release(s))
	}
	return errors.Join(append(errs, l.closeSynced())...)
}

// release gives back one reference.
func (l *Log) release(s *segment) error {
	l.mu.Lock()
	s.refs--
	last := s.refs == 0
	l.mu.Unlock()
	if last && s.file != nil {
		return s.file.Close()
	}
	return nil
}

// readFull reads len(b) bytes at off.
func readFull(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
