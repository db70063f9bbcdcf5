// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gregor/cmd/gregor/fetch"
	"gregor/cmd/gregor/groups"
	"gregor/cmd/gregor/record"
)

// peeking is a run of `group peek`.
type peeking struct {
	output        string
	before, after int
	topics        topicSelection
	committed     bool
}

// peekItem is a record near the committed offset, in JSON.
type peekItem struct {
	Group     string  `json:"group"`
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Next      bool    `json:"next"` // it is what the group reads next
	Done      bool    `json:"done"` // it lies before the committed offset
	Timestamp string  `json:"timestamp"`
	Key       *string `json:"key"`
	Value     *string `json:"value"`
}

func newGroupPeekCommand(n *connection) *cobra.Command {
	p := &peeking{}
	c := &cobra.Command{
		Use:   "peek GROUP",
		Short: "Show the records that a group reads next",
		Long: `Shows the records around the committed offset of each partition: -B of those that the group has done with, and -A of those that it
reads next, of which the first has a >. It commits nothing and disturbs nobody. Without a commit, or at the end of a partition,
there is nothing to show.

Keys and values are shown as text; -o json has them whole, and "gregor consume" has them in every form.`,
		Args:    cobra.ExactArgs(1),
		Example: "  gregor group peek billing\n  gregor group peek billing -B 2 -A 2 --topic orders:0\n  gregor group peek billing -A 1 -o jsonl",
		RunE: func(c *cobra.Command, args []string) error {
			if p.before < 0 || p.after < 0 {
				return usage("-B and -A take numbers from 0 on")
			}
			if err := errors.Join(checkOutput(p.output), p.topics.parse()); err != nil {
				return err
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error { return p.run(ctx, c, q, args[0]) })
		},
	}
	outputFlag(c, &p.output)
	f := c.Flags()
	f.IntVarP(&p.before, "before", "B", 0, "offsets before the committed one, of each partition")
	f.IntVarP(&p.after, "after", "A", 1, "records from the committed offset on, of each partition")
	f.BoolVar(&p.committed, "read-committed", false, "leave out records of transactions that are open or were aborted")
	p.topics.flags(c, topicSelectionHelp)
	return c
}

func (p *peeking) run(ctx context.Context, c *cobra.Command, q *groupQuery, name string) error {
	g, err := q.one(ctx, name, false)
	if err != nil {
		return err
	}
	positions, err := groups.Positions(ctx, q.admin, g)
	if err != nil {
		return groupError(name, err)
	}
	r := fetch.NewReader(q.client, fetch.Options{Committed: p.committed, Timeout: q.connection.timeout})
	var items []peekItem
	for i := range positions {
		at := &positions[i]
		if at.Committed < 0 || at.End < 0 || !p.topics.has(at.Topic, at.Partition) {
			continue
		}
		found, err := p.around(ctx, r, name, at)
		if err != nil {
			return topicError(at.Topic, err)
		}
		items = append(items, found...)
	}
	if len(items) == 0 && p.output == "table" {
		fmt.Fprintf(c.ErrOrStderr(), "there is nothing that group %s reads next\n", name)
		return nil
	}
	return printPeeks(c.OutOrStdout(), p.output, items)
}

// around reads the records of one partition. It ends as soon as there are
// enough, so that a long lag costs nothing.
func (p *peeking) around(ctx context.Context, r *fetch.Reader, group string, at *groups.Position) ([]peekItem, error) {
	from := max(at.LogStart, at.Committed-int64(p.before))
	to := at.End
	if p.after == 0 {
		to = min(at.Committed, at.End)
	}
	s := &peekSink{group: group, next: at.Next(), after: p.after}
	err := r.ByPartition(ctx, []fetch.Stretch{{Topic: at.Topic, Partition: at.Partition, Next: from, To: to}}, s)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return s.items, err
}

// peekSink gathers records until enough lie behind the committed offset.
type peekSink struct {
	group string
	next  int64
	after int
	items []peekItem
	seen  int
}

func (s *peekSink) Record(r *record.Record) error {
	item := peekItem{Group: s.group, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Done: r.Offset < s.next, Key: textOf(r.Key), Value: textOf(r.Value),
		Timestamp: time.UnixMilli(r.TimestampMs).UTC().Format("2006-01-02T15:04:05.000Z")}
	if !item.Done {
		item.Next = s.seen == 0
		s.seen++
	}
	s.items = append(s.items, item)
	if s.seen >= s.after && !item.Done {
		return errEnough
	}
	return nil
}

func (s *peekSink) Pause() error { return nil }

func textOf(b []byte) *string {
	if b == nil {
		return nil
	}
	text := string(b)
	return &text
}

// peekWidth is how much of a key or a value a table shows.
const peekWidth = 60

func printPeeks(w io.Writer, output string, items []peekItem) error {
	l := listing{kind: "Peek", header: []string{"", "TOPIC", "PARTITION", "OFFSET", "TIMESTAMP", "KEY", "VALUE"}}
	for _, i := range items {
		mark := ""
		if i.Next {
			mark = ">"
		}
		l.rows = append(l.rows, []string{mark, i.Topic, strconv.Itoa(int(i.Partition)), strconv.FormatInt(i.Offset, 10), i.Timestamp, short(i.Key), short(i.Value)})
		l.items, l.names = append(l.items, i), append(l.names, fmt.Sprintf("%s-%d %d", i.Topic, i.Partition, i.Offset))
	}
	return l.print(w, output)
}

func short(text *string) string {
	if text == nil {
		return "null"
	}
	runes := []rune(*text)
	if len(runes) <= peekWidth {
		return *text
	}
	return string(runes[:peekWidth-1]) + "…"
}
