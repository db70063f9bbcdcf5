// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/config"
)

// configChanges are the changes that a command line asks for.
type configChanges struct {
	set, remove, add, subtract []string
	yes, dry                   bool
}

// flags adds all but the settings and --dry-run, which commands name in their
// own ways.
func (g *configChanges) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&g.remove, "delete", nil, "a key to delete, so that it follows the broker or the default; may be repeated")
	c.Flags().StringArrayVar(&g.add, "append", nil, "key=value,... to append to a list; may be repeated")
	c.Flags().StringArrayVar(&g.subtract, "subtract", nil, "key=value,... to take out of a list; may be repeated")
	c.Flags().BoolVarP(&g.yes, "yes", "y", false, "do not ask where records may be deleted")
}

func (g *configChanges) empty() bool {
	return len(g.set)+len(g.remove)+len(g.add)+len(g.subtract) == 0
}

// configChange is one change of a key.
type configChange struct {
	op    kmsg.IncrementalAlterConfigOp
	key   string
	value string
}

func (g *configChanges) parse() ([]configChange, error) {
	var out []configChange
	seen := map[string]bool{}
	add := func(op kmsg.IncrementalAlterConfigOp, flag, text string) error {
		key, value, ok := strings.Cut(text, "=")
		switch isDelete := op == kmsg.IncrementalAlterConfigOpDelete; {
		case isDelete && ok:
			return usage("%s%s: a key alone is deleted, whatever its value", flag, text)
		case !isDelete && !ok:
			return usage("%s%s: a setting is key=value", flag, text)
		case key == "":
			return usage("%s%s: the key is missing", flag, text)
		case seen[key]:
			return usage("%s is changed twice", key)
		}
		seen[key] = true
		out = append(out, configChange{op, key, value})
		return nil
	}
	var err error
	for _, l := range []struct {
		op   kmsg.IncrementalAlterConfigOp
		flag string
		list []string
	}{
		{kmsg.IncrementalAlterConfigOpSet, "", g.set}, {kmsg.IncrementalAlterConfigOpDelete, "--delete ", g.remove},
		{kmsg.IncrementalAlterConfigOpAppend, "--append ", g.add}, {kmsg.IncrementalAlterConfigOpSubtract, "--subtract ", g.subtract},
	} {
		for _, text := range l.list {
			err = errors.Join(err, add(l.op, l.flag, text))
		}
	}
	return out, err
}

func newConfigSetCommand(n *connection) *cobra.Command {
	var target configTarget
	var changes configChanges
	c := &cobra.Command{
		Use:   "set [KEY=VALUE...]",
		Short: "Change configurations of a topic, a broker or all brokers",
		Long: `Changes configurations of a topic, of a broker, or, without --topic and --broker, of all brokers. They hold at once and
after a restart. What may delete records is asked about first.`,
		Args: cobra.ArbitraryArgs,
		Example: "  gregor config set --topic orders retention.ms=86400000 --yes\n  gregor config set --topic orders --delete retention.ms --append cleanup.policy=compact --yes\n" +
			"  gregor config set message.max.bytes=2000000\n  gregor config set --broker 1 max.connections=500 --dry-run",
		RunE: func(c *cobra.Command, settings []string) error {
			changes.set = settings
			if err := target.check(c); err != nil {
				return err
			}
			if changes.empty() {
				return usage("nothing to change: give KEY=VALUE, --delete, --append or --subtract")
			}
			return n.alterConfigs(c, &changes, []configTarget{target})
		},
	}
	target.flags(c)
	changes.flags(c)
	c.Flags().BoolVar(&changes.dry, "dry-run", false, "only say what would happen")
	return c
}

// alterConfigs plans the changes of all targets, asks, and carries them out.
func (n *connection) alterConfigs(c *cobra.Command, g *configChanges, targets []configTarget) error {
	changes, err := g.parse()
	if err != nil {
		return err
	}
	return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
		before := make([]map[string]string, len(targets))
		var losing []string
		for i := range targets {
			if before[i], err = valuesOf(ctx, client, &targets[i], changes); err != nil {
				return err
			}
			for _, change := range changes {
				if why := targets[i].strange(change.key, before[i]); why != "" {
					fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", &targets[i], why)
				} else if change.mayLose(before[i]) {
					losing = append(losing, fmt.Sprintf("%s for %s", change, &targets[i]))
				}
			}
		}
		if len(losing) > 0 && !g.yes && !g.dry {
			if err := confirm(ctx, c, "change "+strings.Join(losing, ", ")+", and records may be deleted"); err != nil {
				return err
			}
		}
		return applyConfigs(ctx, c, client, targets, changes, before, g.dry)
	})
}

