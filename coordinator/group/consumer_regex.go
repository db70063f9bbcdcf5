// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// resolvedRegex is what a regex matched when it was last looked at.
type resolvedRegex struct {
	topics  []string // sorted
	version int64    // of the metadata
	atMs    int64
}

// regexChange is what a member's request means for its regex.
type regexChange uint8

const (
	regexSame regexChange = iota
	// regexChanged: what it matches is not known yet.
	regexChanged
	// regexResolved: what it matches is known, as another member has it, or the member has none any more.
	regexResolved
)

// regexPauseMs is the shortest time between two looks at the regexes of a group, as in Kafka.
const regexPauseMs = 10_000

// changeRegex plans what follows from a member's regex. A new one is resolved
// after this event, as one of its own: it costs a look at all topics.
func (p *consumerPlan) changeRegex(old, m *memberData) (regexChange, error) {
	c := p.c
	change, needed := regexSame, false
	before, after := deref(old.regex), deref(m.regex)
	if before != after {
		change = regexChanged
		if before != "" && c.regexes[before] == 1 {
			p.del(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: c.id, RegularExpression: before})
		}
		switch _, known := c.resolved[after]; {
		case after == "":
			change = regexResolved
		case c.regexes[after] == 0:
			if _, err := p.g.compileRegex(after); err != nil {
				return change, err
			}
			needed = true
		case known:
			change = regexResolved
		}
	}
	if !needed && len(c.regexes) == 0 || c.resolve.running() {
		return change, nil
	}
	atMs, version, any := c.lastResolved()
	if any && p.nowMs <= atMs+regexPauseMs {
		return change, nil
	}
	regexes := c.regexesAfter(old, m)
	needed = needed || len(regexes) != len(c.resolved) || version < p.g.topicsVersion ||
		any && p.nowMs > atMs+int64(p.g.options.ConsumerRegexRefreshIntervalMs)
	if needed && len(regexes) != 0 {
		p.resolving = sortedKeys(regexes)
	}
	return change, nil
}

// regexesAfter are the regexes of the group when old has become m, with the
// number of members that have each. Only for reading.
func (c *consumerGroup) regexesAfter(old, m *memberData) map[string]int {
	before, after := deref(old.regex), deref(m.regex)
	if before == after {
		return c.regexes
	}
	regexes := maps.Clone(c.regexes)
	if before != "" {
		addCount(regexes, before, -1)
	}
	if after != "" {
		addCount(regexes, after, 1)
	}
	return regexes
}

// lastResolved is when the regexes were resolved; all are at once.
func (c *consumerGroup) lastResolved() (atMs, version int64, any bool) {
	for _, regex := range sortedKeys(c.resolved) {
		r := c.resolved[regex]
		return r.atMs, r.version, true
	}
	return 0, 0, false
}

// startResolving has what the plan found to resolve be resolved next.
func (p *consumerPlan) startResolving() {
	if len(p.resolving) != 0 {
		p.c.resolving = p.resolving
		p.g.timers.set(&p.c.resolve, p.c, p.nowMs)
	}
}

// compileRegex compiles one as RE2. Whole topic names must match. What it costs
// to match grows with its repetitions as they are written out, so that is what
// its length is limited by: 20 bytes may stand for a million.
func (g *Groups) compileRegex(regex string) (*regexp.Regexp, error) {
	if limit := int(g.options.ConsumerRegexBytesMax); len(regex) > limit {
		return nil, refuse(kafka.InvalidRegularExpression, "SubscribedTopicRegex has %d bytes; %d are allowed.", len(regex), limit)
	}
	parsed, err := syntax.Parse(regex, syntax.Perl) // by itself: "a)(b" is valid only inside brackets
	var compiled *regexp.Regexp
	if err == nil {
		if n := writtenOut(parsed); n > int(g.options.ConsumerRegexBytesMax) {
			return nil, refuse(kafka.InvalidRegularExpression, "SubscribedTopicRegex has %d parts when its repetitions are written out; %d are allowed.", n, g.options.ConsumerRegexBytesMax)
		}
		compiled, err = regexp.Compile(`\A(?:` + regex + `)\z`)
	}
	if err != nil {
		return nil, refuse(kafka.InvalidRegularExpression, "SubscribedTopicRegex is not a valid regular expression: %v.", err)
	}
	return compiled, nil
}

// writtenOut counts the parts of a regex without counted repetitions.
func writtenOut(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpConcat, syntax.OpAlternate, syntax.OpRepeat:
		n = 0
	}
	for _, part := range re.Sub {
		n += writtenOut(part)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

// fire resolves the group's regexes: one look at all topics. The group gets a
// new epoch if what they match has changed.
func (c *consumerGroup) fire(g *Groups, _ *timer, nowMs int64, out *Out) {
	found := g.match(c.resolving)
	c.resolving = nil
	p := &consumerPlan{g: g, c: c, nowMs: nowMs}
	names := make(map[string]nameCount, len(c.names))
	for name, n := range c.names {
		names[name] = n
	}
	bump := false
	for _, regex := range sortedKeys(found) {
		if c.regexes[regex] == 0 {
			continue // nobody wants it any more
		}
		topics := found[regex]
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
			&grouprec.ConsumerGroupRegularExpressionValue{Topics: topics, Version: g.topics.Version(), Timestamp: nowMs})
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
	_ = p.apply(out)
}

// match looks at all topics once.
func (g *Groups) match(regexes []string) map[string][]string {
	found := map[string][]string{}
	compiled := map[string]*regexp.Regexp{}
	for _, regex := range regexes {
		found[regex] = nil
		// One that another version of this program or another program took, and this one cannot read, matches nothing.
		if re, err := g.compileRegex(regex); err == nil {
			compiled[regex] = re
		}
	}
	for name := range g.topics.Names() {
		for regex, re := range compiled {
			if re.MatchString(name) {
				found[regex] = append(found[regex], name)
			}
		}
	}
	for _, names := range found {
		slices.Sort(names)
	}
	return found
}
