// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"slices"
	"sync"
)

// brokerTable is the one table of a node's keys, by name.
var brokerTable = sync.OnceValue(func() map[string]*Definition {
	m := make(map[string]*Definition)
	for _, part := range [][]Definition{brokerKeys, logKeys, coordinatorKeys, securityKeys, ownKeys} {
		for i := range part {
			m[part[i].Name] = &part[i]
		}
	}
	return m
})

// Lookup gives the definition of a broker key.
func Lookup(key string) (*Definition, bool) {
	d, ok := brokerTable()[key]
	return d, ok
}

// Definitions gives all broker keys by name.
func Definitions() []*Definition { return sorted(brokerTable()) }

// TopicDefinitions gives all topic keys by name.
func TopicDefinitions() []*Definition { return sorted(topicTable()) }

func sorted(m map[string]*Definition) []*Definition {
	l := make([]*Definition, 0, len(m))
	for _, d := range m {
		l = append(l, d)
	}
	slices.SortFunc(l, func(a, b *Definition) int { return cmp.Compare(a.Name, b.Name) })
	return l
}
