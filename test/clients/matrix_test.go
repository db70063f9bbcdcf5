// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	matrixPartitions = 3
	// matrixRecords is what each client writes, over all its codecs and
	// partitions; RECORDS in the environment overrides it.
	matrixRecords = 100_000
	// matrixTimeout bounds one write or one read of one partition.
	matrixTimeout = 3 * time.Minute
)

// TestEveryClientReadsWhatEveryClientWrote has each client write each codec
// it has; then every client reads all of it, in order and equal to the byte,
// from offset 0, from the middle of a batch, and from a time.
func TestEveryClientReadsWhatEveryClientWrote(t *testing.T) {
	bootstrap := broker(t)
	records := matrixRecords
	if given := os.Getenv("RECORDS"); given != "" {
		var err error
		if records, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	for _, writer := range allClients() {
		for _, codec := range writer.codecs() {
			t.Run(writer.name()+"/"+codec, func(t *testing.T) {
				j := job{
					bootstrap: bootstrap, topic: topicName(writer.name(), codec), codec: codec, partitions: matrixPartitions,
					stored: storedCodec(t, bootstrap, writer, codec),
					count:  (records + len(writer.codecs())*matrixPartitions - 1) / (len(writer.codecs()) * matrixPartitions),
				}
				createTopic(t, bootstrap, j.topic, j.partitions, nil)
				within(t, matrixTimeout, func(ctx context.Context) error { return writer.produce(ctx, j) })
				for _, reader := range allClients() {
					t.Run("read-by-"+reader.name(), func(t *testing.T) {
						readAll(t, reader, j, reader.quirks())
						readFromTime(t, reader, j, reader.quirks())
					})
				}
			})
		}
	}
}

// readAll reads every partition of the job whole.
func readAll(t *testing.T, reader client, j job, q quirks) {
	t.Helper()
	for partition := range j.partitions {
		readRange(t, reader, j, q, partition, 0)
	}
}

// readFromTime looks a time up that lies between two records, expects the
// later one's offset, and reads on from there: the start of that read lies
// within a batch as a rule.
func readFromTime(t *testing.T, reader client, j job, q quirks) {
	t.Helper()
	partition, middle := j.partitions-1, int64(j.count)*2/3
	within(t, matrixTimeout, func(ctx context.Context) error {
		found, err := reader.offsetAt(ctx, j, partition, baseTimestampMs+2*middle-1)
		if err == nil && found != middle {
			err = fmt.Errorf("offset %d for the time of record %d", found, middle)
		}
		return err
	})
	readRange(t, reader, j, q, partition, middle)
}

func readRange(t *testing.T, reader client, j job, q quirks, partition int, from int64) {
	t.Helper()
	next := from
	within(t, matrixTimeout, func(ctx context.Context) error {
		return reader.consume(ctx, j, partition, from, int64(j.count), func(offset int64, got record) error {
			if offset != next {
				return fmt.Errorf("partition %d: offset %d after %d", partition, offset, next-1)
			}
			if d := difference(j.record(partition, int(offset)), got, q); d != "" {
				return fmt.Errorf("partition %d offset %d: %s", partition, offset, d)
			}
			next++
			return nil
		})
	})
	if next != int64(j.count) && !t.Failed() {
		t.Fatalf("partition %d: read up to %d of %d", partition, next, j.count)
	}
}

func within(t *testing.T, limit time.Duration, do func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := do(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestTopicsThroughEveryClient creates a topic with each library's own admin
// face, finds it empty, writes to it, deletes it and creates it again: the
// second topic of the name must not hold the first one's records.
func TestTopicsThroughEveryClient(t *testing.T) {
	bootstrap := broker(t)
	for _, c := range allClients() {
		t.Run(c.name(), func(t *testing.T) {
			j := job{bootstrap: bootstrap, topic: topicName("admin", c.name()), codec: codecNone, stored: codecNone, partitions: 2, count: 100}
			for range 2 {
				within(t, matrixTimeout, func(ctx context.Context) error { return c.createTopic(ctx, bootstrap, j.topic, j.partitions) })
				waitForTopic(t, bootstrap, j.topic, j.partitions)
				within(t, matrixTimeout, func(ctx context.Context) error { return c.produce(ctx, j) })
				readAll(t, c, j, c.quirks())
				if ends := logEnds(t, bootstrap, j.topic); ends[0] != 100 || ends[1] != 100 {
					t.Fatalf("log ends %v after 100 records in each", ends)
				}
				within(t, matrixTimeout, func(ctx context.Context) error { return c.deleteTopic(ctx, bootstrap, j.topic) })
				waitForTopic(t, bootstrap, j.topic, 0)
			}
		})
	}
}

// TestTopicsAreCreatedByUse writes to a topic that nobody created.
func TestTopicsAreCreatedByUse(t *testing.T) {
	bootstrap := broker(t)
	// franz-go asks for it only when told so; the others always do.
	for _, c := range []client{saramaClient{}, librdkafka{}} {
		t.Run(c.name(), func(t *testing.T) {
			j := job{bootstrap: bootstrap, topic: topicName("auto", c.name()), codec: codecNone, stored: codecNone, partitions: 1, count: 10}
			within(t, matrixTimeout, func(ctx context.Context) error { return c.produce(ctx, j) })
			readAll(t, franz{}, j, c.quirks())
			within(t, matrixTimeout, func(ctx context.Context) error { return c.deleteTopic(ctx, bootstrap, j.topic) })
		})
	}
}

// waitForTopic waits until the metadata shows the topic with that many
// partitions; none means until it is gone.
func waitForTopic(t *testing.T, bootstrap, topic string, partitions int) {
	t.Helper()
	admin, err := newAdmin(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for deadline := time.Now().Add(matrixTimeout); ; {
		listed, err := admin.ListTopics(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, partition := range listed[topic].Partitions {
			if partition.Err == nil && partition.Leader >= 0 {
				found++
			}
		}
		if found == partitions {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s has %d partitions with a leader, want %d", topic, found, partitions)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func logEnds(t *testing.T, bootstrap, topic string) map[int32]int64 {
	t.Helper()
	admin, err := newAdmin(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	listed, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if err := listed.Error(); err != nil {
		t.Fatal(err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends
}
