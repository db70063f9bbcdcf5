// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gregor/base/kafka"
)

// What Kafka's library (RE2/J) takes for valid, and what it has match, which is the whole name.
func TestRegexAsKafka(t *testing.T) {
	names := []string{"a", "ab", "A", "orders", "orders.created", "1", "..", ".E"}
	for _, c := range []struct {
		regex   string
		matches []string // nil: not valid
	}{
		{`\pN`, []string{"1"}},
		{`\p{Lu}|\p{Greek}`, []string{"A"}},
		{`\p{Foo}`, nil},
		{`(?i)ORDERS(?:\..*)?`, []string{"orders", "orders.created"}},
		{`(?P<n>a)|(?<m>ab)`, []string{"a", "ab"}},
		{`[[:alpha:]]{1,2}?`, []string{"a", "ab", "A"}},
		{`^a$`, []string{"a"}},
		{`a|`, []string{"a"}},
		{`\Q..\E`, []string{".."}},
		{`\Q..`, []string{".."}},
		{`\Q.\EE`, []string{".E"}},
		{`a)(b`, nil}, {`a**`, nil}, {`a{1001}`, nil}, {`x{2,1}`, nil}, {`(?=a)`, nil}, {`(?>a)`, nil}, {`\1`, nil}, {`\Z`, nil}, {`\u0041`, nil}, {`(?x)a`, nil}, {`[[:foo:]]`, nil},
	} {
		compiled, err := compileRegex(c.regex, 4096)
		if (err == nil) != (c.matches != nil) {
			t.Errorf("%s: %v", c.regex, err)
			continue
		}
		var found []string
		for _, name := range names {
			if err == nil && compiled.MatchString(name) {
				found = append(found, name)
			}
		}
		if !slices.Equal(found, c.matches) {
			t.Errorf("%s matches %v, not %v", c.regex, found, c.matches)
		}
	}
}

// A regex is as long as what it stands for: a few bytes may stand for a million
// parts, each of which would be looked at for each letter of each topic's name.
func TestRegexIsMeasuredWrittenOut(t *testing.T) {
	long := strings.Repeat("a.(b|cd)*", 455)
	for _, c := range []struct {
		regex string
		ok    bool
	}{
		{long + ".", true},
		{long + "..", false}, // 4097 bytes
		{`[a-z]{1,249}`, true},
		{`(ab){2000}`, false}, // more than RE2 takes
		{`(.?){600}(.?){600}`, true},
		{strings.Repeat(`(.?){1000}`, 3), false},
		{`((a{10}){10}){10,}`, true},
		{`((a{10}b){10}c){100}`, false},
		{`(?i)(x{500}|y){9}`, false},
	} {
		if _, err := compileRegex(c.regex, 4096); (err == nil) != c.ok || err != nil && !errors.Is(err, kafka.InvalidRegularExpression) {
			t.Errorf("%.40s: %v", c.regex, err)
		}
	}
}
