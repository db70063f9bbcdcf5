// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

type aborted = kmsg.FetchResponseTopicPartitionAbortedTransaction

// made is a batch of count records from base on.
type made struct {
	base, count   int64
	producer      int64
	transactional bool
	marker        string // "commit" or "abort"
	codec         compress.Codec
}

func (m made) bytes(t *testing.T) []byte {
	t.Helper()
	o := batch.NoProducer(kafka.Offset(m.base), 1)
	o.Codec = m.codec
	if m.transactional || m.marker != "" {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = kafka.ProducerID(m.producer), 0, 0, true
	}
	o.Control = m.marker != ""
	var b batch.Builder
	b.Begin(o)
	for offset := m.base; offset < m.base+max(m.count, 1); offset++ {
		switch {
		case m.marker != "":
			key := []byte{0, 0, 0, 0}
			if m.marker == "commit" {
				binary.BigEndian.PutUint16(key[2:], 1)
			}
			b.AddAt(kafka.Offset(offset), 1000, key, []byte{0, 0, 0, 0, 0, 0})
		default:
			b.AddAt(kafka.Offset(offset), 1000+offset, nil, fmt.Append(nil, offset), batch.RecordHeader{Key: []byte("h"), Value: fmt.Append(nil, offset)})
		}
	}
	var c compress.Coder
	whole, err := b.Finish(nil, &c)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}

// read gives the offsets of a cursor's records.
func read(t *testing.T, c *cursor, committed bool) []int64 {
	t.Helper()
	var d decoder
	var offsets []int64
	for {
		r, err := c.next(&d, committed)
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			return offsets
		}
		if want := fmt.Sprint(r.Offset); string(r.Value) != want || len(r.Headers) != 1 || string(r.Headers[0].Value) != want || r.TimestampMs != 1000+r.Offset {
			t.Fatalf("offset %d holds %+v", r.Offset, r)
		}
		offsets = append(offsets, r.Offset)
	}
}

func TestCursor(t *testing.T) {
	txn := func(base, count, producer int64) made {
		return made{base: base, count: count, producer: producer, transactional: true}
	}
	for _, c := range []struct {
		name      string
		from, to  int64
		batches   []made
		aborted   []aborted
		committed bool
		want      []int64
		next      int64
	}{
		{name: "whole", to: 5, batches: []made{{base: 0, count: 3}, {base: 3, count: 2}}, want: []int64{0, 1, 2, 3, 4}, next: 5},
		{name: "begins and ends inside batches", from: 1, to: 4, batches: []made{{base: 0, count: 3}, {base: 3, count: 3}}, want: []int64{1, 2, 3}, next: 4},
		{name: "no end", from: 4, to: -1, batches: []made{{base: 0, count: 3}, {base: 3, count: 3}}, want: []int64{4, 5}, next: 6},
		{name: "gaps", to: 20, batches: []made{{base: 4, count: 1}, {base: 18, count: 1}}, want: []int64{4, 18}, next: 19},
		{name: "codecs", to: 4, batches: []made{{base: 0, count: 1, codec: compress.Gzip}, {base: 1, count: 1, codec: compress.Snappy}, {base: 2, count: 1, codec: compress.LZ4}, {base: 3, count: 1, codec: compress.Zstd}},
			want: []int64{0, 1, 2, 3}, next: 4},
		{name: "ends in a marker", to: 3, batches: []made{txn(0, 2, 7), {base: 2, marker: "commit", producer: 7}}, want: []int64{0, 1}, next: 3},
		{name: "uncommitted sees all", to: 3, batches: []made{txn(0, 2, 7), {base: 2, marker: "abort", producer: 7}}, aborted: []aborted{{ProducerID: 7}}, want: []int64{0, 1}, next: 3},
		{name: "aborted", committed: true, to: 3, batches: []made{txn(0, 2, 7), {base: 2, marker: "abort", producer: 7}}, aborted: []aborted{{ProducerID: 7}}, next: 3},
		{name: "aborted, then committed", committed: true, to: 6, aborted: []aborted{{ProducerID: 7}},
			batches: []made{txn(0, 2, 7), {base: 2, marker: "abort", producer: 7}, txn(3, 2, 7), {base: 5, marker: "commit", producer: 7}}, want: []int64{3, 4}, next: 6},
		{name: "of two producers one", committed: true, to: 7, aborted: []aborted{{ProducerID: 8, FirstOffset: 1}},
			batches: []made{txn(0, 1, 7), txn(1, 1, 8), txn(2, 1, 7), {base: 3, marker: "abort", producer: 8}, {base: 4, marker: "commit", producer: 7}, {base: 5, count: 2}},
			want:    []int64{0, 2, 5, 6}, next: 7},
		{name: "listed out of order, and twice", committed: true, to: 7, aborted: []aborted{{ProducerID: 7, FirstOffset: 4}, {ProducerID: 7, FirstOffset: 0}},
			batches: []made{txn(0, 1, 7), {base: 1, marker: "abort", producer: 7}, txn(2, 1, 7), {base: 3, marker: "commit", producer: 7}, txn(4, 1, 7), {base: 5, marker: "abort", producer: 7}, {base: 6, count: 1}},
			want:    []int64{2, 6}, next: 7},
		{name: "records outside of transactions stay", committed: true, to: 3, aborted: []aborted{{ProducerID: 7}},
			batches: []made{txn(0, 1, 7), {base: 1, count: 1}, {base: 2, marker: "abort", producer: 7}}, want: []int64{1}, next: 3},
		{name: "the marker lies behind the end", committed: true, to: 2, aborted: []aborted{{ProducerID: 7}}, batches: []made{txn(0, 2, 7)}, next: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b []byte
			for _, m := range c.batches {
				b = append(b, m.bytes(t)...)
			}
			cur := &cursor{Stretch: Stretch{Topic: "t", Next: c.from, To: c.to}, fetchAt: c.from}
			whole, next, err := trim(b, c.from)
			if err != nil {
				t.Fatal(err)
			}
			cur.take(piece{cursor: cur, batches: whole, next: next, aborted: c.aborted})
			if diff := cmp.Diff(c.want, read(t, cur, c.committed)); diff != "" {
				t.Error(diff)
			}
			if cur.Next != c.next {
				t.Errorf("next is %d, want %d", cur.Next, c.next)
			}
			// The same piece once more gives nothing.
			cur.take(piece{cursor: cur, batches: whole, next: next, aborted: c.aborted})
			if again := read(t, cur, c.committed); again != nil {
				t.Errorf("given twice: %v", again)
			}
		})
	}
}

