// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"io"
	"net"
	"syscall"
)

// littleBytesMax is up to which a write goes as a system call that the runtime
// is not told of: the kernel copies so much in microseconds.
const littleBytesMax = 4 << 10

// plain gives access to the descriptor of a TCP socket; nil: there is none.
func plain(socket net.Conn) syscall.RawConn {
	if tcp, ok := socket.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// little moves a few bytes in one direction, as a socket's Read or Write does,
// deadlines included. One goroutine uses it at a time.
type little struct {
	raw  syscall.RawConn // nil: the socket's own methods have to do it
	step func(fd uintptr) bool

	left []byte
	n    int
	err  error
}

func (l *little) initRead(raw syscall.RawConn)  { l.raw, l.step = raw, l.tryRead }
func (l *little) initWrite(raw syscall.RawConn) { l.raw, l.step = raw, l.tryWrite }

// read gives at least one byte or an error; p is not empty.
func (l *little) read(p []byte) (int, error) {
	l.left, l.n, l.err = p, 0, nil
	if err := l.raw.Read(l.step); err != nil {
		return 0, err
	}
	if l.n == 0 && l.err == nil {
		return 0, io.EOF
	}
	return l.n, l.err
}

// write sends all of p.
func (l *little) write(p []byte) error {
	l.left, l.err = p, nil
	if err := l.raw.Write(l.step); err != nil {
		return err
	}
	return l.err
}

// tryRead and tryWrite are called until they say true, by the poller whenever
// the socket is ready.
func (l *little) tryRead(fd uintptr) bool {
	for {
		n, errno := readLittle(fd, l.left)
		switch errno {
		case 0:
			l.n = n
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			l.err = errno
			return true
		}
	}
}

func (l *little) tryWrite(fd uintptr) bool {
	for len(l.left) > 0 {
		n, errno := writeLittle(fd, l.left)
		switch errno {
		case 0:
			l.left = l.left[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			l.err = errno
			return true
		}
	}
	return true
}
