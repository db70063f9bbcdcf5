// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/kafka"
)

func newTopicCommand() *cobra.Command {
	n := &connection{}
	c := &cobra.Command{
		Use:     "topic",
		Aliases: []string{"topics"},
		Short:   "List, create, describe, alter and delete topics",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	n.flags(c)
	c.AddCommand(newTopicListCommand(n), newTopicCreateCommand(n), newTopicDescribeCommand(n), newTopicAlterCommand(n), newTopicDeleteCommand(n),
		newTopicOffsetsCommand(n), newTopicTrimCommand(n), newTopicEmptyCommand(n), newTopicAnalyzeCommand(n))
	return c
}

// withAdmin runs f with an admin client that stops at a signal.
func (n *connection) withAdmin(c *cobra.Command, f func(ctx context.Context, admin *kadm.Client) error) error {
	return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
		admin := kadm.NewClient(client)
		admin.SetTimeoutMillis(int32(n.timeout.Milliseconds()))
		return f(ctx, admin)
	})
}

// topicItem is a topic in JSON.
type topicItem struct {
	Name       string          `json:"name"`
	ID         string          `json:"id"`
	Internal   bool            `json:"internal"`
	Partitions int             `json:"partitions"`
	Replicas   int             `json:"replicas"`
	Detail     []partitionItem `json:"partitionDetail,omitempty"`
}

// partitionItem is a partition in JSON. Offsets are -1 where nobody told.
type partitionItem struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	LogStart    int64   `json:"logStartOffset"`
	HighMark    int64   `json:"highWatermark"`
	Error       string  `json:"error,omitempty"`
}

func newTopicListCommand(n *connection) *cobra.Command {
	var output string
	var internal bool
	c := &cobra.Command{
		Use:     "list [TOPIC...]",
		Aliases: []string{"ls"},
		Short:   "List topics",
		Args:    cobra.ArbitraryArgs,
		Example: "  gregor topic list\n  gregor topic list -o json",
		RunE: func(c *cobra.Command, names []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				topics, err := admin.ListTopicsWithInternal(ctx, names...)
				if err != nil {
					return failed(fmt.Errorf("list topics: %w", err))
				}
				l := listing{kind: "Topic", header: []string{"NAME", "PARTITIONS", "REPLICAS"}}
				for _, t := range topics.Sorted() {
					if t.Err != nil {
						return topicError(t.Topic, t.Err)
					}
					if t.IsInternal && !internal && len(names) == 0 {
						continue
					}
					item := topicItem{Name: t.Topic, ID: kafka.UUID(t.ID).String(), Internal: t.IsInternal, Partitions: len(t.Partitions), Replicas: t.Partitions.NumReplicas()}
					l.rows = append(l.rows, []string{item.Name, strconv.Itoa(item.Partitions), strconv.Itoa(item.Replicas)})
					l.items = append(l.items, item)
					l.names = append(l.names, item.Name)
				}
				return l.print(c.OutOrStdout(), output)
			})
		},
	}
	outputFlag(c, &output)
	c.Flags().BoolVar(&internal, "internal", false, "list internal topics too")
	return c
}

func newTopicCreateCommand(n *connection) *cobra.Command {
	var partitions int32
	var replicas int16
	var configs, sets []string
	var exists, dry bool
	c := &cobra.Command{
		Use:     "create TOPIC...",
		Short:   "Create topics",
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic create orders --partitions 6\n  gregor topic create orders -c retention.ms=86400000 -c cleanup.policy=compact",
		RunE: func(c *cobra.Command, names []string) error {
			settings, values := map[string]*string{}, map[string]string{}
			for _, s := range append(configs, sets...) {
				key, value, ok := strings.Cut(s, "=")
				if !ok {
					return usage("-c %s: a setting is key=value", s)
				}
				settings[key], values[key] = &value, value
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				create := admin.CreateTopics
				if dry {
					create = admin.ValidateCreateTopics
				}
				created, err := create(ctx, partitions, replicas, settings, names...)
				if err != nil {
					return failed(fmt.Errorf("create topics: %w", err))
				}
				var problems problems
				for _, t := range created.Sorted() {
					switch {
					case t.Err == nil && dry:
						fmt.Fprintf(c.ErrOrStderr(), "would create topic %s with %d partitions\n", t.Topic, t.NumPartitions)
					case t.Err == nil:
						fmt.Fprintf(c.ErrOrStderr(), "created topic %s with %d partitions\n", t.Topic, t.NumPartitions)
					case exists && isExists(t.Err):
						fmt.Fprintf(c.ErrOrStderr(), "topic %s exists already\n", t.Topic)
					default:
						problems.add(topicError(t.Topic, withMessage(t.Err, t.ErrMessage)))
					}
					if t.Err == nil {
						tellIdle(c.ErrOrStderr(), &configTarget{topic: t.Topic}, values)
					}
				}
				return problems.end(c)
			})
		},
	}
	c.Flags().Int32VarP(&partitions, "partitions", "p", -1, "partitions of each topic (-1: the broker's num.partitions)")
	c.Flags().Int16VarP(&replicas, "replicas", "r", -1, "replicas of each partition (-1: the broker's default.replication.factor)")
	c.Flags().StringArrayVarP(&configs, "config", "c", nil, "a topic setting, key=value; may be repeated (--set is the same)")
	c.Flags().StringArrayVar(&sets, "set", nil, "as --config, by the name that it has in topic alter")
	_ = c.Flags().MarkHidden("set")
	c.Flags().BoolVar(&exists, "if-not-exists", false, "do not mind topics that exist")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	return c
}

