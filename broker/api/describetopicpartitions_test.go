// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

func describePartitions(limit int32, topics ...string) *kmsg.DescribeTopicPartitionsRequest {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = limit
	for _, name := range topics {
		req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
	}
	return req
}

func cursorAt(req *kmsg.DescribeTopicPartitionsRequest, topic string, partition int32) *kmsg.DescribeTopicPartitionsRequest {
	req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: topic, Partition: partition}
	return req
}

// shown is a page in short: topics with their partitions or code, and where it
// goes on.
func shown(resp *kmsg.DescribeTopicPartitionsResponse) string {
	var out []string
	for _, t := range resp.Topics {
		if t.ErrorCode != 0 {
			out = append(out, fmt.Sprintf("%s:%v", *t.Topic, kafka.Code(t.ErrorCode)))
			continue
		}
		var ids []int32
		for _, p := range t.Partitions {
			ids = append(ids, p.Partition)
		}
		out = append(out, fmt.Sprintf("%s:%v", *t.Topic, ids))
	}
	if c := resp.NextCursor; c != nil {
		out = append(out, fmt.Sprintf("then %s-%d", c.Topic, c.Partition))
	}
	return strings.Join(out, " ")
}

// 64: topics are sorted by name, a page has at least one partition and at most
// the broker's limit, the cursor's topic must be among those asked for and its
// partition not negative. The answers are Apache Kafka 4.4's but for the last
// two, which are defects there.
func TestPoint64DescribeTopicPartitions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		for name, partitions := range map[string]int{"beta": 2, "alpha": 3, "gamma": 1} {
			n.topic(name, partitions)
		}
		c := n.dial()
		const all = "alpha:[0 1 2] beta:[0 1] gamma:[0]"
		for _, x := range []struct {
			req  *kmsg.DescribeTopicPartitionsRequest
			want string
		}{
			{describePartitions(2000), all},
			{describePartitions(2, "gamma", "alpha", "alpha", "nope", "bad name"), "alpha:[0 1] then alpha-2"},
			{describePartitions(3, "gamma", "alpha", "nope", "bad name"), "alpha:[0 1 2] then bad name-0"},
			{describePartitions(4, "gamma", "alpha", "nope", "bad name"), "alpha:[0 1 2] bad name:INVALID_TOPIC_EXCEPTION gamma:[0] then nope-0"},
			{describePartitions(5, "nope", "gamma"), "gamma:[0] nope:UNKNOWN_TOPIC_OR_PARTITION"},
			{cursorAt(describePartitions(0), "alpha", 1), "alpha:[1] then alpha-2"},
			{describePartitions(-5, "gamma"), "gamma:[0]"},
			{cursorAt(describePartitions(10), "alpha", 9), "alpha:[] beta:[0 1] gamma:[0]"},
			{cursorAt(describePartitions(10), "b", 1), "beta:[0 1] gamma:[0]"},
			{cursorAt(describePartitions(10), "zzz", 4), ""},
			{cursorAt(describePartitions(10), "beta", -1), ""},
			{cursorAt(describePartitions(10, "gamma", "alpha"), "beta", 1), "gamma:INVALID_REQUEST alpha:INVALID_REQUEST"},
			{cursorAt(describePartitions(10, "gamma", "alpha"), "gamma", -1), "gamma:INVALID_REQUEST alpha:INVALID_REQUEST"},
			{cursorAt(describePartitions(10, "gamma", "alpha"), "gamma", 0), "gamma:[0]"},
			{cursorAt(describePartitions(10, "nope"), "nope", 4), "nope:UNKNOWN_TOPIC_OR_PARTITION"},
			{describePartitions(10, "", "gamma"), ":INVALID_TOPIC_EXCEPTION gamma:[0]"},
			{cursorAt(describePartitions(10), "alpha", 1<<31-1), "alpha:[] beta:[0 1] gamma:[0]"},
		} {
			if got := shown(c.do(x.req).(*kmsg.DescribeTopicPartitionsResponse)); got != x.want {
				t.Errorf("%v limit %d cursor %v:\n got %s\nwant %s", x.req.Topics, x.req.ResponsePartitionLimit, x.req.Cursor, got, x.want)
			}
		}
	})
	inBubble(t, func(t *testing.T) {
		n := start(t, func(s *setup) { s.set = []string{"max.request.partition.size.limit=2"} })
		n.topic("a", 3)
		if got := shown(n.dial().do(describePartitions(2000)).(*kmsg.DescribeTopicPartitionsResponse)); got != "a:[0 1] then a-2" {
			t.Error(got)
		}
	})
}

// Following the cursors gives each partition once, whatever the page size.
func TestPagesOfPartitionsAreWhole(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		var want []string
		for i, partitions := range []int{1, 70, 5, 1, 12} {
			name := fmt.Sprintf("t%d", i)
			n.topic(name, partitions)
			for p := range partitions {
				want = append(want, fmt.Sprintf("%s-%d", name, p))
			}
		}
		c := n.dial()
		for _, limit := range []int32{1, 2, 5, 70, 71, 88, 89, 90, 2000} {
			var got []string
			req := describePartitions(limit)
			for {
				resp := c.do(req).(*kmsg.DescribeTopicPartitionsResponse)
				inPage := 0
				for _, rt := range resp.Topics {
					for _, p := range rt.Partitions {
						got = append(got, fmt.Sprintf("%s-%d", *rt.Topic, p.Partition))
						inPage++
					}
				}
				if inPage > int(limit) {
					t.Fatalf("limit %d: a page of %d", limit, inPage)
				}
				if resp.NextCursor == nil {
					break
				}
				cursorAt(req, resp.NextCursor.Topic, resp.NextCursor.Partition)
			}
			if !slices.Equal(got, want) {
				t.Errorf("limit %d: %d partitions, want %d", limit, len(got), len(want))
			}
		}
	})
}

// What a partition is told to be: eligible leader replicas included, and no
// list is null.
func TestDescribeTopicPartitionsTellsTheReplicas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("a", 1)
		change := metarec.NewPartitionChange()
		change.TopicID, change.PartitionID, change.Replicas = id, 0, []kafka.NodeID{self, 2, 3}
		change.Directories = []kafka.DirectoryID{n.dir.ID(), {5}, {6}}
		change.ISR, change.ELR, change.LastKnownELR = []kafka.NodeID{self}, []kafka.NodeID{2}, []kafka.NodeID{3}
		n.publish([]metarec.Record{change})
		got := n.dial().do(describePartitions(1, "a")).(*kmsg.DescribeTopicPartitionsResponse)
		want := kmsg.NewPtrDescribeTopicPartitionsResponse()
		topic, partition := kmsg.NewDescribeTopicPartitionsResponseTopic(), kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		partition.LeaderID, partition.Replicas, partition.ISR = int32(self), []int32{1, 2, 3}, []int32{1}
		partition.EligibleLeaderReplicas, partition.LastKnownELR, partition.OfflineReplicas = []int32{2}, []int32{3}, []int32{2, 3}
		partition.LeaderEpoch = 0
		topic.Topic, topic.TopicID, topic.AuthorizedOperations = kmsg.StringPtr("a"), id, topicOperations
		topic.Partitions = append(topic.Partitions, partition)
		want.Topics = append(want.Topics, topic)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(kmsg.Tags{})); diff != "" {
			t.Error(diff)
		}
		n.topic("plain", 1)
		p := n.dial().do(describePartitions(1, "plain")).(*kmsg.DescribeTopicPartitionsResponse).Topics[0].Partitions[0]
		if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
			t.Error("a list is null, which Kafka's is not")
		}
	})
}
