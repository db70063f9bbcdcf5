// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func consumerTool() tool {
	return tool{
		name: "kafka-console-consumer",
		example: `  gregor kafka-console-consumer --bootstrap-server localhost:9092 --topic orders --from-beginning --max-messages 3
  gregor kafka-console-consumer --bootstrap-server localhost:9092 --topic orders --partition 0 --offset earliest --timeout-ms 500 --formatter-property print.key=true`,
		about: "Reads records from topics and writes them to standard output.",
		run:   runConsumer,
		options: slices.Concat(connecting, []option{
			{name: "topic", arg: "TOPIC", help: "The topic to read."},
			{name: "include", arg: "REGEX", help: "The topics to read, instead of --topic."},
			{name: "group", arg: "ID", help: "The consumer group to belong to."},
			{name: "from-beginning", help: "Begin with the first record where the group has no offset yet."},
			{name: "partition", arg: "N", help: "Read this partition only."},
			{name: "offset", arg: "OFFSET", fallback: "latest", help: "Where to begin in --partition: an offset, earliest or latest."},
			{name: "max-messages", arg: "N", help: "End after this many records."},
			{name: "timeout-ms", arg: "N", help: "End when no record comes for this long."},
			{name: "isolation-level", arg: "LEVEL", fallback: "read_uncommitted", help: "read_committed leaves out what is not committed."},
			{name: "formatter", arg: "CLASS", fallback: defaultFormatter, help: "DefaultMessageFormatter or NoOpMessageFormatter."},
			{name: "formatter-property", arg: "KEY=VALUE", help: "print.timestamp, print.key, print.offset, print.epoch, print.partition, print.headers, print.value, " +
				"key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer, header.deserializer. May be repeated."},
			{name: "formatter-config", arg: "FILE", help: "The same as a file."},
			{name: "property", arg: "KEY=VALUE", help: "The older name of --formatter-property."},
			{name: "key-deserializer", arg: "CLASS", help: "As the formatter's property."},
			{name: "value-deserializer", arg: "CLASS", help: "As the formatter's property."},
			{name: "command-property", arg: "KEY=VALUE", help: "A property of the client; may be repeated."},
			{name: "consumer-property", arg: "KEY=VALUE", help: "The older name of --command-property."},
			{name: "consumer.config", arg: "FILE", help: "The older name of --command-config."},
			{name: "skip-message-on-error", help: "Leave out a record that cannot be written, instead of ending."},
			{name: "enable-systest-events", help: "Write shutdown_complete at the end."},
		}),
	}
}

const defaultFormatter = "org.apache.kafka.tools.consumer.DefaultMessageFormatter"

func checkConsumer(o *given) error {
	switch {
	case !o.has("bootstrap-server"):
		return o.required("bootstrap-server")
	case o.has("topic") == o.has("include"):
		return misuse("Exactly one of --include/--topic is required. %s", "")
	case o.has("partition") && !o.has("topic"):
		return misuse("The topic is required when partition is specified.")
	case o.has("offset") && !o.has("partition"):
		return misuse("The partition is required when offset is specified.")
	case o.has("offset") && o.has("from-beginning"):
		return misuse("Options from-beginning and offset cannot be specified together.")
	case o.has("group") && o.has("partition"):
		return misuse("Options group and partition cannot be specified together.")
	}
	if level := o.text("isolation-level"); level != "read_committed" && level != "read_uncommitted" {
		return misuse("Invalid isolation level '%s'", level)
	}
	return nil
}

