// SPDX-License-Identifier: Apache-2.0

// Package shard runs coordinators: pure state machines, each of which lives in
// one partition of an internal topic. It loads a machine from its partition,
// gives it events one at a time, appends what they change, and lets a reply
// leave when all that it can know of is committed. It knows no verb of any
// machine, and the machine knows neither log nor clock.
//
//	shards.go   the shards of one topic: elect, resign, events
//	shard.go    one shard: its life and its lane
//	load.go     from the log to a machine
//	append.go   from a machine to the log
//	marker.go   ends of transactions
//	release.go  replies that wait for the high watermark
//	clock.go    the time that machines are told
//	ticket.go   one request that waits
//	plan.go     the partition of a group or transaction; who elects and resigns
//	stats.go    what it has done
package shard

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/lane"
	"gregor/base/park"
	"gregor/coordinator/grouprec"
	"gregor/wire/compress"
)

// Token names a request to its machine. 0 is nobody.
type Token uint64

// Producer is the producer in whose transaction records are written.
type Producer struct {
	ID    kafka.ProducerID
	Epoch kafka.ProducerEpoch
}

// Origin is where a record of the log stands.
type Origin struct {
	Offset        kafka.Offset
	TimestampMs   int64
	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
	Transactional bool
}

// Output is what an event gives. It is used again for the next event.
type Output interface {
	Reset()
	// Records are to be appended as one batch. With transactional they belong to
	// the transaction of that producer.
	Records() (records []grouprec.Record, of Producer, transactional bool)
	// Replies gives the answers to this event and to earlier ones.
	Replies(yield func(Token, kmsg.Response) bool)
}

// Machine is the state of one partition. Its methods are called one at a time.
type Machine[O Output] interface {
	// Replay applies one record of the log. An error makes the load fail.
	Replay(rec grouprec.Record, from Origin) error
	// ReplayMarker ends the transaction of a producer.
	ReplayMarker(id kafka.ProducerID, epoch kafka.ProducerEpoch, commit bool) error
	// Loaded is called once, behind the last Replay.
	Loaded(nowMs int64, out O)
	// Tick does what is due, and NextDueMs tells when that is.
	Tick(nowMs int64, out O)
	NextDueMs() (ms int64, ok bool)
	// Abandon answers everyone who waits: this broker has the partition no more.
	Abandon(out O)
}

// Log is the partition that a shard lives in. Only Read may take long; the
// caller holds no lane then.
type Log interface {
	// Append appends whole batches as leader of an epoch, all or none. The error
	// carries Kafka's code.
	Append(batches []byte, epoch kafka.LeaderEpoch) (last kafka.Offset, err error)
	// AppendMarker appends the control batch of a marker likewise. The log judges
	// the epochs of the producer and of its coordinator.
	AppendMarker(b []byte, txnVersion int8, epoch kafka.LeaderEpoch) (last kafka.Offset, err error)
	// Read gives whole batches from the one that holds from on, in buf if they
	// fit: at least one and at most about bytesMax, and none at the log end.
	Read(buf []byte, from kafka.Offset, bytesMax int) ([]byte, error)
	// Bounds are the log start and the log end.
	Bounds() (start, end kafka.Offset)
	// Committed tells whether the high watermark has passed an offset. An error
	// says that this broker does not lead in epoch any more.
	Committed(last kafka.Offset, epoch kafka.LeaderEpoch) (bool, error)
	// Await makes e wait until the high watermark is at an offset, or the
	// leadership changes. Forget ends that.
	Await(e *park.Entry, at kafka.Offset)
	Forget(e *park.Entry)
	// BatchBytesMax is the topic's max.message.bytes.
	BatchBytesMax() int
}

// Options are what the shards of a topic need. Fields without a default are
// required.
type Options[M Machine[O], O Output] struct {
	// Name is the topic's, for logs.
	Name string
	// New makes an empty machine, and NewOutput what its events append to.
	New       func(p kafka.PartitionID) M
	NewOutput func() O
	// Open finds the log as soon as this broker leads it in epoch. It may wait,
	// until ctx ends.
	Open func(ctx context.Context, p kafka.PartitionID, epoch kafka.LeaderEpoch) (Log, error)
	// Refresh tells a machine, behind Loaded, what events it has missed while it
	// was loaded. May be nil.
	Refresh func(m M, nowMs int64, out O)
	// LoadBufferBytes is how much is read at once while loading, 5 MiB.
	LoadBufferBytes int
	// DecompressedMax bounds what one batch may hold while loading, 1 GiB.
	DecompressedMax int
	// LoadersMax bounds the loads that run at once; as many as there are CPUs.
	LoadersMax int
	// CommitTimeout bounds the wait of a reply for the high watermark, 5 s.
	CommitTimeout time.Duration
	// PendingMax bounds the requests that wait in one shard, 100,000.
	PendingMax int
	// Codec compresses what is appended.
	Codec  compress.Codec
	Logger *slog.Logger
	Now    func() time.Time
}

