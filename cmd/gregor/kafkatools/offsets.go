// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/replica"
)

func getOffsetsTool() tool {
	return tool{
		name: "kafka-get-offsets",
		example: `  gregor kafka-get-offsets --bootstrap-server localhost:9092 --topic orders
  gregor kafka-get-offsets --bootstrap-server localhost:9092 --topic-partitions orders:0-2,payments --time earliest`,
		about:  "Shows offsets of partitions, as topic:partition:offset.",
		prefix: "Error occurred: ",
		run:    runGetOffsets,
		options: slices.Concat(connecting, []option{
			{name: "topic", arg: "REGEX", help: "Topics; without it, all that may be seen. Not with --topic-partitions."},
			{name: "partitions", arg: "N,...", help: "Only these partitions. Not with --topic-partitions."},
			{name: "topic-partitions", arg: "RULE,...", help: "Topics, each as a regular expression, with :N, :N-M, :N- or :-M for partitions from N up to and without M."},
			{name: "time", arg: "TIME", fallback: "latest", help: "The offset at or after a timestamp in milliseconds, or of -1 or latest, -2 or earliest, " +
				"-3 or max-timestamp, -4 or earliest-local, -5 or latest-tiered, -6 or earliest-pending-upload. Partitions without such an offset are left out."},
			{name: "exclude-internal-topics", help: "Leave internal topics out."},
		}),
	}
}

var specialTimes = map[string]int64{
	"latest": replica.Latest, "earliest": replica.Earliest, "max-timestamp": replica.MaxTimestamp, "earliest-local": replica.EarliestLocal,
	"latest-tiered": replica.LatestTiered, "earliest-pending-upload": replica.EarliestPending,
}

func runGetOffsets(ctx context.Context, o *given, s Streams) error {
	if !o.has("bootstrap-server") {
		return misuse("%s", o.tool.about)
	}
	if o.has("topic-partitions") && (o.has("topic") || o.has("partitions")) {
		return errors.New("--topic-partitions cannot be used with --topic or --partitions")
	}
	at, ok := specialTimes[o.text("time")]
	if !ok {
		var err error
		if at, err = strconv.ParseInt(o.text("time"), 10, 64); err != nil || at < replica.EarliestPending {
			return fmt.Errorf("Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / "+
				"-5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp", o.text("time"))
		}
	}
	rules, err := partitionRules(o)
	if err != nil {
		return err
	}
	return o.withAdmin(ctx, func(admin *kadm.Client, client *kgo.Client) error {
		topics, err := admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return err
		}
		wanted := map[string][]int32{}
		for _, t := range topics.Sorted() {
			if t.IsInternal && o.has("exclude-internal-topics") {
				continue
			}
			for _, p := range t.Partitions.Sorted() {
				if slices.ContainsFunc(rules, func(r partitionRule) bool { return r.match(t.Topic, p.Partition) }) {
					wanted[t.Topic] = append(wanted[t.Topic], p.Partition)
				}
			}
		}
		if len(wanted) == 0 {
			return errors.New("Could not match any topic-partitions with the specified filters")
		}
		return printOffsets(ctx, client, wanted, at, s)
	})
}

// partitionRule selects partitions: those of a list, or a range.
type partitionRule struct {
	topic    *regexp.Regexp
	only     []int32
	from, to int64 // to is the first that is not meant
}

func (r *partitionRule) match(topic string, partition int32) bool {
	return r.topic.MatchString(topic) && int64(partition) >= r.from && int64(partition) < r.to && (r.only == nil || slices.Contains(r.only, partition))
}

func partitionRules(o *given) ([]partitionRule, error) {
	if o.has("topic-partitions") {
		var rules []partitionRule
		for _, text := range strings.Split(o.text("topic-partitions"), ",") {
			r, err := parseRule(text)
			if err != nil {
				return nil, err
			}
			rules = append(rules, r)
		}
		return rules, nil
	}
	r := partitionRule{topic: regexp.MustCompile(""), to: math.MaxInt64}
	if o.has("topic") {
		var err error
		if r.topic, err = topicPattern(o.text("topic")); err != nil {
			return nil, err
		}
	}
	if o.has("partitions") {
		r.only = []int32{}
		for _, text := range strings.Split(o.text("partitions"), ",") {
			id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("--partitions expects a comma separated list of numeric partition ids, but received: %s", o.text("partitions"))
			}
			r.only = append(r.only, int32(id))
		}
	}
	return []partitionRule{r}, nil
}

var ruleForm = regexp.MustCompile(`^([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?$`)

func parseRule(text string) (partitionRule, error) {
	m := ruleForm.FindStringSubmatch(text)
	if m == nil {
		return partitionRule{}, fmt.Errorf("Invalid rule specification: %s", text)
	}
	r := partitionRule{topic: regexp.MustCompile(""), to: math.MaxInt64}
	if m[1] != "" {
		var err error
		if r.topic, err = topicPattern(m[1]); err != nil {
			return partitionRule{}, err
		}
	}
	number := func(text string, otherwise int64) int64 {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			return n
		}
		return otherwise
	}
	if m[2] != "" {
		r.from = number(m[2], math.MaxInt32)
		r.to = r.from + 1
		return r, nil
	}
	r.from, r.to = number(m[3], 0), number(m[4], math.MaxInt64)
	return r, nil
}

// printOffsets asks each leader and prints what was found, by topic and
// partition. A partition that cannot tell is named on stderr.
func printOffsets(ctx context.Context, client *kgo.Client, wanted map[string][]int32, at int64, s Streams) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for topic, partitions := range wanted {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, id := range partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = id, at, -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	type found struct {
		topic     string
		partition int32
		offset    int64
	}
	var all []found
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					fmt.Fprintf(s.Err, "Skip getting offsets for topic-partition %s-%d due to error: %v\n", t.Topic, p.Partition, failure(err, ""))
				} else if p.Offset >= 0 {
					all = append(all, found{t.Topic, p.Partition, p.Offset})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	for _, f := range all {
		fmt.Fprintf(s.Out, "%s:%d:%d\n", f.topic, f.partition, f.offset)
	}
	return nil
}
