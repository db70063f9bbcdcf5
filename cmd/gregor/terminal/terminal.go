// SPDX-License-Identifier: Apache-2.0

// Package terminal tells whether a person sits at the other end of a stream, and
// lets a read that waits for one be given up.
package terminal

import "os"

// Is reports whether a stream is a terminal: a character device that is not
// the null device.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// Draws reports whether a stream is a terminal that can be drawn over, of the
// kind that $TERM names.
func Draws(stream any, kind string) bool { return Is(stream) && kind != "dumb" }
