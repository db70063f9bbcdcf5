// SPDX-License-Identifier: Apache-2.0

package conn

import "golang.org/x/sys/unix"

// canSendfile says that attempt works here.
const canSendfile = true

// attempt is one system call on the socket; false asks the poller to call
// again when the socket takes more.
func (w *writer) attempt(socket uintptr) bool {
	for {
		if w.sendFile {
			pos := w.pos
			w.sent, w.sendErr = unix.Sendfile(int(socket), w.fd, &pos, min(w.left, sendfileBytesMax))
		} else {
			w.sent, w.sendErr = unix.SendmsgN(int(socket), w.bytes, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
		}
		switch w.sendErr {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		return true
	}
}
