// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"gregor/wire/frame"
)

// smallBytes is the buffer that a connection owns for ever. A request of a
// consumer with a fetch session fits, and an idle connection has no other.
const smallBytes = 512

// headerBytesMin is the shortest request: key, version, correlation id.
const headerBytesMin = 8

// reader cuts a socket into frames. A frame that fits is served from small,
// which may hold the beginning of the next ones too; a larger one gets a buffer
// from the budget.
//
// The first buffer of a larger frame is 16 KiB whatever the frame claims to
// be, and doubles as bytes arrive. A connection that has sent a frame in full
// is trusted with as much for its next one: a busy producer then pays for no
// growing. The budget holds for trusted frames too.
type reader struct {
	c      *connection
	little little
	small  [smallBytes]byte
	r, w   int // unread part of small

	tiny    []byte // the current frame, if it is in small
	big     []byte // buffer of the current frame, nil if it is in small
	trusted int    // size of the last frame that was received in full
	dueAt   time.Time
}

func (r *reader) init(c *connection, raw syscall.RawConn) {
	r.c = c
	if raw != nil && canLittle {
		r.little.initRead(raw)
	}
}

// next waits for a whole frame and returns its payload, which lives until done.
func (r *reader) next() ([]byte, error) {
	if err := r.fill(frame.SizeBytes); err != nil {
		return nil, err
	}
	size := frame.Size(r.small[r.r:])
	if size < headerBytesMin || size > r.c.server.limits.FrameBytesMax {
		return nil, &malformedError{fmt.Errorf("frame claims %d bytes, allowed are %d to %d",
			size, headerBytesMin, r.c.server.limits.FrameBytesMax)}
	}
	n := int(size)
	if frame.SizeBytes+n > smallBytes {
		return r.large(n)
	}
	if err := r.fill(frame.SizeBytes + n); err != nil {
		return nil, err
	}
	payload := r.small[r.r+frame.SizeBytes : r.r+frame.SizeBytes+n : r.r+frame.SizeBytes+n]
	r.r += frame.SizeBytes + n
	r.tiny = payload
	return payload, nil
}

// done gives the memory of the current frame back.
func (r *reader) done() {
	poison(r.tiny)
	r.tiny = nil
	if r.big != nil {
		r.c.server.budget.put(r.big)
		r.big = nil
	}
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
}

func (r *reader) release() { r.done() }

// fill makes small hold at least n unread bytes, n being at most its size.
// Waiting for the first of them is what an idle connection does.
func (r *reader) fill(n int) error {
	if r.w-r.r >= n {
		return nil
	}
	if r.r > 0 {
		r.w = copy(r.small[:], r.small[r.r:r.w])
		r.r = 0
	}
	for r.w < n {
		if r.c.isLeaving() {
			return errDrained
		}
		if err := r.arm(); err != nil {
			return err
		}
		m, err := r.readSmall()
		r.w += m
		r.c.server.count.received.Add(int64(m))
		if err == nil || m > 0 {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // arm decides
		}
		if errors.Is(err, io.EOF) && r.w > 0 {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

func (r *reader) readSmall() (int, error) {
	if r.little.raw != nil {
		return r.little.read(r.small[r.w:])
	}
	return r.c.socket.Read(r.small[r.w:])
}

// arm keeps a read deadline in the socket, and tells when it has truly passed.
// It touches the socket only when the last deadline is behind, so a busy
// connection pays for it once in IdleMax.
func (r *reader) arm() error {
	idle := r.c.server.limits.IdleMax
	if idle <= 0 {
		if r.dueAt.IsZero() {
			return nil
		}
		r.dueAt = time.Time{}
		return r.deadline(time.Time{})
	}
	now := r.c.server.now()
	if now.Before(r.dueAt) {
		return nil
	}
	due := time.Unix(0, r.c.activeAt.Load()).Add(idle)
	if !now.Before(due) {
		if !r.c.box.busy() {
			return errIdle
		}
		due = now.Add(idle) // it waits for us
	}
	r.dueAt = due
	return r.deadline(due)
}

// deadline sets the socket's read deadline without undoing leave.
func (r *reader) deadline(t time.Time) error {
	if err := r.c.socket.SetReadDeadline(t); err != nil {
		return err
	}
	if r.c.isLeaving() {
		return r.c.socket.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// large receives a frame of n bytes that does not fit small.
func (r *reader) large(n int) ([]byte, error) {
	limits, budget := &r.c.server.limits, r.c.server.budget
	first := min(n, max(firstBytes, r.trusted))
	// A frame's first, small buffer may come from the reserve.
	privileged := r.c.server.isPrivileged(r.c.info.Listener)
	buf, ok := budget.get(first, privileged || first <= firstBytes, limits.StallMax, r.c.closed)
	if !ok {
		return nil, r.refused()
	}
	r.big = buf
	r.r += frame.SizeBytes
	have := copy(buf, r.small[r.r:min(r.w, r.r+n)])
	if r.r += have; r.r == r.w {
		r.r, r.w = 0, 0
	}
	for have < n {
		if have == len(r.big) {
			grown, ok := budget.get(min(n, 2*len(r.big)), privileged, limits.StallMax, r.c.closed)
			if !ok {
				return nil, r.refused()
			}
			copy(grown, r.big)
			budget.put(r.big)
			r.big = grown
		}
		m, err := r.some(r.big[have:min(n, len(r.big))])
		have += m
		if err != nil {
			return nil, err
		}
	}
	r.trusted = n
	return r.big[:n:n], nil
}

func (r *reader) refused() error {
	if r.c.isLeaving() {
		return errDrained
	}
	return errMemory
}

// some reads at least one byte of a frame that has begun.
func (r *reader) some(p []byte) (int, error) {
	if r.c.isLeaving() {
		return 0, errDrained
	}
	// The idle deadline serves as the limit while it is far enough away or
	// near enough to be the stall limit itself.
	stall := r.c.server.limits.StallMax
	if now := r.c.server.now(); stall > 0 && (r.dueAt.IsZero() || now.Add(stall/2).After(r.dueAt) || r.dueAt.After(now.Add(stall))) {
		r.dueAt = now.Add(stall)
		if err := r.deadline(r.dueAt); err != nil {
			return 0, err
		}
	}
	m, err := r.c.socket.Read(p)
	r.c.server.count.received.Add(int64(m))
	switch {
	case m > 0:
		return m, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		if r.c.isLeaving() {
			return 0, errDrained
		}
		return 0, errStalled
	case errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	case err == nil:
		return 0, io.ErrNoProgress
	}
	return 0, err
}
