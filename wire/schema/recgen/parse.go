// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

type file struct {
	pkg     string
	imports []string
	structs []*structure
}

type kind int8

const (
	kindStruct kind = iota
	kindRecord
	kindControl
	kindKey
	kindValue
)

// none is the flexible version of what is never flexible.
const none = math.MaxInt16

// empty is the default of a nullable field that is not null unless it says so.
const empty = "empty"

// structure is a record, a control record, a key, a value or a struct.
type structure struct {
	kind     kind
	name     string
	doc      []string
	key      int // api key of a record, type of the others
	max      int // highest version
	flexible int // lowest version that is, or none
	lowest   bool
	written  []step // ascending by level
	fields   []*field
	line     int
}

// step: version is written from metadata.version level on.
type step struct{ version, level int }

type field struct {
	name     string
	doc      []string
	base     string // int8 … uuid, or a struct's name
	goType   string // "" if the base's own
	array    bool
	nullable bool
	from, to int // versions
	tag      int // -1: none
	def      string
	st       *structure
	line     int
}

var (
	basics = map[string]int{ // fewest bytes on the wire
		"int8": 1, "int16": 2, "uint16": 2, "int32": 4, "int64": 8, "float64": 8, "bool": 1, "string": 1, "bytes": 1, "uuid": 16,
	}
	headLine = regexp.MustCompile(`^(record|control|key|value|struct) (\w+)(?: (?:key|type) (\d+))?(?: versions 0-(\d+))?` +
		`(?: flexible (none|\d+\+))?(?: written ([\w@ ]+?))? \{$`)
	typeText = regexp.MustCompile(`^(\[\])?(\w+)(?:\(([\w.]+)\))?(\?)?$`)
	versions = regexp.MustCompile(`^(\d+)(?:\+|-(\d+))$`)
)

