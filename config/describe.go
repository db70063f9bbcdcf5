// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ConfigSource is where a value in force comes from, by the numbers of
// DescribeConfigs.
type ConfigSource int8

// The sources.
const (
	SourceTopic         ConfigSource = 1
	SourceBroker        ConfigSource = 2 // dynamic, for one broker
	SourceClusterBroker ConfigSource = 3 // dynamic, for all brokers
	SourceStatic        ConfigSource = 4 // server.properties, environment, --set
	SourceDefault       ConfigSource = 5
	SourceBrokerLogger  ConfigSource = 6
	SourceClientMetrics ConfigSource = 7 // of a telemetry subscription
	SourceGroup         ConfigSource = 8
)

// Entry is one key of a resource as CreateTopics and DescribeConfigs tell it.
type Entry struct {
	Name      string
	Value     *string      // as DescribeConfigs tells it, in Kafka's own writing; nil for null, and for secrets
	Source    ConfigSource // as DescribeConfigs tells it: that of the first synonym
	Set       *string      // as CreateTopics tells it, the way it was set
	SetSource ConfigSource // as CreateTopics tells it: where the value in force is from
	Synonyms  []Synonym    // in order of precedence
	Type      Type         // UnknownType for a key that is in no table
	ReadOnly  bool
	Sensitive bool
	Doc       string
}

// Synonym is one place that sets, or would set, a key.
type Synonym struct {
	Name   string
	Value  *string
	Source ConfigSource
}

// DescribeTopic gives every topic key with the value in force and where it
// comes from, sorted by name; internal keys only where they are set. The
// arguments are those of Resolve.
func DescribeTopic(topicOverrides, clusterDynamic, brokerDynamic map[string]string, static *Node) []Entry {
	r := resolver{layers(topicOverrides, clusterDynamic, brokerDynamic), static}
	entries := make([]Entry, 0, len(topicKeys))
	for _, d := range TopicDefinitions() {
		if _, own := topicOverrides[d.Name]; d.Hidden && !own {
			continue
		}
		entries = append(entries, r.describe(d))
	}
	return entries
}

func (r *resolver) describe(d *Definition) Entry {
	e := Entry{Name: d.Name, SetSource: SourceDefault, Type: d.Type, Sensitive: d.sensitive(), Doc: d.Doc}
	places := r.find(d)
	if len(places) > 0 {
		e.SetSource = places[0].source
		if !e.Sensitive {
			value, set := format(places[0].value), places[0].told
			e.Value, e.Set = &value, &set
		}
		if e.SetSource == SourceTopic {
			e.Synonyms = append(e.Synonyms, Synonym{d.Name, e.Value, SourceTopic})
		}
	}
	// Kafka lists the broker key of the same unit alone, and what stands in for
	// that one, but only behind a place that sets it.
	if t := twins[d.Name]; len(t) > 0 {
		e.Synonyms = append(e.Synonyms, r.brokerSynonyms(t[0].key, e.Sensitive)...)
	}
	e.Source = sourceOf(e.Synonyms)
	return e
}

func sourceOf(synonyms []Synonym) ConfigSource {
	if len(synonyms) == 0 {
		return SourceDefault
	}
	return synonyms[0].Source
}

