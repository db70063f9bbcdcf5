// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// TestPartitionOf: as Kafka's group coordinator answers for topics of 50 and of
// 7 partitions.
func TestPartitionOf(t *testing.T) {
	for _, c := range []struct {
		key           string
		of50, ofSeven kafka.PartitionID
	}{
		{"", 0, 0}, {"a", 47, 6}, {"group", 47, 3}, {"console-consumer-12345", 6, 6}, {"äöü", 36, 4}, {"😀", 49, 2}, {"audit-log", 14, 5},
		{"test-consumer-group", 31, 5}, {"my-group", 12, 1}, {"orders", 31, 2}, // their hashes are negative
		{"polygenelubricants", 0, 0}, // the hash whose absolute value is negative
	} {
		if got := PartitionOf(c.key, 50); got != c.of50 {
			t.Errorf("%q: %d of 50, want %d", c.key, got, c.of50)
		}
		if got := PartitionOf(c.key, 7); got != c.ofSeven {
			t.Errorf("%q: %d of 7, want %d", c.key, got, c.ofSeven)
		}
	}
}

// TestPlan: who begins and ends a term with what happens to a partition.
func TestPlan(t *testing.T) {
	const self, other = 1, 2
	id := kafka.TopicID{1}
	created := func(id kafka.TopicID, leader int32, epoch int32) []metarec.Record {
		p := metarec.NewPartition()
		p.TopicID, p.PartitionID, p.Leader, p.LeaderEpoch = id, 0, kafka.NodeID(leader), kafka.LeaderEpoch(epoch)
		p.Replicas, p.ISR = []kafka.NodeID{self, other}, []kafka.NodeID{self, other}
		return []metarec.Record{&metarec.Topic{Name: "__consumer_offsets", TopicID: id}, p}
	}
	change := func(leader int32) metarec.Record {
		c := metarec.NewPartitionChange()
		c.TopicID, c.PartitionID, c.Leader = id, 0, kafka.NodeID(leader)
		return c
	}
	isr := metarec.NewPartitionChange()
	isr.TopicID, isr.PartitionID, isr.ISR = id, 0, []kafka.NodeID{self}
	for _, c := range []struct {
		name          string
		before, after []metarec.Record
		want          string
	}{
		{"created here", nil, created(id, self, 0), "[] [{0 0}]"},
		{"created elsewhere", nil, created(id, other, 0), "[] []"},
		{"moves away", created(id, self, 5), []metarec.Record{change(other)}, "[0] []"},
		{"moves here", created(id, other, 5), []metarec.Record{change(self)}, "[] [{0 6}]"},
		{"loses its leader", created(id, self, 5), []metarec.Record{change(-1)}, "[0] []"},
		{"away and back", created(id, self, 5), []metarec.Record{change(other), change(self)}, "[0] [{0 7}]"},
		{"a smaller ISR", created(id, self, 5), []metarec.Record{isr}, "[] []"},
		{"deleted", created(id, self, 5), []metarec.Record{&metarec.RemoveTopic{TopicID: id}}, "[0] []"},
		{"created anew", created(id, self, 5), append([]metarec.Record{&metarec.RemoveTopic{TopicID: id}}, created(kafka.TopicID{2}, self, 0)...), "[0] [{0 0}]"},
	} {
		first := image.NewDelta(image.Empty())
		replay(t, first, c.before)
		second := image.NewDelta(first.Apply(1, 1))
		replay(t, second, c.after)
		second.Apply(2, 1)
		resign, elect := Plan(second, "__consumer_offsets", self)
		if got := fmt.Sprint(resign, " ", elect); strings.TrimSpace(got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if resign, elect := Plan(second, "other", self); resign != nil || elect != nil {
			t.Errorf("%s: another topic: %v %v", c.name, resign, elect)
		}
	}
}

func replay(t *testing.T, d *image.Delta, records []metarec.Record) {
	t.Helper()
	for _, rec := range records {
		if err := d.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
}
