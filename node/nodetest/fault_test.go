// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// tryProduce writes one record without a second try.
func tryProduce(ctx context.Context, n *Node, partition int32, i int) error {
	c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(0), kgo.DisableIdempotentWrite(),
		kgo.ProduceRequestTimeout(time.Second))
	defer c.Close()
	return c.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: partition, Key: []byte(strconv.Itoa(i)),
		Value: fmt.Appendf(nil, "%d of %d", i, partition)}).FirstErr()
}

func TestAFullDiskIsRetriableAndPasses(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t)
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 20)

		disk.SetBudget(30) // the next write is cut short in the middle of a batch
		if err := tryProduce(ctx, n, 0, 999); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("produce to a full disk: %v, want KAFKA_STORAGE_ERROR", err)
		}
		l.check(ctx, t, n) // readers go on

		disk.Clear()
		l.produce(ctx, t, c, 20)
		l.check(ctx, t, n)
		n.Crash()
		n.Up()
		l.check(ctx, t, n)
		c.Close()
		n.Stop()
	})
}

func TestMetadataGoesOnAfterAFullDisk(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t)
		c := n.Client()
		adm := kadm.NewClient(c)
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, "before"); err != nil {
			t.Fatal(err)
		}
		disk.SetBudget(10)
		short, done := context.WithTimeout(ctx, 5*time.Second)
		if _, err := adm.CreateTopic(short, 1, 1, nil, "during"); err == nil {
			t.Fatal("a topic was created without room for it")
		}
		done()
		disk.Clear()
		time.Sleep(5 * time.Second)
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, "after"); err != nil {
			t.Fatalf("create a topic when there is room again: %v", err)
		}
		n.Crash()
		n.Up()
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !topics.Has("before") || !topics.Has("after") {
			t.Fatalf("topics after a restart: %v", topics.Names())
		}
		c.Close()
		n.Stop()
	})
}

func TestABrokenDiskEndsTheNode(t *testing.T) {
	for name, rule := range map[string]vfs.Rule{
		"write of a log":        {Ops: vfs.OpWrite, Path: "/t-0/", Err: syscall.EIO},
		"sync of a log":         {Ops: vfs.OpSyncData, Path: "/t-0/", Err: syscall.EIO},
		"sync of metadata":      {Ops: vfs.OpSyncData, Path: "__cluster_metadata", Err: syscall.EIO},
		"write of metadata":     {Ops: vfs.OpWrite, Path: "__cluster_metadata", Err: syscall.EIO},
		"sync of a file system": {Ops: vfs.OpSyncFS, Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
				n, disk := faulty(t)
				c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
				configs := map[string]*string{"flush.messages": kadm.StringPtr("1")}
				if rule.Ops == vfs.OpSyncFS {
					configs = nil // the recovery point's turn comes with what is not flushed
				}
				createTopic(ctx, t, c, configs)
				var l ledger
				l.produce(ctx, t, c, 10)
				disk.Add(rule)
				short, done := context.WithTimeout(ctx, 3*time.Second)
				for i := range 3 {
					if err := tryProduce(short, n, 0, 1000+i); err == nil {
						l.acked[0] = append(l.acked[0], 1000+i)
					}
				}
				_, _ = kadm.NewClient(c).CreateTopic(short, 1, 1, nil, "another") // the metadata log's turn
				done()
				select {
				case <-n.Failed():
				case <-time.After(5 * time.Minute):
					t.Fatal("the node goes on with a disk that failed")
				}
				c.Close()
				n.Crash()
				disk.Clear()
				n.Up()
				checkAtLeast(ctx, t, n, &l)
				n.Stop()
			})
		})
	}
}

