// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
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

// ahead is how far from the others those records are that transactions stand
// between: markers are of the present, and time has to rise for segments to roll.
const ahead = time.Hour + 5*time.Minute

// TestBothWays has Apache Kafka fill a directory with everything it can hold at
// once: groups of both protocols and of transactions, committed and aborted
// transactions, compacted topics that its cleaner has been over, retention,
// several segments, configurations of topics, brokers and groups. gregor serves
// all of it as Kafka did and writes to each; Kafka serves what gregor left,
// cleans what gregor wrote, and writes; gregor opens it again. Every node is
// stopped, or else every node is killed.
func TestBothWays(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]bool{"stopped": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
			defer cancel()
			dir := filepath.Join(t.TempDir(), "data")
			b := &bothWays{ctx: ctx, t: t, dir: dir, began: time.Now().Add(-time.Hour)}
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
			b.write()
			b.groupTransactions()
			b.clean("compacted", "large", "once-compacted", "expired-by-kafka", "expired-by-gregor")
			b.alterTopic("once-compacted", "cleanup.policy", "delete")
			b.expire("expired-by-kafka")
			before := b.settled()
			b.gaps(dir, "once-compacted-0", before)
			b.gaps(dir, "large-0", before)
			if len(before.Groups) != 5 {
				t.Fatalf("Kafka left groups %v", before.Groups)
			}
			end(n)

			n = startWith(t, dir, bothSettings...) // which are those of Kafka
			b.at(n)
			b.same("Kafka", before)
			b.again("expired-by-kafka")
			b.write()
			b.expire("expired-by-gregor")
			before = b.settled()
			end(n)

			n = kafka.StartApache(t, dir, options)
			b.at(n)
			b.same("gregor", before)
			b.transactions()
			b.write()
			b.groupTransactions()
			b.clean("compacted", "large", "expired-by-kafka")
			before = b.settled()
			b.gaps(dir, "large-0", before)
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
	dir    string
	began  time.Time
	round  int // of writing
	node   *kafka.Node
	client *kgo.Client
	admin  *kadm.Client
}

func (b *bothWays) at(n *kafka.Node) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	b.node, b.client, b.admin = n, client, kadm.NewClient(client)
	b.t.Logf("round %d: %s", b.round, n.Name)
}

func (b *bothWays) check(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("round %d, %s: %s: %v", b.round, b.node.Name, what, err)
	}
}

// create makes the topics: plain and two compacted ones of several segments by
// size, three compacted ones that roll every ten records by their timestamps,
// and those that groups read.
func (b *bothWays) create() {
	b.t.Helper()
	large := map[string]*string{"cleanup.policy": value("compact"), "segment.bytes": value("1048576"), "min.cleanable.dirty.ratio": value("1.0")}
	for topic, configs := range map[string]map[string]*string{
		"large": large, "once-compacted": large,
		"in": {"compression.type": value("lz4")}, "out": {"compression.type": value("zstd"), "min.insync.replicas": value("1")},
		"plain":             {"segment.bytes": value("1048576"), "retention.ms": value("-1"), "max.message.bytes": value("2000000")},
		"compacted":         compact("compact"),
		"expired-by-kafka":  compact("compact,delete"),
		"expired-by-gregor": compact("compact,delete"),
	} {
		partitions := 1
		if topic == "in" || topic == "out" {
			partitions = 2
		}
		createTopic(b.ctx, b.t, b.admin, topic, partitions, configs)
	}
}

