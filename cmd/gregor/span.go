// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// span is what --at selects of each partition: from one point up to, and
// without, another.
type span struct {
	from, to point
}

// point is a place in a partition.
type point struct {
	kind  pointKind
	n     int64     // offset, or number of records
	since time.Time // for atTime
}

type pointKind int8

const (
	atStart     pointKind = iota // the log start
	atEnd                        // the high watermark when the command began
	atOffset                     // n
	afterStart                   // log start + n
	beforeEnd                    // high watermark - n
	atTime                       // the first record at or after since
	unspecified                  // no end was given
)

const spanHelp = `what to read of each partition:
  start  end       all there is; only what comes
  N  N:  :M  N:M   from offset N, up to and without M
  +N  -N           N after the start; the last N
  @T  @T:U         by time; T is 2006-01-02, 2006-01-02T15:04:05Z, -90m, -7d, now, or Unix milliseconds
  A..B             between any two of these, for example 100..@-1h; A.. and ..B are open`

// parseSpan reads the grammar of --at.
func parseSpan(text string, now time.Time) (span, error) {
	s, err := parseEnds(text, now)
	if err == nil && s.reversed() {
		err = fmt.Errorf("--at %q ends before it begins", text)
	}
	return s, err
}

// reversed finds what selects nothing whatever a partition holds.
func (s span) reversed() bool {
	switch {
	case s.from.kind == atEnd && s.to.kind == atStart:
		return true
	case s.from.kind != s.to.kind:
		return false
	case s.from.kind == beforeEnd:
		return s.from.n < s.to.n
	}
	return s.from.n > s.to.n || s.from.since.After(s.to.since)
}

func parseEnds(text string, now time.Time) (span, error) {
	if from, to, mixed := strings.Cut(text, ".."); mixed {
		return parseMixed(from, to, now)
	}
	if rest, ok := strings.CutPrefix(text, "@"); ok {
		return parseTimes(rest, now)
	}
	from, to, ranged := strings.Cut(text, ":")
	if !ranged {
		p, err := parsePoint(from)
		return span{p, point{kind: unspecified}}, err
	}
	s := span{point{kind: atStart}, point{kind: unspecified}}
	var err error
	if from != "" {
		if s.from, err = parsePoint(from); err != nil {
			return span{}, err
		}
	}
	if to != "" {
		if s.to, err = parsePoint(to); err != nil {
			return span{}, err
		}
	}
	if from == "" && to == "" {
		return span{}, fmt.Errorf("--at %q names neither end", text)
	}
	return s, nil
}

// parseMixed reads A..B, where each may be a time.
func parseMixed(from, to string, now time.Time) (span, error) {
	s := span{point{kind: atStart}, point{kind: unspecified}}
	if from == "" && to == "" {
		return span{}, fmt.Errorf("--at %q names neither end", "..")
	}
	one := func(text string, p *point) (err error) {
		if text == "" {
			return nil
		}
		if rest, ok := strings.CutPrefix(text, "@"); ok {
			if p.since, err = parseTime(rest, now); err != nil {
				return timeError(rest)
			}
			p.kind = atTime
			return nil
		}
		*p, err = parsePoint(text)
		return err
	}
	if err := one(from, &s.from); err != nil {
		return span{}, err
	}
	return s, one(to, &s.to)
}

func parsePoint(text string) (point, error) {
	switch text {
	case "start":
		return point{kind: atStart}, nil
	case "end":
		return point{kind: atEnd}, nil
	case "":
		return point{}, fmt.Errorf("--at is empty")
	}
	kind, digits := atOffset, text
	switch text[0] {
	case '+':
		kind, digits = afterStart, text[1:]
	case '-':
		kind, digits = beforeEnd, text[1:]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || digits[0] == '+' || digits[0] == '-' {
		return point{}, fmt.Errorf("--at %q is not an offset, start, end, +N, -N or @time", text)
	}
	return point{kind: kind, n: n}, nil
}

// parseTimes reads T or T:U. Times hold colons themselves, so each one is
// tried as the border.
func parseTimes(text string, now time.Time) (span, error) {
	if t, err := parseTime(text, now); err == nil {
		return span{point{kind: atTime, since: t}, point{kind: unspecified}}, nil
	}
	for i := range len(text) {
		if text[i] != ':' {
			continue
		}
		from, errFrom := parseTime(text[:i], now)
		to, errTo := parseTime(text[i+1:], now)
		switch {
		case errFrom != nil && i > 0, errTo != nil && i+1 < len(text):
			continue
		case i == 0:
			return span{point{kind: atStart}, point{kind: atTime, since: to}}, nil
		case i+1 == len(text):
			return span{point{kind: atTime, since: from}, point{kind: unspecified}}, nil
		}
		return span{point{kind: atTime, since: from}, point{kind: atTime, since: to}}, nil
	}
	return span{}, timeError(text)
}

func timeError(text string) error {
	return fmt.Errorf("--at @%s: a time is 2006-01-02, 2006-01-02T15:04:05Z, -90m, -7d, now, or Unix milliseconds", text)
}

var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02"}

func parseTime(text string, now time.Time) (time.Time, error) {
	if text == "now" {
		return now, nil
	}
	if strings.HasPrefix(text, "-") {
		if days, ok := strings.CutSuffix(text, "d"); ok {
			n, err := strconv.ParseUint(days[1:], 10, 16)
			return now.AddDate(0, 0, -int(n)), err
		}
		d, err := time.ParseDuration(text)
		return now.Add(d), err
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms), err
}
