// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// Of the two clocks the one that knows more is believed.
func TestAgeOf(t *testing.T) {
	const ms = time.Millisecond
	for name, x := range map[string]struct{ worked, lived, age time.Duration }{
		"it computed all the time":               {30 * ms, 33 * ms, 30 * ms},
		"it waited for a cold disk":              {30 * ms, 300 * ms, 290 * ms},
		"a shell ran for minutes, then exec":     {30 * ms, 5 * time.Minute, 30 * ms},
		"it worked on two processors":            {50 * ms, 40 * ms, 40 * ms},
		"it is younger than a tick":              {2 * ms, 3 * ms, 2 * ms},
		"the longest wait that is still ours":    {30 * ms, 540 * ms, 530 * ms},
		"the shortest that is not, is a shell's": {30 * ms, 541 * ms, 30 * ms},
	} {
		if age := ageOf(x.worked, x.lived); age != x.age {
			t.Errorf("%s: %v, want %v", name, age, x.age)
		}
	}
}

// This process has an age, and it is not that of the machine.
func TestAgeAtMain(t *testing.T) {
	started, ok := startTicks()
	if !ok || started <= 0 {
		t.Fatalf("start %v, %v", started, ok)
	}
	if age := ageAtMain(); age <= 0 || age > time.Hour {
		t.Errorf("age %v", age)
	}
}
