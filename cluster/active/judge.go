// SPDX-License-Identifier: Apache-2.0

package active

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
	"gregor/wire/batch"
)

// judge decides on what is queued, in order. Each request becomes a batch of its
// own; the quorum writes all that are queued with one fdatasync.
func (c *Controller) judge() {
	queue := c.takeQueue()
	for i, t := range queue {
		if len(c.inflight) >= c.o.InflightMax {
			c.putBack(queue[i:])
			return
		}
		if t.ctx.Err() != nil {
			continue // nobody waits for it
		}
		c.judgeOne(t)
		if !c.serving || c.failed != nil {
			c.putBack(queue[i+1:])
			return
		}
	}
}

// putBack puts tasks before what was queued meanwhile.
func (c *Controller) putBack(tasks []*task) {
	c.mu.Lock()
	c.mu.queue = append(append([]*task(nil), tasks...), c.mu.queue...)
	c.mu.Unlock()
}

func (c *Controller) judgeOne(t *task) {
	env := c.env()
	if c.o.Prepare != nil {
		c.o.Prepare(t.who, &env)
	}
	if r, ok := t.req.(*kmsg.BrokerRegistrationRequest); ok && t.who.Local {
		if b := c.proposed.Broker(kafka.NodeID(r.BrokerID)); b != nil && b.IncarnationID != r.IncarnationID {
			c.sessions.Drop(b.BrokerID, b.BrokerEpoch)
		}
	}
	out, err := controller.Handle(c.proposed, &env, t.req)
	if err != nil {
		t.answer(nil, err)
		return
	}
	if out.Reason != "" {
		c.o.Logger.Info("controller refuses a request", "api_key", t.req.Key(), "reason", out.Reason)
	}
	if out.Atomic && len(out.Records) > c.o.RecordsMax {
		t.answer(nil, fmt.Errorf("%d records in one operation: %w", len(out.Records), kafka.PolicyViolation))
		return
	}
	t.resp = out.Response
	err = c.propose(out, t)
	if errors.Is(err, kafka.PolicyViolation) {
		t.answer(nil, err)
		return
	}
	if err != nil {
		// The image does not take what the controller has decided: a defect. The
		// next leader starts from what is committed.
		c.o.Logger.Error("controller's records do not fit its image", "api_key", t.req.Key(), "err", err)
		t.answer(nil, kafka.UnknownServerError)
		c.o.Quorum.Abdicate(c.epoch)
		c.resign("its records do not fit its image")
	}
}

// propose brings the records of an outcome on their way, and t with them. An
// outcome without records waits for all that it was judged by.
func (c *Controller) propose(out controller.Outcome, t *task) error {
	if len(out.Records) == 0 {
		switch n := len(c.inflight); {
		case t == nil:
		case n == 0:
			t.answer(t.resp, nil)
		default:
			c.inflight[n-1].tasks = append(c.inflight[n-1].tasks, t)
		}
		return nil
	}
	flights, batches, err := c.plan(out)
	if err != nil {
		return err
	}
	if t != nil {
		last := &flights[len(flights)-1]
		last.tasks = append(last.tasks, t)
	}
	base := c.end
	for i, f := range flights {
		batch.SetBaseOffset(batches[i], base)
		batch.SetLeaderEpoch(batches[i], c.epoch)
		c.o.Quorum.Propose(metalog.Proposal{Epoch: c.epoch, Base: base, Batch: batches[i]})
		base = f.end
	}
	c.inflight = append(c.inflight, flights...)
	c.end, c.proposed = base, flights[len(flights)-1].img
	return nil
}

// plan makes batches of records, and the image that each leaves. Only an
// outcome that is not atomic is split.
func (c *Controller) plan(out controller.Outcome) ([]flight, [][]byte, error) {
	version := c.proposed.MetadataVersion()
	if version == 0 {
		version = levelIn(out.Records)
	}
	nowMs := c.o.Now().UnixMilli()
	var flights []flight
	var batches [][]byte
	img, end := c.proposed, c.end
	for left := out.Records; len(left) > 0; {
		delta := image.NewDelta(img)
		var values [][]byte
		size := 0
		for len(left) > 0 {
			v := metarec.Marshal(nil, left[0], version)
			if !out.Atomic && len(values) > 0 && (len(values) >= c.o.RecordsMax || size+len(v) > c.o.BatchBytesMax/2) {
				break
			}
			if err := delta.Replay(left[0]); err != nil {
				return nil, nil, err
			}
			values, size, left = append(values, v), size+len(v), left[1:]
		}
		b := metalog.DataBatch(nowMs, values)
		if len(b) > c.o.BatchBytesMax {
			return nil, nil, fmt.Errorf("a batch of %d bytes: %w", len(b), kafka.PolicyViolation)
		}
		end += kafka.Offset(len(values))
		img = delta.Apply(end-1, c.epoch)
		flights = append(flights, flight{end: end, img: img})
		batches = append(batches, b)
	}
	return flights, batches, nil
}

// levelIn finds the metadata.version that bootstrap records set.
func levelIn(records []metarec.Record) int16 {
	for _, rec := range records {
		if f, ok := rec.(*metarec.FeatureLevel); ok && f.Name == image.FeatureMetadataVersion {
			return f.Level
		}
	}
	return controller.MetadataVersion44IV2
}
