// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// client is one Kafka client library, reduced to what the tests need of it.
type client interface {
	name() string
	// codecs it can write; it must read every codec there is.
	codecs() []string
	// quirks of what it gives back; whatever it writes must be written right.
	quirks() quirks
	// produce writes the records 0..count-1 of every partition and returns
	// when all are acknowledged by acks=all.
	produce(ctx context.Context, job job) error
	// consume reads one partition by assignment from one offset up to, and
	// not with, another.
	consume(ctx context.Context, job job, partition int, from, to int64, visit func(offset int64, r record) error) error
	// offsetAt asks for the offset of the first record at or after a time.
	offsetAt(ctx context.Context, job job, partition int, timestampMs int64) (int64, error)
	// createTopic and deleteTopic go through the library's own admin face.
	createTopic(ctx context.Context, bootstrap, topic string, partitions int) error
	deleteTopic(ctx context.Context, bootstrap, topic string) error
}

// job is one topic's worth of work.
type job struct {
	bootstrap, topic, codec string
	stored                  string // codec that the log will hold
	partitions, count       int    // count is per partition
}

func (j job) record(partition, sequence int) record { return makeRecord(j.topic, partition, sequence) }

// each calls do for every record of the job, partitions interleaved.
func (j job) each(do func(partition, sequence int) error) error {
	for sequence := range j.count {
		for partition := range j.partitions {
			if err := do(partition, sequence); err != nil {
				return err
			}
		}
	}
	return nil
}

// storedCodec is what a client's batches will be in the log. librdkafka tells a
// broker's age by its APIs and writes lz4 uncompressed, silently, to one that
// does not offer FindCoordinator.
func storedCodec(t *testing.T, bootstrap string, writer client, codec string) string {
	t.Helper()
	if writer.name() != (librdkafka{}).name() || codec != codecLz4 {
		return codec
	}
	admin, err := newAdmin(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	versions, err := admin.ApiVersions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, broker := range versions {
		if _, offered := broker.KeyMaxVersion(kmsg.FindCoordinator.Int16()); offered {
			return codec
		}
	}
	t.Log("librdkafka will not use lz4: the broker offers no FindCoordinator")
	return codecNone
}

func allClients() []client {
	return []client{franz{}, saramaClient{}, segmentio{}, librdkafka{}}
}

const (
	codecNone   = "none"
	codecGzip   = "gzip"
	codecSnappy = "snappy"
	codecLz4    = "lz4"
	codecZstd   = "zstd"
)

func newAdmin(bootstrap string) (*kadm.Client, error) {
	return kadm.NewOptClient(kgo.SeedBrokers(bootstrap))
}

// createTopic makes a topic for one test and removes it afterwards.
func createTopic(t *testing.T, bootstrap, topic string, partitions int, configs map[string]*string) {
	t.Helper()
	admin, err := newAdmin(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := admin.CreateTopic(ctx, int32(partitions), 1, configs, topic); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
	t.Cleanup(func() {
		defer admin.Close()
		// t.Context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := admin.DeleteTopic(ctx, topic); err != nil {
			t.Errorf("delete topic %s: %v", topic, err)
		}
	})
}

// topicName is unique, so that runs against a broker that stays can repeat.
func topicName(parts ...any) string {
	name := fmt.Sprintf("clients-%d", time.Now().UnixNano())
	for _, part := range parts {
		name += fmt.Sprintf("-%v", part)
	}
	return name
}
