// SPDX-License-Identifier: Apache-2.0

package group

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// named is a timer that says that it rang.
type named struct {
	timer
	rang *[]int
	name int
}

func (n *named) fire(*Groups, *timer, int64, *Out) { *n.rang = append(*n.rang, n.name) }

// TestTimersAgreeWithANaiveList: whatever is started, moved and stopped, what
// is due comes, in order, and nothing else; and next is never too late.
func TestTimersAgreeWithANaiveList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h timers
		var rang []int
		all := make([]*named, 12)
		due := map[int]int64{} // by name
		for i := range all {
			all[i] = &named{name: i, rang: &rang}
		}
		now := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := all[rapid.IntRange(0, len(all)-1).Draw(t, "timer")]
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				due[n.name] = now + int64(rapid.IntRange(0, 20).Draw(t, "in"))
				h.set(&n.timer, n, due[n.name])
			case 2:
				delete(due, n.name)
				h.cancel(&n.timer)
			default:
				now += int64(rapid.IntRange(0, 15).Draw(t, "pass"))
				rang = nil
				for d := h.due(now); d != nil; d = h.due(now) {
					d.owner.fire(nil, d, now, nil)
				}
				var want []int
				for name, at := range due {
					if at <= now {
						want = append(want, name)
						delete(due, name)
					}
				}
				slices.Sort(want)
				if got := slices.Sorted(slices.Values(rang)); !slices.Equal(got, want) {
					t.Fatalf("at %d rang %v, want %v", now, got, want)
				}
			}
			earliest, any := int64(0), false
			for _, at := range due {
				if !any || at < earliest {
					earliest, any = at, true
				}
			}
			if next, ok := h.next(); ok != any || any && next > earliest {
				t.Fatalf("next is %d %v, the earliest is due at %d %v", next, ok, earliest, any)
			}
		}
	})
}

// TestTimersArePutRightBeforeTheyRing: members that are heard of every five
// seconds leave nothing that is due, so nobody is woken to find that out.
func TestTimersArePutRightBeforeTheyRing(t *testing.T) {
	var h timers
	members := make([]named, 100)
	for nowMs := int64(0); nowMs < 600_000; nowMs += 50 {
		if next, ok := h.next(); ok && next <= nowMs {
			t.Fatalf("at %d ms something is due at %d", nowMs, next)
		}
		m := &members[nowMs/50%100]
		h.set(&m.timer, m, nowMs+45_000)
		h.look(nowMs + nearMs)
	}
}
