// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func configsTool() tool {
	return tool{
		name: "kafka-configs",
		example: `  gregor kafka-configs --bootstrap-server localhost:9092 --describe --topic orders --all
  gregor kafka-configs --bootstrap-server localhost:9092 --alter --topic orders --add-config retention.ms=86400000,cleanup.policy=[compact,delete]
  gregor kafka-configs --bootstrap-server localhost:9092 --alter --entity-type brokers --entity-default --delete-config message.max.bytes`,
		about: "Shows and changes configurations of topics, brokers, broker loggers, client metrics and groups, and quotas of clients, users and ips.",
		run:   runConfigs,
		options: slices.Concat([]option{
			{name: "bootstrap-controller", arg: "HOST:PORT,...", help: "Controllers to ask first, instead of brokers."},
		}, connecting, []option{
			{name: "describe", help: "Show configurations."},
			{name: "alter", help: "Change configurations."},
			{name: "all", help: "With --describe: also those that have their default, or come from a file."},
			{name: "entity-type", arg: "TYPE", help: "topics, brokers, broker-loggers, client-metrics, groups, clients, users or ips; may be repeated for users and clients."},
			{name: "entity-name", arg: "NAME", help: "The one that is meant; may be repeated."},
			{name: "entity-default", help: "The default for all of the type; may be repeated."},
			{name: "topic", arg: "NAME", help: "As --entity-type topics --entity-name NAME."},
			{name: "broker", arg: "ID", help: "As --entity-type brokers --entity-name ID."},
			{name: "broker-defaults", help: "As --entity-type brokers --entity-default."},
			{name: "broker-logger", arg: "ID", help: "As --entity-type broker-loggers --entity-name ID."},
			{name: "client-metrics", arg: "NAME", help: "As --entity-type client-metrics --entity-name NAME."},
			{name: "group", arg: "ID", help: "As --entity-type groups --entity-name ID."},
			{name: "client", arg: "ID", help: "As --entity-type clients --entity-name ID."},
			{name: "client-defaults", help: "As --entity-type clients --entity-default."},
			{name: "user", arg: "NAME", help: "As --entity-type users --entity-name NAME."},
			{name: "user-defaults", help: "As --entity-type users --entity-default."},
			{name: "ip", arg: "ADDRESS", help: "As --entity-type ips --entity-name ADDRESS."},
			{name: "ip-defaults", help: "As --entity-type ips --entity-default."},
			{name: "add-config", arg: "K=V,...", help: "With --alter: what to set. Brackets hold a value that has commas: k1=v1,k2=[v2,v3]."},
			{name: "add-config-file", arg: "FILE", help: "With --alter: properties to set."},
			{name: "delete-config", arg: "K,...", help: "With --alter: keys to delete."},
			{name: "force", help: "Kept for old scripts; it does nothing."},
		}),
	}
}

// entity is what configurations belong to; an empty type is none.
type entity struct {
	kind      string // of --entity-type
	name      string
	byDefault bool // the default of all
	named     bool // a name or the default was given
}

// Resource types by entity type; the others are quotas.
var resourceTypes = map[string]kmsg.ConfigResourceType{
	"topics": kmsg.ConfigResourceTypeTopic, "brokers": kmsg.ConfigResourceTypeBroker, "broker-loggers": kmsg.ConfigResourceTypeBrokerLogger,
	"client-metrics": kmsg.ConfigResourceTypeClientMetrics, "groups": kmsg.ConfigResourceTypeGroupConfig,
}

var entityTypes = []string{"topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"}

// singular of an entity type, as Kafka's texts have it.
func (e *entity) singular() string { return strings.TrimSuffix(e.kind, "s") }

func runConfigs(ctx context.Context, o *given, s Streams) error {
	entities, err := checkConfigs(o)
	if err != nil {
		return err
	}
	if !o.has("bootstrap-server") {
		o.values["bootstrap-server"] = o.values["bootstrap-controller"]
	}
	err = o.withAdmin(ctx, func(admin *kadm.Client, client *kgo.Client) error {
		c := &configs{given: o, admin: admin, client: client, out: s.Out}
		if o.has("describe") {
			return c.describe(ctx, entities)
		}
		return c.alter(ctx, entities)
	})
	var wrong *usageError
	if err != nil && !errors.As(err, &wrong) {
		fmt.Fprintf(s.Err, "Error while executing config command with args '%s'\n%s\n", strings.Join(o.words(), " "), err)
		return errTold
	}
	return err
}

// words are the options again, for the error.
func (o *given) words() []string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(o.values)) {
		for _, v := range o.values[name] {
			words = append(words, "--"+name)
			if v != "" {
				words = append(words, v)
			}
		}
	}
	return words
}

