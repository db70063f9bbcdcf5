// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

func dataSync(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }

func preallocate(file *os.File, size int64) error {
	return unix.Fallocate(int(file.Fd()), 0, 0, size)
}

// sendFile sends a section of a file without copying it through this process.
func sendFile(conn *net.TCPConn, file *os.File, at int64, n int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for n > 0 {
			sent, err := unix.Sendfile(int(fd), int(file.Fd()), &at, n)
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
			case err != nil:
				failed = err
				return true
			case sent == 0:
				failed = io.ErrUnexpectedEOF
				return true
			default:
				n -= sent
			}
		}
		return true
	})
	if failed != nil {
		return failed
	}
	return err
}
