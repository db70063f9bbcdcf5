// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/lane"
	"gregor/wire/frame"
)

// apiVersionsKey is the one API whose response header is never flexible.
const apiVersionsKey = 18

// Call is one request and its reply, as bytes. It may be used again after Do;
// Reply is then overwritten.
type Call struct {
	Key      int16
	Version  int16
	Flexible bool   // this version is: it decides the headers
	Body     []byte // the request's
	// NoReply is set for a Produce with acks=0.
	NoReply bool
	// Timeout is Options.Timeout unless set: a long poll needs more.
	Timeout time.Duration

	// Reply is the response's body.
	Reply []byte

	buffer []byte // the memory under Reply, swapped with the reader's
}

// flight is a call on its way. It is separate from the Call since the reader
// may still hold it after its caller has left.
type flight struct {
	call        *Call // nil once the caller has left; guarded by Conn.mu from sending on
	correlation int32
	flexible    bool
	timeout     time.Duration
	deadline    time.Time  // once it is the oldest; guarded by Conn.mu
	sent        bool       // guarded by Conn.mu
	wake        chan error // capacity 1; a flight lands once
}

// Do sends a request and waits for its reply, until ctx ends, the reply is
// late or the connection fails. The error is an *Error.
func (c *Conn) Do(ctx context.Context, call *Call) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return &Error{Addr: c.o.Addr, Err: context.Cause(ctx)}
	case <-c.done:
		return &Error{Addr: c.o.Addr, Err: c.Err()}
	}
	f := &flight{call: call, flexible: call.Flexible && call.Key != apiVersionsKey, timeout: call.Timeout, wake: make(chan error, 1)}
	if f.timeout == 0 {
		f.timeout = c.o.Timeout
	}
	err := c.fly(ctx, f)
	if err != errAbandoned {
		<-c.slots
	}
	switch {
	case err == nil:
		return nil
	case err == errAbandoned:
		err = context.Cause(ctx)
	}
	return &Error{Addr: c.o.Addr, Sent: c.wasSent(f), Err: err}
}

// errAbandoned says that the caller has left and that the flight, which is
// still pending, keeps the slot.
var errAbandoned = errors.New("abandoned")

func (c *Conn) fly(ctx context.Context, f *flight) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.lane.Do(&lane.Job[*flight]{V: f})
	select {
	case err := <-f.wake:
		return err
	case <-ctx.Done():
	}
	if c.abandon(f) {
		return errAbandoned
	}
	return <-f.wake // it landed, or fails, meanwhile
}

func (c *Conn) wasSent(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.sent
}

// abandon makes the reader drop the reply to f. It is false where f is not
// pending any more: its wake is, or is about to be, filled.
func (c *Conn) abandon(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pending {
		if p == f {
			f.call = nil
			return true
		}
	}
	return false
}

// Request sends a kmsg request in the version it is set to and gives its
// response.
func (c *Conn) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	call := Call{Key: req.Key(), Version: req.GetVersion(), Flexible: req.IsFlexible(), Body: req.AppendTo(nil)}
	if err := c.Do(ctx, &call); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if err := resp.ReadFrom(call.Reply); err != nil {
		return nil, fmt.Errorf("read %s's response %s: %w", c.o.Addr, kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

// copiedBytesMax is the largest body that is copied behind its header, to go
// out in one write.
const copiedBytesMax = 32 << 10

// write is what the lane runs: it puts a chain of calls on the socket.
func (c *Conn) write(chain *lane.Job[*flight]) {
	c.out = c.out[:0]
	for j := chain; j != nil; j = j.Next() {
		if err := c.push(j.V); err != nil {
			c.fail(err)
		}
	}
	if err := c.flush(); err != nil {
		c.fail(err)
	}
	c.arm()
	c.landUnanswered(chain)
	if cap(c.out) > 2*copiedBytesMax {
		c.out = nil
	}
}

// push makes f pending and its frame ready to go out.
func (c *Conn) push(f *flight) error {
	c.correlation++
	f.correlation = c.correlation
	// Its caller waits in the lane, so the call is still there.
	call := f.call
	if err := c.register(f, !call.NoReply); err != nil {
		f.call = nil
		f.wake <- err
		return nil
	}
	a := frame.Appender{B: c.out}
	start := len(a.B)
	a.Int32(0)
	a.RequestHeader(frame.RequestHeader{
		Key: call.Key, Version: call.Version, CorrelationID: f.correlation, ClientID: []byte(c.o.ClientID),
	}, call.Flexible)
	a.PutInt32(start, int32(len(a.B)-start-frame.SizeBytes+len(call.Body)))
	if len(call.Body) <= copiedBytesMax {
		a.Raw(call.Body)
		c.out = a.B
		return nil
	}
	c.out = a.B
	if err := c.flush(); err != nil {
		return err
	}
	return c.send(call.Body)
}

func (c *Conn) register(f *flight, reply bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	f.sent = true
	if reply {
		c.pending = append(c.pending, f)
		if len(c.pending) == 1 {
			f.deadline = c.o.Now().Add(f.timeout)
		}
	}
	return nil
}

func (c *Conn) flush() error {
	b := c.out
	c.out = c.out[:0]
	return c.send(b)
}

func (c *Conn) send(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := c.conn.SetWriteDeadline(c.o.Now().Add(c.o.Timeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// landUnanswered ends the calls of a chain that get no reply.
func (c *Conn) landUnanswered(chain *lane.Job[*flight]) {
	err := c.Err()
	for j := chain; j != nil; j = j.Next() {
		if f := j.V; f.call != nil && f.call.NoReply {
			f.wake <- err
		}
	}
}
