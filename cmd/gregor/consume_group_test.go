// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member has read all only while it has partitions: a group that assigns it
// nothing yet, that takes its partitions back for a while, or an assignment
// that could not be looked up leave records unread.
func TestMemberIsDone(t *testing.T) {
	ctx, orders := t.Context(), map[string][]int32{"orders": {0, 1}}
	made := func() *membership {
		m := newMembership(&consumeOptions{follow: true}, point{}) // asks nobody for ends
		m.now = func() time.Time { return time.Unix(7, 0) }
		return m
	}
	wants := func(what string, m *membership, want, wantNone bool) {
		t.Helper()
		if done, err := m.done(); done != want || err != nil || m.noneSince.IsZero() == wantNone {
			t.Errorf("%s: done %v, %v, without partitions since %v", what, done, err, m.noneSince)
		}
	}
	m := made()
	wants("not joined", m, false, false)
	m.assigned(ctx, nil, nil)
	wants("nothing is assigned", m, false, true)
	m.assigned(ctx, nil, orders)
	wants("nothing is left of what is", m, true, false)
	m.left[topicPartition{"orders", 1}] = &stretch{next: 3, to: 5}
	wants("records are left", m, false, false)
	m.revoked(ctx, nil, map[string][]int32{"orders": {1}})
	wants("another member reads them", m, true, false)
	m.lost(ctx, nil, map[string][]int32{"orders": {0}})
	wants("a rebalance is under way", m, false, false)
	m.err = errors.New("list offsets: no answer")
	m.assigned(ctx, nil, orders)
	if done, err := m.done(); err == nil {
		t.Errorf("done %v, though the offsets are not known", done)
	}
}

// An error that a broker gives again and again is told once, when it has lasted
// for longer than the timeout, and again after records came.
func TestMemberTellsOfTrouble(t *testing.T) {
	now, told := time.Unix(7, 0), 0
	m := newMembership(&consumeOptions{connection: connection{timeout: 3 * time.Second}}, point{})
	m.now, m.note = func() time.Time { return now }, func(string) { told++ }
	orders := topicPartition{"orders", 1}
	trouble := func(seconds, want int) {
		t.Helper()
		for range seconds {
			if err := m.stuck(orders, kerr.CorruptMessage); err != nil {
				t.Error(err)
			}
			now = now.Add(time.Second)
		}
		if told != want {
			t.Errorf("told %d times, want %d", told, want)
		}
	}
	trouble(4, 0)
	trouble(9, 1)
	m.advance([]*kgo.Record{{Topic: "orders", Partition: 1}})
	trouble(4, 1)
	trouble(1, 2)
	var gone error
	for range 5 {
		gone = m.stuck(topicPartition{"orders", 2}, kerr.UnknownTopicID)
		now = now.Add(time.Second)
	}
	if gone == nil || told != 2 {
		t.Errorf("a topic that is not there any more: %v, told %d times", gone, told)
	}
}

// A group that cannot be reached is told once, and once more when the member is
// in it again. Only who follows waits for it longer than the timeout.
func TestMemberOfAGroupThatIsAway(t *testing.T) {
	for _, follow := range []bool{true, false} {
		now := time.Unix(7, 0)
		var told []string
		m := newMembership(&consumeOptions{follow: follow, connection: connection{timeout: 3 * time.Second}, memberOptions: memberOptions{group: "audit"}}, point{})
		m.now, m.note = func() time.Time { return now }, func(text string) { told = append(told, text) }
		gone := kgo.NewErrFetch(&kgo.ErrGroupSession{Err: io.EOF})
		lost := false
		look := func(fetches kgo.Fetches) (err error) {
			t.Helper()
			if err := m.failed(t.Context(), fetches); err != nil {
				t.Fatal(err)
			}
			lost, err = m.reached(lost)
			now = now.Add(2 * time.Second)
			return err
		}
		first, second, third := look(gone), look(gone), look(nil)
		if first != nil || second != nil || (third == nil) != follow || third != nil && codeOf(third) != exitUnreachable {
			t.Errorf("follow %v: %v, %v, %v", follow, first, second, third)
		}
		m.owned[topicPartition{"orders", 0}] = true // as assigned does
		m.away = time.Time{}
		if err := errors.Join(look(nil), look(nil)); err != nil || len(told) != 2 || lost {
			t.Errorf("follow %v: %v, told %q", follow, err, told)
		}
		if err := look(gone); err != nil || lost || len(told) != 3 { // it keeps its partitions
			t.Errorf("follow %v: %v, told %q", follow, err, told)
		}
	}
}
