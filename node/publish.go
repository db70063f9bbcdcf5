// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"

	"gregor/cluster/image"
	"gregor/cluster/metalog/loader"
	"gregor/replica/assign"
)

// publisher is the goroutine that tells the parts of this node what changed in
// the committed metadata:
//
//	configs ─► quotas ─► telemetry ─► deletes ─► coordinators resign ─► followers ─► leaders ─►
//	topics to groups ─► image to requests ─► coordinators are elected ─► link
//
// A partition is entered in the table, marked as switching, before requests see
// the image that gives it to this broker; so a request that comes at once waits
// for the partition and is not refused. The publisher itself waits for none of
// them.
type publisher struct {
	loader *loader.Loader
	wake   chan struct{}
	// settled: logs that the metadata does not place here were set aside.
	// That is done once, when the image is known to be as new as this broker's
	// registration: an older one may not know the newest topics yet.
	settled bool
}

// publish follows the metadata log until ctx ends.
func (n *Node) publish(ctx context.Context) {
	p := &n.publisher
	stop := n.raft.Log().Watch(p.wake)
	defer stop()
	for {
		delta, moved, err := p.loader.Load()
		if err != nil {
			n.fail(err)
			return
		}
		if moved {
			n.apply(delta, p.loader.Image())
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) apply(delta *image.Delta, img *image.Image) {
	n.reconfigure(delta, img)
	n.requota(delta, img)
	n.subscribe(delta, img)
	n.executor.Configure(delta, img)
	plan := assign.Make(delta, n.ident.node)
	n.executor.Delete(plan.Delete)
	elect := n.groups.resign(delta)
	n.executor.Follow(plan.Follow, img)
	n.executor.Lead(plan.Lead, img)
	n.groups.changed(delta, img)
	n.images.Publish(img)
	n.groups.elect(elect)
	n.line.Published(img.Offset())
	if epoch := n.line.Epoch(); !n.publisher.settled && epoch >= 0 && int64(img.Offset()) >= int64(epoch) {
		n.publisher.settled = true
		for i, d := range n.dirs {
			n.executor.SetAside(i, d.Logs(), img)
		}
	}
}
