// SPDX-License-Identifier: Apache-2.0

// Package active runs the controller: it judges requests while this node leads
// the metadata quorum, and follows the log while another one does.
//
//	Do ─► mailbox ─► loop: controller.Handle(proposed image) ─► one batch ─► Quorum
//	 ▲                 │                                                     │
//	 └── reply ◄───── commit ◄───────────────────────────────────────────────┘
//
// There are two images. Committed is what the quorum keeps; proposed is that and
// all that is in flight. Every request is judged against proposed, by the one
// goroutine of Run, in order, so that of two requests for one name the second
// sees the first. A reply leaves when what it rests on is committed: its own
// records, or, if it has none, all that was in flight before it.
//
// A proposal names the offset that it must get, since records may name their
// own offsets. Should it be dropped or get another place, the quorum ends the
// leadership, and the loop starts again from the committed image.
//
// Concurrency: Do and Active may be called from anywhere. The loop waits for
// nothing but its mailbox, the quorum's signal and its timer.
package active

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/link"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
	"gregor/cluster/metarec"
)

// Quorum is what the controller needs of raft.
type Quorum interface {
	// Leader tells who leads.
	Leader() metalog.Leadership
	// Propose queues a batch and returns. It commits, or the leadership ends.
	Propose(metalog.Proposal)
	// Abdicate ends the leadership of an epoch.
	Abdicate(kafka.LeaderEpoch)
	// Watch has c, which has room for one, receive when Leader has changed or
	// the log is committed further.
	Watch(c chan<- struct{}) (stop func())
}

// Log is what the controller needs of the metadata log.
type Log interface {
	loader.Log
	Committed() metalog.Committed
	// Bootstrap gives the records that a new cluster was formed with.
	Bootstrap() ([]metarec.Record, error)
}

// Options of a Controller.
type Options struct {
	Quorum Quorum
	Log    Log
	// Env has Config and the hooks; the loop sets the rest for each request.
	Env controller.Env
	// Prepare completes the Env of one request by who asks. It may be nil.
	Prepare func(who link.Requester, env *controller.Env)
	// SessionTimeout is broker.session.timeout.ms. Default 9 s.
	SessionTimeout time.Duration
	Now            func() time.Time
	Random         io.Reader
	Logger         *slog.Logger
	// Failed is called when the metadata cannot be replayed: the node must not
	// go on with metadata that is not the cluster's.
	Failed func(op string, err error)

	// QueueMax bounds requests that wait to be judged. Default 10,000.
	QueueMax int
	// InflightMax bounds the batches that wait to be committed. Default 1,000.
	InflightMax int
	// RecordsMax bounds the records of one batch. Default 10,000, as in Kafka.
	RecordsMax int
	// BatchBytesMax bounds one batch. Default 8 MiB, as in Kafka.
	BatchBytesMax int
}

func (o *Options) ensureDefaults() {
	if o.SessionTimeout == 0 {
		o.SessionTimeout = 9 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.QueueMax == 0 {
		o.QueueMax = 10_000
	}
	if o.InflightMax == 0 {
		o.InflightMax = 1_000
	}
	if o.RecordsMax == 0 {
		o.RecordsMax = 10_000
	}
	if o.BatchBytesMax == 0 {
		o.BatchBytesMax = 8 << 20
	}
}

// Controller is the controller of one node; at most one in the cluster is active.
type Controller struct {
	o    Options
	wake chan struct{}
	done chan struct{} // closed when Run has ended

	mu struct { // for nanoseconds
		sync.Mutex
		queue  []*task
		active bool
	}

	// Of the loop.
	loader   *loader.Loader // what is committed
	serving  bool
	epoch    kafka.LeaderEpoch
	proposed *image.Image
	end      kafka.Offset // behind proposed
	inflight []flight
	sessions *controller.Sessions
	failed   error
}

var _ link.Controller = (*Controller)(nil)

// task is one request on its way.
type task struct {
	ctx  context.Context
	who  link.Requester
	req  kmsg.Request
	resp kmsg.Response
	err  error
	done chan struct{} // has room for one
}

func (t *task) answer(resp kmsg.Response, err error) {
	t.resp, t.err = resp, err
	t.done <- struct{}{}
}

// flight is one batch that is proposed, and who waits for it.
type flight struct {
	end   kafka.Offset
	img   *image.Image
	tasks []*task
}

// ErrStopped is the error of requests to a controller that does not run. It
// carries NOT_CONTROLLER.
var ErrStopped = fmt.Errorf("the controller has stopped: %w", kafka.NotController)

// ErrNotActive refuses a request that was not looked at, since another
// controller is the active one: it may be sent again. It carries
// NOT_CONTROLLER.
var ErrNotActive = fmt.Errorf("this controller is not the active one: %w", kafka.NotController)

// New returns a controller that Run brings to life.
func New(o Options) *Controller {
	o.ensureDefaults()
	return &Controller{o: o, wake: make(chan struct{}, 1), done: make(chan struct{}), loader: loader.New(o.Log)}
}

// Do has a request judged, and returns when the outcome is committed. The error
// is ErrNotActive if this node's controller is not the active one, and
// kafka.NotController itself if it was until after the request was judged: then
// nobody knows whether it is carried out.
func (c *Controller) Do(ctx context.Context, who link.Requester, req kmsg.Request) (kmsg.Response, error) {
	t := &task{ctx: ctx, who: who, req: req, done: make(chan struct{}, 1)}
	c.mu.Lock()
	full := len(c.mu.queue) >= c.o.QueueMax
	if !full {
		c.mu.queue = append(c.mu.queue, t)
	}
	c.mu.Unlock()
	if full {
		return nil, kafka.RequestTimedOut
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
	select {
	case <-t.done:
		return t.resp, t.err
	case <-ctx.Done():
		return nil, errors.Join(kafka.RequestTimedOut, ctx.Err())
	case <-c.done:
	}
	select { // the loop may have answered before it ended
	case <-t.done:
		return t.resp, t.err
	default:
		return nil, ErrStopped
	}
}

// Active reports whether this controller is the active one.
func (c *Controller) Active() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.active
}
