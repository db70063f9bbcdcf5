// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// heartbeat sends one of a member of the new protocol, again while the
// coordinator is not there yet.
func heartbeat(ctx context.Context, t *testing.T, c *kgo.Client, member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatResponse {
	t.Helper()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis, req.SubscribedTopicNames = "g", member, epoch, -1, topics
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.Topics = 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	for {
		resp, err := req.RequestWith(ctx, c)
		if err == nil && !kafka.Code(resp.ErrorCode).Retriable() {
			return resp
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// A member of the new protocol is what the log says it is after every kind of
// end of its node; its partitions are where they were, and so are its epochs.
func TestConsumerGroupOutlivesItsNode(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		first := heartbeat(ctx, t, c, "a", 0, "t")
		if first.ErrorCode != 0 || first.Assignment == nil || len(first.Assignment.Topics) != 1 || len(first.Assignment.Topics[0].Partitions) != partitions {
			t.Fatalf("joined: %+v", first)
		}
		for _, end := range []func(){n.Crash, n.Stop, n.Crash} {
			end()
			n.Up()
			again := heartbeat(ctx, t, c, "a", first.MemberEpoch)
			if again.ErrorCode != 0 || again.MemberEpoch != first.MemberEpoch || again.Assignment != nil {
				t.Fatalf("after a restart: %+v", again)
			}
		}
		time.Sleep(46 * time.Second)
		if gone := heartbeat(ctx, t, c, "a", first.MemberEpoch); kafka.Code(gone.ErrorCode) != kafka.UnknownMemberID {
			t.Errorf("after its session: %+v", gone)
		}
	})
}

// group.version is on in a new cluster; UpdateFeatures takes it away and brings
// it back. A group's own interval counts as soon as it is set.
func TestGroupVersionAndGroupConfig(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client()
		admin := kadm.NewClient(c)
		createTopic(ctx, t, c, nil)
		joined := heartbeat(ctx, t, c, "a", 0, "t")
		if joined.HeartbeatIntervalMillis != 5000 {
			t.Fatalf("joined: %+v", joined)
		}
		set := kmsg.NewPtrIncrementalAlterConfigsRequest()
		set.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g",
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.heartbeat.interval.ms", Value: kmsg.StringPtr("7000")}}}}
		if resp, err := set.RequestWith(ctx, c); err != nil || resp.Resources[0].ErrorCode != 0 {
			t.Fatalf("%v %+v", err, resp)
		}
		if resp := heartbeat(ctx, t, c, "a", joined.MemberEpoch); resp.ErrorCode != 0 || resp.HeartbeatIntervalMillis != 1000 {
			t.Errorf("of a group that has just changed: %+v", resp)
		}
		time.Sleep(14 * time.Second)
		if resp := heartbeat(ctx, t, c, "a", joined.MemberEpoch); resp.ErrorCode != 0 || resp.HeartbeatIntervalMillis != 7000 {
			t.Errorf("with its own interval: %+v", resp)
		}
		level := func(level, how int8) {
			t.Helper()
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.TimeoutMillis = 5000
			req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: int16(level), UpgradeType: how}}
			if resp, err := req.RequestWith(ctx, c); err != nil || resp.ErrorCode != 0 {
				t.Fatalf("%v %+v", err, resp)
			}
			time.Sleep(time.Second)
		}
		level(0, 2)
		if resp := heartbeat(ctx, t, c, "a", joined.MemberEpoch); kafka.Code(resp.ErrorCode) != kafka.UnsupportedVersion {
			t.Errorf("without the feature: %+v", resp)
		}
		level(1, 1)
		if resp := heartbeat(ctx, t, c, "a", joined.MemberEpoch); resp.ErrorCode != 0 {
			t.Errorf("with it again: %+v", resp)
		}
		if groups, err := admin.ListGroups(ctx); err != nil || groups["g"].State != "Stable" {
			t.Errorf("%v %+v", err, groups)
		}
	})
}

