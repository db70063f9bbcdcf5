// SPDX-License-Identifier: Apache-2.0

package script

import (
	"strings"
	"testing"
)

// count says how many lines of commands a block has; "silent" says nothing.
func count(commands []string) string {
	if commands[0] == "silent" {
		return ""
	}
	return strings.Repeat("line\n", len(commands))
}

func TestPlay(t *testing.T) {
	for what, c := range map[string]struct{ in, want string }{
		"as it is":               {"a\nb\n----\nline\nline\n\nc\n----\nline\n", "a\nb\n----\nline\nline\n\nc\n----\nline\n"},
		"another outcome":        {"a\n----\nother\n", "a\n----\nline\n"},
		"too long an outcome":    {"a\n----\nline\nline\n\nb\n----\nline\n", "a\n----\nline\n\nb\n----\nline\n"},
		"no outcome":             {"a\n----\n\nb\n----\n", "a\n----\nline\n\nb\n----\nline\n"},
		"no dashes":              {"a\n\nb", "a\n----\nline\n\nb\n----\nline\n"},
		"nothing comes of it":    {"silent\n----\nline\n", "silent\n----\n"},
		"comments":               {"# one\n\n# two\na\n# three\n----\nline\n", "# one\n\n# two\na\n# three\n----\nline\n"},
		"empty lines at its end": {"a\n----\nline\n\n\n", "a\n----\nline\n"},
	} {
		if got := play(c.in, count); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", what, got, c.want)
		}
		if again := play(c.want, count); again != c.want {
			t.Errorf("%s: what was written changes when it is run: %s", what, again)
		}
	}
}
