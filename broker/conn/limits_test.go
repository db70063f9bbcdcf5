// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"gregor/broker/call"
)

// Limits change while connections wait for them, and those that are open stay.
func TestLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Limits.ConnectionsMax = 1 })
		first, second := w.dial(), w.dial()
		write(t, second, request(1, 1, nil))
		synctest.Wait()
		if got := w.server.Stats().Connections; got != 1 {
			t.Fatalf("%d connections are served", got)
		}
		w.server.LimitConnections(2, 100, nil)
		wantReply(t, second, 1, "")
		w.server.LimitConnections(1, 100, nil)
		for i, c := range []net.Conn{first, second} {
			write(t, c, request(1, int32(i)+5, nil))
			wantReply(t, c, int32(i)+5, "")
		}
		w.server.LimitConnections(10, 2, nil)
		wantClosed(t, w.dial())
		ip := netip.MustParseAddrPort(first.LocalAddr().String()).Addr()
		w.server.LimitConnections(10, 2, map[netip.Addr]int{ip: 3})
		third := w.dial()
		write(t, third, request(1, 9, nil))
		wantReply(t, third, 9, "")
	})
}
