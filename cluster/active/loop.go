// SPDX-License-Identifier: Apache-2.0

package active

import (
	"context"
	"fmt"
	"time"

	"gregor/base/kafka"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// Run is the loop. It ends when ctx does, or when the metadata cannot be
// replayed.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.done)
	defer c.o.Quorum.Watch(c.wake)()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil && c.failed == nil {
		c.turn()
		timer.Reset(c.untilNext())
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-timer.C:
		}
	}
	c.resign("the controller stops")
	c.refuse()
	return c.failed
}

// untilNext is how long the loop may sleep.
func (c *Controller) untilNext() time.Duration {
	if c.serving {
		if at, ok := c.sessions.Next(); ok {
			return max(at.Sub(c.o.Now()), 0)
		}
	}
	return time.Hour
}

// turn takes up what has happened since the last one.
func (c *Controller) turn() {
	lead := c.o.Quorum.Leader()
	if c.serving && (!lead.Leading || lead.Epoch != c.epoch) {
		c.resign("the leadership has ended")
	}
	if err := c.follow(); err != nil {
		c.fail(err)
		return
	}
	if !c.serving && lead.Leading && c.loader.Next() >= lead.ServeFrom {
		c.activate(lead)
	}
	if !c.serving {
		c.refuse()
		return
	}
	c.sweep()
	c.judge()
}

func (c *Controller) fail(err error) {
	c.failed = fmt.Errorf("controller: %w", err)
	c.o.Logger.Error("metadata cannot be replayed", "err", err)
	if c.o.Failed != nil {
		go c.o.Failed("controller", err)
	}
}

// follow moves the committed image on. What this controller has proposed is
// there already as an image; the rest is replayed from the log.
func (c *Controller) follow() error {
	committed := c.o.Log.Committed()
	if c.serving && committed.Epoch > c.epoch {
		c.resign("another controller leads")
	}
	for c.serving && len(c.inflight) > 0 && c.inflight[0].end <= committed.End {
		f := c.inflight[0]
		c.inflight[0] = flight{}
		c.inflight = c.inflight[1:]
		c.loader.Adopt(f.img, f.end)
		for _, t := range f.tasks {
			t.answer(t.resp, nil)
		}
	}
	if len(c.inflight) > 0 || committed.End <= c.loader.Next() {
		return nil
	}
	c.inflight = nil
	if _, _, err := c.loader.Load(); err != nil {
		return err
	}
	if c.serving { // a batch of raft's own
		c.proposed, c.end = c.loader.Image(), c.loader.Next()
	}
	return nil
}

// activate begins a leadership: all that is committed is applied, and nothing is
// in flight.
func (c *Controller) activate(lead metalog.Leadership) {
	c.serving, c.epoch = true, lead.Epoch
	c.proposed, c.end = c.loader.Image(), c.loader.Next()
	c.sessions = controller.NewSessions(c.o.SessionTimeout, c.proposed, c.o.Now())
	c.setActive(true)
	c.o.Logger.Info("controller is active", "epoch", int32(c.epoch), "offset", int64(c.end))
	env := c.env()
	out := controller.Activate(c.proposed, &env)
	if c.proposed.MetadataVersion() == 0 {
		abort := 0
		if c.proposed.InTransaction() {
			abort = 1 // the first record ends what a predecessor began
		}
		recs, err := c.bootstrap(out.Records[abort:])
		if err != nil {
			c.fail(err)
			return
		}
		out.Records = append(out.Records[:abort:abort], recs...)
	}
	if err := c.propose(out, nil); err != nil {
		c.fail(err)
	}
}

// bootstrap gives the first records of a cluster, as one metadata transaction:
// those that the directory was formed with, or else records.
func (c *Controller) bootstrap(records []metarec.Record) ([]metarec.Record, error) {
	formed, err := c.o.Log.Bootstrap()
	if err != nil {
		return nil, err
	}
	if len(formed) > 0 {
		records = c.completeBootstrap(formed)
	}
	name := "Bootstrap records"
	out := []metarec.Record{&metarec.BeginTransaction{Name: &name}}
	out = append(out, records...)
	return append(out, &metarec.EndTransaction{}), nil
}

// completeBootstrap adds the cluster's min.insync.replicas to records that turn
// eligible leader replicas on, as the format tool's do: then brokers' own
// values count no more.
func (c *Controller) completeBootstrap(records []metarec.Record) []metarec.Record {
	on, has := false, false
	for _, rec := range records {
		switch rec := rec.(type) {
		case *metarec.FeatureLevel:
			on = on || rec.Name == controller.FeatureELR && rec.Level > 0
		case *metarec.Config:
			has = has || rec.ResourceType == int8(image.ResourceBroker) && rec.ResourceName == "" && rec.Name == minInSyncReplicas
		}
	}
	if on && !has {
		value := fmt.Sprint(max(c.o.Env.Config.MinInSyncReplicas, 1))
		records = append(records, &metarec.Config{ResourceType: int8(image.ResourceBroker), Name: minInSyncReplicas, Value: &value})
	}
	return records
}

const minInSyncReplicas = "min.insync.replicas"

// resign ends a leadership. Who waits is told; what is in flight may be
// committed all the same.
func (c *Controller) resign(why string) {
	if !c.serving {
		return
	}
	c.o.Logger.Info("controller is no longer active", "epoch", int32(c.epoch), "reason", why, "in_flight", len(c.inflight))
	for _, f := range c.inflight {
		for _, t := range f.tasks {
			t.answer(nil, kafka.NotController)
		}
	}
	c.serving, c.inflight, c.proposed, c.sessions = false, nil, nil, nil
	c.setActive(false)
}

func (c *Controller) setActive(active bool) {
	c.mu.Lock()
	c.mu.active = active
	c.mu.Unlock()
}

// refuse answers all that is queued: this controller is not the active one.
func (c *Controller) refuse() {
	for _, t := range c.takeQueue() {
		t.answer(nil, ErrNotActive)
	}
}

func (c *Controller) takeQueue() []*task {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.mu.queue
	c.mu.queue = nil
	return q
}

// sweep fences the brokers whose sessions have run out.
func (c *Controller) sweep() {
	for c.serving && len(c.inflight) < c.o.InflightMax {
		env := c.env()
		out, more := controller.Sweep(c.proposed, &env)
		if !more {
			return
		}
		if err := c.propose(out, nil); err != nil {
			c.fail(err)
			return
		}
	}
}

func (c *Controller) env() controller.Env {
	env := c.o.Env
	env.Now, env.Random, env.NextOffset, env.Sessions = c.o.Now(), c.o.Random, c.end, c.sessions
	return env
}
