// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/broker/api"
	"gregor/config"
	"gregor/coordinator/group"
	"gregor/coordinator/shard"
)

// counting gives bytes that are not random at all.
type counting struct{ n byte }

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		if i%sha256.Size == 0 {
			c.n++
		}
		p[i] = c.n + byte(i)
	}
	return len(p), nil
}

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

// up starts a node on a disk.
func up(t *testing.T, disk vfs.FS, set ...string) *Node {
	t.Helper()
	c, _, err := config.Load(config.Sources{Set: append([]string{"listeners=PLAINTEXT://n1:9092", "gregor.insecure.public.listeners=PLAINTEXT",
		"log.dirs=/data", "gregor.admin.listener="}, set...)})
	if err != nil {
		t.Fatal(err)
	}
	n := New(Options{Config: c, FS: disk, Net: netx.NewMemory().Host("n1"), Now: time.Now, Random: &counting{},
		Logger: logger(t), Hostname: "n1"})
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return n
}

// create creates a topic and waits until it is here.
func create(t *testing.T, n *Node, topic string, partitions int32) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 5000
	r := kmsg.NewCreateTopicsRequestTopic()
	r.Topic, r.NumPartitions, r.ReplicationFactor = topic, partitions, 1
	req.Topics = append(req.Topics, r)
	resp, err := n.line.Do(context.Background(), api.Requester{}, req)
	if err != nil || resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode != 0 {
		t.Fatalf("create %s: %v %v", topic, err, resp)
	}
	time.Sleep(time.Second)
}

// ask gives the groups of the partition that is responsible for "g" an event.
func ask(t *testing.T, n *Node, event func(g *group.Groups, nowMs int64, to group.Token, out *group.Out)) kmsg.Response {
	t.Helper()
	resp, err := try(n, event)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func try(n *Node, event func(g *group.Groups, nowMs int64, to group.Token, out *group.Out)) (kmsg.Response, error) {
	ticket := &shard.Ticket{}
	if err := n.groups.Do(shard.PartitionOf("g", 3), ticket, event); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return ticket.Wait(ctx)
}

func commit(t *testing.T, n *Node, topic string, offset int64) {
	t.Helper()
	if err := tryCommit(n, topic, offset); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// tryCommit commits an offset; the error is what the client is told.
func tryCommit(n *Node, topic string, offset int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, "g", -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	resp, err := try(n, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.OffsetCommit(nowMs, group.Caller{}, req, to, out)
	})
	if err != nil {
		return err
	}
	if code := kafka.Code(resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode); code != kafka.None {
		return code
	}
	return nil
}

// committed is the offset of a group, -1 if there is none.
func committed(t *testing.T, n *Node, topic string) int64 {
	t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 9
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "g"
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{0}}}
	req.Groups = append(req.Groups, g)
	resp := ask(t, n, func(g *group.Groups, nowMs int64, to group.Token, out *group.Out) {
		g.OffsetFetch(nowMs, group.Caller{}, req, to, out)
	}).(*kmsg.OffsetFetchResponse)
	return resp.Groups[0].Topics[0].Partitions[0].Offset
}

// TestGroupsLiveInTheLog: what a group has committed is there after a clean stop
// and after a crash, and goes with its topic.
func TestGroupsLiveInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewMemory()
		n := up(t, disk, "offsets.topic.compression.codec=4")
		if err := n.groups.Do(0, &shard.Ticket{}, nil); err != kafka.NotCoordinator { //nolint:errorlint // the bare code is the promise
			t.Errorf("without a topic: %v", err)
		}
		create(t, n, kafka.OffsetsTopic, 3)
		create(t, n, "topic", 1)
		create(t, n, "other", 1)
		if active, loading := n.groups.Active(); len(active) != 3 || loading {
			t.Fatalf("active %v, loading %v", active, loading)
		}
		commit(t, n, "topic", 41)
		commit(t, n, "topic", 42)
		commit(t, n, "other", 7)
		if err := n.Close(context.Background()); err != nil {
			t.Fatal(err)
		}

		n = up(t, disk)
		synctest.Wait()
		if got := committed(t, n, "topic"); got != 42 {
			t.Errorf("after a clean stop: %d", got)
		}
		commit(t, n, "topic", 43)
		n.Kill()

		n = up(t, disk, "offsets.load.buffer.size=1")
		synctest.Wait()
		if got := [2]int64{committed(t, n, "topic"), committed(t, n, "other")}; got != [2]int64{43, 7} {
			t.Errorf("after a crash: %d", got)
		}
		if s := n.groups.Stats(); s.LoadedRecordsTotal < 4 || s.Failed != 0 {
			t.Errorf("%+v", s)
		}
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version, req.TimeoutMillis = 5, 5000
		req.TopicNames = []string{"topic"}
		if _, err := n.line.Do(context.Background(), api.Requester{}, req); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := [2]int64{committed(t, n, "topic"), committed(t, n, "other")}; got != [2]int64{-1, 7} {
			t.Errorf("after the topic was deleted: %d", got)
		}
		req.TopicNames = []string{kafka.OffsetsTopic}
		if _, err := n.line.Do(context.Background(), api.Requester{}, req); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if active, _ := n.groups.Active(); len(active) != 0 {
			t.Errorf("active without a topic: %v", active)
		}
		if err := n.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGroupsOnAFullDisk: commits are refused while there is no room, nothing that
// was acknowledged is lost, and it goes on by itself when there is some.
func TestGroupsOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewFault(vfs.NewMemory())
		n := up(t, disk)
		create(t, n, kafka.OffsetsTopic, 3)
		create(t, n, "topic", 1)
		commit(t, n, "topic", 1)
		disk.SetBudget(30) // the next write is cut in the middle of a batch
		if err := tryCommit(n, "topic", 2); !errors.Is(err, kafka.NotCoordinator) {
			t.Errorf("commit on a full disk: %v", err)
		}
		time.Sleep(time.Minute)
		if got := committed(t, n, "topic"); got != 1 {
			t.Errorf("while the disk is full: %d", got)
		}
		disk.Clear()
		commit(t, n, "topic", 3)
		n.Kill()
		n = up(t, disk)
		synctest.Wait()
		if got := committed(t, n, "topic"); got != 3 {
			t.Errorf("after the crash: %d", got)
		}
		n.Kill()
	})
}

// TestBadCodec: a codec that is none stops the start.
func TestBadCodec(t *testing.T) {
	c, _, err := config.Load(config.Sources{Set: []string{"offsets.topic.compression.codec=5"}})
	if err != nil {
		t.Fatal(err)
	}
	n := New(Options{Config: c, Random: &counting{}, Now: time.Now})
	if err := n.openGroups(); err == nil {
		t.Error("codec 5 was taken")
	}
}
