// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"gregor/wire/reply"
)

// sendfileBytesMax is what one sendfile(2) call may send: a slow socket or a
// cold file then holds the thread for a bounded time only.
const sendfileBytesMax = 256 << 10

// sendBytesMax is what one write of bytes in memory may hold: the peer must take
// so much within the time that arm gives it.
const sendBytesMax = 256 << 10

// unreadMax is how long a peer may take nothing of a reply where idle
// connections are not closed: a reply holds segments.
const unreadMax = 10 * time.Minute

// errNoSendfile is what sendfile(2) says of a file that it cannot read.
const errNoSendfile = syscall.EINVAL

// copyBytes is the buffer for sockets that cannot take a file.
const copyBytes = 64 << 10

// writer puts replies on a socket. On a plain TCP socket, file ranges go by
// sendfile(2) with explicit offsets, so that any number of connections share a
// descriptor: TCPConn.ReadFrom would use the file's own position and hold its
// lock while a slow peer drains. Everywhere else they are read and written.
//
// A range whose source was truncated before, while or after it was sent ends
// the connection: its reader must not take a mixture for a reply.
type writer struct {
	c     *connection
	raw   syscall.RawConn // nil where the socket takes no file
	dueAt time.Time
	buf   []byte // for copies; made at first use

	// The rest serves the callbacks of raw, which are made once.
	step     func(fd uintptr) bool
	bytes    []byte // not nil: send these with MSG_MORE
	fd       int
	pos      int64
	left     int
	sent     int // by the last call
	sendErr  error
	sendFile bool
}

func (w *writer) init(c *connection) {
	w.c = c
	if tcp, ok := c.socket.(*net.TCPConn); ok && canSendfile {
		if raw, err := tcp.SyscallConn(); err == nil {
			w.raw = raw
			w.step = w.attempt
		}
	}
}

// write sends a whole reply and releases what it refers to.
func (w *writer) write(r *reply.Reply) error {
	defer r.Release()
	if err := w.parts(r); err != nil {
		return err
	}
	w.c.server.count.sent.Add(int64(r.Size()))
	w.c.activeAt.Store(w.c.server.now().UnixNano())
	return nil
}

func (w *writer) parts(r *reply.Reply) error {
	if !r.HasFiles() {
		return w.send(r.Bytes())
	}
	for b, f := range r.Parts() {
		if f.Src == nil {
			if err := w.send(b); err != nil {
				return err
			}
			continue
		}
		if err := w.section(b, f); err != nil {
			return err
		}
	}
	return nil
}

// arm keeps a write deadline in the socket, so that a peer that does not read
// is closed as an idle one: between half and the whole of IdleMax from now. It
// is called for each piece of a reply: who reads slowly is not idle.
func (w *writer) arm() error {
	idle := w.c.server.limits.IdleMax
	if idle <= 0 {
		idle = unreadMax
	}
	now := w.c.server.now()
	if w.dueAt.Sub(now) >= idle/2 {
		return nil
	}
	w.dueAt = now.Add(idle)
	return w.c.socket.SetWriteDeadline(w.dueAt)
}

func (w *writer) send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), sendBytesMax)
		if err := w.arm(); err != nil {
			return err
		}
		if _, err := w.c.socket.Write(b[:n]); err != nil {
			return fmt.Errorf("write a reply: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// section sends bytes and the file range behind them.
func (w *writer) section(b []byte, f reply.FileRange) error {
	if !f.Src.Intact() {
		return errCut
	}
	var err error
	if fd, ok := f.Src.Fd(); ok && w.raw != nil {
		err = w.sendfile(b, fd, f)
	} else {
		err = w.copy(b, f)
	}
	if !f.Src.Intact() {
		return errCut
	}
	return err
}

// copy reads the range into memory and writes it, the leading bytes with its
// first piece.
func (w *writer) copy(b []byte, f reply.FileRange) error {
	if w.buf == nil {
		w.buf = make([]byte, copyBytes)
	}
	if len(b) > len(w.buf)/2 {
		if err := w.send(b); err != nil {
			return err
		}
		b = nil
	}
	have := copy(w.buf, b)
	pos, left := f.PosBytes, f.LenBytes
	for left > 0 {
		n := min(left, len(w.buf)-have)
		if m, err := f.Src.ReadAt(w.buf[have:have+n], pos); m < n {
			return fmt.Errorf("read a section of a reply: %w", err)
		}
		if !f.Src.Intact() {
			return errCut
		}
		if err := w.send(w.buf[:have+n]); err != nil {
			return err
		}
		have, pos, left = 0, pos+int64(n), left-n
	}
	return nil
}

// sendfile sends b, held back with MSG_MORE so that it shares a packet with
// the file's beginning, and then the range. What the file's system does not
// let sendfile(2) read is copied.
func (w *writer) sendfile(b []byte, fd int, f reply.FileRange) error {
	for len(b) > 0 {
		if err := w.arm(); err != nil {
			return err
		}
		w.bytes, w.sendFile = b, false
		if err := w.raw.Write(w.step); err != nil {
			return fmt.Errorf("write a reply: %w", err)
		}
		if w.sendErr != nil {
			return fmt.Errorf("write a reply: %w", w.sendErr)
		}
		b = b[w.sent:]
	}
	w.bytes = nil
	w.fd, w.pos, w.left, w.sendFile = fd, f.PosBytes, f.LenBytes, true
	for w.left > 0 {
		if err := w.arm(); err != nil {
			return err
		}
		if err := w.raw.Write(w.step); err != nil {
			return fmt.Errorf("send a section: %w", err)
		}
		if errors.Is(w.sendErr, errNoSendfile) {
			return w.copy(nil, reply.FileRange{Src: f.Src, PosBytes: w.pos, LenBytes: w.left})
		}
		if w.sendErr != nil {
			return fmt.Errorf("send a section: %w", w.sendErr)
		}
		if w.sent == 0 {
			return errCut // the file ends before the range that was promised
		}
		w.pos += int64(w.sent)
		w.left -= w.sent
		w.c.server.count.sendfile.Add(int64(w.sent))
	}
	return nil
}
