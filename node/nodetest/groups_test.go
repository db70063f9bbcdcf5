// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/kafka"
)

// offsetsOf gives what a group has committed of a topic, once its coordinator is
// there.
func offsetsOf(ctx context.Context, t *testing.T, admin *kadm.Client, group, topic string) map[int32]int64 {
	t.Helper()
	for {
		got, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			continue
		}
		at := map[int32]int64{}
		for p, o := range got[topic] {
			at[p] = o.At
		}
		return at
	}
}

// max.message.bytes of __consumer_offsets bounds what groups write at once, as it
// is now: to raise it is what helps a group that has grown too large.
func TestLargeCommitsByTheConfigurationOfTheirTopic(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client()
		admin := kadm.NewClient(c)
		const many = 400
		if _, err := admin.CreateTopic(ctx, many, 1, nil, "t"); err != nil {
			t.Fatal(err)
		}
		offsets := kadm.Offsets{}
		for p := range int32(many) {
			offsets.Add(kadm.Offset{Topic: "t", Partition: p, At: 0, LeaderEpoch: -1, Metadata: strings.Repeat("m", 4000)})
		}
		offsetsOf(ctx, t, admin, "g", "t")
		commits := func() error { return admin.CommitAllOffsets(ctx, "g", offsets) }
		limit := func(change kadm.AlterConfig) {
			t.Helper()
			change.Name = "max.message.bytes"
			if answers, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, kafka.OffsetsTopic); err != nil || answers[0].Err != nil {
				t.Fatal(err, answers)
			}
			time.Sleep(time.Second)
		}
		if err := commits(); !errors.Is(err, kerr.InvalidCommitOffsetSize) {
			t.Errorf("1.6 MB by default: %v", err)
		}
		limit(kadm.AlterConfig{Op: kadm.SetConfig, Value: kadm.StringPtr("4000000")})
		if err := commits(); err != nil {
			t.Errorf("1.6 MB of 4: %v", err)
		}
		n.Crash()
		n.Up()
		if got := offsetsOf(ctx, t, admin, "g", "t"); len(got) != many {
			t.Errorf("%d offsets after a crash", len(got))
		}
		if err := commits(); err != nil {
			t.Errorf("after a crash: %v", err)
		}
		limit(kadm.AlterConfig{Op: kadm.DeleteConfig})
		if err := commits(); !errors.Is(err, kerr.InvalidCommitOffsetSize) {
			t.Errorf("by default again: %v", err)
		}
	})
}

// A group's offsets outlive its node, however it ends, and go with their topic:
// a topic of the same name begins without them.
func TestOffsetsOfAGroup(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: []string{"group.initial.rebalance.delay.ms=0"}})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		admin := kadm.NewClient(c)
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 12)
		member := n.Client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		for read := 0; read < 12*partitions; {
			read += member.PollFetches(ctx).NumRecords()
		}
		if err := member.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
		want := offsetsOf(ctx, t, admin, "g", "t")
		var sum int64
		for _, at := range want {
			sum += at
		}
		if sum != 12*partitions {
			t.Fatalf("committed: %v", want)
		}
		for _, end := range []func(){n.Crash, n.Stop, n.Crash} {
			end()
			n.Up()
			got := offsetsOf(ctx, t, admin, "g", "t")
			for p, at := range want {
				if got[p] != at {
					t.Errorf("partition %d: %d, committed was %d", p, got[p], at)
				}
			}
		}
		// The member goes on where it is, without reading anything again.
		l.produce(ctx, t, c, 3)
		for read := 0; read < 3*partitions; {
			member.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if read++; r.Offset < want[r.Partition] {
					t.Errorf("read again: %d of partition %d", r.Offset, r.Partition)
				}
			})
		}
		member.Close()
		if _, err := admin.DeleteTopic(ctx, "t"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := offsetsOf(ctx, t, admin, "g", "t"); len(got) != 0 {
			t.Errorf("after the deletion: %v", got)
		}
		createTopic(ctx, t, c, nil)
		n.Crash()
		n.Up()
		if got := offsetsOf(ctx, t, admin, "g", "t"); len(got) != 0 {
			t.Errorf("the new topic has %v", got)
		}
		groups, err := admin.ListGroups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if names := groups.Groups(); slices.Contains(names, "g") {
			// An empty group without offsets goes with the next check of retention, as in Kafka.
			if d := groups["g"]; d.State != "Empty" {
				t.Errorf("the group is %s", d.State)
			}
		}
		c.Close()
		n.Stop()
	})
}

// A stop does not wait for members that wait for each other.
func TestStopWithMembersThatWait(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: []string{"group.initial.rebalance.delay.ms=60000"}})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		member := n.Client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"))
		time.Sleep(10 * time.Second)
		began := time.Now()
		n.Stop()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the stop took %v", took)
		}
		member.CloseAllowingRebalance()
		c.Close()
	})
}
