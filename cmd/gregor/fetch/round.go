// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What one fetch may bring. The wait is longer where nothing may come for
// ever.
const (
	answerBytes    = 16 << 20
	partitionBytes = 2 << 20
	endWaitMs      = 500
	followWaitMs   = 500
	pauseAfter     = 100 * time.Millisecond // an error
)

// crew is a group of goroutines that may grow while it is waited for: the
// first members are added before the wait, later ones by members.
type crew struct{ sync.WaitGroup }

func newCrew() *crew { return &crew{} }

func (c *crew) add(f func()) { c.Go(f) }
func (c *crew) wait()        { c.Wait() }

// cursors looks the leaders of stretches up and leaves out those that are
// empty.
func (r *Reader) cursors(ctx context.Context, stretches []Stretch) ([]*cursor, error) {
	var cursors []*cursor
	for _, s := range stretches {
		if s.To < 0 || s.Next < s.To {
			cursors = append(cursors, &cursor{Stretch: s, fetchAt: s.Next, leader: -1, asks: partitionBytes})
		}
	}
	if len(cursors) == 0 {
		return nil, nil
	}
	return cursors, r.lead(ctx, cursors)
}

func (r *Reader) topics(ctx context.Context, cursors []*cursor) (kadm.TopicDetails, error) {
	var names []string
	for _, c := range cursors {
		if !slices.Contains(names, c.Topic) {
			names = append(names, c.Topic)
		}
	}
	return kadm.NewClient(r.client).ListTopicsWithInternal(ctx, names...)
}

// leaders finds the leaders of partitions.
func (r *Reader) leaders(ctx context.Context, cursors []*cursor) error {
	details, err := r.topics(ctx, cursors)
	if err != nil {
		return fmt.Errorf("look topics up: %w", err)
	}
	for _, c := range cursors {
		t := details[c.Topic]
		p, ok := t.Partitions[c.Partition]
		switch {
		case t.Err != nil:
			return c.failed(t.Err)
		case !ok:
			return c.failed(kerr.UnknownTopicOrPartition)
		case c.id != (kadm.TopicID{}) && c.id != t.ID:
			return c.failed(errors.New("the topic was deleted and created again"))
		}
		c.id, c.leader = t.ID, p.Leader
	}
	return nil
}

// byLeader groups cursors, in the order of the first of each.
func byLeader(cursors []*cursor) [][]*cursor {
	var groups [][]*cursor
	for _, c := range cursors {
		i := slices.IndexFunc(groups, func(g []*cursor) bool { return g[0].leader == c.leader })
		if i < 0 {
			groups = append(groups, []*cursor{c})
		} else {
			groups[i] = append(groups[i], c)
		}
	}
	return groups
}

// patience ends when nothing has come for too long.
type patience struct {
	r     *Reader
	since time.Time // of the first failure in a row
	told  bool
}

func (p *patience) good() { p.since, p.told = time.Time{}, false }

// bad waits a little, and gives err up when the time is over. Who follows
// hears of it once and waits for ever.
func (p *patience) bad(ctx context.Context, err error, endless bool) error {
	now := p.r.now()
	if p.since.IsZero() {
		p.since = now
	}
	switch late := now.Sub(p.since) > p.r.o.Timeout; {
	case ctx.Err() != nil:
		return ctx.Err()
	case late && !endless:
		return err
	case late && !p.told:
		p.told = true
		p.r.o.Note(fmt.Sprintf("still waiting: %v", err))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pauseAfter):
		return nil
	}
}

// round asks each leader once for what follows, and emits what came.
func (r *Reader) round(ctx context.Context, cursors []*cursor, wait *patience, emit func(piece)) error {
	groups, well := byLeader(cursors), true
	for _, group := range groups {
		waitMs := int32(endWaitMs)
		if endless(group) && len(groups) == 1 {
			waitMs = followWaitMs
		}
		trouble, err := r.ask(ctx, group, waitMs, emit)
		if err != nil {
			return err
		}
		if trouble == nil {
			continue
		}
		well = false
		if gone(trouble) {
			return trouble
		}
		if err := wait.bad(ctx, trouble, endless(group)); err != nil {
			return err
		}
		if err := r.lead(ctx, group); err != nil && (errors.As(err, new(*PartitionError)) || gone(err)) {
			if leaderless(err) {
				continue
			}
			return err
		}
	}
	if well {
		wait.good()
	}
	return nil
}

// leaderless finds partitions that are there but cannot be read just now.
func leaderless(err error) bool {
	return errors.Is(err, kerr.LeaderNotAvailable) || errors.Is(err, kerr.ReplicaNotAvailable)
}

func endless(cursors []*cursor) bool {
	return slices.ContainsFunc(cursors, func(c *cursor) bool { return c.To < 0 })
}

// fetch asks one leader. trouble is what asking again may cure.
func (r *Reader) fetch(ctx context.Context, group []*cursor, waitMs int32, emit func(piece)) (trouble, err error) {
	if group[0].leader < 0 {
		return group[0].failed(kerr.LeaderNotAvailable), nil
	}
	asked, err := r.client.Broker(int(group[0].leader)).Request(ctx, request(group, waitMs, r.o.Committed))
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return fmt.Errorf("%w\n%w", ErrSilent, err), nil
	}
	answer := asked.(*kmsg.FetchResponse)
	if code := kerr.ErrorForCode(answer.ErrorCode); code != nil {
		return group[0].failed(code), nil
	}
	var bytes int
	found := make(map[*cursor]*kmsg.FetchResponseTopicPartition, len(group))
	for i := range answer.Topics {
		t := &answer.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			bytes += len(p.RecordBatches)
			at := slices.IndexFunc(group, func(c *cursor) bool {
				return c.Partition == p.Partition && (answer.Version >= 13 && c.id == t.TopicID || answer.Version < 13 && c.Topic == t.Topic)
			})
			if at >= 0 {
				found[group[at]] = p
			}
		}
	}
	for _, c := range group {
		p := found[c]
		if p == nil {
			continue
		}
		idle := bytes == 0 && answer.ThrottleMillis == 0
		if err := r.partition(ctx, c, p, idle, emit); err != nil {
			if cured(err) {
				trouble = err
				continue
			}
			return nil, err
		}
	}
	return trouble, nil
}

