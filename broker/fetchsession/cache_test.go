// SPDX-License-Identifier: Apache-2.0

package fetchsession

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/replica"
	"gregor/storage/commitlog"
)

func sized(n int) *Session {
	s := New(true)
	for i := range n {
		s.Want(Partition{Key: Key{ID: kafka.TopicID{1}, Partition: kafka.PartitionID(i)}})
	}
	return s
}

// add makes a session of n partitions and gives it back.
func add(c *Cache, n int, privileged bool) int32 {
	s := sized(n)
	id := c.Add(s, privileged)
	if id != 0 {
		c.Release(s)
	}
	return id
}

func (c *Cache) has(id int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[id] != nil
}

// Kafka's rules for who gives way when all slots are taken.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(2, slotPartitions, 1, time.Now)
		small, large := add(c, 10, false), add(c, 20, false)
		if small == 0 || large == 0 || small == large {
			t.Fatal("no sessions")
		}
		// Young sessions are safe, whatever comes.
		if add(c, 1000, false) != 0 {
			t.Error("a young session gave way to a consumer")
		}
		time.Sleep(time.Minute)
		touch(t, c, small, 1)
		touch(t, c, large, 1)
		time.Sleep(time.Minute + time.Second)
		// Both have lived for two minutes and were used a minute ago: size decides.
		if add(c, 9, false) != 0 {
			t.Error("a larger session gave way to a smaller one")
		}
		middle := add(c, 15, false)
		if middle == 0 || c.has(small) || !c.has(large) {
			t.Error("the smallest session did not give way")
		}
		// Unused for two minutes: gone, even for a smaller one.
		time.Sleep(time.Minute)
		touch(t, c, middle, 1)
		time.Sleep(time.Minute + time.Second)
		if tiny := add(c, 1, false); tiny == 0 || c.has(large) {
			t.Error("a session that nobody uses did not give way")
		}
		if got := c.Stats(); got.Sessions != 2 || got.EvictedTotal != 2 || got.Partitions != 16 {
			t.Errorf("%+v", got)
		}
	})
}

// Followers take slots of young consumers, and not the other way round.
func TestEvictionForFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(1, slotPartitions, 1, time.Now)
		consumer := add(c, 100, false)
		follower := add(c, 1, true)
		if follower == 0 || c.has(consumer) {
			t.Fatal("a follower did not get the slot of a consumer")
		}
		if add(c, 2, true) != 0 {
			t.Error("a young follower gave way")
		}
		time.Sleep(evictAfter + time.Second)
		touch(t, c, follower, 1)
		if add(c, 1000, false) != 0 {
			t.Error("a follower in use gave way to a consumer")
		}
		if add(c, 2, true) == 0 {
			t.Error("an old, smaller follower did not give way to a follower")
		}
	})
}

func touch(t *testing.T, c *Cache, id, epoch int32) {
	t.Helper()
	s, code := c.Acquire(id, epoch, true)
	if code != kafka.None {
		t.Fatalf("session %d epoch %d: %v", id, epoch, code)
	}
	c.Release(s)
}

func TestNoSlots(t *testing.T) {
	c := NewCache(0, slotPartitions, 1, time.Now)
	if add(c, 1, true) != 0 {
		t.Error("a session without a slot")
	}
}

func TestEpochsWrap(t *testing.T) {
	for epoch, want := range map[int32]int32{1: 2, 41: 42, math.MaxInt32 - 1: math.MaxInt32, math.MaxInt32: 1} {
		if got := nextEpoch(epoch); got != want {
			t.Errorf("after %d comes %d, want %d", epoch, got, want)
		}
	}
}

func TestAcquireRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(2, slotPartitions, 1, time.Now)
		id := add(c, 1, false)
		for _, tc := range []struct {
			id, epoch int32
			usesIDs   bool
			want      kafka.Code
		}{
			{id + 1, 1, true, kafka.FetchSessionIDNotFound},
			{id, 2, true, kafka.InvalidFetchSessionEpoch},
			{id, 0, true, kafka.InvalidFetchSessionEpoch},
			{id, 1, false, kafka.FetchSessionTopicIDError},
			{id, 1, true, kafka.None},
		} {
			s, code := c.Acquire(tc.id, tc.epoch, tc.usesIDs)
			if code != tc.want {
				t.Errorf("%+v: %v", tc, code)
			}
			if s != nil {
				c.Release(s)
			}
		}
		// While one request has it, another waits, and gives up after a second.
		s, _ := c.Acquire(id, 2, true)
		began := time.Now()
		if _, code := c.Acquire(id, 3, true); code != kafka.InvalidFetchSessionEpoch || time.Since(began) != waitMax || !s.Kicked() {
			t.Errorf("%v after %v, kicked %v", code, time.Since(began), s.Kicked())
		}
		go func() {
			time.Sleep(200 * time.Millisecond)
			c.Release(s)
		}()
		began = time.Now()
		if _, code := c.Acquire(id, 3, true); code != kafka.None || time.Since(began) != 200*time.Millisecond {
			t.Errorf("%v after %v", code, time.Since(began))
		}
	})
}

