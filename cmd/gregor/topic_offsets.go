// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// offsetItem is what `topic offsets` tells of a partition in JSON.
type offsetItem struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	LogStart  int64  `json:"logStartOffset"`
	HighMark  int64  `json:"highWatermark"`
	At        *int64 `json:"offset,omitempty"` // of --at
}

func newTopicOffsetsCommand(n *connection) *cobra.Command {
	var output, at string
	var partitions []int32
	c := &cobra.Command{
		Use:   "offsets TOPIC...",
		Short: "Show where partitions begin and end, and offsets by time",
		Long: `Shows the log start offset and the high watermark of each partition, and with --at the offset at one point:

` + pointHelp,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic offsets orders\n  gregor topic offsets orders --at @-1h -o jsonl\n  gregor topic offsets orders payments -p 0 --at @2026-01-02",
		RunE: func(c *cobra.Command, names []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var to *point
			if at != "" {
				p, err := parseOnePoint("--at", at, time.Now())
				if err != nil {
					return err
				}
				to = &p
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				items, err := offsetsOf(ctx, admin, names, partitions, to)
				if err != nil {
					return err
				}
				return printOffsets(c, output, items, to != nil)
			})
		},
	}
	outputFlag(c, &output)
	c.Flags().StringVar(&at, "at", "", "also tell the offset at this point")
	c.Flags().Int32SliceVarP(&partitions, "partition", "p", nil, "only these partitions")
	return c
}

const pointHelp = `  start  end   the log start; the high watermark
  N  +N  -N    offset N; N after the start; N before the end
  @T           the first record at or after T: 2006-01-02, 2006-01-02T15:04:05Z, -90m, -7d, now, or Unix milliseconds`

// parseOnePoint reads one point of the grammar of --at.
func parseOnePoint(flag, text string, now time.Time) (point, error) {
	s, err := parseSpan(text, now)
	if err != nil {
		return point{}, usage("%s", strings.Replace(err.Error(), "--at", flag, 1))
	}
	if s.to.kind != unspecified {
		return point{}, usage("%s %s: one point, not a range", flag, text)
	}
	return s.from, nil
}

// offsetsOf asks for the offsets of topics, by topic and partition.
func offsetsOf(ctx context.Context, admin *kadm.Client, topics []string, partitions []int32, at *point) ([]offsetItem, error) {
	whole := span{point{kind: atStart}, point{kind: atEnd}}
	p, err := planOf(ctx, admin, topics, partitions, whole, false)
	if err != nil {
		return nil, err
	}
	q := spanQuery{ctx: ctx, admin: admin, topics: topics, lists: map[string]kadm.ListedOffsets{}}
	var items []offsetItem
	for _, topic := range sortedKeys(p) {
		for _, id := range sortedKeys(p[topic]) {
			s := p[topic][id]
			item := offsetItem{Topic: topic, Partition: id, LogStart: s.next, HighMark: s.to}
			if at != nil {
				found, err := q.resolve(topic, id, *at)
				if err != nil {
					return nil, topicError(topic, fmt.Errorf("partition %d: %w", id, err))
				}
				item.At = &found
			}
			items = append(items, item)
		}
	}
	return items, nil
}

func printOffsets(c *cobra.Command, output string, items []offsetItem, at bool) error {
	l := listing{kind: "Offset", header: []string{"TOPIC", "PARTITION", "LOG-START", "HIGH-WATERMARK"}}
	if at {
		l.header = append(l.header, "OFFSET")
	}
	for _, item := range items {
		row := []string{item.Topic, strconv.Itoa(int(item.Partition)), offset(item.LogStart), offset(item.HighMark)}
		if at {
			row = append(row, offset(*item.At))
		}
		l.rows = append(l.rows, row)
		l.items = append(l.items, item)
		l.names = append(l.names, fmt.Sprintf("%s-%d", item.Topic, item.Partition))
	}
	return l.print(c.OutOrStdout(), output)
}
