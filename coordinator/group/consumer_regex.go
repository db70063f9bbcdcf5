// SPDX-License-Identifier: Apache-2.0

package group

import (
	"maps"
	"regexp"
	"regexp/syntax"

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

// changeRegex plans what follows from a member's regex. A new one is matched
// after this event, beside the lane.
func (p *consumerPlan) changeRegex(old, m *memberData) (regexChange, error) {
	c := p.c
	change, needed := regexSame, false
	var before, after string
	if old.regex != m.regex {
		before, after = deref(old.regex), deref(m.regex)
	}
	if before != after {
		change = regexChanged
		if before != "" && c.regexes[before] == 1 {
			p.del(&grouprec.ConsumerGroupRegularExpressionKey{GroupID: c.id, RegularExpression: before})
		}
		switch _, known := c.resolved[after]; {
		case after == "":
			change = regexResolved
		case c.regexes[after] == 0:
			if _, err := compileRegex(after, int(p.g.options.ConsumerRegexBytesMax)); err != nil {
				return change, err
			}
			needed = true
		case known:
			change = regexResolved
		}
	}
	if !needed && len(c.regexes) == 0 || c.matching != nil || c.unfitMs != 0 && p.nowMs <= c.unfitMs+regexPauseMs {
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
		p.matching = sortedKeys(regexes)
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

// compileRegex compiles one as RE2. Whole topic names must match. What it costs
// to match grows with its repetitions as they are written out, so that is what
// its length is limited by: 20 bytes may stand for a million.
func compileRegex(regex string, bytesMax int) (*regexp.Regexp, error) {
	if len(regex) > bytesMax {
		return nil, refuse(kafka.InvalidRegularExpression, "SubscribedTopicRegex has %d bytes; %d are allowed.", len(regex), bytesMax)
	}
	parsed, err := syntax.Parse(regex, syntax.Perl) // by itself: "a)(b" is valid only inside brackets
	var compiled *regexp.Regexp
	if err == nil {
		if n := writtenOut(parsed); n > bytesMax {
			return nil, refuse(kafka.InvalidRegularExpression, "SubscribedTopicRegex has %d parts when its repetitions are written out; %d are allowed.", n, bytesMax)
		}
		if compiled, err = regexp.Compile(`\A(?:` + regex + `)\z`); err != nil { // it ends in a \Q without its \E
			compiled, err = regexp.Compile(`\A(?:` + regex + `\E)\z`)
		}
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
