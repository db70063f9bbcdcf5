// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Who floods a coordinator over so many connections, each of which has one
// request on the lane at a time, puts no more than so many in front of anybody
// else's request, whatever it has sent.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const connections, each = 16, 1000
		r := newRig(t)
		r.elect()
		gate := make(chan struct{})
		var order atomic.Int64
		var flood sync.WaitGroup
		// The lane is busy, as with a slow append, and meanwhile they all come.
		flood.Go(func() { r.do(func(*tally, int64, Token, *output) { <-gate }) })
		synctest.Wait()
		for range connections {
			flood.Go(func() {
				for range each {
					r.do(func(_ *tally, _ int64, to Token, out *output) {
						order.Add(1)
						out.reply(to, "beat")
					})
				}
			})
		}
		synctest.Wait()
		place := int64(0)
		var victim *Ticket
		flood.Go(func() {
			victim = r.do(func(_ *tally, _ int64, to Token, out *output) {
				place = order.Add(1)
				out.reply(to, "alive")
			})
		})
		synctest.Wait()
		close(gate)
		flood.Wait()
		r.expect("alive", victim)
		if place != connections+1 {
			t.Errorf("%d requests of the flood came before, from %d connections", place-1, connections)
		}
		if order.Load() != connections*each+1 {
			t.Errorf("%d requests were done", order.Load())
		}
		if n := r.shards.Stats().Pending; n != 1 { // that which held the lane has no reply
			t.Errorf("%d requests are remembered", n)
		}
		if len(r.log.batches) != 0 {
			t.Errorf("%d batches were written", len(r.log.batches))
		}
		r.shards.Close()
	})
}
