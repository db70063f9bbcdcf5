// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"gregor/test/interop/kafka"
	"gregor/wire/batch"
)

const (
	txnTopic      = "transactions"
	txnPartitions = 2
)

// transactionSettings are those of a Kafka that is alone, and coordinates.
var transactionSettings = []string{"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
	"transaction.state.log.num.partitions=1", "offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1"}

// TestTransactionsOfKafka has Apache Kafka write transactions of both versions,
// interleaved, over several segments, some of them open in the end, and stops or
// kills it. gregor then gives every reader what Kafka gave: at every offset, with
// every isolation, bounded in bytes or not; it ends a transaction that hangs;
// and Kafka goes on with what gregor left.
func TestTransactionsOfKafka(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "killed"}[kill], func(t *testing.T) {
			t.Parallel()
			end := func(n *kafka.Node) {
				if kill {
					n.Kill()
				} else {
					n.Stop(t)
				}
			}
			dir := filepath.Join(t.TempDir(), "data")
			n := kafka.StartApache(t, dir, kafka.Options{Settings: transactionSettings})
			writeTransactions(t, n, 60, true)
			first := ask(t, n)
			if len(first.aborted) < 10 {
				t.Fatalf("only %d answers tell of aborted transactions", len(first.aborted))
			}
			t.Logf("%d fetches, %d tell of aborted transactions", len(first.fetches), len(first.aborted))
			end(n)
			files := transactionIndexes(t, dir)

			n = startGregor(t, dir)
			compareAnswers(t, "Kafka's", first, "gregor's", ask(t, n))
			open := openTransactions(t, n)
			if len(open[0]) == 0 || len(open[1]) == 0 {
				t.Fatalf("open transactions %v", open)
			}
			said := tool(t, "", "TransactionsCommand", "--bootstrap-server", n.Address, "abort",
				"--topic", txnTopic, "--partition", "0", "--start-offset", fmt.Sprint(open[0][0]))
			if left := openTransactions(t, n); slices.Contains(left[0], open[0][0]) || !slices.Equal(left[1], open[1]) {
				t.Errorf("open %v, then %v: %s", open, left, said)
			}
			second := ask(t, n)
			end(n)
			for name, now := range transactionIndexes(t, dir) {
				if !strings.HasPrefix(now, files[name]) { // the last one has another entry
					t.Errorf("%s is not as Kafka wrote it", name)
				}
			}
			logs, err := filepath.Glob(filepath.Join(dir, txnTopic+"-*", "*.log"))
			if err != nil || len(logs) < 6 {
				t.Fatalf("%d segments, %v", len(logs), err)
			}
			reportComplaints(t, dump(t, logs, []string{"--print-data-log"}))
			for _, kind := range []string{"*.txnindex", "*.snapshot"} {
				list, err := filepath.Glob(filepath.Join(dir, txnTopic+"-*", kind))
				if err != nil || len(list) < 3 {
					t.Fatalf("%d files %s, %v", len(list), kind, err)
				}
				reportComplaints(t, dump(t, list, nil))
			}

			n = kafka.StartApache(t, dir, kafka.Options{Settings: transactionSettings})
			compareAnswers(t, "Kafka's", ask(t, n), "gregor's", second)
			writeTransactions(t, n, 20, false)
			third := ask(t, n)
			end(n)
			n = startGregor(t, dir)
			compareAnswers(t, "Kafka's", third, "gregor's", ask(t, n))
			n.Stop(t)
		})
	}
}

