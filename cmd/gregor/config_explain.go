// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"gregor/config"
)

// explainItem is the definition of a key in JSON.
type explainItem struct {
	Name    string   `json:"name"`
	Of      string   `json:"of"` // topics or brokers
	Type    string   `json:"type"`
	Unit    string   `json:"unit,omitempty"`
	Default *string  `json:"default"`
	Allowed string   `json:"allowed,omitempty"`
	Changes string   `json:"changes"`
	Effect  string   `json:"effect"`
	Doc     string   `json:"documentation"`
	Related []string `json:"related,omitempty"` // broker keys that stand in for it, or topic keys that it stands in for
}

func newConfigExplainCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "explain KEY...",
		Short: "Say what a key does, what it allows and what it follows",
		Long: `Says what a key does, what it allows, how it is changed and which other keys it follows. It asks no broker: it tells what
this program knows. docs/config.md is the same as a page.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor config explain retention.ms\n  gregor config explain min.insync.replicas -o json",
		RunE: func(c *cobra.Command, keys []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var items []explainItem
			var problems problems
			for _, key := range keys {
				found := explain(key)
				if len(found) == 0 {
					problems.add(unknownKey(key))
				}
				items = append(items, found...)
			}
			if output == "table" {
				explainAll(c.OutOrStdout(), items)
			} else {
				l := listing{kind: "ConfigKey"}
				for _, item := range items {
					l.items = append(l.items, item)
					l.names = append(l.names, item.Name)
				}
				if err := l.print(c.OutOrStdout(), output); err != nil {
					return err
				}
			}
			return problems.end(c)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return keyNames(config.TopicDefinitions(), config.Definitions()), cobra.ShellCompDirectiveNoFileComp
		},
	}
	outputFlag(c, &output)
	return c
}

// keyNames lists keys for completion.
func keyNames(tables ...[]*config.Definition) []string {
	var names []string
	for _, t := range tables {
		for _, d := range t {
			if !d.Hidden {
				names = append(names, d.Name)
			}
		}
	}
	return names
}

func unknownKey(key string) error {
	if hint := config.Hint(key); hint != "" {
		return failed(fmt.Errorf("no key %q: %s", key, hint))
	}
	return failed(fmt.Errorf("no key %q", key), "gregor config get --topic TOPIC --all", "gregor config get --broker ID --all")
}

// explain gives the definitions of a key: topics and brokers may both have one.
func explain(key string) []explainItem {
	var out []explainItem
	add := func(d *config.Definition, of, changes string, related []string) {
		item := explainItem{Name: d.Name, Of: of, Type: d.Type.String(), Unit: d.Unit(), Changes: changes, Effect: d.Effect.String(), Doc: d.Doc, Related: related}
		if !d.Null {
			item.Default = &d.Default
		}
		if d.Check != nil {
			item.Allowed = d.Check.String()
		}
		out = append(out, item)
	}
	if d, ok := config.LookupTopic(key); ok {
		add(d, "topics", "topic", config.BrokerKeys(key))
	}
	if d, ok := config.Lookup(key); ok {
		changes := d.Scope
		if config.NeedsRestart(key) {
			changes = config.ReadOnly
		}
		add(d, "brokers", changes.String(), config.TopicKeys(key))
	}
	return out
}

func explainAll(w io.Writer, items []explainItem) {
	for i := range items {
		if i > 0 {
			fmt.Fprintln(w)
		}
		items[i].print(w)
	}
}

func (e *explainItem) print(w io.Writer) {
	fmt.Fprintf(w, "%s   (of %s)\n  %s\n", e.Name, e.Of, strings.ToUpper(e.Doc[:1])+e.Doc[1:])
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-9s %s\n", name, text)
		}
	}
	kind := e.Type
	if e.Unit != "" {
		kind += ", " + e.Unit
	}
	line("type", kind)
	switch {
	case e.Default == nil:
		line("default", "unset")
	case *e.Default == "":
		line("default", "empty")
	default:
		line("default", *e.Default)
	}
	line("allowed", e.Allowed)
	switch e.Changes {
	default:
		line("changes", "with a restart: in the configuration of the broker")
	case "topic":
		line("changes", "at once: gregor config set --topic TOPIC "+e.Name+"=…")
	case "cluster-wide":
		line("changes", "at once, for all brokers or one: gregor config set "+e.Name+"=…")
	case "per-broker":
		line("changes", "for one broker: gregor config set --broker ID "+e.Name+"=…")
	}
	switch e.Effect {
	case "no effect":
		line("effect", "none in this build: it is kept and shown, and nothing depends on it")
	case "refused":
		line("effect", "refused in this build")
	}
	if len(e.Related) > 0 && e.Of == "topics" {
		line("unset", "follows "+strings.Join(e.Related, ", ")+" of the broker")
	} else if len(e.Related) > 0 {
		line("topics", "that do not set "+strings.Join(e.Related, ", ")+" follow it")
	}
}