// What an incremental answer holds.
func TestTell(t *testing.T) {
	s := sized(1)
	p := s.byKey[Key{ID: kafka.TopicID{1}}]
	for i, step := range []struct {
		n    News
		want bool
	}{
		{News{HighWatermark: 0}, true}, // the first time
		{News{HighWatermark: 0}, false},
		{News{HighWatermark: 5}, true},
		{News{HighWatermark: 5}, false},
		{News{HighWatermark: 5, HasRecords: true}, true},
		{News{HighWatermark: 5, LogStart: 2}, true},
		{News{HighWatermark: 5, LogStart: 2}, false},
		{News{HighWatermark: 5, LogStart: 2, Notable: true}, true},
		{News{HighWatermark: -1, LogStart: -1, Failed: true}, true},
		{News{HighWatermark: -1, LogStart: -1, Failed: true}, true},
		{News{HighWatermark: 5, LogStart: 2}, true}, // well again
		{News{HighWatermark: 5, LogStart: 2}, false},
	} {
		if got := s.Tell(p, step.n); got != step.want {
			t.Errorf("step %d %+v: told %v", i, step.n, got)
		}
	}
}

func order(s *Session) (all string) {
	s.All(func(p *Partition) bool {
		all += fmt.Sprint(p.Partition)
		return true
	})
	return all
}

func looking(s *Session) (all string) {
	s.Looking(func(p *Partition) bool {
		all += fmt.Sprint(p.Partition)
		return true
	})
	return all
}

// A partition that gave records goes to the end: fairness among many.
func TestPartitionsTakeTurns(t *testing.T) {
	s := sized(4)
	if got := order(s); got != "0123" {
		t.Fatalf("order %s", got)
	}
	s.Tell(s.byKey[Key{ID: kafka.TopicID{1}, Partition: 1}], News{HasRecords: true})
	if order(s) != "0231" || looking(s) != "0231" {
		t.Errorf("order %s, looking at %s", order(s), looking(s))
	}
	s.Forget(Key{ID: kafka.TopicID{1}, Partition: 2})
	s.Forget(Key{ID: kafka.TopicID{1}, Partition: 9})
	if order(s) != "031" || looking(s) != "031" || s.Len() != 3 {
		t.Errorf("order %s, looking at %s", order(s), looking(s))
	}
}

// The set of a connection without a session follows each request, in its order.
func TestRestartAndRetain(t *testing.T) {
	s := New(true)
	want := func(ids ...int) {
		s.Restart(true)
		for _, i := range ids {
			s.Want(Partition{Key: Key{ID: kafka.TopicID{1}, Partition: kafka.PartitionID(i)}})
		}
		s.Retain()
	}
	want(1, 2, 3)
	kept := s.byKey[Key{ID: kafka.TopicID{1}, Partition: 3}]
	want(3, 4, 1)
	if order(s) != "341" || s.byKey[Key{ID: kafka.TopicID{1}, Partition: 3}] != kept {
		t.Errorf("order %s", order(s))
	}
	want()
	if s.Len() != 0 {
		t.Errorf("%d are left", s.Len())
	}
}

// A dropped session leaves all park lists, also when a request still has it.
func TestDroppedSessionLeavesItsLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := replica.New(kafka.TopicIDPartition{}, kafka.TopicPartition{}, time.Now)
		c := NewCache(10, slotPartitions, 1, time.Now)
		for _, busy := range []bool{false, true} {
			s := sized(3)
			s.All(func(p *Partition) bool {
				p.Replica = r
				p.armed, p.bound = true, commitlog.ToHighWatermark
				r.Await(p.bound, &p.entry, 5)
				s.Rest(p)
				return true
			})
			if looking(s) != "" {
				t.Errorf("still looking at %s", looking(s))
			}
			id := c.Add(s, false)
			if !busy {
				c.Release(s)
			}
			c.Remove(id)
			if busy {
				if waiting(r) != 3 {
					t.Error("the lists were left under a running request")
				}
				c.Release(s)
			}
			if got := waiting(r); got != 0 {
				t.Errorf("busy %v: %d entries are left", busy, got)
			}
		}
	})
}

func waiting(r *replica.Partition) int { return r.Waiting(commitlog.ToHighWatermark) }

// slotPartitions is what the tests' slots may hold.
const slotPartitions = 1000

// All sessions together hold a bounded number of partitions.
func TestPartitionsAreBounded(t *testing.T) {
	c := NewCache(2, slotPartitions, 1, time.Now)
	if add(c, 2*slotPartitions+1, false) != 0 {
		t.Error("a session larger than all slots was taken")
	}
	id := add(c, 1500, false)
	if id == 0 || add(c, 501, false) != 0 {
		t.Error("the bound is not what it says")
	}
	s, _ := c.Acquire(id, 1, true)
	if !c.Fits(s) {
		t.Error("it does not fit as it is")
	}
	for i := range 501 {
		s.Want(Partition{Key: Key{ID: kafka.TopicID{2}, Partition: kafka.PartitionID(i)}})
	}
	if c.Fits(s) {
		t.Error("a session grew beyond the bound")
	}
	c.Release(s)
}

// A wake that is noticed only after its partition was armed anew does no harm.
func TestStaleWake(t *testing.T) {
	r := replica.New(kafka.TopicIDPartition{}, kafka.TopicPartition{}, time.Now)
	s := sized(1)
	p := s.byKey[Key{ID: kafka.TopicID{1}}]
	p.Replica = r
	arm := func() {
		p.armed, p.bound = true, commitlog.ToHighWatermark
		r.Await(p.bound, &p.entry, 5)
		s.Rest(p)
	}
	arm()
	r.Follow(1) // wakes everyone
	s.Want(Partition{Key: p.Key})
	arm()
	s.Woken()
	if got := waiting(r); got != 0 || looking(s) != "0" {
		t.Fatalf("%d entries are left, looking at %q", got, looking(s))
	}
	arm()
	if got := waiting(r); got != 1 {
		t.Errorf("%d entries wait", got)
	}
	s.Close()
	if got := waiting(r); got != 0 {
		t.Errorf("%d entries are left after Close", got)
	}
}
