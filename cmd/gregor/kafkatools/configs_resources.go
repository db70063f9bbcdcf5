// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *configs) describe(ctx context.Context, entities []entity) error {
	kind, ok := resourceTypes[entities[0].kind]
	if !ok {
		return c.describeQuotas(ctx, entities)
	}
	e := &entities[0]
	known, err := c.names(ctx, e)
	if err != nil {
		return err
	}
	if e.named && !e.byDefault && !slices.Contains(known, e.name) {
		fmt.Fprintf(c.out, "The %s '%s' doesn't exist and doesn't have dynamic config.\n", e.singular(), e.name)
		return nil
	}
	shown := known
	switch {
	case e.byDefault:
		shown = []string{""}
	case e.named:
		shown = []string{e.name}
	case e.kind == "brokers":
		shown = append(shown, "")
	}
	for _, name := range shown {
		if err := c.describeOne(ctx, e, kind, name); err != nil {
			return err
		}
	}
	return nil
}

// names lists the entities of a type.
func (c *configs) names(ctx context.Context, e *entity) ([]string, error) {
	switch e.kind {
	case "topics":
		return topicNames(ctx, c.admin, nil, true)
	case "brokers", "broker-loggers":
		meta, err := c.admin.BrokerMetadata(ctx)
		if err != nil {
			return nil, err
		}
		var names []string
		for _, b := range meta.Brokers {
			names = append(names, strconv.Itoa(int(b.NodeID)))
		}
		return names, nil
	}
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = []int8{int8(resourceTypes[e.kind])}
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range resp.ConfigResources {
		names = append(names, r.Name)
	}
	if e.named && e.kind == "groups" && !slices.Contains(names, e.name) {
		names = append(names, e.name) // a group has configurations before it has members
	}
	slices.Sort(names)
	return names, nil
}

var sourceNames = map[kmsg.ConfigSource]string{
	kmsg.ConfigSourceDynamicTopicConfig: "DYNAMIC_TOPIC_CONFIG", kmsg.ConfigSourceDynamicBrokerConfig: "DYNAMIC_BROKER_CONFIG",
	kmsg.ConfigSourceDynamicDefaultBrokerConfig: "DYNAMIC_DEFAULT_BROKER_CONFIG", kmsg.ConfigSourceStaticBrokerConfig: "STATIC_BROKER_CONFIG",
	kmsg.ConfigSourceDefaultConfig: "DEFAULT_CONFIG", kmsg.ConfigSourceDynamicBrokerLoggerConfig: "DYNAMIC_BROKER_LOGGER_CONFIG",
	kmsg.ConfigSourceClientMetricsConfig: "DYNAMIC_CLIENT_METRICS_CONFIG", kmsg.ConfigSourceGroupConfig: "DYNAMIC_GROUP_CONFIG",
}

// dynamicSources are those of configurations that --describe shows without --all.
var dynamicSources = map[string]kmsg.ConfigSource{
	"topics": kmsg.ConfigSourceDynamicTopicConfig, "brokers": kmsg.ConfigSourceDynamicBrokerConfig, "broker-loggers": kmsg.ConfigSourceDynamicBrokerLoggerConfig,
	"client-metrics": kmsg.ConfigSourceClientMetricsConfig, "groups": kmsg.ConfigSourceGroupConfig,
}

func (c *configs) describeOne(ctx context.Context, e *entity, kind kmsg.ConfigResourceType, name string) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return err
	}
	if len(resp.Resources) != 1 {
		return fmt.Errorf("the broker answered for %d resources", len(resp.Resources))
	}
	got := &resp.Resources[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return failure(err, orEmpty(got.ErrorMessage))
	}
	all := "Dynamic"
	if c.has("all") {
		all = "All"
	}
	source := dynamicSources[e.kind]
	if name == "" {
		source = kmsg.ConfigSourceDynamicDefaultBrokerConfig
		fmt.Fprintf(c.out, "Default configs for %s in the cluster are:\n", e.kind)
	} else {
		fmt.Fprintf(c.out, "%s configs for %s %s are:\n", all, e.singular(), name)
	}
	slices.SortFunc(got.Configs, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int { return strings.Compare(a.Name, b.Name) })
	for i := range got.Configs {
		x := &got.Configs[i]
		if !c.has("all") && x.Source != source {
			continue
		}
		var synonyms []string
		for _, s := range x.ConfigSynonyms {
			synonyms = append(synonyms, sourceNames[s.Source]+":"+s.Name+"="+orNull(s.Value))
		}
		fmt.Fprintf(c.out, "  %s=%s sensitive=%t synonyms={%s}\n", x.Name, orNull(x.Value), x.IsSensitive, strings.Join(synonyms, ", "))
	}
	return nil
}

