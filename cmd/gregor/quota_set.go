// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/quota"
)

func newQuotaSetCommand(n *connection) *cobra.Command {
	var target quotaTarget
	var dry bool
	c := &cobra.Command{
		Use:   "set LIMIT=VALUE...",
		Short: "Set limits",
		Long: `Sets limits of a user, a client id, both, or an address. They hold at once, and after a restart. "gregor quota --help" tells
which limits there are.`,
		Args: cobra.MinimumNArgs(1),
		Example: "  gregor quota set --client-id billing producer_byte_rate=1000000 consumer_byte_rate=5000000\n" +
			"  gregor quota set --user ann --default-client-id request_percentage=50\n  gregor quota set --default-ip connection_creation_rate=20 --dry-run",
		RunE: func(c *cobra.Command, settings []string) error {
			ops, err := parseLimits(settings)
			if err != nil {
				return err
			}
			return n.alterQuota(c, &target, ops, dry)
		},
		ValidArgsFunction: completeLimits("="),
	}
	target.flags(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	return c
}

func completeLimits(suffix string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var keys []cobra.Completion
		for _, k := range quota.Kinds() {
			keys = append(keys, k.Key()+suffix)
		}
		return keys, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

func parseLimits(settings []string) ([]kmsg.AlterClientQuotasRequestEntryOp, error) {
	var ops []kmsg.AlterClientQuotasRequestEntryOp
	for _, text := range settings {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usage("%s: a limit is set by LIMIT=VALUE", text)
		}
		if err := checkLimit(key); err != nil {
			return nil, err
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, usage("%s: %q is no number", key, value)
		}
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Value = key, v
		ops = append(ops, op)
	}
	return ops, checkTwice(ops)
}

// checkLimit refuses what is no limit, and says which there are.
func checkLimit(key string) error {
	if _, ok := quota.KindOf(key); ok {
		return nil
	}
	var all []string
	for _, k := range quota.Kinds() {
		all = append(all, k.Key())
	}
	return usage("%q is no limit; there are %s", key, strings.Join(all, ", "))
}

func checkTwice(ops []kmsg.AlterClientQuotasRequestEntryOp) error {
	for i := range ops {
		if slices.ContainsFunc(ops[:i], func(o kmsg.AlterClientQuotasRequestEntryOp) bool { return o.Key == ops[i].Key }) {
			return usage("%s is named twice", ops[i].Key)
		}
	}
	return nil
}

func newQuotaDeleteCommand(n *connection) *cobra.Command {
	var target quotaTarget
	var dry, yes bool
	c := &cobra.Command{
		Use:   "delete [LIMIT...]",
		Short: "Delete limits",
		Long: `Deletes limits of a user, a client id, both, or an address: the ones that are named, or, after asking, all of them. Limits that
come behind in the order of precedence hold then.`,
		Args:    cobra.ArbitraryArgs,
		Example: "  gregor quota delete --client-id billing producer_byte_rate\n  gregor quota delete --user ann --yes\n  gregor quota delete --default-ip --dry-run",
		RunE: func(c *cobra.Command, keys []string) error {
			var ops []kmsg.AlterClientQuotasRequestEntryOp
			for _, key := range keys {
				if err := checkLimit(key); err != nil {
					return err
				}
				op := kmsg.NewAlterClientQuotasRequestEntryOp()
				op.Key, op.Remove = key, true
				ops = append(ops, op)
			}
			if err := checkTwice(ops); err != nil {
				return err
			}
			parts, err := target.parts(c)
			if err != nil {
				return err
			}
			if len(keys) == 0 && len(parts) > 0 && !yes && !dry {
				if err := confirm(c.Context(), c, "delete all limits of "+quotaText(parts)); err != nil {
					return err
				}
			}
			return n.alterQuota(c, &target, ops, dry)
		},
		ValidArgsFunction: completeLimits(""),
	}
	target.flags(c)
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would happen")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask where all limits are deleted")
	return c
}

// alterQuota changes the limits of one entity; without ops, it deletes all.
func (n *connection) alterQuota(c *cobra.Command, target *quotaTarget, ops []kmsg.AlterClientQuotasRequestEntryOp, dry bool) error {
	parts, err := target.parts(c)
	if err != nil {
		return err
	}
	if len(parts) == 0 {
		return usage("whose limits: give --user, --client-id, --ip or one of --default-user, --default-client-id, --default-ip")
	}
	return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
		before, err := limitsOf(ctx, client, parts)
		if err != nil {
			return err
		}
		all := len(ops) == 0
		for _, key := range slices.Sorted(maps.Keys(before)) {
			if all {
				op := kmsg.NewAlterClientQuotasRequestEntryOp()
				op.Key, op.Remove = key, true
				ops = append(ops, op)
			}
		}
		if len(ops) == 0 {
			fmt.Fprintf(c.ErrOrStderr(), "%s: no limits are set\n", quotaText(parts))
			return nil
		}
		if err := sendQuota(ctx, client, parts, ops, dry); err != nil {
			return err
		}
		for _, op := range ops {
			fmt.Fprintln(c.ErrOrStderr(), quotaText(parts)+": "+told(op, before, dry))
		}
		return nil
	})
}

// told says what became of a limit.
func told(op kmsg.AlterClientQuotasRequestEntryOp, before map[string]float64, dry bool) string {
	was, set := before[op.Key]
	verb := func(done, would string) string {
		if dry {
			return "would " + would
		}
		return done
	}
	old := " (was not set)"
	if set {
		old = " (was " + number(was) + ")"
	}
	switch {
	case op.Remove && !set:
		return op.Key + " is not set"
	case op.Remove:
		return verb("deleted ", "delete ") + op.Key + old
	case set && was == op.Value:
		return op.Key + " is " + number(was) + " already"
	}
	return verb("set ", "set ") + op.Key + " to " + number(op.Value) + old
}

// limitsOf gives the limits of one entity alone.
func limitsOf(ctx context.Context, client kmsg.Requestor, parts []quotaPart) (map[string]float64, error) {
	items, err := describeQuotas(ctx, client, parts)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if len(item.parts) == len(parts) {
			return item.Limits, nil
		}
	}
	return nil, nil
}

func sendQuota(ctx context.Context, client kmsg.Requestor, parts []quotaPart, ops []kmsg.AlterClientQuotasRequestEntryOp, dry bool) error {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.ValidateOnly = dry
	e := kmsg.NewAlterClientQuotasRequestEntry()
	e.Ops = ops
	for _, p := range parts {
		part := kmsg.NewAlterClientQuotasRequestEntryEntity()
		part.Type, part.Name = p.kind, p.name
		e.Entity = append(e.Entity, part)
	}
	req.Entries = append(req.Entries, e)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return failed(fmt.Errorf("change quotas: %w", err))
	}
	if len(resp.Entries) != 1 {
		return failed(fmt.Errorf("change quotas: the broker answered for %d entities", len(resp.Entries)))
	}
	err = kerr.ErrorForCode(resp.Entries[0].ErrorCode)
	if err != nil && resp.Entries[0].ErrorMessage != nil {
		err = withMessage(err, *resp.Entries[0].ErrorMessage)
	}
	if err != nil {
		return failed(fmt.Errorf("%s: %w", quotaText(parts), err))
	}
	return nil
}
