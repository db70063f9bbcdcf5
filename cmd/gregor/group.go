// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/groups"
)

func newGroupCommand() *cobra.Command {
	n := &connection{}
	c := &cobra.Command{
		Use:     "group",
		Aliases: []string{"groups"},
		Short:   "Show consumer groups, how far they lag, and move them",
		Long: `Shows consumer groups of both protocols, how far they lag behind, and moves them to other offsets.

The offsets of a group are its members' while it has any. seek and delete therefore refuse an active group and say who is in it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	n.flags(c)
	c.AddCommand(newGroupListCommand(n), newGroupDescribeCommand(n), newGroupLagCommand(n), newGroupPeekCommand(n), newGroupSeekCommand(n),
		newGroupExportCommand(n), newGroupDeleteCommand(n), newGroupOffsetDeleteCommand(n))
	return c
}

// groupError adds what to do next to an error about a group.
func groupError(group string, err error) error {
	var told *failure
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, kerr.GroupIDNotFound):
		return failed(fmt.Errorf("group %q does not exist", group), "gregor group list")
	}
	return failed(fmt.Errorf("group %q: %w", group, err))
}

// withGroups runs f with a client for both kinds of questions.
func (n *connection) withGroups(c *cobra.Command, f func(ctx context.Context, q *groupQuery) error) error {
	return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
		admin := kadm.NewClient(client)
		admin.SetTimeoutMillis(int32(n.timeout.Milliseconds()))
		return f(ctx, &groupQuery{n, client, admin})
	})
}

// groupQuery asks about groups.
type groupQuery struct {
	connection *connection
	client     *kgo.Client
	admin      *kadm.Client
}

// described gives groups by name. Those that cannot be described are problems;
// a group that does not exist is one unless missing allows it.
func (q *groupQuery) described(ctx context.Context, names []string, missing bool, problems *problems) ([]groups.Group, error) {
	list, err := groups.Describe(ctx, q.client, names...)
	if err != nil {
		return nil, failed(err)
	}
	var good []groups.Group
	for _, g := range list {
		if g.Err != nil && !(missing && errors.Is(g.Err, kerr.GroupIDNotFound)) {
			problems.add(groupError(g.Name, g.Err))
			continue
		}
		good = append(good, g)
	}
	return good, nil
}

// each calls f for every group and its positions. Groups that cannot be
// described, or whose positions are not known, are problems. Those that do not
// exist are passed over where missing allows it: they were there when listed.
func (q *groupQuery) each(ctx context.Context, names []string, missing bool, problems *problems, f func(g *groups.Group, positions []groups.Position) error) error {
	list, err := q.described(ctx, names, missing, problems)
	if err != nil {
		return err
	}
	for i := range list {
		g := &list[i]
		if g.Err != nil {
			continue
		}
		positions, err := groups.Positions(ctx, q.admin, g)
		if err != nil {
			problems.add(groupError(g.Name, err))
			continue
		}
		if err := f(g, positions); err != nil {
			return err
		}
	}
	return nil
}

// one gives one group, which need not exist where missing says so.
func (q *groupQuery) one(ctx context.Context, name string, missing bool) (*groups.Group, error) {
	var problems problems
	list, err := q.described(ctx, []string{name}, missing, &problems)
	switch {
	case err != nil:
		return nil, err
	case len(problems) > 0:
		return nil, problems[0]
	}
	return &list[0], nil
}

// all names every group that there is.
func (q *groupQuery) all(ctx context.Context) ([]string, error) {
	list, err := groups.List(ctx, q.client, nil, nil)
	if err != nil {
		return nil, failed(err)
	}
	var names []string
	for _, g := range list {
		names = append(names, g.Name)
	}
	return names, nil
}

// activeError refuses to touch the offsets of an active group, and names whom
// to stop first.
func activeError(g *groups.Group, why string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "group %q is active (%s): %s; stop its members first", g.Name, g.State, why)
	for i := range g.Members {
		m := &g.Members[i]
		fmt.Fprintf(&b, "\nclient %s at %s, member %s", m.ClientID, m.Host, m.ID)
		if m.InstanceID != "" {
			fmt.Fprintf(&b, ", instance %s", m.InstanceID)
		}
		if len(m.Assigned) > 0 {
			fmt.Fprintf(&b, ": %s", partitionsText(m.Assigned))
		}
	}
	return failed(errors.New(b.String()), "gregor group describe "+g.Name)
}

// partitionsText is "orders 0,1; payments 2".
func partitionsText(p groups.Partitions) string {
	var all []string
	for _, topic := range p.Topics() {
		all = append(all, topic+" "+ids(p[topic]))
	}
	return strings.Join(all, "; ")
}

// topicSelection is what --topic names: topics, each with some of its
// partitions or all.
type topicSelection struct {
	words []string
	found map[string][]int32 // nil: all partitions
}

const topicSelectionHelp = "a topic, or TOPIC:0,1 for some of its partitions; may be repeated"

func (s *topicSelection) flags(c *cobra.Command, help string) {
	c.Flags().StringArrayVar(&s.words, "topic", nil, help)
}

// parse reads the words; a broken one is wrong usage.
func (s *topicSelection) parse() error {
	s.found = map[string][]int32{}
	for _, word := range s.words {
		topic, list, some := strings.Cut(word, ":")
		if topic == "" {
			return usage("--topic %q names no topic", word)
		}
		partitions, had := s.found[topic]
		if !some || had && partitions == nil {
			s.found[topic] = nil
			continue
		}
		for _, text := range strings.Split(list, ",") {
			id, err := strconv.ParseInt(text, 10, 32)
			if err != nil || id < 0 {
				return usage("--topic %s: partitions are numbers, as in %s:0,1", word, topic)
			}
			if !slices.Contains(partitions, int32(id)) {
				partitions = append(partitions, int32(id))
			}
		}
		s.found[topic] = partitions
	}
	return nil
}

// has reports whether a partition is selected; without --topic, all are.
func (s *topicSelection) has(topic string, partition int32) bool {
	if len(s.found) == 0 {
		return true
	}
	partitions, named := s.found[topic]
	return named && (partitions == nil || slices.Contains(partitions, partition))
}

// groupListItem is a group in JSON.
type groupListItem struct {
	Name         string `json:"name"`
	Type         string `json:"type"`
	State        string `json:"state"`
	ProtocolType string `json:"protocolType"` // empty where only offsets were committed
	Coordinator  int32  `json:"coordinator"`
}

func newGroupListCommand(n *connection) *cobra.Command {
	var output string
	var states, kinds []string
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List groups",
		Long: `Lists groups. The type is the protocol of the group: classic, where a member assigns the partitions, or consumer, where the
broker does. States: ` + strings.Join(groups.States, ", ") + `.`,
		Args:    cobra.NoArgs,
		Example: "  gregor group list\n  gregor group list --type consumer --state Stable\n  gregor group list --state Empty -o name",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(checkOutput(output), checkWords("--state", states, groups.States), checkWords("--type", kinds, groupKinds)); err != nil {
				return err
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error {
				list, err := groups.List(ctx, q.client, states, kinds)
				if err != nil {
					return failed(err)
				}
				if len(list) == 0 && output == "table" {
					fmt.Fprintln(c.ErrOrStderr(), "no groups")
					return nil
				}
				l := listing{kind: "Group", header: []string{"NAME", "TYPE", "STATE", "COORDINATOR"}}
				for _, g := range list {
					l.rows = append(l.rows, []string{g.Name, g.Kind, g.State, strconv.Itoa(int(g.Coordinator))})
					l.items = append(l.items, groupListItem{g.Name, g.Kind, g.State, g.ProtocolType, g.Coordinator})
					l.names = append(l.names, g.Name)
				}
				return l.print(c.OutOrStdout(), output)
			})
		},
	}
	outputFlag(c, &output)
	c.Flags().StringSliceVar(&states, "state", nil, "only groups in these states")
	c.Flags().StringSliceVar(&kinds, "type", nil, "only groups of this type: "+strings.Join(groupKinds, ", "))
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(groups.States, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(groupKinds, cobra.ShellCompDirectiveNoFileComp))
	return c
}

var groupKinds = []string{groups.Classic, groups.Consumer}

// checkWords refuses words that are none of those allowed, whatever their
// case, and brings the others into the form that brokers know.
func checkWords(flag string, words, allowed []string) error {
	for i, word := range words {
		at := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, word) })
		if at < 0 {
			return usage("%s %s: allowed are %s", flag, word, strings.Join(allowed, ", "))
		}
		words[i] = allowed[at]
	}
	return nil
}
