// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

const partitions = 3

// produce writes numbered records, one after the other for each partition, and
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

func TestCrashesAndStopsKeepEveryAcknowledgedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := Start(t, Options{Set: []string{"log.segment.bytes=1048576"}})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var l ledger
		for round := range 8 {
			l.produce(ctx, t, c, 50)
			if round%2 == 0 {
				n.Crash()
			} else {
				n.Stop()
			}
			time.Sleep(time.Duration(round) * time.Second)
			n.Up()
		}
		l.produce(ctx, t, c, 10)
		l.check(ctx, t, n)
		c.Close()
		n.Stop()
	})
}

// A producer that is in the middle of things when the node dies must neither
// lose nor double a record: its retries find their batches in the producer
// state that was recovered.
func TestAnIdempotentProducerGoesOnAcrossCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := Start(t, Options{})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond), kgo.RecordRetries(1000))
		createTopic(ctx, t, c, nil)
		random := rand.New(rand.NewPCG(1, 2))
		var l ledger
		done := make(chan error, 10_000)
		sent := 0
		for range 6 {
			for range 300 {
				p := sent % partitions
				i := l.next[p]
				l.next[p]++
				l.acked[p] = append(l.acked[p], i) // every record must arrive in the end
				c.Produce(ctx, &kgo.Record{Topic: "t", Partition: int32(p), Key: []byte(strconv.Itoa(i)), Value: fmt.Appendf(nil, "%d of %d", i, p)},
					func(_ *kgo.Record, err error) { done <- err })
				sent++
				time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
			}
			n.Crash()
			time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
			n.Up()
		}
		for range sent {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		l.check(ctx, t, n)
		c.Close()
		n.Stop()
	})
}

// With flush.messages=1 an acknowledgement means that the record is on the
// disk, so a power cut that drops all that was not synced may take nothing.
func TestPowerCutsKeepWhatWasFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := Start(t, Options{})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, map[string]*string{"flush.messages": kadm.StringPtr("1")})
		var l ledger
		for i, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepTorn, vfs.KeepPrefix, vfs.KeepTorn, vfs.KeepNone} {
			l.produce(ctx, t, c, 20)
			n.PowerCut(vfs.Loss{Data: keep, Entries: keep, Seed: uint64(i)})
			n.Up()
		}
		l.check(ctx, t, n)
		c.Close()
		n.Stop()
	})
}

// A power cut takes nothing that is older than flush.ms, whichever key set it,
// and does take what is younger.
func TestPowerCutsKeepWhatIsOlderThanFlushMs(t *testing.T) {
	for _, how := range []struct {
		set   []string
		topic map[string]*string
	}{
		{nil, map[string]*string{"flush.ms": kadm.StringPtr("1000")}},
		{[]string{"log.flush.interval.ms=1000"}, nil},
		{[]string{"log.flush.scheduler.interval.ms=1000"}, nil},
		{[]string{"log.flush.interval.ms=60000"}, map[string]*string{"flush.ms": kadm.StringPtr("1000")}},
	} {
		t.Run(fmt.Sprint(how.set, len(how.topic)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				n := Start(t, Options{Set: how.set})
				// Not idempotent: it would notice that its last records are gone.
				c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite())
				createTopic(ctx, t, c, how.topic)
				var l ledger
				for i := range 3 {
					l.produce(ctx, t, c, 20)
					time.Sleep(1001 * time.Millisecond)
					kept := l
					l.produce(ctx, t, c, 5)
					n.PowerCut(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone, Seed: uint64(i)})
					n.Up()
					l = kept // the five are lost, and their numbers free
				}
				l.check(ctx, t, n)
				c.Close()
				n.Stop()
			})
		})
	}
}

func TestTopicsOutliveTheNodeAndDieForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		n := Start(t, Options{})
		c := n.Client()
		adm := kadm.NewClient(c)
		for i := range 20 {
			if _, err := adm.CreateTopic(ctx, 5, 1, nil, fmt.Sprint("topic-", i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := adm.DeleteTopic(ctx, "topic-7"); err != nil {
			t.Fatal(err)
		}
		n.Crash()
		n.Up()
		topics, err := adm.ListTopics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(topics) != 19 || topics.Has("topic-7") {
			t.Fatalf("%d topics, topic-7 among them: %v", len(topics), topics.Has("topic-7"))
		}
		// The folders of a deleted topic go after file.delete.delay.ms.
		time.Sleep(2 * time.Minute)
		entries, err := n.Disk.ReadDir("/data")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if len(e.Name) > 7 && e.Name[:7] == "topic-7" {
				t.Errorf("folder %s is still there", e.Name)
			}
		}
		c.Close()
		n.Stop()
	})
}
