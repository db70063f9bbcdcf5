// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gregor/broker/call"
)

// Server accepts connections on any number of listeners and serves them with
// one Handler. It ends by Shutdown, which lets requests finish, or by Kill.
type Server struct {
	handler Handler
	limits  Limits
	budget  *Budget
	logger  *slog.Logger
	now     func() time.Time
	rates   Rates
	count   counters

	// serving is the number of listeners: that of brokers is privileged only
	// where clients have another one.
	serving atomic.Int32

	gather sync.Pool // of buffers that writers borrow

	drain   chan struct{} // closed when nothing new is taken
	running sync.WaitGroup

	mu        sync.Mutex // guards what follows
	draining  bool
	lastID    uint64
	listeners map[net.Listener]struct{}
	conns     map[*connection]struct{}
	perIP     map[netip.Addr]int
	// and of limits the three that LimitConnections changes
	room chan struct{}            // closed and replaced when a connection ends while acceptors wait
	held map[net.Conn]*time.Timer // throttled: closed when the timer fires
}

// counters are Stats as they are counted.
type counters struct {
	accepted, refused, throttled, idle, malformed, stalled, cut, panics, requests atomic.Int64
	received, sent, sendfile, parked, flushers, throttledMs                       atomic.Int64
}

// NewServer makes a Server; Serve starts it.
func NewServer(o Options) *Server {
	return &Server{
		handler: o.Handler, limits: o.Limits, budget: o.Budget, logger: o.Logger, now: o.Now, rates: o.Rates,
		drain:     make(chan struct{}),
		gather:    sync.Pool{New: func() any { return new([gatherBytes]byte) }},
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*connection]struct{}),
		perIP:     make(map[netip.Addr]int),
		held:      make(map[net.Conn]*time.Timer),
	}
}

// Serve accepts on l until l is closed or the server ends, and returns nil
// then. It closes l.
func (s *Server) Serve(l net.Listener, at *call.Listener) error {
	defer l.Close()
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.serving.Store(int32(len(s.listeners)))
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.serving.Store(int32(len(s.listeners)))
		s.mu.Unlock()
	}()

	backoff := time.Duration(0)
	for {
		if !s.awaitRoom(at) {
			return nil
		}
		socket, err := l.Accept()
		if err == nil {
			backoff = 0
			if !s.pace(at) {
				socket.Close()
				return nil
			}
			s.start(socket, at)
			continue
		}
		if errors.Is(err, net.ErrClosed) || s.isDraining() {
			return nil
		}
		// Out of descriptors, most likely: carry on when some are free again.
		backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
		s.logger.Warn("accept failed", "listener", at.Name, "retry_ms", backoff.Milliseconds(), "err", err)
		select {
		case <-time.After(backoff):
		case <-s.drain:
			return nil
		}
	}
}

// isPrivileged reports whether connections of the listener come before others
// when memory or connections are scarce: it is that of brokers, and clients
// have their own.
func (s *Server) isPrivileged(at *call.Listener) bool { return at.InterBroker && s.serving.Load() > 1 }

// awaitRoom waits while max.connections is reached, as Kafka's acceptor does:
// peers stay in the backlog. False means that the server ends.
func (s *Server) awaitRoom(at *call.Listener) bool {
	for {
		s.mu.Lock()
		if s.draining {
			s.mu.Unlock()
			return false
		}
		if s.isPrivileged(at) || len(s.conns) < s.limits.ConnectionsMax {
			s.mu.Unlock()
			return true
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-s.drain:
			return false
		}
	}
}

func (s *Server) start(socket net.Conn, at *call.Listener) {
	remote := remoteOf(socket)
	ip := remote.Addr()
	if s.rates != nil && ip.IsValid() {
		if wait := s.rates.ConnectedFrom(ip, s.now()); wait > 0 {
			s.hold(socket, wait)
			return
		}
	}
	s.mu.Lock()
	perIPMax, ok := s.limits.PerIP[ip]
	if !ok {
		perIPMax = s.limits.ConnectionsPerIPMax
	}
	if s.draining || s.perIP[ip] >= perIPMax {
		refused := !s.draining
		s.mu.Unlock()
		if refused {
			s.count.refused.Add(1)
			s.logger.Info("connection refused", "listener", at.Name, "remote", remote, "reason", "max.connections.per.ip")
		}
		socket.Close()
		return
	}
	s.lastID++
	c := newConnection(s, socket, at, remote, s.lastID)
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.running.Add(1)
	s.mu.Unlock()
	s.count.accepted.Add(1)
	go c.serve()
}

// LimitConnections changes max.connections and the limits per address for
// connections to come; those there are stay.
func (s *Server) LimitConnections(connectionsMax, perIPMax int, perIP map[netip.Addr]int) {
	s.mu.Lock()
	s.limits.ConnectionsMax, s.limits.ConnectionsPerIPMax, s.limits.PerIP = connectionsMax, perIPMax, perIP
	room := s.room
	s.room = nil
	s.mu.Unlock()
	if room != nil {
		close(room)
	}
}

// ended is called by a connection's goroutine as its last act.
func (s *Server) ended(c *connection) {
	s.mu.Lock()
	delete(s.conns, c)
	ip := c.info.Remote.Addr()
	if s.perIP[ip]--; s.perIP[ip] <= 0 {
		delete(s.perIP, ip)
	}
	room := s.room
	s.room = nil
	s.mu.Unlock()
	if room != nil {
		close(room)
	}
	s.running.Done()
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// stop takes nothing new from here on and returns the connections there are.
func (s *Server) stop() []*connection {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		close(s.drain)
	}
	conns := make([]*connection, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	listeners := make([]net.Listener, 0, len(s.listeners))
	for l := range s.listeners {
		listeners = append(listeners, l)
	}
	held := s.held
	s.held = nil
	s.mu.Unlock()
	for socket, timer := range held {
		timer.Stop()
		socket.Close()
	}
	for _, l := range listeners {
		l.Close()
	}
	return conns
}

// Shutdown stops accepting, lets requests that were received whole finish and
// their replies leave, then closes. When ctx ends first, the rest is killed
// and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		c.leave()
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.Kill()
		return ctx.Err()
	}
}

// Kill closes every socket at once and waits until no handler runs.
func (s *Server) Kill() {
	for _, c := range s.stop() {
		c.leave()
		c.box.abandon()
	}
	s.running.Wait()
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	used, waits := s.budget.usage()
	return Stats{
		Connections: int64(open), AcceptedTotal: s.count.accepted.Load(), RefusedTotal: s.count.refused.Load(), ThrottledTotal: s.count.throttled.Load(),
		IdleClosedTotal: s.count.idle.Load(), MalformedTotal: s.count.malformed.Load(), StalledTotal: s.count.stalled.Load(),
		CutTotal: s.count.cut.Load(), PanicsTotal: s.count.panics.Load(), RequestsTotal: s.count.requests.Load(),
		ReceivedBytesTotal: s.count.received.Load(), SentBytesTotal: s.count.sent.Load(),
		SendfileBytesTotal: s.count.sendfile.Load(), ParkedTotal: s.count.parked.Load(), FlushersTotal: s.count.flushers.Load(),
		BudgetUsedBytes: used, BudgetWaitsTotal: waits, ThrottledMillisTotal: s.count.throttledMs.Load(),
	}
}

func remoteOf(socket net.Conn) netip.AddrPort {
	if a, ok := socket.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	ap, err := netip.ParseAddrPort(socket.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{} // an in-process peer
	}
	return ap
}