// write appends to all topics, has groups of both protocols read on and commit,
// commits by hand, and changes configurations.
func (b *bothWays) write() {
	b.t.Helper()
	const each = 60
	var records []*kgo.Record
	for i := range each {
		at := b.began.Add(time.Duration(b.round*each+i) * time.Second)
		for _, topic := range []string{"compacted", "expired-by-kafka", "expired-by-gregor"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "key-", i%7), Value: fmt.Append(nil, "round ", b.round, " record ", i), Timestamp: at}
			if topic == "compacted" {
				r.Timestamp = at.Add(ahead)
			}
			if i%7 == 3 && i%2 == 0 {
				r.Value = nil
			}
			records = append(records, r)
		}
		for _, topic := range []string{"large", "once-compacted"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, b.round, i), Value: bytes.Repeat(fmt.Append(nil, i%10), 60_000), Timestamp: at}
			if i%2 == 1 {
				r.Key = []byte("again and again")
			}
			records = append(records, r)
		}
		records = append(records,
			&kgo.Record{Topic: "plain", Value: bytes.Repeat(fmt.Append(nil, b.round, "/", i, " "), 8000), Timestamp: at,
				Headers: []kgo.RecordHeader{{Key: "round", Value: fmt.Append(nil, b.round)}}})
	}
	for i := range 20 {
		records = append(records, &kgo.Record{Topic: "in", Partition: int32(i % 4 / 3), Value: []byte("v")})
	}
	for _, r := range records { // one by one, so that segments roll where they are told to
		b.check("produce to "+r.Topic, b.client.ProduceSync(b.ctx, r).FirstErr())
	}
	consume(b.t, b.ctx, b.node.Address, 20, kgo.ConsumerGroup("classic"))
	//lint:ignore SA1029 the key by which the client takes the new protocol
	consume(b.t, b.ctx, b.node.Address, 20, kgo.ConsumerGroup("new"), kgo.WithContext(context.WithValue(b.ctx, "opt_in_kafka_next_gen_balancer_beta", true)))
	var by kadm.Offsets
	by.Add(kadm.Offset{Topic: "plain", At: int64(7 + b.round), LeaderEpoch: 0, Metadata: fmt.Sprint("by hand in round ", b.round)})
	b.check("commit", b.admin.CommitAllOffsets(b.ctx, "by hand", by))

	b.alterTopic("plain", "max.message.bytes", fmt.Sprint(2_000_001+b.round))
	b.alterTopic("out", "flush.messages", fmt.Sprint(1000+b.round))
	config := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "message.max.bytes", Value: value(fmt.Sprint(1_100_000 + b.round))}}
	_, err := b.admin.AlterBrokerConfigs(b.ctx, config)
	b.check("alter the brokers", err)
	config = []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "log.cleaner.io.buffer.size", Value: value(fmt.Sprint(524_300 + b.round))}}
	_, err = b.admin.AlterBrokerConfigs(b.ctx, config, 1)
	b.check("alter broker 1", err)
	own := fmt.Sprint("round-", b.round)
	createTopic(b.ctx, b.t, b.admin, own, 1, map[string]*string{"retention.bytes": value(fmt.Sprint(1<<30 + b.round))})
	b.check("produce to "+own, b.client.ProduceSync(b.ctx, &kgo.Record{Topic: own, Value: []byte(own)}).FirstErr())
	b.round++
}

// compact is the configuration of a compacted topic that rolls every ten records.
func compact(policy string) map[string]*string {
	return map[string]*string{"cleanup.policy": value(policy), "segment.ms": value("10000"), "min.cleanable.dirty.ratio": value("1.0"),
		"delete.retention.ms": value("0"), "retention.ms": value("-1"), "compression.type": value("snappy")}
}

// again deletes a compacted topic and makes another of its name, of which what
// Kafka's cleaner has noted is not true.
func (b *bothWays) again(topic string) {
	b.t.Helper()
	_, err := b.admin.DeleteTopic(b.ctx, topic)
	b.check("delete "+topic, err)
	createTopic(b.ctx, b.t, b.admin, topic, 1, compact("compact"))
	b.at(b.node) // a client that knows nothing of the old one
}

func (b *bothWays) alterTopic(topic, key, value string) {
	b.t.Helper()
	alterTopic(b.ctx, b.t, b.admin, topic, key, value)
}

// transactions ends some either way, in a plain and in a compacted topic.
func (b *bothWays) transactions() {
	b.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(b.node.Address), kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	b.check("transactional client", err)
	defer c.Close()
	for i := range 6 {
		b.check("begin", c.BeginTransaction())
		for _, topic := range []string{"plain", "compacted"} {
			r := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "in transaction ", i/4), Value: fmt.Append(nil, "transaction ", i, " of round ", b.round),
				Timestamp: b.began.Add(ahead + time.Duration(b.round*60+i)*time.Second)}
			b.check("produce", c.ProduceSync(b.ctx, r).FirstErr())
		}
		b.check("end", c.EndTransaction(b.ctx, kgo.TransactionEndTry(i%2 == 0)))
	}
}

// groupTransactions ends some with the offsets of groups in them.
func (b *bothWays) groupTransactions() {
	b.t.Helper()
	transact(b.t, b.ctx, b.node.Address, "in a transaction", kgo.TryCommit)
	transact(b.t, b.ctx, b.node.Address, "aborted", kgo.TryAbort)
}

