// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// loadTimeout is for what takes seconds: only what is wrong needs so long.
const loadTimeout = 4 * time.Minute

// content is what a test expects a cluster to hold: for each topic, how many
// records of makeRecord each partition has.
type content map[string]topicContent

type topicContent struct {
	partitions int
	count      int // of each partition
	configs    map[string]*string
	codec      kgo.CompressionCodec
}

func value(s string) *string { return &s }

// variety makes every kind of file there is to make: several segments with
// index entries, every codec, a partition without a record.
func variety(count int) content {
	return content{
		"plain":  {partitions: 3, count: count, codec: kgo.NoCompression(), configs: map[string]*string{"segment.bytes": value("1048576"), "index.interval.bytes": value("2048")}},
		"gzip":   {partitions: 1, count: count, codec: kgo.GzipCompression()},
		"snappy": {partitions: 1, count: count, codec: kgo.SnappyCompression()},
		"lz4":    {partitions: 1, count: count, codec: kgo.Lz4Compression(), configs: map[string]*string{"segment.bytes": value("1048576")}},
		"zstd":   {partitions: 1, count: count, codec: kgo.ZstdCompression(), configs: map[string]*string{"message.timestamp.type": value("LogAppendTime")}},
		"empty":  {partitions: 2, count: 0, codec: kgo.NoCompression()},
	}
}

// makeRecord is a function of its place.
func makeRecord(topic string, partition, sequence int) *kgo.Record {
	r := &kgo.Record{
		Topic: topic, Partition: int32(partition), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(sequence)),
		Value: bytes.Repeat(fmt.Appendf(nil, "%s/%d/%d ", topic, partition, sequence), 1+sequence%20),
	}
	if sequence%7 != 0 {
		r.Key = fmt.Appendf(nil, "key-%d", sequence)
	}
	for i := range sequence % 3 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: fmt.Sprint("h", i), Value: []byte(topic)})
	}
	return r
}

// create makes the topics.
func (c content) create(t *testing.T, address string) {
	t.Helper()
	admin := newAdmin(t, address)
	for topic, tc := range c {
		createTopic(t.Context(), t, admin, topic, tc.partitions, tc.configs)
	}
}

// createTopic makes a topic and waits until it is served: Kafka's broker learns of
// it, and that a former one of its name is gone, behind the controller's answer.
func createTopic(ctx context.Context, t *testing.T, admin *kadm.Client, topic string, partitions int, configs map[string]*string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	made, err := admin.CreateTopic(ctx, int32(partitions), 1, configs, topic)
	if err != nil || made.Err != nil {
		t.Fatalf("create topic %s: %v %v", topic, err, made.Err)
	}
	for {
		metadata, err := admin.Metadata(ctx, topic)
		if now := metadata.Topics[topic]; err == nil && now.Err == nil && now.ID == made.ID && len(now.Partitions) == partitions {
			ends, err := admin.ListEndOffsets(ctx, topic)
			if err == nil && ends.Error() == nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("topic %s was created and is not there: %+v %v", topic, metadata.Topics, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func newAdmin(t *testing.T, address string) *kadm.Client {
	t.Helper()
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	return admin
}

// write appends the records from..count-1 to every partition.
func (c content) write(t *testing.T, address string, from int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	for topic, tc := range c {
		client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(tc.codec), kgo.ProducerBatchMaxBytes(32<<10))
		if err != nil {
			t.Fatal(err)
		}
		var batch []*kgo.Record
		for sequence := from; sequence < tc.count; sequence++ {
			for partition := range tc.partitions {
				batch = append(batch, makeRecord(topic, partition, sequence))
			}
		}
		err = client.ProduceSync(ctx, batch...).FirstErr()
		client.Close()
		if err != nil {
			t.Fatalf("write to %s: %v", topic, err)
		}
	}
}

// verify reads everything and holds it against what was written, offset by
// offset.
func (c content) verify(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	from, left := map[string]map[int32]kgo.Offset{}, 0
	var topics []string
	for topic, tc := range c {
		topics = append(topics, topic)
		from[topic] = map[int32]kgo.Offset{}
		for partition := range tc.partitions {
			from[topic][int32(partition)] = kgo.NewOffset().At(0)
			left += tc.count
		}
	}
	ends, err := newAdmin(t, address).ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if want := int64(c[o.Topic].count); o.Offset != want {
			t.Fatalf("%s-%d ends at %d instead of %d", o.Topic, o.Partition, o.Offset, want)
		}
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	next := map[string]int64{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatalf("read %s-%d: %v (%d records are missing)", e.Topic, e.Partition, e.Err, left)
		}
		fetches.EachRecord(func(got *kgo.Record) {
			place := fmt.Sprint(got.Topic, "-", got.Partition)
			if got.Offset != next[place] {
				t.Fatalf("%s: offset %d after %d", place, got.Offset, next[place]-1)
			}
			next[place]++
			left--
			want := makeRecord(got.Topic, int(got.Partition), int(got.Offset))
			if !bytes.Equal(want.Key, got.Key) || !bytes.Equal(want.Value, got.Value) || fmt.Sprint(want.Headers) != fmt.Sprint(got.Headers) {
				t.Fatalf("%s: offset %d holds another record", place, got.Offset)
			}
			if appendTime := got.Topic == "zstd"; !appendTime && !got.Timestamp.Equal(want.Timestamp) {
				t.Fatalf("%s: offset %d has time %v instead of %v", place, got.Offset, got.Timestamp, want.Timestamp)
			}
		})
	}
}

// grow is the same content with more records.
func (c content) grow(count int) content {
	grown := content{}
	for topic, tc := range c {
		if tc.count > 0 {
			tc.count = count
		}
		grown[topic] = tc
	}
	return grown
}
