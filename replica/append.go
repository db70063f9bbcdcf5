// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"gregor/base/kafka"
	"gregor/base/lane"
	"gregor/base/park"
	"gregor/storage/commitlog"
)

// Append is one append to a partition and what became of it. It may be used
// again; its memory serves the next append.
type Append struct {
	// Batches are whole batches that the caller has validated. They are
	// patched in place (base offset, leader epoch).
	Batches []byte
	Origin  commitlog.Origin
	// ExpectedEpoch, unless kafka.NoLeaderEpoch, must be the leader's.
	ExpectedEpoch kafka.LeaderEpoch
	// AllReplicas is acks=all: refused while the ISR is too small.
	AllReplicas bool
	// TxnVersion is of markers that a coordinator appends, as in prodstate.Rules.
	TxnVersion int8

	Err          error
	BaseOffset   kafka.Offset
	LastOffset   kafka.Offset
	AppendTimeMs int64 // -1 unless LogAppendTime or a duplicate's own
	LogStart     kafka.Offset
	Duplicate    bool
	Epoch        kafka.LeaderEpoch // the leader's
	Committed    bool              // the high watermark has passed LastOffset

	log commitlog.Append
	job lane.Job[task]
}

// Gate says whether producers may write into a log directory.
type Gate interface {
	// Refuses is nil while they may, else why not: there is no room left for
	// them, or the directory has failed. It is asked for every write.
	Refuses() error
}

// SetGate puts the partition behind the gate of its directory. Coordinators of
// this broker pass it: what they write is small, and groups are to go on.
func (p *Partition) SetGate(g Gate) {
	p.mu.Lock()
	p.gate = g
	p.mu.Unlock()
}

// Append appends as leader and returns when the bytes are written and readers
// can see them. The caller keeps a and its Batches for itself until then.
func (p *Partition) Append(a *Append) {
	a.job.V.append = a
	p.lane.Do(&a.job)
}

// appendFrom appends all that follows j in the chain up to the first job of
// another kind, which it returns.
func (p *Partition) appendFrom(j *lane.Job[task]) *lane.Job[task] {
	p.mu.Lock()
	role, epoch, log := p.role, p.epoch, p.log
	enough := role == Leader && p.leader.EnoughReplicas()
	offline, gate := p.err, p.gate
	p.mu.Unlock()
	var refused error
	if gate != nil {
		refused = gate.Refuses()
	}

	first := j
	var head, tail *commitlog.Append
	for ; j != nil && j.V.append != nil; j = j.Next() {
		a := j.V.append
		a.reset(epoch)
		if a.Err = refuse(a, role, epoch, enough, offline, refused); a.Err != nil {
			continue
		}
		a.log = commitlog.Append{Batches: a.Batches, Origin: a.Origin, ExpectedEpoch: a.ExpectedEpoch, TxnVersion: a.TxnVersion}
		if tail == nil {
			head = &a.log
		} else {
			tail.Next = &a.log
		}
		tail = &a.log
	}
	if head == nil {
		return j
	}
	log.Append(head, epoch)
	highWatermark := p.appended(log)
	for k := first; k != j; k = k.Next() {
		a := k.V.append
		if a.Err == nil {
			a.take(highWatermark)
		}
	}
	return j
}

// refuse says why a cannot be appended, if so.
func refuse(a *Append, role Role, epoch kafka.LeaderEpoch, enough bool, offline, refused error) error {
	switch {
	case role == Offline:
		return offline
	case role != Leader:
		return kafka.NotLeaderForPartition
	case a.ExpectedEpoch != kafka.NoLeaderEpoch && a.ExpectedEpoch != epoch:
		return kafka.NotLeaderForPartition
	case a.AllReplicas && !enough:
		return kafka.NotEnoughReplicas
	case refused != nil && a.Origin == commitlog.OriginClient:
		return refused
	}
	return nil
}

// appended moves the high watermark by the new log end and wakes who waited.
func (p *Partition) appended(log *commitlog.Log) kafka.Offset {
	t := log.Tail()
	nowMs := p.now().UnixMilli()
	p.mu.Lock()
	e := p.leader.Appended(t.LogEnd, nowMs)
	p.mu.Unlock()
	if e.Moved {
		log.AdvanceHighWatermark(e.HighWatermark)
		t = log.Tail()
	}
	p.wake(t)
	p.scheduleFlush(log)
	return t.HighWatermark
}

func (a *Append) reset(epoch kafka.LeaderEpoch) {
	a.Err, a.Duplicate, a.Committed = nil, false, false
	a.BaseOffset, a.LastOffset, a.LogStart = kafka.NoOffset, kafka.NoOffset, kafka.NoOffset
	a.AppendTimeMs, a.Epoch = -1, epoch
}

// take copies the log's answer.
func (a *Append) take(highWatermark kafka.Offset) {
	l := &a.log
	a.Err, a.BaseOffset, a.LastOffset, a.AppendTimeMs = l.Err, l.BaseOffset, l.LastOffset, l.AppendTimeMs
	a.LogStart, a.Duplicate = l.LogStart, l.Duplicate
	a.Committed = l.Err == nil && l.LastOffset < highWatermark
	a.log = commitlog.Append{}
}

// Acknowledged tells whether acks=all may be answered for everything up to
// last: done is false while the high watermark is not there yet. An error
// says that it never will be known here: the leader changed, or the ISR is too
// small.
func (p *Partition) Acknowledged(last kafka.Offset, epoch kafka.LeaderEpoch) (done bool, err error) {
	p.mu.Lock()
	role, now, enough, offline := p.role, p.epoch, p.leader.EnoughAfterAppend(), p.err
	log := p.log
	p.mu.Unlock()
	switch {
	case role == Offline:
		return true, offline
	case role != Leader || now != epoch:
		return true, kafka.NotLeaderForPartition
	case log.Tail().HighWatermark <= last:
		return false, nil
	case !enough:
		return true, kafka.NotEnoughReplicasAfterAppend
	}
	return true, nil
}

// AwaitAcknowledged is Acknowledged; while it is not done, e waits for the high
// watermark to pass last. Once it is done, the caller forgets e.
func (p *Partition) AwaitAcknowledged(e *park.Entry, last kafka.Offset, epoch kafka.LeaderEpoch) (done bool, err error) {
	for {
		if done, err := p.Acknowledged(last, epoch); done {
			return true, err
		}
		// An entry that woke for another reason has left its list.
		p.Forget(commitlog.ToHighWatermark, e)
		p.Await(commitlog.ToHighWatermark, e, last+1)
		if done, _ := p.Acknowledged(last, epoch); !done {
			return false, nil
		} // it moved meanwhile
	}
}
