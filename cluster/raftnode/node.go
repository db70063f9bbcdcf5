// SPDX-License-Identifier: Apache-2.0

// Package raftnode runs raft over the metadata log. It is the only importer of
// go.etcd.io/raft.
//
// A Node is a shell with one goroutine around a core that knows no clock and no
// channel: proposals, messages and ticks go in, the metadata log moves, and
// others learn by a signal that Leader or the log's Committed has changed. The
// goroutine may wait for the metadata log's fdatasync, never for a socket, the
// controller or a reader.
//
// Failure: a failed fsync, EIO, or a log that contradicts itself is final; the
// node calls Failed and does nothing any more. A full disk is not: nothing
// leaves this node while it lasts, it counts as not leading, and when there is
// room again it goes on.
//
// R1 to R13, which comments and tests name, are the rules in
// docs/format/metadata-log.md.
package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// Options of a Node.
type Options struct {
	FS          vfs.FS
	Dir         string // metadata.log.dir
	NodeID      kafka.NodeID
	DirectoryID kafka.DirectoryID
	// Form is how an empty directory becomes a new cluster; nil where this node
	// joins one. It is ignored if the directory is not empty.
	Form *Formation
	// Endpoints are this node's controller listeners, for the voters record.
	Endpoints []metarec.VoterEndpoint
	// Transport reaches the other voters; nil for a voter that is alone.
	Transport Transport
	// Image gives the applied metadata, for checkpoints; it is called from a
	// goroutine of its own. nil: no checkpoints are written.
	Image func() Applied
	// Failed is called once, on a goroutine of its own, after a failure that
	// is final.
	Failed func(op string, err error)
	Logger *slog.Logger
	Now    func() time.Time

	// Log is how much of the metadata log is kept; FS, Dir and Logger in it are
	// set by Open.
	Log metalog.Options
	// TickEvery is raft's clock: an election takes 10 to 19 ticks. Default 100 ms.
	TickEvery time.Duration
	// RetryEvery is how often a full disk is tried again, and a checkpoint that
	// waits for the image. Default 100 ms.
	RetryEvery time.Duration
	// CheckpointEvery is how many batches may lie behind the newest checkpoint.
	// Default 20,000: reading more would make a start slow.
	CheckpointEvery uint64
	// CheckpointBytesEvery is how many bytes may lie there. Default 20 MiB, as
	// Kafka's; while a checkpoint is small, fewer: twice its size, or 1 MiB.
	CheckpointBytesEvery int64
	// UncommittedBytesMax bounds what a leader has in flight. Default 64 MiB.
	UncommittedBytesMax uint64
	// BatchBytesMax bounds one proposal. Default 8 MiB, as Kafka's.
	BatchBytesMax int
	// CheckpointBytesMax bounds a checkpoint that another node sends. Default 4 GiB.
	CheckpointBytesMax int64
	// QueueMax bounds messages from others that wait for the loop; more are
	// dropped, and raft repeats them. Default 4,096.
	QueueMax int
}

// Formation is a new cluster: who votes, and what the first leader proposes.
type Formation struct {
	Voters          []metarec.Voter
	Bootstrap       []metarec.Record
	MetadataVersion int16 // decides the versions of the records
}

// Applied is the metadata as the batch before offset End left it.
type Applied struct {
	End             kafka.Offset
	MetadataVersion int16
	Records         iter.Seq[metarec.Record]
}

func (o *Options) ensureDefaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.TickEvery, 100*time.Millisecond)
	set(&o.RetryEvery, 100*time.Millisecond)
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = 20_000
	}
	if o.CheckpointBytesEvery == 0 {
		o.CheckpointBytesEvery = 20 << 20
	}
	if o.UncommittedBytesMax == 0 {
		o.UncommittedBytesMax = 64 << 20
	}
	if o.BatchBytesMax == 0 {
		o.BatchBytesMax = 8 << 20
	}
	if o.CheckpointBytesMax == 0 {
		o.CheckpointBytesMax = 4 << 30
	}
	if o.QueueMax == 0 {
		o.QueueMax = 4096
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Log.FS, o.Log.Dir, o.Log.Logger = o.FS, o.Dir, o.Logger
}

