// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/coordinator/shard"
)

// groupOn gives a name that falls on a partition of two.
func groupOn(p kafka.PartitionID) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("group-", i); shard.PartitionOf(name, 2) == p {
			return name
		}
	}
}

func commitOf(group, member string, generation int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 8, group, member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

// member is one of a classic group, alone.
type member struct {
	*quotaClient
	group, id string
}

func (m member) commit(offset int64) kafka.Code {
	m.t.Helper()
	r, _ := m.do(commitOf(m.group, m.id, 1, offset))
	return kafka.Code(r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
}

func (m member) beat() kafka.Code {
	m.t.Helper()
	r, _ := m.do(beatOf(m.group, m.id, 1))
	return kafka.Code(r.(*kmsg.HeartbeatResponse).ErrorCode)
}

// committed is -1 while nobody can tell, with the reason.
func (m member) committed() (int64, kafka.Code) {
	m.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.Topics = 7, m.group, []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	r, _ := m.do(req)
	fetched := r.(*kmsg.OffsetFetchResponse)
	if fetched.ErrorCode != 0 {
		return -1, kafka.Code(fetched.ErrorCode)
	}
	return fetched.Topics[0].Partitions[0].Offset, kafka.None
}

// members makes one member on each of the two partitions of groups.
func members(ctx context.Context, t *testing.T, n *Node) (all [2]member) {
	t.Helper()
	c := n.Client()
	defer c.Close()
	createTopic(ctx, t, c, nil)
	kadm.NewClient(c).FindGroupCoordinators(ctx, "any") // makes their topic
	for p := range all {
		all[p] = member{quotaClient: n.quotaClient(t, "member"), group: groupOn(kafka.PartitionID(p))}
		all[p].id = all[p].joined(all[p].group)
		if code := all[p].commit(5); code != kafka.None {
			t.Fatal(code)
		}
	}
	return all
}

// away are what a member may be told while its coordinator cannot write: it asks
// again.
var away = []kafka.Code{kafka.NotCoordinator, kafka.CoordinatorNotAvailable, kafka.CoordinatorLoadInProgress}

// A disk has no room for commits: they are refused with what makes a client ask
// again, what was committed stands, the members are members, and the groups of
// other partitions go on. With room all goes on where it was.
func TestGroupsWithoutRoom(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t, "offsets.topic.num.partitions=2", "group.initial.rebalance.delay.ms=0")
		all := members(ctx, t, n)
		poor, rich := all[0], all[1]
		disk.Add(vfs.Rule{Ops: vfs.OpWrite | vfs.OpPreallocate, Path: "/__consumer_offsets-0/", Err: syscall.ENOSPC})
		for i := range int64(40) {
			if code := poor.commit(100 + i); !slices.Contains(away, code) {
				t.Fatalf("a commit without room: %v", code)
			}
			if code := poor.beat(); code != kafka.None && !slices.Contains(away, code) {
				t.Fatalf("a heartbeat without room: %v", code)
			}
			if at, code := poor.committed(); at != 5 && !slices.Contains(away, code) {
				t.Fatalf("without room committed is %d, %v", at, code)
			}
			began := time.Now()
			if commit, beat := rich.commit(100+i), rich.beat(); commit != kafka.None || beat != kafka.None || time.Since(began) > 100*time.Millisecond {
				t.Fatalf("the other group: %v, %v after %v", commit, beat, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		disk.Clear()
		deadline := time.Now().Add(time.Minute)
		for code := poor.commit(200); code != kafka.None; code = poor.commit(200) {
			beat := poor.beat()
			if time.Now().After(deadline) || beat != kafka.None && !slices.Contains(away, beat) || rich.beat() != kafka.None {
				t.Fatalf("with room again: %v, a heartbeat %v", code, beat)
			}
			time.Sleep(time.Second)
		}
		for i, m := range []member{poor, rich} {
			if at, code := m.committed(); code != kafka.None || at != []int64{200, 139}[i] || m.beat() != kafka.None {
				t.Errorf("group %d: %d, %v", i, at, code)
			}
		}
	})
}

// A directory fails under the groups of a partition: they have no coordinator,
// and others have. After a start with the disk well again they are where they
// were.
func TestGroupsWithoutTheirDirectory(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t, append([]string{"offsets.topic.num.partitions=2", "group.initial.rebalance.delay.ms=0"}, twoDirs...)...)
		all := members(ctx, t, n)
		in := "" // the partition in /b; the metadata log is in /a
		for p := range all {
			if _, err := n.Disk.Stat(fmt.Sprintf("/b/__consumer_offsets-%d", p)); err == nil {
				in += fmt.Sprint(p)
			}
		}
		if in != "0" && in != "1" {
			t.Fatalf("in /b are partitions %q of groups", in)
		}
		lost, kept := all[strings.Index("01", in)], all[strings.Index("10", in)]
		disk.Add(vfs.Rule{Ops: vfs.OpAny, Path: "/b", Err: syscall.EIO})
		if code := lost.commit(6); !slices.Contains(away, code) {
			t.Fatalf("a commit to a disk that fails: %v", code)
		}
		time.Sleep(5 * time.Second)
		for range 10 {
			if commit, beat := lost.commit(7), lost.beat(); commit != kafka.NotCoordinator || beat != kafka.NotCoordinator {
				t.Fatalf("without a directory: %v, %v", commit, beat)
			}
			if _, code := lost.committed(); code != kafka.NotCoordinator {
				t.Fatalf("without a directory: %v", code)
			}
			find := kmsg.NewPtrFindCoordinatorRequest()
			find.Version, find.CoordinatorKeys = 4, []string{lost.group, kept.group}
			r, _ := kept.do(find)
			found := r.(*kmsg.FindCoordinatorResponse).Coordinators
			if kafka.Code(found[0].ErrorCode) != kafka.CoordinatorNotAvailable || found[1].ErrorCode != 0 {
				t.Fatalf("coordinators: %+v", found)
			}
			if commit, beat := kept.commit(8), kept.beat(); commit != kafka.None || beat != kafka.None {
				t.Fatalf("the other group: %v, %v", commit, beat)
			}
			time.Sleep(time.Second)
		}
		disk.Clear()
		n.Stop()
		n.Up()
		for i, m := range []member{lost, kept} {
			m.quotaClient = n.quotaClient(t, "member")
			at, code := m.committed()
			for ; slices.Contains(away, code); at, code = m.committed() {
				time.Sleep(100 * time.Millisecond)
			}
			if code != kafka.None || at != []int64{5, 8}[i] {
				t.Errorf("group %d: %d, %v", i, at, code)
			}
		}
	})
}
