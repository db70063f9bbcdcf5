// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rebalanceTimeout is what a consumer says as long as nobody sets max.poll.interval.ms.
const rebalanceTimeout = 5 * time.Minute

// member is one consumer of the new group protocol on a connection that it
// shares. It does what clients do: it joins, gives up and takes what it is told
// to, says so at once, and otherwise beats at the interval that the broker told
// it last, counted from the heartbeat before.
type member struct {
	line  *line
	crowd *crowd
	id    string

	epoch int32
	owned []int32 // sorted
	topic [16]byte
	beats *beats // may be nil
}

// run joins at a time and goes on until ctx ends.
func (m *member) run(ctx context.Context, at time.Time) error {
	if err := sleepUntil(ctx, at); err != nil {
		return nil
	}
	req := m.joinRequest()
	for {
		sent := time.Now()
		resp, err := ask[*kmsg.ConsumerGroupHeartbeatResponse](ctx, m.line, req)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		switch err := kerr.ErrorForCode(resp.ErrorCode); {
		case err == nil:
		case kerr.IsRetriable(err): // the coordinator loads
			if sleepUntil(ctx, sent.Add(100*time.Millisecond)) != nil {
				return nil
			}
			continue
		default:
			return fmt.Errorf("member %s of %s: %w", m.id, m.crowd.group, err)
		}
		m.beats.add(time.Since(sent))
		changed, err := m.take(resp)
		if err != nil {
			return err
		}
		req = m.nextRequest(changed)
		if changed {
			continue // at once
		}
		if sleepUntil(ctx, sent.Add(time.Duration(resp.HeartbeatIntervalMillis)*time.Millisecond)) != nil {
			return nil
		}
	}
}

func sleepUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (m *member) joinRequest() *kmsg.ConsumerGroupHeartbeatRequest {
	req := m.nextRequest(false)
	req.RebalanceTimeoutMillis = int32(rebalanceTimeout.Milliseconds())
	req.SubscribedTopicNames = []string{groupTopic}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	return req
}

// nextRequest says what the member owns only if that has changed, as clients do.
func (m *member) nextRequest(changed bool) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = 1, m.crowd.group, m.id, m.epoch
	if changed {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		if len(m.owned) != 0 {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: m.topic, Partitions: m.owned})
		}
	}
	return req
}

// take brings the member to where an answer wants it.
func (m *member) take(resp *kmsg.ConsumerGroupHeartbeatResponse) (changed bool, err error) {
	assigned := m.owned
	if resp.Assignment != nil {
		assigned = nil
		for _, t := range resp.Assignment.Topics {
			m.topic = t.TopicID
			assigned = append(assigned, t.Partitions...)
		}
		slices.Sort(assigned)
	}
	changed = !slices.Equal(assigned, m.owned)
	err = m.crowd.moved(m.epoch, resp.MemberEpoch, m.owned, assigned)
	m.epoch, m.owned = resp.MemberEpoch, assigned
	return changed, err
}

// crowd is a group as all of its members together see it.
type crowd struct {
	group    string
	expected int // members
	changed  chan struct{}

	mu       sync.Mutex // guards the following
	joined   int
	lastJoin time.Time     // when the last one got its answer
	epochs   map[int32]int // how many members are at each
	owners   []int         // of each partition
	orphans  int           // partitions that nobody owns
	wholeAt  time.Time     // since when all are at one epoch and every partition has its owner; zero: they are not
}

func newCrowd(group string, members, partitions int) *crowd {
	return &crowd{
		group: group, expected: members, changed: make(chan struct{}, 1),
		epochs: map[int32]int{}, owners: make([]int, partitions), orphans: partitions,
	}
}

// errTwoOwners is what must never be.
var errTwoOwners = errors.New("a partition has two owners")

// moved takes down where a member has come. What it has lost it gives up before it says so.
func (c *crowd) moved(from, to int32, had, has []int32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if from == 0 {
		c.joined++
		c.lastJoin = now
	} else if c.epochs[from]--; c.epochs[from] == 0 {
		delete(c.epochs, from)
	}
	c.epochs[to]++
	for _, p := range had {
		if c.owners[p]--; c.owners[p] == 0 {
			c.orphans++
		}
	}
	for _, p := range has {
		if c.owners[p]++; c.owners[p] == 1 {
			c.orphans--
		} else {
			return fmt.Errorf("%w: %d of %s", errTwoOwners, p, c.group)
		}
	}
	switch whole := c.joined == c.expected && len(c.epochs) == 1 && c.orphans == 0; {
	case !whole:
		c.wholeAt = time.Time{}
	case c.wholeAt.IsZero():
		c.wholeAt = now
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// whole tells since when everybody has what it shall, by what the members know.
func (c *crowd) whole() (lastJoin, wholeAt time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastJoin, c.wholeAt, !c.wholeAt.IsZero()
}

// settled waits until members and coordinator agree that the group is stable,
// and tells how long after the last join the last member came to its place.
func (c *crowd) settled(ctx context.Context, l *line) (time.Duration, error) {
	for {
		select {
		case <-c.changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("group %s does not come to rest: %w", c.group, ctx.Err())
		}
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Version, req.Groups = 1, []string{c.group}
		resp, err := ask[*kmsg.ConsumerGroupDescribeResponse](ctx, l, req)
		if err != nil {
			return 0, err
		}
		g := resp.Groups[0]
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return 0, fmt.Errorf("describe %s: %w", c.group, err)
		}
		joined, at, ok := c.whole()
		if ok && g.State == "Stable" && g.Epoch == g.AssignmentEpoch && len(g.Members) == c.expected {
			return at.Sub(joined), nil
		}
	}
}

// beats are the times that heartbeats took, while they are wanted.
type beats struct {
	mu     sync.Mutex // guards the following
	wanted bool
	took   []time.Duration
}

func (b *beats) add(took time.Duration) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted {
		b.took = append(b.took, took)
	}
}

func (b *beats) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = true
}

// end gives what was taken since begin, in ascending order.
func (b *beats) end() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = false
	slices.Sort(b.took)
	return b.took
}

// quantile of values in ascending order.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
