// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/codec"
)

// clientAcks is client mode's default: what applications use.
func clientAcks(acks int16) kgo.Opt {
	if acks == 1 {
		return kgo.RequiredAcks(kgo.LeaderAck())
	}
	return kgo.RequiredAcks(kgo.AllISRAcks())
}

// producerOptions build whole producers. Idempotence goes with acks=all.
func producerOptions(o Options, linger time.Duration) []kgo.Opt {
	chosen, _ := codec.Of(o.Codec) // prepare has looked
	options := []kgo.Opt{
		kgo.SeedBrokers(o.Bootstrap), kgo.ClientID(clientID), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		clientAcks(o.Acks), kgo.ProducerBatchCompression(chosen), kgo.ProducerLinger(linger),
		kgo.ProducerBatchMaxBytes(int32(max(o.BatchBytes, o.RecordBytes+1024))), kgo.MaxBufferedRecords(1 << 20), kgo.MaxBufferedBytes(64 << 20),
	}
	if o.Acks == 1 {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	return options
}

// ProduceClient writes with whole clients, one for each connection asked for.
// Latency is that of a record from Produce to its promise.
func ProduceClient(ctx context.Context, o Options) (*Result, error) {
	o, t, err := o.aim(ctx, true)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(ctx)
	if o.Duration > 0 {
		run, stop = context.WithTimeout(ctx, o.Duration)
	}
	defer stop()
	clients := make([]*kgo.Client, o.Connections)
	for i := range clients {
		if clients[i], err = kgo.NewClient(producerOptions(o, 5*time.Millisecond)...); err != nil {
			return nil, err
		}
		defer clients[i].Close()
	}
	before, err := readGauge(o.PID)
	if err != nil {
		return nil, err
	}
	p := &clientProduce{options: o, target: t, began: before.at, latency: make([]sampled, o.Connections)}
	errs := make([]error, o.Connections)
	var wait sync.WaitGroup
	for i, client := range clients {
		wait.Go(func() {
			p.write(run, client, i)
			if err := client.Flush(ctx); err != nil {
				errs[i] = err
			}
		})
	}
	wait.Wait()
	after, err := readGauge(o.PID)
	if err := errors.Join(errors.Join(errs...), p.failure(), err); err != nil {
		return nil, err
	}
	histogram := newHistogram()
	for i := range p.latency {
		histogram.Merge(p.latency[i].histogram())
	}
	bytes := p.acknowledged.Load() * int64(o.RecordBytes)
	r := &Result{Name: "produce client", Records: p.acknowledged.Load(), Bytes: bytes, RecordBytes: bytes, Latency: summarize(histogram)}
	r.addMemory(o.PID)
	return after.since(before, r).finish(), nil
}

type clientProduce struct {
	options      Options
	target       *target
	began        time.Time
	sent         atomic.Int64
	acknowledged atomic.Int64
	failed       atomic.Pointer[error]
	latency      []sampled
}

func (p *clientProduce) failure() error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *clientProduce) write(ctx context.Context, client *kgo.Client, nth int) {
	o := p.options
	value := make([]byte, o.RecordBytes)
	payload(value, uint64(nth))
	pace := newPace(p.began, o.Rate/float64(o.Connections))
	for i := 0; ctx.Err() == nil && p.failed.Load() == nil; i++ {
		if n := p.sent.Add(1); o.Records > 0 && n > o.Records {
			return
		}
		intended := pace.wait(ctx, i)
		if ctx.Err() != nil {
			return
		}
		// Runs of one partition fill batches as a sticky partitioner would.
		at := (i/1024 + nth) % len(p.target.partitions)
		client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: o.Topic, Partition: p.target.partitions[at].index, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				p.failed.CompareAndSwap(nil, &err)
				return
			}
			p.acknowledged.Add(1)
			p.latency[nth].record(time.Since(intended))
		})
	}
}

// ConsumeClient reads the topic from its start to the end it had when the run
// began, with whole clients that share the partitions.
func ConsumeClient(ctx context.Context, o Options) (*Result, error) {
	o, t, err := o.aim(ctx, false)
	if err != nil {
		return nil, err
	}
	if o.Duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, o.Duration)
		defer stop()
	}
	shares := make([][]partition, min(o.Connections, len(t.partitions)))
	for i, p := range t.partitions {
		shares[i%len(shares)] = append(shares[i%len(shares)], p)
	}
	before, err := readGauge(o.PID)
	if err != nil {
		return nil, err
	}
	errs, counts := make([]error, len(shares)), make([]consumed, len(shares))
	var wait sync.WaitGroup
	for i, share := range shares {
		wait.Go(func() { counts[i], errs[i] = consumeShare(ctx, o, share) })
	}
	wait.Wait()
	after, err := readGauge(o.PID)
	if err := errors.Join(errors.Join(errs...), err); err != nil {
		return nil, err
	}
	r := &Result{Name: "consume client"}
	for _, c := range counts {
		r.Records += c.records
		r.Bytes += c.bytes
	}
	r.RecordBytes = r.Bytes
	r.addMemory(o.PID)
	return after.since(before, r).finish(), nil
}

type consumed struct{ records, bytes int64 }

func consumeShare(ctx context.Context, o Options, share []partition) (c consumed, err error) {
	from, open := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, p := range share {
		if p.end > p.start {
			from[p.index], open[p.index] = kgo.NewOffset().At(p.start), p.end
		}
	}
	if len(open) == 0 {
		return c, nil
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap), kgo.ClientID(clientID),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxPartitionBytes(int32(o.FetchBytes)),
	)
	if err != nil {
		return c, err
	}
	defer client.Close()
	for len(open) > 0 && (o.Duration == 0 || ctx.Err() == nil) {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if o.Duration > 0 && ctx.Err() != nil {
				return c, nil
			}
			return c, fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				c.records++
				c.bytes += int64(len(r.Key) + len(r.Value))
			}
			if n := len(p.Records); n > 0 && p.Records[n-1].Offset+1 >= open[p.Partition] {
				delete(open, p.Partition)
			}
		})
	}
	return c, nil
}
