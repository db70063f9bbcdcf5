// SPDX-License-Identifier: Apache-2.0

// Package fetchsession remembers between fetches what a consumer or follower
// reads and what it was told (KIP-227), so that a request names only what
// changed, an answer holds only what is new, and the work of a fetch follows
// the partitions that changed and not those that are watched.
//
//	request: add, update, forget ─► look ◄─ Parker: the partition moved
//	                                 │
//	       read what look holds ─────┼─► data: answered, stays in look, goes to its end
//	                                 └─► nothing: armed on the partition's park list, leaves look after the answer
//
// A Cache is safe for concurrent use. A Session is used by the one request
// that has acquired it; between requests its armed entries collect wakes.
package fetchsession

import (
	"sync"
	"time"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/replica"
	"gregor/storage/commitlog"
)

// Key names a partition of a session: by topic id in sessions of Fetch v13 and
// above, by name in others. The other one is zero.
type Key struct {
	ID        kafka.TopicID
	Name      string
	Partition kafka.PartitionID
}

// Partition is what a session knows of one partition.
type Partition struct {
	Key
	NameBytes []byte // Key.Name

	// What the client asked last.
	FetchOffset      kafka.Offset
	LeaderEpoch      kafka.LeaderEpoch
	LastFetchedEpoch kafka.LeaderEpoch
	BytesMax         int32

	// Replica is what Key was found to be; nil until it was looked for.
	Replica *replica.Partition
	Cursor  commitlog.Cursor
	// SeenBound is how far it could be read when it was read last, and Quiet
	// says that there was nothing to read.
	SeenBound kafka.Offset
	Quiet     bool

	// What the client was told last.
	highWatermark kafka.Offset
	logStart      kafka.Offset

	entry   park.Entry
	armed   bool
	bound   commitlog.Bound
	looking bool
	round   uint32
	order   links // all partitions, in the order of answers
	look    links // those to look at
}

type links struct{ prev, next *Partition }

// untold is a high watermark that no partition has: the next answer holds the
// partition in any case.
const untold kafka.Offset = -1

// Session is one fetch session, or the set of one request without a session.
//
// Invariant: every partition is looking or armed between requests, unless its
// session was closed; so nothing that moves is missed.
type Session struct {
	usesIDs bool
	parker  *park.Parker
	byKey   map[Key]*Partition
	all     list
	look    list
	round   uint32 // of Restart
	ordered bool   // answers follow the order of the request
	bound   commitlog.Bound

	// The rest is the Cache's: id and what follows is guarded by its mutex.
	id         int32
	epoch      int32
	privileged bool
	createdAt  time.Time
	usedAt     time.Time
	size       int

	mu     sync.Mutex // guards what follows
	busy   bool
	gone   bool
	kicked bool
	freed  chan struct{} // closed at release, if someone waits
}

// New makes a session that no cache knows. usesIDs says which half of Key its
// partitions have.
func New(usesIDs bool) *Session {
	return &Session{usesIDs: usesIDs, parker: park.NewParker(), byKey: make(map[Key]*Partition)}
}

// Len is the number of partitions.
func (s *Session) Len() int { return len(s.byKey) }

// C receives when a partition has moved, or Kick was called.
func (s *Session) C() <-chan struct{} { return s.parker.C }

// Want adds a partition, or changes what is asked of it, and looks at it in
// the next pass. A partition that is asked for again after an error or with
// another offset need not be reported unless it has news.
func (s *Session) Want(p Partition) *Partition {
	own, ok := s.byKey[p.Key]
	if !ok {
		own = &Partition{Key: p.Key, NameBytes: []byte(p.Name), highWatermark: untold, logStart: untold}
		own.entry.Parker, own.entry.Owner = s.parker, own
		s.byKey[p.Key] = own
		s.all.push(own, orderOf)
	} else if s.ordered {
		s.all.remove(own, orderOf)
		s.all.push(own, orderOf)
	}
	own.round = s.round
	own.FetchOffset, own.LeaderEpoch, own.LastFetchedEpoch, own.BytesMax = p.FetchOffset, p.LeaderEpoch, p.LastFetchedEpoch, p.BytesMax
	s.disarm(own)
	s.lookAt(own)
	return own
}

// Forget removes a partition.
func (s *Session) Forget(k Key) {
	own, ok := s.byKey[k]
	if !ok {
		return
	}
	s.disarm(own)
	if own.looking {
		own.looking = false
		s.look.remove(own, lookOf)
	}
	s.all.remove(own, orderOf)
	delete(s.byKey, k)
}

