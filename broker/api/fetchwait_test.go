// SPDX-License-Identifier: Apache-2.0

package api

import (
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/broker/fetchsession"
)

// A partition whose leader epoch changed is told of in the next answer that
// has room, also if the one before was full of another partition's records.
func TestEpochChangeBehindAFullAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		a, b := n.topic("a", 1), n.shared("b", 1, 2)
		c := n.dial()
		open := fetchRequest(13, place{"a", a, 0, 0}, place{"b", b, 0, 0})
		status := n.table.Get(b, 0).Status()
		open.Topics[1].Partitions[0].CurrentLeaderEpoch = int32(status.Epoch)
		_, s, _ := c.session(open, 0, 0)
		if _, _, got := c.session(fetchRequest(13), s, 1); len(got) != 0 {
			t.Fatalf("idle: %q", got)
		}
		c.produce(9, "a", a, 0, 1, records("x"))
		n.change(b, self, 1, 2)
		small := fetchRequest(13)
		small.MaxBytes = 1
		if _, _, got := c.session(small, s, 2); len(got) != 1 || got[0] != "0 0=x" {
			t.Fatalf("full: %q", got)
		}
		if _, _, got := c.session(fetchRequest(13, place{"a", a, 0, 1}), s, 3); len(got) != 1 || got[0] != "0 FENCED_LEADER_EPOCH" {
			t.Errorf("then: %q", got)
		}
	})
}

// A client that changes its isolation level within a session is answered by
// the new one.
func TestSessionChangesIsolation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 1)
		c := n.dial()
		open := fetchRequest(13, place{"t", id, 0, 0})
		open.IsolationLevel = 1
		_, s, _ := c.session(open, 0, 0)
		if _, _, got := c.session(open, s, 1); len(got) != 0 {
			t.Fatalf("idle: %q", got)
		}
		p := n.table.Get(id, 0)
		committed := fetchRequest(13)
		committed.IsolationLevel = 1
		if c.session(committed, s, 2); p.Waiting(2) != 1 {
			t.Fatalf("%d wait for the last stable offset", p.Waiting(2))
		}
		if c.session(fetchRequest(13), s, 3); p.Waiting(2) != 0 || p.Waiting(1) != 1 {
			t.Errorf("%d wait for the last stable offset, %d for the high watermark", p.Waiting(2), p.Waiting(1))
		}
	})
}

// A fetch waits for a bounded time, whatever its client asks: while it waits
// nobody notices that the client is gone.
func TestFetchWaitIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, timeoutMax := range []time.Duration{5 * time.Minute, 90 * time.Second} {
			n := start(t, func(s *setup) {
				if timeoutMax != 5*time.Minute {
					s.set = []string{"gregor.request.timeout.max.ms=90000"}
				}
			})
			id := n.topic("t", 1)
			req := fetchRequest(13, place{"t", id, 0, 0})
			req.MaxWaitMillis = 1<<31 - 1
			began := time.Now()
			n.dial().do(req)
			if d := time.Since(began); d != timeoutMax {
				t.Errorf("answered after %v, want %v", d, timeoutMax)
			}
		}
	})
}

// A panic in the middle of a fetch leaves no entry on a park list, and no
// session that is held for ever.
func TestPanicInAFetchLeavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("t", 2)
		req := fetchRequest(13, place{"t", id, 0, 0}, place{"t", id, 1, 0})
		req.SessionEpoch, req.MaxWaitMillis = 0, 10_000
		c := n.dial()
		c.send(req)
		time.Sleep(time.Second)
		p := n.table.Get(id, 1)
		if p.Waiting(1) != 1 {
			t.Fatalf("%d wait", p.Waiting(1))
		}
		n.api.d.Sessions = nil // the fetch ends with a nil dereference
		n.dial().produce(9, "t", id, 0, 1, records("x"))
		if !c.isClosed() {
			t.Error("the connection is open")
		}
		n.api.d.Sessions = fetchsession.NewCache(10, 1000, 1, time.Now)
		if s := n.server.Stats(); s.PanicsTotal != 1 || p.Waiting(1) != 0 {
			t.Errorf("%d panics, %d wait", s.PanicsTotal, p.Waiting(1))
		}
		if code, _, _ := n.dial().session(fetchRequest(13, place{"t", id, 0, 0}), 0, 0); code != kafka.None {
			t.Errorf("after the panic: %v", code)
		}
	})
}

func TestBreath(t *testing.T) {
	for pass, want := range map[time.Duration]time.Duration{
		0: 0, 2 * time.Microsecond: 0, 100 * time.Microsecond: 800 * time.Microsecond, time.Second: 20 * time.Millisecond,
	} {
		if got := breath(pass); got != want {
			t.Errorf("after a pass of %v: %v, want %v", pass, got, want)
		}
	}
}

// A fetch that takes breath still ends with its client's time, and when there
// is enough.
func TestFetchThatBreathes(t *testing.T) {
	n := start(t, onMachine(t))
	id := n.topic("t", 200)
	var places []place
	for p := range int32(200) {
		places = append(places, place{"t", id, p, 0})
	}
	stop := make(chan struct{})
	producing := make(chan struct{})
	go func() {
		defer close(producing)
		c := n.dial()
		for p := int32(0); ; p++ {
			select {
			case <-stop:
				return
			default:
				c.produce(9, "t", id, p%200, 1, records("x"))
			}
		}
	}()
	req := fetchRequest(13, places...)
	req.MinBytes, req.MaxWaitMillis = 40<<20, 300
	c := n.dial()
	began := time.Now()
	c.do(req)
	if d := time.Since(began); d < 300*time.Millisecond || d > 30*time.Second {
		t.Errorf("answered after %v, want 300ms", d)
	}
	req.MinBytes, req.MaxWaitMillis = 20_000, 60_000
	began = time.Now()
	c.do(req)
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("answered after %v although there was enough", d)
	}
	close(stop)
	<-producing
}
