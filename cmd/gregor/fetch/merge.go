// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"cmp"
	"container/heap"
	"context"
	"slices"

	"gregor/cmd/gregor/record"
)

// mergeBytes is what all partitions of a merge may hold together; each has
// some, however many there are.
const (
	mergeBytes        = 64 << 20
	mergePartitionMin = 64 << 10
)

// ByTime merges stretches that have ends: of the records that come first in
// their partitions the one with the smallest timestamp is next, of equal ones
// that of the stretch that was named first. So the order within a partition
// stays, and the same records give the same sequence.
func (r *Reader) ByTime(ctx context.Context, stretches []Stretch, sink Sink) error {
	cursors, err := r.cursors(ctx, stretches)
	if err != nil {
		return err
	}
	m := merge{r: r, dry: cursors}
	for i, c := range cursors {
		c.asks = int32(min(max(mergeBytes/len(cursors), mergePartitionMin), partitionBytes))
		c.rank = i
	}
	for {
		if len(m.dry) > 0 {
			if err := sink.Pause(); err != nil {
				return err
			}
			if err := m.fill(ctx); err != nil {
				return err
			}
		}
		if len(m.heads) == 0 {
			return sink.Pause()
		}
		first := m.heads[0]
		if err := sink.Record(&first.rec); err != nil {
			return err
		}
		if err := m.advance(first); err != nil {
			return err
		}
	}
}

// merge holds the cursors that have a record in front as a heap, and those
// whose piece is used up.
type merge struct {
	r     *Reader
	d     decoder
	heads heads
	dry   []*cursor
}

// fill fetches until no cursor is dry but those at their end.
func (m *merge) fill(ctx context.Context) error {
	wait := patience{r: m.r}
	for {
		m.dry = slices.DeleteFunc(m.dry, (*cursor).fetched)
		if len(m.dry) == 0 {
			return nil
		}
		var came []piece
		if err := m.r.round(ctx, m.dry, &wait, func(p piece) { came = append(came, p) }); err != nil {
			return err
		}
		for _, p := range came {
			p.cursor.take(p)
			rec, err := p.cursor.next(&m.d, m.r.o.Committed)
			if err != nil {
				return p.cursor.failed(err)
			}
			if rec != nil {
				heap.Push(&m.heads, p.cursor)
				m.dry = slices.DeleteFunc(m.dry, func(c *cursor) bool { return c == p.cursor })
			}
		}
	}
}

// advance moves the first cursor on.
func (m *merge) advance(c *cursor) error {
	rec, err := c.next(&m.d, m.r.o.Committed)
	switch {
	case err != nil:
		return c.failed(err)
	case rec != nil:
		heap.Fix(&m.heads, 0)
	default:
		heap.Pop(&m.heads)
		m.dry = append(m.dry, c)
	}
	return nil
}

type heads []*cursor

func (h heads) Len() int { return len(h) }
func (h heads) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].rec.TimestampMs, h[j].rec.TimestampMs), cmp.Compare(h[i].rank, h[j].rank)) < 0
}
func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(c any)   { *h = append(*h, c.(*cursor)) }
func (h *heads) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// widen is how much further back a tail looks where offsets hold fewer records
// than their number says.
const widen = 8

// Tail gives the last n records of the merge of whole stretches to sink. It
// reads no more than it has to: from the last n offsets of each partition, and
// further back only where compaction or transactions left gaps.
func (r *Reader) Tail(ctx context.Context, stretches []Stretch, n int, sink Sink) error {
	if n <= 0 {
		return nil
	}
	back := make([]int64, len(stretches))
	for i := range back {
		back[i] = int64(n)
	}
	for {
		parts := slices.Clone(stretches)
		for i, s := range parts {
			parts[i].Next = max(s.Next, s.To-back[i])
		}
		t := tail{last: make([]record.Record, 0, min(n, 1024)), n: n, counts: map[place]int{}}
		if err := r.ByTime(ctx, parts, &t); err != nil {
			return err
		}
		short := false
		for i, s := range stretches {
			if parts[i].Next > s.Next && t.counts[place{s.Topic, s.Partition}] < n {
				back[i] *= widen
				short = true
			}
		}
		if !short {
			return t.give(sink)
		}
	}
}

type place struct {
	topic     string
	partition int32
}

// tail keeps the last n records in a ring.
type tail struct {
	last   []record.Record
	n, at  int
	counts map[place]int
}

func (t *tail) Record(r *record.Record) error {
	t.counts[place{r.Topic, r.Partition}]++
	if len(t.last) < t.n {
		t.last = append(t.last, r.Copy())
		return nil
	}
	t.last[t.at] = r.Copy()
	t.at = (t.at + 1) % t.n
	return nil
}

func (t *tail) Pause() error { return nil }

func (t *tail) give(sink Sink) error {
	for i := range t.last {
		if err := sink.Record(&t.last[(t.at+i)%len(t.last)]); err != nil {
			return err
		}
	}
	return sink.Pause()
}
