// SPDX-License-Identifier: Apache-2.0

// Package loader follows the committed part of the metadata log and makes
// images of it: at first from the newest checkpoint and all that was committed
// behind it, then step by step. Its two users are the publisher of a broker and
// the loop of a controller; each has a Loader of its own, for one goroutine.
package loader

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// Log is what a Loader reads: a *metalog.Log.
type Log interface {
	Checkpoint() (c metalog.Checkpoint, ok bool)
	ReadCheckpoint(c metalog.Checkpoint, fn func(metarec.Record) error) error
	Replay(from kafka.Offset, fn func(metalog.Batch) error) (next kafka.Offset, err error)
}

// Loader is at one place of the log, between two batches.
type Loader struct {
	log   Log
	image *image.Image
	next  kafka.Offset
	begun bool
}

// New makes a Loader that has read nothing.
func New(log Log) *Loader { return &Loader{log: log, image: image.Empty()} }

// Image is the metadata as far as it was read.
func (l *Loader) Image() *image.Image { return l.image }

// Next is the offset to go on from.
func (l *Loader) Next() kafka.Offset { return l.next }

// Load reads what was committed since the last call. moved is false if there
// was nothing. A *metalog.NotInLogError means that the log was cut below what
// this Loader has read; the records of others were decoded wrongly or are newer
// than this program: the node must not go on with metadata that it cannot
// follow.
func (l *Loader) Load() (delta *image.Delta, moved bool, err error) {
	delta = image.NewDelta(l.image)
	offset, epoch := l.image.Offset(), l.image.Epoch()
	if !l.begun {
		c, ok := l.log.Checkpoint()
		if ok && c.End > 0 {
			if err := l.log.ReadCheckpoint(c, delta.Replay); err != nil {
				return nil, false, fmt.Errorf("load metadata checkpoint %s: %w", c.Name(), err)
			}
			offset, epoch, l.next = c.End-1, c.Epoch, c.End
			moved = true
		}
		l.begun = true
	}
	from := l.next
	l.next, err = l.log.Replay(l.next, func(b metalog.Batch) error {
		for i, rec := range b.Records {
			if err := delta.Replay(rec); err != nil {
				return fmt.Errorf("metadata offset %d: %w", b.Base+kafka.Offset(i), err)
			}
		}
		offset, epoch = b.Last, b.Epoch
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("load metadata: %w", err)
	}
	if moved = moved || l.next != from; moved {
		l.image = delta.Apply(offset, epoch)
	}
	return delta, moved, nil
}

// Adopt puts an image in place of what the batches up to next would give: the
// active controller has made it already when it proposed them.
func (l *Loader) Adopt(img *image.Image, next kafka.Offset) {
	l.image, l.next, l.begun = img, next, true
}
