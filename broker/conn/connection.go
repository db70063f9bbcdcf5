// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gregor/base/park"
	"gregor/broker/call"
	"gregor/security"
	"gregor/wire/frame"
)

// connection is one socket and its goroutine.
//
//	serve: read a frame ─► Handle ─┬─ Done, nothing parked ──► write
//	                               ├─ Done, others parked ───► outbox ─► flusher
//	                               ├─ Parked ────────────────► outbox, start flusher
//	                               └─ NoReply ───────────────► (nothing)
//
// Invariants: while the outbox is not empty only the flusher writes, else only
// serve does; a slot is in the outbox or free, never both; the frame goes back
// to the budget when Handle returns.
type connection struct {
	server *Server
	socket net.Conn
	info   call.Conn
	in     reader
	out    writer

	closed   chan struct{} // closed once: long polls and waits leave
	left     atomic.Bool   // it is, or is about to be
	leaving  sync.Once
	flusher  sync.WaitGroup
	activeAt atomic.Int64 // unix nanoseconds of the last frame or reply
	mute     *time.Timer  // for throttling; made at first use

	box outbox
}

func newConnection(s *Server, socket net.Conn, at *call.Listener, remote netip.AddrPort, id uint64) *connection {
	c := &connection{server: s, socket: socket, closed: make(chan struct{})}
	c.info = call.Conn{ID: id, Listener: at, Principal: security.Anonymous, Remote: remote,
		Parker: park.NewParker(), Closed: c.closed}
	// An in-process listener accepts its peers with their principal.
	if p, ok := socket.(interface{ Principal() security.Principal }); ok {
		c.info.Principal = p.Principal()
	}
	raw := plain(c.socket)
	c.in.init(c, raw)
	c.out.init(c, raw)
	c.box.init(c)
	c.activeAt.Store(s.now().UnixNano())
	return c
}

// leave makes the connection end after what it has received whole: long polls
// return, and the reader stops waiting for further frames.
func (c *connection) leave() {
	c.leaving.Do(func() {
		c.left.Store(true)
		close(c.closed)
		// Wakes a blocked read; one that starts later looks at closed first.
		c.socket.SetReadDeadline(time.Unix(1, 0))
	})
}

func (c *connection) isLeaving() bool { return c.left.Load() }

// serve runs until the connection ends, for whatever reason.
func (c *connection) serve() {
	defer c.server.ended(c)
	c.server.handler.Open(&c.info)
	err := c.loop()
	if errors.Is(err, errDrained) {
		c.box.finish() // what is parked may still leave, until Kill
	}
	c.leave()
	c.box.abandon()
	c.flusher.Wait()
	if failure := c.box.failure(); failure != nil {
		err = failure
	}
	c.box.drop()
	c.in.release()
	c.server.handler.Gone(&c.info)
	c.report(err)
	c.socket.Close()
}

// loop serves requests until one says that the connection must end.
func (c *connection) loop() error {
	for {
		payload, err := c.in.next()
		if err != nil {
			return err
		}
		slot := c.box.take()
		k := &slot.call
		k.ReceivedAt = c.server.now()
		c.activeAt.Store(k.ReceivedAt.UnixNano())
		h, err := frame.Peek(payload)
		if err != nil {
			c.box.free(slot)
			return &malformedError{fmt.Errorf("request header: %w", err)}
		}
		k.Key, k.Version, k.CorrelationID, k.Payload = h.Key, h.Version, h.CorrelationID, payload
		c.server.count.requests.Add(1)
		outcome, err := c.handle(k)
		throttleMs := k.ThrottleMs
		k.Payload, k.Body = nil, nil
		c.in.done()
		if err != nil {
			c.box.free(slot)
			return err
		}
		if err := c.settle(slot, outcome); err != nil {
			return err
		}
		if throttleMs > 0 {
			c.pause(throttleMs)
		}
	}
}

// settle does with a slot what its outcome calls for.
func (c *connection) settle(slot *slot, outcome call.Outcome) error {
	switch outcome {
	case call.Done:
		slot.call.Reply.Finish()
		if c.box.queue(slot, true) {
			return c.box.awaitRoom()
		}
		err := c.out.answer(&slot.call)
		c.box.free(slot)
		return err
	case call.Parked:
		c.server.count.parked.Add(1)
		c.box.queue(slot, false)
		return c.box.awaitRoom()
	case call.NoReply:
		c.box.free(slot)
		return nil
	default:
		reason := slot.call.CloseReason
		c.box.free(slot)
		if reason == nil {
			reason = errors.New("request refused")
		}
		return &malformedError{reason}
	}
}

// handle runs the handler; a panic becomes an error that ends the connection.
func (c *connection) handle(k *call.Call) (outcome call.Outcome, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = c.panicked("handle", k, r)
		}
	}()
	return c.server.handler.Handle(k), nil
}

func (c *connection) panicked(where string, k *call.Call, r any) error {
	c.server.count.panics.Add(1)
	c.server.logger.Error("request panicked", "where", where, "key", k.Key, "version", k.Version,
		"client", k.ClientID, "remote", c.info.Remote, "panic", r, "stack", string(debug.Stack()))
	return errPanicked
}

// pause mutes the connection after a throttled reply.
func (c *connection) pause(ms int32) {
	c.server.count.throttledMs.Add(int64(ms))
	d := time.Duration(ms) * time.Millisecond
	if c.mute == nil {
		c.mute = time.NewTimer(d)
	} else {
		c.mute.Reset(d)
	}
	select {
	case <-c.mute.C:
	case <-c.closed:
		c.mute.Stop()
	}
}

// Reasons for which a connection ends that are nobody's fault, or counted
// where they arise.
var (
	errDrained  = errors.New("server is shutting down")
	errIdle     = errors.New("idle")
	errPanicked = errors.New("handler panicked")
	errStalled  = errors.New("frame stopped arriving")
	errMemory   = errors.New("no memory for the frame in time")
	errCut      = errors.New("log was truncated under a reply")
)

// malformedError is a request that costs its connection.
type malformedError struct{ err error }

func (e *malformedError) Error() string { return e.err.Error() }
func (e *malformedError) Unwrap() error { return e.err }

// report counts why the connection ended, and logs what an operator must know.
func (c *connection) report(err error) {
	count, log := &c.server.count, c.server.logger
	at, remote := c.info.Listener.Name, c.info.Remote
	var malformed *malformedError
	switch {
	case errors.As(err, &malformed):
		count.malformed.Add(1)
		log.Warn("connection closed for a bad request", "listener", at, "remote", remote, "reason", malformed.err)
	case errors.Is(err, errIdle):
		count.idle.Add(1)
		log.Debug("connection closed", "listener", at, "remote", remote, "reason", err)
	case errors.Is(err, errStalled), errors.Is(err, errMemory):
		count.stalled.Add(1)
		log.Warn("connection closed", "listener", at, "remote", remote, "reason", err)
	case errors.Is(err, errCut):
		count.cut.Add(1)
		log.Info("connection closed", "listener", at, "remote", remote, "reason", err)
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, errDrained), errors.Is(err, errPanicked):
	default:
		log.Debug("connection lost", "listener", at, "remote", remote, "err", err)
	}
}
