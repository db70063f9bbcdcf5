// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	open := point{kind: unspecified}
	at := func(text string) point {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return point{kind: atTime, since: when}
	}
	for _, c := range []struct {
		text string
		want span
	}{
		{"start", span{point{kind: atStart}, open}},
		{"end", span{point{kind: atEnd}, open}},
		{"7", span{point{kind: atOffset, n: 7}, open}},
		{"7:", span{point{kind: atOffset, n: 7}, open}},
		{":7", span{point{kind: atStart}, point{kind: atOffset, n: 7}}},
		{"7:9", span{point{kind: atOffset, n: 7}, point{kind: atOffset, n: 9}}},
		{"+5", span{point{kind: afterStart, n: 5}, open}},
		{"-5", span{point{kind: beforeEnd, n: 5}, open}},
		{"-5:-2", span{point{kind: beforeEnd, n: 5}, point{kind: beforeEnd, n: 2}}},
		{"start:+3", span{point{kind: atStart}, point{kind: afterStart, n: 3}}},
		{"@now", span{point{kind: atTime, since: now}, open}},
		{"@-90m", span{at("2026-05-01T10:30:00Z"), open}},
		{"@-2h:-1h", span{at("2026-05-01T10:00:00Z"), at("2026-05-01T11:00:00Z")}},
		{"@2026-01-02", span{at("2026-01-02T00:00:00Z"), open}},
		{"@2026-01-02:2026-01-03", span{at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z")}},
		{"@2026-01-02T03:04:05Z:2026-01-02T04:04:05Z", span{at("2026-01-02T03:04:05Z"), at("2026-01-02T04:04:05Z")}},
		{"@2026-01-02T03:04:", span{at("2026-01-02T03:04:00Z"), open}},
		{"@:2026-01-02", span{point{kind: atStart}, at("2026-01-02T00:00:00Z")}},
		{"@-2d", span{at("2026-04-29T12:00:00Z"), open}},
		{"7..9", span{point{kind: atOffset, n: 7}, point{kind: atOffset, n: 9}}},
		{"..end", span{point{kind: atStart}, point{kind: atEnd}}},
		{"-5..", span{point{kind: beforeEnd, n: 5}, open}},
		{"100..@-1h", span{point{kind: atOffset, n: 100}, at("2026-05-01T11:00:00Z")}},
		{"@2026-01-02T03:04:05Z..@2026-01-03", span{at("2026-01-02T03:04:05Z"), at("2026-01-03T00:00:00Z")}},
		{"@1700000000000", span{point{kind: atTime, since: time.UnixMilli(1700000000000)}, open}},
	} {
		got, err := parseSpan(c.text, now)
		if err != nil || !samePoint(got.from, c.want.from) || !samePoint(got.to, c.want.to) {
			t.Errorf("%s: got %+v, %v", c.text, got, err)
		}
	}
	for _, text := range []string{"", ":", "x", "1:x", "++1", "+-1", "--1", "+", "-", "1:2:3", "@", "@x", "@1:x", "@2026-13-01", "9223372036854775808", "1.5", "..", "1..x", "@x..1", "1..2..3", "1..@", "@-d", "@--1d", "@-99999d",
		"5:2", "5..2", "-2:-5", "+3:+1", "end:start", "@-1h:-2h", "@2026-01-03..@2026-01-02"} {
		if got, err := parseSpan(text, now); err == nil || !strings.Contains(err.Error(), "--at") {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func samePoint(a, b point) bool {
	return a.kind == b.kind && a.n == b.n && a.since.Equal(b.since)
}

func FuzzParseSpan(f *testing.F) {
	f.Add("@2026-01-02T03:04:05Z:-1h")
	f.Add("-5:+3")
	f.Add("100..@-7d")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSpan(text, time.Unix(0, 0))
		if err == nil && (s.from.n < 0 || s.to.n < 0 || s.from.kind == unspecified) {
			t.Fatalf("%q: %+v", text, s)
		}
	})
}

// The heap may grow to the floor, and beyond it follows Go's usual rule.
func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live int64
		want int
	}{{0, 700}, {4 << 20, 700}, {8 << 20, 300}, {16 << 20, 100}, {1 << 30, 100}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d live: %d, want %d", c.live, got, c.want)
		}
	}
}
