// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/cmd/gregor/fetch"
)

// plan holds the exact offsets to read of each partition.
type plan map[string]map[int32]*stretch

// stretch is what is left to read of one partition. Without an end, to is -1.
type stretch struct {
	next, to int64
}

// stretches lists the plan by topic and partition.
func (p plan) stretches() []fetch.Stretch {
	var list []fetch.Stretch
	for _, topic := range sortedKeys(p) {
		for _, partition := range sortedKeys(p[topic]) {
			s := p[topic][partition]
			list = append(list, fetch.Stretch{Topic: topic, Partition: partition, Next: s.next, To: s.to})
		}
	}
	return list
}

// planOf asks the brokers for the offsets behind a span.
func planOf(ctx context.Context, admin *kadm.Client, topics []string, partitions []int32, selected span, follow bool) (plan, error) {
	q := spanQuery{ctx: ctx, admin: admin, topics: topics, lists: map[string]kadm.ListedOffsets{}}
	return q.plan(partitions, selected, follow)
}

// plan resolves a span for the topics, or some partitions of them.
func (q *spanQuery) plan(partitions []int32, selected span, follow bool) (plan, error) {
	details, err := q.admin.ListTopicsWithInternal(q.ctx, q.topics...)
	if err != nil {
		return nil, failed(fmt.Errorf("look topics up: %w", err))
	}
	for _, topic := range q.topics {
		if !details.Has(topic) {
			return nil, topicError(topic, kerr.UnknownTopicOrPartition)
		}
	}
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return nil, topicError(t.Topic, t.Err)
		}
		for _, p := range partitions {
			if _, ok := t.Partitions[p]; !ok {
				return nil, failed(fmt.Errorf("topic %q has no partition %d", t.Topic, p), "gregor topic describe "+t.Topic)
			}
		}
	}
	p := plan{}
	for _, t := range details.Sorted() {
		p[t.Topic] = map[int32]*stretch{}
		for _, d := range t.Partitions.Sorted() {
			if len(partitions) > 0 && !slices.Contains(partitions, d.Partition) {
				continue
			}
			s, err := q.stretch(t.Topic, d.Partition, selected, follow)
			if err != nil {
				return nil, topicError(t.Topic, fmt.Errorf("partition %d: %w", d.Partition, err))
			}
			p[t.Topic][d.Partition] = s
		}
	}
	return p, nil
}

// spanQuery looks offsets up, each kind once for all partitions.
type spanQuery struct {
	ctx    context.Context
	admin  *kadm.Client
	topics []string
	lists  map[string]kadm.ListedOffsets
	// committed takes the last stable offset for the end.
	committed bool
}

// last is the end of a partition.
func (q *spanQuery) last(topic string, partition int32) (int64, error) {
	if q.committed {
		return q.lookup("end", topic, partition, q.admin.ListCommittedOffsets)
	}
	return q.lookup("end", topic, partition, q.admin.ListEndOffsets)
}

func (q *spanQuery) stretch(topic string, partition int32, selected span, follow bool) (*stretch, error) {
	from, err := q.resolve(topic, partition, selected.from)
	if err != nil {
		return nil, err
	}
	if follow {
		return &stretch{from, -1}, nil
	}
	to := selected.to
	if to.kind == unspecified {
		to = point{kind: atEnd}
	}
	end, err := q.resolve(topic, partition, to)
	if err != nil {
		return nil, err
	}
	// What was deleted before the log start is passed over, and what nobody
	// has written yet is not waited for.
	start, err := q.lookup("start", topic, partition, q.admin.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	last, err := q.last(topic, partition)
	if err != nil {
		return nil, err
	}
	return &stretch{max(from, start), min(end, last)}, nil
}

// within reports that at is an offset from which the partition can be read.
func (q *spanQuery) within(topic string, partition int32, at int64) (bool, error) {
	start, err := q.lookup("start", topic, partition, q.admin.ListStartOffsets)
	if err != nil {
		return false, err
	}
	// Offsets up to the high watermark, whatever is stable.
	end, err := q.lookup("high watermark", topic, partition, q.admin.ListEndOffsets)
	return start <= at && at <= end, err
}

func (q *spanQuery) resolve(topic string, partition int32, p point) (int64, error) {
	switch p.kind {
	case atOffset:
		return p.n, nil
	case atStart, afterStart:
		o, err := q.lookup("start", topic, partition, q.admin.ListStartOffsets)
		return o + p.n, err
	case atTime:
		ms := p.since.UnixMilli()
		return q.lookup(p.since.String(), topic, partition, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return q.admin.ListOffsetsAfterMilli(ctx, ms, topics...)
		})
	}
	end, err := q.last(topic, partition)
	if p.kind != beforeEnd || err != nil {
		return end, err
	}
	start, err := q.lookup("start", topic, partition, q.admin.ListStartOffsets)
	return max(start, end-p.n), err
}

func (q *spanQuery) lookup(kind, topic string, partition int32, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (int64, error) {
	listed, ok := q.lists[kind]
	if !ok {
		var err error
		if listed, err = list(q.ctx, q.topics...); err != nil {
			return 0, fmt.Errorf("list offsets: %w", err)
		}
		q.lists[kind] = listed
	}
	o, ok := listed.Lookup(topic, partition)
	if !ok {
		return 0, kerr.UnknownTopicOrPartition
	}
	return o.Offset, o.Err
}
