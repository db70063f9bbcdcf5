// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"PT1H": time.Hour, "P1DT2H3M4.5S": 26*time.Hour + 3*time.Minute + 4500*time.Millisecond, "PT0S": 0,
		"PT0,5S": time.Second / 2, "-PT5M": -5 * time.Minute, "PT-5M": -5 * time.Minute, "pt2s": 2 * time.Second} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "P", "PT", "P1DT", "1H", "PT1X", "P99999999999D", "P1Y"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestDateTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"2026-01-02T03:04:05.678": "2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678+0200": "2026-01-02T01:04:05.678Z",
		"2026-01-02T03:04:05.678+02:00": "2026-01-02T01:04:05.678Z", "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z"} {
		if got, err := parseDateTime(text); err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2026-01-02", "2026-13-02T03:04:05.678", "T"} {
		if got, err := parseDateTime(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
