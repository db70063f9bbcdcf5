// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/park"
	"gregor/broker/call"
)

func TestFramesOfAllSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, nil)
		c := w.dial()
		sizes := []int{0, 1, 490, 500, 501, 502, 511, 512, 513, 16371, 16372, 16373, 16384, 16385, 32768, 100_000, 1 << 20, 5 << 20, 3}
		for i, n := range sizes {
			body := strings.Repeat("x", n)
			go c.Write(request(1, int32(i), []byte(body)))
			wantReply(t, c, int32(i), body)
		}
		if used := w.server.Stats().BudgetUsedBytes; used != 0 {
			t.Errorf("%d bytes of the budget are in use while nothing is received", used)
		}
	})
}

// Several requests in one packet, and one request in many.
func TestFramesInAnyPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, nil)
		c := w.dial()
		var all []byte
		for i := range int32(50) {
			all = append(all, request(1, i, bytes.Repeat([]byte{byte(i)}, int(i)*37))...)
		}
		for piece := range slicesOf(all, 7) {
			write(t, c, piece)
			synctest.Wait()
		}
		write(t, c, all)
		for round := range 2 {
			for i := range int32(50) {
				wantReply(t, c, i, string(bytes.Repeat([]byte{byte(i)}, int(i)*37)))
			}
			_ = round
		}
	})
}

func slicesOf(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(b) > 0 {
			k := min(n, len(b))
			if !yield(b[:k]) {
				return
			}
			b = b[k:]
		}
	}
}

func TestMalformedFramesCloseTheConnection(t *testing.T) {
	for _, size := range []int32{-1, -1 << 31, 0, 1, 7, 100<<20 + 1, 1<<31 - 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := bubble(t, echo, nil)
				c, other := w.dial(), w.dial()
				write(t, c, binary.BigEndian.AppendUint32(nil, uint32(size)))
				wantClosed(t, c)
				synctest.Wait()
				if got := w.server.Stats().MalformedTotal; got != 1 {
					t.Errorf("malformed frames counted: %d", got)
				}
				write(t, other, request(1, 1, []byte("fine")))
				wantReply(t, other, 1, "fine")
			})
		})
	}
}

// The law: memory follows the bytes that arrive, never those that are claimed.
func TestThousandConnectionsThatClaimMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, nil)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		claim := request(0, 1, nil)
		binary.BigEndian.PutUint32(claim, 100<<20)
		for range 1000 {
			write(t, w.dial(), append(claim, make([]byte, 600)...))
		}
		synctest.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if got := w.server.Stats().Connections; got != 1000 {
			t.Fatalf("%d connections are open", got)
		}
		if used := int64(after.HeapInuse) + int64(after.StackInuse) - int64(before.HeapInuse) - int64(before.StackInuse); used > 64<<20 {
			t.Errorf("%d MiB are in use, want less than 64", used>>20)
		}
		if used := w.server.Stats().BudgetUsedBytes; used > 1000*firstBytes {
			t.Errorf("%d bytes are charged, want at most %d", used, 1000*firstBytes)
		}
		// A node that is attacked so still answers.
		c := w.dial()
		write(t, c, request(1, 7, []byte("small")))
		wantReply(t, c, 7, "small")
	})
}

func TestFrameThatStopsArriving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Limits.StallMax = 30 * time.Second })
		c := w.dial()
		began := time.Now()
		write(t, c, request(1, 1, make([]byte, 100_000))[:50_000])
		wantClosed(t, c)
		if d := time.Since(began); d < 15*time.Second || d > 31*time.Second {
			t.Errorf("closed after %v", d)
		}
		synctest.Wait()
		if s := w.server.Stats(); s.StalledTotal != 1 || s.BudgetUsedBytes != 0 {
			t.Errorf("stalled %d, charged %d", s.StalledTotal, s.BudgetUsedBytes)
		}
	})
}

