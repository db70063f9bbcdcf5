// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// sampled is a histogram that several goroutines record to.
type sampled struct {
	mu    sync.Mutex
	inner *hdrhistogram.Histogram
}

func (s *sampled) record(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner = newHistogram()
	}
	record(s.inner, d.Microseconds())
}

func (s *sampled) histogram() *hdrhistogram.Histogram {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner = newHistogram()
	}
	return s.inner
}

// pace is the schedule of an open loop: the n-th record is due n/rate after
// the start, whatever became of those before it.
type pace struct {
	began time.Time
	every float64 // nanoseconds; 0 is no schedule
}

func newPace(began time.Time, rate float64) pace {
	if rate == 0 {
		return pace{}
	}
	return pace{began: began, every: float64(time.Second) / rate}
}

// wait returns when the n-th record is due, with its due time.
func (p pace) wait(ctx context.Context, n int) time.Time {
	if p.every == 0 {
		return time.Now()
	}
	due := p.began.Add(time.Duration(float64(n) * p.every))
	if wait := time.Until(due); wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return due
}

const (
	// latencyRate and latencyDuration are used when nothing is asked for.
	latencyRate     = 10_000
	latencyDuration = 10 * time.Second
	// latencyDrain bounds the wait for the last records.
	latencyDrain = 10 * time.Second
	// latencyStart leaves the consumer time to be at the log's end.
	latencyStart = 300 * time.Millisecond
)

// EndToEnd runs an open loop: one client writes at a steady rate without
// lingering, another reads along, both in this process and so on one clock.
// Latency is from the time that a record was due to the time that the reader
// had it; SendDelay is the part of it that the schedule's own writer cost.
func EndToEnd(ctx context.Context, o Options) (*Result, error) {
	if o.Duration == 0 {
		o.Duration = latencyDuration
	}
	setDefault(&o.Rate, latencyRate)
	o, t, err := o.aim(ctx, true)
	if err != nil {
		return nil, err
	}
	producer, err := kgo.NewClient(producerOptions(o, 0)...)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	from := map[int32]kgo.Offset{}
	for _, p := range t.partitions {
		from[p.index] = kgo.NewOffset().At(p.end)
	}
	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap), kgo.ClientID(clientID), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: from}),
		kgo.FetchMaxWait(fetchMaxWait),
	)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()

	loop := &openLoop{options: o, target: t, latency: newHistogram(), late: newHistogram()}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	var wait sync.WaitGroup
	wait.Go(func() { loop.consume(reading, consumer) })
	defer wait.Wait()
	defer stopReading()
	time.Sleep(latencyStart)

	before, err := readGauge(o.PID)
	if err != nil {
		return nil, err
	}
	loop.began = before.at
	loop.start.Store(true)
	sent := loop.produce(ctx, producer)
	if err := producer.Flush(ctx); err != nil {
		return nil, err
	}
	if err := loop.awaitAll(ctx, sent); err != nil {
		return nil, err
	}
	after, err := readGauge(o.PID)
	if err != nil {
		return nil, err
	}
	stopReading()
	wait.Wait()
	r := &Result{
		Name: "latency", Records: sent, Bytes: sent * int64(o.RecordBytes), RecordBytes: sent * int64(o.RecordBytes),
		Latency: summarize(loop.latency), SendDelay: summarize(loop.late),
	}
	r.addMemory(o.PID)
	return after.since(before, r).finish(), nil
}

type openLoop struct {
	options  Options
	target   *target
	began    time.Time   // written before start is set
	start    atomic.Bool // the consumer looks at nothing before
	failed   atomic.Pointer[error]
	received atomic.Int64
	latency  *hdrhistogram.Histogram // consumer's alone
	late     *hdrhistogram.Histogram // producer's alone
}

func (l *openLoop) produce(ctx context.Context, client *kgo.Client) int64 {
	o := l.options
	total := int(o.Rate * o.Duration.Seconds())
	pace := newPace(l.began, o.Rate)
	for i := range total {
		due := pace.wait(ctx, i)
		if ctx.Err() != nil || l.failed.Load() != nil {
			return int64(i)
		}
		record(l.late, time.Since(due).Microseconds())
		value := make([]byte, o.RecordBytes)
		binary.BigEndian.PutUint64(value, uint64(due.Sub(l.began)))
		client.Produce(ctx, &kgo.Record{Topic: o.Topic, Partition: l.target.partitions[i%len(l.target.partitions)].index, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				l.failed.CompareAndSwap(nil, &err)
			}
		})
	}
	return int64(total)
}

func (l *openLoop) consume(ctx context.Context, client *kgo.Client) {
	for {
		fetches := client.PollFetches(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return
		}
		for _, e := range fetches.Errors() {
			l.failed.CompareAndSwap(nil, &e.Err)
			return
		}
		if !l.start.Load() {
			continue
		}
		count := int64(0)
		fetches.EachRecord(func(r *kgo.Record) {
			due := time.Duration(binary.BigEndian.Uint64(r.Value))
			record(l.latency, (now.Sub(l.began) - due).Microseconds())
			count++
		})
		l.received.Add(count)
	}
}

var errMissing = errors.New("records did not arrive")

func (l *openLoop) awaitAll(ctx context.Context, sent int64) error {
	for deadline := time.Now().Add(latencyDrain); l.received.Load() < sent; {
		if err := l.failed.Load(); err != nil {
			return *err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d of %d after %v", errMissing, l.received.Load(), sent, latencyDrain)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
