// SPDX-License-Identifier: Apache-2.0

// Package logdir is one log directory of a node: its lock and identity, the
// folders of its partitions, the checkpoint files that say how far they are
// safe, and the marker and manifest that make a start after a clean stop free.
//
// The directory looks as Apache Kafka leaves and expects it:
//
//	.lock                              held while a process uses the directory
//	meta.properties                    cluster.id, node.id, directory.id
//	.kafka_cleanshutdown               there only between a clean stop and the next start
//	recovery-point-offset-checkpoint   offset below which a log is on the disk
//	log-start-offset-checkpoint        first offset that was not deleted
//	replication-offset-checkpoint      high watermark
//	gregor.manifest                    ours: what a clean stop remembers of every log
//	gregor.checksums                   ours: checksums of sealed segments
//	gregor.checkpoints                 ours: checksums of the three files above
//	cleaner-offset-checkpoint          Apache Kafka's, kept for its next turn
//	topic-7/                           a partition (package commitlog)
//	topic-7.<32 hex>-delete/           deleted, removed after file.delete.delay.ms
//	topic-7.<32 hex>-stray/            set aside: metadata does not know it
//	__cluster_metadata-0/              belongs to package metalog and is left alone
//
// All methods of Dir may be called from anywhere, except that a log's own
// one-at-a-time verbs, which OpenLog's caller owns, include DeleteLog.
package logdir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/segment"
)

// Options says which directory to open. Zero fields take the defaults that
// stand beside them.
type Options struct {
	FS        vfs.FS
	Path      string
	Files     *segment.Files
	NodeID    kafka.NodeID
	ClusterID string
	Logger    *slog.Logger
	Now       func() time.Time
	Random    io.Reader // of a new directory.id and of folder names; default crypto/rand

	// FlushBytes of dirty data, or FlushInterval since it became dirty, lead to
	// a flush of the whole file system and new recovery points. 2 GiB, 60 s
	// (log.flush.offset.checkpoint.interval.ms).
	FlushBytes    int64
	FlushInterval time.Duration
	// HighWatermarkInterval is replica.high.watermark.checkpoint.interval.ms; 5 s.
	HighWatermarkInterval time.Duration
	// FileDeleteDelay is file.delete.delay.ms; 60 s, and below zero none.
	FileDeleteDelay time.Duration
	// ReserveBytes is the room on the file system that producers leave
	// (gregor.log.reserve.bytes). 0: none; below zero ReserveOf's default.
	ReserveBytes int64
	// Workers is how many logs Close closes at a time; GOMAXPROCS.
	Workers int
	// ScrubBytesPerSecond is how fast the scrub reads
	// (gregor.log.scrub.bytes.per.second); 0: there is none.
	ScrubBytesPerSecond int64
	// ScrubInterval is the time between two passes
	// (gregor.log.scrub.interval.ms); a week.
	ScrubInterval time.Duration
	// Recoveries is how many logs are recovered at a time
	// (num.recovery.threads.per.data.dir); 0 is as many as are opened.
	Recoveries int
	// Formatted: the directory must have a meta.properties, since others of
	// this node have one. See UnformattedError.
	Formatted bool
}

