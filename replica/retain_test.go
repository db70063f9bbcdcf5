// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/base/vfs"
	"gregor/replica/isr"
	"gregor/storage/commitlog"
	"gregor/storage/retention"
	"gregor/storage/segment"
)

// retained is a leader in a directory, whose every record begins a segment.
func retained(t testing.TB, fs vfs.FS, dir string, index int, r retention.Rules) *Partition {
	t.Helper()
	tp := kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionID(index)}
	p := New(kafka.TopicIDPartition{TopicID: kafka.TopicID{1}, Partition: tp.Partition}, tp, time.Now)
	p.SetRules(&Rules{ISR: isr.Rules{MinInsyncReplicas: 1, LagMaxMs: 30_000}, Log: commitlog.Config{SegmentBytes: 100}, Retention: r})
	err := p.Open(func() (*commitlog.Log, error) {
		return commitlog.Open(commitlog.Options{FS: fs, Files: segment.NewFiles(fs, 16), Dir: fmt.Sprintf("%s/t-%d", dir, index), TopicPartition: tp,
			TopicID: kafka.TopicID{1}, Logger: slog.New(slog.DiscardHandler), Now: time.Now, Config: p.Rules().Log})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(func(l *commitlog.Log) error { l.Kill(); return nil }) })
	lead(t, p, leading(0, 0, 1))
	return p
}

func runRetention(t *testing.T, table *Table, interval time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var over sync.WaitGroup
	over.Go(func() { NewRetention(table, time.Now, slog.New(slog.DiscardHandler)).Run(ctx, 0, interval) })
	t.Cleanup(func() { cancel(); over.Wait() })
}

func startsAt(t *testing.T, p *Partition, want kafka.Offset) {
	t.Helper()
	synctest.Wait()
	if tail, _ := p.Tail(); tail.LogStart != want {
		t.Fatalf("%v begins at %d, want %d", p.TopicPartition(), tail.LogStart, want)
	}
}

var minute = retention.Rules{Delete: true, Ms: 60_000, Bytes: -1}

// Records go with the first pass after their time, and looking costs no call
// of the file system.
func TestRetentionPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		table := NewTable()
		p := retained(t, fault, "/a", 0, minute)
		table.Add(p)
		for range 3 {
			if a := appendOne(p, "value"); a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		runRetention(t, table, 7*time.Second)
		before := fault.Count(vfs.OpAny)
		time.Sleep(60 * time.Second)
		startsAt(t, p, 0)
		if n := fault.Count(vfs.OpAny) - before; n != 0 {
			t.Errorf("looking made %d calls of the file system", n)
		}
		time.Sleep(7 * time.Second)
		startsAt(t, p, 3)
		before = fault.Count(vfs.OpAny)
		time.Sleep(time.Hour)
		startsAt(t, p, 3)
		if n := fault.Count(vfs.OpAny) - before; n != 0 {
			t.Errorf("an empty log costs %d calls of the file system", n)
		}
		// Followers too, and by the rules that hold now.
		if a := appendOne(p, "value"); a.Err != nil {
			t.Fatal(a.Err)
		}
		p.Follow(1)
		rules := *p.Rules()
		rules.Retention.Ms = -1
		p.Configure(&rules)
		time.Sleep(time.Hour)
		startsAt(t, p, 3)
		again := rules
		again.Retention = minute
		p.Configure(&again)
		time.Sleep(7 * time.Second)
		startsAt(t, p, 4)
	})
}

// Whoever waits for more learns that the log start has passed them, whatever
// offset they wait for.
func TestRetentionWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := NewTable()
		p := retained(t, vfs.NewMemory(), "/a", 0, minute)
		table.Add(p)
		appendOne(p, "value")
		parker := park.NewParker()
		for bound := commitlog.ToLogEnd; bound <= commitlog.ToLastStable; bound++ {
			p.Await(bound, &park.Entry{Parker: parker}, 1000)
		}
		runRetention(t, table, time.Second)
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if parker.Ready() != nil {
			t.Fatal("woken for nothing")
		}
		time.Sleep(12 * time.Second)
		startsAt(t, p, 1)
		for range 3 {
			if parker.Ready() == nil {
				t.Fatal("not all were woken")
			}
		}
	})
}

