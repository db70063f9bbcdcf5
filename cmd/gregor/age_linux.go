// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc, USER_HZ.
const tick = 10 * time.Millisecond

// execSlack is how much longer a process may have lived than it worked before
// this counts as a shell that ran for a while and then became us by exec.
const execSlack = 500 * time.Millisecond

// ageAtMain gives the time between exec and now; it is called first thing in
// main. Two clocks bound it. Until main, the process does little but compute,
// so the processor time it used is close and exact to the microsecond, but
// misses waits for a cold disk. The start time in /proc misses nothing, but is
// cut to 10 ms, and is that of fork rather than of exec.
func ageAtMain() time.Duration {
	worked := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
	started, ok := startTicks()
	if !ok {
		return worked
	}
	return ageOf(worked, clock(unix.CLOCK_BOOTTIME)-started)
}

// ageOf is what the two clocks come to.
func ageOf(worked, lived time.Duration) time.Duration {
	if lived-tick > worked+execSlack {
		return worked
	}
	return min(max(worked, lived-tick), lived)
}

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// startTicks reads when the process started, since boot: field 22 of
// /proc/self/stat. Field 2, the name, may hold anything, so fields are counted
// after its closing parenthesis.
func startTicks() (time.Duration, bool) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const start = 22 - 3 // the first field after the name is the third
	if len(fields) <= start {
		return 0, false
	}
	n, err := strconv.ParseInt(string(fields[start]), 10, 64)
	return time.Duration(n) * tick, err == nil
}
