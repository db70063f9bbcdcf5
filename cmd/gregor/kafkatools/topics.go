// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"errors"
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

func topicsTool() tool {
	return tool{
		name: "kafka-topics",
		example: `  gregor kafka-topics --bootstrap-server localhost:9092 --create --topic shipments --partitions 3 --config retention.ms=86400000
  gregor kafka-topics --bootstrap-server localhost:9092 --describe --topic orders
  gregor kafka-topics --bootstrap-server localhost:9092 --delete --topic 'order.*'`,
		about:  "Creates, lists, describes, alters and deletes topics.",
		prefix: "Error while executing topic command : ",
		inOut:  true,
		run:    runTopics,
		options: slices.Concat(connecting, []option{
			{name: "alter", help: "Add partitions."},
			{name: "create", help: "Create a topic."},
			{name: "delete", help: "Delete topics."},
			{name: "describe", help: "Show topics and their partitions."},
			{name: "list", help: "List topics."},
			{name: "topic", arg: "TOPIC", help: "The topic; but for --create a regular expression."},
			{name: "topic-id", arg: "ID", help: "The topic to describe, by its id."},
			{name: "config", arg: "NAME=VALUE", help: "With --create: a configuration of the topic; may be repeated."},
			{name: "delete-config", arg: "NAME", help: "Not supported since Kafka 4.0: kafka-configs changes configurations."},
			{name: "partitions", arg: "N", help: "How many partitions the topic has, or shall have."},
			{name: "replication-factor", arg: "N", help: "With --create: replicas of each partition."},
			{name: "replica-assignment", arg: "B1:B2,B3:B4,...", help: "The brokers of each partition's replicas."},
			{name: "under-replicated-partitions", help: "With --describe: only partitions with replicas that are not in sync."},
			{name: "unavailable-partitions", help: "With --describe: only partitions without a leader that lives."},
			{name: "under-min-isr-partitions", help: "With --describe: only partitions with less in-sync replicas than min.insync.replicas."},
			{name: "at-min-isr-partitions", help: "With --describe: only partitions with exactly min.insync.replicas in sync."},
			{name: "topics-with-overrides", help: "With --describe: only topics with configurations of their own."},
			{name: "if-exists", help: "With --alter, --delete and --describe: topics that do not exist are no error."},
			{name: "if-not-exists", help: "With --create: a topic that exists is no error."},
			{name: "exclude-internal", help: "With --list and --describe: leave internal topics out."},
			{name: "partition-size-limit-per-response", arg: "N", help: "With --describe: partitions to ask for at a time."},
		}),
	}
}

// topicFilters are those of --describe.
var topicFilters = []string{"under-replicated-partitions", "unavailable-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "topics-with-overrides"}

func runTopics(ctx context.Context, o *given, s Streams) error {
	action, err := o.onlyOne("list", "describe", "create", "alter", "delete")
	if err != nil {
		return err
	}
	if err := checkTopicOptions(o, action); err != nil {
		return err
	}
	return o.withAdmin(ctx, func(admin *kadm.Client, client *kgo.Client) error {
		switch action {
		case "create":
			return createTopic(ctx, o, client, s.Out)
		case "list":
			match, err := o.topicOption()
			if err != nil {
				return err
			}
			names, err := topicNames(ctx, admin, match, !o.has("exclude-internal"))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.Out, strings.Join(names, "\n"))
			return err
		case "alter":
			return alterTopics(ctx, o, admin, client)
		case "delete":
			return deleteTopics(ctx, o, admin)
		}
		return describeTopics(ctx, o, admin, client, s.Out)
	})
}

func checkTopicOptions(o *given, action string) error {
	if !o.has("bootstrap-server") {
		return refuse("--bootstrap-server must be specified")
	}
	switch {
	case action == "describe" && o.has("topic") && o.has("topic-id"):
		return misuse("Only one of topic or topic-id may be specified.")
	case action == "alter" && o.has("config"):
		return misuse("Option combination %q can't be used with option %q (kafka-configs changes configurations)", "[[bootstrap-server], [config]]", "[alter]")
	case action != "list" && action != "describe" && !o.has("topic"):
		return o.required("topic")
	case action == "alter" && !o.has("partitions"):
		return o.required("partitions")
	}
	allowed := map[string][]string{
		"topic-id": {"describe"}, "config": {"create"}, "delete-config": {}, "partitions": {"create", "alter"}, "replication-factor": {"create"},
		"replica-assignment": {"create", "alter"}, "if-exists": {"alter", "delete", "describe"}, "if-not-exists": {"create"},
		"exclude-internal": {"list", "describe"}, "partition-size-limit-per-response": {"describe"},
	}
	for _, filter := range topicFilters {
		allowed[filter] = []string{"describe"}
	}
	for _, p := range o.tool.options {
		if actions, limited := allowed[p.name]; limited && o.has(p.name) && !slices.Contains(actions, action) {
			return misuse("Option %q can't be used with option %q", "["+p.name+"]", "["+action+"]")
		}
	}
	if action == "create" {
		if err := o.excludes("replica-assignment", "partitions", "replication-factor"); err != nil {
			return err
		}
	}
	given := ""
	for _, filter := range topicFilters {
		if filter != "topics-with-overrides" && o.has(filter) {
			if given != "" && (strings.Contains(filter, "min-isr") || strings.Contains(given, "min-isr")) {
				return misuse("Option %q can't be used with option %q", "["+filter+"]", "["+given+"]")
			}
			given = filter
		}
	}
	for _, filter := range topicFilters[:4] {
		if err := o.excludes(filter, "topics-with-overrides"); err != nil {
			return err
		}
	}
	return nil
}

