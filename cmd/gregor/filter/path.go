// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// path leads to a field of a JSON value.
type path []step

// step is a name, or an index where name is nil.
type step struct {
	name  []byte
	index int
}

const stepsMax = 64

// parsePath reads .a.b[0]["c d"]; a single dot is the whole value.
func parsePath(text string) (path, error) {
	var p path
	for rest := text; rest != "" && rest != "."; {
		var s step
		var size int
		var err error
		switch {
		case rest[0] == '[' || strings.HasPrefix(rest, ".["):
			skipped := strings.IndexByte(rest, '[')
			s, size, err = parseIndex(rest[skipped:])
			size += skipped
		case rest[0] == '.':
			name := rest[1:]
			if end := strings.IndexAny(name, ".["); end >= 0 {
				name = name[:end]
			}
			if name == "" {
				err = fmt.Errorf("a name is empty")
			}
			s, size = step{name: []byte(name)}, 1+len(name)
		default:
			err = fmt.Errorf("want . or [ at %q", rest)
		}
		if err == nil && len(p) == stepsMax {
			err = fmt.Errorf("more than %d steps", stepsMax)
		}
		if err != nil {
			return nil, fmt.Errorf("path %s: %w", text, err)
		}
		p = append(p, s)
		rest = rest[size:]
	}
	return p, nil
}

// parseIndex reads [7] or ["name"].
func parseIndex(text string) (step, int, error) {
	if strings.HasPrefix(text, `["`) {
		quoted, err := strconv.QuotedPrefix(text[1:])
		if err != nil || !strings.HasPrefix(text[1+len(quoted):], "]") {
			return step{}, 0, fmt.Errorf(`%s: want ["name"]`, text)
		}
		name, err := strconv.Unquote(quoted)
		return step{name: append([]byte{}, name...)}, len(quoted) + 2, err
	}
	end := strings.IndexByte(text, ']')
	if end < 0 {
		return step{}, 0, fmt.Errorf("%s has no ]", text)
	}
	n, err := strconv.Atoi(text[1:end])
	if err != nil || n < 0 {
		return step{}, 0, fmt.Errorf("%s: want [0], [1], ... or [\"name\"]", text[:end+1])
	}
	return step{index: n}, end + 1, nil
}

// find gives the JSON at the end of the path; nil if there is none.
func (p path) find(value []byte) json.RawMessage {
	// Most records of a search are not wanted: a name that is not there, and
	// cannot hide behind an escape, saves the parsing.
	if bytes.IndexByte(value, '\\') < 0 {
		for _, s := range p {
			if s.name != nil && !bytes.Contains(value, s.name) {
				return nil
			}
		}
	}
	if !json.Valid(value) {
		return nil
	}
	raw := json.RawMessage(bytes.TrimSpace(value))
	for _, s := range p {
		if s.name != nil {
			var object map[string]json.RawMessage
			if raw[0] != '{' || json.Unmarshal(raw, &object) != nil {
				return nil
			}
			raw = object[string(s.name)]
		} else {
			var list []json.RawMessage
			if raw[0] != '[' || json.Unmarshal(raw, &list) != nil || s.index >= len(list) {
				return nil
			}
			raw = list[s.index]
		}
		if len(raw) == 0 {
			return nil
		}
	}
	return raw
}

// json matches the field at the path. A string compares as its text, numbers
// by what they are worth, anything else as it is written; a field that is
// missing counts as null.
func (f *Filter) json(value []byte) bool {
	raw := f.path.find(value)
	if raw == nil || string(raw) == "null" {
		return f.ordering(nil, false)
	}
	if raw[0] == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return false
		}
		return f.ordering(append([]byte{}, s...), false)
	}
	return f.ordering(raw, raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}

// ordering compares with what was found; numbers only with numbers, except
// that = and != also take digits as text.
func (f *Filter) ordering(found []byte, isNumber bool) bool {
	numeric := isNumber && !f.null && f.op != "~" && f.op != "!~" && f.op != "*=" && (f.exact || !math.IsNaN(f.n))
	switch {
	case numeric:
		if n, err := strconv.ParseInt(string(found), 10, 64); err == nil && f.exact {
			return ordered(f.op, cmp.Compare(n, f.whole))
		}
		return ordered(f.op, cmp.Compare(nan(string(found)), f.n))
	case strings.ContainsAny(f.op, "<>"):
		return false
	}
	return f.bytes(found)
}

// nan reads a number, NaN if text is none.
func nan(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return n
}
