// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// The age lies between what the process has worked and what /proc says.
func TestAgeAtMain(t *testing.T) {
	started, ok := startTicks()
	if !ok || started <= 0 {
		t.Fatalf("start %v, %v", started, ok)
	}
	before := time.Now()
	age := ageAtMain()
	if age <= 0 || age > time.Hour {
		t.Errorf("age %v", age)
	}
	if again := ageAtMain(); again < age || again > age+time.Since(before)+time.Second {
		t.Errorf("age %v, then %v", age, again)
	}
}
