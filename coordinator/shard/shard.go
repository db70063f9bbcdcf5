// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/lane"
	"gregor/base/park"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// State is what a shard is at the moment.
type State int32

// The states.
const (
	// Resigned: another broker leads the partition.
	Resigned State = iota
	Loading
	Active
	// Failed: the log could not be read; it is tried again.
	Failed
)

// Pauses before a shard is loaded again.
const (
	reloadPauseMin = 100 * time.Millisecond
	reloadPauseMax = 30 * time.Second
	// calm is how long nothing must fail until the next pause is the first again.
	calm = time.Minute
)

// shard is one partition of a coordinator.
//
//	Resigned ─elect─► Loading ─adopt─► Active ─resign─► Resigned
//	                  ▲   │ error        │ append failed, panic
//	          pause ──┘   ▼              ▼
//	                  Failed          Loading
//
//	Do ─► lane: event(machine, now) ─► records ─► batch ─┐   for the whole chain
//	                                └► replies ─► pending │
//	     end of chain, or batch full ◄───────────────────┘
//	       ─► Log.Append ─► queue of {last offset, replies} ─► high watermark ─► tickets
//
// The lane alone touches machine, batch and queue. What queued on it together
// runs as one chain, and what the chain changes is one append, as far as the
// topic's batch limit allows: the records of one event are always in one batch.
// The shard waits for its partition's lane, never for the high watermark:
// replies queue in the order of their appends, and the releaser, a goroutine that
// lives while something waits, lets them go.
//
// Invariants: a reply leaves only when the high watermark has passed the last
// append of the shard as of the moment when the reply was made, so that nobody
// learns what a failing leader may lose; replies of one shard leave in the order
// in which they were made; every ticket is completed exactly once. An append
// that failed leaves the machine ahead of its log: the machine is thrown away,
// who waits is told to ask again, and the shard loads anew. So does a machine
// that panics, unlike all else that runs on a lane: its state is not trusted any
// more, but one request must not end the broker (docs/adr/0005).
//
// Rejected: snapshots of the machine that an append can be rolled back to, as
// Kafka keeps them. They pay in every event for what happens once in a year.
type shard[M Machine[O], O Output] struct {
	id        kafka.PartitionID
	of        *Shards[M, O]
	lane      lane.Lane[task[M, O]]
	published atomic.Int32 // state, for those who are not on the lane

	state   State
	epoch   kafka.LeaderEpoch
	loads   uint64 // counts loads; what comes of an older one is dropped
	machine M
	log     Log
	out     O
	tokens  map[Token]*Ticket // who waits in the machine
	token   Token             // the last one given
	clock   clock

	batch   batch.Builder
	bytes   int                             // of the records of batch
	batches []byte                          // finished, for the next append
	pending []delivery                      // replies since the last append
	take    func(Token, kmsg.Response) bool // what collect does with each reply
	last    kafka.Offset                    // of the last append, or before the log end at load

	queue      []group // appended, and not committed; ascending
	releasing  bool
	entry      park.Entry
	entryIn    Log // whose high watermark entry waits for, or nil
	waiting    int // requests that have no reply yet
	timer      *time.Timer
	armedForMs int64 // 0: timer does not run

	failedAt time.Time
	pause    time.Duration
	retry    *time.Timer
}

// task is a job of the lane: an event, the end of a transaction, or anything else.
type task[M Machine[O], O Output] struct {
	ticket *Ticket
	event  func(m M, nowMs int64, to Token, out O)
	marker *Marker
	do     func()
}

// delivery is a reply on its way.
type delivery struct {
	ticket *Ticket
	resp   kmsg.Response
}

func newShard[M Machine[O], O Output](of *Shards[M, O], id kafka.PartitionID) *shard[M, O] {
	s := &shard[M, O]{id: id, of: of, tokens: make(map[Token]*Ticket), out: of.o.NewOutput()}
	s.entry.Parker = park.NewParker()
	s.take = s.reply
	s.lane.Init(s.run)
	return s
}

// admits says why an event cannot be taken, if so.
func (s *shard[M, O]) admits() error {
	switch State(s.published.Load()) {
	case Active:
		return nil
	case Loading:
		return kafka.CoordinatorLoadInProgress
	}
	return kafka.NotCoordinator
}

func (s *shard[M, O]) do(t *Ticket, event func(m M, nowMs int64, to Token, out O)) {
	job := s.of.jobs.Get().(*lane.Job[task[M, O]])
	job.V = task[M, O]{ticket: t, event: event}
	s.lane.Do(job)
	job.V = task[M, O]{}
	s.of.jobs.Put(job)
}

func (s *shard[M, O]) postEvent(event func(m M, nowMs int64, out O)) {
	s.lane.Post(&lane.Job[task[M, O]]{V: task[M, O]{event: func(m M, nowMs int64, _ Token, out O) { event(m, nowMs, out) }}})
}

func (s *shard[M, O]) post(f func()) { s.lane.Post(&lane.Job[task[M, O]]{V: task[M, O]{do: f}}) }

func (s *shard[M, O]) onLane(f func()) { s.lane.Do(&lane.Job[task[M, O]]{V: task[M, O]{do: f}}) }

// run is the lane.
func (s *shard[M, O]) run(chain *lane.Job[task[M, O]]) {
	for j := chain; j != nil; j = j.Next() {
		switch {
		case j.V.do != nil:
			s.flush() // its order among the events counts
			j.V.do()
		case j.V.marker != nil:
			s.flush()
			s.end(j.V.ticket, j.V.marker)
		default:
			s.event(j.V.ticket, j.V.event)
		}
	}
	s.flush()
	s.arm()
}