// substitutes are the broker keys that stand in for each other, in order of
// precedence.
var substitutes = map[string][]string{
	"log.roll.ms":           {"log.roll.ms", "log.roll.hours"},
	"log.roll.hours":        {"log.roll.ms", "log.roll.hours"},
	"log.roll.jitter.ms":    {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"log.roll.jitter.hours": {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"log.flush.interval.ms": {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
	"log.retention.ms":      {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"log.retention.minutes": {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"log.retention.hours":   {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
}

// brokerSynonyms lists the places of a broker key as Kafka does: from the first
// that has the key's own name on.
func (r *resolver) brokerSynonyms(key string, sensitive bool) []Synonym {
	names := substitutes[key]
	if names == nil {
		names = []string{key}
	}
	if base, ok := ofListener(key); ok {
		names = append(names, base)
	}
	var out []Synonym
	add := func(name, value string, source ConfigSource) {
		if len(out) == 0 && name != key {
			return
		}
		s := Synonym{Name: name, Source: source}
		if !sensitive {
			s.Value = &value
		}
		out = append(out, s)
	}
	for _, l := range r.layers {
		for _, name := range names {
			if text, ok := l.values[name]; ok && !l.topic {
				add(name, text, l.source)
			}
		}
	}
	for _, name := range names {
		if r.static == nil {
			break
		}
		if text, ok := r.static.raw(name); ok {
			add(name, text, SourceStatic)
		}
	}
	for _, name := range names {
		if d, ok := Lookup(name); ok && !d.Null {
			add(name, d.Default, SourceDefault)
		}
	}
	return out
}

// DescribeBroker gives every key of the broker with this id: those of Kafka's
// table and gregor's, internal ones only where they are set, and what else was
// set dynamically. Unknown keys are told without their values: nobody knows
// whether they are secrets.
func DescribeBroker(id int32, clusterDynamic, brokerDynamic map[string]string, static *Node) []Entry {
	r := resolver{layers(nil, clusterDynamic, brokerDynamic), static}
	names := make(map[string]bool, len(brokerTable()))
	for name, d := range brokerTable() {
		_, set := static.raw(name)
		names[name] = !d.Hidden || set
	}
	for _, l := range r.layers {
		for name := range l.values {
			names[name] = true
		}
	}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !names[name] {
			continue
		}
		e := r.describeBroker(name, r.brokerSynonyms(name, isSecret(name)))
		if name == string(NodeID) || name == string(BrokerID) {
			e.tellID(id)
		}
		entries = append(entries, e)
	}
	return entries
}

// tellID makes an entry of node.id or broker.id: one is the other's name, and
// a node that was given none has taken one.
func (e *Entry) tellID(id int32) {
	text := strconv.FormatInt(int64(id), 10)
	if e.Source == SourceDefault {
		e.Synonyms = append([]Synonym{{e.Name, &text, SourceStatic}}, e.Synonyms...)
	}
	e.Value, e.Set, e.Source, e.SetSource = &text, &text, SourceStatic, SourceStatic
}

// DescribeCluster gives the keys that were set for all brokers.
func DescribeCluster(clusterDynamic map[string]string, static *Node) []Entry {
	r := resolver{layers(nil, clusterDynamic, nil), static}
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(clusterDynamic)) {
		synonyms := slices.DeleteFunc(r.brokerSynonyms(name, isSecret(name)), func(s Synonym) bool { return s.Source != SourceClusterBroker })
		e := r.describeBroker(name, synonyms)
		if text := clusterDynamic[name]; !e.Sensitive {
			e.Value = &text
		}
		entries = append(entries, e)
	}
	return entries
}

func (r *resolver) describeBroker(name string, synonyms []Synonym) Entry {
	e := Entry{Name: name, Source: sourceOf(synonyms), Synonyms: synonyms, ReadOnly: true, Sensitive: isSecret(name)}
	e.SetSource = e.Source
	d, ok := lookupDynamic(name)
	if !ok {
		return e
	}
	e.Type = d.Type
	if d.Name == name { // and not a listener's own
		e.Doc, e.ReadOnly = d.Doc, d.Scope == ReadOnly
	}
	if v := r.broker(name, d); v != nil && !e.Sensitive {
		text := format(v)
		e.Value, e.Set = &text, &text
	}
	return e
}

// broker gives the value in force of a broker key; nil is null.
func (r *resolver) broker(name string, d *Definition) any {
	for _, l := range r.layers {
		if text, ok := l.values[name]; ok && !l.topic {
			if v, err := d.parse(text); err == nil {
				return v
			}
		}
	}
	switch {
	case d.Name != name, !known(name): // of a listener, or only ever dynamic
		return nil
	case r.static != nil:
		return r.static.get(name)
	}
	return nil
}

func known(name string) bool { _, ok := Lookup(name); return ok }

// isSecret reports whether values of a broker key must not be shown.
func isSecret(name string) bool {
	d, ok := lookupDynamic(name)
	return !ok || d.sensitive()
}

// ofListener gives the key that listener.name.X.key sets for one listener.
func ofListener(name string) (base string, ok bool) {
	rest, ok := strings.CutPrefix(name, listenerPrefix)
	if !ok {
		return "", false
	}
	_, base, ok = strings.Cut(rest, ".")
	d, isKey := listenerKey(base)
	if !ok || !isKey {
		return "", false
	}
	return d.Name, true
}

const listenerPrefix = "listener.name."

// lookupDynamic gives the definition of a key that may be set on a running
// broker: besides the table's, the replication throttles, which have no place in a file,
// and those of one listener, whose definition is that of the key behind the prefix.
func lookupDynamic(name string) (*Definition, bool) {
	if d, ok := Lookup(name); ok {
		return d, true
	}
	for i := range throttles {
		if throttles[i].Name == name {
			return &throttles[i], true
		}
	}
	if base, ok := ofListener(name); ok {
		return Lookup(base)
	}
	return nil, false
}

// throttles are Kafka's keys that only exist dynamically.
var throttles = [...]Definition{
	{Name: "follower.replication.throttled.rate", Type: Long, Default: "9223372036854775807", Check: atLeast(0), Scope: ClusterWide, Doc: "Bytes a second that throttled replicas are fetched with."},
	{Name: "leader.replication.throttled.rate", Type: Long, Default: "9223372036854775807", Check: atLeast(0), Scope: ClusterWide, Doc: "Bytes a second that throttled replicas are served with."},
	{Name: "replica.alter.log.dirs.io.max.bytes.per.second", Type: Long, Default: "9223372036854775807", Check: atLeast(0), Scope: ClusterWide, Doc: "Bytes a second that moves between directories take."},
}
