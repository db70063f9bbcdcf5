// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Load reads the sources and resolves them. The error joins all that is wrong,
// so that one start tells everything; each part is a *KeyError, a
// *SyntaxError, or the error of Read.
func Load(src Sources) (*Node, []Warning, error) {
	raw, err := gather(src)
	if err != nil {
		return nil, nil, err
	}
	l := loader{node: &Node{values: make(map[string]setting, len(raw))}, hostname: src.Hostname}
	for _, s := range raw {
		l.take(s)
	}
	if len(l.problems) == 0 {
		l.resolve()
	}
	if len(l.problems) > 0 {
		return nil, nil, errors.Join(l.problems...)
	}
	l.node.base = newBase(resolver{static: l.node})
	return l.node, l.warnings, nil
}

// rawSetting is one key before anything is known of it.
type rawSetting struct {
	key, text string
	origin    Origin
}

// gather reads the sources and keeps for each key the value that wins. Keys
// come in order of their names.
func gather(src Sources) ([]rawSetting, error) {
	won := map[string]rawSetting{}
	put := func(s rawSetting) {
		if old, ok := won[s.key]; !ok || s.origin.Kind >= old.origin.Kind {
			won[s.key] = s
		}
	}
	if src.File != "" {
		text, err := src.Read(src.File)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		properties, err := parseProperties(src.File, string(text))
		if err != nil {
			return nil, err
		}
		for _, p := range properties {
			put(rawSetting{p.key, p.value, Origin{FromFile, fmt.Sprintf("%s:%d", src.File, p.line)}})
		}
	}
	for _, e := range src.Environ {
		name, text, _ := strings.Cut(e, "=")
		if key, ok := environKey(name); ok {
			put(rawSetting{key, text, Origin{FromEnvironment, "environment " + name}})
		}
	}
	for _, s := range src.Set {
		key, text, ok := strings.Cut(s, "=")
		if !ok {
			return nil, &KeyError{Key: strings.TrimSpace(s), Origin: Origin{FromSet, "--set"}, Problem: "--set takes key=value"}
		}
		put(rawSetting{strings.TrimSpace(key), text, Origin{FromSet, "--set"}})
	}
	out := make([]rawSetting, 0, len(won))
	for _, s := range won {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].key < out[j].key })
	return out, nil
}

// loader gathers what is wrong while a Node comes about.
type loader struct {
	node     *Node
	hostname string
	problems []error
	warnings []Warning
	// voterEndpoints are the controller's listeners in advertised.listeners.
	voterEndpoints []Listener
}

// take checks one key on its own.
func (l *loader) take(s rawSetting) {
	d, ok := Lookup(s.key)
	if !ok {
		l.takeUnknown(s)
		return
	}
	value, err := d.parse(s.text)
	if err != nil {
		l.problems = append(l.problems, l.invalid(d, s, err))
		return
	}
	set := setting{text: strings.TrimSpace(s.text), value: value, origin: s.origin}
	isDefault := !d.Null && format(value) == d.Default
	switch {
	case d.Effect == Refused && !isDefault && set.text != "":
		l.problem(s, d, d.Doc+"; take it out of the configuration")
		return
	case d.Effect == NoEffect && !isDefault:
		l.warn(s, fmt.Sprintf("%s (%s) is accepted and has no effect: %s", s.key, s.origin.Where, d.Doc))
	}
	l.node.values[s.key] = set
}

func (l *loader) warn(s rawSetting, message string) {
	l.warnings = append(l.warnings, Warning{s.key, message})
}

func (l *loader) problem(s rawSetting, d *Definition, problem string) {
	l.problems = append(l.problems, &KeyError{Key: s.key, Value: d.shown(strings.TrimSpace(s.text)), Origin: s.origin, Problem: problem})
}

// invalid words a value that the key does not allow.
func (l *loader) invalid(d *Definition, s rawSetting, err error) error {
	problem := err.Error()
	var v *ValueError
	if errors.As(err, &v) {
		problem = v.Problem
	}
	allowed := d.Type.String()
	if d.Check != nil {
		allowed += ", " + d.Check.String()
	}
	if d.Default != "" {
		allowed += "; default " + d.Default
	}
	return &KeyError{Key: s.key, Value: d.shown(strings.TrimSpace(s.text)), Origin: s.origin,
		Problem: fmt.Sprintf("%s (allowed: %s)", problem, allowed)}
}

