// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// topicView is what --describe shows of a topic.
type topicView struct {
	name       string
	id         kafka.UUID
	partitions []kmsg.DescribeTopicPartitionsResponseTopicPartition
	configs    []string // name=value, of those that are not Kafka's default
	minISR     int
}

func describeTopics(ctx context.Context, o *given, admin *kadm.Client, client *kgo.Client, out io.Writer) error {
	var names []string
	var err error
	if o.has("topic-id") {
		var name string
		if name, err = nameOfID(ctx, o, client); name != "" {
			names = []string{name}
		}
	} else {
		names, err = existing(ctx, o, admin)
	}
	if err != nil || len(names) == 0 {
		return err
	}
	pageSize, err := o.number("partition-size-limit-per-response", 1, 2000)
	if err != nil {
		return err
	}
	topics, err := topicViews(ctx, client, names, int32(pageSize))
	if err != nil {
		return err
	}
	if err := addConfigs(ctx, client, topics); err != nil {
		return err
	}
	alive := map[int32]bool{}
	brokers, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	for _, b := range brokers.Brokers {
		alive[b.NodeID] = true
	}
	moves := reassignments(ctx, client)
	filtered := slices.ContainsFunc(topicFilters[:4], o.has)
	for _, t := range topics {
		if o.has("topics-with-overrides") && len(t.configs) == 0 {
			continue
		}
		if !filtered {
			replicas := 0
			if len(t.partitions) > 0 {
				replicas = len(t.partitions[0].Replicas)
			}
			fmt.Fprintf(out, "Topic: %s\tTopicId: %s\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: %s\n",
				t.name, t.id, len(t.partitions), replicas, strings.Join(t.configs, ","))
		}
		if o.has("topics-with-overrides") {
			continue
		}
		for i := range t.partitions {
			if !filtered || t.selected(o, &t.partitions[i], alive) {
				writePartition(out, t.name, &t.partitions[i], moves)
			}
		}
	}
	return nil
}

// selected judges a partition by the filters.
func (t *topicView) selected(o *given, p *kmsg.DescribeTopicPartitionsResponseTopicPartition, alive map[int32]bool) bool {
	return o.has("under-replicated-partitions") && len(p.ISR) < len(p.Replicas) ||
		o.has("unavailable-partitions") && !alive[p.LeaderID] ||
		o.has("under-min-isr-partitions") && len(p.ISR) < t.minISR ||
		o.has("at-min-isr-partitions") && len(p.ISR) == t.minISR
}

func writePartition(out io.Writer, topic string, p *kmsg.DescribeTopicPartitionsResponseTopicPartition, moves map[kafka.TopicPartition]move) {
	leader := "none"
	if p.LeaderID >= 0 {
		leader = strconv.Itoa(int(p.LeaderID))
	}
	eligible := func(list []int32) string {
		if list == nil {
			return "N/A"
		}
		return brokerList(list)
	}
	fmt.Fprintf(out, "\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s\tElr: %s\tLastKnownElr: %s", topic, p.Partition, leader,
		brokerList(p.Replicas), brokerList(p.ISR), eligible(p.EligibleLeaderReplicas), eligible(p.LastKnownELR))
	if m, ok := moves[kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionID(p.Partition)}]; ok {
		fmt.Fprintf(out, "\tAdding Replicas: %s\tRemoving Replicas: %s", brokerList(m.adding), brokerList(m.removing))
	}
	fmt.Fprintln(out)
}

func brokerList(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}

// topicViews asks for partitions page by page.
func topicViews(ctx context.Context, client *kgo.Client, names []string, pageSize int32) ([]*topicView, error) {
	views := map[string]*topicView{}
	var cursor *kmsg.DescribeTopicPartitionsRequestCursor
	for {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = pageSize, cursor
		for _, name := range names {
			if cursor != nil && name < cursor.Topic {
				continue
			}
			t := kmsg.NewDescribeTopicPartitionsRequestTopic()
			t.Topic = name
			req.Topics = append(req.Topics, t)
		}
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return nil, err
		}
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
				return nil, failure(err, "")
			}
			v := views[*t.Topic]
			if v == nil {
				v = &topicView{name: *t.Topic, id: t.TopicID}
				views[v.name] = v
			}
			v.partitions = append(v.partitions, t.Partitions...)
		}
		if resp.NextCursor == nil {
			break
		}
		next := kmsg.NewDescribeTopicPartitionsRequestCursor()
		next.Topic, next.Partition = resp.NextCursor.Topic, resp.NextCursor.Partition
		cursor = &next
	}
	var list []*topicView
	for _, name := range names {
		if v := views[name]; v != nil {
			slices.SortFunc(v.partitions, func(a, b kmsg.DescribeTopicPartitionsResponseTopicPartition) int {
				return int(a.Partition - b.Partition)
			})
			list = append(list, v)
		}
	}
	return list, nil
}

// addConfigs asks for configurations, some topics at a time.
func addConfigs(ctx context.Context, client *kgo.Client, topics []*topicView) error {
	const atATime = 200
	for chunk := range slices.Chunk(topics, atATime) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		at := map[string]*topicView{}
		for _, t := range chunk {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t.name
			req.Resources = append(req.Resources, r)
			at[t.name] = t
		}
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			return err
		}
		for i := range resp.Resources {
			r := &resp.Resources[i]
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				return failure(err, orEmpty(r.ErrorMessage))
			}
			t := at[r.ResourceName]
			for _, c := range r.Configs {
				if c.Name == "min.insync.replicas" {
					t.minISR, _ = strconv.Atoi(orEmpty(c.Value))
				}
				if c.Source != kmsg.ConfigSourceDefaultConfig {
					t.configs = append(t.configs, c.Name+"="+orNull(c.Value))
				}
			}
			slices.Sort(t.configs)
		}
	}
	return nil
}

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// move is a reassignment that is under way.
type move struct{ adding, removing []int32 }

// reassignments are left out where the broker does not tell them.
func reassignments(ctx context.Context, client *kgo.Client) map[kafka.TopicPartition]move {
	resp, err := kmsg.NewPtrListPartitionReassignmentsRequest().RequestWith(ctx, client)
	if err != nil {
		return nil
	}
	moves := map[kafka.TopicPartition]move{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			moves[kafka.TopicPartition{Topic: t.Topic, Partition: kafka.PartitionID(p.Partition)}] = move{p.AddingReplicas, p.RemovingReplicas}
		}
	}
	return moves
}
