// SPDX-License-Identifier: Apache-2.0

// Package memlog is a coordinator's partition in memory, for tests of what
// stands on a shard. It promises offsets without gaps, and that a record is
// committed as it is appended, unless the log is held.
package memlog

import (
	"slices"
	"sync"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/wire/batch"
)

// Log is one partition. The zero Log is empty.
type Log struct {
	mu      sync.Mutex
	bytes   []byte
	end     kafka.Offset
	high    kafka.Offset
	held    bool
	waiters park.List
}

// Hold says whether what is appended stays uncommitted. Letting go commits all.
func (l *Log) Hold(held bool) {
	l.mu.Lock()
	l.held = held
	if !held {
		l.high = l.end
	}
	high := l.high
	l.mu.Unlock()
	l.waiters.Wake(int64(high))
}

// Append is part of shard.Log.
func (l *Log) Append(b []byte, _ kafka.LeaderEpoch) (kafka.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = slices.Clone(b)
	for rest := b; len(rest) > 0; {
		h, err := batch.Parse(rest)
		if err != nil {
			return -1, err
		}
		batch.SetBaseOffset(rest, l.end)
		l.end += h.NextOffset() - h.BaseOffset
		rest = rest[h.SizeBytes():]
	}
	l.bytes = append(l.bytes, b...)
	if !l.held {
		l.high = l.end
	}
	return l.end - 1, nil
}

// AppendMarker is part of shard.Log.
func (l *Log) AppendMarker(b []byte, _ int8, epoch kafka.LeaderEpoch) (kafka.Offset, error) {
	return l.Append(b, epoch)
}

// Read is part of shard.Log.
func (l *Log) Read(buf []byte, from kafka.Offset, _ int) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from < l.end {
		buf = append(buf, l.bytes...)
	}
	return buf, nil
}

// Bounds is part of shard.Log.
func (l *Log) Bounds() (start, end kafka.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return 0, l.end
}

// Committed is part of shard.Log.
func (l *Log) Committed(last kafka.Offset, _ kafka.LeaderEpoch) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return last < l.high, nil
}

// Await is part of shard.Log.
func (l *Log) Await(e *park.Entry, at kafka.Offset) { l.waiters.Add(e, int64(at)) }

// Forget is part of shard.Log.
func (l *Log) Forget(e *park.Entry) { l.waiters.Remove(e) }

// BatchBytesMax is part of shard.Log.
func (l *Log) BatchBytesMax() int { return 1_048_588 }
