// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "time"

// ageAtMain gives the time between exec and now, which only Linux tells.
func ageAtMain() time.Duration { return 0 }
