// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"syscall"
)

// stopSignals ask a command to come to an end.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}
