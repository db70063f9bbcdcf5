// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/wire/batch"
)

const (
	notCoordinator = "NOT_COORDINATOR"
	loadInProgress = "COORDINATOR_LOAD_IN_PROGRESS"
	notAvailable   = "COORDINATOR_NOT_AVAILABLE"
)

// TestLife: not elected, loading, active, resigned.
func TestLife(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.expect(notCoordinator, r.do(add("a")))
		r.log.slow = time.Second
		r.shards.Elect(0, 1)
		synctest.Wait()
		r.expect(loadInProgress, r.do(add("a")))
		time.Sleep(2 * time.Second)
		r.expect("a=1 a=2 a=2", r.do(add("a")), r.do(add("a")), r.do(get("a")))
		r.shards.Resign(0)
		synctest.Wait()
		r.expect(notCoordinator, r.do(get("a")))
		r.log.slow, r.log.epoch = 0, 3
		r.elect()
		r.expect("a=2 a=3", r.do(get("a")), r.do(add("a")))
	})
}

// TestRepliesWaitForCommit: with a slow high watermark replies, those of reads
// too, leave when the appends before them are committed, in their order.
func TestRepliesWaitForCommit(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		a, b, read := r.do(add("a")), r.do(add("a")), r.do(get("a"))
		r.expect("- - -", a, b, read)
		r.log.set(func() { r.log.hw = 1 })
		r.expect("a=1 - -", a, b, read)
		r.log.set(func() { r.log.hw = 2 })
		r.expect("a=1 a=2 a=2", a, b, read)
		if p := r.shards.Stats().Pending; p != 0 {
			t.Errorf("%d requests are pending", p)
		}
	})
}

// TestFailedAppend: the event's reply is an error, the state is that of the
// log, and who waits in the machine is told to ask again.
func TestFailedAppend(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{kafka.NotEnoughReplicas, notAvailable},
		{fmt.Errorf("no space: %w", kafka.KafkaStorageError), notCoordinator},
		{kafka.RecordListTooLarge, "UNKNOWN_SERVER_ERROR"},
		{errors.New("torn"), notAvailable},
	} {
		inRig(t, func(t *testing.T, r *rig) {
			r.elect()
			waiter := r.do(wait(0))
			first := r.do(add("a"))
			r.log.set(func() { r.log.appendEr = c.err })
			second := r.do(add("a"))
			r.expect("farewell a=1 "+c.want, waiter, first, second)
			r.log.set(func() { r.log.appendEr = nil })
			r.expect("a=1 a=2", r.do(get("a")), r.do(add("a")))
			if p := r.shards.Stats().Pending; p != 0 {
				t.Errorf("%d requests are pending", p)
			}
		})
	}
}

// TestFailuresSlowDown: while appends keep failing, the log is not read over and
// over again.
func TestFailuresSlowDown(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.appendEr = kafka.NotEnoughReplicas })
		for range 3000 {
			r.do(add("a"))
			time.Sleep(10 * time.Millisecond)
		}
		if r.log.reads > 15 {
			t.Errorf("the log was read %d times in 30 s", r.log.reads)
		}
		r.log.set(func() { r.log.appendEr = nil })
		time.Sleep(reloadPauseMax)
		r.expect("a=1", r.do(add("a")))
	})
}

// TestOffline: a directory that fails while replies wait. Nobody learns what was
// not committed, and the shard is back with the log.
func TestOffline(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		queued := r.do(add("a"))
		r.log.set(func() { r.log.offline, r.log.readEr = kafka.KafkaStorageError, kafka.KafkaStorageError })
		r.log.waiters.WakeAll()
		r.expect(notCoordinator, queued)
		time.Sleep(time.Second)
		r.expect(notCoordinator, r.do(get("a")))
		r.log.set(func() { r.log.offline, r.log.readEr, r.log.lag, r.log.hw = nil, nil, false, 1 })
		time.Sleep(reloadPauseMax)
		r.expect("a=1 a=2", r.do(get("a")), r.do(add("a")))
	})
}

// TestAppendsBeforeAFailureCount: what was appended before is still told when it
// is committed.
func TestAppendsBeforeAFailureCount(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		first := r.do(add("a"))
		r.log.set(func() { r.log.appendEr = kafka.NotEnoughReplicas })
		r.expect("- "+notAvailable, first, r.do(add("a")))
		r.log.set(func() { r.log.appendEr, r.log.hw = nil, 1 })
		r.expect("a=1", first)
	})
}

