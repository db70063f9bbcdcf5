// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
)

// Hint says what to do with a key that is in neither table: what became of it,
// or the name that was meant; "" when nobody knows.
func Hint(key string) string {
	if why, ok := gone[key]; ok {
		return why
	}
	near, topic := nearest(key), nearestOf(key, TopicDefinitions())
	if near == "" || topic != "" && editDistance(key, topic) < editDistance(key, near) {
		near = topic
	}
	if near == "" {
		return ""
	}
	return "did you mean " + near + "?"
}

// NeedsRestart reports whether a broker key holds from the next start on only.
func NeedsRestart(key string) bool {
	d, ok := Lookup(key)
	return !ok || d.Scope == ReadOnly || slices.Contains(startOnly, key)
}

// BrokerKeys gives the broker keys that stand in for a topic key that is not
// set, in order of precedence.
func BrokerKeys(topicKey string) []string {
	var keys []string
	for _, t := range twins[topicKey] {
		keys = append(keys, t.key)
	}
	return keys
}

// TopicKeys gives the topic keys that a broker key stands in for.
func TopicKeys(brokerKey string) []string { return slices.Sorted(slices.Values(twinned()[brokerKey])) }
