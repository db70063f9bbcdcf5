// SPDX-License-Identifier: Apache-2.0

// Package peer is one outgoing connection to another broker or controller:
// dialled, shaken hands on, and then a pipeline of requests whose replies come
// in order.
//
// A Conn may be used by many goroutines. It has one goroutine of its own, which
// reads, until it is closed.
package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gregor/base/lane"
	"gregor/base/netx"
)

// ErrClosed is what calls fail with after Close.
var ErrClosed = errors.New("the connection is closed")

// Options say how to connect. Addr and Net must be set.
type Options struct {
	Net      netx.Net
	Addr     string // host:port
	ClientID string
	// Now is the clock that deadlines are counted on.
	Now func() time.Time

	// Wrap may put another connection over the one dialled: TLS. May be nil.
	Wrap func(ctx context.Context, conn net.Conn) (net.Conn, error)
	// Handshake may exchange requests before anyone else does: ApiVersions,
	// SASL. May be nil.
	Handshake func(ctx context.Context, conn *Conn) error

	// ResponseBytesMax bounds one response; default 100 MiB.
	ResponseBytesMax int
	// InFlightMax bounds requests that wait for their reply; default 32.
	InFlightMax int
	// Timeout is how long a reply may take once all earlier ones have come,
	// unless the Call says otherwise, and how long a write may take; default 30 s.
	Timeout time.Duration
}

func (o *Options) setDefaults() {
	if o.ResponseBytesMax == 0 {
		o.ResponseBytesMax = 100 << 20
	}
	if o.InFlightMax == 0 {
		o.InFlightMax = 32
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
}

// Error says what became of a call that got no reply.
type Error struct {
	Addr string
	// Sent is true where the peer may have carried the request out.
	Sent bool
	Err  error
}

func (e *Error) Error() string {
	if e.Sent {
		return fmt.Sprintf("no reply from %s: %v", e.Addr, e.Err)
	}
	return fmt.Sprintf("send to %s: %v", e.Addr, e.Err)
}

// Unwrap gives the cause: a context's error, a network error, ErrClosed, or a
// *frame.MalformedError.
func (e *Error) Unwrap() error { return e.Err }

// Conn is a connection.
//
//	Do ─► slot ─► write lane ─┬─► pending ─► socket
//	                          │      │
//	           (queued calls  ▼      ▼ in order
//	        become one write)      reader ─► the oldest call
//
// Calls that are queued while one is being written go out as one write.
// Replies carry no more than a correlation id, and Kafka answers in order, so
// the reader hands each reply to the oldest pending call; any other id means
// that the stream is not understood any more and ends the connection. A call
// whose context ends is abandoned: its reply is read and dropped, and the
// connection lives on. A reply that is late by its Timeout ends the connection,
// as it would in Kafka's own clients: what follows it would be late too.
//
// Invariant: calls are in pending in the order of their bytes on the socket,
// as only the lane appends to both. The first failure is final; whoever wants
// to go on dials anew.
type Conn struct {
	o     Options
	conn  net.Conn
	lane  lane.Lane[*flight]
	slots chan struct{}
	done  chan struct{} // closed once the connection has failed

	// out is the lane's: frames on their way to the socket.
	out         []byte
	correlation int32

	mu      sync.Mutex // guards the following
	pending []*flight
	err     error
}

// Dial connects and shakes hands.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o.setDefaults()
	raw, err := o.Net.Dial(ctx, o.Addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", o.Addr, err)
	}
	conn := raw
	if o.Wrap != nil {
		if conn, err = o.Wrap(ctx, raw); err != nil {
			_ = raw.Close() // the handshake's error tells more
			return nil, fmt.Errorf("secure the connection to %s: %w", o.Addr, err)
		}
	}
	c := &Conn{o: o, conn: conn, slots: make(chan struct{}, o.InFlightMax), done: make(chan struct{})}
	c.lane.Init(c.write)
	go c.read()
	if o.Handshake != nil {
		if err := o.Handshake(ctx, c); err != nil {
			c.fail(err)
			return nil, fmt.Errorf("shake hands with %s: %w", o.Addr, err)
		}
	}
	return c, nil
}

// Close ends the connection. Calls that wait fail with ErrClosed.
func (c *Conn) Close() { c.fail(ErrClosed) }

// Done is closed once the connection is of no use any more.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Addr is where the connection leads.
func (c *Conn) Addr() string { return c.o.Addr }

// LocalAddr is this side's address.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// fail ends the connection for the reason err, unless it has ended already.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	pending := c.pending
	c.pending = nil
	c.mu.Unlock()
	close(c.done)
	_ = c.conn.Close() // nothing more is expected of it
	for _, f := range pending {
		f.wake <- err
	}
}
