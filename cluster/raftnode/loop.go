// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
)

// run is the node's goroutine.
func (n *Node) run(ctx context.Context, ready chan struct{}) {
	defer close(n.stopped)
	defer n.cancel()
	defer func() {
		if p := recover(); p != nil {
			n.fail("raft", fmt.Errorf("%v", p))
			n.markReady(ready)
		}
	}()
	n.turn(ctx, func() error { return nil })
	n.markReady(ready)
	ticker, retry := stoppedClock(n.o.TickEvery), stoppedClock(n.o.RetryEvery)
	defer ticker.run(false)
	defer retry.run(false)
	for n.Err() == nil && !n.finished() {
		// While this node is the whole quorum nothing depends on the clock.
		ticker.run(!n.core.alone() || n.closing != nil)
		retry.run(n.core.round != nil || n.core.store.wanted)
		select {
		case <-n.wake:
			n.turn(ctx, n.takeInbox(ctx))
		case <-ticker.C:
			n.turn(ctx, func() error {
				n.core.tick()
				return nil
			})
		case <-retry.C:
			n.turn(ctx, func() error { return nil })
		}
	}
	if c := n.closing; c != nil && !n.killed && n.Err() == nil {
		c.err = n.finish()
	}
	n.publish(metalog.Leadership{Leader: kafka.NoNode, Epoch: n.core.leadership().Epoch})
}

func (n *Node) markReady(ready chan struct{}) {
	select {
	case <-ready:
	default:
		close(ready)
	}
}

// clock is a ticker that stands still until it is let run.
type clock struct {
	*time.Ticker
	every   time.Duration
	running bool
}

func stoppedClock(every time.Duration) *clock {
	c := &clock{Ticker: time.NewTicker(every), every: every}
	c.Stop()
	return c
}

func (c *clock) run(on bool) {
	if on != c.running {
		c.running = on
		if on {
			c.Reset(c.every)
		} else {
			c.Stop()
		}
	}
}

// turn does one thing and all that follows from it. While a round has failed on
// a full disk, only the round is tried again: what came meanwhile is lost, as
// messages may be.
func (n *Node) turn(ctx context.Context, do func() error) {
	stalled := n.core.round != nil
	err := n.settle()
	if err == nil && stalled {
		n.core.abdicate() // the controller was told that the leadership is over
		err = n.settle()
	}
	if err == nil {
		if err = do(); err == nil {
			err = n.settle()
		}
	}
	if err == nil && n.core.alone() && n.core.rn.BasicStatus().RaftState != raft.StateLeader {
		if err = n.core.campaign(); err == nil {
			err = n.settle()
		}
	}
	switch {
	case isFull(err):
		n.stalled(err)
	case err != nil:
		n.fail("metadata log", err)
	default:
		n.lastFailed = ""
		n.checkpoint(ctx)
	}
	l := n.core.leadership()
	n.settleChanges(l)
	n.publish(l)
}

// settle drains raft; a round that is left over counts as an error.
func (n *Node) settle() error { return n.core.drain() }

func (n *Node) stalled(err error) {
	if n.lastFailed == err.Error() {
		return
	}
	n.lastFailed = err.Error()
	n.o.Logger.Error("metadata log cannot be written, retrying", "err", err)
}

// takeInbox takes all that is queued and returns what to do with it.
func (n *Node) takeInbox(ctx context.Context) func() error {
	n.mu.Lock()
	proposals, messages, calls := n.mu.proposals, n.mu.messages, n.mu.calls
	n.mu.proposals, n.mu.messages, n.mu.calls = nil, nil, nil
	n.mu.Unlock()
	for _, call := range calls {
		call() // also while stalled: a stop is among them
	}
	return func() error {
		for _, r := range messages {
			n.receive(ctx, r)
		}
		if err := n.settle(); err != nil {
			return err
		}
		for _, p := range proposals {
			if err := n.core.propose(p); err != nil && !errors.Is(err, errNotLeading) {
				n.o.Logger.Warn("metadata proposal is dropped, giving up the leadership", "epoch", int32(p.Epoch), "offset", int64(p.Base), "err", err)
				n.core.abdicate()
				break
			}
		}
		return nil
	}
}

// receive steps a message, or fetches the checkpoint first that it speaks of.
func (n *Node) receive(ctx context.Context, r received) {
	if r.m.GetType() == pb.MsgSnap {
		name := string(r.m.GetSnapshot().GetData())
		if n.core.incoming[name] == nil {
			n.fetch(ctx, r)
			return
		}
		n.core.incoming[name] = r.m
	}
	if err := n.core.step(r.from, r.m); err != nil {
		n.o.Logger.Warn("metadata quorum message is dropped", "from", int32(r.from.NodeID), "err", err)
		return
	}
	n.noteHeard(r.from)
}

