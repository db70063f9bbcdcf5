// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	groupPartitions = 4
	// groupSessionMs is what a member may be silent for: long enough that none
	// is only slow.
	groupSessionMs = 60_000
	// killedSessionMs is that of a member that is killed, which the others wait
	// for.
	killedSessionMs = 6000
)

// groupNode is the broker that the tests of groups share; its groups wait for
// nobody.
var groupNode struct {
	once sync.Once
	node *node
	err  error
}

func groupBroker(t *testing.T) string {
	t.Helper()
	if given := os.Getenv("BOOTSTRAP"); given != "" {
		return given
	}
	groupNode.once.Do(func() {
		var dir string
		if dir, groupNode.err = os.MkdirTemp("", "gregor-groups-"); groupNode.err != nil {
			return
		}
		groupNode.node = newNode(dir)
		groupNode.node.set = []string{"group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1000"}
		groupNode.err = groupNode.node.start(context.Background())
	})
	if groupNode.err != nil {
		t.Fatal(groupNode.err)
	}
	return groupNode.node.address
}

// TestGroups plays the life of a group with each client in each of its ways:
// members come, share, leave and are killed, and each reads on where the one
// before it had committed.
func TestGroups(t *testing.T) {
	for _, c := range groupClients() {
		for _, way := range []struct {
			name              string
			cooperative, auto bool
		}{{"eager, manual", false, false}, {"eager, auto", false, true}, {"cooperative, manual", true, false}} {
			if way.cooperative && !c.cooperates() {
				continue
			}
			t.Run(c.name()+"/"+way.name, func(t *testing.T) {
				t.Parallel()
				groupLife(t, task{Client: c.name(), Bootstrap: groupBroker(t), Cooperative: way.cooperative, Auto: way.auto, SessionMs: groupSessionMs})
			})
		}
	}
}

func groupLife(t *testing.T, of task) {
	of.Topic = topicName("group", of.Client)
	of.Group = of.Topic
	createTopic(t, of.Bootstrap, of.Topic, groupPartitions, nil)
	fill(t, of, 0, 50)
	first := startMember(t, "the first", of)
	first.untilHolds(t, groupPartitions)
	first.untilRead(t, 0, 50)
	first.commits(t, of, 50)

	// Another comes: each has half, and what comes next is read once.
	second := startMember(t, "the second", of)
	shares(t, first, second)
	fill(t, of, 50, 80)
	readBetween(t, 50, 80, first, second)
	first.commits(t, of, 0)
	second.commits(t, of, 80)

	// One leaves: the other has all, long before a session is over.
	began := time.Now()
	second.leave(t)
	first.untilHolds(t, groupPartitions)
	if took := time.Since(began); took >= groupSessionMs*time.Millisecond {
		t.Errorf("a member that left was missed for %v", took)
	}

	// One is killed: the other has all when its session is over.
	shortly := of
	shortly.SessionMs = killedSessionMs
	third := startMember(t, "the third", shortly)
	shares(t, first, third)
	third.kill()
	first.untilHolds(t, groupPartitions)
	first.leave(t)

	// The group is empty. Who comes reads on where it was.
	fill(t, of, 80, 90)
	last := startMember(t, "the last", of)
	last.untilRead(t, 80, 90)
	last.leave(t)

	// Another group reads everything.
	other := of
	other.Group += "-other"
	independent := startMember(t, "of another group", other)
	independent.untilRead(t, 0, 90)
	independent.leave(t)
}

// TestStaticMembers: one that is killed and comes back within its session gets
// what it had, and the other hears of nothing.
func TestStaticMembers(t *testing.T) {
	for _, c := range groupClients() {
		if !c.isStatic() {
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			of := task{Client: c.name(), Bootstrap: groupBroker(t), Topic: topicName("static", c.name()), SessionMs: groupSessionMs}
			of.Group = of.Topic
			createTopic(t, of.Bootstrap, of.Topic, groupPartitions, nil)
			of.Instance = "one"
			one := startMember(t, "one", of)
			one.untilHolds(t, groupPartitions)
			of.Instance = "two"
			two := startMember(t, "two", of)
			shares(t, one, two)
			had, _ := two.holding()
			_, changes := one.holding()
			two.kill()
			again := startMember(t, "two again", of)
			again.untilHolds(t, groupPartitions/2)
			if got, _ := again.holding(); !slices.Equal(got, had) {
				t.Errorf("it had %v and came back to %v", had, got)
			}
			if _, now := one.holding(); now != changes {
				t.Errorf("the other was rebalanced %d times", now-changes)
			}
		})
	}
}

// fill writes records from..to-1 of every partition.
func fill(t *testing.T, of task, from, to int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(of.Bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for p := range int32(groupPartitions) {
		for i := from; i < to; i++ {
			records = append(records, &kgo.Record{Topic: of.Topic, Partition: p, Value: fmt.Append(nil, i)})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// shares waits until two members have half of the partitions each.
func shares(t *testing.T, a, b *member) {
	t.Helper()
	for deadline := time.Now().Add(memberTimeout); ; time.Sleep(10 * time.Millisecond) {
		of, _ := a.holding()
		and, _ := b.holding()
		all := slices.Concat(of, and)
		slices.Sort(all)
		if len(of) == groupPartitions/2 && slices.Equal(all, []int32{0, 1, 2, 3}) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s holds %v, %s %v", a.name, of, b.name, and)
		}
	}
}

// untilRead waits until a member has read from..to-1 of every partition, and
// wants it to have begun there, and each once.
func (m *member) untilRead(t *testing.T, from, to int64) {
	t.Helper()
	readBetween(t, from, to, m)
}

// readBetween waits until members have read from..to-1 of every partition, and
// wants each to be read once.
func readBetween(t *testing.T, from, to int64, members ...*member) {
	t.Helper()
	read := func() (all map[int32][]int64) {
		all = map[int32][]int64{}
		for _, m := range members {
			m.mu.Lock()
			for p, offsets := range m.seen {
				for _, o := range offsets {
					if o >= from || len(members) == 1 {
						all[p] = append(all[p], o)
					}
				}
			}
			m.mu.Unlock()
		}
		return all
	}
	var want []int64
	for o := from; o < to; o++ {
		want = append(want, o)
	}
	for deadline := time.Now().Add(memberTimeout); ; time.Sleep(10 * time.Millisecond) {
		all, good := read(), true
		for p := range int32(groupPartitions) {
			good = good && len(all[p]) >= len(want)
		}
		if good {
			time.Sleep(50 * time.Millisecond) // more than these must not come
			for p, offsets := range read() {
				if slices.Sort(offsets); !slices.Equal(offsets, want) {
					t.Errorf("partition %d: read %v, want %d to %d", p, offsets, from, to-1)
				}
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not read from %d to %d: %v", from, to, counts(all))
		}
	}
}

// commits has a member commit, and waits until the group is everywhere at an
// offset, if one is given.
func (m *member) commits(t *testing.T, of task, at int64) {
	t.Helper()
	if !of.Auto {
		m.commit(t)
	}
	if at == 0 {
		return
	}
	admin, err := newAdmin(of.Bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for deadline := time.Now().Add(memberTimeout); ; time.Sleep(20 * time.Millisecond) {
		offsets, err := admin.FetchOffsets(t.Context(), of.Group)
		if err != nil {
			t.Fatal(err)
		}
		good := len(offsets[of.Topic]) == groupPartitions
		offsets.Each(func(o kadm.OffsetResponse) { good = good && o.At == at })
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the group is not at %d but at %v", m.name, at, offsets)
		}
	}
}
