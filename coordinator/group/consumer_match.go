// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"maps"
	"slices"

	"gregor/coordinator/grouprec"
)

// Matching is a look at all topics for the regexes of one group. One regex on
// 10,000 names may take seconds, so it is not done on the lane of the groups:
//
//	heartbeat ─► Out.Matching ─► Run, on another goroutine ─► Groups.Matched, an event of its own
//
// A group has at most one under way, and none sooner than regexPauseMs after the
// last. Its outcome counts for the view of the topics that it was begun with; if
// topics have come since, the group's next heartbeat begins another. It is of no
// use to a group that has been loaded anew or is another one by then.
type Matching struct {
	group    string
	topics   Topics
	regexes  []string
	bytesMax int
	found    map[string][]string // by regex: names of topics, sorted; nil until Run has ended
	hashes   map[string]uint64   // of all that were found: they too take long to be made
}

// startMatching begins what the plan found to be matched.
func (p *consumerPlan) startMatching(out *Out) {
	if len(p.matching) == 0 {
		return
	}
	p.c.matching = &Matching{group: p.c.id, topics: p.g.topics, regexes: p.matching, bytesMax: int(p.g.options.ConsumerRegexBytesMax)}
	out.Matching = append(out.Matching, p.c.matching)
}

// Run does it, or gives up when ctx ends. It needs nothing of the groups.
func (m *Matching) Run(ctx context.Context) {
	names := slices.Sorted(m.topics.Names())
	found, hashes := make(map[string][]string, len(m.regexes)), map[string]uint64{}
	for _, regex := range m.regexes {
		matches, ok := matchingNames(ctx, regex, m.bytesMax, names)
		if !ok {
			return
		}
		found[regex] = matches
		for _, name := range matches {
			if _, done := hashes[name]; !done {
				hashes[name], _ = hashOf(m.topics, name)
			}
		}
	}
	m.found, m.hashes = found, hashes
}

func matchingNames(ctx context.Context, regex string, bytesMax int, names []string) (matches []string, ok bool) {
	compiled, err := compileRegex(regex, bytesMax)
	if err != nil { // another program took it, or another version of this one: here it matches nothing
		return nil, true
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, false
		}
		if compiled.MatchString(name) {
			matches = append(matches, name)
		}
	}
	return matches, true
}

// Matched takes the outcome of a Matching. The group gets a new epoch if what its
// regexes match has changed.
func (g *Groups) Matched(nowMs int64, m *Matching, out *Out) {
	c := g.foundConsumer(m.group)
	if c == nil || c.matching != m {
		return
	}
	c.matching = nil
	if m.found == nil {
		return
	}
	if m.topics.Version() == g.topics.Version() { // no topic has changed since
		maps.Copy(g.topicHashes, m.hashes)
	}
	p := &consumerPlan{g: g, c: c, nowMs: nowMs}
	names := maps.Clone(c.names)
	bump := false
	for _, regex := range m.regexes {
		if c.regexes[regex] == 0 {
			continue // nobody wants it any more
		}
		topics := m.found[regex]
		if had := c.resolved[regex].topics; !slices.Equal(had, topics) {
			bump = true
			for _, name := range had {
				addName(names, name, 0, -1)
			}
			for _, name := range topics {
				addName(names, name, 0, 1)
			}
		}
		p.put(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: c.id, RegularExpression: regex},
			&grouprec.ConsumerGroupRegularExpressionValue{Topics: topics, Version: m.topics.Version(), Timestamp: nowMs})
	}
	for _, regex := range sortedKeys(c.resolved) { // of a member whose id another one took over
		if c.regexes[regex] == 0 {
			p.del(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: c.id, RegularExpression: regex})
			for _, name := range c.resolved[regex].topics {
				addName(names, name, 0, -1)
			}
		}
	}
	if hash := g.metadataHash(names); bump || hash != c.metadataHash {
		p.putEpoch(c.epoch+1, hash)
		p.freshUntilMs = nowMs + metadataFreshMs
	}
	// What does not fit into a batch is not resolved: the members keep the topics they have.
	if p.apply(out) != nil {
		c.unfitMs = nowMs
	}
}
