// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is twmb/franz-go: pure Go, the newest protocol versions, idempotent
// unless told otherwise.
type franz struct{}

func (franz) name() string { return "franz-go" }
func (franz) codecs() []string {
	return []string{codecNone, codecGzip, codecSnappy, codecLz4, codecZstd}
}
func (franz) quirks() quirks { return quirks{} }

func franzCodec(codec string) kgo.CompressionCodec {
	switch codec {
	case codecGzip:
		return kgo.GzipCompression()
	case codecSnappy:
		return kgo.SnappyCompression()
	case codecLz4:
		return kgo.Lz4Compression()
	case codecZstd:
		return kgo.ZstdCompression()
	default:
		return kgo.NoCompression()
	}
}

func (franz) produce(ctx context.Context, job job) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(job.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(franzCodec(job.codec)),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	failed := make(chan error, 1)
	err = job.each(func(partition, sequence int) error {
		client.Produce(ctx, franzRecord(job.topic, partition, job.record(partition, sequence)), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		return nil
	})
	if err := errors.Join(err, client.Flush(ctx)); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func franzRecord(topic string, partition int, r record) *kgo.Record {
	out := &kgo.Record{
		Topic: topic, Partition: int32(partition), Key: r.key, Value: r.value, Timestamp: time.UnixMilli(r.timestampMs),
	}
	for _, h := range r.headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.key, Value: h.value})
	}
	return out
}

func (franz) consume(ctx context.Context, job job, partition int, from, to int64, visit func(int64, record) error) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(job.bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			job.topic: {int32(partition): kgo.NewOffset().At(from)},
		}),
		// An offset that is gone is an error here, not a reason to jump.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	compressed := false
	for next := from; next < to; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return e.Err
		}
		for records := fetches.RecordIter(); !records.Done() && next < to; {
			r := records.Next()
			got := record{key: r.Key, value: r.Value, timestampMs: r.Timestamp.UnixMilli()}
			for _, h := range r.Headers {
				got.headers = append(got.headers, header{h.Key, h.Value})
			}
			if err := visit(r.Offset, got); err != nil {
				return err
			}
			compressed = compressed || r.Attrs.CompressionType() != 0
			next = r.Offset + 1
		}
	}
	// This client alone shows the batch's codec: what was written compressed
	// is stored compressed, and nothing else is.
	if want := job.stored != codecNone; compressed != want && from == 0 {
		return fmt.Errorf("compressed batches in the log: %t, expected codec %s", compressed, job.stored)
	}
	return nil
}

func (franz) offsetAt(ctx context.Context, job job, partition int, timestampMs int64) (int64, error) {
	admin, err := newAdmin(job.bootstrap)
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	listed, err := admin.ListOffsetsAfterMilli(ctx, timestampMs, job.topic)
	if err != nil {
		return 0, err
	}
	found, ok := listed.Lookup(job.topic, int32(partition))
	if !ok {
		return 0, fmt.Errorf("partition %d is missing in the answer", partition)
	}
	return found.Offset, found.Err
}

func (franz) createTopic(ctx context.Context, bootstrap, topic string, partitions int) error {
	return withAdmin(bootstrap, func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, int32(partitions), -1, nil, topic)
		return err
	})
}

func (franz) deleteTopic(ctx context.Context, bootstrap, topic string) error {
	return withAdmin(bootstrap, func(admin *kadm.Client) error {
		_, err := admin.DeleteTopic(ctx, topic)
		return err
	})
}

func withAdmin(bootstrap string, do func(*kadm.Client) error) error {
	admin, err := newAdmin(bootstrap)
	if err != nil {
		return err
	}
	defer admin.Close()
	return do(admin)
}
