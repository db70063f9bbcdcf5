// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/kafka"
)

// bothSettings let one node coordinate, and clean and delete without delay.
var bothSettings = append(slices.Concat(forever, transactionSettings), "group.initial.rebalance.delay.ms=0", "log.cleaner.backoff.ms=100",
	"log.retention.check.interval.ms=200", "log.initial.task.delay.ms=0")

// TestBothWays has Apache Kafka fill a directory with everything it can hold at
// once: groups of both protocols and of transactions, committed and aborted
// transactions, compacted topics that its cleaner has been over, retention,
// several segments, configurations of topics, brokers and groups. gregor serves
// all of it as Kafka did and writes to each; Kafka serves what gregor left,
// cleans what gregor wrote, and writes; gregor opens it again. Every node is
// stopped, or else every node is killed.
func TestBothWays(t *testing.T) {
	for name, kill := range map[string]bool{"stopped": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
			defer cancel()
			b := &bothWays{ctx: ctx, t: t, began: time.Now().Add(-time.Hour)}
			dir := filepath.Join(t.TempDir(), "data")
			options := kafka.Options{Settings: bothSettings}
			end := func(n *kafka.Node) {
				if kill {
					n.Kill()
				} else {
					n.Stop(t)
				}
			}
			n := kafka.StartApache(t, dir, options)
			b.at(n)
			b.create()
			b.write()
			b.transactions()
			b.clean()
			b.expire("expired-by-kafka")
			before := b.settled()
			if len(before.Groups) != 5 || before.Start["expired-by-kafka-0"] == 0 {
				t.Fatalf("Kafka left groups %v and log starts %v", before.Groups, before.Start)
			}
			end(n)

			n = startWith(t, dir, bothSettings...) // which are those of Kafka
			b.at(n)
			b.same("Kafka", before)
			b.write()
			b.expire("expired-by-gregor")
			before = b.settled()
			if k, g := before.Start["expired-by-kafka-0"], before.Start["expired-by-gregor-0"]; k != g {
				t.Errorf("retention of a compacted topic leaves %d on by Kafka, %d on by gregor", k, g)
			}
			end(n)

			n = kafka.StartApache(t, dir, options)
			b.at(n)
			b.same("gregor", before)
			b.write()
			b.transactions()
			b.clean()
			before = b.settled()
			end(n)

			n = startWith(t, dir, bothSettings...)
			b.at(n)
			b.same("Kafka", before)
			n.Stop(t)
		})
	}
}

// bothWays is the node whose turn it is, and how far the writing has come.
type bothWays struct {
	ctx    context.Context
	t      *testing.T
	began  time.Time
	turn   int
	node   *kafka.Node
	client *kgo.Client
	admin  *kadm.Client
}

func (b *bothWays) at(n *kafka.Node) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	b.node, b.client, b.admin = n, client, kadm.NewClient(client)
	b.t.Logf("turn %d: %s", b.turn, n.Name)
}

func (b *bothWays) check(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("turn %d, %s: %s: %v", b.turn, b.node.Name, what, err)
	}
}

// create makes the topics: plain of several segments, three compacted ones that
// roll every ten records by their timestamps, and those that groups read.
func (b *bothWays) create() {
	b.t.Helper()
	compact := func(policy string) map[string]*string {
		return map[string]*string{"cleanup.policy": value(policy), "segment.ms": value("10000"), "min.cleanable.dirty.ratio": value("1.0"),
			"delete.retention.ms": value("0"), "retention.ms": value("-1")}
	}
	for topic, configs := range map[string]map[string]*string{
		"in": nil, "out": {"compression.type": value("zstd"), "min.insync.replicas": value("1")},
		"plain":             {"segment.bytes": value("1048576"), "retention.ms": value("-1"), "max.message.bytes": value("2000000")},
		"compacted":         compact("compact"),
		"expired-by-kafka":  compact("compact,delete"),
		"expired-by-gregor": compact("compact,delete"),
	} {
		partitions := 1
		if topic == "in" || topic == "out" {
			partitions = 2
		}
		_, err := b.admin.CreateTopic(b.ctx, int32(partitions), 1, configs, topic)
		b.check("create "+topic, err)
	}
}

