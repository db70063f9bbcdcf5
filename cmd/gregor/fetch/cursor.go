// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cmd/gregor/record"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// piece is what one fetch gave of one partition: whole batches, and the offset
// behind them.
type piece struct {
	cursor  *cursor
	batches []byte
	next    int64
	aborted []kmsg.FetchResponseTopicPartitionAbortedTransaction
	err     error // instead of all others: no more comes
}

// trim cuts a batch that is not whole off, and finds the offset behind the
// rest.
func trim(b []byte, from int64) (whole []byte, next int64, err error) {
	next, size := from, 0
	for len(b)-size >= batch.HeaderSize {
		h, err := batch.Parse(b[size:])
		if err != nil {
			return nil, 0, err
		}
		if h.SizeBytes() > len(b)-size {
			break
		}
		size += h.SizeBytes()
		next = max(next, int64(h.NextOffset()))
	}
	if size == 0 && len(b) > 0 {
		return nil, 0, errors.New("the broker sent less than one batch")
	}
	return b[:size], next, nil
}

// cursor is the state of one partition.
type cursor struct {
	Stretch
	id      kadm.TopicID
	leader  int32
	fetchAt int64
	empties int
	// emptySince is when the first of them came.
	emptySince time.Time
	asks       int32 // most bytes that one fetch brings
	rank       int   // among the stretches of a merge

	batches []byte // not yet decoded
	aborts  []kmsg.FetchResponseTopicPartitionAbortedTransaction
	open    map[int64]bool // producers whose transaction here was aborted
	header  batch.Header
	it      batch.Iter
	inside  bool // a batch
	scratch []byte
	read    batch.Record
	rec     record.Record
}

func (c *cursor) failed(err error) error { return &PartitionError{c.Topic, c.Partition, err} }

// fetched reports that nothing is left to fetch.
func (c *cursor) fetched() bool { return c.To >= 0 && c.fetchAt >= c.To }

// take gives the cursor its next piece; the one before is used up.
func (c *cursor) take(p piece) {
	c.batches = p.batches
	c.aborts = slices.Clone(p.aborted)
	slices.SortFunc(c.aborts, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	if len(p.batches) == 0 {
		c.Next = max(c.Next, p.next)
	}
	c.open = nil
}

// decoder is what all cursors of a goroutine share.
type decoder struct{ coder compress.Coder }

// recordsBytesMax bounds what one batch may decompress to.
const recordsBytesMax = 1 << 30

// next gives the next record of the piece, nil at its end. It is valid until
// the next call.
func (c *cursor) next(d *decoder, committed bool) (*record.Record, error) {
	for {
		for c.inside && c.it.Next(&c.read) {
			offset := int64(c.read.Offset)
			if offset < c.Next {
				continue
			}
			if c.To >= 0 && offset >= c.To {
				c.Next, c.batches, c.inside = c.To, nil, false
				return nil, nil
			}
			c.Next = offset + 1
			return c.fill(), nil
		}
		if c.inside {
			if err := c.it.Err(); err != nil {
				return nil, err
			}
			c.inside = false
			c.Next = max(c.Next, int64(c.header.NextOffset()))
		}
		if len(c.batches) == 0 {
			return nil, nil
		}
		if err := c.enter(d, committed); err != nil {
			return nil, err
		}
	}
}

// enter opens the next batch, or passes over it.
func (c *cursor) enter(d *decoder, committed bool) error {
	h, err := batch.Parse(c.batches)
	if err != nil {
		return err
	}
	b := c.batches[:h.SizeBytes()]
	c.batches = c.batches[h.SizeBytes():]
	c.header = h
	aborted := committed && c.isAborted(&h, b)
	if aborted || h.Attributes.IsControl() || int64(h.NextOffset()) <= c.Next {
		c.Next = max(c.Next, int64(h.NextOffset()))
		return nil
	}
	if err := batch.VerifyCRC(b); err != nil {
		return err
	}
	c.it, c.scratch, err = batch.Open(&h, b, &d.coder, c.scratch[:0], recordsBytesMax)
	c.inside = err == nil
	return err
}

// isAborted follows the transactions of the piece: one begins at its first
// offset and ends with the producer's marker.
func (c *cursor) isAborted(h *batch.Header, b []byte) bool {
	for len(c.aborts) > 0 && c.aborts[0].FirstOffset <= int64(h.LastOffset()) {
		if c.open == nil {
			c.open = map[int64]bool{}
		}
		c.open[c.aborts[0].ProducerID] = true
		c.aborts = c.aborts[1:]
	}
	producer := int64(h.ProducerID)
	if h.Attributes.IsControl() {
		if c.open[producer] && isAbortMarker(h, b) {
			delete(c.open, producer)
		}
		return false
	}
	return h.Attributes.IsTransactional() && c.open[producer]
}

// isAbortMarker looks into a control batch: its record's key is a version and
// a type, 0 for abort.
func isAbortMarker(h *batch.Header, b []byte) bool {
	it := batch.Records(h, b[batch.HeaderSize:])
	var r batch.Record
	return it.Next(&r) && len(r.Key) >= 4 && binary.BigEndian.Uint16(r.Key[2:]) == 0
}

// fill makes the record that is given out.
func (c *cursor) fill() *record.Record {
	r, h := &c.rec, &c.header
	*r = record.Record{Topic: c.Topic, Partition: c.Partition, Offset: int64(c.read.Offset), TimestampMs: c.read.TimestampMs,
		Key: c.read.Key, Value: c.read.Value, Headers: r.Headers[:0],
		LeaderEpoch: int32(h.LeaderEpoch), ProducerID: int64(h.ProducerID), ProducerEpoch: int16(h.ProducerEpoch), Attributes: h.Attributes}
	if c.read.HeaderCount > 0 {
		for header := range c.read.Headers() {
			r.Headers = append(r.Headers, record.Header{Key: header.Key, Value: header.Value})
		}
	}
	return r
}
