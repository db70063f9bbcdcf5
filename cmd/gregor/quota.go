// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/quota"
)

func newQuotaCommand() *cobra.Command {
	n := &connection{}
	c := &cobra.Command{
		Use:     "quota",
		Aliases: []string{"quotas"},
		Short:   "Limit what clients may use",
		Long: `Limits what clients may use.

  producer_byte_rate         bytes a second that are produced
  consumer_byte_rate         bytes a second that are fetched
  request_percentage         time of request handlers, in percent of one
  controller_mutation_rate   partitions a second that are created and deleted
  connection_creation_rate   connections a second, of an address

A limit is set for a user, for a client id, for both, or for an address; --default-user, --default-client-id and
--default-ip set it for all that have none of their own. For a client the first counts of: user and client id, user and
default client id, user, default user and client id, both defaults, default user, client id, default client id.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	n.flags(c)
	c.AddCommand(newQuotaListCommand(n), newQuotaResolveCommand(n), newQuotaSetCommand(n), newQuotaDeleteCommand(n))
	return c
}

// Kafka's types of the parts of an entity.
const (
	quotaUser   = "user"
	quotaClient = "client-id"
	quotaIP     = "ip"
)

// quotaDefault stands for all names without an entity of their own.
const quotaDefault = "<default>"

// quotaTarget is the entity that flags name.
type quotaTarget struct {
	user, client, ip                      string
	defaultUser, defaultClient, defaultIP bool
}

func (t *quotaTarget) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.user, "user", "", "this user")
	f.StringVar(&t.client, "client-id", "", "this client id")
	f.StringVar(&t.ip, "ip", "", "this address")
	f.BoolVar(&t.defaultUser, "default-user", false, "users without a limit of their own")
	f.BoolVar(&t.defaultClient, "default-client-id", false, "client ids without a limit of their own")
	f.BoolVar(&t.defaultIP, "default-ip", false, "addresses without a limit of their own")
}

// quotaPart is one part of an entity.
type quotaPart struct {
	kind string
	name *string // nil: the default
}

// parts gives the entity, in the order of its types.
func (t *quotaTarget) parts(c *cobra.Command) ([]quotaPart, error) {
	var parts []quotaPart
	for _, p := range []struct {
		kind, name string
		others     bool
	}{{quotaClient, t.client, t.defaultClient}, {quotaIP, t.ip, t.defaultIP}, {quotaUser, t.user, t.defaultUser}} {
		named := c.Flags().Changed(p.kind)
		switch {
		case named && p.others:
			return nil, usage("--%s and --default-%s: one of both", p.kind, p.kind)
		case named && p.name == "":
			return nil, usage("--%s needs a name; --default-%s stands for all others", p.kind, p.kind)
		case named:
			parts = append(parts, quotaPart{p.kind, &p.name})
		case p.others:
			parts = append(parts, quotaPart{p.kind, nil})
		}
	}
	if len(parts) > 1 && slices.ContainsFunc(parts, func(p quotaPart) bool { return p.kind == quotaIP }) {
		return nil, usage("an address is limited whoever comes from it: leave the user and the client id out")
	}
	if c.Flags().Changed(quotaIP) {
		if _, err := netip.ParseAddr(t.ip); err != nil {
			return nil, usage("--ip %s: an address is meant, like 10.0.0.1 or fe80::1", t.ip)
		}
	}
	return parts, nil
}

// quotaText names an entity.
func quotaText(parts []quotaPart) string {
	text := make([]string, len(parts))
	for i, p := range parts {
		if text[i] = p.kind + " " + quotaDefault; p.name != nil {
			text[i] = p.kind + " " + *p.name
		}
	}
	slices.Reverse(text) // the user first
	return strings.Join(text, ", ")
}

// quotaItem is one entity and its limits, in JSON. A null name is the default,
// and a part that is not there is not part of the entity.
type quotaItem struct {
	Entity map[string]*string `json:"entity"`
	Limits map[string]float64 `json:"limits"`

	parts []quotaPart
}

func newQuotaListCommand(n *connection) *cobra.Command {
	var target quotaTarget
	var output string
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls", "describe"},
		Short:   "List limits",
		Long: `Lists limits: all of them, or those whose entity has the parts that the flags name, and possibly others. --user ann lists
what is set for ann, and for ann together with client ids.`,
		Args:    cobra.NoArgs,
		Example: "  gregor quota list\n  gregor quota list --user ann -o json\n  gregor quota list --default-client-id",
		RunE: func(c *cobra.Command, _ []string) error {
			parts, err := target.parts(c)
			if err = errors.Join(checkOutput(output), err); err != nil {
				return err
			}
			return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
				items, err := describeQuotas(ctx, client, parts)
				if err != nil {
					return err
				}
				if len(items) == 0 && output == "table" {
					fmt.Fprintln(c.ErrOrStderr(), "no limits are set")
					return nil
				}
				return quotaListing(items).print(c.OutOrStdout(), output)
			})
		},
	}
	target.flags(c)
	outputFlag(c, &output)
	return c
}

func quotaListing(items []quotaItem) *listing {
	l := listing{kind: "Quota", header: []string{"USER", "CLIENT-ID", "IP", "LIMIT", "VALUE"}}
	for _, item := range items {
		l.items, l.names = append(l.items, item), append(l.names, quotaText(item.parts))
		of := func(kind string) string {
			name, has := item.Entity[kind]
			switch {
			case !has:
				return "-"
			case name == nil:
				return quotaDefault
			}
			return *name
		}
		for _, k := range quota.Kinds() {
			if v, ok := item.Limits[k.Key()]; ok {
				l.rows = append(l.rows, []string{of(quotaUser), of(quotaClient), of(quotaIP), k.Key(), number(v)})
			}
		}
	}
	return &l
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// describeQuotas gives the entities that have these parts, sorted.
func describeQuotas(ctx context.Context, client kmsg.Requestor, parts []quotaPart) ([]quotaItem, error) {
	const exact, others = 0, 1
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	for _, p := range parts {
		m := kmsg.NewDescribeClientQuotasRequestComponent()
		m.EntityType, m.MatchType, m.Match = p.kind, exact, p.name
		if p.name == nil {
			m.MatchType = others
		}
		req.Components = append(req.Components, m)
	}
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
		if err != nil && resp.ErrorMessage != nil {
			err = withMessage(err, *resp.ErrorMessage)
		}
	}
	if err != nil {
		return nil, failed(fmt.Errorf("describe quotas: %w", err))
	}
	items := make([]quotaItem, 0, len(resp.Entries))
	for _, e := range resp.Entries {
		item := quotaItem{Entity: map[string]*string{}, Limits: map[string]float64{}}
		for _, p := range e.Entity {
			item.Entity[p.Type] = p.Name
			item.parts = append(item.parts, quotaPart{p.Type, p.Name})
		}
		slices.SortFunc(item.parts, func(a, b quotaPart) int { return strings.Compare(a.kind, b.kind) })
		for _, v := range e.Values {
			item.Limits[v.Key] = v.Value
		}
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b quotaItem) int { return strings.Compare(quotaText(a.parts), quotaText(b.parts)) })
	return items, nil
}

// resolvedQuota is a limit that holds for a client, in JSON.
type resolvedQuota struct {
	Limit string   `json:"limit"`
	Value *float64 `json:"value"` // null: none
	// From is the entity that it is set for.
	From map[string]*string `json:"from,omitempty"`
}

func newQuotaResolveCommand(n *connection) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "resolve USER CLIENT-ID",
		Short: "Say which limits hold for a client, and where they are set",
		Long: `Says which limits hold for a client, and where they are set. Clients that do not authenticate are the user ANONYMOUS; a client
without a client id has the empty one, ''.`,
		Args:        cobra.ExactArgs(2),
		Annotations: map[string]string{emptyArgument: "a client without an id"},
		Example:     "  gregor quota resolve ann billing\n  gregor quota resolve ANONYMOUS billing -o json",
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
				items, err := describeQuotas(ctx, client, nil)
				if err != nil {
					return err
				}
				l := listing{kind: "ResolvedQuota", header: []string{"LIMIT", "VALUE", "FROM"}}
				limits := quotaLimits(items)
				for _, k := range quota.Kinds()[:quota.Connection] {
					item := resolvedQuota{Limit: k.Key()}
					row := []string{k.Key(), "-", "-"}
					if v, from := limits.Of(k, args[0], args[1]); v > 0 {
						parts := partsOf(from)
						item.Value, item.From = &v, map[string]*string{}
						for _, p := range parts {
							item.From[p.kind] = p.name
						}
						row = []string{k.Key(), number(v), quotaText(parts)}
					}
					l.rows, l.items, l.names = append(l.rows, row), append(l.items, item), append(l.names, k.Key())
				}
				return l.print(c.OutOrStdout(), output)
			})
		},
	}
	outputFlag(c, &output)
	return c
}

// quotaLimits are the limits of users and client ids, as the broker looks at
// them.
func quotaLimits(items []quotaItem) *quota.Limits {
	l := quota.NewLimits()
	for _, item := range items {
		var e quota.Entity
		for _, p := range item.parts {
			part := quota.PartOf(p.name)
			switch p.kind {
			case quotaUser:
				e.User = part
			case quotaClient:
				e.ClientID = part
			}
		}
		for _, k := range quota.Kinds()[:quota.Connection] {
			if v, ok := item.Limits[k.Key()]; ok && item.Entity[quotaIP] == nil {
				l.Set(e, k, v)
			}
		}
	}
	return l
}

func partsOf(e quota.Entity) []quotaPart {
	var parts []quotaPart
	for _, p := range []struct {
		kind string
		part quota.Part
	}{{quotaClient, e.ClientID}, {quotaUser, e.User}} {
		switch {
		case p.part == (quota.Part{}):
		case p.part.Default:
			parts = append(parts, quotaPart{p.kind, nil})
		default:
			parts = append(parts, quotaPart{p.kind, &p.part.Name})
		}
	}
	return parts
}
