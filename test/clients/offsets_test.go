// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	committers = 8 // groups
	// nodeDeaths is how often the node ends, every third time cleanly.
	nodeDeaths = 9
	loadTopic  = "offsets-load"
)

// committer commits ever larger offsets of a group without a pause, while it
// runs.
type committer struct {
	group string
	at    int64
	tried [groupPartitions]atomic.Int64
	acked [groupPartitions]atomic.Int64
	count atomic.Int64
}

// run ends with ctx. A commit that is on its way then is not sent again: what
// the node has afterwards is what it kept, not what it was told anew.
func (c *committer) run(ctx context.Context, admin *kadm.Client) {
	for ctx.Err() == nil {
		c.at++
		at, offsets := c.at, kadm.Offsets{}
		for p := range int32(groupPartitions) {
			c.tried[p].Store(at)
			offsets.AddOffset(loadTopic, p, at, -1)
		}
		answer, err := admin.CommitOffsets(ctx, c.group, offsets)
		if err != nil {
			continue // the node is away: the next one is larger
		}
		answer.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil {
				c.acked[o.Partition].Store(at)
				c.count.Add(1)
			}
		})
	}
}

// TestNodeKeepsEveryCommittedOffset ends the node again and again, by SIGKILL
// and by SIGTERM, while groups commit without a pause: what was acknowledged is
// there afterwards, and nothing that was never sent. A group of two members
// reads along through all of it: each record at least once, and none that was
// committed before it was read.
func TestNodeKeepsEveryCommittedOffset(t *testing.T) {
	if os.Getenv("BOOTSTRAP") != "" {
		t.Skip("the broker at BOOTSTRAP is not this test's to kill")
	}
	ctx, cancel := context.WithTimeout(t.Context(), nodeDeaths*killTimeout)
	defer cancel()
	n := newNode(t.TempDir())
	n.set = []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5"}
	if err := n.start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { n.kill() }()
	admin, err := newAdmin(n.address)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.CreateTopic(ctx, groupPartitions, 1, nil, loadTopic); err != nil {
		t.Fatal(err)
	}
	load := startLoad(ctx, t, n.address, loadTopic)
	readers := startReaders(ctx, t, n.address)
	all := newWorkforce(t, n.address)
	defer all.stop()
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range nodeDeaths {
		all.start(ctx)
		for _, c := range all.of {
			for before := c.count.Load(); c.count.Load() == before; time.Sleep(time.Millisecond) {
				if ctx.Err() != nil {
					t.Fatalf("round %d: %s commits nothing any more\n%s", round, c.group, n.log())
				}
			}
		}
		time.Sleep(time.Duration(random.Int64N(int64(300 * time.Millisecond))))
		if round%3 == 2 {
			if err := n.stop(); err != nil {
				t.Fatal(err)
			}
		} else {
			n.kill()
		}
		all.stop()
		if err := n.start(ctx); err != nil {
			t.Fatalf("start %d: %v", round+1, err)
		}
		for _, c := range all.of {
			checkOffsets(ctx, t, admin, c)
		}
	}
	sent := map[int32]int64{}
	for p, count := range load.stop(ctx, t) {
		sent[int32(p)] = count
	}
	readers.finish(ctx, t, admin, sent)
	var commits int64
	for _, c := range all.of {
		commits += c.count.Load()
	}
	t.Logf("%d commits of partitions were acknowledged in %d lives of the node; %d records were read, %d of them again", commits, nodeDeaths+1, readers.read.Load(), readers.again.Load())
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

// workforce are all of them, each with a client of its own; they work between
// start and stop.
type workforce struct {
	of      []*committer
	admins  []*kadm.Client
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newWorkforce(t *testing.T, bootstrap string) *workforce {
	t.Helper()
	all := &workforce{cancel: func() {}}
	for i := range committers {
		own, err := newAdmin(bootstrap)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(own.Close)
		all.of, all.admins = append(all.of, &committer{group: fmt.Sprintf("committer-%d", i)}), append(all.admins, own)
	}
	return all
}

func (a *workforce) start(ctx context.Context) {
	ctx, a.cancel = context.WithCancel(ctx)
	for i, c := range a.of {
		a.running.Go(func() { c.run(ctx, a.admins[i]) })
	}
}

func (a *workforce) stop() {
	a.cancel()
	a.running.Wait()
}

// checkOffsets wants a group to be at least where it was acknowledged to be, and
// no further than it tried. Nobody commits meanwhile.
func checkOffsets(ctx context.Context, t *testing.T, admin *kadm.Client, c *committer) {
	t.Helper()
	for {
		got, err := admin.FetchOffsets(ctx, c.group)
		if err != nil {
			if ctx.Err() != nil {
				t.Fatalf("%s: %v", c.group, err)
			}
			time.Sleep(20 * time.Millisecond) // it loads
			continue
		}
		for p := range int32(groupPartitions) {
			at, _ := got.Lookup(loadTopic, p)
			if least, most := c.acked[p].Load(), c.tried[p].Load(); at.At < least || at.At > most {
				t.Fatalf("%s, partition %d: at %d; acknowledged was %d, tried %d", c.group, p, at.At, least, most)
			}
		}
		return
	}
}

// readers are a group of two that reads the load.
type readers struct {
	clients []*kgo.Client
	running sync.WaitGroup
	stop    context.CancelFunc
	mu      sync.Mutex
	seen    [groupPartitions][]bool // by offset
	read    atomic.Int64
	again   atomic.Int64
}

const readersGroup = "readers"

func startReaders(ctx context.Context, t *testing.T, bootstrap string) *readers {
	t.Helper()
	r := &readers{}
	ctx, r.stop = context.WithCancel(ctx)
	for range 2 {
		client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumerGroup(readersGroup), kgo.ConsumeTopics(loadTopic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
			kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.MetadataMinAge(50*time.Millisecond), kgo.BlockRebalanceOnPoll())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.CloseAllowingRebalance)
		r.clients = append(r.clients, client)
		r.running.Go(func() { r.loop(ctx, client) })
	}
	return r
}

func (r *readers) loop(ctx context.Context, client *kgo.Client) {
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 1000)
		r.mu.Lock()
		fetches.EachRecord(func(rec *kgo.Record) {
			seen := &r.seen[rec.Partition]
			for int64(len(*seen)) <= rec.Offset {
				*seen = append(*seen, false)
			}
			if (*seen)[rec.Offset] {
				r.again.Add(1)
			}
			(*seen)[rec.Offset] = true
			r.read.Add(1)
		})
		r.mu.Unlock()
		once, cancel := context.WithTimeout(ctx, time.Second)
		_ = client.CommitUncommittedOffsets(once) // if not, the next one does
		cancel()
		client.AllowRebalance()
	}
}

// finish waits until the group has committed all, and wants it to have read all.
func (r *readers) finish(ctx context.Context, t *testing.T, admin *kadm.Client, sent map[int32]int64) {
	t.Helper()
	for {
		at := map[int32]int64{}
		if got, err := admin.FetchOffsets(ctx, readersGroup); err == nil {
			got.Each(func(o kadm.OffsetResponse) { at[o.Partition] = o.At })
		}
		if maps.Equal(at, sent) {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the group is at %v of %v", at, sent)
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.stop()
	r.running.Wait()
	for p, end := range sent {
		for o := range end {
			if o >= int64(len(r.seen[p])) || !r.seen[p][o] {
				t.Fatalf("partition %d: the group has committed %d and never read %d", p, end, o)
			}
		}
	}
}
