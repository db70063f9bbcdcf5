// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"gregor/base/netx"
	"gregor/base/park"
	"gregor/broker/call"
)

// handler is a Handler made of functions.
type handler struct {
	handle func(c *call.Call) call.Outcome
	gone   func(c *call.Conn)
}

func (h handler) Open(*call.Conn)                  {}
func (h handler) Handle(c *call.Call) call.Outcome { return h.handle(c) }
func (h handler) Answered(*call.Call, time.Time)   {}
func (h handler) Gone(c *call.Conn) {
	if h.gone != nil {
		h.gone(c)
	}
}

// echo answers with the body of the request.
func echo(c *call.Call) call.Outcome {
	c.Reply.Begin(c.CorrelationID, false)
	c.Reply.Appender().Raw(c.Payload[headerBytesMin:])
	return call.Done
}

type world struct {
	t      testing.TB
	server *Server
	net    netx.Net
	addr   string
	served sync.WaitGroup
}

func serve(t testing.TB, n netx.Net, addr string, handle func(*call.Call) call.Outcome, change func(*Options, *call.Listener)) *world {
	t.Helper()
	o := Options{Handler: handler{handle: handle}, Limits: DefaultLimits(), Budget: NewBudget(64<<20, 4<<20, 8<<20),
		Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	at := &call.Listener{Name: "TEST", Role: call.Broker}
	if change != nil {
		change(&o, at)
	}
	w := &world{t: t, server: NewServer(o), net: n}
	l, err := n.Listen(context.Background(), addr)
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.served.Go(func() {
		if err := w.server.Serve(l, at); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		w.server.Kill()
		w.served.Wait()
	})
	return w
}

// bubble serves on a memory network.
func bubble(t testing.TB, handle func(*call.Call) call.Outcome, change func(*Options, *call.Listener)) *world {
	t.Helper()
	return serve(t, netx.NewMemory().Host("node"), "node:9092", handle, change)
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := w.net.Dial(context.Background(), w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// request makes a frame: key, version 0, correlation id, body.
func request(key int16, correlation int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(headerBytesMin+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	return append(b, body...)
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// read reads one reply.
func read(c net.Conn) (correlation int32, body []byte, err error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

func wantReply(t testing.TB, c net.Conn, correlation int32, body string) {
	t.Helper()
	got, b, err := read(c)
	if err != nil {
		t.Fatalf("reply %d: %v", correlation, err)
	}
	if got != correlation || string(b) != body {
		t.Fatalf("reply %d %.40q, want %d %.40q", got, b, correlation, body)
	}
}

func wantClosed(t testing.TB, c net.Conn) {
	t.Helper()
	if _, _, err := read(c); err == nil {
		t.Fatal("got a reply, want a closed connection")
	}
}

// parked is a Waiter that answers when its value is reached.
type parked struct {
	list    *park.List
	entry   park.Entry
	reached func() bool
	dropped func()
}

func (p *parked) park(c *call.Call, at int64, d time.Duration) call.Outcome {
	p.entry.Parker, p.entry.Owner = c.Conn.Parker, c
	p.list.Add(&p.entry, at)
	c.Deadline, c.Waiter = c.ReceivedAt.Add(d), p
	return call.Parked
}

func (p *parked) Ready(c *call.Call, _ *park.Entry) bool {
	if !p.reached() {
		return false
	}
	p.list.Remove(&p.entry)
	p.answer(c, "reached")
	return true
}

func (p *parked) Expire(c *call.Call) {
	p.list.Remove(&p.entry)
	p.answer(c, "expired")
}

func (p *parked) Drop(*call.Call) {
	p.list.Remove(&p.entry)
	if p.dropped != nil {
		p.dropped()
	}
}

func (p *parked) answer(c *call.Call, s string) {
	c.Reply.Begin(c.CorrelationID, false)
	c.Reply.Appender().Raw([]byte(s))
}