func runConsumer(ctx context.Context, o *given, s Streams) error {
	if err := checkConsumer(o); err != nil {
		return err
	}
	most, err := o.number("max-messages", -1, -1)
	if err != nil {
		return err
	}
	timeoutMs, err := o.number("timeout-ms", -1, -1)
	if err != nil {
		return err
	}
	format, err := newFormatter(o)
	if err != nil {
		return err
	}
	client, err := o.dialConsole(ctx, "consumer", consumerOptions)
	if err != nil {
		return err
	}
	defer client.Close()
	out := bufio.NewWriterSize(s.Out, 64<<10)
	c := consumer{given: o, client: client, format: format, out: out, talk: s.Err, most: most, timeout: time.Duration(timeoutMs) * time.Millisecond}
	err = errors.Join(c.read(ctx), c.leave())
	fmt.Fprintf(s.Err, "Processed a total of %d messages\n", c.written)
	if o.has("enable-systest-events") {
		fmt.Fprintln(s.Out, "shutdown_complete")
	}
	return err
}

// consumerOptions are those of the client: where it begins, and what it reads,
// as a group's member or alone. Kafka's tool without a group makes up one of its
// own, which reads the same and commits nothing.
func consumerOptions(o *given, p properties) ([]kgo.Opt, error) {
	from, err := resetOf(o, p)
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.ConsumeResetOffset(from)}
	if !strings.EqualFold(p["allow.auto.create.topics"], "false") {
		opts = append(opts, kgo.AllowAutoTopicCreation())
	}
	level := o.text("isolation-level")
	if set := p["isolation.level"]; set != "" && !o.has("isolation-level") {
		level = set
	}
	if level == "read_committed" {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	group, err := groupOf(o, p)
	if err != nil {
		return nil, err
	}
	if group != "" {
		member, err := memberOptions(p)
		if err != nil {
			return nil, err
		}
		opts = append(append(opts, member...), kgo.ConsumerGroup(group))
	}
	switch {
	case group == "" && !o.has("partition") && p["auto.offset.reset"] == "none":
		return nil, refuse("auto.offset.reset=none: without a group there is no committed offset to begin at")
	case o.has("include"):
		pattern, err := topicPattern(o.text("include"))
		if err != nil {
			return nil, err
		}
		return append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics(pattern.String())), nil
	case o.has("partition"):
		return onePartition(o, from, opts)
	}
	return append(opts, kgo.ConsumeTopics(o.text("topic"))), nil
}

// resetOf is where to begin without a committed offset.
func resetOf(o *given, p properties) (kgo.Offset, error) {
	policy := p["auto.offset.reset"]
	if o.has("from-beginning") {
		if policy != "" && policy != "earliest" {
			return kgo.Offset{}, refuse("Can't simultaneously specify --from-beginning and 'auto.offset.reset=%s', please remove one option", policy)
		}
		policy = "earliest"
	}
	switch length, byDuration := strings.CutPrefix(policy, "by_duration:"); {
	case byDuration:
		if d, err := parseDuration(length); err == nil && d >= 0 {
			return kgo.LookbackOffset(d), nil
		}
	case policy == "", policy == "latest":
		return kgo.NewOffset().AtEnd(), nil
	case policy == "earliest":
		return kgo.NewOffset().AtStart(), nil
	case policy == "none":
		return kgo.NewOffset().AtCommitted(), nil
	}
	return kgo.Offset{}, refuse("Invalid value `%s` for configuration auto.offset.reset. The value must be either 'earliest', 'latest', 'none' or of the format 'by_duration:<PnDTnHnMn.nS>'.", policy)
}

// onePartition reads --partition alone, from --offset.
func onePartition(o *given, from kgo.Offset, opts []kgo.Opt) ([]kgo.Opt, error) {
	partition, err := o.number("partition", 0, 0)
	if err != nil {
		return nil, err
	}
	switch text := o.text("offset"); text {
	case "earliest":
		from = kgo.NewOffset().AtStart()
	case "latest":
		if o.has("offset") {
			from = kgo.NewOffset().AtEnd()
		}
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, misuse("The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.", text)
		}
		from = kgo.NewOffset().At(n)
	}
	return append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.text("topic"): {int32(partition): from}})), nil
}

