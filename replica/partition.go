// SPDX-License-Identifier: Apache-2.0

// Package replica is the shell around one replica of a partition: what a
// leader does with appends and reads, what a follower is, and the table that
// finds them by topic id.
//
// Changes go over the partition's lane, one at a time, and may do I/O there;
// everything else reads a copy of the tail. Which replica leads is told from
// outside (replica/assign); what a leader may promise is decided in
// replica/isr.
package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"gregor/base/kafka"
	"gregor/base/lane"
	"gregor/base/park"
	"gregor/replica/isr"
	"gregor/storage/commitlog"
	"gregor/storage/retention"
	"gregor/wire/batch"
)

// Rules are what a topic's configuration asks of its replicas. assign makes
// them anew when the configuration changes; they are never changed.
type Rules struct {
	Batch batch.Rules // for batches that clients send
	// CompactOnly is cleanup.policy=compact: no record may be deleted by its offset.
	CompactOnly bool
	ISR         isr.Rules
	Log         commitlog.Config
	Retention   retention.Rules
}

// Role is what this replica is at the moment.
type Role int8

// The roles.
const (
	// Opening: it has no log yet.
	Opening Role = iota
	Leader
	Follower
	// Offline: its log could not be opened, or its directory failed.
	Offline
	// Gone: it was deleted, or belongs to another broker now.
	Gone
)

// Partition is one replica.
//
//	Append ─► lane: leader? epoch? min ISR ─► log.Append (one write for the chain)
//	              ─► isr: high watermark ─► wake who waits for log end, high watermark, last stable offset
//	Read   ─► copy role and epoch under mu ─► log.Read without a lock
//
// Who waits for offsets waits on one of three park lists (Await). Whoever
// moves an offset wakes the list after publishing it; a change of leadership
// or a deletion wakes everyone.
//
// Invariants: role, leader and epoch change on the lane only, and are
// published under mu; Lose alone comes from elsewhere, since the lane may hang
// in a disk that has failed, and what it sets is never undone. mu is a leaf: it
// is never held over the log or a list.
// Rejected: a mutex around appends, which cannot combine queued ones into one
// write and freezes virtual time over slow disks.
type Partition struct {
	id   kafka.TopicIDPartition
	tp   kafka.TopicPartition
	now  func() time.Time
	lane lane.Lane[task]
	// home is the number of its log directory as assign counts them; -1: none.
	home atomic.Int32

	rules atomic.Pointer[Rules]
	ends  [3]park.List // by commitlog.Bound

	traffic *Traffic // of its topic; set before the table shows the partition

	flusher   *Flusher // nil: none
	flushAtMs int64    // when flusher comes; 0: never. The lane alone touches it.

	mu     sync.Mutex // guards what follows
	log    *commitlog.Log
	role   Role
	epoch  kafka.LeaderEpoch
	leader isr.Leader // of role Leader
	err    error      // of role Offline
	lost   bool       // its directory has failed: the role stays Offline
	gate   Gate       // of its directory; nil: none
	// switching is closed when the change that is under way is done; nil when
	// none is. wanted is the epoch that it leads to.
	switching chan struct{}
	changes   int
}

// task is a job of the lane: an append, or anything else.
type task struct {
	append *Append
	do     func()
}

// New makes a partition that has no log yet.
func New(id kafka.TopicIDPartition, tp kafka.TopicPartition, now func() time.Time) *Partition {
	p := &Partition{id: id, tp: tp, now: now, epoch: kafka.NoLeaderEpoch}
	p.home.Store(-1)
	p.rules.Store(&Rules{})
	p.lane.Init(p.run)
	return p
}

// ID names the partition by its topic's id.
func (p *Partition) ID() kafka.TopicIDPartition { return p.id }

// TopicPartition names the partition by its topic's name.
func (p *Partition) TopicPartition() kafka.TopicPartition { return p.tp }

// Rules are those that hold now.
func (p *Partition) Rules() *Rules { return p.rules.Load() }

// Home is the number of its log directory, and -1 while it has none.
func (p *Partition) Home() int { return int(p.home.Load()) }

// SetHome says in which log directory the partition is or will be.
func (p *Partition) SetHome(dir int) { p.home.Store(int32(dir)) }

// Status is what a partition is at one moment.
type Status struct {
	Role  Role
	Epoch kafka.LeaderEpoch
	ISR   []kafka.NodeID
	Err   error
}

// Status copies the state.
func (p *Partition) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Role: p.role, Epoch: p.epoch, Err: p.err}
	if p.role == Leader {
		s.ISR = p.leader.ISR()
	}
	return s
}

// Tail is where the log begins and ends; ok is false while there is none.
func (p *Partition) Tail() (t commitlog.Tail, ok bool) {
	p.mu.Lock()
	log := p.log
	p.mu.Unlock()
	if log == nil {
		return commitlog.Tail{}, false
	}
	return log.Tail(), true
}

// run is the lane: appends that queued together become one write.
func (p *Partition) run(chain *lane.Job[task]) {
	for j := chain; j != nil; {
		if j.V.append == nil {
			j.V.do()
			j = j.Next()
			continue
		}
		j = p.appendFrom(j)
	}
}

// onLane runs f on the lane and waits for it.
func (p *Partition) onLane(f func()) {
	p.lane.Do(&lane.Job[task]{V: task{do: f}})
}

// Await makes e wait until the offset that bound names reaches at. The caller
// looks at the partition again afterwards, since it may have moved meanwhile.
func (p *Partition) Await(bound commitlog.Bound, e *park.Entry, at kafka.Offset) {
	p.ends[bound].Add(e, int64(at))
}

// Forget takes e out of the list that Await put it in.
func (p *Partition) Forget(bound commitlog.Bound, e *park.Entry) { p.ends[bound].Remove(e) }

// Waiting is the number of those who wait for an offset.
func (p *Partition) Waiting(bound commitlog.Bound) int { return p.ends[bound].Len() }

// wake tells who waits for offsets that t has reached.
func (p *Partition) wake(t commitlog.Tail) {
	p.ends[commitlog.ToLogEnd].Wake(int64(t.LogEnd))
	p.ends[commitlog.ToHighWatermark].Wake(int64(t.HighWatermark))
	p.ends[commitlog.ToLastStable].Wake(int64(t.LastStable))
}

// wakeAll makes everyone look again: the leader or the log start changed, or
// the partition is gone.
func (p *Partition) wakeAll() {
	for i := range p.ends {
		p.ends[i].WakeAll()
	}
}
