// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cmd/gregor/bench"
)

const (
	burstStable = "1,000 members join 1,000 partitions within 1 s: stable after the last join, s"
	waveStable  = "1,000 members join 1,000 partitions within 10 s: stable after the last join, s"

	beatsCPU     = "10,000 members, 100 groups, at rest: broker CPU, % of a core"
	beatsCPUEach = "10,000 members, 100 groups, at rest: broker CPU µs a heartbeat"
	beatsRate    = "10,000 members, 100 groups, at rest: heartbeats/s"
	beatsP50     = "10,000 members, 100 groups, at rest: heartbeat p50 µs"
	beatsP99     = "10,000 members, 100 groups, at rest: heartbeat p99 µs"
	beatsStable  = "10,000 members, 100 groups: all stable after the last join, s"
	beatsMemory  = "10,000 members, 100 groups, at rest: resident memory, MB"

	groupTopic = "group-topic"

	wideMembers   = 1000 // of one group, with a partition each
	wideLines     = 20   // the connections that they share
	burstJoins    = time.Second
	waveJoins     = 10 * time.Second
	crowdGroups   = 100
	crowdMembers  = 100                        // of each group, with a partition each
	crowdLines    = crowdGroups * crowdMembers // one each, as consumers have
	crowdMeasured = 20 * time.Second
	settleMax     = time.Minute
)

// groups measures what groups cost: one wide group that comes together, many
// members at rest, the join of a classic consumer, and a load of commits.
func (b *session) groups(ctx context.Context, s system, dir string) error {
	for _, part := range []struct {
		name    string
		measure func(context.Context, system, string) error
	}{{"wide", b.wideGroups}, {"crowd", b.crowd}, {"classic", b.classicJoins}, {"load", b.commitLoad}} {
		if err := part.measure(ctx, s, dir+part.name); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		os.RemoveAll(dir + part.name)
	}
	return nil
}

// startForGroups runs a broker with a topic of so many partitions, and with the
// topic of offsets.
func startForGroups(ctx context.Context, s system, dir string, partitions int, settings map[string]string) (*process, error) {
	p, err := startConfigured(ctx, s, dir, settings)
	if err != nil {
		return nil, err
	}
	l, err := dialLine(ctx, p.address, "bench")
	if err == nil {
		defer l.close()
		err = prepareGroups(ctx, l, partitions)
	}
	if err == nil {
		err = reachable(ctx, p, []string{groupTopic}, int32(partitions))
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func prepareGroups(ctx context.Context, l *line, partitions int) error {
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Version, create.TimeoutMillis = 7, 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = groupTopic, int32(partitions), 1
	create.Topics = append(create.Topics, topic)
	created, err := ask[*kmsg.CreateTopicsResponse](ctx, l, create)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(created.Topics[0].ErrorCode); err != nil {
		return fmt.Errorf("create %s: %w", groupTopic, err)
	}
	return findCoordinator(ctx, l, "any")
}

// findCoordinator waits until a group has a coordinator that is loaded.
func findCoordinator(ctx context.Context, l *line, group string) error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorKeys = 4, []string{group}
	fetch := fetchOf(group, []int32{0})
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		found, err := ask[*kmsg.FindCoordinatorResponse](ctx, l, find)
		if err != nil {
			return err
		}
		if err = kerr.ErrorForCode(found.Coordinators[0].ErrorCode); err == nil {
			fetched, askErr := ask[*kmsg.OffsetFetchResponse](ctx, l, fetch)
			if askErr != nil {
				return askErr
			}
			if err = kerr.ErrorForCode(answerOf(fetched)); err == nil {
				return nil
			}
		}
		if !kerr.IsRetriable(err) || time.Since(began) > startLimit {
			return fmt.Errorf("coordinator of %s: %w", group, err)
		}
	}
}

// answerOf is the error of an OffsetFetch of one partition. Kafka leaves a topic
// out that it does not know yet, and says so of nothing else.
func answerOf(resp *kmsg.OffsetFetchResponse) int16 {
	switch g := &resp.Groups[0]; {
	case g.ErrorCode != 0:
		return g.ErrorCode
	case len(g.Topics) != 1 || len(g.Topics[0].Partitions) != 1:
		return kerr.UnknownTopicOrPartition.Code
	default:
		return g.Topics[0].Partitions[0].ErrorCode
	}
}

// consumers are members that run until they are stopped.
type consumers struct {
	wait sync.WaitGroup
	fail context.CancelCauseFunc
}

