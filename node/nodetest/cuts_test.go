// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// life is what clients know of the topic that has a name now.
type life struct {
	present bool
	asked   bool // to be created or deleted, without an answer yet
	number  int  // of the topics of this name
	issued  int  // records that were sent
	acked   int  // and of those, that were acknowledged
}

// world is what clients know of all topics.
type world struct {
	mu     sync.Mutex // guards topics
	topics map[string]life
}

func (w *world) change(name string, f func(*life)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.topics[name]
	f(&l)
	w.topics[name] = l
}

func (w *world) known() map[string]life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.topics)
}

func (w *world) create(ctx context.Context, t *testing.T, c *kgo.Client, name string) {
	t.Helper()
	w.change(name, func(l *life) { *l = life{asked: true, number: l.number + 1} })
	if _, err := kadm.NewClient(c).CreateTopic(ctx, 1, 1, map[string]*string{"flush.messages": kadm.StringPtr("1")}, name); err != nil {
		t.Fatal(err)
	}
	w.change(name, func(l *life) { l.asked, l.present = false, true })
}

func (w *world) delete(ctx context.Context, t *testing.T, c *kgo.Client, name string) {
	t.Helper()
	w.change(name, func(l *life) { l.asked = true })
	if _, err := kadm.NewClient(c).DeleteTopic(ctx, name); err != nil {
		t.Fatal(err)
	}
	w.change(name, func(l *life) { *l = life{number: l.number} })
}

func (w *world) produce(ctx context.Context, t *testing.T, n *Node, name string, records int) {
	t.Helper()
	c := n.Client() // one that has not known an earlier topic of this name
	defer c.Close()
	for range records {
		r := &kgo.Record{Topic: name}
		w.change(name, func(l *life) { r.Value = fmt.Appendf(nil, "%d of %d", l.issued, l.number); l.issued++ })
		if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.change(name, func(l *life) { l.acked++ })
	}
}

// cut is a disk as a power cut has left it, and what clients knew then.
type cut struct {
	number int64
	call   vfs.Call
	disk   *vfs.Memory
	known  map[string]life
}

// A node is formed, topics come, go and come again under their names, the node
// is stopped and started; before each call that changes the disk the power is
// cut. The next start needs no help, holds every acknowledged record and topic,
// no deleted one, and serves them all.
func TestPowerCutsAnywhereInALife(t *testing.T) {
	bubble(t, 1000*time.Hour, func(ctx context.Context, t *testing.T) {
		w := world{topics: map[string]life{}}
		var mu sync.Mutex
		var cuts []cut
		calls := int64(0)
		n := Prepare(t, Options{FS: func(m *vfs.Memory) vfs.FS {
			c := vfs.NewCrash(m)
			c.Observe(func(_ int64, call vfs.Call) {
				if call.Op == vfs.OpRename && strings.Contains(call.Path, "-0") {
					time.Sleep(50 * time.Millisecond) // a topic is created again before the old one's folder is out of its way
				}
				mu.Lock()
				defer mu.Unlock()
				calls++
				keep := []vfs.Keep{vfs.KeepNone, vfs.KeepTorn, vfs.KeepAll}[calls%3]
				known := w.known()
				cuts = append(cuts, cut{calls, call, c.Image(vfs.Loss{Data: keep, Entries: keep, Seed: uint64(calls)}), known})
			})
			return c
		}})
		n.Up()
		c := n.Client()
		w.create(ctx, t, c, "a")
		w.create(ctx, t, c, "b")
		w.produce(ctx, t, n, "a", 5)
		w.produce(ctx, t, n, "b", 3)
		w.delete(ctx, t, c, "a")
		w.create(ctx, t, c, "a")
		w.produce(ctx, t, n, "a", 2)
		w.delete(ctx, t, c, "b")
		time.Sleep(2 * time.Minute) // recovery points, and the folders of what was deleted
		n.Stop()
		n.Up()
		w.produce(ctx, t, n, "a", 2)
		for range 3 {
			w.delete(ctx, t, c, "a")
			w.create(ctx, t, c, "a")
		}
		w.produce(ctx, t, n, "a", 2)
		c.Close()
		n.Stop()
		if len(cuts) < 200 {
			t.Errorf("only %d places to cut", len(cuts))
		}
		for _, x := range cuts {
			x.check(ctx, t)
			if t.Failed() {
				t.Fatalf("cut %d of %d, before %v of %s; clients knew %+v", x.number, len(cuts), x.call.Op, x.call.Path, x.known)
			}
		}
	})
}

func (x *cut) check(ctx context.Context, t *testing.T) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n := Prepare(t, Options{Seed: uint64(x.number)})
	n.Disk = x.disk
	n.Up()
	c := n.Client()
	defer c.Close()
	topics, err := kadm.NewClient(c).ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range x.known {
		switch has := topics.Has(name); {
		case has && !l.asked && !l.present:
			t.Errorf("topic %s is back", name)
		case !has && !l.asked && l.present:
			t.Errorf("topic %s is gone", name)
		case has:
			x.checkTopic(ctx, t, n, name, l)
		}
	}
	n.Stop()
}

func (x *cut) checkTopic(ctx context.Context, t *testing.T, n *Node, name string, l life) {
	c := n.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("the last")}).FirstErr(); err != nil {
		t.Errorf("topic %s takes no record: %v", name, err)
		return
	}
	for i := 0; ; {
		fs := c.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fs.Records() {
			switch string(r.Value) {
			case "the last":
				if i < l.acked || i > l.issued {
					t.Errorf("topic %s has %d records, %d were sent and %d acknowledged", name, i, l.issued, l.acked)
				}
				return
			case fmt.Sprintf("%d of %d", i, l.number):
				i++
			default:
				t.Errorf("topic %s holds %q where %d of %d is due", name, r.Value, i, l.number)
				return
			}
		}
	}
}
