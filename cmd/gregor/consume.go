// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeOptions are the flags of consume.
type consumeOptions struct {
	connection
	at         string
	count      int64
	format     string
	output     string
	partitions []int32
	follow     bool
}

func newConsumeCommand() *cobra.Command {
	o := &consumeOptions{}
	c := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Read records and write them to stdout",
		Long: `Reads what is there when the command begins, then ends; with --follow it goes on.

--at ` + spanHelp + `

-f is a layout of verbs: %t topic, %p partition, %o offset, %k key, %v value, %d timestamp, %h{%k=%v } headers,
%K and %V lengths, \n \t \xNN; more of them in the documentation of franz-go's RecordFormatter.`,
		Args: cobra.MinimumNArgs(1),
		Example: `  gregor consume orders
  gregor consume orders --at -10 -f '%p %o %k %v\n'
  gregor consume orders --at @-1h --follow -o jsonl`,
		RunE: func(c *cobra.Command, topics []string) error { return o.run(c, topics) },
	}
	o.flags(c)
	f := c.Flags()
	f.StringVar(&o.at, "at", "", "what to read (default start; with --follow, end)")
	f.Int64VarP(&o.count, "num", "n", 0, "end after this many records")
	f.StringVarP(&o.format, "format", "f", `%v\n`, "how to write a record")
	f.StringVarP(&o.output, "output", "o", "", "jsonl: one JSON object a record, instead of -f")
	f.Int32SliceVarP(&o.partitions, "partition", "p", nil, "partitions to read (default all)")
	f.BoolVar(&o.follow, "follow", false, "go on with what comes")
	return c
}

func (o *consumeOptions) run(c *cobra.Command, topics []string) error {
	at := o.at
	switch {
	case at == "" && o.follow:
		at = "end"
	case at == "":
		at = "start"
	}
	selected, err := parseSpan(at, time.Now())
	if err != nil {
		return usage("%w", err)
	}
	if o.follow && selected.to.kind != unspecified {
		return usage("--follow goes on for ever, and --at %s has an end; leave one out", at)
	}
	write, err := recordWriter(o.format, o.output)
	if err != nil {
		return usage("%w", err)
	}
	ctx, cancel := interruptible(c)
	defer cancel()
	client, err := o.dial(ctx, c, kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		return err
	}
	defer client.Close()
	plan, err := planOf(ctx, kadm.NewClient(client), topics, o.partitions, selected, o.follow)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(c.OutOrStdout(), 64<<10)
	err = o.read(ctx, client, plan, func(r *kgo.Record) error { return write(out, r) }, out.Flush)
	return errors.Join(err, out.Flush())
}

// read polls until every partition of the plan is done, or for ever when
// following. flush is called whenever there is nothing more to write at once.
func (o *consumeOptions) read(ctx context.Context, client *kgo.Client, p plan, write func(*kgo.Record) error, flush func() error) error {
	client.AddConsumePartitions(p.offsets())
	var written int64
	for o.follow || !p.done() {
		fetches, err := o.poll(ctx, client)
		if err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return topicError(e.Topic, fmt.Errorf("partition %d: %w", e.Partition, e.Err))
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if !p.take(r) {
				continue
			}
			if err := write(r); err != nil {
				return failed(fmt.Errorf("write a record: %w", err))
			}
			if written++; o.count > 0 && written == o.count {
				return nil
			}
		}
		if err := flush(); err != nil {
			return failed(fmt.Errorf("write records: %w", err))
		}
	}
	return nil
}

// poll waits for records. The client looks for a lost broker for ever, which
// is right for a follower; whoever waits for an end is told after a while.
func (o *consumeOptions) poll(ctx context.Context, client *kgo.Client) (kgo.Fetches, error) {
	waiting, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	fetches := client.PollFetches(waiting)
	if ctx.Err() != nil {
		return nil, failed(ctx.Err())
	}
	if waiting.Err() == nil || !fetches.Empty() {
		return fetches, nil
	}
	if o.follow {
		return nil, nil
	}
	again, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := client.Ping(again); err != nil {
		return nil, &failure{exitUnreachable, fmt.Errorf("the broker does not answer any more\n%w", cause(err)), []string{"gregor topic list"}}
	}
	return nil, nil
}

// plan holds the exact offsets to read of each partition.
type plan map[string]map[int32]*stretch

// stretch is what is left to read of one partition. Without an end, to is -1.
type stretch struct {
	next, to int64
}

func (p plan) offsets() map[string]map[int32]kgo.Offset {
	out := map[string]map[int32]kgo.Offset{}
	for topic, partitions := range p {
		for partition, s := range partitions {
			if s.to >= 0 && s.next >= s.to {
				continue
			}
			if out[topic] == nil {
				out[topic] = map[int32]kgo.Offset{}
			}
			out[topic][partition] = kgo.NewOffset().At(s.next)
		}
	}
	return out
}

func (p plan) done() bool {
	for _, partitions := range p {
		for _, s := range partitions {
			if s.to < 0 || s.next < s.to {
				return false
			}
		}
	}
	return true
}

// take moves past a record and reports whether it is to be written. Control
// records are read, or a partition that ends in one would never be done, and
// not written.
func (p plan) take(r *kgo.Record) bool {
	s := p[r.Topic][r.Partition]
	if s == nil || s.to >= 0 && r.Offset >= s.to {
		if s != nil {
			s.next = s.to
		}
		return false
	}
	s.next = r.Offset + 1
	return !r.Attrs.IsControl()
}

// planOf asks the brokers for the offsets behind a span.
func planOf(ctx context.Context, admin *kadm.Client, topics []string, partitions []int32, selected span, follow bool) (plan, error) {
	details, err := admin.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, failed(fmt.Errorf("look topics up: %w", err))
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
	q := spanQuery{ctx: ctx, admin: admin, topics: topics, lists: map[string]kadm.ListedOffsets{}}
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
	last, err := q.lookup("end", topic, partition, q.admin.ListEndOffsets)
	if err != nil {
		return nil, err
	}
	return &stretch{max(from, start), min(end, last)}, nil
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
	end, err := q.lookup("end", topic, partition, q.admin.ListEndOffsets)
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
