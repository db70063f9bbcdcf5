// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// option is one option of a tool. Without arg it is a switch; optional says
// that its argument may be left out.
type option struct {
	name, arg, help string
	optional        bool
	fallback        string // the argument when the option is not given
}

// Options that every tool has.
var common = []option{
	{name: "help", help: "Print this text."},
	{name: "version", help: "Print the release of Kafka whose tool this is."},
}

// Options of every tool that talks to a cluster.
var connecting = []option{
	{name: "bootstrap-server", arg: "HOST:PORT,...", help: "REQUIRED: brokers to ask first."},
	{name: "command-config", arg: "FILE", help: "Properties of the client, as in client.properties."},
}

// usageError is a command line that cannot be carried out. Unless it is terse,
// the options are printed after it.
type usageError struct {
	text  string
	terse bool
}

func (e *usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return &usageError{text: fmt.Sprintf(format, args...)} }

func refuse(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), terse: true}
}

// given are the options of one command line.
type given struct {
	tool   *tool
	values map[string][]string
	rest   []string // arguments that belong to no option
}

// parse reads options as Kafka's parser does: with one dash or two, with the
// argument behind = or as the next word, and by any beginning of the name that
// only one option has.
func parse(t *tool, args []string) (*given, error) {
	o := &given{tool: t, values: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		text := args[i]
		if !strings.HasPrefix(text, "-") || text == "-" {
			o.rest = append(o.rest, text)
			continue
		}
		if text == "--" {
			o.rest = append(o.rest, args[i+1:]...)
			break
		}
		name, value, assigned := strings.Cut(strings.TrimLeft(text, "-"), "=")
		p, err := t.find(name)
		if err != nil {
			return nil, err
		}
		switch {
		case p.arg == "" && assigned:
			return nil, fmt.Errorf("%s takes no argument", p.name)
		case p.arg == "" || assigned:
		case i+1 < len(args) && !(p.optional && t.isOption(args[i+1])):
			i++
			value = args[i]
		case !p.optional:
			return nil, fmt.Errorf("Option %s requires an argument", p.name)
		}
		o.values[p.name] = append(o.values[p.name], value)
	}
	return o, nil
}

func (t *tool) all() []option { return slices.Concat(t.options, common) }

func (t *tool) find(name string) (*option, error) {
	var found []option
	for _, p := range t.all() {
		if p.name == name {
			return &p, nil
		}
		if strings.HasPrefix(p.name, name) && name != "" {
			found = append(found, p)
		}
	}
	if len(found) == 1 {
		return &found[0], nil
	}
	return nil, fmt.Errorf("%s is not a recognized option", name)
}

// isOption tells an option from an argument that begins with a dash, as -1 does.
func (t *tool) isOption(text string) bool {
	name, found := strings.CutPrefix(text, "-")
	if !found {
		return false
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
	_, err := t.find(name)
	return err == nil
}

func (o *given) has(name string) bool { return len(o.values[name]) > 0 }

// text is the last argument of an option, or what it falls back to.
func (o *given) text(name string) string {
	if v := o.values[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	for _, p := range o.tool.options {
		if p.name == name {
			return p.fallback
		}
	}
	return ""
}

func (o *given) list(name string) []string { return o.values[name] }

// number is an option's argument as an integer from least on; unset is what it
// is without the option and without a fallback.
func (o *given) number(name string, least, unset int64) (int64, error) {
	text := o.text(name)
	if text == "" {
		return unset, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, refuse("Cannot parse argument '%s' of option %s", text, name)
	}
	if n < least {
		return 0, refuse("%s must be at least %d", name, least)
	}
	return n, nil
}

// required names the first option that is missing.
func (o *given) required(names ...string) error {
	for _, name := range names {
		if !o.has(name) {
			return misuse("Missing required argument %q", "["+name+"]")
		}
	}
	return nil
}

// excludes refuses options beside one that is given.
func (o *given) excludes(name string, others ...string) error {
	if !o.has(name) {
		return nil
	}
	for _, other := range others {
		if o.has(other) {
			return misuse("Option %q can't be used with option %q", "["+name+"]", "["+other+"]")
		}
	}
	return nil
}

// onlyOne gives the one of several actions that is there.
func (o *given) onlyOne(names ...string) (string, error) {
	var found []string
	for _, name := range names {
		if o.has(name) {
			found = append(found, name)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	last := len(names) - 1
	list := "--" + strings.Join(names[:last], ", --")
	or := " or --"
	if last == 1 {
		or = ", --"
	}
	return "", misuse("Command must include exactly one action: %s%s%s", list, or, names[last])
}

// usage prints the options, one entry each.
func (t *tool) usage(w io.Writer) {
	fmt.Fprintln(w, t.about)
	fmt.Fprintf(w, "Examples:\n%s\n", t.example)
	fmt.Fprintln(w, "Options:")
	options := t.all()
	slices.SortFunc(options, func(a, b option) int { return cmp.Compare(a.name, b.name) })
	for _, p := range options {
		head := "--" + p.name
		switch {
		case p.optional:
			head += " [" + p.arg + "]"
		case p.arg != "":
			head += " <" + p.arg + ">"
		}
		text := p.help
		if p.fallback != "" {
			text += " (default: " + p.fallback + ")"
		}
		fmt.Fprintf(w, "  %s\n", head)
		for _, line := range wrap(text, 70) {
			fmt.Fprintf(w, "        %s\n", line)
		}
	}
}

// wrap breaks a text into lines, at blanks.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