// TestLostLeadership: found out at an append, or while replies wait.
func TestLostLeadership(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		waiter := r.do(wait(0))
		r.log.lead(2)
		r.expect("farewell "+notCoordinator+" "+notCoordinator, waiter, r.do(add("a")), r.do(get("a")))
		r.elect()
		r.log.set(func() { r.log.lag = true })
		queued := r.do(add("b"))
		r.expect("-", queued)
		r.log.lead(3)
		r.expect(notCoordinator+" "+notCoordinator, queued, r.do(get("b")))
	})
}

// TestNewEpoch: an election in a newer epoch ends the term before; one in an
// older epoch is late news.
func TestNewEpoch(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		waiter := r.do(wait(0))
		r.shards.Elect(0, 1)
		r.expect("-", waiter)
		r.log.lead(2)
		r.elect()
		r.expect("farewell a=1", waiter, r.do(add("a")))
		r.shards.Elect(0, 1)
		r.expect("a=2", r.do(add("a")))
	})
}

// TestCommitTimeout: a reply does not wait for ever; the append may come through
// all the same.
func TestCommitTimeout(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		first := r.do(add("a"))
		time.Sleep(3 * time.Second)
		second := r.do(add("a"))
		time.Sleep(3 * time.Second)
		r.expect(notAvailable+" -", first, second)
		r.log.set(func() { r.log.hw = 2 })
		r.expect("a=2 a=2", second, r.do(get("a")))
		if n := r.shards.Stats().TimeoutsTotal; n != 1 {
			t.Errorf("%d timeouts counted", n)
		}
	})
}

// TestTimer: the machine is woken when it is due, and not before.
func TestTimer(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		waiter := r.do(wait(time.Minute))
		time.Sleep(59 * time.Second)
		r.expect("-", waiter)
		earlier := r.do(wait(500 * time.Millisecond))
		time.Sleep(600 * time.Millisecond)
		r.expect("due due", waiter, earlier)
		time.Sleep(time.Hour)
		r.do(func(m *tally, _ int64, to Token, out *output) {
			if m.ticks != 1 {
				t.Errorf("%d ticks", m.ticks)
			}
			out.reply(to, "")
		})
		late := r.do(wait(time.Second))
		r.shards.Resign(0)
		time.Sleep(time.Minute)
		r.expect("farewell", late)
	})
}

// TestResignTellsWhatIsCommitted, even if the releaser has not come to it.
func TestResignTellsWhatIsCommitted(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		first, second := r.do(add("a")), r.do(add("a"))
		r.log.mu.Lock()
		r.log.hw = 1 // and nobody is woken
		r.log.mu.Unlock()
		r.shards.Resign(0)
		r.expect("a=1 "+notCoordinator, first, second)
	})
}

// TestPanic: a machine that panics is loaded anew, and the others do not notice.
func TestPanic(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.do(add("a"))
		waiter := r.do(wait(0))
		bad := r.do(func(m *tally, _ int64, _ Token, _ *output) { m.counts["a"] = 99; panic("boom") })
		r.expect("farewell UNKNOWN_SERVER_ERROR", waiter, bad)
		r.expect("a=1", r.do(get("a")))
		if !strings.Contains(r.lines.String(), "boom") {
			t.Errorf("the panic is not logged:\n%s", r.lines)
		}
	})
}

// TestPanicInAChain: events that queued on the lane together with one that
// panics are answered as if they had come alone, and what they wrote stays.
func TestPanicInAChain(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		var tickets [3]*Ticket
		go r.do(func(*tally, int64, Token, *output) { time.Sleep(time.Second) })
		synctest.Wait()
		for i, event := range []func(*tally, int64, Token, *output){
			add("a"), func(m *tally, _ int64, _ Token, _ *output) { m.counts["a"] = 99; panic("boom") }, add("b"),
		} {
			go func() { tickets[i] = r.do(event) }()
			synctest.Wait() // they queue in this order
		}
		time.Sleep(2 * time.Second)
		r.expect("a=1 UNKNOWN_SERVER_ERROR COORDINATOR_LOAD_IN_PROGRESS", tickets[:]...)
		r.expect("a=1 b=0", r.do(get("a")), r.do(get("b")))
	})
}

