// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"
	"time"
)

// TestClock: what a wall clock that is set does to a session of 45 s.
func TestClock(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name    string
		jump    time.Duration
		least   time.Duration // machine time after 40 s of real time
		most    time.Duration
		settled time.Duration // when it is the wall's again
	}{
		{"none", 0, 40 * time.Second, 40 * time.Second, 0},
		{"an hour ahead", time.Hour, 40 * time.Second, 44 * time.Second, 11 * time.Hour},
		{"an hour back", -time.Hour, 36 * time.Second, 40 * time.Second, 11 * time.Hour},
		{"a second ahead", time.Second, 41 * time.Second, 41 * time.Second, 11 * time.Second},
		{"twenty years ahead", 20 * 365 * day, 20*365*day + 40*time.Second, 20*365*day + 40*time.Second, 0},
		{"twenty years back", -20 * 365 * day, -20*365*day + 40*time.Second, -20*365*day + 40*time.Second, 0},
	} {
		const start = 1000 * day
		k := clock{wall: start}
		wall := start + c.jump
		var at time.Duration
		for range 400 {
			wall += 100 * time.Millisecond
			before := at
			at = k.move(wall, 100*time.Millisecond) - start
			if c.jump.Abs() < day && at < before {
				t.Errorf("%s: time runs back", c.name)
			}
		}
		if at < c.least || at > c.most {
			t.Errorf("%s: %v have passed after 40 s", c.name, at)
		}
		wall += c.settled
		if at = k.move(wall, c.settled); at != wall {
			t.Errorf("%s: %v from the wall after %v", c.name, wall-at, c.settled)
		}
	}
}

// TestClockOfReadings: the first reading is the wall's; a reading that comes out
// of order does not turn the clock back.
func TestClockOfReadings(t *testing.T) {
	var c clock
	start := time.Now()
	if got := c.nowMs(start); got != start.UnixMilli() {
		t.Errorf("%d, the wall says %d", got, start.UnixMilli())
	}
	later := c.nowMs(start.Add(time.Minute))
	if later != start.Add(time.Minute).UnixMilli() {
		t.Errorf("a minute later: %d", later-start.UnixMilli())
	}
	if again := c.nowMs(start); again < later-1 {
		t.Errorf("back to %d from %d", again, later)
	}
}
