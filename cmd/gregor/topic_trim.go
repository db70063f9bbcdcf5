// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"gregor/cmd/gregor/terminal"
)

// trimItem is what trimming does to one partition.
type trimItem struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	LogStart  int64  `json:"logStartOffset"`
	HighMark  int64  `json:"highWatermark"`
	To        int64  `json:"newLogStartOffset"`
}

// trimming is what `topic trim` and `topic empty` share.
type trimming struct {
	verb       string
	output     string
	to         point
	partitions []int32
	yes, dry   bool
}

func (t *trimming) flags(c *cobra.Command) {
	outputFlag(c, &t.output)
	c.Flags().Int32SliceVarP(&t.partitions, "partition", "p", nil, "only these partitions")
	c.Flags().BoolVar(&t.dry, "dry-run", false, "only say what would happen")
	c.Flags().BoolVarP(&t.yes, "yes", "y", false, "do not ask")
}

func newTopicTrimCommand(n *connection) *cobra.Command {
	t := trimming{verb: "trimmed"}
	var to string
	c := &cobra.Command{
		Use:   "trim TOPIC...",
		Short: "Delete the oldest records",
		Long: `Deletes the records below a point of each partition. They are gone at once and for good; their room on the disk comes
back segment by segment. Topics with cleanup.policy=compact alone refuse it.

` + pointHelp,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic trim orders --to @-168h --dry-run\n  gregor topic trim orders --to 5 -p 0 --yes\n  gregor topic trim orders --to -1000 --yes",
		RunE: func(c *cobra.Command, names []string) error {
			if to == "" {
				return usage("up to where? give --to")
			}
			var err error
			if t.to, err = parseOnePoint("--to", to, time.Now()); err != nil {
				return err
			}
			return t.run(n, c, names)
		},
	}
	c.Flags().StringVar(&to, "to", "", "the first record that stays")
	t.flags(c)
	return c
}

func newTopicEmptyCommand(n *connection) *cobra.Command {
	t := trimming{verb: "emptied", to: point{kind: atEnd}}
	c := &cobra.Command{
		Use:     "empty TOPIC...",
		Short:   "Delete all records, keep the topic",
		Long:    "Deletes every record that is there now. Topics, partitions and offsets stay: the next record gets the next offset.",
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic empty orders\n  gregor topic empty orders payments --yes\n  gregor topic empty orders --dry-run -o json",
		RunE:    func(c *cobra.Command, names []string) error { return t.run(n, c, names) },
	}
	t.flags(c)
	return c
}

func (t *trimming) run(n *connection, c *cobra.Command, names []string) error {
	if err := checkOutput(t.output); err != nil {
		return err
	}
	return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
		items, err := t.plan(ctx, admin, names)
		if err != nil {
			return err
		}
		if t.dry {
			return printTrims(c.OutOrStdout(), t.output, items)
		}
		if !t.yes {
			if terminal.Is(c.InOrStdin()) {
				if err := printTrims(c.ErrOrStderr(), "table", items); err != nil {
					return err
				}
			}
			if err := confirm(ctx, c, fmt.Sprintf("delete %d offsets of %s for good", deleted(items), strings.Join(names, ", "))); err != nil {
				return err
			}
		}
		return t.carryOut(ctx, c, admin, items)
	})
}

// plan finds what is to be deleted of each partition, which may be nothing.
func (t *trimming) plan(ctx context.Context, admin *kadm.Client, names []string) ([]trimItem, error) {
	offsets, err := offsetsOf(ctx, admin, names, t.partitions, &t.to)
	if err != nil {
		return nil, err
	}
	var items []trimItem
	for _, o := range offsets {
		to := *o.At
		if t.to.kind == atOffset && to > o.HighMark {
			return nil, failed(fmt.Errorf("partition %d of topic %q ends at %d: --to %d lies behind it", o.Partition, o.Topic, o.HighMark, to),
				"gregor topic offsets "+o.Topic)
		}
		items = append(items, trimItem{Topic: o.Topic, Partition: o.Partition, LogStart: o.LogStart, HighMark: o.HighMark, To: max(min(to, o.HighMark), o.LogStart)})
	}
	return items, nil
}

func deleted(items []trimItem) (n int64) {
	for _, i := range items {
		n += i.To - i.LogStart
	}
	return n
}

func (t *trimming) carryOut(ctx context.Context, c *cobra.Command, admin *kadm.Client, items []trimItem) error {
	var below kadm.Offsets
	for _, i := range items {
		if i.To > i.LogStart {
			below.AddOffset(i.Topic, i.Partition, i.To, -1)
		}
	}
	var problems problems
	var done []trimItem
	if len(below) > 0 {
		responses, err := admin.DeleteRecords(ctx, below)
		if err != nil {
			return failed(fmt.Errorf("delete records: %w", err))
		}
		for _, i := range items {
			r, ok := responses.Lookup(i.Topic, i.Partition)
			switch {
			case !ok:
			case r.Err != nil:
				problems.add(topicError(i.Topic, fmt.Errorf("partition %d: %w", i.Partition, r.Err)))
			default:
				i.To = r.LowWatermark
				done = append(done, i)
			}
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s %d partitions, %d offsets deleted\n", t.verb, len(done), deleted(done))
	if t.output != "table" {
		if err := printTrims(c.OutOrStdout(), t.output, done); err != nil {
			return err
		}
	}
	return problems.end(c)
}

func printTrims(w io.Writer, output string, items []trimItem) error {
	l := listing{kind: "Trim", header: []string{"TOPIC", "PARTITION", "LOG-START", "NEW-LOG-START", "HIGH-WATERMARK", "DELETED"}}
	for _, i := range items {
		l.rows = append(l.rows, []string{i.Topic, strconv.Itoa(int(i.Partition)), offset(i.LogStart), offset(i.To), offset(i.HighMark), strconv.FormatInt(i.To-i.LogStart, 10)})
		l.items = append(l.items, i)
		l.names = append(l.names, fmt.Sprintf("%s-%d", i.Topic, i.Partition))
	}
	return l.print(w, output)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
