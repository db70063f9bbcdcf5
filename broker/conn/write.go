// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"gregor/broker/call"
	"gregor/wire/reply"
)

// sendfileBytesMax is what one sendfile(2) call may send: a slow socket or a
// cold file then holds the thread for a bounded time only.
const sendfileBytesMax = 256 << 10

// sendBytesMax is what one write of bytes in memory may hold: the peer must take
// so much within the time that arm gives it.
const sendBytesMax = 256 << 10

// errNoSendfile is what sendfile(2) says of a file that it cannot read.
const errNoSendfile = syscall.EINVAL

// gatherBytes is what is gathered in memory for one write: small sections and
// the bytes between them, and, on sockets that cannot take a file, all.
const gatherBytes = 64 << 10

// smallSectionBytes is up to which a section is read into memory where it could
// go by sendfile(2): one system call for many sections, or for one and what
// stands before and behind it, costs less than one for each.
const smallSectionBytes = 32 << 10

// writer puts replies on a socket. On a plain TCP socket, file ranges go by
// sendfile(2) with explicit offsets, so that any number of connections share a
// descriptor: TCPConn.ReadFrom would use the file's own position and hold its
// lock while a slow peer drains. Small ones, and on other sockets all, are read
// into a buffer that the connection borrows for the reply.
//
// A range whose source was truncated before, while or after it was sent ends
// the connection: its reader must not take a mixture for a reply.
type writer struct {
	c      *connection
	raw    syscall.RawConn // nil where the socket takes no file
	little little
	dueAt  time.Time
	// wroteAt is when the last reply was written.
	wroteAt time.Time
	buf     *[gatherBytes]byte // what is gathered; nil between replies
	have    int                // bytes in it

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

func (w *writer) init(c *connection, raw syscall.RawConn) {
	w.c = c
	if raw != nil && canSendfile {
		w.raw, w.step = raw, w.attempt
	}
	if raw != nil && canLittle {
		w.little.initWrite(raw)
	}
}

// answer writes the reply of a call, and tells the handler.
func (w *writer) answer(k *call.Call) error {
	if err := w.write(&k.Reply); err != nil {
		return err
	}
	w.c.server.handler.Answered(k, w.wroteAt)
	return nil
}

// write sends a whole reply and releases what it refers to.
func (w *writer) write(r *reply.Reply) error {
	defer r.Release()
	if err := w.parts(r); err != nil {
		return err
	}
	w.c.server.count.sent.Add(int64(r.Size()))
	w.wroteAt = w.c.server.now()
	w.c.activeAt.Store(w.wroteAt.UnixNano())
	return nil
}

func (w *writer) parts(r *reply.Reply) error {
	if !r.HasFiles() {
		return w.send(r.Bytes())
	}
	w.buf, w.have = w.c.server.gather.Get().(*[gatherBytes]byte), 0
	defer func() {
		poison(w.buf[:])
		w.c.server.gather.Put(w.buf)
		w.buf = nil
	}()
	for b, f := range r.Parts() {
		if err := w.gather(b); err != nil {
			return err
		}
		if f.Src == nil {
			continue
		}
		if err := w.section(f); err != nil {
			return err
		}
	}
	return w.flush()
}

// gather puts bytes into the buffer, and sends what does not fit.
func (w *writer) gather(b []byte) error {
	if len(b) > len(w.buf)-w.have {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(b) > len(w.buf) {
		return w.send(b)
	}
	w.have += copy(w.buf[w.have:], b)
	return nil
}

func (w *writer) flush() error {
	n := w.have
	w.have = 0
	return w.send(w.buf[:n])
}

// arm keeps a write deadline in the socket, so that a peer that does not read
// is closed as an idle one: between half and the whole of IdleMax from now. It
// is called for each piece of a reply: who reads slowly is not idle.
func (w *writer) arm() error {
	idle := w.c.server.limits.IdleMax
	if idle <= 0 {
		idle = w.c.server.limits.ReplyStallMax
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
		if err := w.piece(b[:n]); err != nil {
			return fmt.Errorf("write a reply: %w", err)
		}
		b = b[n:]
	}
	return nil
}

func (w *writer) piece(b []byte) error {
	if w.little.raw != nil && len(b) <= littleBytesMax {
		return w.little.write(b)
	}
	_, err := w.c.socket.Write(b)
	return err
}

// section sends a file range, behind what is gathered or with it.
func (w *writer) section(f reply.FileRange) error {
	if !f.Src.Intact() {
		return errCut
	}
	var err error
	if fd, ok := f.Src.Fd(); ok && w.raw != nil && f.LenBytes > smallSectionBytes {
		err = w.sendfile(fd, f)
	} else {
		err = w.copy(f)
	}
	if !f.Src.Intact() {
		return errCut
	}
	return err
}

// copy reads the range into memory, and sends it in pieces if it is large.
func (w *writer) copy(f reply.FileRange) error {
	pos, left := f.PosBytes, f.LenBytes
	for left > 0 {
		if w.have == len(w.buf) || left <= smallSectionBytes && left > len(w.buf)-w.have {
			if err := w.flush(); err != nil {
				return err
			}
		}
		n := min(left, len(w.buf)-w.have)
		if m, err := f.Src.ReadAt(w.buf[w.have:w.have+n], pos); m < n {
			return fmt.Errorf("read a section of a reply: %w", err)
		}
		if !f.Src.Intact() {
			return errCut
		}
		w.have, pos, left = w.have+n, pos+int64(n), left-n
	}
	return nil
}

// sendfile sends what is gathered, held back with MSG_MORE so that it shares a
// packet with the file's beginning, and then the range. What the file's system
// does not let sendfile(2) read is copied.
func (w *writer) sendfile(fd int, f reply.FileRange) error {
	b := w.buf[:w.have]
	for w.have = 0; len(b) > 0; {
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
			return w.copy(reply.FileRange{Src: f.Src, PosBytes: w.pos, LenBytes: w.left})
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
