// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"slices"
	"sync"
)

// intervals are the byte ranges of a segment that were verified: sorted, apart
// from each other, on batch boundaries.
type intervals struct {
	mu   sync.Mutex // guards list
	list []interval
}

type interval struct{ from, to int64 }

// intervalsMax bounds the memory of a segment that is read at random: what is
// forgotten is verified again.
const intervalsMax = 64

// covers reports whether all of [from, to) was verified.
func (v *intervals) covers(from, to int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range v.list {
		if i.from <= from && to <= i.to {
			return true
		}
	}
	return false
}

// add notes that [from, to) was verified.
func (v *intervals) add(from, to int64) {
	if from >= to {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := 0
	for at < len(v.list) && v.list[at].to < from {
		at++
	}
	end := at
	for end < len(v.list) && v.list[end].from <= to {
		from, to = min(from, v.list[end].from), max(to, v.list[end].to)
		end++
	}
	v.list = slices.Replace(v.list, at, end, interval{from, to})
	if len(v.list) > intervalsMax {
		smallest := 0
		for i, x := range v.list {
			if s := v.list[smallest]; x.to-x.from < s.to-s.from {
				smallest = i
			}
		}
		v.list = slices.Delete(v.list, smallest, smallest+1)
	}
}
