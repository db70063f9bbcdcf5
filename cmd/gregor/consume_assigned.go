// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/fetch"
	"gregor/cmd/gregor/record"
)

// assigned notes what is to be read of new partitions: up to the end that they
// have now.
func (m *membership) assigned(ctx context.Context, _ *kgo.Client, partitions map[string][]int32) {
	left, err := m.stretches(ctx, partitions)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		m.err = err
	}
	m.away = time.Time{}
	for at, s := range left {
		m.left[at] = s
	}
	for topic, list := range partitions {
		for _, id := range list {
			m.owned[topicPartition{topic, id}] = true
		}
	}
	switch {
	case len(m.owned) > 0:
		m.noneSince = time.Time{}
	case m.noneSince.IsZero():
		m.noneSince = m.now()
	}
}

func (m *membership) stretches(ctx context.Context, partitions map[string][]int32) (map[topicPartition]*stretch, error) {
	left := map[topicPartition]*stretch{}
	if m.o.follow || len(partitions) == 0 {
		return left, nil
	}
	committed, err := m.admin.FetchOffsets(ctx, m.o.group)
	if err != nil {
		return nil, groupError(m.o.group, fmt.Errorf("fetch offsets: %w", err))
	}
	q := spanQuery{ctx: ctx, admin: m.admin, topics: sortedKeys(partitions), lists: map[string]kadm.ListedOffsets{}, committed: m.o.committed}
	for topic, list := range partitions {
		for _, id := range list {
			s, err := q.stretch(topic, id, span{m.begin, point{kind: atEnd}}, false)
			if err != nil {
				return nil, topicError(topic, fmt.Errorf("partition %d: %w", id, err))
			}
			if o, ok := committed.Lookup(topic, id); ok && o.Err == nil {
				within, err := q.within(topic, id, o.At)
				if err != nil {
					return nil, topicError(topic, fmt.Errorf("partition %d: %w", id, err))
				}
				if within { // else the client begins as it does without a commit
					s.next = o.At
				}
			}
			if s.next < s.to {
				left[topicPartition{topic, id}] = s
			}
		}
	}
	return left, nil
}

// revoked commits before another member takes over.
func (m *membership) revoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	if m.o.commit == "auto" && ctx.Err() == nil {
		_ = client.CommitMarkedOffsets(ctx) // the next owner reads again what it lacks
	}
	m.lost(ctx, client, partitions)
}

func (m *membership) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, list := range partitions {
		for _, id := range list {
			delete(m.left, topicPartition{topic, id})
			delete(m.owned, topicPartition{topic, id})
			delete(m.troubled, topicPartition{topic, id})
		}
	}
	m.noneSince = time.Time{} // what comes next is told by assigned
}

// advance takes what was read off what is left.
func (m *membership) advance(records []*kgo.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		at := topicPartition{r.Topic, r.Partition}
		delete(m.troubled, at)
		if s := m.left[at]; s != nil {
			if s.next = r.Offset + 1; s.next >= s.to {
				delete(m.left, at)
			}
		}
	}
}

// done reports that what the member has is read. Without a partition it is not:
// others may have to give some up first, or a rebalance is under way.
func (m *membership) done() (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.owned) > 0 && len(m.left) == 0, m.err
}

// waits reports that it has had no partition yet, or has none any more.
func (m *membership) waits() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.owned) == 0
}

// spare reports that the group has partitions for others only, and has read
// them. While something is left of them it waits for a share, up to the timeout.
func (m *membership) spare(ctx context.Context, topics []string) (bool, error) {
	m.mu.Lock()
	none := m.noneSince
	m.mu.Unlock()
	if none.IsZero() {
		return false, nil
	}
	details, err := m.admin.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return false, failed(fmt.Errorf("look topics up: %w", err))
	}
	all := map[string][]int32{}
	for _, t := range details.Sorted() {
		if t.Err != nil {
			return false, topicError(t.Topic, t.Err)
		}
		all[t.Topic] = t.Partitions.Numbers()
	}
	left, err := m.stretches(ctx, all)
	switch {
	case err != nil || len(left) == 0:
		return err == nil, err
	case m.now().Sub(none) < m.o.timeout:
		return false, nil
	}
	var offsets int64
	for _, s := range left {
		offsets += s.to - s.next
	}
	return false, failed(fmt.Errorf("group %q gives this member no partition: its other members have all, and %d offsets are left to them", m.o.group, offsets),
		"gregor group describe "+m.o.group+" --members", "gregor group lag "+m.o.group)
}

// lookBehind strikes out partitions of which no record is left.
func (m *membership) lookBehind(ctx context.Context) error {
	m.mu.Lock()
	var stretches []fetch.Stretch
	for at, s := range m.left {
		stretches = append(stretches, fetch.Stretch{Topic: at.topic, Partition: at.partition, Next: s.next, To: s.to})
	}
	m.mu.Unlock()
	if len(stretches) == 0 {
		return nil
	}
	has := map[topicPartition]bool{}
	r := fetch.NewReader(m.client, fetch.Options{Committed: m.o.committed, Timeout: m.o.timeout})
	if err := r.First(ctx, stretches, func(r *record.Record) { has[topicPartition{r.Topic, r.Partition}] = true }); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range stretches {
		if at := (topicPartition{s.Topic, s.Partition}); !has[at] {
			delete(m.left, at)
		}
	}
	return nil
}
