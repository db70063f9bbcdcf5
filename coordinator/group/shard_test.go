// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
	"gregor/coordinator/shard"
	"gregor/test/memlog"
)

// These tests run the coordinator where it runs: on shards, over a log, with
// clients that wait at the same time.

// onShard and outOnShard are Groups and Out as a shard wants them.
type onShard struct{ *Groups }

func (m onShard) Replay(rec grouprec.Record, from shard.Origin) error {
	return m.Groups.Replay(rec, Origin(from))
}
func (m onShard) Loaded(nowMs int64, out *outOnShard) { m.Groups.Loaded(nowMs, &out.Out) }
func (m onShard) Tick(nowMs int64, out *outOnShard)   { m.Groups.Tick(nowMs, &out.Out) }
func (m onShard) Abandon(out *outOnShard)             { m.Groups.Abandon(&out.Out) }

type outOnShard struct{ Out }

func (o *outOnShard) Records() ([]grouprec.Record, shard.Producer, bool) {
	if in := o.Transaction; in != nil {
		return o.Out.Records, shard.Producer{ID: in.ProducerID, Epoch: in.ProducerEpoch}, true
	}
	return o.Out.Records, shard.Producer{}, false
}

func (o *outOnShard) Replies(yield func(shard.Token, kmsg.Response) bool) {
	for _, r := range o.Out.Replies {
		if !yield(shard.Token(r.To), r.Response) {
			return
		}
	}
}

type shards = shard.Shards[onShard, *outOnShard]

func newShards(log *memlog.Log) *shards {
	n := byte(0)
	s := shard.New(shard.Options[onShard, *outOnShard]{
		Name: "__consumer_offsets",
		New: func(kafka.PartitionID) onShard {
			return onShard{New(Options{Topics: topicSet{"t": 3}, GroupInitialRebalanceDelayMs: 3000,
				RandomUUID: func() (u [16]byte) { n++; u[0] = n; return u }})}
		},
		NewOutput: func() *outOnShard { return &outOnShard{} },
		Open:      func(context.Context, kafka.PartitionID, kafka.LeaderEpoch) (shard.Log, error) { return log, nil },
		Logger:    slog.New(slog.DiscardHandler),
		Now:       time.Now,
	})
	return s
}

// elect begins a term when the one before is over, and waits until its groups are
// loaded: what is asked before may be taken and then told to come again.
func elect(s *shards, epoch kafka.LeaderEpoch) {
	synctest.Wait()
	s.Elect(0, epoch)
	synctest.Wait()
}

// begin sends a request and does not wait.
func begin(t *testing.T, s *shards, event func(g *Groups, nowMs int64, to Token, out *Out)) *shard.Ticket {
	t.Helper()
	ticket := &shard.Ticket{}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := s.Do(0, ticket, func(m onShard, nowMs int64, to shard.Token, out *outOnShard) {
			event(m.Groups, nowMs, Token(to), &out.Out)
		})
		if err == nil {
			return ticket
		}
		if code, _ := kafka.CodeOf(err); code != kafka.CoordinatorLoadInProgress && code != kafka.NotCoordinator || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func result[R kmsg.Response](t *testing.T, ticket *shard.Ticket) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := ticket.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return resp.(R)
}

func TestOnShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memlog.Log{}
		s := newShards(log)
		elect(s, 1)
		join := func(member string) *shard.Ticket {
			return begin(t, s, func(g *Groups, nowMs int64, to Token, out *Out) {
				g.JoinGroup(nowMs, Caller{ClientID: "c"}, joinRequest(3, "g", member), to, out)
			})
		}
		tickets := []*shard.Ticket{join(""), join(""), join("")}
		var leader string
		var ids []string
		for _, ticket := range tickets {
			resp := result[*kmsg.JoinGroupResponse](t, ticket)
			leader, ids = resp.LeaderID, append(ids, resp.MemberID)
		}
		assigned := func(id string) *shard.Ticket {
			return begin(t, s, func(g *Groups, nowMs int64, to Token, out *Out) {
				req := syncRequest("g", id, 1)
				if id == leader {
					for _, other := range ids {
						req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: other, MemberAssignment: []byte(other)})
					}
				}
				g.SyncGroup(nowMs, Caller{}, req, to, out)
			})
		}
		slices.SortFunc(ids, func(a, b string) int { // the leader comes last: the others wait
			if a == leader {
				return 1
			} else if b == leader {
				return -1
			}
			return strings.Compare(a, b)
		})
		tickets = []*shard.Ticket{assigned(ids[0]), assigned(ids[1]), assigned(ids[2])}
		for i, ticket := range tickets {
			if resp := result[*kmsg.SyncGroupResponse](t, ticket); string(resp.MemberAssignment) != ids[i] {
				t.Fatalf("%s has %q", ids[i], resp.MemberAssignment)
			}
		}
		commitOnShard(t, s, ids[0])
		txnOnShard(t, s, ids[0])

		// The coordinator moves while someone waits in a JoinGroup.
		waits := join("")
		s.Resign(0)
		if resp := result[*kmsg.JoinGroupResponse](t, waits); kafka.Code(resp.ErrorCode) != kafka.NotCoordinator {
			t.Fatalf("who waited got %s", show(resp))
		}
		elect(s, 2)
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.RequireStable = 9, true
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0, 1}}}}}
		fetched := result[*kmsg.OffsetFetchResponse](t, begin(t, s, func(g *Groups, nowMs int64, to Token, out *Out) {
			g.OffsetFetch(nowMs, Caller{}, req, to, out)
		}))
		p := fetched.Groups[0].Topics[0].Partitions
		if p[0].Offset != 5 || kafka.Code(p[1].ErrorCode) != kafka.UnstableOffsetCommit {
			t.Fatalf("after the move: %s", show(fetched))
		}
		// Nobody sends heartbeats: the members are out after their session, and the group is empty.
		time.Sleep(80 * time.Second)
		described := result[*kmsg.DescribeGroupsResponse](t, begin(t, s, func(g *Groups, nowMs int64, to Token, out *Out) {
			g.DescribeGroups(nowMs, Caller{}, &kmsg.DescribeGroupsRequest{Version: 6, Groups: []string{"g"}}, to, out)
		}))
		if g := described.Groups[0]; g.State != "Empty" {
			t.Fatalf("after the sessions: %s", show(g))
		}
		s.Close()
	})
}

func commitOnShard(t *testing.T, s *shards, member string) {
	t.Helper()
	resp := result[*kmsg.OffsetCommitResponse](t, begin(t, s, func(g *Groups, nowMs int64, to Token, out *Out) {
		g.OffsetCommit(nowMs, Caller{}, commitRequest(9, "g", member, 1, 5, ""), to, out)
	}))
	if code := kafka.Code(resp.Topics[0].Partitions[0].ErrorCode); code != kafka.None {
		t.Fatal(code)
	}
}

func txnOnShard(t *testing.T, s *shards, member string) {
	t.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.ProducerID = 5, "g", member, 1, 7
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: 1, Offset: 6}}}}
	resp := result[*kmsg.TxnOffsetCommitResponse](t, begin(t, s, func(g *Groups, nowMs int64, to Token, out *Out) {
		g.TxnOffsetCommit(nowMs, Caller{}, req, to, out)
	}))
	if code := kafka.Code(resp.Topics[0].Partitions[0].ErrorCode); code != kafka.None {
		t.Fatal(code)
	}
}
