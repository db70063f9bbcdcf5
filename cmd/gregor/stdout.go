// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchMs is how long a watcher of stdout may outlive its context.
const watchMs = 500

// whileRead ends the context, with the cause errClosed, when the reader of a
// pipe goes away. Without it a command that waits for records would outlive
// the head or grep that it writes to until the next record comes. A write to a
// closed pipe becomes an error instead of a signal.
func whileRead(ctx context.Context, out io.Writer) context.Context {
	f, ok := out.(*os.File)
	if !ok {
		return ctx
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return ctx
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(ctx)
	fd := int32(f.Fd())
	go func() {
		for ctx.Err() == nil {
			watched := []unix.PollFd{{Fd: fd}}
			n, err := unix.Poll(watched, watchMs)
			if n > 0 && watched[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
				cancel(errClosed)
			} else if err != nil && err != unix.EINTR {
				return
			}
		}
	}()
	return ctx
}
