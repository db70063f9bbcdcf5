// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkOneMemberJoins is JoinGroup, the second one with the id that the first
// gave, and SyncGroup, of a group that has nobody else and waits for nobody.
func BenchmarkOneMemberJoins(b *testing.B) {
	ctx := context.Background()
	n := Start(b, Options{Set: []string{"group.initial.rebalance.delay.ms=0"}, Log: slog.DiscardHandler})
	c := n.Client()
	coordinated(ctx, b, c)
	join := kmsg.NewPtrJoinGroupRequest()
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = 10_000, 10_000, "consumer"
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 10)}}
	i := 0
	for b.Loop() {
		i++
		join.Group, join.MemberID = fmt.Sprintf("g%d", i), ""
		joined, err := join.RequestWith(ctx, c)
		if err != nil {
			b.Fatal(err)
		}
		join.MemberID = joined.MemberID
		if joined, err = join.RequestWith(ctx, c); err != nil || joined.ErrorCode != 0 {
			b.Fatal(joined, err)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.MemberID, sync.Generation, sync.ProtocolType, sync.Protocol = join.Group, joined.MemberID, joined.Generation, joined.ProtocolType, joined.Protocol
		sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: make([]byte, 10)}}
		if synced, err := sync.RequestWith(ctx, c); err != nil || synced.ErrorCode != 0 {
			b.Fatal(synced, err)
		}
	}
}

// coordinated waits until the node's groups have their coordinators.
func coordinated(ctx context.Context, b *testing.B, c *kgo.Client) {
	b.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey, find.CoordinatorKeys = "g", []string{"g"}
	for {
		found, err := find.RequestWith(ctx, c)
		if err != nil {
			b.Fatal(err)
		}
		if found.ErrorCode == 0 && (len(found.Coordinators) == 0 || found.Coordinators[0].ErrorCode == 0) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
}

// BenchmarkCommitsAreLoaded starts a node whose one partition of
// __consumer_offsets holds a million commits, and asks for one of them: the time
// from the start to the answer.
func BenchmarkCommitsAreLoaded(b *testing.B) {
	const groups, width = 1000, 1000
	ctx := context.Background()
	n := Start(b, Options{Set: []string{"offsets.topic.num.partitions=1"}, Log: slog.DiscardHandler})
	c := n.Client()
	admin := kadm.NewClient(c)
	if _, err := admin.CreateTopic(ctx, width, 1, nil, "t"); err != nil {
		b.Fatal(err)
	}
	coordinated(ctx, b, c)
	for i := range groups {
		offsets := kadm.Offsets{}
		for p := range int32(width) {
			offsets.AddOffset("t", p, int64(i), -1)
		}
		if err := admin.CommitAllOffsets(ctx, fmt.Sprintf("g%d", i), offsets); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		b.StopTimer()
		n.Stop()
		b.StartTimer()
		n.Up()
		for {
			got, err := admin.FetchOffsets(ctx, fmt.Sprintf("g%d", groups-1))
			if at, ok := got.Lookup("t", width-1); err == nil && ok && at.At == groups-1 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(groups*width)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
