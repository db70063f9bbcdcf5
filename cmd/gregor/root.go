// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newRootCommand(s stdio, execAt time.Time) *cobra.Command {
	root := &cobra.Command{
		Use:   "gregor",
		Short: "Apache Kafka's job in one binary",
		Long: `gregor speaks the Kafka protocol: every Kafka client is its client.

  gregor start                          one node on 127.0.0.1:9092, data under ./data
  echo hello | gregor produce greetings
  gregor consume greetings

Kafka's own tools are there by their names, with their options: kafka-topics, kafka-configs, kafka-consumer-groups,
kafka-console-producer, kafka-console-consumer, kafka-get-offsets, kafka-delete-records, kafka-dump-log.

Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 something failed, 2 wrong usage, 3 no connection, 4 not allowed,
130 interrupted.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	v := versionOf(build())
	root.Version = v.Version // makes --version
	root.SetVersionTemplate(v.String())
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &failure{exitUsage, flagError(err), []string{c.CommandPath() + " --help"}}
	})
	root.AddCommand(newStartCommand(execAt), newVersionCommand(), newTopicCommand(), newConfigCommand(), newQuotaCommand(), newGroupCommand(), newClusterCommand(), newDoctorCommand(), newProduceCommand(), newConsumeCommand(), newStorageCommand(), newBenchCommand())
	root.AddCommand(newCompletionCommand(), newManCommand())
	root.AddCommand(newKafkaCommands()...)
	setCompletion(root)
	usageErrors(root)
	return root
}

// parsers are the words of Go's library about a value that it cannot read.
var parsers = regexp.MustCompile(`: (?:strconv\.\w+: parsing "[^"]*": (?:invalid syntax|value out of range)|time: .*)$`)

// flagError says what is wrong with a flag's value without naming functions.
func flagError(err error) error {
	return errors.New(parsers.ReplaceAllStringFunc(err.Error(), func(text string) string {
		switch {
		case strings.HasSuffix(text, "value out of range"):
			return ": out of range"
		case strings.HasSuffix(text, "invalid syntax"):
			return ": not a number"
		}
		return ": not a time; want for example 500ms, 10s or 5m"
	}))
}

// emptyArgument marks commands that know what an empty
// argument means.
const emptyArgument = "empty argument"

// usageErrors makes wrong arguments and unknown commands exit with 2, and has
// them name the help.
func usageErrors(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil && slices.Contains(args, "") && c.Annotations[emptyArgument] == "" && !c.DisableFlagParsing {
			err = errors.New("an argument is empty: a name is wanted")
		}
		if err == nil {
			return nil
		}
		switch {
		case len(args) == 0:
		case !c.HasSubCommands() && check(c, nil) == nil && check(c, args[:1]) != nil:
			err = fmt.Errorf("%s takes flags only, and %q is none", c.CommandPath(), args[0])
		case c.HasSubCommands():
			c.SuggestionsMinimumDistance = 2
			err = fmt.Errorf("no command %q in %s", args[0], c.CommandPath())
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				err = fmt.Errorf("%w; did you mean %s?", err, near[0])
			}
		}
		return &failure{exitUsage, err, []string{c.CommandPath() + " --help"}}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}