// parse reads the notation. Errors name the line.
func parse(name, text string) (*file, error) {
	f := &file{}
	var doc []string
	var cur *structure
	for i, line := range strings.Split(text, "\n") {
		n := i + 1
		line = strings.TrimSpace(line)
		var err error
		switch {
		case line == "":
			doc = nil
		case line[0] == '#':
			doc = append(doc, strings.TrimSpace(line[1:]))
		case cur != nil && line == "}":
			cur = nil
		case cur != nil:
			var fl *field
			if fl, err = parseField(line); err == nil {
				fl.doc, fl.line, doc = doc, n, nil
				cur.fields = append(cur.fields, fl)
			}
		case strings.HasPrefix(line, "package "):
			f.pkg, doc = strings.TrimPrefix(line, "package "), nil
		case strings.HasPrefix(line, "import "):
			f.imports, doc = append(f.imports, strings.TrimPrefix(line, "import ")), nil
		default:
			if cur, err = parseHead(line); err == nil {
				cur.doc, cur.line, doc = doc, n, nil
				f.structs = append(f.structs, cur)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if cur != nil {
		return nil, fmt.Errorf("%s:%d: %s has no end", name, cur.line, cur.name)
	}
	return f, resolve(name, f)
}

func parseHead(line string) (*structure, error) {
	m := headLine.FindStringSubmatch(line)
	if m == nil {
		return nil, fmt.Errorf("%q is no record, control, key, value or struct", line)
	}
	s := &structure{name: m[2]}
	switch m[1] {
	case "record":
		s.kind = kindRecord
	case "control":
		s.kind = kindControl
	case "key":
		s.kind, s.flexible = kindKey, none
	case "value":
		s.kind = kindValue
	}
	switch m[5] {
	case "":
	case "none":
		s.flexible = none
	default:
		s.flexible, _ = strconv.Atoi(strings.TrimSuffix(m[5], "+"))
	}
	if s.kind == kindKey && m[4]+m[5]+m[6] != "" {
		return nil, fmt.Errorf("%s: a key has one version, which is not flexible", s.name)
	}
	if (s.kind == kindStruct) != (m[3] == "") {
		return nil, fmt.Errorf("%s: a record needs a key or type, a struct has none", s.name)
	}
	s.key, _ = strconv.Atoi(m[3])
	s.max, _ = strconv.Atoi(m[4])
	for _, w := range strings.Fields(m[6]) {
		if w == "lowest" {
			s.lowest = true
			continue
		}
		v, level, _ := strings.Cut(w, "@")
		st := step{}
		var err error
		if st.version, err = strconv.Atoi(v); err == nil && level != "" {
			st.level, err = strconv.Atoi(level)
		}
		if err != nil || st.version > s.max {
			return nil, fmt.Errorf("%s: written %q", s.name, w)
		}
		s.written = append(s.written, st)
	}
	return s, nil
}

func parseField(line string) (*field, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return nil, fmt.Errorf("%q is no field", line)
	}
	m := typeText.FindStringSubmatch(words[1])
	if m == nil {
		return nil, fmt.Errorf("type %q", words[1])
	}
	f := &field{name: words[0], base: m[2], goType: m[3], array: m[1] != "", nullable: m[4] != "", to: math.MaxInt16, tag: -1}
	words = words[2:]
	if len(words) > 0 {
		if v := versions.FindStringSubmatch(words[0]); v != nil {
			f.from, _ = strconv.Atoi(v[1])
			if v[2] != "" {
				f.to, _ = strconv.Atoi(v[2])
			}
			words = words[1:]
		}
	}
	if len(words) > 1 && words[0] == "tag" {
		var err error
		if f.tag, err = strconv.Atoi(words[1]); err != nil || f.tag < 0 {
			return nil, fmt.Errorf("tag %q", words[1])
		}
		words = words[2:]
	}
	if len(words) == 2 && words[0] == "=" {
		f.def, words = words[1], nil
	}
	if len(words) > 0 {
		return nil, fmt.Errorf("%q is not understood", strings.Join(words, " "))
	}
	return f, nil
}

// resolve checks what one line cannot know.
func resolve(name string, f *file) error {
	if f.pkg == "" {
		return fmt.Errorf("%s: no package", name)
	}
	byName := map[string]*structure{}
	keys := map[[2]int]string{}
	for _, s := range f.structs {
		if byName[s.name] != nil {
			return fmt.Errorf("%s:%d: %s is defined twice", name, s.line, s.name)
		}
		byName[s.name] = s
		if s.kind == kindStruct {
			continue
		}
		if other, dup := keys[[2]int{int(s.kind), s.key}]; dup {
			return fmt.Errorf("%s:%d: %s has the key of %s", name, s.line, s.name, other)
		}
		keys[[2]int{int(s.kind), s.key}] = s.name
	}
	for _, s := range f.structs {
		tags := map[int]bool{}
		for _, fl := range s.fields {
			if err := fl.resolve(byName); err != nil {
				return fmt.Errorf("%s:%d: %w", name, fl.line, err)
			}
			if fl.tag >= 0 && fl.from < s.flexible {
				return fmt.Errorf("%s:%d: %s: a tagged field in a version that is not flexible", name, fl.line, fl.name)
			}
			if fl.st != nil && fl.st.flexible != s.flexible {
				return fmt.Errorf("%s:%d: %s: %s is flexible from another version on", name, fl.line, fl.name, fl.base)
			}
			if fl.tag >= 0 && tags[fl.tag] {
				return fmt.Errorf("%s:%d: tag %d is used twice", name, fl.line, fl.tag)
			}
			tags[fl.tag] = true
		}
	}
	return nil
}

func (f *field) resolve(byName map[string]*structure) error {
	if _, ok := basics[f.base]; !ok {
		f.st = byName[f.base]
		if f.st == nil || f.st.kind != kindStruct {
			return fmt.Errorf("%s: no type %s", f.name, f.base)
		}
	}
	if f.nullable && !f.array && f.base != "string" && f.base != "bytes" && f.st == nil {
		return fmt.Errorf("%s: a %s cannot be nullable", f.name, f.base)
	}
	if f.def == empty {
		if f.tag < 0 || !f.nullable || !f.array && f.st == nil {
			return fmt.Errorf("%s: only a nullable array or struct behind a tag is empty by default", f.name)
		}
		return nil
	}
	if f.def != "" && (f.nullable || f.array || f.st != nil || f.base == "bytes" || f.base == "uuid") {
		return fmt.Errorf("%s: a %s has no other default than its zero value", f.name, f.base)
	}
	return nil
}

// bytesMin is the least that one element takes on the wire, whatever the
// version and whether it is flexible; it bounds what a count may make the
// decoder allocate.
func (f *field) bytesMin() int {
	if f.st == nil {
		return basics[f.base]
	}
	n := 0
	if f.st.flexible == 0 {
		n = 1 // the count of tagged fields
	}
	for _, in := range f.st.fields {
		switch {
		case in.tag >= 0 || in.from > 0 || in.to != math.MaxInt16:
		case in.array || in.nullable:
			n++
		default:
			n += in.bytesMin()
		}
	}
	return n
}
