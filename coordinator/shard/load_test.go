// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestUncommittedAtLoad: what a new leader finds behind the high watermark
// counts, but nobody hears of it before it is committed.
func TestUncommittedAtLoad(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.elect()
		r.log.set(func() { r.log.lag = true })
		lost := r.do(add("a"))
		r.shards.Resign(0)
		r.expect(notCoordinator, lost)
		r.log.lead(2)
		r.elect()
		read := r.do(get("a"))
		r.expect("-", read)
		r.log.set(func() { r.log.hw = r.log.end })
		r.expect("a=1", read)
	})
}

// TestLogStartInsideABatch: what was deleted does not count.
func TestLogStartInsideABatch(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.log.put(batchOf(nil, record("a", 1), record("b", 1)))
		r.log.hw, r.log.start = 2, 1
		r.elect()
		r.expect("a=0 b=1", r.do(get("a")), r.do(get("b")))
	})
}

// TestResignDuringLoad: the load's result does not count; the next term's does.
func TestResignDuringLoad(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.log.slow = time.Second
		r.shards.Elect(0, 1)
		synctest.Wait()
		r.shards.Resign(0)
		time.Sleep(time.Minute)
		if st := r.shards.State(0); st != Resigned {
			t.Errorf("state %d", st)
		}
		r.shards.Elect(0, 2)
		synctest.Wait()
		r.shards.Resign(0)
		r.shards.Elect(0, 3)
		r.log.epoch = 3
		time.Sleep(time.Minute)
		r.expect("a=1", r.do(add("a")))
		if n := r.shards.Stats().LoadsTotal; n != 1 {
			t.Errorf("%d loads counted", n)
		}
	})
}

// TestLoadFails: an error of the log is tried again; so are bytes that make no
// sense, which nobody may work behind.
func TestLoadFails(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.log.readEr = errors.New("EIO")
		r.shards.Elect(0, 1)
		synctest.Wait()
		if st := r.shards.State(0); st != Failed {
			t.Errorf("state %d", st)
		}
		r.expect(notCoordinator, r.do(get("a")))
		r.log.set(func() { r.log.readEr = nil })
		time.Sleep(time.Second)
		r.expect("a=1", r.do(add("a")))
		r.shards.Resign(0)
		r.log.set(func() { r.log.put(batchOf(nil, record("poison", 1))) })
		r.shards.Elect(0, 1)
		time.Sleep(time.Minute)
		r.expect(notCoordinator, r.do(get("a")))
		if !strings.Contains(r.lines.String(), "offset 1") {
			t.Errorf("nothing tells where the log is bad:\n%s", r.lines)
		}
	})
}

// TestCorruptBatch: a batch that fails its checksum is not replayed.
func TestCorruptBatch(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		b := batchOf(nil, record("a", 1))
		b[len(b)-2] ^= 1
		r.log.put(b)
		r.shards.Elect(0, 1)
		synctest.Wait()
		if st := r.shards.State(0); st != Failed {
			t.Errorf("state %d", st)
		}
	})
}
