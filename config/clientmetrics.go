// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"strconv"
	"strings"

	"gregor/base/kafka"
)

// clientMetricsKeys are the keys of a telemetry subscription (KIP-714), by name.
var clientMetricsKeys = [...]Definition{
	{Name: "interval.ms", Type: Int, Default: "300000", Doc: "How often clients push their metrics."},
	{Name: "match", Type: List, Doc: "Which clients push, `selector=pattern,...`; all when empty."},
	{Name: "metrics", Type: List, Doc: "Prefixes of the metrics that are pushed; `*` is all of them, none when empty."},
}

const (
	intervalMsMin = 100
	intervalMsMax = 3_600_000
)

// clientSelectors are what a telemetry subscription may match clients by.
var clientSelectors = map[string]bool{
	"client_instance_id": true, "client_id": true, "client_software_name": true, "client_software_version": true,
	"client_source_address": true, "client_source_port": true,
}

// InvalidSubscriptionError says why the configuration of a telemetry
// subscription is refused. Its text is Kafka's, and so is its code.
type InvalidSubscriptionError struct {
	Message string
	Code    kafka.Code
}

func (e *InvalidSubscriptionError) Error() string { return e.Message }

// Unwrap lets kafka.CodeOf find the code.
func (e *InvalidSubscriptionError) Unwrap() error { return e.Code }

// ValidateClientMetrics judges a telemetry subscription; the error is an
// *InvalidSubscriptionError.
func ValidateClientMetrics(values map[string]string) error {
	for _, key := range keysOf(values) {
		if clientMetricsKey(key) == nil {
			return &InvalidSubscriptionError{"Unknown client metrics configuration: " + key, kafka.InvalidRequest}
		}
	}
	if text, ok := values["interval.ms"]; ok {
		v, err := clientMetricsKey("interval.ms").parse(text)
		if err != nil {
			return &InvalidSubscriptionError{err.Error(), kafka.InvalidConfig}
		}
		if ms := v.(int64); ms < intervalMsMin || ms > intervalMsMax {
			return &InvalidSubscriptionError{"Invalid value " + strconv.FormatInt(ms, 10) + " for interval.ms, interval must be between 100 and 3600000 (1 hour)", kafka.InvalidRequest}
		}
	}
	_, err := parseClientMatch(values["match"])
	return err
}

func clientMetricsKey(name string) *Definition {
	for i := range clientMetricsKeys {
		if clientMetricsKeys[i].Name == name {
			return &clientMetricsKeys[i]
		}
	}
	return nil
}

// parseClientMatch reads match: a pattern for each selector, that a client's
// value must match whole. The error is an *InvalidSubscriptionError.
func parseClientMatch(text string) (map[string]*regexp.Regexp, error) {
	v, _ := parseType(List, text)
	list, _ := v.([]string)
	out := make(map[string]*regexp.Regexp, len(list))
	for _, s := range list {
		selector, pattern, ok := strings.Cut(s, "=")
		selector, pattern = strings.TrimSpace(selector), strings.TrimSpace(pattern)
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if !ok || !clientSelectors[selector] || err != nil {
			return nil, &InvalidSubscriptionError{"Illegal client matching pattern: " + s, kafka.InvalidConfig}
		}
		out[selector] = re
	}
	return out, nil
}

// DescribeClientMetrics gives the keys of a telemetry subscription.
func DescribeClientMetrics(values map[string]string) []Entry {
	entries := make([]Entry, 0, len(clientMetricsKeys))
	for i := range clientMetricsKeys {
		d := &clientMetricsKeys[i]
		text := d.Default
		e := Entry{Name: d.Name, Type: d.Type, Doc: d.Doc, Source: SourceDefault, SetSource: SourceDefault}
		if own, ok := values[d.Name]; ok {
			if v, err := d.parse(own); err == nil {
				text = format(v)
				e.Source, e.SetSource = SourceClientMetrics, SourceClientMetrics
				e.Synonyms = []Synonym{{d.Name, &text, SourceClientMetrics}}
			}
		}
		e.Value, e.Set = &text, &text
		entries = append(entries, e)
	}
	return entries
}

// ClientMetrics is what a telemetry subscription asks for.
type ClientMetrics struct {
	Metrics    []string
	IntervalMs int64
	Match      map[string]*regexp.Regexp
}

// ResolveClientMetrics reads a telemetry subscription. Values that this build
// does not take (a Kafka of another version wrote them) count as not set; ok is
// false where that is match, which would ask more clients than was meant.
func ResolveClientMetrics(values map[string]string) (m ClientMetrics, ok bool) {
	read := func(name string) any {
		d := clientMetricsKey(name)
		if text, set := values[name]; set {
			if v, err := d.parse(text); err == nil {
				return v
			}
		}
		v, _ := d.parse(d.Default)
		return v
	}
	m.Metrics, _ = read("metrics").([]string)
	m.IntervalMs, _ = read("interval.ms").(int64)
	var err error
	m.Match, err = parseClientMatch(values["match"])
	return m, err == nil
}
