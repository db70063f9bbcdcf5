// SPDX-License-Identifier: Apache-2.0

package fetchsession

import (
	"math"
	"sync"
	"time"

	"gregor/base/kafka"
)

// evictAfter is how long a session is safe from others: one that was not used
// for so long may go, and one that has lived for so long may give way to a
// larger one.
const evictAfter = 2 * time.Minute

// waitMax is how long a request waits for a session that another request of
// the same client still holds, from a connection that the client gave up.
const waitMax = time.Second

// Cache holds the sessions of a broker. There are at most as many as it has
// slots, max.incremental.fetch.session.cache.slots; who finds no slot goes on
// with full fetches.
type Cache struct {
	slots         int
	partitionsMax int // of all sessions: their memory follows this number
	now           func() time.Time

	mu       sync.Mutex // guards what follows
	sessions map[int32]*Session
	seed     uint64
	evicted  int64
	parts    int
}

// NewCache makes a cache. slotPartitions is how many partitions a slot may
// hold, on average over all slots. seed makes session ids hard to guess.
func NewCache(slots, slotPartitions int, seed uint64, now func() time.Time) *Cache {
	return &Cache{slots: slots, partitionsMax: slots * slotPartitions, now: now, sessions: make(map[int32]*Session), seed: seed}
}

// Stats are the counters of a Cache.
type Stats struct {
	Sessions     int
	Partitions   int
	EvictedTotal int64
}

// Stats reads the counters.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Sessions: len(c.sessions), Partitions: c.parts, EvictedTotal: c.evicted}
}

// Add gives a session an id, if there is a slot or another session gives way.
// It is held by the caller until Release. privileged are the sessions of
// followers. 0 means that the client must do without.
func (c *Cache) Add(s *Session, privileged bool) int32 {
	now := c.now()
	s.mu.Lock()
	s.busy = true
	s.mu.Unlock()
	c.mu.Lock()
	if c.parts+s.Len() > c.partitionsMax {
		c.mu.Unlock()
		return 0
	}
	if len(c.sessions) >= c.slots {
		victim := c.victimLocked(privileged, s.Len(), now)
		if victim == nil {
			c.mu.Unlock()
			return 0
		}
		c.removeLocked(victim)
		c.evicted++
		defer victim.drop()
	}
	defer c.mu.Unlock()
	s.id, s.epoch = c.freshLocked(), 1
	s.privileged, s.createdAt, s.usedAt, s.size = privileged, now, now, s.Len()
	c.sessions[s.id] = s
	c.parts += s.size
	return s.id
}

// freshLocked draws an id that is in no use: splitmix64, cut to a positive int32.
func (c *Cache) freshLocked() int32 {
	for {
		c.seed += 0x9e3779b97f4a7c15
		z := c.seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		id := int32((z ^ z>>31) & math.MaxInt32)
		if _, taken := c.sessions[id]; id != 0 && !taken {
			return id
		}
	}
}

// victimLocked picks the session that gives way: the one unused for longest,
// if that is long enough, else the least valuable of those that may, unless
// the new one is worth less. Followers are worth more than consumers, large
// sessions more than small ones.
func (c *Cache) victimLocked(privileged bool, size int, now time.Time) *Session {
	var stale, least *Session
	for _, s := range c.sessions {
		if stale == nil || s.usedAt.Before(stale.usedAt) {
			stale = s
		}
		old := now.Sub(s.createdAt) > evictAfter
		if !old && (!privileged || s.privileged) {
			continue
		}
		if least == nil || less(s.privileged, s.size, s.id, least.privileged, least.size, least.id) {
			least = s
		}
	}
	switch {
	case stale != nil && now.Sub(stale.usedAt) > evictAfter:
		return stale
	case least == nil || less(privileged, size, 0, least.privileged, least.size, least.id):
		return nil
	}
	return least
}

func less(aPrivileged bool, aSize int, aID int32, bPrivileged bool, bSize int, bID int32) bool {
	if aPrivileged != bPrivileged {
		return bPrivileged
	}
	if aSize != bSize {
		return aSize < bSize
	}
	return aID < bID
}

func (c *Cache) removeLocked(s *Session) {
	delete(c.sessions, s.id)
	c.parts -= s.size
}

// Remove ends a session, if there is one of this id.
func (c *Cache) Remove(id int32) {
	c.mu.Lock()
	s := c.sessions[id]
	if s != nil {
		c.removeLocked(s)
	}
	c.mu.Unlock()
	if s != nil {
		s.drop()
	}
}

// Fits reports whether there is room for what a request has made of a session.
func (c *Cache) Fits(s *Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parts-s.size+s.Len() <= c.partitionsMax
}

// Acquire gives the session of an id to a request with the session's next
// epoch. usesIDs says which half of Key the request has. The codes are those
// of the protocol.
func (c *Cache) Acquire(id, epoch int32, usesIDs bool) (*Session, kafka.Code) {
	c.mu.Lock()
	s := c.sessions[id]
	c.mu.Unlock()
	if s == nil {
		return nil, kafka.FetchSessionIDNotFound
	}
	if !s.hold() {
		return nil, kafka.InvalidFetchSessionEpoch
	}
	c.mu.Lock()
	code := kafka.None
	switch {
	case c.sessions[id] != s:
		code = kafka.FetchSessionIDNotFound
	case s.epoch != epoch:
		code = kafka.InvalidFetchSessionEpoch
	case s.usesIDs != usesIDs:
		code = kafka.FetchSessionTopicIDError
	default:
		s.epoch = nextEpoch(epoch)
		s.usedAt = c.now()
	}
	c.mu.Unlock()
	if code != kafka.None {
		s.release()
		return nil, code
	}
	return s, kafka.None
}

// nextEpoch follows epoch: 0 and -1 have a meaning of their own, so 1 comes
// after the greatest.
func nextEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// Release gives a session back after the request's changes.
func (c *Cache) Release(s *Session) {
	c.mu.Lock()
	if c.sessions[s.id] == s {
		c.parts += s.Len() - s.size
		s.size = s.Len()
	}
	c.mu.Unlock()
	s.release()
}

// hold waits until no other request has the session. The one that has it is
// asked to leave its long poll.
func (s *Session) hold() bool {
	var timer *time.Timer
	for {
		s.mu.Lock()
		if !s.busy {
			s.busy = true
			s.mu.Unlock()
			return true
		}
		s.kicked = true
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case s.parker.C <- struct{}{}:
		default:
		}
		if timer == nil {
			timer = time.NewTimer(waitMax)
			defer timer.Stop()
		}
		select {
		case <-freed:
		case <-timer.C:
			return false
		}
	}
}

func (s *Session) release() {
	s.mu.Lock()
	s.busy, s.kicked = false, false
	gone, freed := s.gone, s.freed
	s.freed = nil
	s.mu.Unlock()
	if freed != nil {
		close(freed)
	}
	if gone {
		s.Close()
	}
}

// drop ends a session that has left the cache: it leaves its park lists, at
// once or when the request that has it is done.
func (s *Session) drop() {
	s.mu.Lock()
	s.gone = true
	busy := s.busy
	s.mu.Unlock()
	if !busy {
		s.Close()
	}
}
