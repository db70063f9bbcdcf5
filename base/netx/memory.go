// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Memory is a network of named hosts in memory. Each host has a name, an
// address of its own (10.0.0.1 and on) and its own loopback.
//
// Between two hosts lie two links, one each way. A cut link delivers nothing,
// neither bytes nor the end of a stream, but loses nothing either: as TCP does,
// it delivers after Heal, and a writer blocks once the buffer is full. Only
// Reset breaks connections. A dial needs both links.
//
// It is for synctest bubbles: who waits waits in a sync.Cond, and every lock is
// held over memory only. Order of locks: Memory.mu before a stream's.
type Memory struct {
	mu      sync.Mutex // guards what follows
	changed *sync.Cond // a link healed or a dial gave up
	hosts   map[string]*host
	byIP    map[netip.Addr]*host
	links   map[[2]*host]*link
}

type host struct {
	net       *Memory
	name      string
	ip        netip.Addr
	nextPort  int
	listeners map[int]*listener
}

// link carries the bytes from one host to another.
type link struct {
	cut     bool
	delay   time.Duration
	streams map[*stream]struct{}
}

const (
	firstPort  = 30000 // of those that port 0 gives
	backlogMax = 4096
)

// NewMemory returns a network without hosts.
func NewMemory() *Memory {
	m := &Memory{hosts: map[string]*host{}, byIP: map[netip.Addr]*host{}, links: map[[2]*host]*link{}}
	m.changed = sync.NewCond(&m.mu)
	return m
}

// Host gives the network as the host of that name sees it. The host is there
// from the first call on.
func (m *Memory) Host(name string) Net {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hostLocked(name)
}

func (m *Memory) hostLocked(name string) *host {
	if h := m.hosts[name]; h != nil {
		return h
	}
	n := len(m.hosts) + 1
	h := &host{net: m, name: name, nextPort: firstPort, listeners: map[int]*listener{},
		ip: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}
	m.hosts[name], m.byIP[h.ip] = h, h
	return h
}

func (m *Memory) linkLocked(from, to *host) *link {
	key := [2]*host{from, to}
	l := m.links[key]
	if l == nil {
		l = &link{streams: map[*stream]struct{}{}}
		m.links[key] = l
	}
	return l
}

// Cut stops what goes from one host to another; the way back stays open.
func (m *Memory) Cut(from, to string) {
	m.change(from, to, func(l *link) { l.cut = true })
}

// Heal undoes Cut: what was written meanwhile arrives.
func (m *Memory) Heal(from, to string) {
	m.change(from, to, func(l *link) { l.cut = false })
}

// Delay makes what is written from now on arrive d later. Order is kept.
func (m *Memory) Delay(from, to string, d time.Duration) {
	m.change(from, to, func(l *link) { l.delay = d })
}

func (m *Memory) change(from, to string, f func(*link)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.linkLocked(m.hostLocked(from), m.hostLocked(to))
	f(l)
	for s := range l.streams {
		s.setLink(l.cut, l.delay)
	}
	m.changed.Broadcast()
}

// Reset breaks every connection between two hosts, at both ends and through a
// cut. What was not read yet is lost.
func (m *Memory) Reset(a, b string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ha, hb := m.hostLocked(a), m.hostLocked(b)
	for _, l := range []*link{m.linkLocked(ha, hb), m.linkLocked(hb, ha)} {
		for s := range l.streams {
			s.reset()
		}
	}
}

// ResetHost breaks every connection of a host and closes its listeners, as the
// end of its process would.
func (m *Memory) ResetHost(name string) {
	m.mu.Lock()
	h := m.hostLocked(name)
	for ends, l := range m.links {
		if ends[0] != h && ends[1] != h {
			continue
		}
		for s := range l.streams {
			s.reset()
		}
	}
	var open []*listener
	for _, l := range h.listeners {
		open = append(open, l)
	}
	m.mu.Unlock()
	for _, l := range open {
		l.Close()
	}
}

