// SPDX-License-Identifier: Apache-2.0

// Package record writes records for people and programs, and reads them back.
//
// It promises that what AppendJSON writes, ParseJSON reads as the same record:
// null and empty stay apart, bytes that are not text survive, and so do
// timestamps and the order of headers. A Layout writes what its text says and
// nothing else. Neither keeps memory of a record, or panics on any input.
package record

import "gregor/wire/batch"

// Record is a record with its place. Its bytes belong to whoever made it.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	TimestampMs int64
	Key         []byte // nil is null
	Value       []byte // nil is null, a tombstone
	Headers     []Header

	// Of the batch that it came in.
	LeaderEpoch   int32
	ProducerID    int64
	ProducerEpoch int16
	Attributes    batch.Attributes
}

// Header is one header of a record.
type Header struct {
	Key   []byte
	Value []byte // nil is null
}

// Copy gives r with bytes of its own, all in one piece of memory.
func (r *Record) Copy() Record {
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value)
	}
	room := make([]byte, 0, size)
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		start := len(room)
		room = append(room, b...)
		return room[start:len(room):len(room)]
	}
	c := *r
	c.Key, c.Value, c.Headers = keep(r.Key), keep(r.Value), nil
	for _, h := range r.Headers {
		c.Headers = append(c.Headers, Header{keep(h.Key), keep(h.Value)})
	}
	return c
}
