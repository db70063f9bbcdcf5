// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"sync"
	"sync/atomic"

	"gregor/cluster/image"
)

// Images holds the metadata image that requests see, and lets them wait for a
// newer one. It is safe for concurrent use; Publish is called by one goroutine.
type Images struct {
	now atomic.Pointer[image.Image]

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

// NewImages starts with the empty image.
func NewImages() *Images {
	i := &Images{changed: make(chan struct{})}
	i.now.Store(image.Empty())
	return i
}

// Load is the newest image.
func (i *Images) Load() *image.Image { return i.now.Load() }

// Publish makes img what requests see.
func (i *Images) Publish(img *image.Image) {
	i.now.Store(img)
	i.mu.Lock()
	over := i.changed
	i.changed = make(chan struct{})
	i.mu.Unlock()
	close(over)
}

// Await waits until an image satisfies ok, or ctx ends.
func (i *Images) Await(ctx context.Context, ok func(*image.Image) bool) error {
	for {
		i.mu.Lock()
		changed := i.changed
		i.mu.Unlock()
		if ok(i.Load()) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
