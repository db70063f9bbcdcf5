// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// bubble runs a test on virtual time, of which it has so much.
func bubble(t *testing.T, limit time.Duration, run func(context.Context, *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		run(ctx, t)
	})
}

const partitions = 3

// ledger writes numbered records, one after the other for each partition, and
// notes which were acknowledged.
type ledger struct {
	acked [partitions][]int // record numbers in the order of their acknowledgements
	next  [partitions]int
}

func (l *ledger) produce(ctx context.Context, t *testing.T, c *kgo.Client, rounds int) {
	for range rounds {
		for p := range partitions {
			n := l.next[p]
			l.next[p]++
			r := &kgo.Record{Topic: "t", Partition: int32(p), Key: []byte(strconv.Itoa(n)), Value: fmt.Appendf(nil, "%d of %d", n, p)}
			if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatalf("record %d of partition %d: %v", n, p, err)
			}
			l.acked[p] = append(l.acked[p], n)
		}
	}
}

// check reads everything back and compares it with what was acknowledged.
func (l *ledger) check(ctx context.Context, t *testing.T, n *Node) {
	t.Helper()
	start := map[string]map[int32]kgo.Offset{"t": {}}
	for p := range int32(partitions) {
		start["t"][p] = kgo.NewOffset().AtStart()
	}
	c := n.Client(kgo.ConsumePartitions(start))
	defer c.Close()
	var got [partitions][]int
	for missing := true; missing; {
		fs := c.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatalf("poll with %d, %d, %d of %d, %d, %d: %v", len(got[0]), len(got[1]), len(got[2]), len(l.acked[0]), len(l.acked[1]), len(l.acked[2]), err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			i, err := strconv.Atoi(string(r.Key))
			if err != nil || string(r.Value) != fmt.Sprintf("%d of %d", i, r.Partition) {
				t.Fatalf("partition %d offset %d holds key %q, value %q", r.Partition, r.Offset, r.Key, r.Value)
			}
			got[r.Partition] = append(got[r.Partition], i)
		})
		missing = false
		for p := range partitions {
			missing = missing || len(got[p]) < len(l.acked[p])
		}
	}
	for p := range partitions {
		if len(got[p]) != len(l.acked[p]) {
			t.Fatalf("partition %d has %d records, %d were acknowledged", p, len(got[p]), len(l.acked[p]))
		}
		for i, n := range l.acked[p] {
			if got[p][i] != n {
				t.Fatalf("partition %d: record %d stands at place %d, want %d", p, got[p][i], i, n)
			}
		}
	}
}

func createTopic(ctx context.Context, t *testing.T, c *kgo.Client, configs map[string]*string) {
	t.Helper()
	if _, err := kadm.NewClient(c).CreateTopic(ctx, partitions, 1, configs, "t"); err != nil {
		t.Fatal(err)
	}
}

// useTopic puts a record into each partition: one that was never used has no
// folder.
func useTopic(ctx context.Context, t *testing.T, c *kgo.Client) {
	t.Helper()
	producer, err := kgo.NewClient(append(c.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for p := range int32(partitions) {
		if err := producer.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: p, Value: []byte("used")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// failing is a disk that fails on demand. Each start of a node has another one,
// which works.
type failing struct{ *vfs.Fault }

func (d *failing) over(m *vfs.Memory) vfs.FS {
	d.Fault = vfs.NewFault(m)
	return d.Fault
}

// faulty starts a node on a disk that fails on demand.
func faulty(t *testing.T, set ...string) (*Node, *failing) {
	var disk failing
	return Start(t, Options{Set: set, FS: disk.over}), &disk
}