// write appends to all topics, has groups of both protocols read on and commit,
// commits by hand, and changes configurations.
func (b *bothWays) write() {
	b.t.Helper()
	const each = 60
	var records []*kgo.Record
	for i := range each {
		at := b.began.Add(time.Duration(b.turn*each+i) * time.Second)
		for _, topic := range []string{"compacted", "expired-by-kafka", "expired-by-gregor"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "key-", i%7), Value: fmt.Append(nil, "turn ", b.turn, " record ", i), Timestamp: at}
			if i%7 == 3 && i%2 == 0 {
				r.Value = nil
			}
			records = append(records, r)
		}
		records = append(records,
			&kgo.Record{Topic: "plain", Value: bytes.Repeat(fmt.Append(nil, b.turn, "/", i, " "), 8000), Timestamp: at,
				Headers: []kgo.RecordHeader{{Key: "turn", Value: fmt.Append(nil, b.turn)}}})
	}
	for i := range 20 {
		records = append(records, &kgo.Record{Topic: "in", Partition: int32(i % 4 / 3), Value: []byte("v")})
	}
	for _, r := range records { // one by one, so that segments roll where they are told to
		b.check("produce to "+r.Topic, b.client.ProduceSync(b.ctx, r).FirstErr())
	}
	// The last record of these is of now, and stays whatever expires.
	for _, topic := range []string{"expired-by-kafka", "expired-by-gregor"} {
		b.check("produce", b.client.ProduceSync(b.ctx, &kgo.Record{Topic: topic, Key: []byte("now"), Value: fmt.Append(nil, b.turn)}).FirstErr())
	}
	consume(b.t, b.ctx, b.node.Address, 20, kgo.ConsumerGroup("classic"))
	//lint:ignore SA1029 the key by which the client takes the new protocol
	consume(b.t, b.ctx, b.node.Address, 20, kgo.ConsumerGroup("new"), kgo.WithContext(context.WithValue(b.ctx, "opt_in_kafka_next_gen_balancer_beta", true)))
	var by kadm.Offsets
	by.Add(kadm.Offset{Topic: "plain", At: int64(7 + b.turn), LeaderEpoch: 0, Metadata: fmt.Sprint("by hand in turn ", b.turn)})
	b.check("commit", b.admin.CommitAllOffsets(b.ctx, "by hand", by))

	b.alterTopic("plain", "max.message.bytes", fmt.Sprint(2_000_001+b.turn))
	b.alterTopic("out", "flush.messages", fmt.Sprint(1000+b.turn))
	config := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "message.max.bytes", Value: value(fmt.Sprint(1_100_000 + b.turn))}}
	_, err := b.admin.AlterBrokerConfigs(b.ctx, config)
	b.check("alter the brokers", err)
	config = []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.io.buffer.size", Value: value(fmt.Sprint(524_300 + b.turn))}}
	_, err = b.admin.AlterBrokerConfigs(b.ctx, config, 1)
	b.check("alter broker 1", err)
	own := fmt.Sprint("turn-", b.turn)
	_, err = b.admin.CreateTopic(b.ctx, 1, 1, map[string]*string{"retention.bytes": value(fmt.Sprint(1<<30 + b.turn))}, own)
	b.check("create "+own, err)
	b.check("produce to "+own, b.client.ProduceSync(b.ctx, &kgo.Record{Topic: own, Value: []byte(own)}).FirstErr())
	b.turn++
}

func (b *bothWays) alterTopic(topic, key, value string) {
	b.t.Helper()
	alterTopic(b.ctx, b.t, b.admin, topic, key, value)
}

