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
	var dry bool
	c := &cobra.Command{
		Use:   "alter TOPIC...",
		Short: "Add partitions",
		Long: `Changes topics that exist.

--partitions is how many there shall be afterwards. Partitions are never taken away, records stay where they are, and
records of a key may go to another partition from then on.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor topic alter orders --partitions 12\n  gregor topic alter orders payments --partitions 12 --dry-run",
		RunE: func(c *cobra.Command, names []string) error {
			if !c.Flags().Changed("partitions") {
				return usage("nothing to change: give --partitions")
			}
			if partitions < 1 {
				return usage("--partitions %d: a topic has one at least", partitions)
			}
			return n.withAdmin(c, func(ctx context.Context, admin *kadm.Client) error {
				return growTopics(ctx, c, admin, partitions, dry, names)
			})
		},
	}
	c.Flags().IntVarP(&partitions, "partitions", "p", 0, "partitions that each topic shall have")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
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
