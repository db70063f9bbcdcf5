// SPDX-License-Identifier: Apache-2.0

//go:build !linux || race

package conn

import "syscall"

// canLittle is false where all goes by the socket's own methods.
const canLittle = false

func readLittle(uintptr, []byte) (int, syscall.Errno)  { return 0, syscall.ENOSYS }
func writeLittle(uintptr, []byte) (int, syscall.Errno) { return 0, syscall.ENOSYS }
