// SPDX-License-Identifier: Apache-2.0

package kafka

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessagesFitTheProtocol(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("a", 32767), strings.Repeat("a", 40_000), strings.Repeat("a", 32766) + "äöü", "a" + strings.Repeat("€", 20_000), strings.Repeat("\xff", 40_000)} {
		got := Message(text)
		if len(got) > 32767 || !strings.HasPrefix(text, got) || len(text) > 32767 && len(got) < 32767-4 {
			t.Errorf("a text of %d bytes becomes one of %d", len(text), len(got))
		}
		if utf8.ValidString(text) != utf8.ValidString(got) {
			t.Errorf("a text of %d bytes is cut inside a character", len(text))
		}
	}
}
