// SPDX-License-Identifier: Apache-2.0

package golden

import "testing"

func TestFirstDifference(t *testing.T) {
	for want, c := range map[string][2]string{
		"line 2\nin the file b\nmade        c": {"a\nb\n", "a\nc\n"},
		"3 lines in the file, 2 made":          {"a\nb\nc", "a\nb"},
	} {
		if got := firstDifference(c[0], c[1]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
