// SPDX-License-Identifier: Apache-2.0

package main

import "syscall"

// filesReserve are descriptors for everything but segments and connections:
// the metadata log, checkpoints, listeners, the runtime's own.
const filesReserve = 64

// openFilesMax is the number of segment and index files that a node may keep
// open at once: half of what the process may open, since each connection takes
// one as well. Go has raised the soft limit to the hard one before main.
func openFilesMax() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	const plenty = 1 << 20 // some systems have no limit
	return max(8, int(min(limit.Cur, plenty))/2-filesReserve)
}
