// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/interop/client"
	"gregor/test/interop/kafka"
)

const (
	groupPartitions = 4
	// groupTimeout is for what a group has to do: more than the short session,
	// far less than the long one.
	groupTimeout = 150 * time.Second
	// shortSession is of a member that is killed: its end is what tells. Until
	// then a heartbeat may be late.
	shortSession = 15 * time.Second
	// longSession is of one that leaves: its end comes too late to tell. librdkafka
	// allows no more than five minutes.
	longSession = 280 * time.Second
)

// Which clients do more than the classic protocol with eager assignors. One
// that learns it must come here.
var (
	doCooperative = []string{"java", "confluent-kafka-python", "confluent-kafka-javascript"}
	doConsumer    = []string{"java", "confluent-kafka-python", "confluent-kafka-javascript"}
)

// TestClientsInGroups has each client read as members of groups, by each
// protocol that it can do.
func TestClientsInGroups(t *testing.T) {
	t.Parallel()
	all := allClients(t)
	n := startWith(t, filepath.Join(t.TempDir(), "data"), append(slices.Clone(forGroups), "group.consumer.max.session.timeout.ms=600000")...)
	t.Run("life", func(t *testing.T) {
		for _, protocol := range []struct {
			name string
			does func(c *client.Client) bool
		}{
			{"classic", func(*client.Client) bool { return true }},
			{"cooperative", func(c *client.Client) bool { return slices.Contains(doCooperative, c.Name) }},
			{"consumer", func(c *client.Client) bool { return slices.Contains(doConsumer, c.Name) }},
		} {
			for _, c := range all {
				t.Run(protocol.name+"/"+c.Name, func(t *testing.T) {
					t.Parallel() // most of it is waiting
					l := newGroupLife(t, n, c, protocol.name)
					if !protocol.does(c) {
						l.lacks(t)
						return
					}
					l.live(t)
				})
			}
		}
	})
	n.Stop(t)
}

// groupLife is a topic, of whose partitions every one gets another number of
// records, and a group that reads it.
type groupLife struct {
	node    *kafka.Node
	client  *client.Client
	admin   *kadm.Client
	request client.GroupRequest
	topic   string
	ends    offsets
}

// offsets are by partition.
type offsets map[int32]int64

func newGroupLife(t *testing.T, n *kafka.Node, c *client.Client, protocol string) *groupLife {
	t.Helper()
	l := &groupLife{node: n, client: c, admin: newAdmin(t, n.Address), topic: fmt.Sprintf("group-%s-%s", protocol, c.Name), ends: offsets{}}
	createTopic(t.Context(), t, l.admin, l.topic, groupPartitions, nil)
	l.request = client.GroupRequest{Bootstrap: n.Address, Group: l.topic, Topics: []string{l.topic}, Protocol: protocol}
	return l
}

// lacks wants the client to say that it cannot do the protocol.
func (l *groupLife) lacks(t *testing.T) {
	t.Helper()
	s := l.client.Join(t, l.request)
	if line := s.Next(t); !line.Lacks {
		t.Errorf("%s does the %s protocol: %+v; the test's list says that it does not", l.client.Name, l.request.Protocol, line)
	}
}

// live: a member reads all, commits and leaves; its successor begins there. A
// second one joins and takes half of the partitions; it gives them back when it
// leaves, in a session that lasts longer than anyone waits, and the one that
// stays goes on where it had committed. A third one has the half, reads without a
// commit and is killed: the one that stays reads that again. Another group reads
// all of it meanwhile, and neither knows of the other's offsets.
func (l *groupLife) live(t *testing.T) {
	l.session(t, longSession)
	l.write(t, 50)
	first := l.join(t, l.request)
	first.owns(t)
	l.isOfType(t)
	first.reads(t, offsets{}, l.ends)
	first.commits(t, l.ends)
	first.closes(t)

	// Resume from the committed offset.
	begin := maps.Clone(l.ends)
	l.write(t, 30)
	stays := l.join(t, l.request)
	stays.owns(t)
	stays.reads(t, begin, l.ends)
	stays.commits(t, l.ends)

	// Rebalance on join.
	leaves := l.join(t, l.request)
	share(t, stays, leaves)
	begin = maps.Clone(l.ends)
	l.write(t, 20)
	for _, m := range []*member{stays, leaves} {
		m.reads(t, m.part(begin), m.part(l.ends))
		m.commits(t, m.part(l.ends))
	}

	// Rebalance on leave.
	leaves.closes(t)
	stays.owns(t)
	begin = maps.Clone(l.ends)
	l.write(t, 20)
	stays.reads(t, begin, l.ends)
	stays.commits(t, l.ends)

	// Rebalance on kill.
	l.session(t, shortSession)
	dies := l.join(t, l.request)
	share(t, stays, dies)
	begin = maps.Clone(l.ends)
	l.write(t, 20)
	dies.reads(t, dies.part(begin), dies.part(l.ends))
	stays.reads(t, stays.part(begin), stays.part(l.ends))
	stays.commits(t, stays.part(l.ends))
	dies.session.Kill()
	stays.owns(t)
	stays.reads(t, dies.part(begin), dies.part(l.ends))
	stays.commits(t, dies.part(l.ends))

	// Two groups of one topic.
	before, request := maps.Clone(l.ends), l.request
	request.Group += "-other"
	l.write(t, 20)
	other := l.join(t, request)
	other.owns(t)
	other.reads(t, offsets{}, l.ends)
	other.commits(t, l.ends)
	stays.reads(t, before, l.ends)
	if len(stays.holds) != groupPartitions {
		t.Errorf("%s holds %v after another group was joined", stays.name, stays.holds)
	}
	other.closes(t)
	stays.closes(t)
	l.administer(t, map[string]offsets{l.request.Group: before, request.Group: l.ends})
}

