// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"context"
	"net"
)

// OS is the operating system's TCP. Package net sets TCP_NODELAY on every
// connection, which a request and reply protocol wants.
type OS struct{}

var _ Net = OS{}

// Listen implements Net.
func (OS) Listen(ctx context.Context, addr string) (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(ctx, "tcp", addr)
}

// Dial implements Net.
func (OS) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