// writeTransactions lets four producers, two of each version of transactions,
// and one that is in none, take turns.
func writeTransactions(t *testing.T, n *kafka.Node, turns int, create bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	if create {
		segments := map[string]*string{"segment.ms": kadm.StringPtr("60000"), "index.interval.bytes": kadm.StringPtr("100")}
		createTopic(ctx, t, newAdmin(t, n.Address), txnTopic, txnPartitions, segments)
	}
	var clients []*kgo.Client
	for i := range 5 {
		opts := []kgo.Opt{kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(txnTopic)}
		if i > 0 {
			opts = append(opts, kgo.TransactionalID(fmt.Sprint("id-", i)), kgo.TransactionTimeout(15*time.Minute))
		}
		if i > 2 {
			opts = append(opts, kgo.MaxVersions(kversion.V3_6_0()))
		}
		c, err := kgo.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	now, open := time.Now(), make([]bool, len(clients))
	var in [txnPartitions]map[int]bool // whose open transactions are there
	for p := range in {
		in[p] = map[int]bool{}
	}
	for turn := range turns {
		i := (turn*7 + turn/5*3) % len(clients)
		c := clients[i]
		if i > 0 && !open[i] {
			if err := c.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			open[i] = true
		}
		for r := range 1 + turn%3 {
			record := &kgo.Record{Partition: int32((turn + r) % txnPartitions), Value: fmt.Appendf(nil, "turn %d record %d of %d %s", turn, r, i, strings.Repeat("x", turn)),
				Timestamp: now.Add(time.Duration(turn) * 10 * time.Second)} // so that segments roll
			if err := c.ProduceSync(ctx, record).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				in[record.Partition][i] = true
			}
		}
		// The last two stay open.
		if i > 0 && turn < turns-8 && turn%7 != 1 {
			if err := c.EndTransaction(ctx, kgo.TransactionEndTry(turn/2%2 == 0)); err != nil {
				t.Fatal(err)
			}
			open[i] = false
			for p := range in {
				delete(in[p], i)
			}
		}
	}
	// Kafka writes the markers behind its answer to the end of a transaction.
	for {
		now := openTransactions(t, n)
		if len(now[0]) == len(in[0]) && len(now[1]) == len(in[1]) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("open transactions %v, expected %v", now, in)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// answers are what a broker says of the topic.
type answers struct {
	fetches map[string]fetchAnswer
	offsets map[string]string
	aborted []string // fetches that tell of aborted transactions
}

type fetchAnswer struct {
	Code          int16
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	HasAborted    bool
	Aborted       []string
	First         map[string]int64 // of Aborted
	Batches       []string
	Next          int64
}

// ask fetches from every offset, in all ways, and asks for offsets and producers.
func ask(t *testing.T, n *kafka.Node) answers {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	metadata, err := kadm.NewClient(c).Metadata(ctx, txnTopic)
	if err != nil {
		t.Fatal(err)
	}
	a := answers{fetches: map[string]fetchAnswer{}, offsets: map[string]string{}}
	for p := range int32(txnPartitions) {
		for isolation := range int8(2) {
			end := int64(0)
			for offset := int64(0); offset <= end+1; offset++ {
				for _, bytesMax := range []int32{1, 400, 2000, 1 << 20} {
					got := fetchOne(t, ctx, c, metadata.Topics[txnTopic].ID, p, isolation, offset, bytesMax)
					name := fmt.Sprintf("partition %d isolation %d offset %d bytes %d", p, isolation, offset, bytesMax)
					a.fetches[name] = got
					end = max(end, got.HighWatermark)
					if len(got.Aborted) > 0 {
						a.aborted = append(a.aborted, name)
					}
				}
			}
			for _, timestamp := range []int64{-1, -2, -3, 0, time.Now().UnixMilli() + 3600_000} {
				req := kmsg.NewPtrListOffsetsRequest()
				req.ReplicaID, req.IsolationLevel = -1, isolation
				topic, part := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
				part.Partition, part.Timestamp, part.CurrentLeaderEpoch = p, timestamp, -1
				topic.Topic, topic.Partitions = txnTopic, append(topic.Partitions, part)
				req.Topics = append(req.Topics, topic)
				resp, err := req.RequestWith(ctx, c)
				if err != nil {
					t.Fatal(err)
				}
				r := resp.Topics[0].Partitions[0]
				a.offsets[fmt.Sprintf("partition %d isolation %d time %d", p, isolation, min(timestamp, 1))] = fmt.Sprint(r.ErrorCode, r.Offset, r.Timestamp)
			}
		}
		for _, s := range describeProducers(t, n, p) {
			a.offsets[fmt.Sprintf("partition %d producer %d", p, s.ProducerID)] = fmt.Sprintf("epoch %d sequence %d time %d coordinator %d start %d",
				s.ProducerEpoch, s.LastSequence, s.LastTimestamp, s.CoordinatorEpoch, s.CurrentTxnStartOffset)
		}
	}
	return a
}

func fetchOne(t *testing.T, ctx context.Context, c *kgo.Client, id [16]byte, partition int32, isolation int8, offset int64, bytesMax int32) fetchAnswer {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 0, bytesMax, isolation, -1
	topic, part := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = partition, offset, bytesMax
	topic.Topic, topic.TopicID, topic.Partitions = txnTopic, id, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	brokers, err := kadm.NewClient(c).ListBrokers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Broker(int(brokers[0].NodeID)).Request(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	r := got.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	a := fetchAnswer{Code: r.ErrorCode, HighWatermark: r.HighWatermark, LastStable: r.LastStableOffset, LogStart: r.LogStartOffset,
		HasAborted: r.AbortedTransactions != nil, First: map[string]int64{}, Next: offset}
	for _, x := range r.AbortedTransactions {
		name := fmt.Sprintf("%d from %d", x.ProducerID, x.FirstOffset)
		a.Aborted, a.First[name] = append(a.Aborted, name), x.FirstOffset
	}
	for b := r.RecordBatches; len(b) >= batch.HeaderSize; {
		h, err := batch.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if h.SizeBytes() > len(b) {
			break // Kafka cuts the last one where the bytes end
		}
		a.Batches = append(a.Batches, fmt.Sprintf("%d-%d %08x epoch %d", h.BaseOffset, h.LastOffset(), h.CRC, h.LeaderEpoch))
		a.Next, b = int64(h.NextOffset()), b[h.SizeBytes():]
	}
	return a
}

// compareAnswers wants the same of both, but for one thing: Kafka finds the end
// of what it answers by the offset index, and may tell of aborted transactions
// that begin behind it; gregor tells of those that a reader meets, by first offset.
func compareAnswers(t *testing.T, kafkas string, want answers, gregors string, got answers) {
	t.Helper()
	if diff := cmp.Diff(want.offsets, got.offsets); diff != "" {
		t.Errorf("%s (-) and %s (+) offsets and producers: %s", kafkas, gregors, diff)
	}
	failed := 0
	for _, name := range slices.Sorted(maps.Keys(want.fetches)) {
		w, g := want.fetches[name], got.fetches[name]
		var met []string
		for _, x := range w.Aborted {
			if w.First[x] < w.Next {
				met = append(met, x)
			}
		}
		slices.SortStableFunc(met, func(a, b string) int { return int(w.First[a] - w.First[b]) })
		w.Aborted, w.First, g.First = met, nil, nil
		if diff := cmp.Diff(w, g); diff != "" {
			if failed++; failed < 5 {
				t.Errorf("%s: %s (-) and %s (+): %s", name, kafkas, gregors, diff)
			}
		}
	}
	if failed > 0 || len(got.fetches) != len(want.fetches) {
		t.Fatalf("%d of %d fetches differ; %s are %d", failed, len(want.fetches), gregors, len(got.fetches))
	}
}

func describeProducers(t *testing.T, n *kafka.Node, partition int32) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic, topic.Partitions = txnTopic, []int32{partition}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatal(err, resp)
	}
	return resp.Topics[0].Partitions[0].ActiveProducers
}

// openTransactions lists where they begin, by partition.
func openTransactions(t *testing.T, n *kafka.Node) (open [txnPartitions][]int64) {
	t.Helper()
	for p := range open {
		for _, s := range describeProducers(t, n, int32(p)) {
			if s.CurrentTxnStartOffset >= 0 {
				open[p] = append(open[p], s.CurrentTxnStartOffset)
			}
		}
		slices.Sort(open[p])
	}
	return open
}

// transactionIndexes reads the transaction indexes of the topic.
func transactionIndexes(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, txnTopic+"-*", "*.txnindex"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(path, dir)] = string(b)
	}
	return files
}