// A slow frame that keeps arriving is not stalled.
func TestSlowFrameIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, nil)
		c := w.dial()
		frame := request(1, 1, make([]byte, 20_000))
		for piece := range slicesOf(frame, 1000) {
			write(t, c, piece)
			time.Sleep(10 * time.Second)
		}
		if _, b, err := read(c); err != nil || len(b) != 20_000 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Limits.IdleMax = time.Minute })
		c := w.dial()
		for i := range int32(5) {
			time.Sleep(50 * time.Second)
			write(t, c, request(1, i, nil))
			wantReply(t, c, i, "")
		}
		last := time.Now()
		wantClosed(t, c)
		if d := time.Since(last); d != time.Minute {
			t.Errorf("closed %v after its last reply, want 1m", d)
		}
		synctest.Wait() // it is closed before it is counted
		if got := w.server.Stats().IdleClosedTotal; got != 1 {
			t.Errorf("idle connections counted: %d", got)
		}
	})
}

func TestPeerThatDoesNotReadIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := func(c *call.Call) call.Outcome {
			c.Reply.Begin(c.CorrelationID, false)
			c.Reply.Appender().Raw(make([]byte, 8<<20))
			return call.Done
		}
		w := bubble(t, big, func(o *Options, _ *call.Listener) { o.Limits.IdleMax = time.Minute })
		c := w.dial()
		write(t, c, request(1, 1, nil))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := w.server.Stats().Connections; got != 0 {
			t.Errorf("%d connections are still open", got)
		}
	})
}

func TestSlowReaderDoesNotStallOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := func(c *call.Call) call.Outcome {
			if c.Key == 1 {
				return echo(c)
			}
			c.Reply.Begin(c.CorrelationID, false)
			c.Reply.Appender().Raw(make([]byte, 8<<20))
			return call.Done
		}
		w := bubble(t, big, nil)
		for range 20 {
			write(t, w.dial(), request(2, 1, nil)) // and never read
		}
		synctest.Wait()
		c := w.dial()
		began := time.Now()
		for i := range int32(100) {
			write(t, c, request(1, i, []byte("quick")))
			wantReply(t, c, i, "quick")
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("another connection's replies took %v", d)
		}
	})
}

func TestPanicCostsOnlyItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := 0
		w := bubble(t, nil, func(o *Options, _ *call.Listener) {
			o.Handler = handler{handle: func(c *call.Call) call.Outcome {
				if c.Key == 2 {
					panic("a bug")
				}
				return echo(c)
			}, gone: func(*call.Conn) { gone++ }}
		})
		c, other := w.dial(), w.dial()
		write(t, c, request(2, 1, make([]byte, 50_000)))
		wantClosed(t, c)
		write(t, other, request(1, 2, []byte("alive")))
		wantReply(t, other, 2, "alive")
		synctest.Wait()
		if s := w.server.Stats(); s.PanicsTotal != 1 || s.BudgetUsedBytes != 0 || gone != 1 {
			t.Errorf("panics %d, charged %d, gone %d", s.PanicsTotal, s.BudgetUsedBytes, gone)
		}
	})
}

func TestThrottleMutesAfterTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, func(c *call.Call) call.Outcome {
			c.ThrottleMs = 700
			return echo(c)
		}, nil)
		c := w.dial()
		began := time.Now()
		write(t, c, append(request(1, 1, nil), request(1, 2, nil)...))
		wantReply(t, c, 1, "")
		if d := time.Since(began); d != 0 {
			t.Errorf("the throttled reply itself took %v", d)
		}
		wantReply(t, c, 2, "")
		if d := time.Since(began); d != 700*time.Millisecond {
			t.Errorf("the next reply came after %v, want 700ms", d)
		}
	})
}

func TestNoReplyTakesNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		value := new(atomic.Int64)
		w := bubble(t, func(c *call.Call) call.Outcome {
			switch c.Key {
			case 0:
				return call.NoReply
			case 2:
				p := &parked{list: &list, reached: func() bool { return value.Load() >= 1 }}
				return p.park(c, 1, time.Hour)
			}
			return echo(c)
		}, nil)
		c := w.dial()
		for i := range int32(500) {
			write(t, c, request(0, i, []byte("no answer")))
		}
		write(t, c, request(2, 500, nil))
		for i := range int32(500) {
			write(t, c, request(0, 501+i, []byte("no answer")))
		}
		write(t, c, request(1, 2000, []byte("answer")))
		synctest.Wait()
		value.Store(1)
		list.Wake(1)
		wantReply(t, c, 500, "reached")
		wantReply(t, c, 2000, "answer")
	})
}

func TestRefusedRequestIsClosedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, func(c *call.Call) call.Outcome {
			c.CloseReason = errors.New("not that")
			return call.Close
		}, nil)
		c := w.dial()
		write(t, c, request(1, 1, nil))
		wantClosed(t, c)
		synctest.Wait()
		if got := w.server.Stats().MalformedTotal; got != 1 {
			t.Errorf("counted: %d", got)
		}
	})
}

func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Limits.ConnectionsMax = 3 })
		var open []net.Conn
		for range 3 {
			open = append(open, w.dial())
		}
		fourth := w.dial()
		write(t, fourth, request(1, 4, nil))
		synctest.Wait()
		if got := w.server.Stats().Connections; got != 3 {
			t.Fatalf("%d connections are served", got)
		}
		open[0].Close()
		wantReply(t, fourth, 4, "") // it waited in the backlog
	})
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Limits.ConnectionsPerIPMax = 2 })
		a, b := w.dial(), w.dial()
		wantClosed(t, w.dial())
		write(t, b, request(1, 1, nil))
		wantReply(t, b, 1, "")
		a.Close()
		synctest.Wait()
		c := w.dial()
		write(t, c, request(1, 1, nil))
		wantReply(t, c, 1, "")
	})
	synctest.Test(t, func(t *testing.T) {
		var ip netip.Addr
		probe := bubble(t, echo, nil)
		ip = netip.MustParseAddrPort(probe.dial().LocalAddr().String()).Addr()
		w := bubble(t, echo, func(o *Options, _ *call.Listener) { o.Limits.PerIP = map[netip.Addr]int{ip: 0} })
		wantClosed(t, w.dial())
		synctest.Wait()
		if got := w.server.Stats().RefusedTotal; got != 1 {
			t.Errorf("refused: %d", got)
		}
	})
}

// The listener of brokers is exempt from max.connections, unless clients use
// it too.
func TestListenerOfBrokersIsExempt(t *testing.T) {
	for _, several := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := bubble(t, echo, func(o *Options, at *call.Listener) {
				o.Limits.ConnectionsMax = 1
				at.InterBroker = true
			})
			if several {
				l, err := w.net.Listen(context.Background(), "node:9093")
				if err != nil {
					t.Fatal(err)
				}
				w.served.Go(func() { w.server.Serve(l, &call.Listener{Name: "CLIENTS", Role: call.Broker}) })
			}
			synctest.Wait()
			w.dial()
			c := w.dial()
			write(t, c, request(1, 1, nil))
			synctest.Wait()
			want := int64(1)
			if several {
				want = 2
			}
			if got := w.server.Stats().Connections; got != want {
				t.Errorf("several listeners %v: %d connections are served, want %d", several, got, want)
			}
		})
	}
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bubble(t, func(c *call.Call) call.Outcome {
			if c.Key == 2 {
				<-c.Conn.Closed // a long poll
				time.Sleep(100 * time.Millisecond)
			}
			return echo(c)
		}, nil)
		busy, idle := w.dial(), w.dial()
		write(t, busy, request(2, 1, []byte("polled")))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		wantReply(t, busy, 1, "polled")
		wantClosed(t, busy)
		wantClosed(t, idle)
		if _, err := w.net.Dial(context.Background(), w.addr); err == nil {
			t.Error("a server that has shut down still accepts")
		}
	})
}

func TestShutdownKillsWhenTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		dropped := false
		w := bubble(t, func(c *call.Call) call.Outcome {
			p := &parked{list: &list, reached: func() bool { return false }, dropped: func() { dropped = true }}
			return p.park(c, 1, time.Hour)
		}, nil)
		c := w.dial()
		write(t, c, request(1, 1, nil))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("shutdown: %v", err)
		}
		wantClosed(t, c)
		if !dropped || list.Len() != 0 {
			t.Errorf("dropped %v, %d entries left in the list", dropped, list.Len())
		}
	})
}
