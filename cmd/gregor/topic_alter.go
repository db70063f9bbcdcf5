// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func newTopicAlterCommand(n *connection) *cobra.Command {
	var partitions int
	var changes configChanges
	c := &cobra.Command{
		Use:   "alter TOPIC...",
		Short: "Change configurations, add partitions",
		Long: `Changes topics that exist.

--set, --delete, --append and --subtract change their configurations, which hold at once. What may delete records is asked
about first. gregor config explain KEY says what a key does.

--partitions is how many there shall be afterwards. Partitions are never taken away, records stay where they are, and
records of a key may go to another partition from then on.`,
		Args: cobra.MinimumNArgs(1),
		Example: "  gregor topic alter orders --set max.message.bytes=2000000 --delete compression.type\n" +
			"  gregor topic alter orders payments --set retention.ms=86400000 --yes\n" +
			"  gregor topic alter orders --partitions 12\n  gregor topic alter orders payments --partitions 12 --dry-run",
		RunE: func(c *cobra.Command, names []string) error {
			grows := c.Flags().Changed("partitions")
			if !grows && changes.empty() {
				return usage("nothing to change: give --set, --delete, --append, --subtract or --partitions")
			}
			if grows && partitions < 1 {
				return usage("--partitions %d: a topic has one at least", partitions)
			}
			if !changes.empty() {
				targets := make([]configTarget, len(names))
				for i, name := range names {
					targets[i].topic = name
				}
				if err := n.alterConfigs(c, &changes, targets); err != nil || !grows {
					return err
				}
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				return growTopics(ctx, c, admin, partitions, changes.dry, names)
			})
		},
	}
	c.Flags().IntVarP(&partitions, "partitions", "p", 0, "partitions that each topic shall have")
	c.Flags().StringArrayVar(&changes.set, "set", nil, "a topic setting, key=value; may be repeated")
	changes.flags(c)
	c.Flags().BoolVar(&changes.dry, "dry-run", false, "only say what would happen")
	return c
}

// growTopics gives each topic that many partitions.
func growTopics(ctx context.Context, c *cobra.Command, admin *kadm.Client, partitions int, dry bool, names []string) error {
	grow, did := admin.UpdatePartitions, "topic %s has %d partitions\n"
	if dry {
		grow, did = admin.ValidateUpdatePartitions, "topic %s would have %d partitions\n"
	}
	grown, err := grow(ctx, partitions, names...)
	if err != nil {
		return failed(fmt.Errorf("add partitions: %w", err))
	}
	var problems problems
	for _, t := range grown.Sorted() {
		if t.Err != nil {
			problems.add(topicError(t.Topic, withMessage(t.Err, t.ErrMessage)))
			continue
		}
		fmt.Fprintf(c.ErrOrStderr(), did, t.Topic, partitions)
	}
	return problems.end(c)
}
