// SPDX-License-Identifier: Apache-2.0

// Package node builds one gregor node out of its parts and takes it apart
// again. It holds no logic of its own: wire.go puts the parts together,
// publish.go says who hears of a metadata change and in which order.
//
// Two nodes in one process share no state. New, Start, Close and Kill are
// called by one goroutine; everything else may be called from anywhere.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"gregor/base/kafka"
	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/broker/api"
	"gregor/broker/conn"
	"gregor/broker/fetchsession"
	"gregor/broker/telemetry"
	"gregor/cluster/active"
	"gregor/cluster/link"
	"gregor/cluster/raftnode"
	"gregor/config"
	"gregor/ops"
	"gregor/quota"
	"gregor/replica"
	"gregor/replica/assign"
	"gregor/storage/logdir"
	"gregor/storage/segment"
)

// Options are what a node needs from outside.
type Options struct {
	Config *config.Node
	FS     vfs.FS
	Net    netx.Net
	Now    func() time.Time
	Random io.Reader // ids of the node, its cluster and its topics
	Logger *slog.Logger
	// LogLevel is the level of Logger, for those who may change it; nil where it
	// is fixed.
	LogLevel *slog.LevelVar
	Build    ops.Build
	// OpenFilesMax bounds the segment and index files that are open at once,
	// where gregor.open.files.max does not. Default 1,000.
	OpenFilesMax int
	// Hostname stands in for the host of an advertised listener that has none.
	Hostname string
}

// Address is an open port.
type Address struct {
	Name string // of the listener; "admin" is the one for operators
	Addr string // host:port
}

// Node is one broker and controller.
//
// Its life: Start opens the log directory and the metadata log, binds every
// socket, starts the quorum, the controller and the broker's line to it, opens
// what the metadata places here, and lets clients in last. Close goes the way
// back and leaves a directory behind that needs no recovery; Kill leaves what
// the death of the process would leave.
type Node struct {
	o     Options
	ident identity

	files    *segment.Files
	dirs     []*logdir.Dir // in the order of log.dirs
	held     *logdir.Held  // that of the metadata log, if it is none of dirs
	sockets  []socket
	admin    net.Listener
	raft     *raftnode.Node
	control  *active.Controller
	line     *link.Link
	table    *replica.Table
	executor *assign.Executor
	images   *api.Images
	groups   *groups
	sessions *fetchsession.Cache
	api      *api.API
	server   *conn.Server
	ops      *ops.Server

	metadataID kafka.DirectoryID // of the metadata log's directory; it votes under it

	publisher publisher
	dynamic   dynamic
	quotas    *quota.Manager
	telemetry *telemetry.Manager
	loops     loops // link, controller, publisher and what watches them
	serving   sync.WaitGroup

	giveUp context.CancelCauseFunc // ends a start that has failed elsewhere
	failed chan error              // capacity 1: why the node cannot go on
	mu     sync.Mutex              // guards what follows
	ready  bool
	err    error
}

// New checks nothing and starts nothing.
func New(o Options) *Node {
	n := &Node{o: o, failed: make(chan error, 1), images: api.NewImages()}
	n.quotas = newQuotas(o)
	n.loops.init()
	return n
}

// Start starts the node and returns when clients are served. After an error
// nothing is left running.
func (n *Node) Start(ctx context.Context) (err error) {
	ctx, n.giveUp = context.WithCancelCause(ctx)
	defer n.giveUp(nil)
	defer func() {
		if err != nil {
			n.Kill()
		}
	}()
	steps := []struct {
		doing string
		do    func(context.Context) error
	}{
		{"learn who this node is", n.identify},
		{"bind the listeners", n.bind}, // a taken port leaves the directories as they are
		{"open the log directories", n.openDirs},
		{"open the metadata log", n.openQuorum},
		{"register with the controller", n.register},
		{"open the partitions", n.settle},
		{"let clients in", n.serve},
	}
	for _, s := range steps {
		err := context.Cause(ctx)
		if err == nil {
			err = s.do(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.doing, err)
		}
	}
	n.mu.Lock()
	n.ready = true
	n.mu.Unlock()
	return nil
}

