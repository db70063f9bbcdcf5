// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/interop/kafka"
)

var updateOffsets = flag.Bool("update-offsets", false, "write node/testdata/offsets anew")

// TestOffsetsLogOfKafka lets groups of all kinds commit on Apache Kafka: of the
// classic protocol, static, of the new protocol, in transactions that commit and
// that abort, deleted. What Kafka then says of their offsets stands in
// node/testdata/offsets beside the __consumer_offsets-0 that it wrote; a test
// of node loads that.
func TestOffsetsLogOfKafka(t *testing.T) {
	t.Parallel()
	const fixture = "../../node/testdata/offsets"
	dir := filepath.Join(t.TempDir(), "kafka")
	n := kafka.StartApache(t, dir, kafka.Options{Settings: []string{"offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=1", "group.initial.rebalance.delay.ms=0"}})
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, topic := range []string{"in", "out"} {
		createTopic(ctx, t, admin, topic, 2, nil)
	}
	const records = 20
	for i := range records {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "in", Partition: int32(i % 4 / 3), Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	consume(t, ctx, n.Address, records, kgo.ConsumerGroup("classic"))
	consume(t, ctx, n.Address, records, kgo.ConsumerGroup("static"), kgo.InstanceID("i-1"))
	consume(t, ctx, n.Address, records, kgo.ConsumerGroup("deleted"))
	//lint:ignore SA1029 the key by which the client takes the new protocol
	consume(t, ctx, n.Address, records, kgo.ConsumerGroup("new"), kgo.WithContext(context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)))
	transact(t, ctx, n.Address, "in a transaction", kgo.TryCommit)
	transact(t, ctx, n.Address, "aborted", kgo.TryAbort)
	if _, err := admin.DeleteGroups(ctx, "deleted"); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, group := range []string{"classic", "static", "deleted", "new", "in a transaction", "aborted"} {
		offsets, err := admin.FetchOffsets(kadm.RequireStable(ctx), group) // the end of a transaction comes behind the answer to it
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) {
			at := int64(-1)
			if o, ok := offsets.Lookup("in", p); ok {
				at = o.At
			}
			fmt.Fprintf(&said, "%s: in-%d %d\n", group, p, at)
		}
	}
	n.Stop(t)
	if *updateOffsets {
		log, err := os.ReadFile(filepath.Join(dir, "__consumer_offsets-0", "00000000000000000000.log"))
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string][]byte{"kafka.log": log, "said.txt": []byte(said.String())} {
			if err := os.WriteFile(filepath.Join(fixture, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := os.ReadFile(filepath.Join(fixture, "said.txt"))
	if err != nil || said.String() != string(want) {
		t.Errorf("Kafka says\n%swanted (%v)\n%s", &said, err, want)
	}
}

// consume reads topic in from its start and commits.
func consume(t *testing.T, ctx context.Context, address string, records int, opts ...kgo.Opt) {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(address), kgo.ConsumeTopics("in"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for got := 0; got < records; {
		f := c.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		got += f.NumRecords()
		if err := c.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// transact reads some of topic in and commits in a transaction, which it ends.
func transact(t *testing.T, ctx context.Context, address, name string, end kgo.TransactionEndTry) {
	t.Helper()
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(address), kgo.TransactionalID(name), kgo.ConsumerGroup(name), kgo.ConsumeTopics("in"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DefaultProduceTopic("out"), kgo.FetchMaxWait(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for seen := map[int32]bool{}; len(seen) < 2; {
		f := s.PollFetches(ctx)
		if err := f.Err(); err != nil {
			t.Fatal(err)
		}
		f.EachRecord(func(r *kgo.Record) { seen[r.Partition] = true })
		if err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := s.ProduceSync(ctx, &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if end == kgo.TryAbort { // the offsets have to be in it first
			commitInTransaction(t, ctx, s.Client(), name)
		}
		if _, err := s.End(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
}

// commitInTransaction adds offsets to the transaction that the client is in.
func commitInTransaction(t *testing.T, ctx context.Context, c *kgo.Client, name string) {
	t.Helper()
	id, epoch, err := c.ProducerID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = name, id, epoch, name
	if resp, err := add.RequestWith(ctx, c); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("%v %+v", err, resp)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = name, id, epoch, name
	req.Generation = -1
	topic := kmsg.NewTxnOffsetCommitRequestTopic()
	topics, err := kadm.NewClient(c).ListTopics(ctx, "in")
	if err != nil {
		t.Fatal(err)
	}
	topic.Topic, topic.TopicID = "in", topics["in"].ID
	for p := range int32(2) {
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = p, 3
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%v %+v", err, resp)
	}
}
