// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// idBlock is the block of producer ids that this broker may give away. Its
// channel holds it while nobody uses it, so that a caller who has to wait for
// the controller can give up by its context.
type idBlock chan *ids

type ids struct{ next, end kafka.ProducerID }

func newIDBlock() idBlock {
	c := make(idBlock, 1)
	c <- &ids{}
	return c
}

// ProducerID takes the next producer id. Ids are unique in the cluster for
// ever: what is left of a block when the broker stops is never used.
func (l *Link) ProducerID(ctx context.Context) (kafka.ProducerID, error) {
	var b *ids
	select {
	case b = <-l.ids:
	case <-ctx.Done():
		return kafka.NoProducerID, fmt.Errorf("wait for a producer id block: %w", kafka.CoordinatorLoadInProgress)
	}
	defer func() { l.ids <- b }()
	if b.next == b.end {
		if err := l.allocate(ctx, b); err != nil {
			return kafka.NoProducerID, err
		}
	}
	id := b.next
	b.next++
	return id, nil
}

func (l *Link) allocate(ctx context.Context, b *ids) error {
	for {
		epoch := l.Epoch()
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = int32(l.o.NodeID), int64(epoch)
		resp, err := l.Do(ctx, Requester{Local: true}, req)
		if err != nil {
			return fmt.Errorf("allocate producer ids: %w", err)
		}
		r := resp.(*kmsg.AllocateProducerIDsResponse)
		if r.ErrorCode == 0 {
			b.next = kafka.ProducerID(r.ProducerIDStart)
			b.end = b.next + kafka.ProducerID(r.ProducerIDLen)
			return nil
		}
		// Not registered yet, or anew just now: the epoch changes soon.
		if code := kafka.Code(r.ErrorCode); code != kafka.StaleBrokerEpoch && code != kafka.BrokerIDNotRegistered {
			return fmt.Errorf("allocate producer ids: %w", code)
		}
		if sleep(ctx, 10*time.Millisecond) != nil {
			return fmt.Errorf("allocate producer ids: %w", kafka.CoordinatorLoadInProgress)
		}
	}
}
