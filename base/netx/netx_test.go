// SPDX-License-Identifier: Apache-2.0

package netx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair connects client to a listener of server.
func pair(t *testing.T, server, client Net, addr string) (a, b net.Conn) {
	t.Helper()
	l, err := server.Listen(t.Context(), addr)
	ok(t, err)
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	b, err = client.Dial(t.Context(), l.Addr().String())
	ok(t, err)
	a = <-accepted
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// onBoth runs a test on loopback TCP and on the memory network in a bubble: the
// twin must not differ from the real one.
func onBoth(t *testing.T, test func(t *testing.T, a, b net.Conn)) {
	t.Run("os", func(t *testing.T) {
		a, b := pair(t, OS{}, OS{}, "127.0.0.1:0")
		test(t, a, b)
	})
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := NewMemory()
			a, b := pair(t, m.Host("a"), m.Host("b"), "a:0")
			test(t, a, b)
		})
	})
	t.Run("loopback", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := NewMemory().Host("a")
			a, b := pair(t, h, h, "127.0.0.1:0")
			test(t, a, b)
		})
	})
}

func TestBytesArriveInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, a, b net.Conn) {
		sent := make([]byte, 3<<20) // more than any buffer holds
		random := rand.New(rand.NewPCG(1, 2))
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		var wg sync.WaitGroup
		for _, ends := range [][2]net.Conn{{a, b}, {b, a}} { // both ways at once
			wg.Go(func() {
				if n, err := ends[0].Write(sent); n != len(sent) || err != nil {
					t.Error(n, err)
				}
			})
			wg.Go(func() {
				got := make([]byte, len(sent))
				if _, err := io.ReadFull(ends[1], got); err != nil || !bytes.Equal(got, sent) {
					t.Error("other bytes arrived:", err)
				}
			})
		}
		wg.Wait()
	})
}

func TestTwoSidesWriteAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, a, b net.Conn) {
		for _, c := range []net.Conn{a, b} {
			if n, err := c.Write(make([]byte, 10_000)); n != 10_000 || err != nil {
				t.Fatal("an unread peer stopped a small write:", n, err)
			}
		}
	})
}

func TestDeadlines(t *testing.T) {
	onBoth(t, func(t *testing.T, a, b net.Conn) {
		buf := make([]byte, 1)
		start := time.Now()
		ok(t, a.SetReadDeadline(start.Add(20*time.Millisecond)))
		_, err := a.Read(buf)
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 20*time.Millisecond {
			t.Fatal("too early:", took)
		}
		if _, err := a.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("a passed deadline stays:", err)
		}
		if _, err := b.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		ok(t, a.SetReadDeadline(time.Time{}))
		if _, err := a.Read(buf); err != nil || buf[0] != 'x' {
			t.Fatal("without a deadline reading goes on:", err)
		}

		// A deadline in the past ends a read that waits already.
		failed := make(chan error, 1)
		go func() {
			_, err := a.Read(buf)
			failed <- err
		}()
		time.Sleep(10 * time.Millisecond)
		ok(t, a.SetReadDeadline(time.Unix(1, 0)))
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}

		ok(t, b.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
		n, err := b.Write(make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 64<<20 {
			t.Fatal("a write to a peer that does not read:", n, err)
		}
		ok(t, b.SetDeadline(time.Time{}))
	})
}

func TestClose(t *testing.T) {
	onBoth(t, func(t *testing.T, a, b net.Conn) {
		if _, err := a.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			waiting <- err
		}()
		time.Sleep(10 * time.Millisecond)
		ok(t, a.Close())
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Fatal("a read that waited:", err)
		}
		if got, err := io.ReadAll(b); err != nil || string(got) != "last words" {
			t.Fatalf("%q, %v", got, err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if err := a.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		ok(t, b.SetWriteDeadline(time.Now().Add(time.Minute)))
		for {
			if _, err := b.Write(make([]byte, 1000)); err != nil {
				if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
					t.Fatal("writing to a closed peer:", err)
				}
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func TestCloseWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, a, b net.Conn) {
		ok(t, a.(interface{ CloseWrite() error }).CloseWrite())
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		if _, err := b.Write([]byte("y")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1)
		if _, err := a.Read(buf); err != nil || buf[0] != 'y' {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Fatal(err)
		}
	})
}

// quiet listens at a port that is free, and that nobody is given who asks for any.
func quiet(t *testing.T, n Net, host string) net.Listener {
	t.Helper()
	for left := 100; ; left-- {
		l, err := n.Listen(t.Context(), net.JoinHostPort(host, strconv.Itoa(20_000+rand.IntN(12_000))))
		if err == nil || left == 0 {
			ok(t, err)
			return l
		}
	}
}

func TestListen(t *testing.T) {
	every := map[string]func() (Net, string){
		"os":     func() (Net, string) { return OS{}, "127.0.0.1" },
		"memory": func() (Net, string) { return NewMemory().Host("n1"), "n1" },
	}
	for name, start := range every {
		t.Run(name, func(t *testing.T) {
			n, host := start()
			l, err := n.Listen(t.Context(), host+":0")
			ok(t, err)
			port := l.Addr().(*net.TCPAddr).Port
			if port == 0 {
				t.Fatal("port 0 gave no number")
			}
			if _, err := n.Listen(t.Context(), l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
			other, err := n.Listen(t.Context(), host+":0")
			ok(t, err)
			if other.Addr().(*net.TCPAddr).Port == port {
				t.Fatal("one port for two listeners")
			}
			other.Close()
			ok(t, l.Close())

			// Once more at a port that the system gives to nobody: others listen, too.
			l = quiet(t, n, host)
			accepting := make(chan error, 1)
			go func() {
				_, err := l.Accept()
				accepting <- err
			}()
			ok(t, l.Close())
			if err := <-accepting; !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
			if _, err := n.Dial(t.Context(), l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatal(err)
			}
			if _, err := n.Listen(t.Context(), "nonsense"); err == nil {
				t.Fatal("an address without a port was taken")
			}
			again, err := n.Listen(t.Context(), l.Addr().String())
			ok(t, err)
			again.Close()
		})
	}
}

func TestHostsHaveTheirOwnLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := m.Host("a"), m.Host("b")
		own, err := a.Listen(t.Context(), "localhost:9092")
		ok(t, err)
		defer own.Close()
		for _, addr := range []string{"localhost:9092", "127.0.0.1:9092"} {
			if _, err := b.Dial(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Fatalf("%s of another host: %v", addr, err)
			}
			c, err := a.Dial(t.Context(), addr)
			ok(t, err)
			c.Close()
		}
		if _, err := b.Dial(t.Context(), "a:9092"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal("a loopback listener answered a stranger:", err)
		}
		open, err := a.Listen(t.Context(), ":9093")
		ok(t, err)
		defer open.Close()
		c, err := b.Dial(t.Context(), "a:9093")
		ok(t, err)
		if got := c.RemoteAddr().String(); got != "10.0.0.1:9093" {
			t.Fatal(got)
		}
		c.Close()
		c, err = b.Dial(t.Context(), "10.0.0.1:9093")
		ok(t, err)
		c.Close()
		var dns *net.DNSError
		if _, err := b.Dial(t.Context(), "c:1"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Fatal(err)
		}
		if _, err := b.Listen(t.Context(), "a:1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Fatal(err)
		}
	})
}

func TestCutHoldsOneWayAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := pair(t, m.Host("a"), m.Host("b"), "a:0")
		m.Cut("a", "b")
		_, err := a.Write([]byte("held"))
		ok(t, err)
		buf := make([]byte, 10)
		ok(t, b.SetReadDeadline(time.Now().Add(time.Hour)))
		if _, err := b.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("bytes passed a cut:", err)
		}
		_, err = b.Write([]byte("back"))
		ok(t, err)
		if n, err := a.Read(buf); err != nil || string(buf[:n]) != "back" {
			t.Fatal("the way back is cut too:", err)
		}
		ok(t, a.Close())
		m.Heal("a", "b")
		ok(t, b.SetReadDeadline(time.Time{}))
		if got, err := io.ReadAll(b); err != nil || string(got) != "held" {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func TestDialWaitsForACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := m.Host("a"), m.Host("b")
		l, err := a.Listen(t.Context(), "a:9092")
		ok(t, err)
		defer l.Close()
		m.Cut("a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := b.Dial(ctx, "a:9092"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Second {
			t.Fatal(took)
		}
		time.AfterFunc(time.Minute, func() { m.Heal("a", "b") })
		c, err := b.Dial(t.Context(), "a:9092")
		ok(t, err)
		c.Close()
		if took := time.Since(start); took != time.Minute+time.Second {
			t.Fatal(took)
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := pair(t, m.Host("a"), m.Host("b"), "a:0")
		m.Delay("a", "b", 100*time.Millisecond)
		start := time.Now()
		_, err := a.Write([]byte("slow"))
		ok(t, err)
		m.Delay("a", "b", 0)
		_, err = a.Write([]byte("fast")) // may not overtake
		ok(t, err)
		buf := make([]byte, 8)
		_, err = io.ReadFull(b, buf)
		ok(t, err)
		if took := time.Since(start); took != 100*time.Millisecond || string(buf) != "slowfast" {
			t.Fatalf("%q after %v", buf, took)
		}
		_, err = b.Write([]byte("y"))
		ok(t, err)
		_, err = a.Read(buf)
		ok(t, err)
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Fatal("the way back is slow too:", took)
		}
		m.Delay("b", "a", 30*time.Millisecond)
		start = time.Now()
		l, err := m.Host("a").Listen(t.Context(), "a:0")
		ok(t, err)
		defer l.Close()
		c, err := m.Host("b").Dial(t.Context(), l.Addr().String())
		ok(t, err)
		c.Close()
		if took := time.Since(start); took != 30*time.Millisecond {
			t.Fatal("a dial takes a round trip:", took)
		}
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		a, b := pair(t, m.Host("a"), m.Host("b"), "a:0")
		c, _ := pair(t, m.Host("a"), m.Host("c"), "a:0")
		failed := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			failed <- err
		}()
		synctest.Wait()
		m.Reset("b", "a")
		if err := <-failed; !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal("a reset hit another pair:", err)
		}
		l, err := m.Host("a").Listen(t.Context(), "a:1")
		ok(t, err)
		m.ResetHost("a")
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}

func TestClosedConnectionsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		for range 10 {
			a, b := pair(t, m.Host("a"), m.Host("b"), "a:0")
			a.Close()
			b.Close()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, l := range m.links {
			if len(l.streams) != 0 {
				t.Fatal("streams kept:", len(l.streams))
			}
		}
	})
}
