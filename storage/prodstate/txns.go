// SPDX-License-Identifier: Apache-2.0

package prodstate

import (
	"cmp"
	"slices"

	"gregor/base/kafka"
)

// Txn is one transaction in a log.
type Txn struct {
	ProducerID kafka.ProducerID
	First      kafka.Offset
	Last       kafka.Offset // of the marker; kafka.NoOffset while it is open
}

// Txns is what holds the last stable offset back: transactions that are open,
// and those whose marker has not yet reached the high watermark. It is apart
// from State because the high watermark moves beside the log's lane; its owner
// guards it.
type Txns struct {
	list []Txn // by First
}

// Reset replaces everything by the given open transactions.
func (t *Txns) Reset(open []Txn) {
	t.list = append(t.list[:0], open...)
	slices.SortFunc(t.list, func(a, b Txn) int { return cmp.Compare(a.First, b.First) })
}

// Begin adds an open transaction; appends come in order of offsets.
func (t *Txns) Begin(x Txn) {
	x.Last = kafka.NoOffset
	t.list = append(t.list, x)
}

// End notes the marker of the transaction of a producer that began at first.
func (t *Txns) End(id kafka.ProducerID, first, last kafka.Offset) {
	for i := range t.list {
		if x := &t.list[i]; x.ProducerID == id && x.First == first && x.Last == kafka.NoOffset {
			x.Last = last
			return
		}
	}
}

// Replicated forgets ended transactions whose marker lies below the high
// watermark.
func (t *Txns) Replicated(highWatermark kafka.Offset) {
	if len(t.list) == 0 {
		return
	}
	t.list = slices.DeleteFunc(t.list, func(x Txn) bool { return x.Last != kafka.NoOffset && x.Last < highWatermark })
}

// FirstUnstable is where the oldest of them begins; ok is false where there is
// none.
func (t *Txns) FirstUnstable() (off kafka.Offset, ok bool) {
	if len(t.list) == 0 {
		return kafka.NoOffset, false
	}
	return t.list[0].First, true
}

// StableAfter is the last stable offset once the transaction of producer id
// ends with a marker at last: what the transaction index keeps (Kafka's
// lastStableOffset of a completed transaction). Only open ones count.
func (t *Txns) StableAfter(id kafka.ProducerID, last kafka.Offset) kafka.Offset {
	for _, x := range t.list {
		if x.ProducerID != id && x.Last == kafka.NoOffset {
			return x.First
		}
	}
	return last + 1
}

// Len is the number of transactions that hold the last stable offset back.
func (t *Txns) Len() int { return len(t.list) }
