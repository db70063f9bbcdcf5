// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/fetch"
	"gregor/cmd/gregor/groups"
	"gregor/cmd/gregor/record"
	"gregor/cmd/gregor/terminal"
)

// lagItem is how far a group is behind, in JSON: in one partition, or together
// in all of a topic, a member or the group.
type lagItem struct {
	Time      string `json:"time,omitempty"` // of --watch
	Group     string `json:"group"`
	Topic     string `json:"topic,omitempty"`
	Partition *int32 `json:"partition,omitempty"`
	Committed *int64 `json:"committedOffset,omitempty"`
	End       *int64 `json:"highWatermark,omitempty"`
	// Lag and Seconds are -1 where nobody can tell: nothing was committed, or
	// the partition is gone.
	Lag      int64   `json:"lag"`
	Seconds  float64 `json:"lagSeconds"`
	Member   string  `json:"memberId,omitempty"`
	ClientID string  `json:"clientId,omitempty"`
	Host     string  `json:"host,omitempty"`
	Note     string  `json:"note,omitempty"`
}

// lagging is a run of `group lag`.
type lagging struct {
	output    string
	by        string
	watch     bool
	every     time.Duration
	maxLag    int64
	maxBehind time.Duration
	topics    topicSelection
	// screen says that the table may be drawn over.
	screen bool
	// columns of a table that goes on line after line.
	columns columns
}

var lagBy = []string{"partition", "topic", "member", "group"}

func newGroupLagCommand(n *connection) *cobra.Command {
	l := &lagging{}
	c := &cobra.Command{
		Use:   "lag [GROUP...]",
		Short: "Show how far groups are behind",
		Long: `Shows how far groups are behind, all groups or those that are named: in records, from the committed offset to the end of the
partition, and in time, since the record at the committed offset was written; at the end it is 0.

--max-lag and --max-behind make it exit with 1 where a group has more than that, all its partitions together for records, the
latest of them for time. With --watch it goes on until no group has more, and exits with 0.

--watch draws the table anew on a terminal, and writes line after line elsewhere, with the header again where a column has grown.
A broker that does not answer for longer than --timeout is told on stderr, and is asked again and again.`,
		Args: cobra.ArbitraryArgs,
		Example: "  gregor group lag\n  gregor group lag billing --by topic\n  gregor group lag billing --topic orders:0,1 -o jsonl\n" +
			"  gregor group lag billing --max-lag 1000000 --max-behind 1h\n  gregor group lag audit --watch --max-lag 0",
		RunE: func(c *cobra.Command, names []string) error {
			switch {
			case !slices.Contains(lagBy, l.by):
				return usage("--by %s: allowed are %s", l.by, strings.Join(lagBy, ", "))
			case l.watch && l.output == "json":
				return usage("--watch has no end, and -o json is one object; use -o jsonl")
			case l.every <= 0:
				return usage("--every takes a time above 0")
			}
			if err := errors.Join(checkOutput(l.output), l.topics.parse()); err != nil {
				return err
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error { return l.run(ctx, c, q, names) })
		},
	}
	outputFlag(c, &l.output)
	f := c.Flags()
	f.StringVar(&l.by, "by", "partition", "one line for each: "+strings.Join(lagBy, ", "))
	f.BoolVarP(&l.watch, "watch", "w", false, "look again and again")
	f.DurationVar(&l.every, "every", 2*time.Second, "with --watch, how often")
	f.Int64Var(&l.maxLag, "max-lag", -1, "exit with 1 if a group lags by more records (-1: any number will do)")
	f.DurationVar(&l.maxBehind, "max-behind", -1, "exit with 1 if a group is further behind in time (below 0: any time will do)")
	l.topics.flags(c, topicSelectionHelp)
	_ = c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(lagBy, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (l *lagging) run(ctx context.Context, c *cobra.Command, q *groupQuery, names []string) error {
	out := c.OutOrStdout()
	l.screen = terminal.Draws(out, os.Getenv("TERM"))
	if l.watch {
		return l.goOn(ctx, c, q, names)
	}
	items, problems, err := l.look(ctx, q, names)
	if err != nil {
		return err
	}
	if len(items) > 0 || len(problems) == 0 || l.output == "json" {
		if err := l.print(out, l.rows(items), true); err != nil {
			return err
		}
	}
	return errors.Join(problems.end(c), tooFar(l.above(items)))
}

// goOn looks again and again. What may pass, as a broker that is away for a
// while, is told once and does not end it; and while something is not known, no
// group is said to be within its bounds.
func (l *lagging) goOn(ctx context.Context, c *cobra.Command, q *groupQuery, names []string) error {
	away, shown := false, false
	for {
		items, problems, err := l.look(ctx, q, names)
		if ctx.Err() != nil {
			return failed(ctx.Err())
		}
		if err != nil {
			problems = append(problems, err)
		}
		if lasting := slices.DeleteFunc(slices.Clone(problems), mayPass); len(lasting) > 0 {
			return lasting.end(c)
		}
		now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		switch {
		case len(problems) > 0 && !away:
			fmt.Fprintf(c.ErrOrStderr(), "%s: %v; looking again every %s\n", now, problems[0], l.every)
		case len(problems) == 0 && away:
			fmt.Fprintf(c.ErrOrStderr(), "%s: all is answered again\n", now)
		}
		away = len(problems) > 0
		if len(items) > 0 || !away {
			if err := l.draw(c.OutOrStdout(), l.rows(items), now, !shown); err != nil {
				return err
			}
			shown = true
		}
		if l.bounded() && !away && len(l.above(items)) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return failed(ctx.Err())
		case <-time.After(l.every):
		}
	}
}

func (l *lagging) bounded() bool { return l.maxLag >= 0 || l.maxBehind >= 0 }

// mayPass finds what a later look may not meet any more.
func mayPass(err error) bool {
	return codeOf(err) == exitUnreachable || kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) ||
		errors.Is(err, groups.ErrNoAnswer) || errors.Is(err, fetch.ErrSilent)
}

