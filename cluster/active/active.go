// SPDX-License-Identifier: Apache-2.0

// Package active is the controller's loop. On every controller it follows the
// committed metadata; on the one that leads the quorum it judges requests.
package active

import (
	"context"
	"errors"
	"fmt"
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

// Quorum is the replicated log as its leader sees it.
type Quorum interface {
	// Propose hands one batch to the log, if this node leads in epoch and the
	// batch's first record will get offset at; otherwise it gives an error and
	// the batch will never be in the log. It does not wait for anything.
	// Batches that were taken are committed in order, or the node has lost the
	// leadership of epoch and Resign is called.
	Propose(epoch kafka.LeaderEpoch, at kafka.Offset, batch []byte) error
	// Abdicate gives up the leadership of epoch, if this node has it.
	Abdicate(epoch kafka.LeaderEpoch)
}

// Log is the committed metadata: a *metalog.Log.
type Log interface {
	loader.Log
	Committed() metalog.Committed
	// Watch sends on c, which has room for one, when the committed end moves.
	Watch(c chan<- struct{}) (stop func())
}

// Options make a Controller.
type Options struct {
	// Env is what decisions depend on; Now, NextOffset and Sessions are filled
	// in by the loop.
	Env    controller.Env
	Quorum Quorum
	Log    Log
	// SessionTimeout is broker.session.timeout.ms.
	SessionTimeout time.Duration
	// RequestsMax bounds the requests that wait to be judged; more are
	// answered REQUEST_TIMED_OUT, which clients retry. Default 10,000.
	RequestsMax int
	Now         func() time.Time
	Logger      *slog.Logger
	// Failed is called when the metadata cannot be followed: the node must end.
	Failed func(error)
}

// batchBytesMax bounds a batch of an outcome that may be split.
const batchBytesMax = 4 << 20

// Controller is the loop. It keeps two images: the committed one, and, while it
// is active, the proposed one, which has what is in flight on top.
//
//	Do ─► mailbox ─► Handle(proposed, request) ─► records ─► Propose ─► in flight
//	                      └─ proposed := proposed + records               │
//	reply ◄─ committed := what was proposed ◄─ committed end passes it ◄──┘
//
// Requests are judged one by one, in order, against the proposed image, so two
// that contradict each other cannot both pass though neither waits for the
// other's commit. Since an answer may rest on what is in flight (a topic that
// "exists already"), every answer leaves when all that was proposed before it is
// committed, also an answer that changes nothing.
//
// Invariants: the offset that a batch gets is decided before it is proposed,
// because a broker's epoch is one; so a proposal that is refused or whose place
// is taken makes everything judged after it void, and the controller abdicates.
// It becomes active only when the first entry of its own epoch is committed:
// until then it does not know what its predecessors committed. Run's goroutine
// owns everything but the mailbox.
type Controller struct {
	o      Options
	loader *loader.Loader
	wake   chan struct{} // capacity 1

	box struct {
		sync.Mutex // guards the mailbox
		requests   []*request
		role       *role // the newest change that Run has not seen
		stopped    bool
	}

	// Of Run alone.
	term     *term // nil while not active
	inFlight []proposal
}

// role is a change of leadership.
type role struct {
	leads bool
	epoch kafka.LeaderEpoch
	end   kafka.Offset
}

// term is one time of being active.
type term struct {
	epoch    kafka.LeaderEpoch
	proposed *image.Image
	next     kafka.Offset // of the first record not proposed yet
	sessions *controller.Sessions
}

// proposal is one outcome that is not committed yet.
type proposal struct {
	end     kafka.Offset // committed when the committed end reaches it
	after   *image.Image
	answers []answer
}

type answer struct {
	to   *request
	resp kmsg.Response
}

type request struct {
	ctx   context.Context
	who   link.Requester
	req   kmsg.Request
	reply chan result // capacity 1
}

type result struct {
	resp kmsg.Response
	err  error
}

var _ link.Controller = (*Controller)(nil)

// New makes a Controller; Run drives it.
func New(o Options) *Controller {
	if o.RequestsMax == 0 {
		o.RequestsMax = 10_000
	}
	return &Controller{o: o, loader: loader.New(o.Log), wake: make(chan struct{}, 1)}
}

// Lead tells that this node leads in epoch and that everything below end, the
// end of the log, is committed, the first entry of epoch included.
func (c *Controller) Lead(epoch kafka.LeaderEpoch, end kafka.Offset) {
	c.changeRole(&role{leads: true, epoch: epoch, end: end})
}

// Resign tells that this node does not lead any more.
func (c *Controller) Resign() { c.changeRole(&role{}) }

func (c *Controller) changeRole(r *role) {
	c.box.Lock()
	c.box.role = r
	c.box.Unlock()
	c.signal()
}

func (c *Controller) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Do judges a request and waits until what it changes is committed. It gives
// kafka.NotController while this controller is not active, and
// kafka.RequestTimedOut when ctx ends first; the change may still happen then.
func (c *Controller) Do(ctx context.Context, who link.Requester, req kmsg.Request) (kmsg.Response, error) {
	r := &request{ctx: ctx, who: who, req: req, reply: make(chan result, 1)}
	c.box.Lock()
	switch {
	case c.box.stopped:
		c.box.Unlock()
		return nil, kafka.NotController
	case len(c.box.requests) >= c.o.RequestsMax:
		c.box.Unlock()
		return nil, fmt.Errorf("%d requests wait for the controller: %w", c.o.RequestsMax, kafka.RequestTimedOut)
	}
	c.box.requests = append(c.box.requests, r)
	c.box.Unlock()
	c.signal()
	select {
	case res := <-r.reply:
		return res.resp, res.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the controller: %w", kafka.RequestTimedOut)
	}
}

// Run is the loop. It returns when ctx ends or the metadata cannot be followed.
func (c *Controller) Run(ctx context.Context) {
	stop := c.o.Log.Watch(c.wake)
	defer stop()
	defer c.end()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if err := c.step(); err != nil {
			c.o.Failed(err)
			return
		}
		timer.Reset(c.sleep())
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// sleep is how long nothing is due.
func (c *Controller) sleep() time.Duration {
	if c.term != nil {
		if at, ok := c.term.sessions.Next(); ok {
			return max(at.Sub(c.o.Now()), 0)
		}
	}
	return time.Hour
}

// step does all there is to do: commits, changes of role, sessions, requests.
func (c *Controller) step() error {
	if err := c.follow(); err != nil {
		return err
	}
	c.box.Lock()
	change, requests := c.box.role, c.box.requests
	c.box.role, c.box.requests = nil, nil
	c.box.Unlock()
	if change != nil {
		c.retire(kafka.NotController)
		if change.leads {
			c.activate(change)
		}
	}
	c.sweep()
	for _, r := range requests {
		c.judge(r)
	}
	return nil
}

// follow takes notice of what was committed.
func (c *Controller) follow() error {
	end := c.o.Log.Committed().End
	for len(c.inFlight) > 0 && c.inFlight[0].end <= end {
		p := c.inFlight[0]
		c.inFlight[0] = proposal{}
		c.inFlight = c.inFlight[1:]
		c.loader.Adopt(p.after, p.end)
		for _, a := range p.answers {
			a.to.reply <- result{resp: a.resp}
		}
	}
	// In flight means that the committed end lies within a proposal of ours or
	// before it; nothing of others is there to be read.
	if len(c.inFlight) > 0 {
		return nil
	}
	c.inFlight = nil
	_, _, err := c.loader.Load()
	return err
}

func (c *Controller) activate(r *role) {
	if c.loader.Next() != r.end {
		c.o.Logger.Warn("the metadata log moved while leadership was taken", "epoch", r.epoch, "end", r.end, "read_to", c.loader.Next())
		c.o.Quorum.Abdicate(r.epoch)
		return
	}
	img := c.loader.Image()
	c.term = &term{
		epoch: r.epoch, proposed: img, next: r.end,
		sessions: controller.NewSessions(c.o.SessionTimeout, img, c.o.Now()),
	}
	c.o.Logger.Info("active controller", "epoch", r.epoch, "offset", r.end-1)
	env := c.env()
	c.propose(controller.Activate(img, &env))
}

// retire ends the term; what is in flight may or may not be committed, and who
// waits for it is told err.
func (c *Controller) retire(err error) {
	c.term = nil
	for _, p := range c.inFlight {
		for _, a := range p.answers {
			a.to.reply <- result{err: err}
		}
	}
	c.inFlight = nil
}

func (c *Controller) abdicate(why error) {
	epoch := c.term.epoch
	c.o.Logger.Warn("controller abdicates", "epoch", epoch, "err", why)
	c.retire(kafka.NotController)
	c.o.Quorum.Abdicate(epoch)
}

func (c *Controller) env() controller.Env {
	env := c.o.Env
	env.Now, env.NextOffset, env.Sessions = c.o.Now(), c.term.next, c.term.sessions
	return env
}

// sweep fences brokers that were not heard of for a session.
func (c *Controller) sweep() {
	for c.term != nil {
		env := c.env()
		out, more := controller.Sweep(c.term.proposed, &env)
		if !more {
			return
		}
		c.propose(out)
	}
}

func (c *Controller) judge(r *request) {
	switch {
	case r.ctx.Err() != nil:
		return // nobody waits for it, so it must not happen
	case c.term == nil:
		r.reply <- result{err: kafka.NotController}
		return
	}
	env := c.env()
	out, err := controller.Handle(c.term.proposed, &env, r.req)
	switch {
	case err != nil:
		r.reply <- result{err: err}
		return
	case !c.propose(out):
		r.reply <- result{err: kafka.NotController}
		return
	case len(c.inFlight) == 0:
		r.reply <- result{resp: out.Response}
		return
	}
	last := &c.inFlight[len(c.inFlight)-1]
	last.answers = append(last.answers, answer{r, out.Response})
}

// propose puts an outcome's records on their way. False means that this
// controller is not active any more.
func (c *Controller) propose(out controller.Outcome) bool {
	if len(out.Records) == 0 {
		return true
	}
	t := c.term
	delta := image.NewDelta(t.proposed)
	for _, rec := range out.Records {
		if err := delta.Replay(rec); err != nil {
			c.abdicate(fmt.Errorf("decision does not fit the image it was made on: %w", err))
			return false
		}
	}
	version := t.proposed.MetadataVersion()
	if version == 0 {
		version = controller.MetadataVersion44IV2 // the bootstrap decides it
	}
	nowMs := c.o.Now().UnixMilli()
	var values [][]byte
	size := 0
	flush := func() error {
		if len(values) == 0 {
			return nil
		}
		if err := c.o.Quorum.Propose(t.epoch, t.next, metalog.DataBatch(nowMs, values)); err != nil {
			return fmt.Errorf("propose metadata at offset %d: %w", t.next, err)
		}
		t.next += kafka.Offset(len(values))
		values, size = nil, 0
		return nil
	}
	for _, rec := range out.Records {
		v := metarec.Marshal(nil, rec, version)
		if size += len(v); !out.Atomic && size > batchBytesMax {
			if err := flush(); err != nil {
				c.abdicate(err)
				return false
			}
			size = len(v)
		}
		values = append(values, v)
	}
	if err := flush(); err != nil {
		c.abdicate(err)
		return false
	}
	t.proposed = delta.Apply(t.next-1, t.epoch)
	c.inFlight = append(c.inFlight, proposal{end: t.next, after: t.proposed})
	return true
}

// end answers everybody who still waits.
func (c *Controller) end() {
	c.box.Lock()
	requests := c.box.requests
	c.box.requests, c.box.stopped = nil, true
	c.box.Unlock()
	for _, r := range requests {
		r.reply <- result{err: kafka.NotController}
	}
	c.retire(kafka.NotController)
}

// ErrNotLeader is what a Quorum gives for a proposal it cannot take.
var ErrNotLeader = errors.New("this node does not lead the metadata quorum in that epoch")