func TestTrim(t *testing.T) {
	one, two := made{base: 0, count: 3}.bytes(t), made{base: 3, count: 2}.bytes(t)
	both := append(append([]byte{}, one...), two...)
	for cut := range len(both) + 1 {
		whole, next, err := trim(both[:cut], 0)
		wantSize, wantNext := 0, int64(0)
		if cut >= len(one) {
			wantSize, wantNext = len(one), 3
		}
		if cut == len(both) {
			wantSize, wantNext = len(both), 5
		}
		if cut > 0 && cut < len(one) {
			if err == nil {
				t.Fatalf("%d bytes are a batch", cut)
			}
			continue
		}
		if err != nil || len(whole) != wantSize || next != wantNext {
			t.Fatalf("%d bytes: %d whole, next %d, %v", cut, len(whole), next, err)
		}
	}
	damaged := append([]byte{}, both...)
	damaged[len(one)-1] ^= 1
	c := &cursor{Stretch: Stretch{To: 5}, batches: damaged}
	var d decoder
	if _, err := c.next(&d, false); err == nil || !strings.Contains(err.Error(), "crc") {
		t.Fatalf("damage: %v", err)
	}
}

// No bytes of a broker make the reader panic or give a record outside of its
// stretch.
func FuzzCursor(f *testing.F) {
	seed := &testing.T{}
	f.Add(made{base: 0, count: 3}.bytes(seed), int64(1), int64(3), false)
	f.Add(append(made{base: 0, count: 1, producer: 7, transactional: true}.bytes(seed), made{base: 1, marker: "abort", producer: 7}.bytes(seed)...), int64(0), int64(-1), true)
	f.Fuzz(func(t *testing.T, b []byte, from, to int64, committed bool) {
		whole, next, err := trim(b, from)
		if err != nil {
			return
		}
		c := &cursor{Stretch: Stretch{Next: from, To: to}}
		c.take(piece{cursor: c, batches: whole, next: next, aborted: []aborted{{ProducerID: 7}}})
		var d decoder
		last := from - 1
		for range 1 << 16 {
			r, err := c.next(&d, committed)
			if err != nil || r == nil {
				return
			}
			if r.Offset <= last || to >= 0 && r.Offset >= to {
				t.Fatalf("offset %d after %d, up to %d", r.Offset, last, to)
			}
			last = r.Offset
		}
	})
}
