// SPDX-License-Identifier: Apache-2.0

// Package active is the controller's loop. On every controller it follows the
// committed metadata; on the one that leads the quorum it judges requests.
package active

import (
	"context"
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
	"gregor/wire/batch"
)

// Quorum is the replicated log as its leader sees it: a *raftnode.Node.
type Quorum interface {
	// Propose queues a batch for the log. There is no answer: if this node leads
	// in the proposal's epoch and the batch gets its base offset, it will be
	// committed in order; otherwise the leadership of that epoch is over and
	// Leader says so.
	Propose(p metalog.Proposal)
	// Abdicate gives up the leadership of epoch, if this node has it.
	Abdicate(epoch kafka.LeaderEpoch)
	// Leader tells who leads.
	Leader() metalog.Leadership
	// Watch sends on c, which has room for one, when Leader has changed or the
	// committed end of the log has moved.
	Watch(c chan<- struct{}) (stop func())
}

// Log is the committed metadata: a *metalog.Log.
type Log interface {
	loader.Log
	Committed() metalog.Committed
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
// because a broker's epoch is one; so a proposal that is dropped or whose place
// is taken makes everything judged after it void, and ends the leadership.
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
		stopped    bool
	}

	// Of Run alone.
	term     *term             // nil while not active
	givenUp  kafka.LeaderEpoch // the last epoch that was abdicated
	inFlight []proposal
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
	return &Controller{o: o, loader: loader.New(o.Log), wake: make(chan struct{}, 1), givenUp: kafka.NoLeaderEpoch}
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
	stop := c.o.Quorum.Watch(c.wake)
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

// step does all there is to do: commits, changes of leadership, sessions,
// requests.
func (c *Controller) step() error {
	if err := c.follow(); err != nil {
		return err
	}
	if err := c.takeLeadership(c.o.Quorum.Leader()); err != nil {
		return err
	}
	c.sweep()
	c.box.Lock()
	requests := c.box.requests
	c.box.requests = nil
	c.box.Unlock()
	for _, r := range requests {
		c.judge(r)
	}
	return nil
}

func (c *Controller) takeLeadership(l metalog.Leadership) error {
	if c.term != nil && (!l.Leading || l.Epoch != c.term.epoch) {
		c.o.Logger.Info("no longer active controller", "epoch", c.term.epoch)
		c.retire(kafka.NotController)
	}
	if c.term != nil || !l.Leading || l.Epoch == c.givenUp {
		return nil
	}
	// What the leader's own first entry commits may have come after follow.
	if err := c.follow(); err != nil {
		return err
	}
	c.activate(l)
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

func (c *Controller) activate(l metalog.Leadership) {
	if c.loader.Next() != l.ServeFrom {
		c.o.Logger.Warn("the metadata log is not where leadership began", "epoch", l.Epoch, "began_at", l.ServeFrom, "read_to", c.loader.Next())
		c.givenUp = l.Epoch
		c.o.Quorum.Abdicate(l.Epoch)
		return
	}
	img := c.loader.Image()
	c.term = &term{
		epoch: l.Epoch, proposed: img, next: l.ServeFrom,
		sessions: controller.NewSessions(c.o.SessionTimeout, img, c.o.Now()),
	}
	c.o.Logger.Info("active controller", "epoch", l.Epoch, "offset", l.ServeFrom-1)
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
	c.givenUp = epoch
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
	flush := func() {
		b := metalog.DataBatch(nowMs, values)
		batch.SetBaseOffset(b, t.next)
		batch.SetLeaderEpoch(b, t.epoch)
		c.o.Quorum.Propose(metalog.Proposal{Epoch: t.epoch, Base: t.next, Batch: b})
		t.next += kafka.Offset(len(values))
		values, size = nil, 0
	}
	for _, rec := range out.Records {
		v := metarec.Marshal(nil, rec, version)
		if size+len(v) > batchBytesMax && len(values) > 0 && !out.Atomic {
			flush()
		}
		values, size = append(values, v), size+len(v)
	}
	flush()
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
