// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package bench

import (
	"io"
	"net"
	"os"
)

func dataSync(file *os.File) error { return file.Sync() }

func preallocate(file *os.File, size int64) error { return file.Truncate(size) }

// sendFile copies: what the limit shows here is not sendfile.
func sendFile(conn *net.TCPConn, file *os.File, at int64, n int) error {
	_, err := io.Copy(conn, io.NewSectionReader(file, at, int64(n)))
	return err
}
