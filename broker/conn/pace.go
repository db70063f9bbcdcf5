// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"net"
	"time"

	"gregor/broker/call"
)

// heldMax bounds the throttled connections that wait to be closed; more are
// closed at once.
const heldMax = 1024

// pace waits while the node has taken connections too fast, as Kafka's acceptor
// does: peers stay in the backlog. False means that the server ends.
func (s *Server) pace(at *call.Listener) bool {
	if s.rates == nil || s.isPrivileged(at) {
		return true
	}
	wait := s.rates.Connected(s.now())
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.drain:
		return false
	}
}

// hold closes a connection that came too fast after a while: a peer that is
// refused at once tries again at once.
func (s *Server) hold(socket net.Conn, wait time.Duration) {
	s.count.throttled.Add(1)
	s.mu.Lock()
	full := s.held == nil || len(s.held) >= heldMax
	if !full {
		s.held[socket] = time.AfterFunc(wait, func() {
			s.mu.Lock()
			delete(s.held, socket)
			s.mu.Unlock()
			socket.Close()
		})
	}
	s.mu.Unlock()
	if full {
		socket.Close()
	}
}
