// SPDX-License-Identifier: Apache-2.0

// Package filter decides which records are wanted. It promises to be a pure
// function of its text and the record, and to panic on neither.
package filter

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gregor/cmd/gregor/record"
)

// Help is the language of Parse.
const Help = `FIELD OP VALUE, for example 'key=alice', 'header.source!=web', '.user.id>=7':
  FIELD  key, value, header.NAME, topic, partition, offset, timestamp, size (of the value), or .path.to[0].field in a JSON value
  OP     = != contains: *=   regular expression: ~ !~   and of numbers and times < <= > >=
  VALUE  as it stands or in "quotes"; null without quotes is null; times as in --at, without the @`

// Filter is one condition.
type Filter struct {
	field fieldKind
	name  []byte // of the header
	path  path
	op    string
	null  bool // compares with null
	text  []byte
	re    *regexp.Regexp
	n     float64
	whole int64 // n, where it is an integer
	exact bool
}

type fieldKind int8

const (
	keyField fieldKind = iota
	valueField
	headerField
	topicField
	pathField
	partitionField // from here on numbers
	offsetField
	timestampField
	sizeField
)

var fields = map[string]fieldKind{"key": keyField, "value": valueField, "topic": topicField,
	"partition": partitionField, "offset": offsetField, "timestamp": timestampField, "size": sizeField}

// Longer operators first, so that none is taken for its beginning.
var ops = []string{"!=", "!~", "*=", ">=", "<=", "=", "~", "<", ">"}

// Parse compiles a condition. when reads a time.
func Parse(text string, when func(string) (time.Time, error)) (*Filter, error) {
	at, op := findOp(text)
	if at < 0 {
		return nil, fmt.Errorf("%q has none of %s", text, strings.Join(ops, " "))
	}
	f := &Filter{op: op}
	if err := f.parseField(strings.TrimSpace(text[:at])); err != nil {
		return nil, err
	}
	return f, f.parseValue(strings.TrimSpace(text[at+len(op):]), when)
}

// Key wants an exact key.
func Key(key string) *Filter { return &Filter{field: keyField, op: "=", text: []byte(key)} }

// findOp finds the first operator outside quotes and brackets.
func findOp(text string) (int, string) {
	quoted, bracket := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
			continue
		case c == '"':
			quoted = !quoted
		case c == '[' && !quoted:
			bracket = true
		case c == ']' && !quoted:
			bracket = false
		}
		if quoted || bracket {
			continue
		}
		for _, op := range ops {
			if strings.HasPrefix(text[i:], op) {
				return i, op
			}
		}
	}
	return -1, ""
}

func (f *Filter) parseField(text string) error {
	if strings.HasPrefix(text, ".") {
		var err error
		f.field = pathField
		f.path, err = parsePath(text)
		return err
	}
	if name, ok := strings.CutPrefix(text, "header."); ok && name != "" {
		if unquoted, err := strconv.Unquote(name); err == nil {
			name = unquoted
		}
		f.field, f.name = headerField, []byte(name)
		return nil
	}
	kind, known := fields[text]
	if !known {
		return fmt.Errorf("%q is not a field; allowed are key, value, header.NAME, topic, partition, offset, timestamp, size, .path", text)
	}
	f.field = kind
	return nil
}

func (f *Filter) parseValue(text string, when func(string) (time.Time, error)) error {
	equality := f.op == "=" || f.op == "!="
	if text == "null" {
		if f.field == topicField || f.field >= partitionField || !equality {
			return fmt.Errorf("%s null: only = and != of key, value, headers and paths know null", f.op)
		}
		f.null = true
		return nil
	}
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		unquoted, err := strconv.Unquote(text)
		if err != nil {
			return fmt.Errorf("%s is not a quoted string", text)
		}
		text = unquoted
	}
	f.text = []byte(text)
	switch {
	case f.op == "~" || f.op == "!~":
		if f.field >= partitionField {
			return errors.New("a regular expression is for text, this is a number")
		}
		re, err := regexp.Compile(text)
		if err != nil {
			return err
		}
		f.re = re
		return nil
	case f.op == "*=":
		if f.field >= partitionField {
			return errors.New("*= is for text, this is a number")
		}
		return nil
	case f.field == timestampField:
		t, err := when(text)
		f.whole, f.exact = t.UnixMilli(), true
		return err
	}
	f.number(text)
	switch numeric := f.exact || !math.IsNaN(f.n); {
	case !numeric && f.field >= partitionField:
		return fmt.Errorf("%q is not a number", text)
	case equality || f.field >= partitionField || f.field == pathField && numeric:
		return nil
	}
	return fmt.Errorf("%s compares numbers and times, not %q", f.op, text)
}

// number reads text as a number; n stays NaN if it is none.
func (f *Filter) number(text string) {
	var err error
	if f.whole, err = strconv.ParseInt(text, 10, 64); err == nil {
		f.exact, f.n = true, float64(f.whole)
		return
	}
	f.n = nan(text)
}

// Match reports whether r is wanted.
func (f *Filter) Match(r *record.Record) bool {
	switch f.field {
	case keyField:
		return f.bytes(r.Key)
	case valueField:
		return f.bytes(r.Value)
	case topicField:
		return f.bytes([]byte(r.Topic))
	case headerField:
		return f.header(r.Headers)
	case pathField:
		return f.json(r.Value)
	case partitionField:
		return f.integer(int64(r.Partition))
	case offsetField:
		return f.integer(r.Offset)
	case timestampField:
		return f.integer(r.TimestampMs)
	}
	return f.integer(int64(len(r.Value)))
}

// bytes compares text; null is equal to null alone, and contains nothing.
func (f *Filter) bytes(b []byte) bool {
	switch f.op {
	case "=":
		return f.equal(b)
	case "!=":
		return !f.equal(b)
	case "~":
		return b != nil && f.re.Match(b)
	case "!~":
		return b == nil || !f.re.Match(b)
	}
	return b != nil && bytes.Contains(b, f.text)
}

func (f *Filter) equal(b []byte) bool {
	if f.null || b == nil {
		return f.null && b == nil
	}
	return bytes.Equal(b, f.text)
}

// header wants one header of the name that matches; the negations want none
// that does not. A header that is missing counts as null.
func (f *Filter) header(headers []record.Header) bool {
	negative, found := f.op[0] == '!', false
	for _, h := range headers {
		if !bytes.Equal(h.Key, f.name) {
			continue
		}
		found = true
		if f.bytes(h.Value) != negative {
			return !negative
		}
	}
	if !found {
		return f.bytes(nil)
	}
	return negative
}

func (f *Filter) integer(n int64) bool {
	if f.exact {
		return ordered(f.op, cmp.Compare(n, f.whole))
	}
	return ordered(f.op, cmp.Compare(float64(n), f.n))
}

func ordered(op string, c int) bool {
	switch op {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// Grep wants records whose key or value matches a regular expression.
func Grep(pattern string) (func(*record.Record) bool, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return func(r *record.Record) bool {
		return r.Key != nil && re.Match(r.Key) || r.Value != nil && re.Match(r.Value)
	}, nil
}