// runMembers lets members come one after another, evenly within a time. The
// context that it gives ends when one of them fails.
func runMembers(ctx context.Context, members []*member, within time.Duration) (*consumers, context.Context) {
	watched, fail := context.WithCancelCause(ctx)
	c := &consumers{fail: fail}
	began := time.Now()
	for i, m := range members {
		at := began.Add(within * time.Duration(i) / time.Duration(len(members)))
		c.wait.Go(func() {
			if err := m.run(watched, at); err != nil {
				fail(err)
			}
		})
	}
	return c, watched
}

func (c *consumers) end() {
	c.fail(context.Canceled)
	c.wait.Wait()
}

// wideGroups lets 1,000 consumers come to one group, all at once and one after
// another.
func (b *session) wideGroups(ctx context.Context, s system, dir string) error {
	p, err := startForGroups(ctx, s, dir, wideMembers, nil)
	if err != nil {
		return err
	}
	defer p.stop()
	for _, run := range []struct {
		group, figure string
		within        time.Duration
	}{{"burst", burstStable, burstJoins}, {"wave", waveStable, waveJoins}} {
		took, err := wideGroup(ctx, p, run.group, run.within)
		if err != nil {
			return err
		}
		b.figures.add(s.name(), run.figure, took.Seconds())
	}
	return nil
}

// wideGroup gives the time from the last join to where all have what they shall.
func wideGroup(ctx context.Context, p *process, group string, within time.Duration) (time.Duration, error) {
	lines, err := dialLines(ctx, p.address, wideLines)
	if err != nil {
		return 0, err
	}
	defer closeLines(lines)
	c := newCrowd(group, wideMembers, wideMembers)
	members := make([]*member, wideMembers)
	for i := range members {
		members[i] = &member{line: lines[i%wideLines], crowd: c, id: fmt.Sprintf("member-%04d", i)}
	}
	running, watched := runMembers(ctx, members, within)
	defer running.end()
	return settledWithin(watched, c, lines[0])
}

func settledWithin(ctx context.Context, c *crowd, l *line) (time.Duration, error) {
	limited, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	took, err := c.settled(limited, l)
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	return took, err
}

// crowd lets 10,000 consumers come to 100 groups, and measures what their
// heartbeats cost when nothing happens any more.
func (b *session) crowd(ctx context.Context, s system, dir string) error {
	p, err := startForGroups(ctx, s, dir, crowdMembers, nil)
	if err != nil {
		return err
	}
	defer p.stop()
	lines, err := dialLines(ctx, p.address, crowdLines)
	if err != nil {
		return err
	}
	defer closeLines(lines)
	seen := &beats{}
	crowds := make([]*crowd, crowdGroups)
	for i := range crowds {
		crowds[i] = newCrowd(fmt.Sprintf("crowd-%d", i), crowdMembers, crowdMembers)
	}
	members := make([]*member, crowdGroups*crowdMembers)
	for i := range members {
		members[i] = &member{line: lines[i], crowd: crowds[i%crowdGroups], id: fmt.Sprintf("member-%05d", i), beats: seen}
	}
	// Their heartbeats are to be spread as those of consumers that know nothing of one another.
	running, watched := runMembers(ctx, members, heartbeatInterval)
	defer running.end()
	slowest := time.Duration(0)
	for _, c := range crowds {
		took, err := settledWithin(watched, c, lines[0])
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
	}
	b.figures.add(s.name(), beatsStable, slowest.Seconds())
	return b.rest(watched, s, p, seen)
}

// heartbeatInterval is the default of group.consumer.heartbeat.interval.ms.
const heartbeatInterval = 5 * time.Second

// rest measures heartbeats of groups at rest.
func (b *session) rest(ctx context.Context, s system, p *process, seen *beats) error {
	// Members come more often for one to two intervals, and then once more as usual.
	_ = sleepUntil(ctx, time.Now().Add(3*heartbeatInterval))
	before, err := bench.ProcessCPU(p.pid())
	if err != nil {
		return err
	}
	began := time.Now()
	seen.begin()
	_ = sleepUntil(ctx, began.Add(crowdMeasured))
	took := seen.end()
	seconds := time.Since(began).Seconds()
	after, err := bench.ProcessCPU(p.pid())
	if err != nil {
		return err
	}
	rss, _, err := bench.ProcessMemory(p.pid())
	if err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	used := after.UserSeconds + after.SystemSeconds - before.UserSeconds - before.SystemSeconds
	for _, f := range []figure{
		{beatsCPU, 100 * used / seconds},
		{beatsCPUEach, 1e6 * used / float64(max(len(took), 1))},
		{beatsRate, float64(len(took)) / seconds},
		{beatsP50, float64(quantile(took, 0.5).Microseconds())},
		{beatsP99, float64(quantile(took, 0.99).Microseconds())},
		{beatsMemory, float64(rss) / 1e6},
	} {
		b.figures.add(s.name(), f.name, f.value)
	}
	return nil
}
