// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// logDirItem is a log directory in JSON. Bytes are -1 where nobody told.
type logDirItem struct {
	Broker      int32         `json:"broker"`
	Dir         string        `json:"dir"`
	Error       string        `json:"error,omitempty"`
	Partitions  int           `json:"partitions"`
	SizeBytes   int64         `json:"sizeBytes"` // of all logs
	TotalBytes  int64         `json:"totalBytes"`
	UsableBytes int64         `json:"usableBytes"`
	Cordoned    bool          `json:"cordoned"`
	Detail      []logSizeItem `json:"partitionDetail,omitempty"`
}

// logSizeItem is a log in a directory.
type logSizeItem struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	SizeBytes int64  `json:"sizeBytes"`
	OffsetLag int64  `json:"offsetLag"`
	Future    bool   `json:"future"`
}

func newClusterLogDirsCommand(n *connection) *cobra.Command {
	var output string
	var topics []string
	var detail bool
	c := &cobra.Command{
		Use:     "logdirs",
		Short:   "Show the log directories of all brokers: size, room, errors",
		Args:    cobra.NoArgs,
		Example: "  gregor cluster logdirs\n  gregor cluster logdirs --detail --topic orders\n  gregor cluster logdirs -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				items, err := logDirsOf(ctx, admin, topics, detail)
				if err != nil {
					return err
				}
				l := logDirListing(items, detail)
				if err := l.print(c.OutOrStdout(), output); err != nil {
					return err
				}
				var problems problems
				for _, i := range items {
					if i.Error != "" {
						problems.add(failed(fmt.Errorf("log directory %s of broker %d: %s", i.Dir, i.Broker, i.Error)))
					}
				}
				return problems.end(c)
			})
		},
	}
	outputFlag(c, &output)
	c.Flags().StringSliceVar(&topics, "topic", nil, "count only these topics")
	c.Flags().BoolVar(&detail, "detail", false, "list the partitions in each directory")
	return c
}

func logDirsOf(ctx context.Context, admin *kadm.Client, topics []string, detail bool) ([]logDirItem, error) {
	var wanted kadm.TopicsSet
	if len(topics) > 0 {
		known, err := admin.ListTopicsWithInternal(ctx, topics...)
		if err != nil {
			return nil, failed(fmt.Errorf("look topics up: %w", err))
		}
		for _, t := range known.Sorted() {
			if t.Err != nil {
				return nil, topicError(t.Topic, t.Err)
			}
		}
		wanted = known.TopicsSet()
	}
	all, err := admin.DescribeAllLogDirs(ctx, wanted)
	if err != nil {
		return nil, failed(fmt.Errorf("describe log directories: %w", err))
	}
	var items []logDirItem
	for _, dirs := range all {
		for _, d := range dirs {
			item := logDirItem{Broker: d.Broker, Dir: d.Dir, SizeBytes: d.Size(), TotalBytes: d.TotalBytes, UsableBytes: d.UsableBytes, Cordoned: d.IsCordoned}
			if d.Err != nil {
				item.Error = d.Err.Error()
			}
			for _, topic := range sortedKeys(d.Topics) {
				item.Partitions += len(d.Topics[topic])
				for _, id := range sortedKeys(d.Topics[topic]) {
					p := d.Topics[topic][id]
					if detail {
						item.Detail = append(item.Detail, logSizeItem{topic, id, p.Size, p.OffsetLag, p.IsFuture})
					}
				}
			}
			items = append(items, item)
		}
	}
	slices.SortFunc(items, func(a, b logDirItem) int {
		return cmp.Or(cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.Dir, b.Dir))
	})
	return items, nil
}

// logDirListing has a row for each directory or, in detail, for each log.
func logDirListing(items []logDirItem, detail bool) listing {
	l := listing{kind: "LogDir", header: []string{"BROKER", "DIR", "PARTITIONS", "SIZE", "USABLE", "TOTAL", ""}}
	if detail {
		l.header = []string{"BROKER", "DIR", "TOPIC", "PARTITION", "SIZE", "LAG", ""}
	}
	for _, i := range items {
		broker := strconv.Itoa(int(i.Broker))
		l.items = append(l.items, i)
		l.names = append(l.names, i.Dir)
		note := i.Error
		if note == "" && i.Cordoned {
			note = "cordoned"
		}
		if !detail {
			l.rows = append(l.rows, []string{broker, i.Dir, strconv.Itoa(i.Partitions), size(i.SizeBytes), size(i.UsableBytes), size(i.TotalBytes), note})
			continue
		}
		for _, p := range i.Detail {
			if p.Future {
				note = "future"
			}
			l.rows = append(l.rows, []string{broker, i.Dir, p.Topic, strconv.Itoa(int(p.Partition)), size(p.SizeBytes), strconv.FormatInt(p.OffsetLag, 10), note})
		}
		if len(i.Detail) == 0 {
			l.rows = append(l.rows, []string{broker, i.Dir, "-", "-", "-", "-", note})
		}
	}
	return l
}

// size writes bytes for people.
func size(bytes int64) string {
	if bytes < 0 {
		return "-"
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	if bytes < 1024 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	v, unit := float64(bytes)/1024, 0
	for v >= 1023.95 && unit < len(units)-1 {
		v, unit = v/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", v, units[unit])
}
