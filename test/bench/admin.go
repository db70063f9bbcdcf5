// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	createTopics    = "create 1,000 topics x 10 partitions, 100 a request, s"
	createReachable = "of these, until each partition told its offsets, s"
	describeNew     = "topic describe of 1,000 new partitions, ms"
	describeAgain   = "topic describe of 1,000 partitions, ms"
	describeOld     = "topic describe of 1,000 partitions, first after a restart, ms"
	slowestCommand  = "the slowest of the CLI's commands, ms"

	manyTopics, manyPartitions, topicsARequest = 1000, 10, 100
	widePartitions                             = 1000
)

// administer measures what an operator waits for: topics in bulk, one wide
// topic, and every command of the command line. It has a broker of its own.
func (b *session) administer(ctx context.Context, s system, dir string) error {
	p, err := startSystem(ctx, s, dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer func() { p.stop() }()
	if err := b.manyTopics(ctx, s, p); err != nil {
		return err
	}
	if _, err := b.command(ctx, p, "topic create wide -p "+fmt.Sprint(widePartitions)); err != nil {
		return err
	}
	for _, name := range []string{describeNew, describeAgain, describeOld} {
		if name == describeOld {
			p.stop()
			if p, err = startSystem(ctx, s, dir); err != nil {
				return err
			}
			// Not the start is measured: wait until it leads what it led.
			if err := reachable(ctx, p, []string{"many-999"}, manyPartitions); err != nil {
				return err
			}
		}
		took, err := b.command(ctx, p, "topic describe wide")
		if err != nil {
			return err
		}
		b.figures.add(s.name(), name, took)
	}
	if s.name() == "gregor" { // the commands are the same, whatever answers them
		return b.commands(ctx, s, p, dir)
	}
	return nil
}

func (b *session) manyTopics(ctx context.Context, s system, p *process) error {
	began := time.Now()
	took, err := createMany(ctx, p)
	if err != nil {
		return err
	}
	b.figures.add(s.name(), createTopics, took.Seconds())
	if err := reachable(ctx, p, manyNames(), manyPartitions); err != nil {
		return err
	}
	b.figures.add(s.name(), createReachable, time.Since(began).Seconds())
	return nil
}

func manyNames() []string {
	names := make([]string, manyTopics)
	for i := range names {
		names[i] = fmt.Sprintf("many-%d", i)
	}
	return names
}

// createMany creates the many topics and tells how long the requests took.
func createMany(ctx context.Context, p *process) (time.Duration, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.address))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return 0, err
	}
	names := manyNames()
	began := time.Now()
	for first := 0; first < manyTopics; first += topicsARequest {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = 30_000
		for _, name := range names[first : first+topicsARequest] {
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = name, manyPartitions, 1
			req.Topics = append(req.Topics, t)
		}
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return 0, err
		}
		for _, t := range resp.Topics {
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
				return 0, fmt.Errorf("create %s: %w", t.Topic, err)
			}
		}
	}
	return time.Since(began), nil
}

// reachable waits until every partition tells where it ends.
func reachable(ctx context.Context, p *process, topics []string, partitions int32) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.address))
	if err != nil {
		return err
	}
	defer client.Close()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		err := endsOf(ctx, client, topics, partitions)
		if err == nil || ctx.Err() != nil || time.Since(began) > startLimit {
			return err
		}
	}
}

func endsOf(ctx context.Context, client *kgo.Client, topics []string, partitions int32) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for _, name := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for i := range partitions {
			q := kmsg.NewListOffsetsRequestTopicPartition()
			q.Partition, q.Timestamp, q.CurrentLeaderEpoch = i, -1, -1
			t.Partitions = append(t.Partitions, q)
		}
		req.Topics = append(req.Topics, t)
	}
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, q := range t.Partitions {
				if err := kerr.ErrorForCode(q.ErrorCode); err != nil {
					return fmt.Errorf("offset of %s-%d: %w", t.Topic, q.Partition, err)
				}
			}
		}
	}
	return nil
}

// cliCommands are measured one by one; {dir} is the node's log directory. They
// are in an order in which each finds what it needs.
var cliCommands = []string{
	"version",
	"topic list",
	"topic create orders -p 1",
	"produce orders",
	"consume orders -n 1",
	"consume orders --at -1 -o jsonl",
	"topic describe orders",
	"topic alter orders --set retention.ms=86400000 --yes",
	"topic offsets orders --at @-1h",
	"topic analyze orders",
	"storage dump {dir}/orders-0",
	"topic alter orders --partitions 4",
	"topic trim orders --to +0 --yes",
	"topic empty orders --yes",
	"config get --topic orders",
	"config get --broker 1",
	"config set --topic orders compression.type=zstd",
	"config explain retention.ms",
	"cluster info",
	"cluster quorum",
	"cluster logdirs",
	"storage du {dir}",

	"kafka-topics --list --bootstrap-server {address}",
	"kafka-get-offsets --topic orders --bootstrap-server {address}",
	"quota list",
	"doctor",
	"completion bash",
	"topic delete orders --yes",
}

func (b *session) commands(ctx context.Context, s system, p *process, dir string) error {
	slowest := 0.0
	for _, line := range cliCommands {
		took, err := b.command(ctx, p, strings.NewReplacer("{dir}", dir, "{address}", p.address).Replace(line))
		if err != nil {
			return err
		}
		slowest = max(slowest, took)
		b.figures.add(s.name(), "gregor "+strings.NewReplacer("{dir}", "DIR", " --bootstrap-server {address}", "").Replace(line)+", ms", took)
	}
	b.figures.add(s.name(), slowestCommand, slowest)
	return nil
}

// command runs one command line of gregor and gives the milliseconds that it
// took.
func (b *session) command(ctx context.Context, p *process, line string) (float64, error) {
	command := exec.CommandContext(ctx, b.options.gregor, strings.Fields(line)...)
	command.Env = append(os.Environ(), "GREGOR_BOOTSTRAP_SERVER="+p.address)
	command.Stdin = strings.NewReader("one\ntwo\n")
	began := time.Now()
	out, err := command.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("gregor %s: %w\n%s", line, err, out)
	}
	return float64(time.Since(began).Microseconds()) / 1000, nil
}