// clean has Kafka's cleaner go over topics until no key stands twice in them
// below what may be their last segment, and has it rest then.
func (b *bothWays) clean(topics ...string) {
	b.t.Helper()
	for _, topic := range topics {
		b.alterTopic(topic, "min.cleanable.dirty.ratio", "0.001")
	}
	for _, topic := range topics {
		for twice := true; twice; {
			records := b.fetch(topic, 0, kgo.ReadUncommitted())
			seen := map[string]bool{}
			twice = false
			for _, r := range records[:max(0, len(records)-20)] {
				if !r.Attrs.IsControl() {
					twice = twice || seen[string(r.Key)]
					seen[string(r.Key)] = true
				}
			}
			if b.ctx.Err() != nil {
				b.t.Fatalf("%s is not cleaned: %d records", topic, len(records))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	for _, topic := range topics {
		b.alterTopic(topic, "min.cleanable.dirty.ratio", "1.0")
	}
}

// gaps wants a file that ends before the next one begins.
func (b *bothWays) gaps(dir, partition string, p picture) {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, partition, "*.log"))
	b.check("segments of "+partition, err)
	found := 0
	for _, file := range files[1:] {
		var base int64
		_, err := fmt.Sscanf(filepath.Base(file), "%d.log", &base)
		b.check(file, err)
		if !slices.ContainsFunc(p.Uncommitted[partition], func(r string) bool { return strings.HasPrefix(r, fmt.Sprint(base-1, " at ")) }) {
			found++
		}
	}
	if found == 0 {
		b.t.Fatalf("no gap between the files of %s: %v %q", partition, files, p.Uncommitted[partition])
	}
}

// expire lets retention take all of a topic but its last segment, which begins
// with a record of now.
func (b *bothWays) expire(topic string) {
	b.t.Helper()
	r := &kgo.Record{Topic: topic, Key: []byte("now"), Value: fmt.Append(nil, b.round)}
	b.check("produce to "+topic, b.client.ProduceSync(b.ctx, r).FirstErr())
	b.alterTopic(topic, "retention.ms", "1200000")
	await(b.ctx, b.t, b.admin, b.node.Name, topic, r.Offset)
}

// same wants of this node what the one before it said.
func (b *bothWays) same(who string, before picture) {
	b.t.Helper()
	if diff := cmp.Diff(before, b.settled()); diff != "" {
		b.t.Fatalf("round %d: %s left (-), %s serves (+):\n%s", b.round, who, b.node.Name, head(diff))
	}
}

// settled is the picture when nothing moves any more.
func (b *bothWays) settled() picture {
	b.t.Helper()
	return settledBy(b, b.look)
}

// settledBy looks until it sees the same again and again, and no file that a
// cleaner is still at: cleaner and retention may be at work for a while after
// they were told to rest.
func settledBy[P any](b *bothWays, look func() P) P {
	b.t.Helper()
	last := look()
	for same := 0; same < 3; {
		select {
		case <-b.ctx.Done():
			b.t.Fatalf("%s does not come to rest", b.node.Name)
		case <-time.After(300 * time.Millisecond):
		}
		var at []string
		for _, unfinished := range []string{"*.cleaned", "*.swap"} {
			files, err := filepath.Glob(filepath.Join(b.dir, "*", unfinished))
			b.check("look for files of a cleaner", err)
			at = append(at, files...)
		}
		now := look()
		if same++; len(at) > 0 || !cmp.Equal(last, now) {
			same = 0
		}
		last = now
	}
	return last
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
	committedOf(b.ctx, b.t, b.admin, "by hand", "plain") // a coordinator that still reads its log lists nothing
	groups, err := b.admin.ListGroups(b.ctx)
	b.check("groups", err)
	for name, g := range groups {
		p.Groups[name] = g.ProtocolType + " " + g.State
		offsets, err := b.admin.FetchOffsets(kadm.RequireStable(b.ctx), name)
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
	for _, r := range b.fetch(topic, partition, isolation) {
		records = append(records, fmt.Sprintf("%d at %d epoch %d of %d: %q = %.30q (%d bytes, %08x, %v) %v control %v", r.Offset, r.Timestamp.UnixMilli(), r.LeaderEpoch,
			r.ProducerID, r.Key, r.Value, len(r.Value), crc32.ChecksumIEEE(r.Value), r.Value == nil, r.Headers, r.Attrs.IsControl()))
	}
	return records
}

// fetch reads to the log end: the last offset is never one that is gone.
func (b *bothWays) fetch(topic string, partition int32, isolation kgo.IsolationLevel) (records []*kgo.Record) {
	b.t.Helper()
	starts, err := b.admin.ListStartOffsets(b.ctx, topic)
	b.check("start of "+topic, err)
	start, _ := starts.Lookup(topic, partition)
	ends, err := b.admin.ListEndOffsets(b.ctx, topic)
	b.check("end of "+topic, err)
	end, _ := ends.Lookup(topic, partition)
	c, err := kgo.NewClient(kgo.SeedBrokers(b.node.Address), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(start.Offset)}}))
	b.check("reader of "+topic, err)
	defer c.Close()
	for next := start.Offset; next < end.Offset; {
		fetches := c.PollFetches(b.ctx)
		b.check("read "+topic, fetches.Err())
		for _, r := range fetches.Records() {
			next, records = r.Offset+1, append(records, r)
		}
	}
	return records
}
