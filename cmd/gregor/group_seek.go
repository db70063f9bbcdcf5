// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"gregor/cmd/gregor/groups"
	"gregor/cmd/gregor/terminal"
)

// seeking is a run of `group seek`.
type seeking struct {
	output    string
	to        string
	by        int64
	fromGroup string
	fromFile  string
	topics    topicSelection
	yes, dry  bool

	point   point        // of to
	entries []offsetLine // of fromFile
}

// seekItem is what seeking does to one partition.
type seekItem struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committedOffset"` // -1: none
	To        int64  `json:"newOffset"`
	Lag       int64  `json:"newLag"`
	Note      string `json:"note,omitempty"`

	epoch    int32
	metadata string
}

func newGroupSeekCommand(n *connection) *cobra.Command {
	s := &seeking{}
	c := &cobra.Command{
		Use:   "seek GROUP",
		Short: "Move a group to other offsets",
		Long: `Moves a group to other offsets: what it reads next, of all partitions for which it has committed, or of those that --topic names.
First it shows the plan and asks. It refuses while the group is active, since its members would go on where they are.

--to is one of
` + pointHelp + `

--by moves by a number of records, back with a minus. --from-group takes the offsets of another group, --from-file what
"gregor group export" wrote, of this group or of the only one in the file. An offset outside a partition becomes its nearest end.`,
		Args: cobra.ExactArgs(1),
		Example: "  gregor group seek audit --to start --dry-run\n  gregor group seek audit --to @-1h\n  gregor group seek audit --to 5 --topic orders:0 --yes\n" +
			"  gregor group seek audit --by -10 --topic orders --yes\n  gregor group seek replay --from-group audit --yes\n  gregor group seek audit --from-file offsets.csv --yes",
		RunE: func(c *cobra.Command, args []string) error {
			if err := s.check(c); err != nil {
				return err
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error { return s.run(ctx, c, q, args[0]) })
		},
	}
	outputFlag(c, &s.output)
	f := c.Flags()
	f.StringVar(&s.to, "to", "", "where to: start, end, N, +N, -N, @TIME")
	f.Int64Var(&s.by, "by", 0, "move by so many records")
	f.StringVar(&s.fromGroup, "from-group", "", "take the offsets of this group")
	f.StringVar(&s.fromFile, "from-file", "", "take the offsets of this file, - for stdin")
	s.topics.flags(c, topicSelectionHelp)
	f.BoolVar(&s.dry, "dry-run", false, "only show the plan")
	f.BoolVarP(&s.yes, "yes", "y", false, "do not ask")
	return c
}

func (s *seeking) check(c *cobra.Command) error {
	ways := 0
	for _, flag := range []string{"to", "by", "from-group", "from-file"} {
		if c.Flags().Changed(flag) {
			ways++
		}
	}
	if ways != 1 {
		return usage("where to? give one of --to, --by, --from-group, --from-file")
	}
	if err := errors.Join(checkOutput(s.output), s.topics.parse()); err != nil {
		return err
	}
	var err error
	switch {
	case c.Flags().Changed("to"):
		s.point, err = parseOnePoint("--to", s.to, time.Now())
	case s.fromFile != "":
		s.entries, err = readOffsetLines(c.InOrStdin(), s.fromFile)
	case c.Flags().Changed("from-file"):
		err = usage("--from-file needs the name of a file")
	case c.Flags().Changed("from-group") && s.fromGroup == "":
		err = usage("--from-group needs the name of a group")
	}
	return err
}

func (s *seeking) run(ctx context.Context, c *cobra.Command, q *groupQuery, name string) error {
	g, err := q.one(ctx, name, true)
	if err != nil {
		return err
	}
	items, err := s.plan(ctx, q, g)
	if err != nil {
		return err
	}
	if s.dry {
		if err := printSeeks(c.OutOrStdout(), s.output, items); err != nil {
			return err
		}
	} else if !s.yes && terminal.Is(c.InOrStdin()) && !g.Active() {
		if err := printSeeks(c.ErrOrStderr(), "table", items); err != nil {
			return err
		}
	}
	switch {
	case g.Active():
		return activeError(g, "its members would go on where they are")
	case s.dry:
		return nil
	case !s.yes:
		if err := confirm(ctx, c, fmt.Sprintf("move group %s in %d partitions", name, len(items))); err != nil {
			return err
		}
	}
	return s.carryOut(ctx, c, q, name, items)
}