func createTopic(ctx context.Context, o *given, client *kgo.Client, out io.Writer) error {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = o.text("topic"), -1, -1
	partitions, replicas, err := topicSizes(o)
	if err != nil {
		return err
	}
	for _, text := range o.list("config") {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return errors.New(`requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`)
		}
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		c.Name, c.Value = key, &value
		t.Configs = append(t.Configs, c)
	}
	if strings.ContainsAny(t.Topic, "._") {
		fmt.Fprintln(out, "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.")
	}
	t.NumPartitions, t.ReplicationFactor = partitions, replicas
	assignment, err := replicaAssignment(o.text("replica-assignment"))
	if err != nil {
		return err
	}
	for i, brokers := range assignment {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(i), brokers
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for i := range resp.Topics {
		err := kerr.ErrorForCode(resp.Topics[i].ErrorCode)
		if errors.Is(err, kerr.TopicAlreadyExists) && o.has("if-not-exists") {
			return nil
		}
		if err != nil {
			return failure(err, orEmpty(resp.Topics[i].ErrorMessage))
		}
	}
	fmt.Fprintf(out, "Created topic %s.\n", t.Topic)
	return nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// topicSizes are -1 where they are left to the broker.
func topicSizes(o *given) (partitions int32, replicas int16, err error) {
	sizes := [2]int64{-1, -1}
	for i, name := range []string{"partitions", "replication-factor"} {
		if !o.has(name) {
			continue
		}
		if sizes[i], err = strconv.ParseInt(o.text(name), 10, 32); err != nil {
			return 0, 0, refuse("Cannot parse argument '%s' of option %s", o.text(name), name)
		}
	}
	switch {
	case o.has("partitions") && sizes[0] < 1:
		return 0, 0, errors.New("The partitions must be greater than 0")
	case o.has("replication-factor") && (sizes[1] < 1 || sizes[1] > 32767):
		return 0, 0, errors.New("The replication factor must be between 1 and 32767 inclusive")
	}
	return int32(sizes[0]), int16(sizes[1]), nil
}

// replicaAssignment reads brokers by partition: 1:2,2:3.
func replicaAssignment(text string) ([][]int32, error) {
	if text == "" {
		return nil, nil
	}
	var all [][]int32
	for _, part := range strings.Split(text, ",") {
		var brokers []int32
		for _, b := range strings.Split(part, ":") {
			id, err := strconv.ParseInt(strings.TrimSpace(b), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("For input string: %q", b)
			}
			if slices.Contains(brokers, int32(id)) {
				return nil, fmt.Errorf("Partition replica lists may not contain duplicate entries: %d", id)
			}
			brokers = append(brokers, int32(id))
		}
		if len(all) > 0 && len(brokers) != len(all[0]) {
			return nil, fmt.Errorf("Partition %d has different replication factor: [%s]", len(all), strings.ReplaceAll(brokerList(brokers), ",", ", "))
		}
		all = append(all, brokers)
	}
	return all, nil
}

// existing are the topics of --topic. None is an error unless --if-exists, or where
// the option is empty, as with Kafka's tool.
func existing(ctx context.Context, o *given, admin *kadm.Client) ([]string, error) {
	match, err := o.topicOption()
	if err != nil {
		return nil, err
	}
	names, err := topicNames(ctx, admin, match, !o.has("exclude-internal"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 && o.text("topic") != "" && !o.has("if-exists") {
		return nil, fmt.Errorf("Topic '%s' does not exist as expected", o.text("topic"))
	}
	return names, nil
}

func alterTopics(ctx context.Context, o *given, admin *kadm.Client, client *kgo.Client) error {
	names, err := existing(ctx, o, admin)
	if err != nil || len(names) == 0 {
		return err
	}
	partitions, _, err := topicSizes(o)
	if err != nil {
		return err
	}
	assignment, err := replicaAssignment(o.text("replica-assignment"))
	if err != nil {
		return err
	}
	details, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 30_000
	for _, name := range names {
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = name, partitions
		// The list names the brokers of all partitions, and the new ones count.
		for i := len(details[name].Partitions); i < len(assignment); i++ {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = assignment[i]
			t.Assignment = append(t.Assignment, a)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for i := range resp.Topics {
		if err := kerr.ErrorForCode(resp.Topics[i].ErrorCode); err != nil {
			return failure(err, orEmpty(resp.Topics[i].ErrorMessage))
		}
	}
	return nil
}

func deleteTopics(ctx context.Context, o *given, admin *kadm.Client) error {
	names, err := existing(ctx, o, admin)
	if err != nil || len(names) == 0 {
		return err
	}
	deleted, err := admin.DeleteTopics(ctx, names...)
	if err != nil {
		return err
	}
	for _, t := range deleted.Sorted() {
		if t.Err != nil {
			return failure(t.Err, t.ErrMessage)
		}
	}
	return nil
}

// nameOfID finds the topic of --topic-id.
func nameOfID(ctx context.Context, o *given, client *kgo.Client) (string, error) {
	id, err := kafka.ParseUUID(o.text("topic-id"))
	if err != nil {
		return "", err
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.TopicID = id
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return "", err
	}
	for i := range resp.Topics {
		if resp.Topics[i].ErrorCode == 0 && resp.Topics[i].Topic != nil {
			return *resp.Topics[i].Topic, nil
		}
	}
	if o.has("if-exists") {
		return "", nil
	}
	return "", fmt.Errorf("TopicId '%s' does not exist as expected", o.text("topic-id"))
}