// session sets how long members may be silent: of the classic protocol those
// that join from now on, of the consumer protocol all of the group.
func (l *groupLife) session(t *testing.T, timeout time.Duration) {
	t.Helper()
	l.request.SessionTimeoutMs = int(timeout.Milliseconds())
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource, config := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "consumer.session.timeout.ms", value(fmt.Sprint(timeout.Milliseconds()))
	resource.ResourceType, resource.ResourceName, resource.Configs = kmsg.ConfigResourceTypeGroupConfig, l.request.Group, append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	c, err := kgo.NewClient(kgo.SeedBrokers(l.node.Address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("session timeout of the group: %v %+v", err, resp)
	}
}

// write gives each partition some records more, of every other one another number.
func (l *groupLife) write(t *testing.T, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(l.node.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var records []*kgo.Record
	for p := range int32(groupPartitions) {
		for range count + 7*int(p) {
			records = append(records, makeRecord(l.topic, int(p), int(l.ends[p])))
			l.ends[p]++
		}
	}
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// isOfType wants the broker to know the group as one of the protocol.
func (l *groupLife) isOfType(t *testing.T) {
	t.Helper()
	kind := map[bool]string{true: "consumer", false: "classic"}[l.request.Protocol == "consumer"]
	groups, err := l.admin.ListGroupsByType(t.Context(), []string{kind})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := groups[l.request.Group]; !ok {
		t.Errorf("the group is not of the type %s", kind)
	}
}

// administer lists the groups and what they have committed with the client's
// own admin calls, and deletes them where it can.
func (l *groupLife) administer(t *testing.T, committed map[string]offsets) {
	t.Helper()
	admin := l.client.Administer(t, l.node.Address)
	for group, at := range committed {
		places := map[string]int64{}
		for p, offset := range at {
			places[fmt.Sprintf("%s-%d", l.topic, p)] = offset
		}
		says, err := json.Marshal(places)
		if err != nil {
			t.Fatal(err)
		}
		administer(t, l.client, admin, adminStep{call: "group_offsets", with: arguments{"group": group}, says: string(says)})
		if said := admin.Call(t, "list_groups", nil); !holdsGroup(said.Answer, group) {
			t.Errorf("list_groups: %s has no %s", said.Answer, group)
		}
	}
	for group := range committed {
		if said := admin.Call(t, "delete_group", arguments{"group": group}); said.Error != nil {
			t.Errorf("delete_group: %s", refused(said.Error))
		} else if !said.Lacks && holdsGroup(admin.Call(t, "list_groups", nil).Answer, group) {
			t.Errorf("list_groups: %s was deleted and is there", group)
		}
	}
	admin.Wait(t)
}

func holdsGroup(list []byte, group string) bool {
	var names []string
	return json.Unmarshal(list, &names) == nil && slices.Contains(names, group)
}

// member is a client in a group and what it has said so far.
type member struct {
	session   *client.Session
	name      string
	topic     string
	holds     map[int32]bool
	records   map[int32][]client.Record // that nobody has asked for yet
	committed map[string]int64
	done      bool
}

func (l *groupLife) join(t *testing.T, request client.GroupRequest) *member {
	t.Helper()
	return &member{session: l.client.Join(t, request), name: l.client.Name, topic: l.topic, holds: map[int32]bool{}, records: map[int32][]client.Record{}}
}

func (m *member) hear(t *testing.T, line client.Line) {
	t.Helper()
	switch {
	case line.Record != nil:
		m.records[line.Record.Partition] = append(m.records[line.Record.Partition], *line.Record)
	case line.Assigned != nil:
		for _, p := range *line.Assigned {
			m.holds[p.Partition] = true
		}
	case line.Revoked != nil && len(*line.Revoked) == 0: // kafkajs: all of them
		clear(m.holds)
	case line.Revoked != nil:
		for _, p := range *line.Revoked {
			delete(m.holds, p.Partition)
		}
	case line.Lost != nil:
		for _, p := range *line.Lost {
			delete(m.holds, p.Partition)
		}
	case line.Committed != nil:
		m.committed = line.Committed
	case line.Done:
		m.done = true
	default:
		t.Fatalf("%s: %s", m.name, refused(line.Error))
	}
}

// until hears what the member says until something is so.
func (m *member) until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(groupTimeout); !so(); {
		line, ok := m.session.Within(t, time.Until(deadline))
		if !ok {
			t.Fatalf("%s: no %s after %v; it holds %v and said on stderr\n%s", m.name, what, groupTimeout, m.holds, m.session.Stderr())
		}
		m.hear(t, line)
	}
}

// owns waits until the member has all partitions.
func (m *member) owns(t *testing.T) {
	t.Helper()
	m.until(t, "ownership of all partitions", func() bool { return len(m.holds) == groupPartitions })
}

// share waits until two members have the partitions between them, half each.
func share(t *testing.T, a, b *member) {
	t.Helper()
	shared := func() bool {
		union := maps.Clone(a.holds)
		maps.Copy(union, b.holds)
		return len(a.holds) == groupPartitions/2 && len(b.holds) == groupPartitions/2 && len(union) == groupPartitions
	}
	for deadline := time.Now().Add(groupTimeout); !shared(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: after %v one member has %v and the other %v\n%s\n%s", a.name, groupTimeout, a.holds, b.holds, a.session.Stderr(), b.session.Stderr())
		}
		for _, m := range []*member{a, b} {
			if line, ok := m.session.Within(t, 20*time.Millisecond); ok {
				m.hear(t, line)
			}
		}
	}
}

// part is what of all partitions is the member's.
func (m *member) part(of offsets) offsets {
	some := offsets{}
	for p := range m.holds {
		some[p] = of[p]
	}
	return some
}

// reads waits for the records between two offsets of some partitions, each one
// once, and none of others.
func (m *member) reads(t *testing.T, from, to offsets) {
	t.Helper()
	m.until(t, fmt.Sprintf("offsets from %v to %v", from, to), func() bool {
		for p := range to {
			if int64(len(m.records[p])) < to[p]-from[p] {
				return false
			}
		}
		return true
	})
	m.forget(t, from, to)
	m.wantNothingMore(t)
}

// forget holds what was read against what was written.
func (m *member) forget(t *testing.T, from, to offsets) {
	t.Helper()
	for p := range to {
		for i, r := range m.records[p][:to[p]-from[p]] {
			want := makeRecord(m.topic, int(p), int(from[p])+i)
			if r.Offset != from[p]+int64(i) {
				t.Fatalf("%s: partition %d: offset %d where %d was next", m.name, p, r.Offset, from[p]+int64(i))
			}
			if !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Value) {
				t.Fatalf("%s: partition %d: offset %d holds another record", m.name, p, r.Offset)
			}
		}
		m.records[p] = m.records[p][to[p]-from[p]:]
	}
}

func (m *member) wantNothingMore(t *testing.T) {
	t.Helper()
	for p, rest := range m.records {
		if len(rest) > 0 {
			t.Fatalf("%s: partition %d: %d records that nobody waits for, from offset %d on", m.name, p, len(rest), rest[0].Offset)
		}
	}
}

// commits has the member commit what it has read: these offsets.
func (m *member) commits(t *testing.T, want offsets) {
	t.Helper()
	m.committed = nil
	m.session.Do(t, "commit")
	m.until(t, "answer to a commit", func() bool { return m.committed != nil })
	for p, at := range want {
		place := fmt.Sprintf("%s-%d", m.topic, p)
		if got, ok := m.committed[place]; !ok || got != at {
			t.Errorf("%s committed %d for %s instead of %d: %v", m.name, got, place, at, m.committed)
		}
	}
}

// closes has the member leave: nothing came that was not waited for.
func (m *member) closes(t *testing.T) {
	t.Helper()
	m.session.Do(t, "close")
	m.until(t, "end", func() bool { return m.done })
	m.session.Wait(t)
	m.wantNothingMore(t)
}