// cured finds what passes by itself: a leader moves, a log is being opened.
func cured(err error) bool {
	return kerr.IsRetriable(err) || errors.Is(err, kerr.FencedLeaderEpoch) || errors.Is(err, kerr.UnknownLeaderEpoch) ||
		errors.Is(err, kerr.OffsetNotAvailable) || errors.Is(err, errEnds) || errors.Is(err, errWithheld)
}

func request(group []*cursor, waitMs int32, committed bool) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, waitMs, 1, answerBytes, -1
	if committed {
		req.IsolationLevel = 1
	}
	for _, c := range group {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = c.Partition, c.fetchAt, c.asks
		at := slices.IndexFunc(req.Topics, func(t kmsg.FetchRequestTopic) bool { return t.Topic == c.Topic })
		if at < 0 {
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = c.Topic, c.id
			req.Topics = append(req.Topics, t)
			at = len(req.Topics) - 1
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, p)
	}
	return req
}

// emptyFor is how long a broker must answer with nothing, at least emptiesMax
// times, until it may mean that compaction left nothing between a position and
// the end of its stretch. A broker whose reads take longer than a fetch waits
// (from a tier far away) answers with nothing too: if its newest record lies
// in the stretch, that is not the end.
const (
	emptiesMax = 5
	emptyFor   = 5 * time.Second
)

// partition takes one partition's part of an answer. idle says that the whole
// answer was empty, and not because of a quota.
func (r *Reader) partition(ctx context.Context, c *cursor, p *kmsg.FetchResponseTopicPartition, idle bool, emit func(piece)) error {
	if p.ErrorCode == kerr.OffsetOutOfRange.Code {
		return r.outOfRange(ctx, c, emit)
	}
	switch err := kerr.ErrorForCode(p.ErrorCode); {
	case errors.Is(err, kerr.CorruptMessage):
		return c.failed(fmt.Errorf("offset %d: %w", c.fetchAt, err))
	case err != nil:
		return c.failed(err)
	}
	whole, next, err := trim(p.RecordBatches, c.fetchAt)
	if err != nil {
		return c.failed(err)
	}
	if next == c.fetchAt {
		if c.To < 0 || !idle {
			return nil
		}
		if p.HighWatermark < c.To && p.HighWatermark <= c.fetchAt {
			return c.failed(errEnds)
		}
		if c.empties++; c.empties == 1 {
			c.emptySince = r.now()
		}
		if c.empties < emptiesMax || r.now().Sub(c.emptySince) < emptyFor {
			return nil
		}
		if err := r.left(ctx, c); err != nil {
			return c.failed(err)
		}
		next = c.To
	}
	c.empties, c.fetchAt = 0, next
	emit(piece{cursor: c, batches: whole, next: next, aborted: p.AbortedTransactions})
	return nil
}

// left is errWithheld if a record of the stretch is known to be there.
func (r *Reader) left(ctx context.Context, c *cursor) error {
	newest, err := r.newest(ctx, c.Topic, c.Partition)
	switch {
	case errors.Is(err, kerr.UnsupportedVersion):
		return nil // a broker before 3.0 cannot say
	case err != nil:
		return fmt.Errorf("%w\n%w", kerr.OffsetNotAvailable, err)
	case newest >= c.fetchAt && newest < c.To:
		return fmt.Errorf("%w, offset %d for one", errWithheld, newest)
	}
	return nil
}

func (r *Reader) newestOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	listed, err := kadm.NewClient(r.client).ListMaxTimestampOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	o, ok := listed.Lookup(topic, partition)
	if !ok {
		return 0, kerr.UnknownTopicOrPartition
	}
	return o.Offset, o.Err
}

// outOfRange goes on behind what was deleted, and waits where nothing was
// written yet.
func (r *Reader) outOfRange(ctx context.Context, c *cursor, emit func(piece)) error {
	starts, err := kadm.NewClient(r.client).ListStartOffsets(ctx, c.Topic)
	if err != nil {
		return c.failed(fmt.Errorf("%w\n%w", kerr.OffsetNotAvailable, err))
	}
	start, ok := starts.Lookup(c.Topic, c.Partition)
	switch {
	case !ok || start.Err != nil:
		return c.failed(kerr.OffsetNotAvailable)
	case start.Offset <= c.fetchAt && c.To < 0:
		select { // nothing there yet
		case <-ctx.Done():
		case <-time.After(followWaitMs * time.Millisecond):
		}
		return nil
	case start.Offset <= c.fetchAt:
		return c.failed(errEnds)
	}
	r.o.Note(fmt.Sprintf("topic %q, partition %d: offsets %d to %d were deleted before they were read", c.Topic, c.Partition, c.fetchAt, start.Offset-1))
	c.fetchAt = start.Offset
	emit(piece{cursor: c, next: start.Offset})
	return nil
}