func (c configChange) String() string {
	switch c.op {
	case kmsg.IncrementalAlterConfigOpDelete:
		return c.key + " to what it follows"
	case kmsg.IncrementalAlterConfigOpAppend:
		return c.key + " by adding " + c.value
	case kmsg.IncrementalAlterConfigOpSubtract:
		return c.key + " by taking out " + c.value
	}
	return c.key + " to " + c.value
}

// strange says what is odd about a key that neither the broker nor this
// program knows there: brokers keep such keys, and nothing follows them.
func (t *configTarget) strange(key string, before map[string]string) string {
	_, set := before[key]
	_, ofTopics := config.LookupTopic(key)
	_, ofBrokers := config.Lookup(key)
	switch {
	case set, t.topic != "" && ofTopics, t.topic == "" && ofBrokers:
		return ""
	case ofTopics && len(config.BrokerKeys(key)) > 0:
		return fmt.Sprintf("%s is a key of topics; those that do not set it follow %s", key, config.BrokerKeys(key)[0])
	case ofTopics:
		return key + " is a key of topics"
	case ofBrokers:
		return key + " is a key of brokers"
	}
	return strings.TrimSuffix(fmt.Sprintf("no key %q is known; %s", key, config.Hint(key)), "; ")
}

// mayLose reports whether the change may let records go that are kept today.
func (c configChange) mayLose(before map[string]string) bool {
	if strings.HasSuffix(c.key, "cleanup.policy") {
		return c.op != kmsg.IncrementalAlterConfigOpSet || before[c.key] != c.value
	}
	if !strings.Contains(c.key, "retention.") {
		return false
	}
	if c.op != kmsg.IncrementalAlterConfigOpSet {
		return true
	}
	after, err := strconv.ParseInt(c.value, 10, 64)
	if err != nil || after < 0 {
		return false // it is refused, or keeps for ever
	}
	was, err := strconv.ParseInt(before[c.key], 10, 64)
	return err != nil || was < 0 || after < was
}

// valuesOf gives the values that the keys of the changes have.
func valuesOf(ctx context.Context, client kmsg.Requestor, target *configTarget, changes []configChange) (map[string]string, error) {
	keys := make([]string, len(changes))
	for i, c := range changes {
		keys[i] = c.key
	}
	items, err := describeConfigs(ctx, client, target, keys)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(items))
	for i := range items {
		values[items[i].Name] = shownValue(&items[i])
	}
	return values, nil
}

func applyConfigs(ctx context.Context, c *cobra.Command, client kmsg.Requestor, targets []configTarget, changes []configChange, before []map[string]string, dry bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = dry
	for i := range targets {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = targets[i].resource()
		for j := range changes {
			k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			k.Name, k.Op = changes[j].key, changes[j].op
			if k.Op != kmsg.IncrementalAlterConfigOpDelete {
				k.Value = &changes[j].value
			}
			r.Configs = append(r.Configs, k)
		}
		req.Resources = append(req.Resources, r)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return failed(fmt.Errorf("change configurations: %w", err))
	}
	var problems problems
	for i := range targets {
		t := &targets[i]
		kind, name := t.resource()
		at := slices.IndexFunc(resp.Resources, func(r kmsg.IncrementalAlterConfigsResponseResource) bool {
			return r.ResourceType == kind && r.ResourceName == name
		})
		if at < 0 {
			problems.add(failed(fmt.Errorf("%s: the broker did not answer for it", t)))
			continue
		}
		if err := kerr.ErrorForCode(resp.Resources[at].ErrorCode); err != nil {
			problems.add(t.problem(err, resp.Resources[at].ErrorMessage))
			continue
		}
		tellChanges(c.ErrOrStderr(), t, changes, before[i], dry)
	}
	return problems.end(c)
}

func tellChanges(w io.Writer, t *configTarget, changes []configChange, before map[string]string, dry bool) {
	did := "changed"
	if dry {
		did = "would change"
	}
	for _, change := range changes {
		was, known := before[change.key]
		if !known {
			was = "not set"
		}
		fmt.Fprintf(w, "%s: %s %s (was %s)\n", t, did, change, was)
		if change.op != kmsg.IncrementalAlterConfigOpDelete && t.strange(change.key, nil) == "" {
			tellIdle(w, t, map[string]string{change.key: change.value})
		}
	}
}

// tellIdle says of keys that brokers keep, and gregor does not follow, that they
// change nothing.
func tellIdle(w io.Writer, t *configTarget, values map[string]string) {
	for _, idle := range config.Idle(t.topic != "", values) {
		fmt.Fprintf(w, "%s: %s has no effect in gregor: it is kept and shown, and nothing depends on it; \"gregor config explain %s\" says more\n", t, idle.Key, idle.Key)
	}
}
