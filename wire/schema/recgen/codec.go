// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// titles are the names of the runtime's primitives.
var titles = map[string]string{
	"int8": "Int8", "int16": "Int16", "uint16": "Uint16", "int32": "Int32", "int64": "Int64", "float64": "Float64",
	"bool": "Bool", "string": "String", "bytes": "Bytes", "uuid": "UUID",
}

// in is the Go condition that the field is in the version, "" if it always is.
func (f *field) in() string {
	var c []string
	if f.from > 0 && f.from == f.to {
		return fmt.Sprintf("version == %d", f.from)
	}
	if f.from > 0 {
		c = append(c, fmt.Sprintf("version >= %d", f.from))
	}
	if f.to != math.MaxInt16 {
		c = append(c, fmt.Sprintf("version <= %d", f.to))
	}
	return strings.Join(c, " && ")
}

func (s *structure) split() (plain, tagged []*field) {
	for _, f := range s.fields {
		if f.tag < 0 {
			plain = append(plain, f)
		} else {
			tagged = append(tagged, f)
		}
	}
	slices.SortFunc(tagged, func(a, b *field) int { return cmp.Compare(a.tag, b.tag) })
	return plain, tagged
}

func (w writer) when(cond string, body func()) {
	if cond == "" {
		body()
		return
	}
	w.p("if %s {", cond)
	body()
	w.p("}")
}

func and(a, b string) string {
	if a == "" {
		return b
	}
	return a + " && " + b
}

func (w writer) encoder(s *structure) {
	plain, tagged := s.split()
	if s.kind == kindKey {
		w.p("func (v *%s) appendTo(b []byte) []byte {", s.name)
	} else {
		w.p("// AppendTo appends the encoding in a version.")
		w.p("func (v *%s) AppendTo(b []byte, version int16) []byte {", s.name)
	}
	for _, f := range plain {
		w.when(f.in(), func() { w.appendField(s, f) })
	}
	if s.flexible == none {
		w.p("return b\n}\n")
		return
	}
	if s.flexible > 0 {
		w.p("if version < %d {\nreturn b\n}", s.flexible)
	}
	if len(tagged) == 0 {
		w.p("b = schema.AppendUvarint(b, uint32(len(v.Unknown)))")
		w.p("return schema.AppendTags(b, v.Unknown)\n}\n")
		return
	}
	w.p("kept, n := v.Unknown, uint32(len(v.Unknown))\nvar mark int")
	for _, f := range tagged {
		w.p("if %s {\nn++\n}", and(f.in(), f.differs()))
	}
	w.p("b = schema.AppendUvarint(b, n)")
	for _, f := range tagged {
		w.p("if %s {", and(f.in(), f.differs()))
		w.p("b, kept = schema.AppendTagsBelow(b, kept, %d)\nb, mark = schema.BeginTag(b, %d)", f.tag, f.tag)
		w.appendField(s, f)
		w.p("b = schema.EndTag(b, mark)\n}")
	}
	w.p("return schema.AppendTags(b, kept)\n}\n")
}

// lengths writes an append whose name ends in Inflexible where the version is
// not flexible. The format's first verb is the place of that ending.
func (w writer) lengths(s *structure, f *field, format string, args ...any) {
	both := func(suffix string) { w.p(format, append([]any{suffix}, args...)...) }
	switch {
	case f.tag >= 0 || s.flexible <= f.from:
		both("")
	case s.flexible == none || f.to < s.flexible:
		both("Inflexible")
	default:
		w.p("if version >= %d {", s.flexible)
		both("")
		w.p("} else {")
		both("Inflexible")
		w.p("}")
	}
}

func (w writer) appendField(s *structure, f *field) {
	x := "v." + f.name
	if !f.array {
		w.appendValue(s, f, x)
		return
	}
	if f.nullable {
		w.p("if %s == nil {", x)
		w.lengths(s, f, "b = schema.AppendNull%s(b)")
		w.p("} else {")
	}
	w.lengths(s, f, "b = schema.AppendCount%s(b, len(%s))", x)
	w.p("for i := range %s {", x)
	w.appendValue(s, f, x+"[i]")
	w.p("}")
	if f.nullable {
		w.p("}")
	}
}

