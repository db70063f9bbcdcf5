// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/vfs"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// fetchAt asks a partition for what is at an offset, with next to no patience.
func (r *retained) fetchAt(topicID [16]byte, offset int64, waitMs int32, session, epoch int32) (next int64, sessionID int32, err error) {
	r.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = waitMs, 1, 1<<20
	req.SessionID, req.SessionEpoch = session, epoch
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = offset, 100, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", TopicID: topicID, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	got, err := req.RequestWith(r.ctx, r.c)
	if err != nil {
		return offset, 0, err
	}
	next = offset
	for _, topic := range got.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return offset, got.SessionID, err
			}
			for b := p.RecordBatches; len(b) > 0; {
				h, err := batch.Parse(b)
				if err != nil || batch.VerifyCRC(b[:h.SizeBytes()]) != nil || int64(h.LastOffset()) < next {
					return next, 0, fmt.Errorf("offset %d: %+v, %v", next, h, err)
				}
				next, b = int64(h.NextOffset()), b[h.SizeBytes():]
			}
		}
	}
	return next, got.SessionID, nil
}

func (r *retained) topicID() kadm.TopicID {
	r.t.Helper()
	topics, err := r.admin.ListTopics(r.ctx, "t")
	if err != nil {
		r.t.Fatal(err)
	}
	return topics["t"].ID
}

// What lies below the high watermark is in every answer, however long the disk
// takes for it and however little the client waits.
func TestSlowDiskDelaysAnAnswerAndDoesNotEmptyIt(t *testing.T) {
	for _, waitMs := range []int32{0, 1, 20} {
		for _, withSession := range []bool{false, true} {
			bubble(t, 2*time.Hour, func(ctx context.Context, t *testing.T) {
				var disk failing
				r := startRetained(ctx, t, Options{Set: slow, FS: disk.over},
					map[string]string{"segment.ms": "30"})
				r.produce(60)
				r.Stop()
				r.Up()
				disk.Add(vfs.Rule{Ops: vfs.OpRead, Path: "/t-0/", Delay: 300 * time.Millisecond})
				id := r.topicID()
				session, epoch := int32(0), int32(-1)
				if withSession {
					epoch = 0
				}
				for at := int64(0); at < 60; {
					next, sessionID, err := r.fetchAt(id, at, waitMs, session, epoch)
					if err != nil || next == at {
						t.Fatalf("wait %d ms, session %v: nothing at offset %d: %v", waitMs, withSession, at, err)
					}
					if at = next; withSession {
						session, epoch = sessionID, epoch+1
					}
				}
				r.Stop()
			})
		}
	}
}

// A bit that flipped while the node was down, and one that flips while it runs:
// no client is given the record, all others are served, and it is told once.
func TestNoClientIsGivenAFlippedRecord(t *testing.T) {
	for _, running := range []bool{false, true} {
		bubble(t, 10*time.Hour, func(ctx context.Context, t *testing.T) {
			log := newLines()
			r := startRetained(ctx, t, Options{Log: log, Set: append(slices.Clone(slow), "gregor.log.scrub.interval.ms=60000")}, map[string]string{"segment.ms": "15"})
			r.produce(30)
			if !running {
				r.Stop()
			}
			r.flip()
			if running {
				time.Sleep(3 * time.Minute)
			} else {
				r.Up()
			}
			id := r.topicID()
			var bad []int64
			for range 3 {
				bad = nil
				for at := int64(0); at < 30; {
					next, _, err := r.fetchAt(id, at, 0, 0, -1)
					switch {
					case errors.Is(err, kerr.CorruptMessage):
						bad = append(bad, at)
						next = at + 1
					case err != nil || next == at:
						t.Fatalf("offset %d: %v", at, err)
					}
					at = next
				}
			}
			if len(bad) != 1 {
				t.Fatalf("running %v: offsets that are not served: %v", running, bad)
			}
			if n := log.count("records cannot be served"); n != 1 {
				t.Errorf("it was told %d times", n)
			}
			c := r.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(bad[0] + 1)}}))
			for n := 0; n < 29-int(bad[0]); {
				got := c.PollFetches(ctx)
				if err := got.Err(); err != nil {
					t.Fatal(err)
				}
				n += got.NumRecords()
			}
			c.Close()
			r.Stop()
		})
	}
}

// flip changes a bit in the records of the first segment's second batch.
func (r *retained) flip() {
	r.t.Helper()
	f, err := r.Disk.Open("/data/t-0/"+segment.Name(0, segment.LogSuffix), vfs.ReadWrite, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1<<10)
	n, _ := f.ReadAt(b, 0)
	first, err := batch.Parse(b[:n])
	if err != nil || n < first.SizeBytes()+70 {
		r.t.Fatal(n, err)
	}
	at := first.SizeBytes() + 65
	if _, err := f.WriteAt([]byte{b[at] ^ 1}, int64(at)); err != nil {
		r.t.Fatal(err)
	}
}

// lines keeps the messages of a node's log.
type lines struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func newLines() *lines { return &lines{} }

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r.Message)
	return nil
}

func (l *lines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.list {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
