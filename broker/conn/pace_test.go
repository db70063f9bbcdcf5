// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gregor/broker/call"
	"gregor/quota"
)

func rates(node, address float64) *quota.Manager {
	w := quota.Windows{Count: 11, Ms: 1000}
	m := quota.New(quota.Options{Client: w, Controller: w, Start: time.Now()})
	m.LimitConnections(node)
	l := quota.NewLimits()
	l.SetAddresses(address)
	m.Update(l)
	return m
}

// A connection that comes too fast from its address is not served, and is
// closed only after a while; what was open before stays.
func TestConnectionRateOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Rates = rates(0, 1) })
		var open []net.Conn
		for range 10 { // what ten seconds allow
			open = append(open, w.dial())
		}
		began := time.Now()
		late := w.dial()
		write(t, late, request(1, 1, nil))
		wantClosed(t, late)
		if d := time.Since(began); d <= 0 || d > time.Second {
			t.Errorf("closed after %v, want some of a second", d)
		}
		for i, c := range open {
			write(t, c, request(1, int32(i), nil))
			wantReply(t, c, int32(i), "")
		}
		if s := w.server.Stats(); s.ThrottledTotal != 1 || s.Connections != 10 {
			t.Errorf("%d throttled, %d open", s.ThrottledTotal, s.Connections)
		}
		time.Sleep(12 * time.Second)
		c := w.dial()
		write(t, c, request(1, 9, nil))
		wantReply(t, c, 9, "")
	})
}

// Many that are held do not outlive the server, nor take its descriptors.
func TestHeldConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Rates = rates(0, 0.001) })
		var list []net.Conn
		for range heldMax + 100 {
			list = append(list, w.dial())
		}
		synctest.Wait()
		w.server.mu.Lock()
		held := len(w.server.held)
		w.server.mu.Unlock()
		if held != heldMax {
			t.Errorf("%d are held, want %d", held, heldMax)
		}
		began := time.Now()
		w.server.Kill()
		for _, c := range list {
			wantClosed(t, c)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the last was closed %v after the server", d)
		}
	})
}

// max.connection.creation.rate lets peers wait in the backlog; none is lost.
func TestConnectionRateOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served atomic.Int64
		w := bubble(t, func(c *call.Call) call.Outcome { served.Add(1); return echo(c) },
			func(o *Options, _ *call.Listener) { o.Rates = rates(2, 0) })
		const count = 100
		began := time.Now()
		for range count {
			c := w.dial()
			go c.Write(request(1, 1, nil)) // what does not arrive is missed below
		}
		for served.Load() < count {
			time.Sleep(100 * time.Millisecond)
		}
		// 20 of them come at once.
		if d := time.Since(began); d < 35*time.Second || d > 50*time.Second {
			t.Errorf("%d connections took %v, 2 a second are allowed", count, d)
		}
	})
}

// The listener of brokers is not held back where clients have another one.
func TestConnectionRateSparesBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, at *call.Listener) { o.Rates, at.InterBroker = rates(1, 0), true })
		synctest.Wait()
		w.server.serving.Add(1) // as if clients had one
		began := time.Now()
		for range 50 {
			c := w.dial()
			write(t, c, request(1, 1, nil))
			wantReply(t, c, 1, "")
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("brokers waited %v", d)
		}
		if a := netip.MustParseAddr("10.0.0.1"); rates(0, 1).ConnectedFrom(a, time.Now()) != 0 {
			t.Error("the first connection of an address is too many")
		}
	})
}
