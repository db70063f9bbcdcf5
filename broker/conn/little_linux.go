// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package conn

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canLittle says that readLittle and writeLittle work here. The race detector
// takes what goes over a socket for a synchronization, and sees it only in the
// socket's own methods.
const canLittle = true

// readLittle and writeLittle are one system call on a socket that does not
// block, with at least one byte to move. The runtime is not told of it: for a
// call that may take long it wakes a thread that watches over the processor, and
// on a node that sleeps between two requests this costs as much as the call.
func readLittle(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func writeLittle(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}
