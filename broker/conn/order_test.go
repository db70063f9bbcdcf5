// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/park"
	"gregor/broker/call"
)

// Replies leave in the order of their requests, whatever is parked, woken or
// expired in between.
func TestRepliesLeaveInOrder(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			const n = 300
			var list park.List
			var value atomic.Int64
			w := bubble(t, func(c *call.Call) call.Outcome {
				at := int64(c.CorrelationID)
				switch c.Key {
				case 1:
					return echo(c)
				case 2: // woken out of order, or at once
					at = at * 7919 % n
				case 3: // only its deadline helps
					p := &parked{list: &list, reached: func() bool { return false }}
					return p.park(c, 1<<40, 5*time.Second)
				}
				p := &parked{list: &list, reached: func() bool { return value.Load() >= at }}
				return p.park(c, at, time.Hour)
			}, func(o *Options, _ *call.Listener) { o.Limits.PipelineMax = 8 })
			c := w.dial()
			keys := make([]int16, n)
			var all []byte
			for i := range keys {
				keys[i] = int16(1 + random.IntN(100)/49)
				all = append(all, request(keys[i], int32(i), []byte("r"))...)
			}
			go c.Write(all)
			go func() {
				for value.Load() < n {
					time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
					list.Wake(value.Add(int64(random.IntN(9))))
				}
			}()
			for i := range int32(n) {
				switch keys[i] {
				case 1:
					wantReply(t, c, i, "r")
				case 2:
					wantReply(t, c, i, "reached")
				case 3:
					wantReply(t, c, i, "expired")
				}
			}
			if list.Len() != 0 {
				t.Errorf("seed %d: %d entries are left in the list", seed, list.Len())
			}
			time.Sleep(time.Second)
			c.Close()
			w.server.Kill()
		})
	}
}

// The connection reads on while replies are parked, but not for ever.
func TestPipelineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		var handled, value atomic.Int64
		w := bubble(t, func(c *call.Call) call.Outcome {
			handled.Add(1)
			p := &parked{list: &list, reached: func() bool { return value.Load() > int64(c.CorrelationID) }}
			return p.park(c, int64(c.CorrelationID)+1, time.Hour)
		}, func(o *Options, _ *call.Listener) { o.Limits.PipelineMax = 5 })
		c := w.dial()
		for i := range int32(20) {
			write(t, c, request(2, i, nil))
		}
		synctest.Wait()
		if got := handled.Load(); got != 5 {
			t.Fatalf("%d requests were taken, want 5", got)
		}
		value.Store(2)
		list.Wake(2)
		synctest.Wait()
		if got := handled.Load(); got != 7 {
			t.Fatalf("%d requests were taken after two replies, want 7", got)
		}
		value.Store(20)
		list.Wake(20)
		for i := range int32(20) {
			wantReply(t, c, i, "reached")
		}
	})
}

// Whole replies that wait behind a parked one count too: they hold memory.
func TestPipelineBoundsWholeReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		var handled, value atomic.Int64
		w := bubble(t, func(c *call.Call) call.Outcome {
			handled.Add(1)
			if c.Key == 1 {
				return echo(c)
			}
			p := &parked{list: &list, reached: func() bool { return value.Load() > 0 }}
			return p.park(c, 1, time.Hour)
		}, func(o *Options, _ *call.Listener) { o.Limits.PipelineMax = 5 })
		c := w.dial()
		write(t, c, request(2, 0, nil))
		for i := range int32(50) {
			write(t, c, request(1, 1+i, nil))
		}
		synctest.Wait()
		if got := handled.Load(); got != 5 {
			t.Errorf("%d requests were taken, want 5", got)
		}
		value.Store(1)
		list.Wake(1)
		wantReply(t, c, 0, "reached")
		for i := range int32(50) {
			wantReply(t, c, 1+i, "")
		}
	})
}

// The flusher is there while replies wait, and only then.
func TestFlusherComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		var value atomic.Int64
		w := bubble(t, func(c *call.Call) call.Outcome {
			if c.Key == 1 {
				return echo(c)
			}
			at := value.Load() + 1
			p := &parked{list: &list, reached: func() bool { return value.Load() >= at }}
			return p.park(c, at, time.Hour)
		}, nil)
		c := w.dial()
		write(t, c, request(1, 0, nil))
		wantReply(t, c, 0, "")
		if got := w.server.Stats().FlushersTotal; got != 0 {
			t.Errorf("%d flushers for replies that nothing held up", got)
		}
		for i := range int32(3) {
			write(t, c, request(2, i, nil))
			synctest.Wait()
			list.Wake(value.Add(1))
			wantReply(t, c, i, "reached")
			synctest.Wait()
		}
		if got := w.server.Stats().FlushersTotal; got != 3 {
			t.Errorf("%d flushers, want one for each time that replies waited", got)
		}
	})
}

// A connection that dies takes its entries out of all lists.
func TestParkedRepliesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		dropped := 0
		w := bubble(t, func(c *call.Call) call.Outcome {
			p := &parked{list: &list, reached: func() bool { return false }, dropped: func() { dropped++ }}
			return p.park(c, 1, time.Hour)
		}, nil)
		c := w.dial()
		for i := range int32(3) {
			write(t, c, request(2, i, nil))
		}
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if dropped != 3 || list.Len() != 0 || w.server.Stats().Connections != 0 {
			t.Errorf("dropped %d, in the list %d, open %d", dropped, list.Len(), w.server.Stats().Connections)
		}
	})
}

// A panic of a waiter costs the connection too.
func TestPanicWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		w := bubble(t, func(c *call.Call) call.Outcome {
			armed := false
			p := &parked{list: &list, reached: func() bool {
				if armed {
					panic("a bug")
				}
				armed = true
				return false
			}}
			return p.park(c, 1, time.Hour)
		}, nil)
		c := w.dial()
		write(t, c, request(2, 1, nil))
		synctest.Wait()
		list.Wake(1)
		wantClosed(t, c)
		synctest.Wait()
		if got := w.server.Stats().PanicsTotal; got != 1 {
			t.Errorf("panics counted: %d", got)
		}
	})
}

// After a burst of parked requests a connection keeps few slots.
func TestBurstLeavesFewSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list park.List
		var value atomic.Int64
		made := make(map[*call.Call]bool)
		w := bubble(t, func(c *call.Call) call.Outcome {
			made[c] = true
			p := &parked{list: &list, reached: func() bool { return value.Load() > 0 }}
			return p.park(c, 1, time.Hour)
		}, nil)
		c := w.dial()
		burst := func() {
			clear(made)
			value.Store(0)
			for i := range int32(50) {
				write(t, c, request(1, i, nil))
			}
			synctest.Wait()
			value.Store(1)
			list.Wake(1)
			for i := range int32(50) {
				wantReply(t, c, i, "reached")
			}
			synctest.Wait()
		}
		burst()
		before := made
		made = make(map[*call.Call]bool)
		burst()
		kept := 0
		for k := range made {
			if before[k] {
				kept++
			}
		}
		if kept > sparesMax {
			t.Errorf("%d slots were kept", kept)
		}
	})
}
