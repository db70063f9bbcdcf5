// SPDX-License-Identifier: Apache-2.0

package pace

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Rate{"1": 1, "100/s": 100, "2.5k/s": 2500, "1M/s": 1e6, "30/m": 0.5, "36/h": 0.01, "3k": 3000} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "x", "1/", "1/d", "1/s/s", "NaN", "Inf", "2G", "k/s", "1e300"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("2.5k/s")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := Parse(text); err == nil && !(r > 0 && r <= rateMax) {
			t.Fatalf("%q is %v", text, r)
		}
	})
}

// Events are due at even distances, however long the waits really were.
func TestPlanIsSteady(t *testing.T) {
	start := time.Unix(1000, 0)
	p, now := NewPlan(100, start), start
	for n := range 1000 {
		now = now.Add(p.Next(now))
		if late := now.Sub(start.Add(time.Duration(n) * 10 * time.Millisecond)); late < -time.Microsecond || late > 3*time.Millisecond {
			t.Fatalf("event %d is %v late", n, late)
		}
		now = now.Add(3 * time.Millisecond) // the work itself, and a timer that is late
	}
}

// A short delay is made up for; a long one is not followed by a burst.
func TestPlanAfterADelay(t *testing.T) {
	now := time.Unix(1000, 0)
	p := NewPlan(10, now)
	p.Next(now)
	now = now.Add(500 * time.Millisecond)
	for range 5 {
		if wait := p.Next(now); wait != 0 {
			t.Fatalf("waits %v to catch up", wait)
		}
	}
	if wait := p.Next(now); wait != 100*time.Millisecond {
		t.Fatalf("waits %v, want 100ms", wait)
	}
	now = now.Add(time.Minute)
	if wait := p.Next(now); wait != 0 {
		t.Fatalf("waits %v", wait)
	}
	if wait := p.Next(now); wait != 100*time.Millisecond {
		t.Fatalf("a burst after a long delay: %v", wait)
	}
}