// Addresses lists the open ports: the broker's in the order of the
// configuration, then the controller's, then admin.
func (n *Node) Addresses() (kafka []Address, others []Address) {
	for _, s := range n.sockets {
		a := Address{s.at.Name, s.listener.Addr().String()}
		if s.controller {
			others = append(others, a)
		} else {
			kafka = append(kafka, a)
		}
	}
	if n.admin != nil {
		others = append(others, Address{"admin", n.admin.Addr().String()})
	}
	return kafka, others
}

// NodeID is the id that the node has taken.
func (n *Node) NodeID() kafka.NodeID { return n.ident.node }

// Failed receives why the node cannot go on; it must be killed then.
func (n *Node) Failed() <-chan error { return n.failed }

// fail notes the first reason why the node cannot go on.
func (n *Node) fail(err error) {
	n.mu.Lock()
	first := n.err == nil
	if first {
		n.err = err
	}
	n.mu.Unlock()
	if first {
		n.o.Logger.Error("the node cannot go on", "err", err)
		n.failed <- err
		n.giveUp(err)
	}
}

// live is nil while the node does its work.
func (n *Node) live() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

var errNotReady = errors.New("starting or stopping")

// readiness is nil while clients are served.
func (n *Node) readiness() error {
	n.mu.Lock()
	ready, err := n.ready, n.err
	n.mu.Unlock()
	switch {
	case err != nil:
		return err
	case !ready:
		return errNotReady
	case !n.line.Unfenced():
		return errors.New("the controller has fenced this broker")
	}
	return nil
}

// Close stops the node cleanly. ctx bounds the requests under way and the
// handing over of leadership; what must reach the disk does so in any case.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	n.ready = false
	failed := n.err
	n.mu.Unlock()
	if failed != nil {
		n.Kill()
		return fmt.Errorf("the node had failed: %w", failed)
	}
	var errs []error
	n.closeSockets()
	if n.groups != nil {
		n.groups.Close() // who waits in a group is to ask the next coordinator
	}
	if n.server != nil {
		if err := n.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off: %w", err))
		}
	}
	if n.ops != nil {
		errs = append(errs, n.ops.Close(ctx))
	}
	n.serving.Wait()
	if n.line != nil && n.mayHandOver() {
		errs = append(errs, n.line.Leave(ctx))
	}
	n.loops.stop()
	n.closePartitions()
	if n.raft != nil {
		errs = append(errs, n.raft.Stop(ctx))
	}
	errs = append(errs, n.closeDirs())
	return errors.Join(errs...)
}

// Kill ends the node as a crash would: nothing is written any more.
func (n *Node) Kill() {
	n.mu.Lock()
	n.ready = false
	n.mu.Unlock()
	n.closeSockets()
	if n.server != nil {
		n.server.Kill()
	}
	if n.ops != nil {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.ops.Close(cut) // nobody waits for the rest of an answer
	}
	n.serving.Wait()
	n.loops.stop()
	if n.groups != nil {
		n.groups.Close()
	}
	if n.executor != nil {
		n.executor.Halt()
	}
	if n.raft != nil {
		n.raft.Kill()
	}
	for _, d := range n.dirs {
		if d != nil {
			d.Kill()
		}
	}
	if n.held != nil {
		_ = n.held.Close()
	}
}

func (n *Node) closeSockets() {
	for _, s := range n.sockets {
		_ = s.listener.Close() // the server closes it too
	}
	if n.admin != nil {
		_ = n.admin.Close()
	}
}

func (n *Node) brokerEpoch() kafka.BrokerEpoch {
	if n.line == nil {
		return -1
	}
	return n.line.Epoch()
}

// mayHandOver reports whether another broker could take leaderships over. One
// that is alone keeps them: they are its again when it comes back.
func (n *Node) mayHandOver() bool {
	for b := range n.images.Load().Brokers() {
		if b.BrokerID != n.ident.node && b.Active() {
			return true
		}
	}
	return false
}

// loops are the goroutines that run until the node ends.
type loops struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (l *loops) init() { l.ctx, l.cancel = context.WithCancel(context.Background()) }

func (l *loops) run(f func(context.Context)) { l.wg.Go(func() { f(l.ctx) }) }

func (l *loops) stop() {
	l.cancel()
	l.wg.Wait()
}