// A broker may be told to leave the new protocol out: clients are told to stay with the classic one.
func TestGroupProtocolsOfABroker(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: []string{"group.coordinator.rebalance.protocols=classic,streams"}})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		if resp := heartbeat(ctx, t, c, "a", 0, "t"); kafka.Code(resp.ErrorCode) != kafka.UnsupportedVersion {
			t.Errorf("heartbeat: %+v", resp)
		}
		describe := kmsg.NewPtrConsumerGroupDescribeRequest()
		describe.Groups = []string{"g"}
		if resp, err := describe.RequestWith(ctx, c); err != nil || kafka.Code(resp.Groups[0].ErrorCode) != kafka.UnsupportedVersion {
			t.Errorf("describe: %v %+v", err, resp)
		}
		member := n.Client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"))
		for ctx.Err() == nil {
			if id, generation := member.GroupMetadata(); id != "" && generation > 0 {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("nobody came into the classic group")
	})
}

// The assignment interval may be changed while the broker runs.
func TestAssignmentIntervalOfARunningBroker(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		interval := func(ms string) kafka.Code {
			t.Helper()
			set := kmsg.NewPtrIncrementalAlterConfigsRequest()
			set.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker,
				Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "group.consumer.assignment.interval.ms", Value: &ms}}}}
			resp, err := set.RequestWith(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			return kafka.Code(resp.Resources[0].ErrorCode)
		}
		first := heartbeat(ctx, t, c, "a", 0, "t")
		if b := heartbeat(ctx, t, c, "b", 0, "t"); b.ErrorCode != 0 || b.MemberEpoch != first.MemberEpoch {
			t.Errorf("within a second of the assignment of all: %+v", b)
		}
		if code := interval("15001"); code != kafka.InvalidRequest {
			t.Errorf("more than the broker allows: %v", code)
		}
		if code := interval("0"); code != kafka.None {
			t.Fatal(code)
		}
		before := heartbeat(ctx, t, c, "c", 0, "t")
		if d := heartbeat(ctx, t, c, "d", 0, "t"); d.ErrorCode != 0 || d.MemberEpoch != before.MemberEpoch+1 {
			t.Errorf("without an interval: %+v", d)
		}
	})
}

// newProtocol makes a franz-go client speak the new protocol: it is not its default yet.
func newProtocol(ctx context.Context, opts ...kgo.Opt) []kgo.Opt {
	//lint:ignore SA1029 the key by which the client takes the new protocol
	ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true)
	return append(opts, kgo.WithContext(ctx), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
}

// A real client shares a topic with a second one, gets all of it back when that
// one dies, and goes on where the group had come to.
func TestFranzSpeaksTheNewProtocol(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		admin := kadm.NewClient(c)
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 12)
		first := n.Client(newProtocol(ctx, kgo.ConsumeTopics("t"))...)
		for read := 0; read < 12*partitions; {
			read += first.PollFetches(ctx).NumRecords()
		}
		if err := first.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
		second := n.Client(newProtocol(ctx, kgo.ConsumeTopics("^[st]$"), kgo.ConsumeRegex())...)
		shared := func() bool {
			groups, err := admin.DescribeConsumerGroups(ctx, "g")
			if err != nil || len(groups["g"].Members) != 2 || groups["g"].State != "Stable" {
				return false
			}
			for _, m := range groups["g"].Members {
				if len(m.Assignment["t"]) == 0 {
					return false
				}
			}
			return true
		}
		for !shared() {
			short, done := context.WithTimeout(ctx, time.Second)
			first.PollFetches(short)
			second.PollFetches(short)
			done()
			if ctx.Err() != nil {
				t.Fatal("never shared")
			}
		}
		first.CloseAllowingRebalance()
		l.produce(ctx, t, c, 6)
		for read := 0; read < 6*partitions; {
			fetches := second.PollFetches(ctx)
			if ctx.Err() != nil {
				t.Fatalf("read %d", read)
			}
			read += fetches.NumRecords()
		}
	})
}