// Shards are the partitions of one internal topic that this broker leads. It is
// safe for concurrent use.
type Shards[M Machine[O], O Output] struct {
	o       Options[M, O]
	ctx     context.Context // of loads and releases
	cancel  context.CancelFunc
	running sync.WaitGroup
	loaders chan struct{}
	coders  compress.Pool
	jobs    sync.Pool // of events that a caller waits for
	count   counters

	mu     sync.Mutex // guards what follows
	shards map[kafka.PartitionID]*shard[M, O]
	closed bool
}

// New starts nothing: a shard begins with Elect.
func New[M Machine[O], O Output](o Options[M, O]) *Shards[M, O] {
	setDefault(&o.LoadBufferBytes, 5<<20)
	setDefault(&o.DecompressedMax, 1<<30)
	setDefault(&o.LoadersMax, runtime.GOMAXPROCS(0))
	setDefault(&o.CommitTimeout, 5*time.Second)
	setDefault(&o.PendingMax, 100_000)
	s := &Shards[M, O]{o: o, loaders: make(chan struct{}, o.LoadersMax), shards: make(map[kafka.PartitionID]*shard[M, O])}
	s.jobs.New = func() any { return new(lane.Job[task[M, O]]) }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func setDefault[T int | time.Duration](p *T, value T) {
	if *p == 0 {
		*p = value
	}
}

// Elect says that this broker leads a partition in epoch. It returns at once;
// the shard loads in the background.
func (s *Shards[M, O]) Elect(p kafka.PartitionID, epoch kafka.LeaderEpoch) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	sh := s.shards[p]
	if sh == nil {
		sh = newShard(s, p)
		s.shards[p] = sh
	}
	s.mu.Unlock()
	sh.post(func() { sh.elect(epoch) })
}

// Resign says that this broker does not lead a partition any more. It returns at
// once.
func (s *Shards[M, O]) Resign(p kafka.PartitionID) {
	if sh := s.shard(p); sh != nil {
		sh.post(sh.resign)
	}
}

// Do gives a partition an event, on the goroutine of the caller or of another
// one. The answer is in t, perhaps already when Do returns. An error says that
// the event was not given: NOT_COORDINATOR or COORDINATOR_LOAD_IN_PROGRESS.
func (s *Shards[M, O]) Do(p kafka.PartitionID, t *Ticket, event func(m M, nowMs int64, to Token, out O)) error {
	sh := s.shard(p)
	if sh == nil {
		return kafka.NotCoordinator
	}
	if err := sh.admits(); err != nil {
		return err
	}
	sh.do(t, event)
	return nil
}

// EndTransaction writes a marker into a partition and has its machine apply it.
// t gets a nil response when the marker is committed. An error says that nothing
// was begun, as of Do.
func (s *Shards[M, O]) EndTransaction(p kafka.PartitionID, t *Ticket, m Marker) error {
	sh := s.shard(p)
	if sh == nil {
		return kafka.NotCoordinator
	}
	if err := sh.admits(); err != nil {
		return err
	}
	sh.lane.Do(&lane.Job[task[M, O]]{V: task[M, O]{ticket: t, marker: &m}})
	return nil
}

// PostAll gives every loaded partition an event that nobody waits for, and
// returns at once. Those that load learn the same from Options.Refresh.
func (s *Shards[M, O]) PostAll(event func(m M, nowMs int64, out O)) {
	s.mu.Lock()
	all := make([]*shard[M, O], 0, len(s.shards))
	for _, sh := range s.shards {
		all = append(all, sh)
	}
	s.mu.Unlock()
	for _, sh := range all {
		if sh.admits() == nil {
			sh.postEvent(event)
		}
	}
}

// Active lists the partitions that are loaded, in no order; loading tells
// whether there are some that are not yet.
func (s *Shards[M, O]) Active() (active []kafka.PartitionID, loading bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, sh := range s.shards {
		switch State(sh.published.Load()) {
		case Active:
			active = append(active, p)
		case Loading:
			loading = true
		}
	}
	return active, loading
}

// State is that of one partition.
func (s *Shards[M, O]) State(p kafka.PartitionID) State {
	if sh := s.shard(p); sh != nil {
		return State(sh.published.Load())
	}
	return Resigned
}

func (s *Shards[M, O]) shard(p kafka.PartitionID) *shard[M, O] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shards[p]
}

// Close resigns everywhere and returns when nothing runs any more.
func (s *Shards[M, O]) Close() {
	s.mu.Lock()
	s.closed = true
	all := make([]*shard[M, O], 0, len(s.shards))
	for _, sh := range s.shards {
		all = append(all, sh)
	}
	s.mu.Unlock()
	s.cancel()
	for _, sh := range all {
		sh.onLane(sh.resign)
	}
	s.running.Wait()
}
