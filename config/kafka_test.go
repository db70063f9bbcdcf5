// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"gregor/base/kafka"
)

// The files in testdata were written by Apache Kafka 4.4.0 and the JDK; see
// KafkaKeys.java there.

func table(t *testing.T, file string) [][]string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		rows = append(rows, strings.Split(line, "\t"))
	}
	return rows
}

// changedDefaults are the defaults that are gregor's on purpose.
var changedDefaults = map[string]string{
	"listeners": "PLAINTEXT://127.0.0.1:9092",
	"log.dir":   "./data",
}

// Every key of Kafka is here with Kafka's type, default and scope, and takes
// the values that Kafka takes.
func TestKeysAreKafkas(t *testing.T) {
	for _, c := range []struct {
		file   string
		lookup func(string) (*Definition, bool)
		known  []*Definition
		scopes bool
	}{
		{"broker-keys.tsv", Lookup, Definitions(), true},
		{"topic-keys.tsv", LookupTopic, TopicDefinitions(), false},
	} {
		kafkas := map[string]bool{}
		for _, row := range table(t, c.file) {
			name, typeName, value, scope, hidden, taken := row[0], row[1], row[2], row[3], row[4], row[5]
			kafkas[name] = true
			d, ok := c.lookup(name)
			if !ok {
				t.Errorf("%s: %s is missing", c.file, name)
				continue
			}
			if got := strings.ToUpper(d.Type.String()); got != typeName {
				t.Errorf("%s: type %s, Kafka's is %s", name, got, typeName)
			}
			if want, changed := changedDefaults[name]; changed {
				if d.Default != want {
					t.Errorf("%s: default %q, want our own %q", name, d.Default, want)
				}
			} else if wantNull := value == "null"; d.Null != wantNull || !wantNull && "="+d.Default != value {
				t.Errorf("%s: default %q (null %v), Kafka's is %s", name, d.Default, d.Null, value)
			}
			if c.scopes && d.Scope.String() != scope {
				t.Errorf("%s: scope %s, Kafka's is %s", name, d.Scope, scope)
			}
			if d.Hidden != (hidden == "true") {
				t.Errorf("%s: hidden is %v", name, d.Hidden)
			}
			if d.Type != Class {
				checkTaken(t, d, taken)
			}
		}
		for _, d := range c.known {
			if own := strings.HasPrefix(d.Name, "gregor."); own == kafkas[d.Name] {
				t.Errorf("%s: gregor's own: %v, Kafka's: %v", d.Name, own, kafkas[d.Name])
			}
			if d.Doc == "" {
				t.Errorf("%s has no documentation", d.Name)
			}
		}
	}
}

// checkTaken compares verdicts and canonical texts on all candidates.
func checkTaken(t *testing.T, d *Definition, taken string) {
	t.Helper()
	want := map[string]string{}
	for _, entry := range strings.Split(taken, "|") {
		value, canonical, changed := strings.Cut(entry, "=")
		if !changed {
			canonical = value
		}
		want[value] = canonical
	}
	for _, value := range candidates(t, d.Type) {
		canonical, kafkaTakes := want[value]
		v, err := d.parse(value)
		switch {
		case kafkaTakes && err != nil:
			t.Errorf("%s=%q: Kafka takes it, we say: %v", d.Name, value, err)
		case !kafkaTakes && err == nil:
			t.Errorf("%s=%q: Kafka refuses it, we take it", d.Name, value)
		case kafkaTakes && format(v) != canonical:
			t.Errorf("%s=%q: Kafka reads %q, we %q", d.Name, value, canonical, format(v))
		}
	}
}

// candidates reads the values out of the program that asked Kafka.
func candidates(t *testing.T, typ Type) []string {
	t.Helper()
	program, err := os.ReadFile("testdata/KafkaKeys.java")
	if err != nil {
		t.Fatal(err)
	}
	array := map[Type]string{Int: "NUMBERS", Short: "NUMBERS", Long: "NUMBERS", Double: "DOUBLES", Boolean: "BOOLEANS"}[typ]
	if array == "" {
		array = "TEXTS"
	}
	_, rest, _ := strings.Cut(string(program), array+" = {")
	list, _, _ := strings.Cut(rest, "};")
	var out []string
	for i, part := range strings.Split(list, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		}
	}
	if len(out) < 5 {
		t.Fatalf("no %s in KafkaKeys.java", array)
	}
	return out
}

// What a client is told about a topic's configuration is Kafka's text.
func TestTopicRefusals(t *testing.T) {
	below := map[string]string{"log.cleaner.max.compaction.lag.ms": "1000"}
	for _, row := range table(t, "topic-refusals.tsv") {
		key, value, want := row[0], row[1], row[2]
		told := "taken"
		if err := ValidateTopic(map[string]string{key: value}, nil, below, nil); err != nil {
			told = err.Error()
			if code, ok := kafka.CodeOf(err); !ok || code != kafka.InvalidConfig {
				t.Errorf("%s=%s: code %v", key, value, code)
			}
		}
		if told != want {
			t.Errorf("%s=%s:\n got %s\nwant %s", key, value, told, want)
		}
	}
}

func TestRemoteStorageStaysWhileItHoldsData(t *testing.T) {
	existing := map[string]string{"remote.storage.enable": "true"}
	err := ValidateTopic(map[string]string{"remote.storage.enable": "false"}, existing, nil, nil)
	if !errors.Is(err, kafka.InvalidConfig) {
		t.Errorf("got %v", err)
	}
	err = ValidateTopic(map[string]string{"remote.storage.enable": "false", "remote.log.delete.on.disable": "true"}, existing, nil, nil)
	if err != nil {
		t.Error(err)
	}
}

func TestPropertiesSyntaxIsJavas(t *testing.T) {
	text, err := os.ReadFile("testdata/syntax.properties")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseProperties("syntax.properties", string(text))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, p := range got {
		values[p.key] = p.value
	}
	answers, err := os.ReadFile("testdata/syntax.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(answers)), "\n")
	for _, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		k, v := unhex(t, key), unhex(t, value)
		if got, ok := values[k]; !ok || got != v {
			t.Errorf("%q: Java reads %q, we %q (there: %v)", k, v, got, ok)
		}
	}
	if len(values) != len(lines) {
		t.Errorf("Java reads %d keys, we %d: %q", len(lines), len(values), values)
	}
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "x"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPropertiesErrors(t *testing.T) {
	for _, text := range []string{`a=1` + "\n" + `b=\u12`, `a=1` + "\n" + `b=\uzzzz`} {
		_, err := parseProperties("server.properties", text)
		if err == nil || !strings.HasPrefix(err.Error(), "server.properties:2: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add("a=1\nb\\\n c:d")
	f.Add(`\u0041\ud83d\ude00=\`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseProperties("f", text)
		if err != nil {
			return
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + 1
		for _, p := range got {
			if p.line < 1 || p.line > lines {
				t.Fatalf("%q stands in line %d of %d", p.key, p.line, lines)
			}
		}
	})
}
