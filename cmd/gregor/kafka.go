// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"gregor/cmd/gregor/kafkatools"
)

// newKafkaCommands are Kafka's shell tools under their own names. They are
// hidden: gregor's own commands do more, and these are for scripts that exist.
func newKafkaCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, name := range kafkatools.Names() {
		all = append(all, &cobra.Command{
			Use:                name,
			Aliases:            []string{name + ".sh"},
			Short:              kafkatools.About(name),
			Example:            kafkatools.Example(name),
			Hidden:             true,
			DisableFlagParsing: true,
			Args:               cobra.ArbitraryArgs,
			RunE: func(c *cobra.Command, args []string) error {
				ctx, cancel := interruptible(c)
				defer cancel()
				s := kafkatools.Streams{In: c.InOrStdin(), Out: c.OutOrStdout(), Err: c.ErrOrStderr()}
				switch kafkatools.Run(ctx, name, args, s) {
				case exitDone:
					return nil
				case exitInterrupted:
					return failed(context.Canceled)
				}
				return errReported
			},
		})
	}
	return all
}

// calledAs puts the name of a Kafka tool in front of the arguments, where the
// program was called by a link of that name.
func calledAs(program string, args []string) []string {
	if name, ok := kafkatools.Called(filepath.Base(program)); ok {
		return append([]string{name}, args...)
	}
	return args
}
