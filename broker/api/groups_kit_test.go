// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/coordinator/group"
	"gregor/coordinator/grouprec"
	"gregor/coordinator/shard"
	"gregor/test/memlog"
)

// coordinators are groups on shards over logs in memory, which a test can hold.
type coordinators struct {
	*shard.Shards[machine, *machineOut]
	mu   sync.Mutex
	logs map[kafka.PartitionID]*memlog.Log
	open chan struct{} // a load waits for it
	held bool          // of logs to come
}

type machine struct{ *group.Groups }

func (m machine) Replay(rec grouprec.Record, from shard.Origin) error {
	return m.Groups.Replay(rec, group.Origin(from))
}
func (m machine) Loaded(nowMs int64, out *machineOut) { m.Groups.Loaded(nowMs, &out.Out) }
func (m machine) Tick(nowMs int64, out *machineOut)   { m.Groups.Tick(nowMs, &out.Out) }
func (m machine) Abandon(out *machineOut)             { m.Groups.Abandon(&out.Out) }

type machineOut struct{ group.Out }

func (o *machineOut) Records() ([]grouprec.Record, shard.Producer, bool) {
	return o.Out.Records, shard.Producer{}, false
}

func (o *machineOut) Replies(yield func(shard.Token, kmsg.Response) bool) {
	for _, r := range o.Out.Replies {
		if !yield(shard.Token(r.To), r.Response) {
			return
		}
	}
}

func (s *coordinators) Do(p kafka.PartitionID, t *shard.Ticket, event func(g *group.Groups, nowMs int64, to group.Token, out *group.Out)) error {
	return s.Shards.Do(p, t, func(m machine, nowMs int64, to shard.Token, out *machineOut) {
		event(m.Groups, nowMs, group.Token(to), &out.Out)
	})
}

type topicsOf struct{ images *Images }

func (t topicsOf) Topic(name string) (kafka.TopicID, int32, bool) {
	if topic := t.images.Load().Topic(name); topic != nil {
		return topic.ID, int32(topic.PartitionCount()), true
	}
	return kafka.TopicID{}, 0, false
}

func (t topicsOf) TopicName(id kafka.TopicID) (string, bool) {
	if topic := t.images.Load().TopicByID(id); topic != nil {
		return topic.Name, true
	}
	return "", false
}

func (t topicsOf) Racks(string, kafka.PartitionID) []string { return nil }

func (t topicsOf) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for topic := range t.images.Load().Topics() {
			if !yield(topic.Name) {
				return
			}
		}
	}
}

func (t topicsOf) Version() int64 { return int64(t.images.Load().Offset()) }

func newCoordinators(images *Images) *coordinators {
	s := &coordinators{logs: map[kafka.PartitionID]*memlog.Log{}, open: make(chan struct{})}
	close(s.open)
	n := byte(0)
	s.Shards = shard.New(shard.Options[machine, *machineOut]{
		Name: kafka.OffsetsTopic,
		New: func(kafka.PartitionID) machine {
			return machine{group.New(group.Options{Topics: topicsOf{images},
				RandomUUID: func() (u [16]byte) { n++; u[0] = n; return u }})}
		},
		NewOutput: func() *machineOut { return &machineOut{} },
		Open: func(_ context.Context, p kafka.PartitionID, _ kafka.LeaderEpoch) (shard.Log, error) {
			<-s.open
			return s.log(p), nil
		},
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	return s
}

func (s *coordinators) log(p kafka.PartitionID) *memlog.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[p] == nil {
		s.logs[p] = &memlog.Log{}
		s.logs[p].Hold(s.held)
	}
	return s.logs[p]
}

// follow is what node does when metadata changes.
func (s *coordinators) follow(d *image.Delta) {
	resign, elect := shard.Plan(d, kafka.OffsetsTopic, self)
	for _, p := range resign {
		s.Resign(p)
	}
	for _, e := range elect {
		s.Elect(e.Partition, e.Epoch)
	}
}

// coordinated makes the topic of groups, and waits for its coordinators.
func (n *node) coordinated(t *testing.T) *client {
	t.Helper()
	c := n.dial()
	c.do(finding(6, 0, "g"))
	time.Sleep(time.Second)
	if active, loading := n.groups.Active(); len(active) != 50 || loading {
		t.Fatalf("%d coordinators are there, loading: %v", len(active), loading)
	}
	return c
}
