// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/base/kafka"
)

func newTopicDescribeCommand(n *connection) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "describe TOPIC...",
		Short:   "Show partitions, leaders, replicas and offsets",
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic describe orders\n  gregor topic describe orders -o jsonl",
		RunE: func(c *cobra.Command, names []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				topics, err := admin.ListTopicsWithInternal(ctx, names...)
				if err != nil {
					return failed(fmt.Errorf("describe topics: %w", err))
				}
				var items []topicItem
				var problems problems
				for _, t := range topics.Sorted() {
					if t.Err != nil {
						problems.add(topicError(t.Topic, t.Err))
						continue
					}
					items = append(items, topicItem{Name: t.Topic, ID: kafka.UUID(t.ID).String(), Internal: t.IsInternal,
						Partitions: len(t.Partitions), Replicas: t.Partitions.NumReplicas(), Detail: n.partitions(ctx, admin, t)})
				}
				if err := printTopics(c.OutOrStdout(), output, items); err != nil {
					return err
				}
				return problems.end(c)
			})
		},
	}
	outputFlag(c, &output)
	return c
}

// printTopics writes one table a topic, or the items.
func printTopics(w io.Writer, output string, items []topicItem) error {
	if output != "table" {
		l := listing{kind: "Topic"}
		for _, t := range items {
			l.items = append(l.items, t)
			l.names = append(l.names, t.Name)
		}
		return l.print(w, output)
	}
	for i, t := range items {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s   id %s   %d partitions   %d replicas\n", t.Name, t.ID, t.Partitions, t.Replicas)
		rows := make([][]string, 0, len(t.Detail))
		for _, p := range t.Detail {
			rows = append(rows, []string{strconv.Itoa(int(p.Partition)), strconv.Itoa(int(p.Leader)), strconv.Itoa(int(p.LeaderEpoch)),
				ids(p.Replicas), ids(p.ISR), offset(p.LogStart), offset(p.HighMark), p.Error})
		}
		if err := printTable(w, []string{"PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "LOG-START", "HIGH-WATERMARK", ""}, rows); err != nil {
			return err
		}
	}
	return nil
}

func ids(list []int32) string {
	out := make([]string, len(list))
	for i, id := range list {
		out[i] = strconv.Itoa(int(id))
	}
	return strings.Join(out, ",")
}

func offset(o int64) string {
	if o < 0 {
		return "-"
	}
	return strconv.FormatInt(o, 10)
}

func isUnknown(err error) bool { return errors.Is(err, kerr.UnknownTopicOrPartition) }
func isExists(err error) bool  { return errors.Is(err, kerr.TopicAlreadyExists) }
