// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// streamBytesMax is how much one direction of a connection buffers, about what
// the socket buffers of both sides hold.
const streamBytesMax = 256 << 10

// stream is one direction of a connection: written at one end, read at the
// other.
type stream struct {
	link *link

	mu          sync.Mutex // guards what follows
	moved       *sync.Cond
	chunks      []chunk
	sizeBytes   int
	cut         bool
	delay       time.Duration
	ended       bool // by the writer: the reader sees EOF behind the chunks
	endsAt      time.Time
	readClosed  bool
	writeClosed bool
	broken      bool // reset
	read, write deadline
}

type chunk struct {
	arrives time.Time // zero: at once
	bytes   []byte
}

// deadline of one end of a stream; guarded by its mu.
type deadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func newStream(l *link) *stream {
	s := &stream{link: l, cut: l.cut, delay: l.delay}
	s.moved = sync.NewCond(&s.mu)
	return s
}

func (s *stream) setLink(cut bool, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut, s.delay = cut, delay
	s.moved.Broadcast()
}

func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.chunks, s.sizeBytes = true, nil, 0
	s.moved.Broadcast()
}

func (s *stream) setDeadline(d *deadline, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if wait := time.Until(at); !at.IsZero() && wait > 0 {
		d.timer = s.wakeAfter(wait)
	}
	s.moved.Broadcast()
}

func (s *stream) wakeAfter(d time.Duration) *time.Timer {
	return time.AfterFunc(d, func() {
		s.mu.Lock()
		s.moved.Broadcast()
		s.mu.Unlock()
	})
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (s *stream) readInto(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.readClosed:
			return 0, net.ErrClosed
		case s.broken:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case s.read.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		if n := s.takeLocked(p); n > 0 {
			s.moved.Broadcast()
			return n, nil
		}
		if s.ended && len(s.chunks) == 0 && !s.cut && !time.Now().Before(s.endsAt) {
			return 0, io.EOF
		}
		s.moved.Wait()
	}
}

// takeLocked copies what has arrived.
func (s *stream) takeLocked(p []byte) (n int) {
	if s.cut {
		return 0
	}
	for n < len(p) && len(s.chunks) > 0 {
		c := &s.chunks[0]
		if !c.arrives.IsZero() && time.Now().Before(c.arrives) {
			break
		}
		k := copy(p[n:], c.bytes)
		n += k
		c.bytes = c.bytes[k:]
		if len(c.bytes) == 0 {
			*c = chunk{}
			s.chunks = s.chunks[1:]
		}
	}
	s.sizeBytes -= n
	return n
}

func (s *stream) writeFrom(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writeClosed:
			return n, net.ErrClosed
		case s.broken:
			return n, os.NewSyscallError("write", syscall.ECONNRESET)
		case s.write.passed():
			return n, os.ErrDeadlineExceeded
		case s.ended:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case s.readClosed && !s.cut: // the peer's kernel answers with a reset
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case n == len(p):
			return n, nil
		}
		if room := streamBytesMax - s.sizeBytes; room > 0 {
			part := p[n:min(len(p), n+room)]
			s.chunks = append(s.chunks, chunk{arrives: s.arrivalLocked(), bytes: append([]byte(nil), part...)})
			s.sizeBytes += len(part)
			n += len(part)
			s.moved.Broadcast()
			continue
		}
		s.moved.Wait()
	}
}

// arrivalLocked says when what is written now arrives: never before what was
// written earlier, even if the delay has shrunk.
func (s *stream) arrivalLocked() time.Time {
	var at time.Time
	if s.delay > 0 {
		at = time.Now().Add(s.delay)
	}
	if k := len(s.chunks); k > 0 && s.chunks[k-1].arrives.After(at) {
		at = s.chunks[k-1].arrives
	}
	if !at.IsZero() {
		s.wakeAfter(time.Until(at))
	}
	return at
}

// end tells the reader that no more comes.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.endsAt = true, s.arrivalLocked()
	}
	s.moved.Broadcast()
}

// closeRead and closeWrite close one end and report whether both are closed.
func (s *stream) closeRead() (first, both bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = !s.readClosed
	s.readClosed = true
	s.read.stop()
	s.moved.Broadcast()
	return first, s.writeClosed
}

func (s *stream) closeWrite() (both bool) {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeClosed = true
	s.write.stop()
	s.moved.Broadcast()
	return s.readClosed
}

// conn is one end of a connection.
type conn struct {
	net           *Memory
	in, out       *stream
	local, remote *net.TCPAddr
}

var _ net.Conn = (*conn)(nil)

func (c *conn) fail(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.readInto(p)
	return n, c.fail("read", err)
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.writeFrom(p)
	return n, c.fail("write", err)
}

// Close ends both directions: the peer reads what was written and then EOF, and
// its writes fail.
func (c *conn) Close() error {
	first, both := c.in.closeRead()
	if !first {
		return c.fail("close", net.ErrClosed)
	}
	if both {
		c.net.forget(c.in)
	}
	if c.out.closeWrite() {
		c.net.forget(c.out)
	}
	return nil
}

// CloseWrite is TCPConn's: the peer reads EOF, reading goes on.
func (c *conn) CloseWrite() error {
	c.out.end()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.in.isClosed(&c.in.readClosed) {
		return c.fail("set", net.ErrClosed)
	}
	c.in.setDeadline(&c.in.read, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.out.isClosed(&c.out.writeClosed) {
		return c.fail("set", net.ErrClosed)
	}
	c.out.setDeadline(&c.out.write, t)
	return nil
}

func (s *stream) isClosed(flag *bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *flag
}