// TestCombine: what queues while the lane is busy becomes one append, in one
// batch as far as the limit goes, and nobody's records are torn apart.
func TestCombine(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.limit = 400
		gate := make(chan struct{})
		go r.do(func(*tally, int64, Token, *output) { <-gate })
		synctest.Wait()
		var tickets [20]*Ticket
		var all sync.WaitGroup
		for i := range tickets {
			all.Go(func() {
				tickets[i] = r.do(func(_ *tally, _ int64, to Token, out *output) {
					for part := range 3 {
						out.records = append(out.records, record(fmt.Sprint(i, part), 1))
					}
					out.reply(to, "ok")
				})
			})
			synctest.Wait()
		}
		close(gate)
		all.Wait()
		if r.log.appends != 1 || len(r.log.batches) >= len(tickets) || len(r.log.batches) < 3 {
			t.Errorf("%d appends of %d batches for %d events", r.log.appends, len(r.log.batches), len(tickets))
		}
		for _, b := range r.log.batches {
			h, _ := batch.Parse(b)
			if h.SizeBytes() > r.log.limit || h.Count%3 != 0 {
				t.Errorf("a batch of %d bytes and %d records", h.SizeBytes(), h.Count)
			}
		}
		for _, tk := range tickets {
			r.expect("ok", tk)
		}
	})
}

// TestLimit: requests beyond the limit are refused, and those that wait go on.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options[*tally, *output]) { o.PendingMax = 2 })
		defer r.shards.Close()
		r.elect()
		r.log.set(func() { r.log.lag = true })
		a, b, c := r.do(add("a")), r.do(wait(0)), r.do(get("a"))
		r.expect("- - "+notAvailable, a, b, c)
		r.log.set(func() { r.log.hw = 1 })
		r.expect("a=1 -", a, b)
		r.expect("a=1", r.do(get("a")))
	})
}

// TestPostAll reaches every loaded partition; those that load are refreshed.
func TestPostAll(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.shards.PostAll(func(m *tally, _ int64, out *output) {
			m.counts["topics"]++
			out.records = append(out.records, record("topics", m.counts["topics"]))
		})
		r.expect("topics=1", r.do(get("topics")))
		r.do(func(m *tally, _ int64, to Token, out *output) {
			if m.loaded != 1 || m.missed != 1 {
				t.Errorf("loaded %d times, refreshed %d times", m.loaded, m.missed)
			}
			out.reply(to, "")
		})
		if r.log.appends != 1 {
			t.Errorf("%d appends", r.log.appends)
		}
	})
}

// TestClose: everyone is answered, and nothing is left running (the bubble
// would say so).
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.elect()
		r.log.set(func() { r.log.lag = true })
		queued, waiting := r.do(add("a")), r.do(wait(time.Hour))
		r.shards.Close()
		r.expect(notCoordinator+" farewell "+notCoordinator, queued, waiting, r.do(get("a")))
		r.shards.Elect(0, 2)
		r.expect(notCoordinator, r.do(get("a")))
	})
}

// TestTicketWait: a goroutine may wait for the reply.
func TestTicketWait(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		tk := r.do(wait(time.Second))
		if resp, err := tk.Wait(context.Background()); err != nil || text(resp) != "due" {
			t.Errorf("%v %v", resp, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.do(wait(0)).Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		var e park.Entry
		e.Parker = park.NewParker()
		tk.Await(&e)
		tk.Forget(&e)
	})
}

// TestTicketServesAgain: as soon as a reply is seen, its ticket takes another
// event, whoever completed it: the lane, or the releaser at that moment.
func TestTicketServesAgain(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		ctx, stop := context.WithCancel(context.Background())
		var commits, workers sync.WaitGroup
		commits.Go(func() {
			for ctx.Err() == nil {
				r.log.set(func() { r.log.hw = r.log.end })
				time.Sleep(time.Microsecond)
			}
		})
		for i := range 8 {
			workers.Go(func() {
				var ticket Ticket
				name := string(rune('a' + i))
				for n := range 100 {
					event, want := add(name), fmt.Sprintf("%s=%d", name, n/2+1)
					if n%2 == 1 {
						event = get(name)
					}
					if err := r.shards.Do(0, &ticket, event); err != nil {
						t.Error(err)
						return
					}
					if resp, err := ticket.Wait(ctx); err != nil || text(resp) != want {
						t.Errorf("%v %v, want %s", resp, err, want)
						return
					}
					ticket.Reset()
				}
			})
		}
		workers.Wait()
		stop()
		commits.Wait()
	})
}