// draw shows what one look has found.
func (l *lagging) draw(out io.Writer, rows []lagItem, now string, first bool) error {
	for i := range rows {
		rows[i].Time = now
	}
	if l.screen && l.output == "table" {
		fmt.Fprintf(out, "\x1b[H\x1b[2J%s\n", now) // home, and nothing below
	}
	return l.print(out, rows, first || l.screen)
}

// look gives one item a partition.
func (l *lagging) look(ctx context.Context, q *groupQuery, names []string) ([]lagItem, problems, error) {
	var problems problems
	listed := len(names) == 0
	if listed {
		all, err := q.all(ctx)
		if err != nil || len(all) == 0 {
			return nil, nil, err
		}
		names = all
	}
	var items []lagItem
	err := q.each(ctx, names, listed, &problems, func(g *groups.Group, positions []groups.Position) error {
		behind, err := q.behind(ctx, positions)
		if err != nil {
			problems.add(groupError(g.Name, err))
			return nil
		}
		for j := range positions {
			p := &positions[j]
			if !l.topics.has(p.Topic, p.Partition) {
				continue
			}
			item := lagItem{Group: g.Name, Topic: p.Topic, Partition: &p.Partition, Committed: &p.Committed, End: &p.End, Lag: p.Lag(), Seconds: behind[j], Note: noteOf(p)}
			if p.Owner != nil {
				item.Member, item.ClientID, item.Host = p.Owner.ID, p.Owner.ClientID, p.Owner.Host
			}
			items = append(items, item)
			if p.Err != nil && l.bounded() { // it may be far behind there
				problems.add(groupError(g.Name, fmt.Errorf("topic %q, partition %d: %w", p.Topic, p.Partition, p.Err)))
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return items, problems, nil
}

// behind gives for each position how many seconds ago the record that is to be
// read next was written: 0 at the end, -1 where nobody can tell.
func (q *groupQuery) behind(ctx context.Context, positions []groups.Position) ([]float64, error) {
	seconds := make([]float64, len(positions))
	var stretches []fetch.Stretch
	for i := range positions {
		p := &positions[i]
		switch {
		case p.Lag() < 0:
			seconds[i] = -1
		case p.Lag() > 0:
			stretches = append(stretches, fetch.Stretch{Topic: p.Topic, Partition: p.Partition, Next: p.Next(), To: p.End})
		}
	}
	r := fetch.NewReader(q.client, fetch.Options{Timeout: q.connection.timeout})
	err := r.First(ctx, stretches, func(first *record.Record) {
		i := slices.IndexFunc(positions, func(p groups.Position) bool { return p.Topic == first.Topic && p.Partition == first.Partition })
		seconds[i] = max(0, time.Since(time.UnixMilli(first.TimestampMs)).Round(time.Millisecond).Seconds())
		if first.TimestampMs < 0 {
			seconds[i] = -1
		}
	})
	return seconds, err
}

// rows adds items up as --by says: records are summed, of times the longest
// counts. What nobody can tell stays out of a sum.
func (l *lagging) rows(items []lagItem) []lagItem {
	if l.by == "partition" {
		return items
	}
	var rows []lagItem
	for _, item := range items {
		row := lagItem{Group: item.Group, Lag: -1, Seconds: -1}
		switch l.by {
		case "topic":
			row.Topic = item.Topic
		case "member":
			row.Member, row.ClientID, row.Host = item.Member, item.ClientID, item.Host
		}
		at := slices.IndexFunc(rows, func(r lagItem) bool { return r.Group == row.Group && r.Topic == row.Topic && r.Member == row.Member })
		if at < 0 {
			rows = append(rows, row)
			at = len(rows) - 1
		}
		if item.Lag >= 0 {
			rows[at].Lag = max(0, rows[at].Lag) + item.Lag
		}
		rows[at].Seconds = max(rows[at].Seconds, item.Seconds)
	}
	slices.SortStableFunc(rows, func(a, b lagItem) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ClientID, b.ClientID), cmp.Compare(a.Member, b.Member))
	})
	return rows
}

// above gives the groups that are further behind than they may be.
func (l *lagging) above(items []lagItem) []lagItem {
	var over []lagItem
	for _, g := range (&lagging{by: "group"}).rows(items) {
		if l.maxLag >= 0 && g.Lag > l.maxLag || l.maxBehind >= 0 && g.Seconds > l.maxBehind.Seconds() {
			over = append(over, g)
		}
	}
	return over
}

func tooFar(over []lagItem) error {
	if len(over) == 0 {
		return nil
	}
	var all []string
	for _, g := range over {
		all = append(all, fmt.Sprintf("group %q is %d records and %s behind", g.Group, g.Lag, secondsText(g.Seconds)))
	}
	return failed(errors.New(strings.Join(all, "\n")), "gregor group lag "+over[0].Group+" --by member")
}

func (l *lagging) print(w io.Writer, items []lagItem, header bool) error {
	list := listing{kind: "Lag", header: l.header()}
	for _, item := range items {
		row := []string{item.Group}
		switch l.by {
		case "partition":
			row = append(row, item.Topic, strconv.Itoa(int(*item.Partition)), offset(*item.Committed), offset(*item.End))
		case "topic":
			row = append(row, item.Topic)
		case "member":
			row = append(row, orDash(item.ClientID), orDash(item.Host), orDash(item.Member))
		}
		row = append(row, offset(item.Lag), secondsText(item.Seconds))
		name := strings.TrimSpace(item.Group + " " + item.Topic)
		if l.by == "partition" {
			row = append(row, orDash(item.ClientID), orDash(item.Host), item.Note)
			name = fmt.Sprintf("%s %s-%d", item.Group, item.Topic, *item.Partition)
		}
		if l.watch && !l.screen {
			row = append([]string{item.Time}, row...)
		}
		list.rows, list.items, list.names = append(list.rows, row), append(list.items, item), append(list.names, name)
	}
	if !l.watch || l.screen || l.output != "table" {
		return list.print(w, l.output)
	}
	list.header = append([]string{"TIME"}, list.header...)
	rows := append([][]string{list.header}, list.rows...)
	if grown := l.columns.fit(rows); !header && !grown {
		rows = list.rows
	}
	if len(rows) == 0 {
		return nil
	}
	return printTable(w, l.columns.pad(rows[0]), rows[1:])
}

func (l *lagging) header() []string {
	header := []string{"GROUP"}
	switch l.by {
	case "partition":
		return append(header, "TOPIC", "PARTITION", "COMMITTED", "HIGH-WATERMARK", "LAG", "BEHIND", "CLIENT-ID", "HOST", "")
	case "topic":
		header = append(header, "TOPIC")
	case "member":
		header = append(header, "CLIENT-ID", "HOST", "MEMBER")
	}
	return append(header, "LAG", "BEHIND")
}

// secondsText shows a time as people say it, coarser the longer it is.
func secondsText(seconds float64) string {
	if seconds < 0 {
		return "-"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d == 0:
		return "0"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	hours := int64(d.Round(time.Hour) / time.Hour)
	return fmt.Sprintf("%dd%dh", hours/24, hours%24)
}
