// SPDX-License-Identifier: Apache-2.0

// Package loader follows the committed part of the metadata log and makes
// images of it: at first from the newest checkpoint and all that was committed
// behind it, then step by step. Its two users are the publisher of a broker and
// the loop of a controller; each has a Loader of its own, for one goroutine.
package loader

import (
	"errors"
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

// Load reads what was committed since the last call, from a checkpoint where
// the log no longer reaches back so far. moved is false if there was nothing.
// On an error the node must not go on: its metadata is not the cluster's.
func (l *Loader) Load() (delta *image.Delta, moved bool, err error) {
	if !l.begun {
		if c, ok := l.log.Checkpoint(); ok && c.End > 0 {
			return l.jump(c)
		}
		l.begun = true
	}
	delta = image.NewDelta(l.image)
	img, next, err := l.replay(delta, l.image, l.next)
	var gone *metalog.NotInLogError
	if errors.As(err, &gone) {
		if c, ok := l.log.Checkpoint(); ok && c.End > l.next {
			return l.jump(c)
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("load metadata: %w", err)
	}
	moved = next != l.next
	l.image, l.next = img, next
	return delta, moved, nil
}

// jump goes on from a checkpoint and what is committed behind it. Where that one
// goes away meanwhile, because a newer one has come, it takes the newer.
func (l *Loader) jump(c metalog.Checkpoint) (*image.Delta, bool, error) {
	for {
		img, next, err := l.fromCheckpoint(c)
		if err == nil {
			delta := image.Diff(l.image, img)
			l.image, l.next, l.begun = img, next, true
			return delta, true, nil
		}
		newer, _ := l.log.Checkpoint()
		if newer.End <= c.End {
			return nil, false, fmt.Errorf("load metadata: %w", err)
		}
		c = newer
	}
}

func (l *Loader) fromCheckpoint(c metalog.Checkpoint) (*image.Image, kafka.Offset, error) {
	delta := image.NewDelta(image.Empty())
	if err := l.log.ReadCheckpoint(c, delta.Replay); err != nil {
		return nil, 0, fmt.Errorf("checkpoint %s: %w", c.Name(), err)
	}
	img := delta.Apply(c.End-1, c.Epoch)
	return l.replay(image.NewDelta(img), img, c.End)
}

func (l *Loader) replay(delta *image.Delta, from *image.Image, next kafka.Offset) (*image.Image, kafka.Offset, error) {
	offset, epoch := from.Offset(), from.Epoch()
	end, err := l.log.Replay(next, func(b metalog.Batch) error {
		for i, rec := range b.Records {
			if err := delta.Replay(rec); err != nil {
				return fmt.Errorf("metadata offset %d: %w", b.Base+kafka.Offset(i), err)
			}
		}
		offset, epoch = b.Last, b.Epoch
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if end == next {
		return from, next, nil
	}
	return delta.Apply(offset, epoch), end, nil
}

// Adopt puts an image in place of what the batches up to next would give: the
// active controller has made it already when it proposed them.
func (l *Loader) Adopt(img *image.Image, next kafka.Offset) {
	l.image, l.next, l.begun = img, next, true
}
