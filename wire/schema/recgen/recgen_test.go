// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedIsCurrent: every committed file is what its definitions give.
func TestGeneratedIsCurrent(t *testing.T) {
	files, err := filepath.Glob("../../../*/*/*.recs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no definitions found: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := compile(filepath.Base(name), text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		out := filepath.Join(filepath.Dir(name), "records_gen.go")
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what %s gives (%v): run go generate", out, name, err)
		}
	}
}

// TestErrors: a mistake in the notation is named with its line.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no package", "record A key 1 {\n}\n", "no package"},
		{"no end", "package p\nrecord A key 1 {\n", ":2: A has no end"},
		{"no key", "package p\nrecord A {\n}\n", ":2: A: a record needs a key"},
		{"key of a struct", "package p\nstruct A key 1 {\n}\n", ":2: A: a record needs a key"},
		{"nonsense", "package p\nrecrod A key 1 {\n}\n", ":2: \"recrod A key 1 {\" is no record"},
		{"unknown type", "package p\nrecord A key 1 {\n  X int7\n}\n", ":3: X: no type int7"},
		{"record as a type", "package p\nrecord A key 1 {\n  X A\n}\n", ":3: X: no type A"},
		{"nullable number", "package p\nrecord A key 1 {\n  X int8?\n}\n", ":3: X: a int8 cannot be nullable"},
		{"default of an array", "package p\nrecord A key 1 {\n  X []int8 = 1\n}\n", ":3: X: a int8 has no other default"},
		{"empty without a tag", "package p\nrecord A key 1 {\n  X []int8? = empty\n}\n", ":3: X: only a nullable array"},
		{"a flexible key", "package p\nkey A type 1 flexible 0+ {\n}\n", ":2: A: a key has one version"},
		{"a tag in a version that is not flexible", "package p\nvalue A type 1 versions 0-1 flexible 1+ {\n  X int8 tag 0\n}\n", ":3: X: a tagged field"},
		{"a struct that is flexible elsewhere", "package p\nstruct B {\n  Y int8\n}\nvalue A type 1 flexible none {\n  X []B\n}\n", ":6: X: B is flexible from another"},
		{"trailing words", "package p\nrecord A key 1 {\n  X int8 oops\n}\n", ":3: \"oops\" is not understood"},
		{"same tag", "package p\nrecord A key 1 {\n  X int8 tag 1\n  Y int8 tag 1\n}\n", ":4: tag 1 is used twice"},
		{"same key", "package p\nrecord A key 1 {\n}\nrecord B key 1 {\n}\n", ":4: B has the key of A"},
		{"same name", "package p\nstruct A {\n}\nstruct A {\n}\n", ":4: A is defined twice"},
		{"written above the highest", "package p\nrecord A key 1 versions 0-1 written 2@3 {\n}\n", ":2: A: written \"2@3\""},
	} {
		if _, err := compile("x.recs", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestElementSizes: the least size of an array's element, by which counts are
// bounded, leaves out what some versions lack.
func TestElementSizes(t *testing.T) {
	f, err := parse("x.recs", "package p\nstruct In {\n A int32\n B string\n C uuid 1+\n D []int64\n E int8 tag 0\n}\nrecord R key 1 {\n X []In\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.structs[1].fields[0].bytesMin(); got != 4+1+1+1 {
		t.Errorf("an In takes at least %d bytes, want 7", got)
	}
}

// TestEmptyDefault: where the default is empty, null is written and empty is
// not, and what is absent reads as empty.
func TestEmptyDefault(t *testing.T) {
	code, err := compile("x.recs", []byte("package p\nstruct In {\n A int32\n}\nvalue V type 1 {\n X []int32? tag 0 = empty\n Y In? tag 1 = empty\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"if v.X == nil || len(v.X) != 0 {", "if v.Y == nil || v.Y.A != 0 || len(v.Y.Unknown) != 0 {", "*v = V{X: []int32{}, Y: &In{}}",
	} {
		if !bytes.Contains(code, []byte(want)) {
			t.Errorf("no %q in:\n%s", want, code)
		}
	}
}
