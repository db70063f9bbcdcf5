// SPDX-License-Identifier: Apache-2.0

// Package netx is gregor's seam to the network. OS is the real one; Memory is
// its twin for synctest bubbles: buffered, so that two sides that write at
// once do not deadlock, and able to delay, to cut one way and to reset.
package netx

import (
	"context"
	"net"
)

// Net listens and dials TCP.
type Net interface {
	// Listen binds a "host:port"; port 0 takes a free one.
	Listen(ctx context.Context, addr string) (net.Listener, error)
	// Dial connects to a "host:port".
	Dial(ctx context.Context, addr string) (net.Conn, error)
}
