// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/cmd/gregor/groups"
	"gregor/cmd/gregor/terminal"
)

func newGroupDeleteCommand(n *connection) *cobra.Command {
	var yes, missing, dry bool
	c := &cobra.Command{
		Use:     "delete GROUP...",
		Aliases: []string{"rm"},
		Short:   "Delete groups and their offsets",
		Long: `Deletes groups and the offsets that they committed, after asking. A group with members is refused. "gregor group export" keeps
the offsets for later.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor group delete audit\n  gregor group delete audit --yes\n  gregor group delete audit replay --if-exists --dry-run",
		RunE: func(c *cobra.Command, names []string) error {
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error {
				targets, problems, err := deletable(ctx, c, q, names, missing)
				if err != nil {
					return err
				}
				if len(targets) == 0 {
					return problems.end(c)
				}
				if dry {
					for _, name := range targets {
						fmt.Fprintf(c.ErrOrStderr(), "would delete group %s\n", name)
					}
					return problems.end(c)
				}
				if !yes {
					if err := confirm(ctx, c, "delete "+strings.Join(targets, ", ")+" and all committed offsets"); err != nil {
						return err
					}
				}
				answers, err := q.admin.DeleteGroups(ctx, targets...)
				if err != nil {
					return failed(fmt.Errorf("delete groups: %w", err))
				}
				for _, a := range answers.Sorted() {
					switch {
					case a.Err == nil:
						fmt.Fprintf(c.ErrOrStderr(), "deleted group %s\n", a.Group)
					case errors.Is(a.Err, kerr.NonEmptyGroup):
						problems.add(failed(fmt.Errorf("group %q has become active; it was not deleted", a.Group), "gregor group describe "+a.Group))
					default:
						problems.add(groupError(a.Group, withMessage(a.Err, a.ErrMessage)))
					}
				}
				return problems.end(c)
			})
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&missing, "if-exists", false, "do not mind groups that do not exist")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	return c
}

// deletable sorts out which groups may be deleted. What stands in the way of
// the others are problems.
func deletable(ctx context.Context, c *cobra.Command, q *groupQuery, names []string, missing bool) ([]string, problems, error) {
	list, err := groups.Describe(ctx, q.client, names...)
	if err != nil {
		return nil, nil, failed(err)
	}
	var problems problems
	var targets []string
	for i := range list {
		g := &list[i]
		switch {
		case missing && errors.Is(g.Err, kerr.GroupIDNotFound):
			fmt.Fprintf(c.ErrOrStderr(), "group %s does not exist\n", g.Name)
		case g.Err != nil:
			problems.add(groupError(g.Name, g.Err))
		case g.Active():
			problems.add(activeError(g, "it cannot be deleted"))
		default:
			targets = append(targets, g.Name)
		}
	}
	return targets, problems, nil
}

// offsetDelete is one committed offset that is to go, in JSON.
type offsetDelete struct {
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committedOffset"`
}

func newGroupOffsetDeleteCommand(n *connection) *cobra.Command {
	var output string
	var topics topicSelection
	var yes, dry bool
	c := &cobra.Command{
		Use:   "offset-delete GROUP --topic TOPIC[:PARTITION,...]",
		Short: "Delete what a group has committed of topics",
		Long: `Deletes the offsets that a group has committed of topics, after asking; the group itself stays. Topics to which members subscribe
are refused. Where a group has no offset, it begins as its clients say (auto.offset.reset).`,
		Args:    cobra.ExactArgs(1),
		Example: "  gregor group offset-delete audit --topic orders\n  gregor group offset-delete audit --topic orders:0,1 --yes\n  gregor group offset-delete audit --topic orders --dry-run -o json",
		RunE: func(c *cobra.Command, args []string) error {
			if err := errors.Join(checkOutput(output), topics.parse()); err != nil {
				return err
			}
			if len(topics.found) == 0 {
				return usage("of which topics? give --topic")
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error {
				g, err := q.one(ctx, args[0], false)
				if err != nil {
					return err
				}
				items, err := committedOf(ctx, q, g, &topics)
				if err != nil {
					return err
				}
				l := deleteListing(items)
				if dry {
					return l.print(c.OutOrStdout(), output)
				}
				if !yes {
					if terminal.Is(c.InOrStdin()) {
						if err := l.print(c.ErrOrStderr(), "table"); err != nil {
							return err
						}
					}
					if err := confirm(ctx, c, fmt.Sprintf("delete %d offsets of group %s", len(items), g.Name)); err != nil {
						return err
					}
				}
				return deleteOffsets(ctx, c, q, g, items, output)
			})
		},
	}
	outputFlag(c, &output)
	topics.flags(c, topicSelectionHelp)
	c.Flags().BoolVar(&dry, "dry-run", false, "only show what would go")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// committedOf lists the selected offsets. Topics that are gone are among them:
// deleting is what is left to do there.
func committedOf(ctx context.Context, q *groupQuery, g *groups.Group, topics *topicSelection) ([]offsetDelete, error) {
	positions, err := groups.Positions(ctx, q.admin, g)
	if err != nil {
		return nil, groupError(g.Name, err)
	}
	var items []offsetDelete
	for _, p := range positions {
		if p.Committed >= 0 && topics.has(p.Topic, p.Partition) {
			items = append(items, offsetDelete{g.Name, p.Topic, p.Partition, p.Committed})
		}
	}
	if len(items) == 0 {
		return nil, failed(fmt.Errorf("group %q has committed nothing of %s", g.Name, strings.Join(topics.words, ", ")), "gregor group describe "+g.Name)
	}
	return items, nil
}

func deleteListing(items []offsetDelete) *listing {
	l := &listing{kind: "OffsetDelete", header: []string{"TOPIC", "PARTITION", "COMMITTED"}}
	for _, i := range items {
		l.rows = append(l.rows, []string{i.Topic, strconv.Itoa(int(i.Partition)), offset(i.Committed)})
		l.items, l.names = append(l.items, i), append(l.names, fmt.Sprintf("%s-%d", i.Topic, i.Partition))
	}
	return l
}

func deleteOffsets(ctx context.Context, c *cobra.Command, q *groupQuery, g *groups.Group, items []offsetDelete, output string) error {
	places := make([]groups.Place, 0, len(items))
	for _, i := range items {
		places = append(places, groups.Place{Topic: i.Topic, Partition: i.Partition})
	}
	var problems problems
	answers, broken := groups.Delete(ctx, q.admin, g.Name, places)
	switch {
	case errors.Is(broken, kerr.NonEmptyGroup):
		problems.add(activeError(g, "its protocol is not that of consumers, so it is not known what it reads"))
	case broken != nil:
		problems.add(groupError(g.Name, fmt.Errorf("delete offsets: %w", broken)))
	}
	var done []offsetDelete
	subscribed := map[string]bool{}
	for _, i := range items {
		err, ok := answers.Lookup(i.Topic, i.Partition)
		switch {
		case !ok && broken != nil: // it was not asked for any more
		case !ok:
			problems.add(groupError(g.Name, fmt.Errorf("%s-%d: the broker did not answer for it", i.Topic, i.Partition)))
		case errors.Is(err, kerr.GroupSubscribedToTopic):
			if !subscribed[i.Topic] {
				subscribed[i.Topic] = true
				problems.add(activeError(g, "members subscribe to topic "+i.Topic))
			}
		case err != nil:
			problems.add(groupError(g.Name, fmt.Errorf("%s-%d: %w", i.Topic, i.Partition, err)))
		default:
			done = append(done, i)
		}
	}
	if len(done) > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "deleted %d offsets of group %s\n", len(done), g.Name)
	}
	if output != "table" && (broken == nil || len(done) > 0) {
		if err := deleteListing(done).print(c.OutOrStdout(), output); err != nil {
			return err
		}
	}
	return problems.end(c)
}
