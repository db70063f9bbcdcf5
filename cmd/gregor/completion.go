// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/reach"
	"gregor/config"
)

func newCompletionCommand() *cobra.Command {
	shells := []string{"bash", "fish", "zsh"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what a shell needs to complete gregor's command lines",
		Long: `Prints a script for bash, zsh or fish. With it the shell completes commands, flags and configuration keys, and asks the
node for topics, partitions, groups and brokers; where none answers at once, it completes nothing and says nothing.

  bash   needs the package bash-completion
  zsh    needs "autoload -U compinit; compinit" in ~/.zshrc`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		Example: "  gregor completion bash > /etc/bash_completion.d/gregor\n  gregor completion zsh > /usr/local/share/zsh/site-functions/_gregor\n" +
			"  gregor completion fish > ~/.config/fish/completions/gregor.fish",
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(c.OutOrStdout(), true)
			case "zsh":
				return c.Root().GenZshCompletion(c.OutOrStdout())
			}
			return c.Root().GenFishCompletion(c.OutOrStdout(), true)
		},
	}
}

// completionTimeout is how long a shell waits for names that a node knows.
const completionTimeout = 300 * time.Millisecond

// completer gives what may stand at a place of the command line.
type completer = cobra.CompletionFunc

// argumentCompleters say what commands take as arguments.
var argumentCompleters = map[string]completer{
	"gregor topic list": completeTopics, "gregor topic describe": completeTopics, "gregor topic alter": completeTopics, "gregor topic delete": completeTopics,
	"gregor topic offsets": completeTopics, "gregor topic trim": completeTopics, "gregor topic empty": completeTopics, "gregor topic analyze": completeTopics,
	"gregor consume": completeTopics, "gregor produce": completeTopic,
	"gregor config get": completeKeys, "gregor config set": completeSettings,
	"gregor group describe": completeGroups, "gregor group lag": completeGroups, "gregor group export": completeGroups, "gregor group delete": completeGroups,
	"gregor group seek": completeGroup, "gregor group peek": completeGroup, "gregor group offset-delete": completeGroup,
}

// flagCompleters say what flags take, by name, in every command that has them
// and does not say so itself.
var flagCompleters = map[string]completer{
	"topic": completeTopic, "partition": completePartitions, "broker": completeBrokers, "group": completeAnyGroup, "from-group": completeAnyGroup,
	"set": completeSettings, "config": completeSettings, "append": completeSettings, "subtract": completeSettings, "delete": completeKeys,
}

// setCompletion gives all commands their completers.
func setCompletion(c *cobra.Command) {
	for _, sub := range c.Commands() {
		setCompletion(sub)
	}
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = argumentCompleters[c.CommandPath()]
	}
	for name, complete := range flagCompleters {
		if f := c.LocalNonPersistentFlags().Lookup(name); f != nil && f.Value.Type() != "bool" && f.Annotations[cobra.BashCompFilenameExt] == nil {
			if _, set := c.GetFlagCompletionFunc(name); !set && !(name == "config" && f.Value.Type() == "string") {
				_ = c.RegisterFlagCompletionFunc(name, complete)
			}
		}
	}
}

// asked runs a question to the node that the command line names.
func asked(c *cobra.Command, question func(ctx context.Context, admin *kadm.Client) []string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	var n connection
	if f := c.Flag("bootstrap-server"); f != nil {
		n.servers = f.Value.String()
	}
	servers, _, err := n.addresses(c)
	if err != nil {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(servers...), kgo.ClientID("gregor-cli"), kgo.DialTimeout(completionTimeout), kgo.RetryTimeout(completionTimeout))
	if err != nil {
		return nil, none
	}
	defer func() { go client.Close() }() // who presses a key does not wait for it
	if reach.Ping(ctx, client) != nil {
		return nil, none
	}
	return question(ctx, kadm.NewClient(client)), none
}

func completeTopics(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	return asked(c, func(ctx context.Context, admin *kadm.Client) []string {
		topics, err := admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return nil
		}
		var names []string
		for _, t := range topics.Sorted() {
			if strings.HasPrefix(t.Topic, begin) && !slices.Contains(args, t.Topic) {
				names = append(names, t.Topic)
			}
		}
		return names
	})
}

// completeTopic is for a command that takes one topic.
func completeTopic(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && c.Name() == "produce" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeTopics(c, nil, begin)
}

// completeGroups gives the groups that are not named yet.
func completeGroups(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	return asked(c, func(ctx context.Context, admin *kadm.Client) []string {
		all, err := admin.ListGroupsByType(ctx, groupKinds)
		if err != nil {
			return nil
		}
		var names []string
		for _, g := range all.Sorted() {
			if strings.HasPrefix(g.Group, begin) && !slices.Contains(args, g.Group) {
				names = append(names, g.Group+"\t"+g.State)
			}
		}
		return names
	})
}

// completeGroup is for a command that takes one group.
func completeGroup(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeGroups(c, nil, begin)
}

// completeAnyGroup is for flags.
func completeAnyGroup(c *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
	return completeGroups(c, nil, begin)
}

// completePartitions gives the partitions of the topics that are named already.
func completePartitions(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return asked(c, func(ctx context.Context, admin *kadm.Client) []string {
		topics, err := admin.ListTopicsWithInternal(ctx, args...)
		if err != nil {
			return nil
		}
		most := 0
		for _, t := range topics {
			most = max(most, len(t.Partitions))
		}
		var ids []string
		for i := range most {
			if id := strconv.Itoa(i); strings.HasPrefix(id, begin) {
				ids = append(ids, id)
			}
		}
		return ids
	})
}

func completeBrokers(c *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
	return asked(c, func(ctx context.Context, admin *kadm.Client) []string {
		meta, err := admin.BrokerMetadata(ctx)
		if err != nil {
			return nil
		}
		var ids []string
		for _, b := range meta.Brokers {
			if id := strconv.Itoa(int(b.NodeID)); strings.HasPrefix(id, begin) {
				ids = append(ids, id+"\t"+b.Host)
			}
		}
		return ids
	})
}

// completeKeys gives the keys of what the command configures. It asks nobody:
// the names are the same everywhere.
func completeKeys(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	table := config.Definitions()
	if f := c.Flag("topic"); strings.HasPrefix(c.CommandPath(), "gregor topic ") || f != nil && f.Changed {
		table = config.TopicDefinitions()
	}
	var keys []string
	for _, name := range keyNames(table) {
		if strings.HasPrefix(name, begin) && !slices.Contains(args, name) {
			keys = append(keys, name)
		}
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// completeSettings gives KEY=, to go on with a value.
func completeSettings(c *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	keys, _ := completeKeys(c, args, begin)
	for i := range keys {
		keys[i] += "="
	}
	return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
