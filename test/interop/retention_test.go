// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/kafka"
)

// TestRetentionInTurns has gregor and Apache Kafka delete from one directory in
// turn: each finds the log where the other's retention left it, and goes on. One
// topic is emptied, another loses a half.
func TestRetentionInTurns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	settings := kafka.Options{Settings: []string{"log.retention.check.interval.ms=200", "log.initial.task.delay.ms=0"}}
	starts := []func() *kafka.Node{
		func() *kafka.Node { return kafka.StartGregor(t, dir, settings) },
		func() *kafka.Node { return kafka.StartApache(t, dir, settings) },
		func() *kafka.Node { return kafka.StartGregor(t, dir, settings) },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	const each = 10
	now := time.Now()
	for turn, start := range starts {
		n := start()
		client, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		admin := kadm.NewClient(client)
		first := int64(turn) * each
		if turn == 0 {
			segments := map[string]*string{"segment.ms": kadm.StringPtr("1")}
			for _, topic := range []string{"emptied", "cut"} {
				createTopic(ctx, t, admin, topic, 1, segments)
			}
		} else {
			stands(ctx, t, admin, n.Name, "emptied", first, first)
			stands(ctx, t, admin, n.Name, "cut", first-5, first)
			reads(ctx, t, n, "cut", first-5, first)
		}
		// A record for each hour.
		for i := range int64(each) {
			for _, topic := range []string{"emptied", "cut"} {
				r := &kgo.Record{Topic: topic, Value: fmt.Append(nil, topic, first+i), Timestamp: now.Add(time.Duration(first+i-100) * time.Hour)}
				if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
					t.Fatalf("%s: %v", n.Name, err)
				}
			}
		}
		alterTopic(ctx, t, admin, "cut", "retention.ms", fmt.Sprint(time.Since(now.Add(time.Duration(first+5-101)*time.Hour+30*time.Minute)).Milliseconds()))
		await(ctx, t, admin, n.Name, "cut", first+5)
		alterTopic(ctx, t, admin, "cut", "retention.ms", "-1")
		alterTopic(ctx, t, admin, "emptied", "retention.ms", "1")
		await(ctx, t, admin, n.Name, "emptied", first+each)
		alterTopic(ctx, t, admin, "emptied", "retention.ms", "-1")
		stands(ctx, t, admin, n.Name, "emptied", first+each, first+each)
		stands(ctx, t, admin, n.Name, "cut", first+5, first+each)
		client.Close()
		n.Stop(t)
	}
	// gregor was the last one: none of its deleted files is left.
	left, err := filepath.Glob(filepath.Join(dir, "*", "*.deleted"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func alterTopic(ctx context.Context, t *testing.T, admin *kadm.Client, topic, key, value string) {
	t.Helper()
	got, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%s: %s=%s: %v, %+v", topic, key, value, err, got)
	}
}

func bounds(ctx context.Context, t *testing.T, admin *kadm.Client, topic string) (start, end int64) {
	t.Helper()
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := starts.Lookup(topic, 0)
	e, _ := ends.Lookup(topic, 0)
	return s.Offset, e.Offset
}

func stands(ctx context.Context, t *testing.T, admin *kadm.Client, who, topic string, start, end int64) {
	t.Helper()
	if s, e := bounds(ctx, t, admin, topic); s != start || e != end {
		t.Fatalf("%s has %s from %d to %d, want %d to %d", who, topic, s, e, start, end)
	}
}

func await(ctx context.Context, t *testing.T, admin *kadm.Client, who, topic string, start int64) {
	t.Helper()
	for {
		s, _ := bounds(ctx, t, admin, topic)
		if s == start {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s still has %s from %d, want %d", who, topic, s, start)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// reads compares what is there with what was written.
func reads(ctx context.Context, t *testing.T, n *kafka.Node, topic string, start, end int64) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for at := start; at < end; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%s: %v", n.Name, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := fmt.Sprint(topic, at); r.Offset != at || string(r.Value) != want {
				t.Errorf("%s: offset %d holds %q, want %q at %d", n.Name, r.Offset, r.Value, want, at)
			}
			at++
		})
	}
}
