// SPDX-License-Identifier: Apache-2.0

package generate

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestTemplates(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for text, want := range map[string]string{
		``:                    ``,
		`plain } }} text`:     `plain } }} text`,
		`{"id":{{n}}}`:        `{"id":4}`,
		`{{n 0}} {{n 10 -2}}`: `3 4`,
		`{{ int -5 5 }}`:      `-?[0-5]`,
		`{{int 7 7}}`:         `7`,
		`{{int -9223372036854775808 9223372036854775807}}`: `-?\d+`,
		`{{float 1 2}}`:              `1\.\d{6}`,
		`{{bool}}`:                   `true|false`,
		`{{text 25}}`:                `[A-Za-z0-9]{25}`,
		`{{hex 3}}{{hex 0}}`:         `[0-9a-f]{3}`,
		`{{base64 3}}`:               `[A-Za-z0-9+/]{4}`,
		`{{bytes 9}}`:                `(?s).{9}`,
		`{{uuid}}`:                   `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`,
		`{{pick a "b c" "}}"}}`:      `a|b c|}}`,
		`{{zipf 3}}`:                 `[123]`,
		`{{now}}`:                    `2026-01-02T03:04:05\.006Z`,
		`{{now 2006 15:04}}`:         `2026 03:04`,
		`{{ms}}`:                     `1767323045006`,
		`{{"{{"}}n{{"}} \u00e9\n"}}`: `\{\{n}} é\n`,
	} {
		parsed, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		pattern := regexp.MustCompile("^(?:" + want + ")$")
		if !strings.Contains(text, "bytes") && strings.HasPrefix(text, "plain") {
			pattern = regexp.MustCompile("^" + regexp.QuoteMeta(want) + "$")
		}
		for seed := range uint64(50) {
			s := State{N: 3, Now: at, Seed: seed}
			got := parsed.Append(nil, &s)
			if strings.Contains(text, "bytes") {
				if len(got) != 9 {
					t.Errorf("%s: %d bytes", text, len(got))
				}
			} else if !pattern.Match(got) {
				t.Errorf("%s: got %q, want %s", text, got, want)
				break
			}
			again := State{N: 3, Now: at, Seed: seed}
			if string(parsed.Append(nil, &again)) != string(got) {
				t.Errorf("%s: not the same from the same seed", text)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{{n": "has no }}", "{{": "has no }}", "{{}}": "it is empty", "{{m}}": "m is not known", `{{"a" b}}`: "words follow", `{{"a`: "has no end",
		"{{n x}}": "x is not an integer", "{{n 1 2 3}}": "n takes 0 to 2 words", "{{int 1}}": "int takes 2 words", "{{int 2 1}}": "2 is more than 1",
		"{{text -1}}": "not between", "{{bytes 99999999999}}": "not between", "{{zipf 0}}": "less than 1", "{{float a 1}}": "not two numbers",
		"{{float 2 1}}": "not two numbers", "{{float NaN 1}}": "not two numbers", "{{pick}}": "pick takes", "{{uuid 1}}": "uuid takes 0 words",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Every number of a range comes up, none outside of it, and zipf prefers small
// ones.
func TestDistributions(t *testing.T) {
	counts := func(text string) map[int]int {
		parsed, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		m := map[int]int{}
		var s State
		for range 10_000 {
			n, err := strconv.Atoi(string(parsed.Append(nil, &s)))
			if err != nil {
				t.Fatal(err)
			}
			m[n]++
		}
		return m
	}
	even := counts("{{int -2 2}}")
	for n := -2; n <= 2; n++ {
		if even[n] < 1800 || even[n] > 2200 {
			t.Errorf("%d came %d times of 10000", n, even[n])
		}
	}
	steep := counts("{{zipf 1000}}")
	if len(even) != 5 || steep[1] < 5*steep[10] || steep[0] > 0 || len(steep) < 300 {
		t.Errorf("%d different; 1 came %d times, 10 %d times", len(steep), steep[1], steep[10])
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"a":{{n 1 2}},"b":"{{pick x "y z"}}{{now 15:04}}"}`)
	f.Add(`{{float 0 1e300}}{{int -9223372036854775808 9223372036854775807}}{{zipf 9223372036854775807}}`)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		for _, p := range parsed.parts {
			if p.do != nil && p.a > 1000 {
				return // memory of the test, not of the parser
			}
		}
		parsed.Append(nil, &State{N: 1 << 62, Now: time.Unix(0, 0), Seed: 1})
	})
}

func BenchmarkAppend(b *testing.B) {
	parsed, err := Parse(`{"id":{{n}},"user":"u{{int 1 1000}}","name":"{{text 12}}","at":{{ms}}}`)
	if err != nil {
		b.Fatal(err)
	}
	var s State
	var out []byte
	for b.Loop() {
		out = parsed.Append(out[:0], &s)
	}
}
