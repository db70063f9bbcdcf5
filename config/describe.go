// SPDX-License-Identifier: Apache-2.0

package config

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
)

// Entry is one key of a resource as CreateTopics and DescribeConfigs tell it.
type Entry struct {
	Name      string
	Value     *string // as DescribeConfigs tells it, in Kafka's own writing; nil for null, and for secrets
	Set       *string // as CreateTopics tells it, the way it was set
	Source    ConfigSource
	Synonyms  []Synonym // in order of precedence; the first is in force
	Type      Type
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
	e := Entry{Name: d.Name, Source: SourceDefault, Type: d.Type, Sensitive: d.Sensitive(), Doc: d.Doc}
	places := r.find(d)
	if len(places) > 0 {
		e.Source = places[0].source
		if !e.Sensitive {
			value, set := format(places[0].value), places[0].told
			e.Value, e.Set = &value, &set
		}
	}
	for _, f := range places {
		if f.source == SourceDefault && len(twins[d.Name]) == 0 {
			continue // Kafka lists no synonym for a plain default
		}
		s := Synonym{Name: f.name, Source: f.source}
		if !e.Sensitive {
			raw := f.raw
			s.Value = &raw
		}
		e.Synonyms = append(e.Synonyms, s)
	}
	return e
}