func (c *configs) alter(ctx context.Context, entities []entity) error {
	add, remove, err := changesOf(c.given)
	if err != nil {
		return err
	}
	e := &entities[0]
	if kind, ok := resourceTypes[e.kind]; ok {
		err = c.alterResource(ctx, kind, e.name, add, remove)
	} else {
		err = c.alterQuotas(ctx, entities, add, remove)
	}
	if err != nil {
		return err
	}
	if e.byDefault {
		fmt.Fprintf(c.out, "Completed updating default config for %s in the cluster.\n", e.kind)
	} else {
		fmt.Fprintf(c.out, "Completed updating config for %s %s.\n", e.singular(), e.name)
	}
	return nil
}

func (c *configs) alterResource(ctx context.Context, kind kmsg.ConfigResourceType, name string, add map[string]string, remove []string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, key := range slices.Sorted(maps.Keys(add)) {
		x := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		x.Name, x.Op, x.Value = key, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(add[key])
		r.Configs = append(r.Configs, x)
	}
	for _, key := range remove {
		x := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		x.Name, x.Op = key, kmsg.IncrementalAlterConfigOpDelete
		r.Configs = append(r.Configs, x)
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return err
	}
	for i := range resp.Resources {
		if err := kerr.ErrorForCode(resp.Resources[i].ErrorCode); err != nil {
			return failure(err, orEmpty(resp.Resources[i].ErrorMessage))
		}
	}
	return nil
}

// quotaTypes are the types of a quota's entity on the wire.
var quotaTypes = map[string]string{"users": "user", "clients": "client-id", "ips": "ip"}

// quotaWords name a part of a quota's entity in the answer.
var quotaWords = map[string][2]string{
	"user": {"user-principal '%s'", "the default user-principal"}, "client-id": {"client-id '%s'", "the default client-id"}, "ip": {"ip '%s'", "the default ip"},
}

func (c *configs) describeQuotas(ctx context.Context, entities []entity) error {
	var filter []kadm.DescribeClientQuotaComponent
	for _, e := range entities {
		f := kadm.DescribeClientQuotaComponent{Type: quotaTypes[e.kind], MatchType: kmsg.QuotasMatchTypeAny}
		switch {
		case e.byDefault:
			f.MatchType = kmsg.QuotasMatchTypeDefault
		case e.named:
			f.MatchName, f.MatchType = kmsg.StringPtr(e.name), kmsg.QuotasMatchTypeExact
		}
		filter = append(filter, f)
	}
	found, err := c.admin.DescribeClientQuotas(ctx, true, filter)
	if err != nil {
		return err
	}
	var lines []string
	for _, q := range found {
		if len(q.Values) == 0 {
			continue
		}
		var of, values []string
		for _, part := range q.Entity {
			words := quotaWords[part.Type]
			if part.Name == nil {
				of = append(of, words[1])
			} else {
				of = append(of, fmt.Sprintf(words[0], *part.Name))
			}
		}
		slices.Sort(of)
		slices.Reverse(of) // users before clients
		for _, v := range q.Values {
			values = append(values, v.Key+"="+javaDouble(v.Value))
		}
		slices.Sort(values)
		lines = append(lines, fmt.Sprintf("Quota configs for %s are %s", strings.Join(of, ", "), strings.Join(values, ", ")))
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(c.out, line)
	}
	return nil
}

// javaDouble writes a number as Java does, near enough for what quotas are.
func javaDouble(v float64) string {
	format := byte('f')
	if v != 0 && (v >= 1e7 || v < 1e-3) {
		format = 'E'
	}
	text := strconv.FormatFloat(v, format, -1, 64)
	if format == 'E' {
		mantissa, exponent, _ := strings.Cut(text, "E")
		sign, digits := exponent[:1], strings.TrimLeft(exponent[1:], "0")
		if sign == "+" {
			sign = ""
		}
		if digits == "" {
			digits = "0"
		}
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		return mantissa + "E" + sign + digits
	}
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func (c *configs) alterQuotas(ctx context.Context, entities []entity, add map[string]string, remove []string) error {
	var q kadm.AlterClientQuotaEntry
	for _, e := range entities {
		part := kadm.ClientQuotaEntityComponent{Type: quotaTypes[e.kind]}
		if !e.byDefault {
			part.Name = kmsg.StringPtr(e.name)
		}
		q.Entity = append(q.Entity, part)
	}
	for _, key := range slices.Sorted(maps.Keys(add)) {
		if strings.HasPrefix(key, "SCRAM-") {
			return refuse("%s: credentials are not built in this release", key)
		}
		value, err := strconv.ParseFloat(add[key], 64)
		if err != nil {
			return refuse("Cannot parse quota configuration value for %s: %s", key, add[key])
		}
		q.Ops = append(q.Ops, kadm.AlterClientQuotaOp{Key: key, Value: value})
	}
	for _, key := range remove {
		q.Ops = append(q.Ops, kadm.AlterClientQuotaOp{Key: key, Remove: true})
	}
	altered, err := c.admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{q})
	if err != nil {
		return err
	}
	for _, a := range altered {
		if a.Err != nil {
			return failure(a.Err, a.ErrMessage)
		}
	}
	return nil
}