func checkConfigs(o *given) ([]entity, error) {
	if _, err := o.onlyOne("describe", "alter"); err != nil {
		return nil, err
	}
	switch {
	case o.has("bootstrap-server") && o.has("bootstrap-controller"):
		return nil, refuse("Only one of --bootstrap-server or --bootstrap-controller can be specified.")
	case !o.has("bootstrap-server") && !o.has("bootstrap-controller"):
		return nil, refuse("Either --bootstrap-server or --bootstrap-controller must be specified.")
	}
	if err := o.excludes("alter", "all"); err != nil {
		return nil, err
	}
	if err := o.excludes("describe", "add-config", "add-config-file", "delete-config"); err != nil {
		return nil, err
	}
	entities, err := entitiesOf(o)
	if err != nil {
		return nil, err
	}
	for i := range entities {
		e := &entities[i]
		switch {
		case o.has("alter") && !e.named:
			return nil, refuse("An entity name must be specified with --alter of %s", e.kind)
		case e.byDefault && e.kind != "brokers" && resourceTypes[e.kind] != kmsg.ConfigResourceTypeUnknown:
			return nil, refuse("--entity-default is not meant for %s", e.kind)
		}
	}
	switch {
	case o.has("add-config") && o.has("add-config-file"):
		return nil, refuse("Only one of --add-config or --add-config-file must be specified.")
	case o.has("alter") && !o.has("add-config") && !o.has("add-config-file") && !o.has("delete-config"):
		return nil, refuse("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter")
	}
	return entities, nil
}

// shortEntities are the options that name type and entity at once.
var shortEntities = []struct{ option, kind string }{
	{"topic", "topics"}, {"client", "clients"}, {"user", "users"}, {"broker", "brokers"}, {"broker-logger", "broker-loggers"}, {"ip", "ips"},
	{"client-metrics", "client-metrics"}, {"group", "groups"},
}

// entitiesOf pairs types with names, in the order in which they were given.
func entitiesOf(o *given) ([]entity, error) {
	var entities []entity
	for _, kind := range o.list("entity-type") {
		if !slices.Contains(entityTypes, kind) {
			return nil, refuse("Invalid entity type %s, the entity type must be one of %s with a --bootstrap-server or --bootstrap-controller argument",
				kind, strings.Join(entityTypes, ", "))
		}
		entities = append(entities, entity{kind: kind})
	}
	at := 0
	for _, name := range o.list("entity-name") {
		if at < len(entities) {
			entities[at].name, entities[at].named = name, true
		}
		at++
	}
	for range o.list("entity-default") {
		if at < len(entities) {
			entities[at].byDefault, entities[at].named = true, true
		}
		at++
	}
	if at > len(entities) {
		return nil, refuse("--entity-name or --entity-default without an --entity-type before it")
	}
	for _, short := range shortEntities {
		for _, name := range o.list(short.option) {
			entities = append(entities, entity{kind: short.kind, name: name, named: true})
		}
		if o.has(short.option + "-defaults") {
			entities = append(entities, entity{kind: short.kind, byDefault: true, named: true})
		}
	}
	if len(entities) == 0 {
		return nil, refuse("At least one entity type must be specified")
	}
	seen := map[string]bool{}
	for _, e := range entities {
		if seen[e.kind] {
			return nil, refuse("Duplicate entity type(s) specified: %s", e.kind)
		}
		seen[e.kind] = true
	}
	if len(entities) > 1 && !(len(entities) == 2 && seen["users"] && seen["clients"]) {
		return nil, refuse("Only 'users' and 'clients' entity types may be specified together")
	}
	return entities, nil
}

// configs is one run of kafka-configs.
type configs struct {
	*given
	admin  *kadm.Client
	client *kgo.Client
	out    io.Writer
}

// changesOf reads --add-config, --add-config-file and --delete-config.
func changesOf(o *given) (add map[string]string, remove []string, err error) {
	add = map[string]string{}
	if o.has("add-config-file") {
		if add, err = readProperties(o.text("add-config-file")); err != nil {
			return nil, nil, err
		}
	}
	if o.has("add-config") {
		for _, text := range splitConfigs(o.text("add-config")) {
			key, value, ok := strings.Cut(text, "=")
			if !ok {
				return nil, nil, refuse(`requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  "key=[val1,val2]" to group values which contain commas.`)
			}
			add[strings.TrimSpace(key)] = strings.NewReplacer("[", "", "]", "").Replace(strings.TrimSpace(value))
		}
	}
	for _, text := range o.list("delete-config") {
		for _, key := range strings.Split(text, ",") {
			if key = strings.TrimSpace(key); key == "" {
				continue
			}
			if _, both := add[key]; both {
				return nil, nil, refuse("%s is both added and deleted", key)
			}
			remove = append(remove, key)
		}
	}
	return add, remove, nil
}

// splitConfigs splits at the commas that are not within brackets.
func splitConfigs(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i, r := range text {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth = max(depth-1, 0)
		case r == ',' && depth == 0:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}
