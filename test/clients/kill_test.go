// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// killRounds is how often the node dies; KILLS in the environment
	// overrides it.
	killRounds     = 20
	killPartitions = 4
	// killBuffered bounds what is in flight, so that the node dies with many
	// small batches on their way rather than with a few big ones.
	killBuffered = 2000
	// killTimeout bounds one round: a start and some progress.
	killTimeout = time.Minute
)

// TestKilledNodeKeepsEveryAcknowledgedRecord writes without a pause with one
// idempotent producer, acks=all, while the node is killed with SIGKILL again
// and again and started on what it left. One consumer reads along through all
// of it. Nothing acknowledged may be missing, nothing may be there twice or
// out of order, and a consumer's position must stay valid.
func TestKilledNodeKeepsEveryAcknowledgedRecord(t *testing.T) {
	if os.Getenv("BOOTSTRAP") != "" {
		t.Skip("the broker at BOOTSTRAP is not this test's to kill")
	}
	rounds := killRounds
	if given := os.Getenv("KILLS"); given != "" {
		var err error
		if rounds, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds+1)*killTimeout)
	defer cancel()
	n := newNode(t.TempDir())
	if err := n.start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { n.kill() }()
	topic := topicName("kill")
	admin, err := newAdmin(n.address)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	// Small segments, so that some deaths fall into a roll.
	segmentBytes := "1048576"
	if _, err := admin.CreateTopic(ctx, killPartitions, 1, map[string]*string{"segment.bytes": &segmentBytes}, topic); err != nil {
		t.Fatal(err)
	}

	load := startLoad(ctx, t, n.address, topic)
	reader := startReader(ctx, t, n.address, topic)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		load.waitForProgress(ctx, t, 500+random.Int64N(20_000))
		n.kill()
		atDeath := load.acknowledged()
		if err := n.start(ctx); err != nil {
			t.Fatalf("start after kill %d: %v", round+1, err)
		}
		ends := logEnds(t, n.address, topic)
		for partition, count := range atDeath {
			if ends[int32(partition)] < count {
				t.Fatalf("kill %d: partition %d ends at %d, %d records were acknowledged", round+1, partition, ends[int32(partition)], count)
			}
		}
	}
	load.waitForProgress(ctx, t, 1000)
	sent := load.stop(ctx, t)
	reader.waitFor(ctx, t, sent)
	for partition, end := range logEnds(t, n.address, topic) {
		if end != sent[partition] {
			t.Errorf("partition %d ends at %d after %d records", partition, end, sent[partition])
		}
	}
	// A second reader sees what the disk holds, not what was caught in flight.
	startReader(ctx, t, n.address, topic).waitFor(ctx, t, sent)
	t.Logf("%d kills, records per partition %v", rounds, sent)
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

// load writes each partition's sequence 0, 1, 2, … until it is stopped.
type load struct {
	client *kgo.Client
	topic  string
	halt   chan struct{}
	ended  chan struct{}
	sent   [killPartitions]int64
	acked  [killPartitions]atomic.Int64
}

func startLoad(ctx context.Context, t *testing.T, bootstrap, topic string) *load {
	t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MaxBufferedRecords(killBuffered),
		kgo.ProducerBatchMaxBytes(16<<10),
		kgo.ProducerLinger(0),
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		// A dead node must cost time, never a record: no limit on retries.
		kgo.UnknownTopicRetries(-1),
		kgo.RecordRetries(math.MaxInt32),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	l := &load{client: client, topic: topic, halt: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		for sequence := int64(0); ; sequence++ {
			select {
			case <-l.halt:
				return
			case <-ctx.Done():
				return
			default:
			}
			for partition := range killPartitions {
				l.produce(ctx, t, partition, sequence)
			}
		}
	}()
	return l
}

func (l *load) produce(ctx context.Context, t *testing.T, partition int, sequence int64) {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 100), uint64(sequence))
	value = append(value, text[:10+sequence%80]...)
	l.sent[partition]++
	l.client.Produce(ctx, &kgo.Record{Topic: l.topic, Partition: int32(partition), Value: value}, func(r *kgo.Record, err error) {
		switch {
		case err != nil:
			if ctx.Err() == nil {
				t.Errorf("partition %d sequence %d: %v", partition, sequence, err)
			}
		case r.Offset != sequence:
			t.Errorf("partition %d: sequence %d was acknowledged at offset %d", partition, sequence, r.Offset)
		default:
			l.acked[partition].Add(1)
		}
	})
}

// acknowledged returns how many records of each partition are acknowledged.
// Promises come in order, so the count is also the next sequence.
func (l *load) acknowledged() (counts [killPartitions]int64) {
	for partition := range counts {
		counts[partition] = l.acked[partition].Load()
	}
	return counts
}

// waitForProgress waits until so many more records are acknowledged.
func (l *load) waitForProgress(ctx context.Context, t *testing.T, records int64) {
	t.Helper()
	total := func() (sum int64) {
		for _, count := range l.acknowledged() {
			sum += count
		}
		return sum
	}
	late := time.After(killTimeout)
	for until := total() + records; total() < until; {
		select {
		case <-late:
			t.Fatalf("no progress in %v: %v acknowledged", killTimeout, l.acknowledged())
		case <-ctx.Done():
			t.Fatalf("no progress: %v acknowledged: %v", l.acknowledged(), ctx.Err())
		case <-time.After(time.Millisecond):
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// stop ends the load, waits for all acknowledgements, and returns what was
// sent to each partition.
func (l *load) stop(ctx context.Context, t *testing.T) [killPartitions]int64 {
	t.Helper()
	close(l.halt)
	<-l.ended
	if err := l.client.Flush(ctx); err != nil {
		t.Fatalf("flush: %v, acknowledged %v of %v", err, l.acknowledged(), l.sent)
	}
	return l.sent
}

// reader consumes all partitions from the start and checks every record.
type reader struct {
	mu   sync.Mutex
	next [killPartitions]int64
}

func startReader(ctx context.Context, t *testing.T, bootstrap, topic string) *reader {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for partition := range int32(killPartitions) {
		from[partition] = kgo.NewOffset().At(0)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.MetadataMinAge(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r := &reader{}
	go func() {
		for ctx.Err() == nil && !t.Failed() {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			fetches.EachError(func(_ string, partition int32, err error) {
				t.Errorf("consume partition %d: %v", partition, err)
			})
			fetches.EachRecord(func(record *kgo.Record) {
				if err := r.take(record); err != nil {
					t.Error(err)
				}
			})
		}
	}()
	return r
}

func (r *reader) take(record *kgo.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	want := r.next[record.Partition]
	sequence := int64(binary.BigEndian.Uint64(record.Value))
	r.next[record.Partition] = record.Offset + 1
	if record.Offset != want || sequence != want {
		return fmt.Errorf("partition %d: offset %d holds sequence %d, expected both to be %d", record.Partition, record.Offset, sequence, want)
	}
	return nil
}

func (r *reader) waitFor(ctx context.Context, t *testing.T, ends [killPartitions]int64) {
	t.Helper()
	for {
		r.mu.Lock()
		next := r.next
		r.mu.Unlock()
		if next == ends {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("consumed up to %v of %v: %v", next, ends, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}