// plan finds what becomes of each partition.
func (s *seeking) plan(ctx context.Context, q *groupQuery, g *groups.Group) ([]seekItem, error) {
	own, err := groups.Positions(ctx, q.admin, g)
	if err != nil {
		return nil, groupError(g.Name, err)
	}
	wanted, err := s.wanted(ctx, q, g, own)
	if err != nil {
		return nil, err
	}
	switch {
	case len(wanted) == 0 && len(s.topics.found) > 0:
		return nil, failed(fmt.Errorf("group %q has committed nothing there", g.Name), "gregor group seek "+g.Name+" --to start --topic "+sortedKeys(s.topics.found)[0]+" --dry-run")
	case len(wanted) == 0:
		return nil, failed(fmt.Errorf("group %q has committed nothing there; say which topics it shall read with --topic", g.Name), "gregor group seek "+g.Name+" --to start --topic TOPIC --dry-run")
	}
	asked := map[string]bool{}
	for _, w := range wanted {
		asked[w.Topic] = true
	}
	bounds, err := offsetsOf(ctx, q.admin, sortedKeys(asked), nil, s.at())
	if err != nil {
		return nil, err
	}
	var items []seekItem
	for _, b := range bounds {
		w, ok := find(wanted, b.Topic, b.Partition)
		if !ok {
			continue
		}
		item := seekItem{Group: g.Name, Topic: b.Topic, Partition: b.Partition, Committed: -1, To: w.Offset, epoch: w.LeaderEpoch, metadata: w.Metadata}
		for i := range own {
			if own[i].Topic == b.Topic && own[i].Partition == b.Partition {
				item.Committed = own[i].Committed
			}
		}
		if b.At != nil {
			item.To = *b.At
		}
		items = append(items, item.within(b.LogStart, b.HighMark))
	}
	for _, w := range wanted {
		if !hasSeek(items, w) {
			return nil, failed(fmt.Errorf("topic %q has no partition %d", w.Topic, w.Partition), "gregor topic describe "+w.Topic)
		}
	}
	return items, nil
}

func (s *seeking) at() *point {
	if s.to == "" {
		return nil
	}
	return &s.point
}

// within brings an offset into its partition.
func (i seekItem) within(start, end int64) seekItem {
	switch {
	case i.To < start:
		i.To, i.Note, i.epoch = start, fmt.Sprintf("%d lies before the start", i.To), -1
	case i.To > end:
		i.To, i.Note, i.epoch = end, fmt.Sprintf("%d lies behind the end", i.To), -1
	}
	i.Lag = end - i.To
	return i
}

// wanted lists the partitions to move, and where to if that does not depend on
// what they hold.
func (s *seeking) wanted(ctx context.Context, q *groupQuery, g *groups.Group, own []groups.Position) ([]offsetLine, error) {
	switch {
	case s.fromFile != "":
		return s.fromLines(g.Name)
	case s.fromGroup != "":
		other, err := q.one(ctx, s.fromGroup, false)
		if err != nil {
			return nil, err
		}
		positions, err := groups.Positions(ctx, q.admin, other)
		if err != nil {
			return nil, groupError(s.fromGroup, err)
		}
		wanted := s.committed(positions, 0)
		if len(wanted) == 0 {
			return nil, failed(fmt.Errorf("group %q has committed nothing there", s.fromGroup), "gregor group describe "+s.fromGroup)
		}
		return wanted, nil
	case s.to == "":
		wanted := s.committed(own, s.by)
		for i := range wanted {
			wanted[i].LeaderEpoch, wanted[i].Metadata = -1, ""
		}
		return wanted, nil
	case len(s.topics.found) == 0:
		return s.committed(own, 0), nil
	}
	return s.named(ctx, q)
}

// committed takes the selected partitions for which there is an offset. What
// is gone is left where it is.
func (s *seeking) committed(positions []groups.Position, by int64) []offsetLine {
	var wanted []offsetLine
	for i := range positions {
		if p := &positions[i]; p.Committed >= 0 && !p.Gone && s.topics.has(p.Topic, p.Partition) {
			wanted = append(wanted, offsetLine{Topic: p.Topic, Partition: p.Partition, Offset: groups.Moved(p.Committed, by), LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata})
		}
	}
	return wanted
}

