// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/vfs"
)

// slow makes the node's clocks tick so seldom that days pass quickly.
var slow = []string{
	"broker.heartbeat.interval.ms=1200000", "broker.session.timeout.ms=36000000",
	"replica.high.watermark.checkpoint.interval.ms=3600000", "log.flush.offset.checkpoint.interval.ms=3600000",
}

// retained drives a node with topic t whose every record begins a segment.
type retained struct {
	*Node
	t     *testing.T
	ctx   context.Context
	c     *kgo.Client
	admin *kadm.Client
}

func startRetained(ctx context.Context, t *testing.T, o Options, configs map[string]string) *retained {
	t.Helper()
	r := &retained{Node: Start(t, o), t: t, ctx: ctx}
	r.c = r.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	r.admin = kadm.NewClient(r.c)
	all := map[string]*string{"segment.ms": kadm.StringPtr("1")}
	for k, v := range configs {
		all[k] = &v
	}
	createTopic(ctx, t, r.c, all)
	return r
}

func (r *retained) produce(n int) {
	r.t.Helper()
	for range n {
		time.Sleep(2 * time.Millisecond)
		if err := r.c.ProduceSync(r.ctx, &kgo.Record{Topic: "t", Value: []byte("value")}).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// holds compares where the log begins and ends with what is asked for.
func (r *retained) holds(what string, start, end int64) {
	r.t.Helper()
	starts, err := r.admin.ListStartOffsets(r.ctx, "t")
	if err != nil {
		r.t.Fatal(err)
	}
	ends, err := r.admin.ListEndOffsets(r.ctx, "t")
	if err != nil {
		r.t.Fatal(err)
	}
	s, _ := starts.Lookup("t", 0)
	e, _ := ends.Lookup("t", 0)
	if s.Err != nil || e.Err != nil || s.Offset != start || e.Offset != end {
		r.t.Fatalf("%s: partition 0 goes from %d to %d, want %d to %d (%v, %v)", what, s.Offset, e.Offset, start, end, s.Err, e.Err)
	}
}

// files lists the files of partition 0 with one of the suffixes.
func (r *retained) files(suffixes ...string) (found []string) {
	r.t.Helper()
	infos, err := r.Disk.ReadDir("/data/t-0")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, i := range infos {
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(i.Name, s) }) {
			found = append(found, i.Name)
		}
	}
	return found
}

// A record is kept for seven days by default, and no longer than its segment;
// offsets go on.
func TestRecordsGoAfterSevenDays(t *testing.T) {
	bubble(t, 100*24*time.Hour, func(ctx context.Context, t *testing.T) {
		r := startRetained(ctx, t, Options{Set: slow}, nil)
		r.c.Close()
		day := 24 * time.Hour
		for d := range int64(10) {
			r.c = r.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
			r.admin = kadm.NewClient(r.c)
			r.produce(1)
			r.holds("after days", max(0, d-7), d+1)
			r.c.Close()
			time.Sleep(day)
		}
		time.Sleep(8 * day)
		r.c = r.Client()
		r.admin = kadm.NewClient(r.c)
		r.holds("at the end", 10, 10)
		if left := r.files(".log", ".deleted", "index"); len(left) > 4 {
			t.Errorf("files %v", left)
		}
		r.produce(1)
		r.holds("after another record", 10, 11)
		r.c.Close()
		r.Stop()
	})
}

// A topic that nobody uses loses its old records too, whatever lies between:
// days in which the node is down, a clean restart, a crash. It is not opened
// before there is something to delete.
func TestRetentionOfIdleTopics(t *testing.T) {
	for _, stop := range []string{"stop", "crash"} {
		t.Run(stop, func(t *testing.T) {
			bubble(t, 100*24*time.Hour, func(ctx context.Context, t *testing.T) {
				var disk failing
				o := Options{Set: slow, FS: disk.over}
				r := startRetained(ctx, t, o, nil)
				r.produce(3)
				r.c.Close() // it would look for news for days
				down := func(d time.Duration) {
					if stop == "stop" {
						r.Stop()
					} else {
						r.Crash()
					}
					time.Sleep(d)
					r.Up()
				}
				holds := func(what string, start, end int64) {
					t.Helper()
					r.c = r.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
					r.admin = kadm.NewClient(r.c)
					r.holds(what, start, end)
					r.c.Close()
				}
				down(6 * 24 * time.Hour)
				time.Sleep(time.Hour)
				if stop == "stop" {
					before := disk.Count(vfs.OpOpen)
					time.Sleep(4 * time.Hour) // four dozen passes
					// The checkpoints of the directory are written a few times; no log is opened.
					if n := disk.Count(vfs.OpOpen) - before; n > 12 {
						t.Errorf("%d files were opened while nothing was due", n)
					}
				}
				holds("after six days", 0, 3)
				down(24 * time.Hour)
				time.Sleep(29 * time.Second)
				holds("before log.initial.task.delay.ms", 0, 3)
				time.Sleep(2 * time.Second)
				holds("after it", 3, 3)
				down(0)
				holds("after another start", 3, 3)
				if left := r.files(".deleted"); stop == "stop" && len(left) > 0 {
					t.Errorf("the next start would not look for %v", left)
				}
				time.Sleep(61 * time.Second)
				if left := r.files(".deleted", "0.log", "0.index"); len(left) > 0 {
					t.Errorf("left are %v", left)
				}
				r.c = r.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
				r.admin = kadm.NewClient(r.c)
				r.produce(1)
				r.holds("after another record", 3, 4)
				r.c.Close()
				r.Stop()
			})
		})
	}
}