func (w writer) appendValue(s *structure, f *field, x string) {
	variable := f.base == "string" || f.base == "bytes"
	switch {
	case f.st != nil && f.nullable && !f.array && f.tag >= 0:
		w.p("if %s == nil {\nb = schema.AppendNull(b)\n} else {", x)
		w.p("b = %s.AppendTo(schema.AppendUvarint(b, 1), version)\n}", x)
	case f.st != nil && f.nullable && !f.array:
		w.p("if %s == nil {\nb = schema.AppendInt8(b, -1)\n} else {", x)
		w.p("b = %s.AppendTo(schema.AppendInt8(b, 1), version)\n}", x)
	case f.st != nil && s.kind == kindKey:
		w.p("b = %s.appendTo(b)", x)
	case f.st != nil:
		w.p("b = %s.AppendTo(b, version)", x)
	case f.nullable && !f.array:
		w.lengths(s, f, "b = schema.AppendNullable%[2]s%[1]s(b, %[3]s)", titles[f.base], x)
	case variable && f.goType != "":
		w.lengths(s, f, "b = schema.Append%[2]s%[1]s(b, %[3]s(%[4]s))", titles[f.base], f.base, x)
	case variable:
		w.lengths(s, f, "b = schema.Append%[2]s%[1]s(b, %[3]s)", titles[f.base], x)
	case f.goType != "" && f.base != "uuid":
		w.p("b = schema.Append%s(b, %s(%s))", titles[f.base], f.base, x)
	default:
		w.p("b = schema.Append%s(b, %s)", titles[f.base], x)
	}
}

func (w writer) decoder(s *structure) {
	plain, tagged := s.split()
	version := ", version int16"
	if s.kind == kindKey {
		version = ""
	}
	w.p("func (v *%s) decode(r *schema.Reader%s) {\n*v = %s", s.name, version, s.literal())
	for _, f := range plain {
		w.when(f.in(), func() { w.readField(f, "r") })
	}
	if s.flexible == none {
		w.p("}\n")
		return
	}
	if len(tagged) == 0 {
		w.p("for t := r.Tags(); t.Next(); {\nv.Unknown = t.Keep(v.Unknown)\n}\n}\n")
		return
	}
	w.p("for t := r.Tags(); t.Next(); {\nswitch {")
	for _, f := range tagged {
		w.p("case %s:\nr := t.Value()", and(f.in(), fmt.Sprintf("t.Key == %d", f.tag)))
		w.readField(f, "r")
	}
	w.p("default:\nv.Unknown = t.Keep(v.Unknown)\n}\n}\n}\n")
}

func (w writer) readField(f *field, r string) {
	x := "v." + f.name
	if !f.array {
		w.readValue(f, r, x)
		return
	}
	if f.nullable {
		if f.def == empty {
			w.p("%s = nil", x)
		}
		w.p("if n, ok := %s.NullableCount(%d); ok {", r, f.bytesMin())
	} else {
		w.p("if n := %s.Count(%d); n > 0 {", r, f.bytesMin())
	}
	w.p("%s = make([]%s, n)\nfor i := range %s {", x, f.goElement(), x)
	w.readValue(f, r, x+"[i]")
	w.p("}\n}")
}

func (w writer) readValue(f *field, r, x string) {
	switch {
	case f.st != nil && f.nullable && !f.array && f.tag >= 0:
		w.p("if %s = nil; %s.Uvarint() != 0 {\n%s = new(%s)\n%s.decode(%s, version)\n}", x, r, x, f.base, x, r)
	case f.st != nil && f.nullable && !f.array:
		w.p("if %s.Int8() >= 0 {\n%s = new(%s)\n%s.decode(%s, version)\n}", r, x, f.base, x, r)
	case f.st != nil:
		w.p("%s.decode(%s, version)", x, r)
	case f.nullable && !f.array:
		w.p("%s = %s.Nullable%s()", x, r, titles[f.base])
	case f.goType != "":
		w.p("%s = %s(%s.%s())", x, f.goType, r, titles[f.base])
	default:
		w.p("%s = %s.%s()", x, r, titles[f.base])
	}
}