func newTopicDeleteCommand(n *connection) *cobra.Command {
	var yes, missing, dry bool
	c := &cobra.Command{
		Use:     "delete TOPIC...",
		Aliases: []string{"rm"},
		Short:   "Delete topics and their records",
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic delete orders\n  gregor topic delete orders payments --yes\n  gregor topic delete orders --dry-run",
		RunE: func(c *cobra.Command, names []string) error {
			if !yes && !dry {
				if err := confirm(c.Context(), c, "delete "+strings.Join(names, ", ")+" and all their records"); err != nil {
					return err
				}
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				if dry {
					return tellDeletes(ctx, c, admin, names, missing)
				}
				deleted, err := admin.DeleteTopics(ctx, names...)
				if err != nil {
					return failed(fmt.Errorf("delete topics: %w", err))
				}
				var problems problems
				for _, t := range deleted.Sorted() {
					switch {
					case t.Err == nil:
						fmt.Fprintf(c.ErrOrStderr(), "deleted topic %s\n", t.Topic)
					case missing && isUnknown(t.Err):
						fmt.Fprintf(c.ErrOrStderr(), "topic %s does not exist\n", t.Topic)
					default:
						problems.add(topicError(t.Topic, withMessage(t.Err, t.ErrMessage)))
					}
				}
				return problems.end(c)
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&missing, "if-exists", false, "do not mind topics that do not exist")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	return c
}

// tellDeletes says what a delete would do.
func tellDeletes(ctx context.Context, c *cobra.Command, admin *kadm.Client, names []string, missing bool) error {
	topics, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return failed(fmt.Errorf("look topics up: %w", err))
	}
	var problems problems
	for _, t := range topics.Sorted() {
		switch {
		case t.Err == nil:
			fmt.Fprintf(c.ErrOrStderr(), "would delete topic %s with %d partitions\n", t.Topic, len(t.Partitions))
		case missing && isUnknown(t.Err):
			fmt.Fprintf(c.ErrOrStderr(), "topic %s does not exist\n", t.Topic)
		default:
			problems.add(topicError(t.Topic, t.Err))
		}
	}
	return problems.end(c)
}

// problems gathers failures of single items. One is told as the command's own
// error, more are told one by one.
type problems []error

func (p *problems) add(err error) { *p = append(*p, err) }

func (p problems) end(c *cobra.Command) error {
	switch len(p) {
	case 0:
		return nil
	case 1:
		return p[0]
	}
	for _, err := range p {
		report(c.ErrOrStderr(), err)
	}
	return errReported
}

func withMessage(err error, message string) error {
	if message == "" {
		return err
	}
	return &brokerError{err, message}
}

// brokerError is an error code with the broker's own words, which say more.
type brokerError struct {
	code    error
	message string
}

func (e *brokerError) Error() string { return e.message }
func (e *brokerError) Unwrap() error { return e.code }

func (n *connection) partitions(ctx context.Context, admin *kadm.Client, t kadm.TopicDetail) []partitionItem {
	starts, startErr := admin.ListStartOffsets(ctx, t.Topic)
	ends, endErr := admin.ListEndOffsets(ctx, t.Topic)
	var out []partitionItem
	for _, p := range t.Partitions.Sorted() {
		item := partitionItem{Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR, LogStart: -1, HighMark: -1}
		if o, ok := starts.Lookup(t.Topic, p.Partition); ok && startErr == nil && o.Err == nil {
			item.LogStart = o.Offset
		}
		if o, ok := ends.Lookup(t.Topic, p.Partition); ok && endErr == nil && o.Err == nil {
			item.HighMark = o.Offset
		}
		if err := errors.Join(p.Err); err != nil {
			item.Error = err.Error()
		}
		out = append(out, item)
	}
	return out
}
