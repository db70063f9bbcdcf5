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
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newConfigCommand() *cobra.Command {
	n := &connection{}
	c := &cobra.Command{
		Use:     "config",
		Aliases: []string{"configs"},
		Short:   "Show, change and explain configurations of a running cluster",
		Long: `Shows, changes and explains configurations of a running cluster.

What is set for a topic wins over what is set for its broker, that over what is set for all brokers, that over the broker's
own file, environment and command line, and that over the default.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	n.flags(c)
	c.AddCommand(newConfigGetCommand(n), newConfigSetCommand(n), newConfigExplainCommand())
	return c
}

// configTarget is what a configuration belongs to.
type configTarget struct {
	topic  string
	broker string
}

func (t *configTarget) flags(c *cobra.Command) {
	c.Flags().StringVar(&t.topic, "topic", "", "the configuration of this topic")
	c.Flags().StringVar(&t.broker, "broker", "", "the configuration of the broker with this id")
}

func (t *configTarget) check(c *cobra.Command) error {
	if c.Flags().Changed("topic") && c.Flags().Changed("broker") {
		return usage("--topic and --broker: one of both")
	}
	if c.Flags().Changed("topic") && t.topic == "" {
		return usage("--topic needs a name")
	}
	if !c.Flags().Changed("broker") {
		return nil
	}
	if _, err := strconv.ParseInt(t.broker, 10, 32); err != nil {
		return usage("--broker %s: a broker is named by its id, a number", t.broker)
	}
	return nil
}

// resource is the target by Kafka's names; the empty name is all brokers.
func (t *configTarget) resource() (kmsg.ConfigResourceType, string) {
	if t.topic != "" {
		return kmsg.ConfigResourceTypeTopic, t.topic
	}
	return kmsg.ConfigResourceTypeBroker, t.broker
}

func (t *configTarget) String() string {
	switch {
	case t.topic != "":
		return "topic " + t.topic
	case t.broker != "":
		return "broker " + t.broker
	}
	return "all brokers"
}

// configItem is a key in JSON.
type configItem struct {
	Name          string          `json:"name"`
	Value         *string         `json:"value"`
	Source        string          `json:"source"`
	Type          string          `json:"type"`
	ReadOnly      bool            `json:"readOnly"`
	Sensitive     bool            `json:"sensitive"`
	Synonyms      []configSynonym `json:"synonyms,omitempty"`
	Documentation string          `json:"documentation,omitempty"`
}

// configSynonym is a place that sets a key, or would.
type configSynonym struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

func newConfigGetCommand(n *connection) *cobra.Command {
	var target configTarget
	var output string
	var all bool
	c := &cobra.Command{
		Use:   "get [KEY...]",
		Short: "Show what is configured, and where it comes from",
		Long: `Shows what is configured, and where it comes from: for a topic, for a broker, or what was set for all brokers.

Without KEY, only what differs from the default is shown; --all shows every key.`,
		Args: cobra.ArbitraryArgs,
		Example: "  gregor config get --topic orders\n  gregor config get --topic orders retention.ms cleanup.policy\n" +
			"  gregor config get --broker 1 --all -o json\n  gregor config get",
		RunE: func(c *cobra.Command, keys []string) error {
			if err := errors.Join(checkOutput(output), target.check(c)); err != nil {
				return err
			}
			return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
				items, err := describeConfigs(ctx, client, &target, keys)
				if err != nil {
					return err
				}
				l := listing{kind: "Config", header: []string{"KEY", "VALUE", "SOURCE"}}
				for i := range items {
					item := &items[i]
					if len(keys) == 0 && !all && item.Source == sourceNames[5] {
						continue
					}
					l.rows = append(l.rows, []string{item.Name, shownValue(item), item.Source})
					l.items = append(l.items, *item)
					l.names = append(l.names, item.Name)
				}
				if len(l.rows) == 0 && len(keys) == 0 && output == "table" {
					fmt.Fprintf(c.ErrOrStderr(), "nothing is set for %s\n", &target)
					return nil
				}
				if err := l.print(c.OutOrStdout(), output); err != nil {
					return err
				}
				var problems problems
				for _, key := range keys {
					if !slices.ContainsFunc(items, func(item configItem) bool { return item.Name == key }) {
						problems.add(failed(fmt.Errorf("%s has no key %q", &target, key), "gregor config explain "+key))
					}
				}
				return problems.end(c)
			})
		},
	}
	target.flags(c)
	outputFlag(c, &output)
	c.Flags().BoolVar(&all, "all", false, "show defaults too")
	return c
}

func shownValue(item *configItem) string {
	switch {
	case item.Sensitive:
		return "[hidden]"
	case item.Value == nil:
		return "-"
	case *item.Value == "":
		return `""`
	}
	return *item.Value
}

// sourceNames are Kafka's config sources by number, in words.
var sourceNames = map[int8]string{1: "topic", 2: "broker", 3: "all brokers", 4: "static", 5: "default", 6: "logger", 7: "client metrics", 8: "group"}

// describeConfigs asks for keys, or for all of them, sorted by name.
func describeConfigs(ctx context.Context, client kmsg.Requestor, target *configTarget, keys []string) ([]configItem, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = target.resource()
	r.ConfigNames = keys
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, failed(fmt.Errorf("describe the configuration of %s: %w", target, err))
	}
	if len(resp.Resources) != 1 {
		return nil, failed(fmt.Errorf("describe the configuration of %s: the broker answered for %d things", target, len(resp.Resources)))
	}
	got := &resp.Resources[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return nil, target.problem(err, got.ErrorMessage)
	}
	items := make([]configItem, 0, len(got.Configs))
	for i := range got.Configs {
		e := &got.Configs[i]
		item := configItem{Name: e.Name, Value: e.Value, Source: sourceNames[int8(e.Source)], Type: strings.ToLower(e.ConfigType.String()), ReadOnly: e.ReadOnly, Sensitive: e.IsSensitive}
		if e.Documentation != nil {
			item.Documentation = *e.Documentation
		}
		for _, s := range e.ConfigSynonyms {
			item.Synonyms = append(item.Synonyms, configSynonym{s.Name, s.Value, sourceNames[int8(s.Source)]})
		}
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b configItem) int { return strings.Compare(a.Name, b.Name) })
	return items, nil
}

// problem words an error about the target.
func (t *configTarget) problem(err error, message *string) error {
	if message != nil {
		err = withMessage(err, *message)
	}
	if t.topic != "" {
		return topicError(t.topic, err)
	}
	return failed(fmt.Errorf("%s: %w", t, err))
}
