// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"sync"

	"gregor/base/kafka"
	"gregor/coordinator/group"
)

// matchers match the regexes of groups beside the lanes of their coordinator: as
// many at once as there are group.coordinator.background.threads, in the order in
// which they were begun. While there is nothing to do there is no goroutine. A
// group begins no second one before the first has ended, so the queue is no longer
// than there are groups.
type matchers struct {
	most    int
	ctx     context.Context // ends with the node
	cancel  context.CancelFunc
	running sync.WaitGroup
	// done takes an outcome back to the lane.
	done func(p kafka.PartitionID, m *group.Matching)

	mu    sync.Mutex // guards what follows
	queue []matching
	now   int // goroutines
	ended bool
}

type matching struct {
	partition kafka.PartitionID
	*group.Matching
}

func newMatchers(most int, done func(kafka.PartitionID, *group.Matching)) *matchers {
	m := &matchers{most: most, done: done}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// begin returns at once: it is called on a lane.
func (m *matchers) begin(p kafka.PartitionID, all []*group.Matching) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	for _, one := range all {
		m.queue = append(m.queue, matching{p, one})
		if m.now < m.most {
			m.now++
			m.running.Go(m.work)
		}
	}
}

// work takes from the queue until nothing is left.
func (m *matchers) work() {
	for {
		one, ok := m.next()
		if !ok {
			return
		}
		one.Run(m.ctx)
		m.done(one.partition, one.Matching)
	}
}

func (m *matchers) next() (matching, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 || m.ended {
		m.now--
		return matching{}, false
	}
	one := m.queue[0]
	m.queue[0] = matching{}
	m.queue = m.queue[1:]
	return one, true
}

// close gives up what runs, and returns when nothing does.
func (m *matchers) close() {
	m.mu.Lock()
	m.ended, m.queue = true, nil
	m.mu.Unlock()
	m.cancel()
	m.running.Wait()
}
