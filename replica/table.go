// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"sync"
	"sync/atomic"

	"gregor/base/kafka"
)

// Table finds the replicas of this broker by topic id. Lookups take no lock
// and allocate nothing.
type Table struct {
	topics sync.Map // kafka.TopicID -> *topic
	mu     sync.Mutex
	count  atomic.Int64
	// trafficBegan counts the topics that have had traffic.
	trafficBegan atomic.Int64
}

// topic holds the partitions of one topic by their number; those that live
// elsewhere are nil. The list is replaced when it must grow, else its elements
// are.
type topic struct {
	partitions atomic.Pointer[[]atomic.Pointer[Partition]]
	name       string
	traffic    *Traffic
	count      int // guarded by Table.mu
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{} }

// Get finds a partition; nil if it is not here.
func (t *Table) Get(id kafka.TopicID, partition kafka.PartitionID) *Partition {
	v, ok := t.topics.Load(id)
	if !ok {
		return nil
	}
	list := *v.(*topic).partitions.Load()
	if partition < 0 || int(partition) >= len(list) {
		return nil
	}
	return list[partition].Load()
}

// Add puts a partition in. One that is there under the same id is replaced.
func (t *Table) Add(p *Partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, found := t.topics.Load(p.id.TopicID)
	if !found {
		v = &topic{name: p.tp.Topic, traffic: &Traffic{table: t}}
		v.(*topic).partitions.Store(&[]atomic.Pointer[Partition]{})
	}
	own, i := v.(*topic), int(p.id.Partition)
	list := *own.partitions.Load()
	if i >= len(list) {
		grown := make([]atomic.Pointer[Partition], max(i+1, 2*len(list)))
		for k := range list {
			grown[k].Store(list[k].Load())
		}
		list = grown
		own.partitions.Store(&list)
	}
	p.traffic = own.traffic
	if list[i].Swap(p) == nil {
		own.count++
		t.count.Add(1)
	}
	if !found {
		t.topics.Store(p.id.TopicID, own)
	}
}

// Remove takes a partition out, if it is the one that is there.
func (t *Table) Remove(p *Partition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.topics.Load(p.id.TopicID)
	if !ok {
		return
	}
	own, i := v.(*topic), int(p.id.Partition)
	list := *own.partitions.Load()
	if i >= len(list) || !list[i].CompareAndSwap(p, nil) {
		return
	}
	t.count.Add(-1)
	if own.count--; own.count == 0 {
		t.topics.Delete(p.id.TopicID)
	}
}

// Len is the number of partitions.
func (t *Table) Len() int { return int(t.count.Load()) }

// All calls f for every partition, in no order, until it returns false.
func (t *Table) All(f func(*Partition) bool) {
	t.topics.Range(func(_, v any) bool {
		list := *v.(*topic).partitions.Load()
		for i := range list {
			if p := list[i].Load(); p != nil && !f(p) {
				return false
			}
		}
		return true
	})
}
