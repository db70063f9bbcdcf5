// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// commas is how Kafka takes a list apart.
var commas = regexp.MustCompile(`\s*,\s*`)

// ValueError reports a value that a key does not allow. Its text is Kafka's,
// since clients of CreateTopics see it.
type ValueError struct {
	Key     string
	Value   string
	Problem string
}

func (e *ValueError) Error() string {
	if e.Value == "" && strings.HasPrefix(e.Problem, "Configuration '") {
		return e.Problem
	}
	return "Invalid value " + e.Value + " for configuration " + e.Key + ": " + e.Problem
}

// parse reads text as Kafka's ConfigDef does and checks it. The result is a
// bool, int64, float64, string or []string.
func (d *Definition) parse(text string) (any, error) {
	v, problem := parseType(d.Type, text)
	if problem != "" {
		return nil, &ValueError{Key: d.Name, Value: d.shown(text), Problem: problem}
	}
	if d.Check == nil {
		return v, nil
	}
	if l, ok := v.([]string); ok {
		if _, distinct := d.Check.(elements); distinct {
			v = withoutRepetition(l) // Kafka warns and takes them out, too
		}
	}
	bad := d.Check.check(v)
	if bad == nil {
		return v, nil
	}
	if bad.whole {
		return nil, &ValueError{Key: d.Name, Problem: "Configuration '" + d.Name + "' " + bad.text}
	}
	var shown string
	switch l, isList := v.([]string); {
	case bad.element != "":
		shown = bad.element
	case isList:
		shown = "[" + strings.Join(l, ", ") + "]"
	case !isList:
		shown = format(v)
	}
	return nil, &ValueError{Key: d.Name, Value: d.shown(shown), Problem: strings.ReplaceAll(bad.text, "{key}", d.Name)}
}

func withoutRepetition(l []string) []string {
	var out []string
	for _, s := range l {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (d *Definition) shown(text string) string {
	if d.sensitive() {
		return "[hidden]"
	}
	return text
}

// parseType gives the value of text, or what is wrong with it.
func parseType(t Type, text string) (v any, problem string) {
	trimmed := strings.TrimSpace(text)
	switch t {
	case Boolean:
		switch strings.ToLower(trimmed) {
		case "true":
			return true, ""
		case "false":
			return false, ""
		}
		return nil, "Expected value to be either true or false"
	case Int:
		return parseInteger(trimmed, 32, "INT")
	case Short:
		return parseInteger(trimmed, 16, "SHORT")
	case Long:
		return parseInteger(trimmed, 64, "LONG")
	case Double:
		f, err := parseDouble(trimmed)
		if err != nil {
			return nil, "Not a number of type DOUBLE"
		}
		return f, ""
	case List:
		if trimmed == "" {
			return []string(nil), ""
		}
		return commas.Split(trimmed, -1), ""
	case Password:
		return text, ""
	}
	return trimmed, ""
}

func parseInteger(text string, bits int, name string) (any, string) {
	i, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return nil, "Not a number of type " + name
	}
	return i, ""
}

// parseDouble takes what java.lang.Double takes: a trailing d or f is allowed,
// "Inf" is not, and too large a number is infinite.
func parseDouble(text string) (float64, error) {
	switch strings.TrimLeft(text, "+-") {
	case "NaN", "Infinity":
		return strconv.ParseFloat(text, 64)
	}
	if n := len(text); n > 1 && strings.ContainsRune("dDfF", rune(text[n-1])) && !strings.HasPrefix(strings.ToLower(text), "0x") {
		text = text[:n-1]
	}
	if strings.ContainsAny(text, "nN_") {
		return 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) && math.IsInf(f, 0) {
		err = nil
	}
	return f, err
}

// format gives the text of a parsed value as Kafka's ConfigDef writes it.
func format(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return formatDouble(v)
	case string:
		return v
	case []string:
		return strings.Join(v, ",")
	}
	return ""
}

// formatDouble writes a number as Double.toString does.
func formatDouble(f float64) string {
	switch abs := math.Abs(f); {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case abs != 0 && (abs < 1e-3 || abs >= 1e7):
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		e, _ := strconv.Atoi(exponent)
		return mantissa + "E" + strconv.Itoa(e)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.ContainsAny(s, ".N") {
		s += ".0"
	}
	return s
}