// resolveLocked finds whom a name or an address means, as seen from h.
func (h *host) resolveLocked(name string) (to *host, ip netip.Addr, err error) {
	if name == "localhost" {
		return h, netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	ip, err = netip.ParseAddr(name)
	if err != nil {
		to = h.net.hosts[name]
		if to == nil {
			return nil, ip, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		return to, to.ip, nil
	}
	if ip.IsLoopback() || ip.IsUnspecified() {
		return h, ip, nil
	}
	if to = h.net.byIP[ip]; to == nil {
		return nil, ip, os.NewSyscallError("connect", syscall.EHOSTUNREACH)
	}
	return to, ip, nil
}

func splitAddr(addr string) (name string, port int, err error) {
	name, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("invalid port %q", text)
	}
	return name, port, nil
}

func tcpAddr(ip netip.Addr, port int) *net.TCPAddr {
	return &net.TCPAddr{IP: ip.AsSlice(), Port: port}
}

// Listen implements Net.
func (h *host) Listen(ctx context.Context, addr string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: fmt.Errorf("%s: %w", addr, err)}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	name, port, err := splitAddr(addr)
	if err != nil {
		return fail(err)
	}
	if name == "" {
		name = "::"
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	on, ip, err := h.resolveLocked(name)
	if err != nil {
		return fail(err)
	}
	if on != h {
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	if port == 0 {
		for h.listeners[h.nextPort] != nil {
			h.nextPort++
		}
		port = h.nextPort
		h.nextPort++
	}
	if h.listeners[port] != nil {
		return fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	l := &listener{host: h, addr: tcpAddr(ip, port), ip: ip}
	l.ready = sync.NewCond(&l.mu)
	h.listeners[port] = l
	return l, nil
}

// Dial implements Net.
func (h *host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("%s: %w", addr, err)}
	}
	name, port, err := splitAddr(addr)
	if err != nil {
		return fail(err)
	}
	m := h.net
	stop := context.AfterFunc(ctx, func() {
		m.mu.Lock()
		m.changed.Broadcast()
		m.mu.Unlock()
	})
	defer stop()

	m.mu.Lock()
	to, ip, err := h.resolveLocked(name)
	if err != nil {
		m.mu.Unlock()
		return fail(err)
	}
	there, back := m.linkLocked(h, to), m.linkLocked(to, h)
	for (there.cut || back.cut) && ctx.Err() == nil {
		m.changed.Wait()
	}
	roundTrip := there.delay + back.delay
	m.mu.Unlock()
	if err := sleep(ctx, roundTrip); err != nil {
		return fail(err)
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	l := to.listeners[port]
	if l == nil || !l.answers(ip) {
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	localIP := h.ip
	if ip.IsLoopback() || ip.IsUnspecified() {
		localIP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		ip = localIP
	}
	local, remote := tcpAddr(localIP, h.nextPort), tcpAddr(ip, port)
	h.nextPort++
	if h.nextPort > 65535 {
		h.nextPort = firstPort
	}
	out, in := m.newStreamLocked(there), m.newStreamLocked(back)
	if !l.push(&conn{net: m, in: out, out: in, local: remote, remote: local}) {
		out.reset()
		in.reset()
		delete(there.streams, out)
		delete(back.streams, in)
		return fail(os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return &conn{net: m, in: in, out: out, local: local, remote: remote}, nil
}

func (m *Memory) newStreamLocked(l *link) *stream {
	s := newStream(l)
	l.streams[s] = struct{}{}
	return s
}

// forget drops a stream whose two ends are closed.
func (m *Memory) forget(s *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(s.link.streams, s)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type listener struct {
	host *host
	addr *net.TCPAddr
	ip   netip.Addr

	mu     sync.Mutex // guards what follows
	ready  *sync.Cond
	queue  []*conn
	closed bool
}

// answers reports whether a connection to ip reaches this listener.
func (l *listener) answers(ip netip.Addr) bool {
	return l.ip.IsUnspecified() || l.ip == ip || l.ip.IsLoopback() && (ip.IsLoopback() || ip.IsUnspecified())
}

func (l *listener) push(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) == backlogMax {
		return false
	}
	l.queue = append(l.queue, c)
	l.ready.Signal()
	return true
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.ready.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *listener) Close() error {
	l.mu.Lock()
	queue, closed := l.queue, l.closed
	l.queue, l.closed = nil, true
	l.ready.Broadcast()
	l.mu.Unlock()
	if closed {
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.host.net.mu.Lock()
	delete(l.host.listeners, l.addr.Port)
	l.host.net.mu.Unlock()
	for _, c := range queue {
		c.in.reset()
		c.out.reset()
		c.Close()
	}
	return nil
}

// Addr implements net.Listener. It is a *net.TCPAddr.
func (l *listener) Addr() net.Addr { return l.addr }
