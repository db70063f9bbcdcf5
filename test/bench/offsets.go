// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cmd/gregor/bench"
	"gregor/coordinator/shard"
)

const (
	classicP50   = "classic group of one member, no initial delay: join and sync p50, ms"
	classicP99   = "classic group of one member, no initial delay: join and sync p99, ms"
	classicFirst = "classic group of one member, no initial delay: the first of all, ms"

	loadReady  = "start with 1,000,000 commits of one coordinator: exec until it gives offsets, s"
	loadMemory = "start with 1,000,000 commits of one coordinator: resident memory, MB"
	loadCommit = "1,000,000 commits, 10 a request: commits/s"

	classicGroups = 200

	commitGroups     = 100  // of one coordinator
	commitPartitions = 1000 // in which each group commits
	commitsARequest  = 10
	commitRounds     = 10 // of all partitions: 1,000,000 commits
	commitLines      = 10
	commitWindow     = 16 // requests under way on a connection
	offsetPartitions = 50 // the default of offsets.topic.num.partitions
)

// classicJoins lets a consumer of the classic protocol join 200 groups, one
// after another, that nobody has joined before.
func (b *session) classicJoins(ctx context.Context, s system, dir string) error {
	p, err := startForGroups(ctx, s, dir, 1, map[string]string{"group.initial.rebalance.delay.ms": "0"})
	if err != nil {
		return err
	}
	defer p.stop()
	l, err := dialLine(ctx, p.address, "bench")
	if err != nil {
		return err
	}
	defer l.close()
	var took []time.Duration
	for i := range classicGroups {
		group := fmt.Sprintf("classic-%d", i)
		if err := findCoordinator(ctx, l, group); err != nil {
			return err
		}
		began := time.Now()
		if err := joinClassic(ctx, l, group); err != nil {
			return fmt.Errorf("group %s: %w", group, err)
		}
		took = append(took, time.Since(began))
	}
	b.figures.add(s.name(), classicFirst, milliseconds(took[0]))
	slices.Sort(took)
	b.figures.add(s.name(), classicP50, milliseconds(quantile(took, 0.5)))
	b.figures.add(s.name(), classicP99, milliseconds(quantile(took, 0.99)))
	return nil
}

// joinClassic is what a consumer does to become the one member of a group: it
// gets a member id, joins, and as leader hands out the assignment.
func joinClassic(ctx context.Context, l *line, group string) error {
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType = 9, group, "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 45_000, int32(rebalanceTimeout.Milliseconds())
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{groupTopic}
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	joined, err := ask[*kmsg.JoinGroupResponse](ctx, l, join)
	if err != nil {
		return err
	}
	if joined.ErrorCode != int16(kafka.MemberIDRequired) {
		return fmt.Errorf("join without a member id: %w", kerr.ErrorForCode(joined.ErrorCode))
	}
	join.MemberID = joined.MemberID
	if joined, err = ask[*kmsg.JoinGroupResponse](ctx, l, join); err != nil {
		return err
	}
	if err := kerr.ErrorForCode(joined.ErrorCode); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	assignment := kmsg.NewConsumerMemberAssignment()
	assignment.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: groupTopic, Partitions: []int32{0}}}
	protocol := "consumer"
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Version, sync.Group, sync.Generation, sync.MemberID = 5, group, joined.Generation, joined.MemberID
	sync.ProtocolType, sync.Protocol = &protocol, joined.Protocol
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: assignment.AppendTo(nil)}}
	synced, err := ask[*kmsg.SyncGroupResponse](ctx, l, sync)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(synced.ErrorCode); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	if len(synced.MemberAssignment) == 0 {
		return fmt.Errorf("sync: no assignment")
	}
	return nil
}

// commitLoad writes a million commits into one partition of __consumer_offsets
// and measures how long the coordinator takes to know them again.
func (b *session) commitLoad(ctx context.Context, s system, dir string) error {
	p, err := startForGroups(ctx, s, dir, commitPartitions, nil)
	if err != nil {
		return err
	}
	groups := groupsOfOneCoordinator(commitGroups)
	began := time.Now()
	if err := commitMany(ctx, p, groups); err != nil {
		p.stop()
		return err
	}
	commits := commitGroups * commitPartitions * commitRounds
	b.figures.add(s.name(), loadCommit, float64(commits)/time.Since(began).Seconds())
	p.stop()
	began = time.Now()
	if p, err = startSystem(ctx, s, dir); err != nil {
		return err
	}
	defer p.stop()
	l, err := dialLine(ctx, p.address, "bench")
	if err != nil {
		return err
	}
	defer l.close()
	if err := findCoordinator(ctx, l, groups[0]); err != nil {
		return err
	}
	b.figures.add(s.name(), loadReady, time.Since(began).Seconds())
	rss, _, err := bench.ProcessMemory(p.pid())
	if err != nil {
		return err
	}
	b.figures.add(s.name(), loadMemory, float64(rss)/1e6)
	return checkCommits(ctx, l, groups)
}

