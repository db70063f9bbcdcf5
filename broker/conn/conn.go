// SPDX-License-Identifier: Apache-2.0

// Package conn carries Kafka's frames between sockets and a Handler. It knows
// no API: a frame's header gives key, version, correlation id and client id,
// the rest is the handler's.
//
//	frame   = size int32 | header | body
//	reply   = size int32 | correlation id int32 | (tags) | body
//
// Promises:
//   - Replies leave a connection in the order of its requests, also when the
//     handler parks some of them; a request without a reply takes no slot.
//   - Memory follows the bytes that were received, never those that a size
//     claims, and all connections together stay within one Budget.
//   - A malformed frame, a panic in the handler or a peer that does not read
//     cost that connection and nothing else.
//
// A connection has one goroutine that reads, runs the handler and writes; a
// second, its flusher, exists only while parked replies wait. Server is safe
// for concurrent use.
package conn

import (
	"log/slog"
	"net/netip"
	"time"

	"gregor/broker/call"
)

// Handler answers requests. Handle is called by the goroutine of the
// connection, one request at a time; it may wait (a long poll), but leaves
// when Conn.Closed is closed. A panic costs the connection.
type Handler interface {
	// Open is called once for a new connection, before its first request.
	Open(c *call.Conn)
	// Handle answers c: see call.Outcome.
	Handle(c *call.Call) call.Outcome
	// Answered is called when the reply of c has been written whole. It must
	// not keep c, nor wait.
	Answered(c *call.Call, at time.Time)
	// Gone is called once when the connection has ended and its parked replies
	// were dropped.
	Gone(c *call.Conn)
}

// Limits bound what peers may take. Every field must be set.
type Limits struct {
	// FrameBytesMax is the largest request, socket.request.max.bytes.
	FrameBytesMax int32
	// PipelineMax is how many replies of a connection may wait behind a parked
	// one before it stops reading, gregor.connection.pipeline.
	PipelineMax int
	// IdleMax closes a connection that neither sent nor took anything for so
	// long, connections.max.idle.ms. 0 is no limit.
	IdleMax time.Duration
	// StallMax closes a connection whose large frame stops arriving, or that
	// waits for memory, for so long.
	StallMax time.Duration
	// ReplyStallMax closes a connection that takes nothing of a reply for so
	// long, where IdleMax is no limit: a reply holds segments.
	ReplyStallMax time.Duration
	// ConnectionsMax stops accepting at so many, max.connections. The listener
	// for brokers is exempt, if clients have another one.
	ConnectionsMax int
	// ConnectionsPerIPMax closes further connections of one address,
	// max.connections.per.ip; PerIP overrides it.
	ConnectionsPerIPMax int
	PerIP               map[netip.Addr]int
}

// DefaultLimits are Kafka's defaults where Kafka has the limit.
func DefaultLimits() Limits {
	return Limits{
		FrameBytesMax:       100 << 20,
		PipelineMax:         64,
		IdleMax:             10 * time.Minute,
		StallMax:            30 * time.Second,
		ReplyStallMax:       10 * time.Minute,
		ConnectionsMax:      1<<31 - 1,
		ConnectionsPerIPMax: 1<<31 - 1,
	}
}

// Rates judges new connections by how many there were lately.
type Rates interface {
	// Connected counts one of the node, and says for how long no other is taken.
	Connected(now time.Time) time.Duration
	// ConnectedFrom counts one of an address. If it is not 0 the connection is
	// one too many: its peer learns that after so long.
	ConnectedFrom(a netip.Addr, now time.Time) time.Duration
}

// Options make a Server.
type Options struct {
	Handler Handler
	Limits  Limits
	Budget  *Budget
	// Rates may be nil: connections may come as fast as they like.
	Rates  Rates
	Logger *slog.Logger
	Now    func() time.Time
}

// Stats are the counters of a Server. Those that end in Total only grow.
type Stats struct {
	Connections          int64 // open now
	AcceptedTotal        int64
	RefusedTotal         int64 // over max.connections.per.ip
	ThrottledTotal       int64 // over the rate of their address
	IdleClosedTotal      int64
	MalformedTotal       int64 // closed for a malformed frame or an unsupported request
	StalledTotal         int64 // closed for a frame that stopped arriving or for want of memory
	CutTotal             int64 // closed because a section of a reply was truncated under it
	PanicsTotal          int64
	RequestsTotal        int64
	ReceivedBytesTotal   int64
	SentBytesTotal       int64
	SendfileBytesTotal   int64 // part of SentBytesTotal
	ParkedTotal          int64
	FlushersTotal        int64
	BudgetUsedBytes      int64
	BudgetWaitsTotal     int64
	ThrottledMillisTotal int64
}