// named takes the partitions that --topic names, whether something was
// committed for them or not.
func (s *seeking) named(ctx context.Context, q *groupQuery) ([]offsetLine, error) {
	details, err := q.admin.ListTopicsWithInternal(ctx, sortedKeys(s.topics.found)...)
	if err != nil {
		return nil, failed(fmt.Errorf("look topics up: %w", err))
	}
	var wanted []offsetLine
	for _, topic := range sortedKeys(s.topics.found) {
		t := details[topic]
		if t.Err != nil {
			return nil, topicError(topic, t.Err)
		}
		partitions := s.topics.found[topic]
		if partitions == nil {
			partitions = sortedKeys(t.Partitions)
		}
		for _, id := range partitions {
			wanted = append(wanted, offsetLine{Topic: topic, Partition: id, LeaderEpoch: -1})
		}
	}
	return wanted, nil
}

// fromLines takes the lines of a file: all of them where it is of one group,
// whichever that was, else those of this group.
func (s *seeking) fromLines(group string) ([]offsetLine, error) {
	named := map[string]bool{}
	for _, line := range s.entries {
		named[line.Group] = true
	}
	if len(named) > 1 && !named[group] {
		return nil, failed(fmt.Errorf("%s has no line for group %q; it has groups %s", s.fromFile, group, strings.Join(sortedKeys(named), ", ")))
	}
	var wanted []offsetLine
	for _, line := range s.entries {
		if (len(named) == 1 || line.Group == group) && s.topics.has(line.Topic, line.Partition) {
			wanted = append(wanted, line)
		}
	}
	if len(wanted) == 0 {
		return nil, failed(fmt.Errorf("%s has no line of what --topic names", s.fromFile))
	}
	return wanted, nil
}

func find(lines []offsetLine, topic string, partition int32) (offsetLine, bool) {
	for _, l := range lines {
		if l.Topic == topic && l.Partition == partition {
			return l, true
		}
	}
	return offsetLine{}, false
}

func hasSeek(items []seekItem, w offsetLine) bool {
	for _, i := range items {
		if i.Topic == w.Topic && i.Partition == w.Partition {
			return true
		}
	}
	return false
}

func (s *seeking) carryOut(ctx context.Context, c *cobra.Command, q *groupQuery, name string, items []seekItem) error {
	to := make([]kadm.Offset, 0, len(items))
	for _, i := range items {
		to = append(to, kadm.Offset{Topic: i.Topic, Partition: i.Partition, At: i.To, LeaderEpoch: i.epoch, Metadata: i.metadata})
	}
	answers, broken := groups.Commit(ctx, q.admin, name, to)
	var problems problems
	var done []seekItem
	active := false
	for _, i := range items {
		switch a, ok := answers.Lookup(i.Topic, i.Partition); {
		case !ok && (broken != nil || active): // it was not asked for any more
		case !ok:
			problems.add(groupError(name, fmt.Errorf("%s-%d: the broker did not answer for it", i.Topic, i.Partition)))
		case groups.IsActive(a.Err):
			active = true
		case a.Err != nil:
			problems.add(groupError(name, fmt.Errorf("%s-%d: %w", i.Topic, i.Partition, a.Err)))
		default:
			done = append(done, i)
		}
	}
	moved := fmt.Sprintf("%d of %d partitions were moved", len(done), len(items))
	if len(done) == 0 {
		moved = "nothing was moved"
	}
	switch {
	case active:
		return failed(fmt.Errorf("group %q has become active; %s", name, moved), "gregor group describe "+name)
	case broken != nil && len(done) == 0:
		return groupError(name, fmt.Errorf("commit: %w", broken))
	case broken != nil:
		problems.add(groupError(name, fmt.Errorf("commit: %w; %s", broken, moved)))
	}
	fmt.Fprintf(c.ErrOrStderr(), "moved group %s in %d partitions\n", name, len(done))
	if s.output != "table" {
		if err := printSeeks(c.OutOrStdout(), s.output, done); err != nil {
			return err
		}
	}
	return problems.end(c)
}

func printSeeks(w io.Writer, output string, items []seekItem) error {
	l := listing{kind: "Seek", header: []string{"TOPIC", "PARTITION", "COMMITTED", "NEW-OFFSET", "MOVES", "NEW-LAG", ""}}
	for _, i := range items {
		moves := "-"
		if i.Committed >= 0 {
			moves = fmt.Sprintf("%+d", i.To-i.Committed)
		}
		l.rows = append(l.rows, []string{i.Topic, strconv.Itoa(int(i.Partition)), offset(i.Committed), offset(i.To), moves, strconv.FormatInt(i.Lag, 10), i.Note})
		l.items, l.names = append(l.items, i), append(l.names, fmt.Sprintf("%s-%d", i.Topic, i.Partition))
	}
	return l.print(w, output)
}
