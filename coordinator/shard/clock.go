// SPDX-License-Identifier: Apache-2.0

package shard

import "time"

// clock is the time that a machine is told: that of the wall, without its jumps.
// A machine's sessions and its records' timestamps are of one time, but a clock
// that is set must not end all sessions at once. So the machine's time goes as
// the monotonic clock does, and moves towards the wall's by a tenth of what has
// passed. Only a wall clock that was off by more than a day is taken over at
// once: one that had not been set yet. The zero value starts with the wall's.
type clock struct {
	wall time.Duration // of the machine, since 1970
	last time.Time
}

const (
	// slew is the part of the time that has passed by which the clock may differ.
	slew = 10
	// stepMin is the difference that is taken over at once.
	stepMin = 24 * time.Hour
)

// nowMs is the machine's time at now.
func (c *clock) nowMs(now time.Time) int64 {
	wall := time.Duration(now.UnixNano())
	if c.last.IsZero() {
		c.last, c.wall = now, wall
	}
	passed := max(now.Sub(c.last), 0) // of the monotonic clock
	c.last = now
	return c.move(wall, passed).Milliseconds()
}

func (c *clock) move(wall, passed time.Duration) time.Duration {
	c.wall += passed
	gap := wall - c.wall
	if gap.Abs() < stepMin {
		most := passed / slew
		gap = min(max(gap, -most), most)
	}
	c.wall += gap
	return c.wall
}
