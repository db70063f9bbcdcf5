// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// stopSignals ask a command to come to an end.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// nodeStopSignals stop a node cleanly. A terminal that goes away is one of
// them, as for Kafka, unless whoever started the node has SIGHUP ignored (nohup).
func nodeStopSignals() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return stopSignals
	}
	return append([]os.Signal{syscall.SIGHUP}, stopSignals...)
}