// groupsOfOneCoordinator makes names that all fall into partition 0.
func groupsOfOneCoordinator(count int) (groups []string) {
	for i := 0; len(groups) < count; i++ {
		if name := fmt.Sprintf("a-group-of-some-length-%d", i); shard.PartitionOf(name, offsetPartitions) == 0 {
			groups = append(groups, name)
		}
	}
	return groups
}

// offsetOf is what a group commits in a round.
func offsetOf(round, partition int) int64 { return int64(round*commitPartitions + partition) }

// commitMany commits over several connections; each group is one connection's.
func commitMany(ctx context.Context, p *process, groups []string) error {
	lines, err := dialLines(ctx, p.address, commitLines)
	if err != nil {
		return err
	}
	defer closeLines(lines)
	if err := findCoordinator(ctx, lines[0], groups[0]); err != nil {
		return err
	}
	failed := make(chan error, commitLines)
	for i, l := range lines {
		go func() { failed <- commitAll(ctx, l, groups[i*len(groups)/commitLines:(i+1)*len(groups)/commitLines]) }()
	}
	for range lines {
		if one := <-failed; one != nil {
			err = one
		}
	}
	return err
}

// commitAll keeps a window of commits under way.
func commitAll(ctx context.Context, l *line, groups []string) error {
	type commit struct {
		resp *kmsg.OffsetCommitResponse
		done <-chan error
	}
	var window []commit
	wait := func(until int) error {
		for len(window) > until {
			select {
			case err := <-window[0].done:
				if err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
			for _, q := range window[0].resp.Topics[0].Partitions {
				if err := kerr.ErrorForCode(q.ErrorCode); err != nil {
					return fmt.Errorf("commit: %w", err)
				}
			}
			window = window[1:]
		}
		return nil
	}
	for round := range commitRounds {
		for first := 0; first < commitPartitions; first += commitsARequest {
			for _, group := range groups {
				req := commitOf(group, round, first)
				resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
				window = append(window, commit{resp, l.begin(req, resp)})
				if err := wait(commitWindow - 1); err != nil {
					return err
				}
			}
		}
	}
	return wait(0)
}

func commitOf(group string, round, first int) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, group, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = groupTopic
	for partition := first; partition < first+commitsARequest; partition++ {
		q := kmsg.NewOffsetCommitRequestTopicPartition()
		q.Partition, q.Offset, q.LeaderEpoch = int32(partition), offsetOf(round, partition), 0
		topic.Partitions = append(topic.Partitions, q)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// fetchOf asks for offsets of a group in the topic. Kafka answers a request for
// none without looking whether the group is loaded.
func fetchOf(group string, partitions []int32) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 9
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{{Topic: groupTopic, Partitions: partitions}}
	req.Groups = append(req.Groups, g)
	return req
}

// checkCommits sees that every group's last commits are there.
func checkCommits(ctx context.Context, l *line, groups []string) error {
	all := make([]int32, commitPartitions)
	for i := range all {
		all[i] = int32(i)
	}
	var wrong []string
	for _, group := range groups {
		// Kafka's coordinator may load once more, when its broker is unfenced.
		if err := findCoordinator(ctx, l, group); err != nil {
			return err
		}
		resp, err := ask[*kmsg.OffsetFetchResponse](ctx, l, fetchOf(group, all))
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(resp.Groups[0].ErrorCode); err != nil {
			return fmt.Errorf("offsets of %s: %w", group, err)
		}
		for _, q := range resp.Groups[0].Topics[0].Partitions {
			if q.ErrorCode != 0 || q.Offset != offsetOf(commitRounds-1, int(q.Partition)) {
				wrong = append(wrong, fmt.Sprintf("%s of %s-%d: %d, error %d", group, groupTopic, q.Partition, q.Offset, q.ErrorCode))
			}
		}
	}
	if len(wrong) != 0 {
		return fmt.Errorf("%d offsets are wrong after the load: %s", len(wrong), strings.Join(wrong[:min(3, len(wrong))], "; "))
	}
	return nil
}
