// SPDX-License-Identifier: Apache-2.0

// Package call holds one request on its way through the broker, and what is
// known of the connection that it came in on.
//
// A Call is owned by its connection, which uses it again for later requests;
// so is everything that a handler hangs on Scratch and State. A handler may
// use Payload and Body only until Handle returns: the frame goes back to its pool then,
// even if the reply is parked. Nothing here is safe for concurrent use: a Call
// is touched by its connection's goroutine until it is parked, and then by the
// connection's flusher alone.
package call

import (
	"net/netip"
	"time"

	"gregor/base/park"
	"gregor/security"
	"gregor/wire/reply"
)

// Listener is what handlers may know of the listener a connection came in on.
type Listener struct {
	Name string
	// Controller and Broker say which of table.go's APIs the listener offers.
	// A listener of both kinds does not exist.
	Role Role
	// InterBroker marks the listener whose peers may be brokers: broker-only
	// APIs and replica ids of 0 and more are refused on all others.
	InterBroker bool
	// Host and Port are the bound address, for logs.
	Host string
	Port int32
}

// Role is what a listener serves.
type Role uint8

// The roles of a listener, as bits.
const (
	Broker     Role = 1 << iota // clients and brokers
	Controller                  // controllers
)

// Conn is one connection as its requests see it.
type Conn struct {
	ID        uint64 // counts the connections of a node, for logs
	Listener  *Listener
	Principal security.Principal
	Remote    netip.AddrPort

	// Parker collects the wakes of parked replies. A parked Call's entries
	// have their Owner set to the *Call.
	Parker *park.Parker
	// Closed is closed when the connection must end: long polls leave then.
	Closed <-chan struct{}

	// ClientSoftware is what ApiVersions told of the client, for metrics.
	ClientSoftware struct{ Name, Version string }

	// State is for the handler: what it keeps per connection.
	State any
}

// Outcome says what became of a request.
type Outcome uint8

// The outcomes of Handle.
const (
	// Done: Reply is whole.
	Done Outcome = iota
	// Parked: Waiter will complete Reply. Deadline is set.
	Parked
	// NoReply: the request has no answer (a Produce with acks=0).
	NoReply
	// Close: the connection is closed, without an answer. CloseReason tells.
	Close
)

// Waiter completes a parked reply. Its methods are called by the connection's
// flusher, one at a time.
type Waiter interface {
	// Ready takes an entry that woke and reports whether c.Reply is whole now.
	// e is nil when the flusher sees c for the first time: everything is to be
	// looked at then.
	Ready(c *Call, e *park.Entry) bool
	// Expire completes c.Reply: the deadline has passed.
	Expire(c *Call)
	// Drop forgets c: its connection is gone. All entries leave their lists.
	Drop(c *Call)
}

// Call is one request and its reply slot.
type Call struct {
	Conn          *Conn
	Key           int16
	Version       int16
	CorrelationID int32
	// Payload is the frame behind its size, header included. The connection
	// fills in the fields above from what all headers have in common.
	Payload []byte
	// ClientID and Body are the rest of the header, null as empty, and what
	// follows it. The handler fills them in, since it knows which versions
	// have which header. Body aliases the frame.
	ClientID   string
	Body       []byte
	ReceivedAt time.Time

	// Reply is the answer, size prefix and header included.
	Reply reply.Reply
	// ThrottleMs mutes the connection for so long after the reply has left.
	ThrottleMs int32

	// Deadline and Waiter belong to a parked reply.
	Deadline time.Time
	Waiter   Waiter

	// CloseReason says why the outcome is Close, for the log line.
	CloseReason error

	// Scratch is for the handler: what it keeps per slot.
	Scratch any
}

// Reset readies c for its next request. Capacities, Scratch and Conn stay.
func (c *Call) Reset() {
	c.Reply.Reset()
	c.Key, c.Version, c.CorrelationID = 0, 0, 0
	c.ClientID, c.Body, c.Payload = "", nil, nil
	c.ReceivedAt, c.Deadline = time.Time{}, time.Time{}
	c.Waiter, c.CloseReason, c.ThrottleMs = nil, nil, 0
}
