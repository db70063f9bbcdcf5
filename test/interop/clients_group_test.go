// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gregor/test/interop/client"
	"gregor/test/interop/kafka"
)

const (
	groupPartitions = 4
	// groupTimeout is for a rebalance that waits for a session to end.
	groupTimeout        = 60 * time.Second
	groupSessionTimeout = 6 * time.Second
)

// TestClientsInGroups has each client read as members of a group: a member
// reads all and commits, its successor begins there, a second one takes half
// of the partitions, and gives them back when it is killed. A second group
// reads everything independently. Clients that can do both protocols do both.
func TestClientsInGroups(t *testing.T) {
	all := allClients(t)
	n := startWith(t, filepath.Join(t.TempDir(), "data"), forGroups...)
	if !advertises(t, n.Address, keyJoinGroup) {
		kafka.Skip(t, "ApiVersions lists no JoinGroup yet")
	}
	for _, protocol := range []string{"classic", "consumer"} {
		if protocol == "consumer" && !advertises(t, n.Address, keyConsumerGroupHeartbeat) {
			kafka.LeftOut(t, "the consumer protocol: ApiVersions lists no ConsumerGroupHeartbeat yet")
			continue
		}
		for _, c := range all {
			t.Run(protocol+"/"+c.Name, func(t *testing.T) { groupLife(t, n, c, protocol) })
		}
	}
	n.Stop(t)
}

func groupLife(t *testing.T, n *kafka.Node, c *client.Client, protocol string) {
	topic := fmt.Sprintf("group-%s-%s", protocol, c.Name)
	if _, err := newAdmin(t, n.Address).CreateTopic(t.Context(), groupPartitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	records := content{topic: {partitions: groupPartitions, count: 50}}
	records.write(t, n.Address, 0)
	request := client.GroupRequest{Bootstrap: n.Address, Group: topic, Topics: []string{topic}, Protocol: protocol, SessionTimeoutMs: int(groupSessionTimeout.Milliseconds())}

	first := join(t, c, request)
	if first == nil {
		return // the client does not do this protocol
	}
	first.reads(t, 0, 50)
	first.commits(t, 50)
	first.closes(t)

	records = records.grow(80)
	records.write(t, n.Address, 50)
	second := join(t, c, request)
	second.reads(t, 50, 80)
	second.commits(t, 80)

	third := join(t, c, request)
	third.until(t, "half of the partitions", func() bool { return len(third.holds) == groupPartitions/2 })
	second.until(t, "the other half", func() bool { return len(second.holds) == groupPartitions/2 })
	for p := range third.holds {
		if second.holds[p] {
			t.Errorf("partition %d belongs to both members", p)
		}
	}
	third.session.Kill()
	second.until(t, "what the killed one had", func() bool { return len(second.holds) == groupPartitions })
	second.closes(t)

	other := request
	other.Group += "-other"
	independent := join(t, c, other)
	independent.reads(t, 0, 80)
	independent.closes(t)

	administersGroup(t, n, c, request.Group, topic)
}

// administersGroup lists the group and its offsets with the client's own admin
// calls, and deletes it where it can.
func administersGroup(t *testing.T, n *kafka.Node, c *client.Client, group, topic string) {
	t.Helper()
	admin := c.Administer(t, n.Address)
	administer(t, c, admin, adminStep{call: "group_offsets", with: arguments{"group": group}, says: fmt.Sprintf(`{"%[1]s-0":80,"%[1]s-1":80,"%[1]s-2":80,"%[1]s-3":80}`, topic)})
	if said := admin.Call(t, "list_groups", nil); !holdsGroup(said.Answer, group) {
		t.Errorf("list_groups: %s has no %s", said.Answer, group)
	}
	if said := admin.Call(t, "delete_group", arguments{"group": group}); said.Error != nil {
		t.Errorf("delete_group: %s", refused(said.Error))
	} else if !said.Lacks && holdsGroup(admin.Call(t, "list_groups", nil).Answer, group) {
		t.Errorf("list_groups: %s was deleted and is there", group)
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
	holds     map[int32]bool
	records   map[int32][]client.Record
	committed map[string]int64
	done      bool
}

func join(t *testing.T, c *client.Client, request client.GroupRequest) *member {
	t.Helper()
	m := &member{session: c.Join(t, request), name: c.Name, holds: map[int32]bool{}, records: map[int32][]client.Record{}}
	line := m.session.Next(t)
	if line.Lacks {
		m.session.Wait(t)
		return nil
	}
	m.hear(t, line)
	return m
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
			t.Fatalf("%s: no %s after %v; it holds %v", m.name, what, groupTimeout, m.holds)
		}
		m.hear(t, line)
	}
}

// reads waits for the records from..to-1 of every partition and holds them
// against what was written.
func (m *member) reads(t *testing.T, from, to int) {
	t.Helper()
	m.until(t, fmt.Sprintf("offsets %d to %d", from, to), func() bool {
		for p := range int32(groupPartitions) {
			if len(m.records[p]) < to-from {
				return false
			}
		}
		return true
	})
	for p, records := range m.records {
		for i, r := range records {
			if r.Offset != int64(from+i) {
				t.Fatalf("%s: partition %d: offset %d where %d was next", m.name, p, r.Offset, from+i)
			}
		}
		if len(records) != to-from {
			t.Fatalf("%s: partition %d: %d records instead of %d", m.name, p, len(records), to-from)
		}
	}
}

func (m *member) commits(t *testing.T, offset int64) {
	t.Helper()
	m.session.Do(t, "commit")
	m.until(t, "answer to a commit", func() bool { return m.committed != nil })
	if len(m.committed) != groupPartitions {
		t.Errorf("%s committed %v", m.name, m.committed)
	}
	for place, at := range m.committed {
		if at != offset {
			t.Errorf("%s committed %d for %s instead of %d", m.name, at, place, offset)
		}
	}
}

func (m *member) closes(t *testing.T) {
	t.Helper()
	m.session.Do(t, "close")
	m.until(t, "end", func() bool { return m.done })
	m.session.Wait(t)
}