// memberOptions are those of a member of a group: the assignors are the ones
// that Kafka's consumer offers, so that it may join groups of others.
func memberOptions(p properties) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.Balancers(kgo.RangeBalancer(), kgo.CooperativeStickyBalancer())}
	switch protocol := strings.ToLower(p["group.protocol"]); protocol {
	case "", "classic":
	case "consumer":
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	default:
		return nil, fmt.Errorf("Invalid value %s for configuration group.protocol: String must be one of (case insensitive): CONSUMER, CLASSIC", p["group.protocol"])
	}
	if id := p["group.instance.id"]; id != "" {
		opts = append(opts, kgo.InstanceID(id))
	}
	if strings.EqualFold(p["enable.auto.commit"], "false") {
		opts = append(opts, kgo.DisableAutoCommit())
	} else {
		interval, err := p.milliseconds("auto.commit.interval.ms", 5*time.Second)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.AutoCommitMarks(), kgo.AutoCommitInterval(max(interval, time.Millisecond)))
	}
	for key, option := range map[string]func(time.Duration) kgo.GroupOpt{"session.timeout.ms": kgo.SessionTimeout, "heartbeat.interval.ms": kgo.HeartbeatInterval,
		"max.poll.interval.ms": kgo.RebalanceTimeout} {
		if p[key] == "" {
			continue
		}
		d, err := p.milliseconds(key, 0)
		if err != nil {
			return nil, err
		}
		opts = append(opts, option(d))
	}
	return opts, nil
}

// groupOf is the group to belong to, if any.
func groupOf(o *given, p properties) (string, error) {
	group := p["group.id"]
	switch {
	case !o.has("group"):
	case group != "" && group != o.text("group"):
		return "", misuse("The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. "+
			"Detected group ids: '%s', '%s'", o.text("group"), group)
	default:
		group = o.text("group")
	}
	if group != "" && o.has("partition") {
		return "", misuse("Options group and partition cannot be specified together.")
	}
	return group, nil
}

// consumer is one run of kafka-console-consumer.
type consumer struct {
	*given
	client  *kgo.Client
	format  func(io.Writer, *kgo.Record) error
	out     *bufio.Writer
	talk    io.Writer
	most    int64         // -1: without end
	timeout time.Duration // below 0: none
	written int64         // records written
}

// leave commits what was written, as closing Kafka's consumer does.
func (c *consumer) leave() error {
	if group, _ := c.client.GroupMetadata(); group == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(c.client.CommitMarkedOffsets(ctx), c.client.LeaveGroupContext(ctx))
}

func (c *consumer) read(ctx context.Context) error {
	for c.most < 0 || c.written < c.most {
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if c.timeout >= 0 {
			waiting, cancel = context.WithTimeout(ctx, c.timeout)
		}
		fetches := c.client.PollFetches(waiting)
		timedOut := ctx.Err() == nil && waiting.Err() != nil && fetches.NumRecords() == 0
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case timedOut:
			fmt.Fprintf(c.talk, "Error processing message, terminating consumer process: no record came for %d ms\n", c.timeout.Milliseconds())
			return nil
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) {
				fmt.Fprintf(c.talk, "Error processing message, terminating consumer process: %s-%d: %v\n", e.Topic, e.Partition, e.Err)
				return nil
			}
		}
		var done []*kgo.Record
		for it := fetches.RecordIter(); !it.Done() && (c.most < 0 || c.written < c.most); {
			r := it.Next()
			err := c.format(c.out, r)
			done = append(done, r)
			switch {
			case err == nil:
			case c.has("skip-message-on-error"):
				fmt.Fprintf(c.talk, "Error processing message, skipping this message: %v\n", err)
				continue
			default:
				return errors.Join(err, c.out.Flush())
			}
			c.written++
		}
		if err := c.out.Flush(); errors.Is(err, syscall.EPIPE) {
			return errTold // nobody reads any more
		} else if err != nil {
			return fmt.Errorf("write records: %w", err)
		}
		c.client.MarkCommitRecords(done...)
	}
	return nil
}

// className is how a class of Java is meant here: by the end of its name.
func className(class string) string { return class[strings.LastIndexByte(class, '.')+1:] }