// Changed configurations count from the next pass on, a topic's own before
// those of brokers; the files go after the topic's own delay.
func TestRetentionFollowsTheConfiguration(t *testing.T) {
	bubble(t, 24*time.Hour, func(ctx context.Context, t *testing.T) {
		o := Options{Set: []string{"log.retention.check.interval.ms=1000", "log.initial.task.delay.ms=0", "log.retention.hours=1"}}
		r := startRetained(ctx, t, o, map[string]string{"retention.bytes": "1000000"})
		r.produce(10)
		time.Sleep(10 * time.Second)
		r.holds("at first", 0, 10)
		size := int64(0)
		for i, name := range r.files(".log") {
			info, err := r.Disk.Stat("/data/t-0/" + name)
			if err != nil || i > 0 && info.SizeBytes != size {
				t.Fatalf("%s: %v, %v", name, info, err)
			}
			size = info.SizeBytes
		}
		alter(ctx, t, r.admin, "t", "file.delete.delay.ms", "5000")
		alter(ctx, t, r.admin, "t", "retention.bytes", "300")
		time.Sleep(1100 * time.Millisecond)
		left := 300/size + 1 // never below 300 bytes
		r.holds("by size", 10-left, 10)
		if n := len(r.files(".log")); int64(n) != left {
			t.Errorf("%d log files, want %d", n, left)
		}
		if len(r.files(".log.deleted")) != 10-int(left) {
			t.Errorf("%v", r.files(".deleted"))
		}
		time.Sleep(4 * time.Second)
		if len(r.files(".deleted")) == 0 {
			t.Error("deleted files are gone before their time")
		}
		time.Sleep(time.Second)
		if gone := r.files(".deleted"); len(gone) > 0 {
			t.Errorf("%v are there after file.delete.delay.ms", gone)
		}
		alter(ctx, t, r.admin, "", "log.retention.ms", "3600000")
		alter(ctx, t, r.admin, "t", "retention.ms", "-1")
		alter(ctx, t, r.admin, "", "log.retention.ms", "1000")
		time.Sleep(10 * time.Second)
		r.holds("for ever by the topic's own", 10-left, 10)
		alter(ctx, t, r.admin, "t", "cleanup.policy", "compact")
		alter(ctx, t, r.admin, "t", "retention.ms", "")
		time.Sleep(10 * time.Second)
		r.holds("compacted only", 10-left, 10)
		alter(ctx, t, r.admin, "t", "cleanup.policy", "compact,delete")
		time.Sleep(1100 * time.Millisecond)
		r.holds("by the brokers' time", 10, 10)
		r.c.Close()
		r.Stop()
	})
}

// A fetch that waits for more than there is hears at once that its records are
// gone, by retention as by DeleteRecords.
func TestSleepingFetchLearnsThatItsRecordsAreGone(t *testing.T) {
	for _, how := range []string{"retention", "DeleteRecords"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
				o := Options{Set: []string{"log.retention.check.interval.ms=1000", "log.initial.task.delay.ms=0"}}
				r := startRetained(ctx, t, o, nil)
				r.produce(3)
				meta, err := r.admin.ListTopics(ctx, "t")
				if err != nil {
					t.Fatal(err)
				}
				answered := make(chan *kmsg.FetchResponse, 1)
				reader := r.Client()
				defer reader.Close()
				go func() {
					req := kmsg.NewPtrFetchRequest()
					req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 240_000, 1<<20, 2<<20
					topic := kmsg.NewFetchRequestTopic()
					topic.Topic, topic.TopicID = "t", [16]byte(meta["t"].ID)
					p := kmsg.NewFetchRequestTopicPartition()
					p.FetchOffset, p.PartitionMaxBytes = 1, 1<<20
					topic.Partitions = append(topic.Partitions, p)
					req.Topics = append(req.Topics, topic)
					resp, err := req.RequestWith(ctx, reader.Broker(int(r.NodeID())))
					if err != nil {
						t.Error(err)
					}
					answered <- resp
				}()
				time.Sleep(10 * time.Second)
				select {
				case resp := <-answered:
					t.Fatalf("answered early: %+v", resp)
				default:
				}
				began := time.Now()
				if how == "retention" {
					alter(ctx, t, r.admin, "t", "retention.ms", "1000")
				} else {
					var below kadm.Offsets
					below.AddOffset("t", 0, 2, -1)
					if _, err := r.admin.DeleteRecords(ctx, below); err != nil {
						t.Fatal(err)
					}
				}
				resp := <-answered
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it learnt so after %v", took)
				}
				if got := resp.Topics[0].Partitions[0]; kerr.ErrorForCode(got.ErrorCode) != kerr.OffsetOutOfRange {
					t.Errorf("%+v", got)
				}
				r.c.Close()
				reader.Close()
				r.Stop()
			})
		})
	}
}