// fetch gets the checkpoint of a snapshot message on a goroutine of its own and
// then lets the message come again.
func (n *Node) fetch(ctx context.Context, r received) {
	ck := checkpointOf(r.m.GetSnapshot())
	name := string(r.m.GetSnapshot().GetData())
	if ck.Index == 0 || n.o.Transport == nil || n.fetching {
		return // one at a time: raft sends the message again
	}
	n.fetching = true
	clear(n.core.incoming)
	n.background.Go(func() {
		err := n.core.fetchCheckpoint(ctx, r.from, ck)
		n.post(func() {
			n.fetching = false
			if err != nil {
				n.o.Logger.Warn("metadata checkpoint was not received", "from", int32(r.from.NodeID), "checkpoint", name, "err", err)
				return
			}
			n.core.incoming[name] = r.m
			n.Step(r.from, r.m)
		})
	})
}

// checkpoint starts to write one if one is due and the image is there.
func (n *Node) checkpoint(ctx context.Context) {
	if n.o.Image == nil || n.writing || n.closing != nil {
		n.core.store.wanted = n.core.store.wanted && n.o.Image != nil
		return
	}
	if !n.core.store.wanted && !n.checkpointDue() {
		return
	}
	n.writing = true
	least, forget := n.core.store.lastChange, n.core.forget
	if forget {
		least = max(least, n.core.contained)
	}
	n.background.Go(func() {
		err := n.core.writeCheckpoint(n.o.Image(), least, forget)
		n.post(func() {
			n.writing = false
			n.checkpointDone(err)
		})
	})
}

// checkpointDue: so much lies behind the newest checkpoint that reading it would
// make a start slow. A node that is killed again and again writes two records for
// each partition at each start, in a few batches.
func (n *Node) checkpointDue() bool {
	ck, _ := n.log.Checkpoint()
	if n.core.applied-min(ck.Index, n.core.applied) >= n.o.CheckpointEvery {
		return true
	}
	return n.log.BytesBehind(n.core.applied) >= min(n.o.CheckpointBytesEvery, max(checkpointBytesLeast, 2*ck.SizeBytes))
}

// checkpointBytesLeast is what is read in no time.
const checkpointBytesLeast = 1 << 20

func (n *Node) checkpointDone(err error) {
	switch {
	case err == nil:
		n.core.store.wanted, n.core.forget = false, false
	case errors.Is(err, errImageBehind):
		n.core.store.wanted = true
	case isFull(err):
		n.core.store.wanted = true
		n.stalled(err)
	default:
		n.fail("metadata checkpoint", err)
	}
}

// finished reports whether the loop may end, and moves a Stop on.
func (n *Node) finished() bool {
	if n.killed {
		return true
	}
	c := n.closing
	if c == nil || n.writing {
		return false
	}
	if c.ctx.Err() != nil || n.core.round != nil || n.core.rn.BasicStatus().RaftState != raft.StateLeader {
		return true
	}
	to := n.core.heir()
	if to == raft.None {
		return true
	}
	if !c.asked {
		c.asked = true
		n.core.rn.TransferLeader(to)
		n.signal()
	}
	return false
}

// finish is what a clean stop leaves behind.
func (n *Node) finish() error {
	if n.core.round != nil {
		return errors.New("stop of the metadata quorum: the last entries could not be written")
	}
	var errs []error
	if n.o.Image != nil {
		if err := n.core.writeCheckpoint(n.o.Image(), 0, n.core.forget); err != nil && !errors.Is(err, errImageBehind) {
			errs = append(errs, err)
		}
	}
	if q := n.core.quorumState(); q.Epoch > 0 {
		errs = append(errs, n.log.SaveQuorum(q))
	}
	return errors.Join(errs...)
}

func (n *Node) publish(l metalog.Leadership) {
	n.mu.Lock()
	changed := n.mu.lead != l
	n.mu.lead = l
	watchers := n.mu.watchers
	n.mu.Unlock()
	if !changed {
		return
	}
	for _, c := range watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (n *Node) fail(op string, err error) {
	n.mu.Lock()
	first := n.mu.failed == nil
	if first {
		n.mu.failed = fmt.Errorf("%s: %w", op, err)
	}
	n.mu.Unlock()
	if first {
		n.o.Logger.Error("metadata quorum has failed", "op", op, "err", err)
		if n.o.Failed != nil {
			go n.o.Failed(op, err)
		}
	}
}