// Node takes part in the metadata quorum.
type Node struct {
	o    Options
	log  *metalog.Log
	core *core // of the loop, once it runs

	wake    chan struct{} // the inbox has something
	stopped chan struct{} // the loop has ended
	started bool
	cancel  context.CancelFunc

	background sync.WaitGroup // a checkpoint that is written or fetched

	mu struct { // for nanoseconds
		sync.Mutex
		proposals []metalog.Proposal
		messages  []received
		calls     []func()
		lead      metalog.Leadership
		failed    error
		watchers  []chan<- struct{} // replaced, never changed
	}
	killed  bool // set by a call on the loop
	closing *closing

	// Of the loop.
	writing    bool // a checkpoint is being written
	fetching   bool // one is being received
	changes    []pendingChange
	lastFailed string
	heard      map[uint64]heard // of members, while this node leads
}

type received struct {
	from Identity
	m    *pb.Message
}

// Open opens the metadata log of a directory, or forms a new cluster in an empty
// one. Nothing is proposed or voted before Start.
func Open(o Options) (*Node, error) {
	o.ensureDefaults()
	log, err := metalog.Open(o.Log)
	if err != nil {
		return nil, err
	}
	if o.Form != nil && log.Empty() {
		conf := marshalConf(confOfVoters(o.Form.Voters))
		err = log.Form(o.Form.Voters, conf, o.Form.Bootstrap, o.Form.MetadataVersion, o.Now().UnixMilli())
	}
	n := &Node{o: o, log: log, wake: make(chan struct{}, 1), stopped: make(chan struct{}), heard: map[uint64]heard{}}
	n.mu.lead = metalog.Leadership{Leader: kafka.NoNode}
	if err == nil {
		n.core, err = newCore(o, log)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the metadata quorum: %w", err), log.Close())
	}
	return n, nil
}

// Log is the metadata log, for readers.
func (n *Node) Log() *metalog.Log { return n.log }

// Start runs the node. A voter that is alone leads when Start returns.
func (n *Node) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.started = cancel, true
	ready := make(chan struct{})
	go n.run(ctx, ready)
	<-ready
	return n.Err()
}

// Err is the failure that has ended the node; nil while there is none.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.failed
}

// Leader tells who leads as far as this node knows.
func (n *Node) Leader() metalog.Leadership {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.lead
}

// Watch has c, which must have room for one, receive when Leader has changed or
// the metadata log has moved.
func (n *Node) Watch(c chan<- struct{}) (stop func()) {
	n.mu.Lock()
	n.mu.watchers = append(slices.Clone(n.mu.watchers), c)
	n.mu.Unlock()
	stopLog := n.log.Watch(c)
	return func() {
		stopLog()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.mu.watchers = slices.DeleteFunc(slices.Clone(n.mu.watchers), func(w chan<- struct{}) bool { return w == c })
	}
}

// Propose queues a batch of the active controller. There is no answer: it
// commits, or the leadership ends.
func (n *Node) Propose(p metalog.Proposal) {
	n.mu.Lock()
	n.mu.proposals = append(n.mu.proposals, p)
	n.mu.Unlock()
	n.signal()
}

// Abdicate ends this node's leadership, if it leads in that epoch.
func (n *Node) Abdicate(epoch kafka.LeaderEpoch) {
	n.post(func() {
		if n.core.leadership().Epoch == epoch {
			n.core.abdicate()
		}
	})
}

// Step takes in a message of another member, which the transport has made sure
// is who it says.
func (n *Node) Step(from Identity, m *pb.Message) {
	n.mu.Lock()
	if len(n.mu.messages) < n.o.QueueMax {
		n.mu.messages = append(n.mu.messages, received{from, m})
	}
	n.mu.Unlock()
	n.signal()
}

func (n *Node) post(f func()) {
	n.mu.Lock()
	n.mu.calls = append(n.mu.calls, f)
	n.mu.Unlock()
	n.signal()
}

func (n *Node) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Stop hands the leadership to another voter if there is one, writes a
// checkpoint and quorum-state, and closes the log. ctx bounds the handing over.
func (n *Node) Stop(ctx context.Context) error {
	if !n.started {
		return n.log.Close()
	}
	c := &closing{ctx: ctx}
	n.post(func() { n.closing = c })
	<-n.stopped
	n.background.Wait()
	return errors.Join(c.err, n.log.Close())
}

// Kill ends the node as a crash would, but for the file descriptors.
func (n *Node) Kill() {
	if n.started {
		n.post(func() { n.killed = true })
		<-n.stopped
		n.background.Wait()
	}
	_ = n.log.Close()
}

// closing is a Stop under way.
type closing struct {
	ctx   context.Context
	asked bool // the handing over
	err   error
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

var _ io.Closer = (*metalog.Log)(nil)