// takeUnknown deals with a key that is not in the table: one of Kafka's that
// only means something to a plugin or to a listener, one that Kafka has given
// up, or a misspelt one.
func (l *loader) takeUnknown(s rawSetting) {
	e := &KeyError{Key: s.key, Origin: s.origin}
	if rest, ok := strings.CutPrefix(s.key, "listener.name."); ok {
		_, base, _ := strings.Cut(rest, ".")
		if d, known := listenerKey(base); known {
			if d.Effect == Refused {
				e.Problem = d.Doc + "; take it out of the configuration"
				l.problems = append(l.problems, e)
			} else {
				l.warn(s, fmt.Sprintf("%s (%s) is accepted and has no effect: keys of one listener are not built yet", s.key, s.origin.Where))
			}
			return
		}
	}
	if why, ok := gone[s.key]; ok {
		e.Problem = why
	} else if near := nearest(s.key); near != "" {
		e.Problem = fmt.Sprintf("no such key; did you mean %s?", near)
	} else {
		e.Problem = "no such key; docs/config.md lists all of them"
	}
	l.problems = append(l.problems, e)
}

// listenerKey finds the broker key behind listener.name.X.key or, for SASL,
// listener.name.X.mechanism.key.
func listenerKey(base string) (*Definition, bool) {
	d, ok := Lookup(base)
	if !ok {
		if _, after, cut := strings.Cut(base, "."); cut {
			d, ok = Lookup(after)
		}
	}
	return d, ok
}

// gone tells of keys that older configurations hold.
var gone = map[string]string{
	"allow.everyone.if.no.acl.found":          "belongs to an authorizer, and authorization is not built yet",
	"super.users":                             "belongs to an authorizer, and authorization is not built yet",
	"broker.id.generation.enable":             "was for ZooKeeper; take it out, and set node.id",
	"control.plane.listener.name":             "was for ZooKeeper; take it out",
	"delegation.token.master.key":             "is called delegation.token.secret.key since Kafka 3.0",
	"inter.broker.protocol.version":           "was dropped in Kafka 4.0; take it out, metadata.version takes its place",
	"log.message.downconversion.enable":       "was dropped in Kafka 4.0; take it out",
	"log.message.format.version":              "was dropped in Kafka 4.0; take it out, there is one record format",
	"log.message.timestamp.difference.max.ms": "was dropped in Kafka 4.0; use log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms",
	"offsets.commit.required.acks":            "was dropped in Kafka 4.0; take it out, commits wait for all replicas",
	"password.encoder.secret":                 "was for ZooKeeper; take it out",
	"reserved.broker.max.id":                  "was for ZooKeeper; take it out",
	"zookeeper.connect":                       "there is no ZooKeeper; set process.roles, or leave it out for a single node",
	"zookeeper.connection.timeout.ms":         "there is no ZooKeeper; take it out",
	"zookeeper.session.timeout.ms":            "there is no ZooKeeper; take it out",
	"zookeeper.metadata.migration.enable":     "there is no ZooKeeper; take it out",
	"group.coordinator.new.enable":            "was dropped in Kafka 4.0; take it out",
	"replica.fetch.max.message.bytes":         "is called replica.fetch.max.bytes",
	"eligible.leader.replicas.enable":         "is a feature level, not a key; take it out",
	"log.cleaner.min.cleanable.dirty.ratio":   "is called log.cleaner.min.cleanable.ratio on brokers",
	"log.max.message.bytes":                   "is called message.max.bytes on brokers",
	"max.message.bytes":                       "is a topic key; brokers call it message.max.bytes",
	"retention.ms":                            "is a topic key; brokers call it log.retention.ms",
	"retention.bytes":                         "is a topic key; brokers call it log.retention.bytes",
	"segment.bytes":                           "is a topic key; brokers call it log.segment.bytes",
	"segment.ms":                              "is a topic key; brokers call it log.roll.ms",
	"cleanup.policy":                          "is a topic key; brokers call it log.cleanup.policy",
}
