// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/kafka"
)

// TestGroupsTakeTurns has groups of the classic protocol commit on gregor and on
// Apache Kafka in turns, over one directory: each finds the offsets of the other
// in __consumer_offsets, and a member reads on from there. Kafka's
// DumpLogSegments reads what gregor wrote with its decoder of offsets.
func TestGroupsTakeTurns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	settings := []string{"offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1", "group.initial.rebalance.delay.ms=0"}
	apache := func() *kafka.Node { return kafka.StartApache(t, dir, kafka.Options{Settings: settings}) }
	gregor := func() *kafka.Node { return startWith(t, dir, settings...) }
	const each, partitions = 10, 2
	committed := map[int32]int64{}
	for turn, start := range []func() *kafka.Node{gregor, apache, gregor, apache} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		n := start()
		admin := newAdmin(t, n.Address)
		if turn == 0 {
			createTopic(ctx, t, admin, "turns", partitions, nil)
		} else if got := committedOf(ctx, t, admin, "g", "turns"); !maps.Equal(got, committed) {
			t.Fatalf("turn %d: %s finds %v, committed was %v", turn, n.Name, got, committed)
		}
		writer, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		for i := range each * partitions {
			if err := writer.ProduceSync(ctx, &kgo.Record{Topic: "turns", Partition: int32(i % partitions), Value: []byte("v")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		writer.Close()
		member, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.ConsumerGroup("g"), kgo.InstanceID("i"), kgo.ConsumeTopics("turns"), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			t.Fatal(err)
		}
		for read := 0; read < each*partitions; {
			fetches := member.PollFetches(ctx)
			if err := fetches.Err0(); err != nil {
				t.Fatalf("turn %d, %s: %v", turn, n.Name, err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if read++; r.Offset < committed[r.Partition] {
					t.Errorf("turn %d, %s: offset %d of partition %d is read again", turn, n.Name, r.Offset, r.Partition)
				}
			})
		}
		if err := member.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
		member.Close()
		for p := range int32(partitions) {
			committed[p] += each
		}
		if got := committedOf(ctx, t, admin, "g", "turns"); !maps.Equal(got, committed) {
			t.Errorf("turn %d: %s has %v, want %v", turn, n.Name, got, committed)
		}
		n.Stop(t)
		cancel()
		if turn == 0 {
			said := dump(t, []string{filepath.Join(dir, "__consumer_offsets-0", "00000000000000000000.log")}, []string{"--offsets-decoder"})
			for _, want := range []string{
				`"type":"1","data":\{"group":"g","topic":"turns","partition":1\}`, fmt.Sprintf(`"offset":%d`, each),
				`"type":"2","data":\{"group":"g"\}`, `"protocolType":"consumer"`, `"groupInstanceId":"i"`,
			} {
				if !regexp.MustCompile(want).MatchString(said) {
					t.Errorf("the decoder does not say %s:\n%s", want, head(said))
				}
			}
		}
	}
}

// committedOf gives what a group has committed, once its coordinator is there.
func committedOf(ctx context.Context, t *testing.T, admin *kadm.Client, group, topic string) map[int32]int64 {
	t.Helper()
	for {
		got, err := admin.FetchOffsets(ctx, group)
		if err == nil {
			at := map[int32]int64{}
			for p, o := range got[topic] {
				at[p] = o.At
			}
			return at
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
