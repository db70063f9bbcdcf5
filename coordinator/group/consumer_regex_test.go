// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"strings"
	"testing"

	"gregor/base/kafka"
)

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