// transactions ends some either way: in a plain and in a compacted topic, and
// with the offsets of groups in them.
func (b *bothWays) transactions() {
	b.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.node.Address), kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	b.check("transactional client", err)
	defer c.Close()
	for i := range 6 {
		b.check("begin", c.BeginTransaction())
		for _, topic := range []string{"plain", "compacted"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "in transaction ", i/4), Value: fmt.Append(nil, "transaction ", i, " of turn ", b.turn)}
			b.check("produce", c.ProduceSync(b.ctx, r).FirstErr())
		}
		b.check("end", c.EndTransaction(b.ctx, kgo.TransactionEndTry(i%2 == 0)))
	}
	transact(b.t, b.ctx, b.node.Address, "in a transaction", kgo.TryCommit)
	transact(b.t, b.ctx, b.node.Address, "aborted", kgo.TryAbort)
}

// clean has Kafka's cleaner go over the compacted topics, until each holds a
// key once at most below its last segment, and no more from then on.
func (b *bothWays) clean() {
	b.t.Helper()
	topics := []string{"compacted", "expired-by-kafka", "expired-by-gregor"}
	for _, topic := range topics {
		b.alterTopic(topic, "min.cleanable.dirty.ratio", "0.001")
	}
	for _, topic := range topics {
		for len(b.read(topic, 0, kgo.ReadUncommitted())) > 40 { // of at least 60
			select {
			case <-b.ctx.Done():
				b.t.Fatalf("%s is not cleaned: %q", topic, b.read(topic, 0, kgo.ReadUncommitted()))
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	for _, topic := range topics {
		b.alterTopic(topic, "min.cleanable.dirty.ratio", "1.0")
	}
}

// expire lets retention take all of a topic but its last segment.
func (b *bothWays) expire(topic string) {
	b.t.Helper()
	b.alterTopic(topic, "retention.ms", "1200000")
	for {
		if start, _ := bounds(b.ctx, b.t, b.admin, topic); start > 0 {
			return
		}
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("%s: nothing of %s expires", b.node.Name, topic)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// same wants of this node what the one before it said.
func (b *bothWays) same(who string, before picture) {
	b.t.Helper()
	if diff := cmp.Diff(before, b.settled()); diff != "" {
		b.t.Fatalf("turn %d: %s left (-), %s serves (+):\n%s", b.turn, who, b.node.Name, head(diff))
	}
}

// settled is the picture when nothing moves any more: the cleaner or retention
// may be at work for a moment after they were told to rest.
func (b *bothWays) settled() picture {
	b.t.Helper()
	last := b.look()
	for {
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("%s does not come to rest", b.node.Name)
		case <-time.After(500 * time.Millisecond):
		}
		now := b.look()
		if cmp.Equal(last, now) {
			return now
		}
		last = now
	}
}

// picture is what a cluster must serve the same, whoever runs it.
type picture struct {
	Cluster     string
	TopicIDs    map[string]string
	Configs     map[string]string // by resource and key, with where it comes from
	Start       map[string]int64  // by partition
	End         map[string]int64
	Stable      map[string]int64
	Uncommitted map[string][]string // by partition: every record
	Committed   map[string][]string
	Groups      map[string]string
	Offsets     map[string]string // by group and partition
	Producers   map[string]string // by partition and id
}

func (b *bothWays) look() picture {
	b.t.Helper()
	p := picture{TopicIDs: map[string]string{}, Configs: map[string]string{}, Start: map[string]int64{}, End: map[string]int64{}, Stable: map[string]int64{},
		Uncommitted: map[string][]string{}, Committed: map[string][]string{}, Groups: map[string]string{}, Offsets: map[string]string{}, Producers: map[string]string{}}
	metadata, err := b.admin.Metadata(b.ctx)
	b.check("metadata", err)
	p.Cluster = metadata.Cluster
	var topics []string
	for name, topic := range metadata.Topics {
		p.TopicIDs[name] = topic.ID.String()
		if !topic.IsInternal {
			topics = append(topics, name)
		}
		for _, partition := range topic.Partitions.Numbers() {
			if topic.IsInternal {
				continue
			}
			at := fmt.Sprint(name, "-", partition)
			p.Uncommitted[at] = b.read(name, partition, kgo.ReadUncommitted())
			p.Committed[at] = b.read(name, partition, kgo.ReadCommitted())
		}
	}
	for into, list := range map[*map[string]int64]func(context.Context, ...string) (kadm.ListedOffsets, error){
		&p.Start: b.admin.ListStartOffsets, &p.End: b.admin.ListEndOffsets, &p.Stable: b.admin.ListCommittedOffsets} {
		offsets, err := list(b.ctx, topics...)
		b.check("offsets", err)
		offsets.Each(func(o kadm.ListedOffset) { (*into)[fmt.Sprint(o.Topic, "-", o.Partition)] = o.Offset })
	}
	described, err := b.admin.DescribeTopicConfigs(b.ctx, topics...)
	b.check("topic configs", err)
	for _, r := range described {
		b.check("topic configs", r.Err)
		for _, c := range r.Configs {
			if !strings.HasPrefix(c.Key, "gregor.") {
				p.Configs[r.Name+" "+c.Key] = c.MaybeValue() + " " + c.Source.String()
			}
		}
	}
	for _, brokers := range [][]int32{nil, {1}} {
		described, err := b.admin.DescribeBrokerConfigs(b.ctx, brokers...)
		b.check("broker configs", err)
		for _, r := range described {
			b.check("broker configs", r.Err)
			for _, c := range r.Configs {
				if source := c.Source.String(); strings.HasPrefix(source, "DYNAMIC") {
					p.Configs["broker "+r.Name+" "+c.Key] = c.MaybeValue() + " " + source
				}
			}
		}
	}
	groups, err := b.admin.ListGroups(b.ctx)
	b.check("groups", err)
	for name, g := range groups {
		p.Groups[name] = g.ProtocolType + " " + g.State
		offsets, err := b.admin.FetchOffsets(b.ctx, name)
		b.check("offsets of "+name, err)
		offsets.Each(func(o kadm.OffsetResponse) {
			p.Offsets[fmt.Sprint(name, ": ", o.Topic, "-", o.Partition)] = fmt.Sprint(o.At, " epoch ", o.LeaderEpoch, " ", o.Metadata)
		})
	}
	set := kadm.TopicsSet{}
	set.Add("plain", 0)
	set.Add("compacted", 0)
	producers, err := b.admin.DescribeProducers(b.ctx, set)
	b.check("producers", err)
	producers.EachProducer(func(s kadm.DescribedProducer) {
		p.Producers[fmt.Sprint(s.Topic, " ", s.ProducerID)] = fmt.Sprint("epoch ", s.ProducerEpoch, " sequence ", s.LastSequence, " open ", s.CurrentTxnStartOffset)
	})
	return p
}

// read gives each record of a partition in full, with its offset and epoch.
func (b *bothWays) read(topic string, partition int32, isolation kgo.IsolationLevel) (records []string) {
	b.t.Helper()
	// Behind the last record may be markers, and gaps: a sentinel cannot be
	// written, so the consumer's own position tells the end.
	ends, err := b.admin.ListEndOffsets(b.ctx, topic)
	b.check("end of "+topic, err)
	end, _ := ends.Lookup(topic, partition)
	starts, err := b.admin.ListStartOffsets(b.ctx, topic)
	b.check("start of "+topic, err)
	start, _ := starts.Lookup(topic, partition)
	c, err := kgo.NewClient(kgo.SeedBrokers(b.node.Address), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(start.Offset)}}))
	b.check("reader of "+topic, err)
	defer c.Close()
	next := start.Offset
	for next < end.Offset {
		fetches := c.PollFetches(b.ctx)
		b.check("read "+topic, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			text := fmt.Sprintf("%d at %d epoch %d of %d: %q = %.60q (%d bytes, %v) %v control %v", r.Offset, r.Timestamp.UnixMilli(), r.LeaderEpoch, r.ProducerID,
				r.Key, r.Value, len(r.Value), r.Value == nil, r.Headers, r.Attrs.IsControl())
			records = append(records, text)
		})
	}
	return records
}