// Restart begins a new set of partitions: after those that the set holds were
// wanted, Retain drops the others. What both sets hold keeps its cursor.
func (s *Session) Restart(usesIDs bool) {
	s.usesIDs = usesIDs
	s.round++
	s.ordered = true
}

// Retain forgets what was not wanted since Restart.
func (s *Session) Retain() {
	for p := s.all.head; p != nil; {
		next := p.order.next
		if p.round != s.round {
			s.Forget(p.Key)
		}
		p = next
	}
}

// Unfound forgets the replica that p was found to be.
func (s *Session) Unfound(p *Partition) {
	s.disarm(p)
	p.Replica = nil
}

// Woken moves the partitions that have moved to those to look at.
func (s *Session) Woken() {
	for e := s.parker.Ready(); e != nil; e = s.parker.Ready() {
		p := e.Owner.(*Partition)
		if s.byKey[p.Key] != p || !p.armed {
			continue // forgotten, or disarmed after it woke
		}
		// The wake may be of an earlier time, and p armed anew since.
		s.disarm(p)
		s.lookAt(p)
	}
}

// Looking calls f for the partitions to look at, in order, until it is false.
// f may call Arm, Rest and Unfound for the partition it is given.
func (s *Session) Looking(f func(*Partition) bool) {
	for p := s.look.head; p != nil; {
		next := p.look.next
		if !f(p) {
			return
		}
		p = next
	}
}

// All calls f for every partition, in the order of answers, until it is false.
func (s *Session) All(f func(*Partition) bool) {
	for p := s.all.head; p != nil; {
		next := p.order.next
		if !f(p) {
			return
		}
		p = next
	}
}

// Reads makes bound how far the partitions are read. Those that wait for
// another one are looked at again.
func (s *Session) Reads(bound commitlog.Bound) {
	if s.bound == bound {
		return
	}
	s.bound = bound
	for p := s.all.head; p != nil; p = p.order.next {
		s.disarm(p)
		s.lookAt(p)
	}
}

func (s *Session) lookAt(p *Partition) {
	p.Quiet = false // or it would be laid to rest without having been read
	if !p.looking {
		p.looking = true
		s.look.push(p, lookOf)
	}
}

// Arm waits until the offset that bound names reaches at. It returns false if
// it has been reached already.
func (s *Session) Arm(p *Partition, bound commitlog.Bound, at kafka.Offset) bool {
	if p.armed {
		return true
	}
	p.armed, p.bound = true, bound
	p.Replica.Await(bound, &p.entry, at)
	if reached(p.Replica, bound, at) {
		s.disarm(p)
		return false
	}
	return true
}

// Rest stops looking at p, which is armed.
func (s *Session) Rest(p *Partition) {
	if p.looking && p.armed {
		p.looking = false
		s.look.remove(p, lookOf)
	}
}

// reached looks again after an entry was added: what moved meanwhile did not
// wake it.
func reached(r *replica.Partition, bound commitlog.Bound, at kafka.Offset) bool {
	t, ok := r.Tail()
	if !ok {
		return true
	}
	switch bound {
	case commitlog.ToHighWatermark:
		return t.HighWatermark >= at
	case commitlog.ToLastStable:
		return t.LastStable >= at
	}
	return t.LogEnd >= at
}

func (s *Session) disarm(p *Partition) {
	if p.armed {
		p.armed = false
		p.Replica.Forget(p.bound, &p.entry)
	}
}

// Close leaves all park lists.
func (s *Session) Close() {
	for p := s.all.head; p != nil; p = p.order.next {
		s.disarm(p)
	}
}

// News is what an answer would tell of a partition.
type News struct {
	HasRecords    bool
	Failed        bool // with an error
	Notable       bool // a diverging epoch or a preferred replica
	HighWatermark kafka.Offset
	LogStart      kafka.Offset
}

// Tell reports whether an incremental answer holds the partition, and notes
// that the client knows it from now on. A partition with an error is told every
// time, and again once the error is gone. One with records goes to the end, so
// that a large one cannot starve those behind it.
func (s *Session) Tell(p *Partition, n News) bool {
	tell := n.HasRecords || n.Failed || n.Notable || n.HighWatermark != p.highWatermark || n.LogStart != p.logStart
	p.highWatermark, p.logStart = n.HighWatermark, n.LogStart
	if n.Failed {
		p.highWatermark = untold
	}
	if n.HasRecords {
		s.all.remove(p, orderOf)
		s.all.push(p, orderOf)
		if p.looking {
			s.look.remove(p, lookOf)
			s.look.push(p, lookOf)
		}
	}
	return tell
}

// Kicked reports whether another request waits for this session.
func (s *Session) Kicked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kicked
}
