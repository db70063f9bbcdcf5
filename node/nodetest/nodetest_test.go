// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

func TestCrashesAndStopsKeepEveryAcknowledgedRecord(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
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
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
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
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
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
			bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
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
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
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
