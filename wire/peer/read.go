// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"io"
	"time"

	"gregor/wire/frame"
)

// firstReadBytes is how much memory a response gets before any of it is there.
const firstReadBytes = 16 << 10

// keptBytes is the largest buffer that the reader keeps between responses.
const keptBytes = 64 << 10

// read is the reader: it hands replies to the oldest pending call until the
// connection fails.
func (c *Conn) read() {
	var buffer []byte
	for {
		var err error
		if buffer, err = c.readFrame(buffer); err != nil {
			c.fail(err)
			return
		}
		if buffer, err = c.land(buffer); err != nil {
			c.fail(err)
			return
		}
		if cap(buffer) > keptBytes {
			buffer = nil
		}
		c.arm()
	}
}

// readFrame reads one frame's payload into buffer, which grows with what
// arrives and not with what the frame claims.
func (c *Conn) readFrame(buffer []byte) ([]byte, error) {
	var prefix [frame.SizeBytes]byte
	if _, err := io.ReadFull(c.conn, prefix[:]); err != nil {
		return buffer, fmt.Errorf("read the size of a response: %w", err)
	}
	size := int(frame.Size(prefix[:]))
	if size < frame.SizeBytes || size > c.o.ResponseBytesMax {
		return buffer, &frame.MalformedError{What: fmt.Sprintf("response of %d bytes", size)}
	}
	buffer = buffer[:0]
	for len(buffer) < size {
		if len(buffer) == cap(buffer) {
			grown := make([]byte, len(buffer), min(size, max(2*len(buffer), firstReadBytes)))
			copy(grown, buffer)
			buffer = grown
		}
		n, err := c.conn.Read(buffer[len(buffer):min(size, cap(buffer))])
		buffer = buffer[:len(buffer)+n]
		if err != nil && len(buffer) < size {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buffer, fmt.Errorf("read a response: %w", err)
		}
	}
	return buffer, nil
}

// land gives a response to the oldest pending call and takes that call's
// buffer in exchange.
func (c *Conn) land(buffer []byte) ([]byte, error) {
	f, err := c.oldest(buffer)
	if err != nil {
		return buffer, err
	}
	if f == nil {
		<-c.slots // the abandoned call's
		return buffer, nil
	}
	// The caller waits for wake and has not left: abandon finds f no more.
	buffer, f.call.buffer = f.call.buffer, buffer
	f.wake <- nil
	return buffer, nil
}

// oldest takes the oldest flight from pending if response is its reply; nil
// where its caller has left.
func (c *Conn) oldest(response []byte) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if len(c.pending) == 0 {
		return nil, &frame.MalformedError{What: "response to no request"}
	}
	f := c.pending[0]
	correlation, body, err := frame.ParseResponse(response, f.flexible)
	if err != nil {
		return nil, err
	}
	if correlation != f.correlation {
		return nil, &frame.MalformedError{What: fmt.Sprintf("correlation id %d, want %d", correlation, f.correlation)}
	}
	c.pending[0] = nil
	c.pending = c.pending[1:]
	if len(c.pending) > 0 {
		c.pending[0].deadline = c.o.Now().Add(c.pending[0].timeout)
	} else {
		c.pending = nil
	}
	if f.call == nil {
		return nil, nil
	}
	f.call.Reply = body
	return f, nil
}

// arm makes the socket's read deadline that of the oldest pending call. Lane
// and reader both call it; whoever set it last looks again whether the oldest
// is still the same, so that it ends right whatever the order.
func (c *Conn) arm() {
	deadline := c.oldestDeadline()
	for {
		if err := c.conn.SetReadDeadline(deadline); err != nil {
			return // closed
		}
		now := c.oldestDeadline()
		if now.Equal(deadline) {
			return
		}
		deadline = now
	}
}

// oldestDeadline is zero where no call is pending: an idle connection may wait
// for ever, until Close.
func (c *Conn) oldestDeadline() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return time.Time{}
	}
	return c.pending[0].deadline
}
