// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cmd/gregor/codec"
	"gregor/cmd/gregor/pace"
)

// sendOptions say how records travel.
type sendOptions struct {
	codec       string
	acks        string
	partitioner string
	batchBytes  int32
	linger      time.Duration
}

const (
	// deliveryTimeout is Kafka's delivery.timeout.ms: how long records may be
	// under way and none of them arrive. The client's own limit counts from a
	// record's timestamp, which may be years ago in a copy.
	deliveryTimeout = 2 * time.Minute
	// abandonAfter is how long records under way may take to come to an end
	// once the command is to stop.
	abandonAfter = 3 * time.Second
	// Enough records under way that reading and sending overlap.
	recordsUnderWay   = 1 << 16
	batchBytesDefault = 1_000_012
	lingerDefault     = 5 * time.Millisecond
)

var (
	acksNames        = []string{"all", "leader", "none"}
	partitionerNames = []string{"murmur2", "crc32", "fnv1a", "roundrobin", "nokeys"}
)

func (o *sendOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.codec, "compression", "z", "none", strings.Join(codec.Names(), ", "))
	f.StringVar(&o.acks, "acks", "all", "who must have a record before it counts: all (-1), leader (1), none (0)")
	f.StringVar(&o.partitioner, "partitioner", "murmur2", "how keys choose partitions: murmur2 (Kafka), crc32 (librdkafka), fnv1a (Sarama), roundrobin, nokeys (spread all)")
	f.Int32Var(&o.batchBytes, "batch-bytes", batchBytesDefault, "most bytes of a batch")
	f.DurationVar(&o.linger, "linger", lingerDefault, "how long a batch that is not full waits for more records")
	_ = c.RegisterFlagCompletionFunc("compression", cobra.FixedCompletions(codec.Names(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("acks", cobra.FixedCompletions(acksNames, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("partitioner", cobra.FixedCompletions(partitionerNames, cobra.ShellCompDirectiveNoFileComp))
}

// clientOptions turns the flags into options of the client.
func (o *sendOptions) clientOptions() ([]kgo.Opt, error) {
	chosen, ok := codec.Of(o.codec)
	if !ok {
		return nil, usage("-z %s: allowed are %s", o.codec, strings.Join(codec.Names(), ", "))
	}
	choice, err := partitionerOf(o.partitioner)
	if err != nil {
		return nil, err
	}
	if o.batchBytes < 1<<10 {
		return nil, usage("--batch-bytes %d: 1024 or more", o.batchBytes)
	}
	if o.linger < 0 || o.linger > time.Minute {
		return nil, usage("--linger %v: between 0 and 1m", o.linger)
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(chosen), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(4),
		kgo.RecordPartitioner(given{choice}), kgo.MaxBufferedRecords(recordsUnderWay),
		kgo.ProducerBatchMaxBytes(o.batchBytes), kgo.ProducerLinger(o.linger),
		kgo.BrokerMaxWriteBytes(max(100<<20, 2*o.batchBytes))}
	switch o.acks {
	case "all", "-1":
	case "leader", "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "none", "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usage("--acks %s: allowed are %s", o.acks, strings.Join(acksNames, ", "))
	}
	return opts, nil
}

func partitionerOf(name string) (kgo.Partitioner, error) {
	switch name {
	case "murmur2":
		return kgo.StickyKeyPartitioner(nil), nil
	case "crc32":
		return kgo.StickyKeyPartitioner(func(key []byte, n int) int { return int(crc32.ChecksumIEEE(key) % uint32(n)) }), nil
	case "fnv1a":
		return kgo.StickyKeyPartitioner(kgo.SaramaCompatHasher(func(key []byte) uint32 {
			h := fnv.New32a()
			_, _ = h.Write(key)
			return h.Sum32()
		})), nil
	case "roundrobin":
		return kgo.RoundRobinPartitioner(), nil
	case "nokeys":
		return kgo.StickyPartitioner(), nil
	}
	return nil, usage("--partitioner %s: allowed are %s", name, strings.Join(partitionerNames, ", "))
}

// given is a partitioner for records that may name their partition.
type given struct{ otherwise kgo.Partitioner }

func (g given) ForTopic(topic string) kgo.TopicPartitioner {
	inner := g.otherwise.ForTopic(topic)
	if sticky, ok := inner.(kgo.TopicPartitionerOnNewBatch); ok {
		return stickyTopic{givenTopic{inner}, sticky}
	}
	return givenTopic{inner}
}

type givenTopic struct{ kgo.TopicPartitioner }

func (g givenTopic) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || g.TopicPartitioner.RequiresConsistency(r)
}

func (g givenTopic) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return g.TopicPartitioner.Partition(r, n)
}

// stickyTopic moves on with every batch.
type stickyTopic struct {
	givenTopic
	kgo.TopicPartitionerOnNewBatch
}

// sender takes records from its input at its pace, and knows what became of
// them.
type sender struct {
	client *kgo.Client
	in     *input
	plan   pace.Plan
	paced  bool
	limit  int64

	done struct {
		sync.Mutex
		written, bytes int64
		sent, ended    int64
		topics         map[string]bool
		first          *deliveryError
	}
}

// deliveryError is a record that was not written.
type deliveryError struct {
	n         int64
	topic     string
	partition int32 // that the record named, or -1
	size      int
	err       error
}

func (e *deliveryError) Error() string { return fmt.Sprintf("record %d: %v", e.n, e.err) }
func (e *deliveryError) Unwrap() error { return e.err }

func (e *deliveryError) explain(topic string) error {
	if errors.Is(e.err, kerr.MessageTooLarge) || errors.Is(e.err, kerr.RecordListTooLarge) {
		return failed(fmt.Errorf("topic %q: record %d has %d bytes of key and value, which is more than --batch-bytes or the topic's max.message.bytes", topic, e.n, e.size),
			"gregor config get max.message.bytes --topic "+topic, "gregor topic alter "+topic+" --set max.message.bytes=N")
	}
	if e.partition >= 0 && strings.Contains(e.err.Error(), "partitioning choice") {
		return failed(fmt.Errorf("record %d: topic %q has no partition %d", e.n, topic, e.partition),
			"gregor topic describe "+topic, "gregor topic alter "+topic+" --partitions N")
	}
	return topicError(topic, e)
}

// each calls f for one record after the other, numbered from 1.
func (s *sender) each(ctx context.Context, f func(n int64, r *kgo.Record)) error {
	for n := int64(1); (s.limit == 0 || n <= s.limit) && ctx.Err() == nil; n++ {
		// What is made bears the time at which it is due; what is read is
		// read first, so that the end is known at once.
		if s.paced && s.in.made && !s.wait(ctx) {
			break
		}
		r := new(kgo.Record)
		err := s.in.next(ctx, r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil {
			return inputError(n, s.in.where(), err)
		}
		if s.paced && !s.in.made && !s.wait(ctx) {
			break
		}
		f(n, r)
	}
	return context.Cause(ctx)
}

func (s *sender) wait(ctx context.Context) bool {
	d := s.plan.Next(time.Now())
	if d == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func inputError(n int64, where string, err error) error {
	if where != "" {
		where = " (" + where + ")"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the input ends inside of it")
	}
	return failed(fmt.Errorf("record %d%s: %w", n, where, err))
}

// run sends until the input ends, waits for all of it, and stops at the first
// record that is not written.
func (s *sender) run(parent context.Context) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	s.done.topics = map[string]bool{}
	go s.watch(ctx, stop)
	err := s.each(ctx, func(n int64, r *kgo.Record) { s.send(ctx, stop, n, r) })
	flushing, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	context.AfterFunc(ctx, func() { time.AfterFunc(abandonAfter, abandon) })
	flushed := s.client.Flush(flushing)
	s.done.Lock()
	defer s.done.Unlock()
	switch {
	case parent.Err() != nil:
		return parent.Err()
	case s.done.first != nil:
		return s.done.first
	case err != nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return flushed
}

func (s *sender) send(ctx context.Context, stop context.CancelCauseFunc, n int64, r *kgo.Record) {
	wanted := r.Partition
	s.done.Lock()
	s.done.sent++
	s.done.Unlock()
	s.client.Produce(ctx, r, func(r *kgo.Record, err error) {
		s.done.Lock()
		defer s.done.Unlock()
		s.done.ended++
		switch {
		case err == nil:
			s.done.written++
			s.done.bytes += int64(len(r.Key) + len(r.Value))
			if !s.done.topics[r.Topic] {
				s.done.topics[r.Topic] = true
			}
		case s.done.first == nil && ctx.Err() == nil:
			s.done.first = &deliveryError{n, r.Topic, wanted, len(r.Key) + len(r.Value), err}
			stop(err)
		}
	})
}

// awaitTopic has the broker make a topic that is not there, and waits for its
// leaders. The client does that too, but looks again only after 250 ms.
func awaitTopic(ctx context.Context, client *kgo.Client, topic string) {
	ctx, cancel := context.WithTimeout(ctx, topicWait)
	defer cancel()
	for ctx.Err() == nil {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = true
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = &topic
		req.Topics = append(req.Topics, asked)
		answer, err := req.RequestWith(ctx, client)
		if err != nil || len(answer.Topics) != 1 || !startsSoon(&answer.Topics[0]) {
			return // there, or for the client to report
		}
		select {
		case <-ctx.Done():
		case <-time.After(topicWait / 100):
		}
	}
}

const topicWait = time.Second

// startsSoon reports whether a topic is being made.
func startsSoon(t *kmsg.MetadataResponseTopic) bool {
	if code := kerr.ErrorForCode(t.ErrorCode); code != nil {
		return errors.Is(code, kerr.UnknownTopicOrPartition) || errors.Is(code, kerr.LeaderNotAvailable)
	}
	return slices.ContainsFunc(t.Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
		return errors.Is(kerr.ErrorForCode(p.ErrorCode), kerr.LeaderNotAvailable)
	})
}

// watch ends the command when records are under way and none arrives.
func (s *sender) watch(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen, since := int64(-1), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.done.Lock()
			sent, ended, written := s.done.sent, s.done.ended, s.done.written
			s.done.Unlock()
			if sent == ended || ended != seen {
				seen, since = ended, now
			} else if now.Sub(since) > deliveryTimeout {
				stop(&failure{exitUnreachable, fmt.Errorf("the broker has acknowledged nothing for %v, after %d records", deliveryTimeout, written), []string{"gregor topic list"}})
				return
			}
		}
	}
}