// checkAtLeast is ledger.check for histories in which a record whose answer was
// an error may be there or not.
func checkAtLeast(ctx context.Context, t *testing.T, n *Node, l *ledger) {
	t.Helper()
	got := readAll(ctx, t, n)
	for p := range partitions {
		i := 0
		for _, want := range l.acked[p] {
			for i < len(got[p]) && got[p][i] != want {
				i++
			}
			if i == len(got[p]) {
				t.Fatalf("partition %d: acknowledged record %d is missing or out of order in %v", p, want, got[p])
			}
			i++
		}
	}
}

// readAll reads all partitions to their ends.
func readAll(ctx context.Context, t *testing.T, n *Node) (got [partitions][]int) {
	t.Helper()
	start := map[string]map[int32]kgo.Offset{"t": {}}
	for p := range int32(partitions) {
		start["t"][p] = kgo.NewOffset().AtStart()
	}
	c := n.Client(kgo.ConsumePartitions(start))
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		more = false
		for p := range int32(partitions) {
			o, ok := ends.Lookup("t", p)
			if !ok || o.Err != nil {
				t.Fatalf("end of partition %d: %v", p, o.Err)
			}
			more = more || int64(len(got[p])) < o.Offset
		}
		if !more {
			break
		}
		fs := c.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			i, err := strconv.Atoi(string(r.Key))
			if err != nil || string(r.Value) != fmt.Sprintf("%d of %d", i, r.Partition) {
				t.Fatalf("partition %d offset %d holds key %q, value %q", r.Partition, r.Offset, r.Key, r.Value)
			}
			got[r.Partition] = append(got[r.Partition], i)
		})
	}
	return got
}

// Every call of a whole life is made to fail once, one life each: a start, a
// load, a stop. Whatever happens then, nothing hangs, and the next start on a
// disk that works finds every acknowledged record.
func TestEveryCallMayFail(t *testing.T) {
	total := int64(0)
	synctest.Test(t, func(t *testing.T) {
		total = lifeWithFault(t, vfs.Rule{}, 0)
	})
	if total < 100 {
		t.Fatalf("a life has only %d calls", total)
	}
	t.Logf("a life has %d calls that change or sync", total)
	step := max(1, total/120)
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for at := int64(0); at < total; at += step {
			synctest.Test(t, func(t *testing.T) {
				lifeWithFault(t, vfs.Rule{Ops: vfs.OpChanges | vfs.OpSyncs, Skip: int(at), Times: 1, Err: err, ShortBytes: 7}, at)
			})
			if t.Failed() {
				t.Fatalf("with %v at call %d", err, at)
			}
		}
	}
}

// lifeWithFault runs one life on a disk with a rule and then another one on a
// disk that works. It gives the number of calls of the first.
func lifeWithFault(t *testing.T, rule vfs.Rule, at int64) int64 {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var disk *vfs.Fault
	n := Prepare(t, Options{FS: func(m *vfs.Memory) vfs.FS {
		disk = vfs.NewFault(m)
		if rule.Err != nil {
			disk.Add(rule)
			rule.Err = nil // the next start is on a disk that works
		}
		return disk
	}})
	var l ledger
	if err := n.TryUp(); err == nil {
		load(ctx, n, &l)
		stopOrKill(n)
	}
	calls := disk.Count(vfs.OpChanges | vfs.OpSyncs)
	n.Up()
	if len(l.acked[0]) > 0 {
		checkAtLeast(ctx, t, n, &l)
	}
	n.Stop()
	return calls
}

// load creates the topic and produces for a while, taking errors as they come.
func load(ctx context.Context, n *Node, l *ledger) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := n.Client()
	defer c.Close()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, nil, "t"); err != nil {
		return
	}
	for i := range 12 {
		p := i % partitions
		if tryProduce(ctx, n, int32(p), l.next[p]) == nil {
			l.acked[p] = append(l.acked[p], l.next[p])
		}
		l.next[p]++
	}
}

// stopOrKill does what cmd does: a node that has failed is killed.
func stopOrKill(n *Node) {
	select {
	case <-n.Failed():
		n.Crash()
		return
	default:
	}
	n.up = false
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		n.Kill()
	}
	n.Net.ResetHost(host)
}