// accepts says why what a ticket is for cannot be begun, if so.
func (s *shard[M, O]) accepts(t *Ticket) error {
	if err := s.admits(); err != nil {
		return err
	}
	if t != nil && s.waiting >= s.of.o.PendingMax {
		s.of.count.refused.Add(1)
		return fmt.Errorf("%d requests wait in partition %d: %w", s.of.o.PendingMax, s.id, kafka.CoordinatorNotAvailable)
	}
	return nil
}

// event runs one event.
func (s *shard[M, O]) event(t *Ticket, event func(m M, nowMs int64, to Token, out O)) {
	if err := s.accepts(t); err != nil {
		t.fail(err)
		return
	}
	to := Token(0)
	if t != nil {
		s.token++
		to = s.token
		s.tokens[to] = t
		s.wait(1)
	}
	s.of.count.events.Add(1)
	s.step(to, func(nowMs int64) { event(s.machine, nowMs, to, s.out) })
}

// step lets the machine work for to and takes what it gives.
func (s *shard[M, O]) step(to Token, work func(nowMs int64)) {
	nowMs := s.clock.nowMs(s.of.o.Now())
	s.out.Reset()
	if err := guarded(func() { work(nowMs) }); err != nil {
		s.panicked(to, err)
		return
	}
	if err := s.collect(nowMs); err != nil {
		s.fail(err)
	}
}

// panicked is what follows when the machine has failed at an event.
func (s *shard[M, O]) panicked(to Token, err error) {
	s.of.o.Logger.Error("a coordinator has failed at an event; its state is loaded again", "topic", s.of.o.Name, "partition", s.id, "err", err)
	if t := s.tokens[to]; t != nil { // not to be tried again, unlike the others
		delete(s.tokens, to)
		t.fail(kafka.UnknownServerError)
		s.wait(-1)
	}
	// What the events before it have given is whole, and their replies are due.
	if s.flush(); s.state == Active {
		s.fail(err)
	}
}

// errPanic is what clients are not told the details of.
var errPanic = errors.New("panic")

func guarded(work func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
		}
	}()
	work()
	return nil
}

// elect begins a term. A term that is running ends, even if it is this
// broker's own: another one may have written in between.
func (s *shard[M, O]) elect(epoch kafka.LeaderEpoch) {
	if s.state != Resigned && epoch <= s.epoch {
		return
	}
	s.drop(kafka.NotCoordinator)
	s.failQueue(kafka.NotCoordinator)
	s.epoch, s.pause = epoch, 0
	s.load()
}

// resign ends a term.
func (s *shard[M, O]) resign() {
	if s.state == Resigned {
		return
	}
	s.settle() // what is committed may still be told
	s.drop(kafka.NotCoordinator)
	s.failQueue(kafka.NotCoordinator)
	s.setState(Resigned)
}

// fail throws the machine away: what it holds is not what the log holds.
func (s *shard[M, O]) fail(err error) {
	s.of.count.failures.Add(1)
	s.drop(refusal(err))
	if errors.Is(err, kafka.NotLeaderForPartition) {
		s.failQueue(kafka.NotCoordinator)
		s.setState(Resigned) // the next Elect loads
		return
	}
	s.reload()
}

// drop ends the machine. Replies of events that were not appended become code;
// who waits inside the machine gets its own farewell.
func (s *shard[M, O]) drop(code kafka.Code) {
	s.loads++
	s.disarm()
	if s.retry != nil {
		s.retry.Stop()
	}
	s.batch.Begin(batch.Options{})
	s.bytes, s.batches = 0, s.batches[:0]
	s.refuse(s.pending, code)
	s.forgetPending()
	if s.state == Active {
		s.farewell()
	}
	for to, t := range s.tokens {
		delete(s.tokens, to)
		t.fail(kafka.NotCoordinator)
		s.wait(-1)
	}
	var none M
	s.machine = none
}

// farewell lets the machine answer who waits in it.
func (s *shard[M, O]) farewell() {
	s.out.Reset()
	if guarded(func() { s.machine.Abandon(s.out) }) != nil {
		return // those who are left are told by drop
	}
	for to, resp := range s.out.Replies {
		if t := s.tokens[to]; t != nil {
			delete(s.tokens, to)
			t.complete(resp, nil)
			s.wait(-1)
		}
	}
}

// wait counts requests that have no reply yet.
func (s *shard[M, O]) wait(n int) {
	s.waiting += n
	s.of.count.pending.Add(int64(n))
}

func (s *shard[M, O]) setState(st State) {
	s.state = st
	s.published.Store(int32(st))
}

// arm sets the timer to when the machine wants to be woken.
func (s *shard[M, O]) arm() {
	if s.state != Active {
		return
	}
	due, ok := s.machine.NextDueMs()
	if !ok {
		s.disarm()
		return
	}
	if due == s.armedForMs {
		return
	}
	s.armedForMs = due
	after := max(time.Duration(due-s.clock.nowMs(s.of.o.Now()))*time.Millisecond, 0)
	if s.timer == nil {
		s.timer = time.AfterFunc(after, func() { s.post(s.tick) })
	} else {
		s.timer.Reset(after)
	}
}

func (s *shard[M, O]) disarm() {
	if s.timer != nil && s.armedForMs != 0 {
		s.timer.Stop()
	}
	s.armedForMs = 0
}

func (s *shard[M, O]) tick() {
	s.armedForMs = 0
	if s.state == Active {
		s.step(0, func(nowMs int64) { s.machine.Tick(nowMs, s.out) })
	}
}

// coder lends what compresses, where something is to be compressed.
func (s *shard[M, O]) coder() (c *compress.Coder, done func()) {
	if s.of.o.Codec == compress.None {
		return nil, func() {}
	}
	c = s.of.coders.Get()
	return c, func() { s.of.coders.Put(c) }
}