// A directory that does not answer holds up its own partitions, not those of
// others.
func TestRetentionBesideADirectoryThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		table := NewTable()
		hangs, works := retained(t, fault, "/a", 0, minute), retained(t, fault, "/b", 1, minute)
		table.Add(hangs)
		table.Add(works)
		for _, p := range []*Partition{hangs, works} {
			appendOne(p, "value")
		}
		fault.Add(vfs.Rule{Ops: vfs.OpAny, Path: "/a/", Delay: time.Hour, Times: 1})
		runRetention(t, table, time.Second)
		for range 3 {
			time.Sleep(62 * time.Second)
			tail, _ := works.Tail()
			startsAt(t, works, tail.LogEnd)
			startsAt(t, hangs, 0)
			appendOne(works, "value")
		}
		time.Sleep(time.Hour)
		startsAt(t, hangs, 1)
	})
}

// DeleteRecords takes all files of many segments, and leaves none to retention.
func TestDeleteRecordsOfManySegments(t *testing.T) {
	memory := vfs.NewMemory()
	p := retained(t, memory, "/a", 0, retention.Rules{})
	for range 50 {
		appendOne(p, "value")
	}
	for _, step := range []struct {
		below kafka.Offset
		files int
	}{{45, 5}, {50, 1}} {
		below, files := step.below, step.files
		if low, err := p.DeleteRecords(below); err != nil || low != below {
			t.Fatal(low, err)
		}
		infos, err := memory.ReadDir("/a/t-0")
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, i := range infos {
			if strings.HasSuffix(i.Name, ".log") {
				left++
			}
		}
		if left != files {
			t.Errorf("%d log files behind offset %d, want %d", left, below, files)
		}
	}
}

// An offline partition is left alone.
func TestRetentionOfAnOfflinePartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		table := NewTable()
		p := retained(t, fault, "/a", 0, minute)
		table.Add(p)
		appendOne(p, "value")
		p.Lose(kafka.KafkaStorageError)
		before := fault.Count(vfs.OpAny)
		runRetention(t, table, time.Second)
		time.Sleep(time.Hour)
		startsAt(t, p, 0)
		if n := fault.Count(vfs.OpAny) - before; n != 0 {
			t.Errorf("%d calls of the file system", n)
		}
	})
}

// A pass over 100,000 partitions that have nothing due.
func BenchmarkRetentionPass(b *testing.B) {
	table := NewTable()
	memory := vfs.NewMemory()
	hint := &commitlog.Hint{LogEnd: 10, LastStable: 10, SizeBytes: 1000, OldestEnd: 10, OldestSizeBytes: 1000, OldestNewestMs: time.Now().UnixMilli()}
	for i := range 100_000 {
		tp := kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionID(i)}
		p := New(kafka.TopicIDPartition{TopicID: kafka.TopicID{1}, Partition: tp.Partition}, tp, time.Now)
		p.SetRules(&Rules{Retention: minute})
		if err := p.Open(func() (*commitlog.Log, error) {
			return commitlog.Open(commitlog.Options{FS: memory, Dir: "/a", TopicPartition: tp, Now: time.Now, Hint: hint, CleanStart: true, HighWatermark: 10})
		}); err != nil {
			b.Fatal(err)
		}
		table.Add(p)
	}
	r := NewRetention(table, func() time.Time { return time.UnixMilli(hint.OldestNewestMs) }, slog.New(slog.DiscardHandler))
	b.ReportAllocs()
	for b.Loop() {
		r.pass(b.Context())
	}
}
