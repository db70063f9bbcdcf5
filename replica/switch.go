// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"errors"
	"fmt"
	"time"

	"gregor/base/kafka"
	"gregor/replica/isr"
	"gregor/storage/commitlog"
)

// ErrDeleted is what a partition answers that is deleted or no longer ours.
var ErrDeleted = fmt.Errorf("partition is gone: %w", kafka.UnknownTopicOrPartition)

// Begin says that a change of role is under way: requests that the image sends
// here wait for it in Settled. Every Begin is followed by one End.
func (p *Partition) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes++
	if p.switching == nil {
		p.switching = make(chan struct{})
	}
}

// End says that the change is done, or has failed.
func (p *Partition) End() {
	p.mu.Lock()
	p.changes--
	var over chan struct{}
	if p.changes == 0 {
		over, p.switching = p.switching, nil
	}
	p.mu.Unlock()
	if over != nil {
		close(over)
	}
}

// Switching gives a channel that is closed when the change that is under way
// is done, or nil.
func (p *Partition) Switching() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.switching
}

// Settled waits until no change is under way, for at most wait. A request that
// finds its partition switching waits instead of failing.
func (p *Partition) Settled(wait time.Duration) {
	over := p.Switching()
	if over == nil {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-over:
	case <-timer.C:
	}
}

// Open gives the partition its log. open runs on the lane and may do I/O.
func (p *Partition) Open(open func() (*commitlog.Log, error)) error {
	var err error
	p.onLane(func() {
		if p.hasLog() {
			return
		}
		if p.Status().Role == Gone {
			err = ErrDeleted
			return
		}
		var log *commitlog.Log
		if log, err = open(); err != nil {
			err = fmt.Errorf("open %s: %w", p.tp, err)
			p.offline(err)
			return
		}
		p.mu.Lock()
		p.log = log
		if !p.lost {
			p.role, p.err = Follower, nil
		}
		p.mu.Unlock()
		p.scheduleFlush(log)
	})
	return err
}

func (p *Partition) hasLog() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log != nil
}

// Lead makes this replica the leader, or updates the leader that it is.
func (p *Partition) Lead(l isr.Leadership) error {
	var err error
	p.onLane(func() { err = p.lead(l) })
	return err
}

func (p *Partition) lead(l isr.Leadership) error {
	p.mu.Lock()
	role, epoch, log := p.role, p.epoch, p.log
	p.mu.Unlock()
	if role == Gone || role == Offline || log == nil {
		return nil // Open has said why
	}
	nowMs := p.now().UnixMilli()
	if role == Leader && epoch == l.Epoch {
		p.mu.Lock()
		e := p.leader.Update(l, nowMs)
		p.mu.Unlock()
		p.moved(log, e)
		return nil
	}
	if l.Epoch < epoch {
		return nil // an image that has been overtaken
	}
	if err := log.StartEpoch(l.Epoch); err != nil {
		err = fmt.Errorf("start epoch %d of %s: %w", l.Epoch, p.tp, err)
		p.offline(err)
		return err
	}
	t := log.Tail()
	leader := isr.Lead(l, p.Rules().ISR, t.LogEnd, t.HighWatermark, nowMs)
	// Before anyone can see the new leader: what it is alone to decide.
	log.AdvanceHighWatermark(leader.HighWatermark())
	p.mu.Lock()
	if !p.lost {
		p.role, p.epoch, p.leader = Leader, l.Epoch, leader
	}
	p.mu.Unlock()
	p.wakeAll()
	return nil
}

// moved publishes what isr decided.
func (p *Partition) moved(log *commitlog.Log, e isr.Effects) {
	if e.Moved {
		log.AdvanceHighWatermark(e.HighWatermark)
	}
	// Waiters for acks=all also look at the ISR.
	p.wakeAll()
}

// Follow makes this replica a follower in epoch.
func (p *Partition) Follow(epoch kafka.LeaderEpoch) {
	p.onLane(func() {
		p.mu.Lock()
		if p.role == Leader || p.role == Follower {
			p.role, p.epoch = Follower, max(epoch, p.epoch)
		}
		p.mu.Unlock()
		p.wakeAll()
	})
}

// Configure applies a changed topic configuration. It may be called before
// Open: rules count from the next request on, the log's part from its lane.
func (p *Partition) Configure(r *Rules) {
	p.SetRules(r)
	p.ApplyRules()
}

// ApplyRules gives the log, and what the leader decides, the rules that hold now.
func (p *Partition) ApplyRules() {
	p.onLane(func() {
		r := p.Rules()
		p.mu.Lock()
		log := p.log
		var e isr.Effects
		if p.role == Leader {
			e = p.leader.Configure(r.ISR, p.now().UnixMilli())
		}
		p.mu.Unlock()
		if log == nil {
			return
		}
		log.Configure(r.Log)
		p.scheduleFlush(log)
		if e.Moved {
			p.moved(log, e)
		}
	})
}

// SetRules stores rules, which count from the next request on. The log's part waits
// for ApplyRules, or for the log.
func (p *Partition) SetRules(r *Rules) { p.rules.Store(r) }

// Close takes the log away, if there is one, and leaves the partition gone:
// every request and waiter learns it. closing runs on the lane, and gets the log.
func (p *Partition) Close(closing func(*commitlog.Log) error) error {
	var err error
	p.onLane(func() {
		p.mu.Lock()
		log := p.log
		p.role, p.log = Gone, nil
		p.mu.Unlock()
		p.wakeAll()
		if log != nil {
			err = closing(log)
		}
	})
	return err
}

// Lose takes the partition offline for good: its directory has failed. It does
// not wait for the lane.
func (p *Partition) Lose(err error) {
	p.mu.Lock()
	p.lost = true
	p.mu.Unlock()
	p.offline(err)
}

// offline says why there is no log, or none that can be changed. Open may be
// tried again.
func (p *Partition) offline(err error) {
	p.mu.Lock()
	if p.role != Gone {
		p.role, p.err = Offline, offlineError(err)
	}
	p.mu.Unlock()
	p.wakeAll()
}

// offlineError makes sure that clients see KAFKA_STORAGE_ERROR.
func offlineError(err error) error {
	if errors.Is(err, kafka.KafkaStorageError) {
		return err
	}
	return fmt.Errorf("%w: %w", kafka.KafkaStorageError, err)
}

// Log gives the log for flushes, retention and the like; nil while there is
// none.
func (p *Partition) Log() *commitlog.Log {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}

// onLog runs f with the log on the partition's lane, and not at all while
// there is none or it is offline: for what nobody waits for.
func (p *Partition) onLog(f func(*commitlog.Log)) {
	p.onLane(func() {
		p.mu.Lock()
		log, offline := p.log, p.role == Offline
		p.mu.Unlock()
		if log != nil && !offline {
			f(log)
		}
	})
}
