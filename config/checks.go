// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Check is a rule for values of one key. Its String is the rule in words that
// docs/config.md shows.
type Check interface {
	check(v any) *violation
	String() string
}

// violation is what is wrong with a value, in Kafka's words, since clients of
// CreateTopics see them.
type violation struct {
	text    string
	element string // the element of a list that is to blame; "" is the value
	whole   bool   // text speaks of the key and goes without the value
}

// bounds allows numbers from min to max, both included.
type bounds struct{ min, max float64 }

func atLeast(n float64) bounds         { return bounds{n, math.Inf(1)} }
func between(low, high float64) bounds { return bounds{low, high} }

func (b bounds) check(v any) *violation {
	var f float64
	switch v := v.(type) {
	case int64:
		f = float64(v)
	case float64:
		f = v
	}
	if f < b.min {
		return &violation{text: "Value must be at least " + bound(b.min)}
	}
	if f > b.max {
		return &violation{text: "Value must be no more than " + bound(b.max)}
	}
	return nil
}

func (b bounds) String() string {
	if math.IsInf(b.max, 1) {
		return bound(b.min) + " or more"
	}
	return bound(b.min) + " to " + bound(b.max)
}

func bound(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// oneOf allows some words; with fold, in any case.
type oneOf struct {
	fold bool
	of   []string
}

func (o oneOf) check(v any) *violation {
	s, _ := v.(string)
	if slices.ContainsFunc(o.of, func(w string) bool { return w == s || o.fold && strings.EqualFold(w, s) }) {
		return nil
	}
	how := ""
	if o.fold {
		how = " (case insensitive)"
	}
	return &violation{text: "String must be one of" + how + ": " + strings.Join(o.of, ", ")}
}

func (o oneOf) String() string {
	if o.fold {
		return strings.Join(o.of, ", ") + " (any case)"
	}
	return strings.Join(o.of, ", ")
}

// elements allows lists without empty elements; repeated ones are taken out
// before.
type elements struct {
	empty bool     // the list may be empty
	of    []string // elements allowed; none: any
}

func (e elements) check(v any) *violation {
	l, _ := v.([]string)
	if len(l) == 0 {
		if e.empty {
			return nil
		}
		allowed := "any non-empty value"
		if len(e.of) > 0 {
			allowed = "[" + strings.Join(e.of, ", ") + "]"
		}
		return &violation{whole: true, text: "must not be empty. Valid values include: " + allowed}
	}
	for _, s := range l {
		switch {
		case s == "":
			return &violation{whole: true, text: "values must not be empty."}
		case len(e.of) > 0 && !slices.Contains(e.of, s):
			return &violation{element: s, text: "String must be one of: " + strings.Join(e.of, ", ")}
		}
	}
	return nil
}

func (e elements) String() string {
	s := "a list"
	if len(e.of) > 0 {
		s = "some of " + strings.Join(e.of, ", ")
	}
	if !e.empty {
		s += ", not empty"
	}
	return s
}

// nonEmpty allows any text but none.
type nonEmpty struct{}

func (nonEmpty) check(v any) *violation {
	if s, _ := v.(string); s == "" {
		return &violation{text: "String must be non-empty"}
	}
	return nil
}

func (nonEmpty) String() string { return "not empty" }

// gzipLevel allows the levels of gzip and its default.
type gzipLevel struct{}

func (gzipLevel) check(v any) *violation {
	if i, _ := v.(int64); i == -1 || i >= 1 && i <= 9 {
		return nil
	}
	return &violation{text: "Value must be between 1 and 9 or equal to -1"}
}

func (gzipLevel) String() string { return "1 to 9, or -1 for the codec's default" }

// throttledReplicas allows "*", nothing, or pairs partition:broker.
type throttledReplicas struct{}

var throttledReplica = regexp.MustCompile(`^([0-9]+:[0-9]+)?$`)

func (throttledReplicas) check(v any) *violation {
	l, _ := v.([]string)
	if len(l) == 1 && l[0] == "*" {
		return nil
	}
	for _, s := range l {
		if !throttledReplica.MatchString(strings.TrimSpace(s)) {
			return &violation{text: "{key} must be the literal '*' or a list of replicas in the following format: " +
				"[partitionId]:[brokerId],[partitionId]:[brokerId],..."}
		}
	}
	return nil
}

func (throttledReplicas) String() string { return "`*`, or `partition:broker,...`" }

// hostPorts allows a list of host:port.
type hostPorts struct{}

func (hostPorts) check(v any) *violation {
	l, _ := v.([]string)
	for _, s := range l {
		if _, err := splitHostPort(s); err != nil {
			return &violation{element: s, text: "each entry must be host:port"}
		}
	}
	return nil
}

func (hostPorts) String() string { return "`host:port,...`" }

// voterList allows a list of id@host:port.
type voterList struct{}

func (voterList) check(v any) *violation {
	l, _ := v.([]string)
	for _, s := range l {
		if _, err := parseVoter(s); err != nil {
			return &violation{element: s, text: err.Error()}
		}
	}
	return nil
}

func (voterList) String() string { return "`id@host:port,...`" }

func parseVoter(s string) (Voter, error) {
	id, address, ok := strings.Cut(s, "@")
	n, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil {
		return Voter{}, errors.New("each entry must be id@host:port")
	}
	at, err := splitHostPort(address)
	if err != nil {
		return Voter{}, errors.New("each entry must be id@host:port")
	}
	return Voter{ID: int32(n), Host: at.Host, Port: at.Port}, nil
}

var hostName = regexp.MustCompile(`^[0-9a-zA-Z\-%._:]+$`)

type hostPort struct {
	Host string
	Port int
}

func splitHostPort(s string) (hostPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return hostPort{}, fmt.Errorf("split %q: %w", s, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !hostName.MatchString(host) {
		return hostPort{}, fmt.Errorf("%q is not host:port", s)
	}
	return hostPort{host, int(n)}, nil
}