func (o *Options) ensureDefaults() {
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.FlushBytes <= 0 {
		o.FlushBytes = 2 << 30
	}
	if o.FlushInterval <= 0 {
		o.FlushInterval = time.Minute
	}
	if o.HighWatermarkInterval <= 0 {
		o.HighWatermarkInterval = 5 * time.Second
	}
	if o.ScrubInterval <= 0 {
		o.ScrubInterval = 7 * 24 * time.Hour
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.FileDeleteDelay == 0 {
		o.FileDeleteDelay = time.Minute
	}
}

// Found is a partition's folder.
type Found struct {
	TopicPartition kafka.TopicPartition
	TopicID        kafka.TopicID // zero where the folder does not tell
	Folder         string
}

// Dir is one open log directory.
//
// A start: lock, meta.properties, clean marker, manifest (or the checkpoint
// files, where there is no manifest that belongs to the marker), folders. Then
// marker and manifest are removed and that is made durable before Open returns,
// so whatever is written afterwards is written to a directory that no longer
// calls itself clean.
//
// While it runs, a few goroutines serve all partitions: the flusher notes every
// log's end, flushes the file system as a whole, tells the logs and writes the
// recovery points; the janitor removes what was deleted a while ago; the third
// watches the room that is left (type room), and the fourth looks for bit rot (type
// scrubber). Nothing is kept per idle partition
// but its entry in a map.
//
// A stop: close every log, remove the files that were deleted, flush, checkpoints,
// marker, manifest, in this order.
// Invariant: the manifest names inode, modification time and content of the
// marker that was written just before it. Another program that uses the
// directory in between (Kafka, say) replaces the marker and thereby disowns the
// manifest.
//
// A directory in which a write or sync failed goes offline for good: nothing
// is retried or written again, and it is never marked clean.
// Rejected: one fdatasync per log for recovery points (100,000 of them a
// minute), and remembering the boot id in place of flushing.
type Dir struct {
	o          Options
	properties Properties
	lock       io.Closer
	syncer     vfs.Syncer
	clean      bool
	epoch      kafka.BrokerEpoch // of the marker; -1 where it had none

	stop       chan struct{}
	goroutines sync.WaitGroup
	janitor    janitor
	// fileDeleteDelay is a time.Duration.
	fileDeleteDelay atomic.Int64

	offline struct {
		sync.Mutex
		err error
		c   chan struct{} // closed once err is set
	}

	flusher  flusher
	room     room
	scrubber scrubber
	// recovering holds a token for each log that is being recovered; nil: no limit.
	recovering chan struct{}

	mu      sync.Mutex // guards what follows
	logs    map[kafka.TopicPartition]*entry
	inOrder []*entry // the same, so that it is copied fast and written in a stable order
	listing int64    // counts changes of the list, from 1
	// stale are partitions that are gone and that checkpoint files may still
	// name, with the listing that they left with.
	stale map[kafka.TopicPartition]int64
	// lost are those that nobody has opened since.
	lost map[kafka.TopicPartition]Lost
	// cleaned is what cleanerFile says, cleanedMoved that it says more.
	cleaned      offsets
	cleanedMoved bool
	closed       bool
}

// entry is what the directory knows of one partition.
type entry struct {
	tp     kafka.TopicPartition
	folder string
	log    atomic.Pointer[commitlog.Log] // nil until OpenLog

	// written is what the checkpoint files say, or are about to. Guarded by flusher.mu.
	written kept

	// What follows is guarded by Dir.mu.
	place   int // in Dir.inOrder
	topicID kafka.TopicID
	kept    kept            // as found, for as long as the log is not open; see lowered
	hint    *commitlog.Hint // of the manifest, until the log is opened
	opening bool
	// recoveryLost: kept.recoveryPoint is 0 because the file is lost.
	recoveryLost bool
	fresh        bool // no folder of this name was found
	ended        bool // its deletion failed: the log is closed, and still has the name
	// unrecovered: after an unclean stop nobody has opened the log yet, so
	// nobody knows whether its tail is whole.
	unrecovered bool
}

// kept are the three checkpointed numbers of a partition.
type kept struct {
	recoveryPoint kafka.Offset
	highWatermark kafka.Offset
	logStart      kafka.Offset
}

// ErrClosed is returned after Close or Kill.
var ErrClosed = fmt.Errorf("log directory is closed: %w", kafka.KafkaStorageError)

// InUseError says that another process has the directory.
type InUseError struct {
	Path string
	Err  error
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("log directory %s is in use by another process (it holds %s): stop that first, or choose another log.dirs",
		e.Path, lockFile)
}

func (e *InUseError) Unwrap() error { return e.Err }

const lockFile = ".lock"

func newDir(o Options) *Dir {
	o.ensureDefaults()
	d := &Dir{
		o:       o,
		stop:    make(chan struct{}),
		logs:    map[kafka.TopicPartition]*entry{},
		stale:   map[kafka.TopicPartition]int64{},
		lost:    map[kafka.TopicPartition]Lost{},
		listing: 1,
	}
	d.flusher.init()
	d.janitor.init()
	d.room.init()
	d.scrubber.init()
	d.scrubber.pace.BytesPerSecond = o.ScrubBytesPerSecond
	if o.Recoveries > 0 {
		d.recovering = make(chan struct{}, o.Recoveries)
	}
	d.DelayDeletes(o.FileDeleteDelay)
	d.offline.c = make(chan struct{})
	return d
}

// Open opens a directory, creating it when it is not there.
func Open(o Options) (*Dir, error) {
	d := newDir(o)
	if err := d.open(); err != nil {
		d.release()
		return nil, fmt.Errorf("open log directory %s: %w", o.Path, err)
	}
	if o.ReserveBytes != 0 {
		d.look()
	}
	d.goroutines.Add(3)
	go d.runFlusher()
	go d.runJanitor()
	go d.runRoom()
	if d.o.ScrubBytesPerSecond > 0 {
		d.goroutines.Add(1)
		go d.runScrubber()
	}
	return d, nil
}

func (d *Dir) open() error {
	if err := d.checkFormatted(); err != nil {
		return err
	}
	err := vfs.MakeDir(d.o.FS, d.o.Path)
	if err != nil {
		return err
	}
	if d.lock, err = lock(d.o.FS, d.o.Path); err != nil {
		return err
	}
	if d.syncer, err = d.o.FS.OpenSyncer(d.o.Path); err != nil {
		return err
	}
	names, err := d.o.FS.ReadDir(d.o.Path)
	if err != nil {
		return err
	}
	folders, err := sortFolders(d.o.Path, names)
	if err != nil {
		return err
	}
	if d.properties, err = identify(&d.o, len(folders.partitions) > 0); err != nil {
		return err
	}
	if err := d.load(folders); err != nil {
		return err
	}
	for _, folder := range folders.deleted {
		d.removeLater(folder, 0)
	}
	for _, folder := range folders.ignored {
		d.o.Logger.Warn("folder in the log directory is left alone", "folder", folder)
	}
	return nil
}

func lock(fs vfs.FS, dir string) (io.Closer, error) {
	held, err := fs.Lock(filepath.Join(dir, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, &InUseError{Path: dir, Err: err}
	}
	return held, err
}

// load fills the table of partitions and then takes marker and manifest away.
func (d *Dir) load(folders folders) error {
	marker, err := readMarker(d.o.FS, d.o.Path)
	if err != nil {
		return err
	}
	d.clean, d.epoch = marker.found, marker.brokerEpoch
	remembered, err := d.readManifest(marker)
	if err != nil {
		return err
	}
	var checkpointed checkpoints
	if remembered == nil {
		if checkpointed, err = readCheckpoints(d.o.FS, d.o.Path, d.o.Logger, len(folders.partitions) > 0); err != nil {
			return err
		}
	}
	if len(folders.partitions) == 0 {
		if err := d.beginCheckpoints(); err != nil {
			return err
		}
	}
	for _, p := range folders.partitions {
		tp, folder := p.tp, p.path
		e := &entry{tp: tp, folder: folder, unrecovered: !d.clean}
		if r, ok := remembered[tp]; ok {
			e.topicID, e.kept, e.hint = r.topicID, r.kept, r.hint
		} else {
			e.kept, e.recoveryLost = checkpointed.of[tp], checkpointed.recoveryLost
			e.topicID = d.readTopicID(folder)
		}
		e.written = e.kept
		d.addLocked(e)
	}
	for tp := range checkpointed.of {
		if d.logs[tp] == nil {
			d.stale[tp] = d.listing
		}
	}
	for tp, r := range remembered {
		if d.logs[tp] == nil && r.kept != (kept{}) { // else it was never used, and has no folder
			d.stale[tp] = d.listing
			if l, had := r.lost(d.o.Path, tp); had {
				d.lost[tp] = l
			}
		}
	}
	if err := d.loadCleaned(); err != nil {
		return err
	}
	return removeDurably(d.o.FS, d.o.Path, markerFile, manifestFile)
}

func (d *Dir) path(name string) string { return filepath.Join(d.o.Path, name) }

// Path is where the directory is.
func (d *Dir) Path() string { return d.o.Path }

// ID is directory.id.
func (d *Dir) ID() kafka.DirectoryID { return d.properties.DirectoryID }

// CleanStart reports whether the last user of the directory stopped cleanly.
func (d *Dir) CleanStart() bool { return d.clean }

// PreviousBrokerEpoch is the epoch under which the last user stopped cleanly,
// for BrokerRegistration; -1 where there is none to trust.
func (d *Dir) PreviousBrokerEpoch() kafka.BrokerEpoch { return d.epoch }

// Logs lists the partitions that have a folder, opened or not, and those that
// will have one with their first use.
func (d *Dir) Logs() []Found {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := make([]Found, len(d.inOrder))
	for i, e := range d.inOrder {
		found[i] = Found{TopicPartition: e.tp, TopicID: e.topicID, Folder: e.folder}
	}
	return found
}

// Usage tells the room on the directory's file system.
func (d *Dir) Usage() (vfs.Usage, error) { return d.o.FS.Usage(d.o.Path) }

func (d *Dir) release() {
	if d.syncer != nil {
		_ = d.syncer.Close() // it only held a place to flush from
	}
	if d.lock != nil {
		_ = d.lock.Close() // the lock goes with the descriptor in any case
	}
}
