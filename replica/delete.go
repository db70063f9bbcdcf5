// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/commitlog"
)

// ToHighWatermark stands for the high watermark in DeleteRecords.
const ToHighWatermark kafka.Offset = -1

// DeleteRecords deletes, as leader, what lies below an offset, and tells the
// lowest log start among the replicas. Consumers that stand below it get
// OFFSET_OUT_OF_RANGE from then on.
func (p *Partition) DeleteRecords(below kafka.Offset) (lowWatermark kafka.Offset, err error) {
	lowWatermark = kafka.NoOffset
	p.onLane(func() {
		var log *commitlog.Log
		if log, err = p.readable(kafka.NoLeaderEpoch, true); err != nil {
			return
		}
		if p.Rules().CompactOnly {
			err = fmt.Errorf("cleanup.policy of %s does not hold delete: %w", p.tp, kafka.PolicyViolation)
			return
		}
		if below == ToHighWatermark {
			below = log.Tail().HighWatermark
		}
		if below < 0 {
			err = fmt.Errorf("records of %s below offset %d: %w", p.tp, below, kafka.OffsetOutOfRange)
			return
		}
		if err = log.DeleteRecords(below); err != nil {
			return
		}
		p.wakeAll()
		p.scheduleFlush(log)
		lowWatermark = log.Tail().LogStart
	})
	return lowWatermark, err
}
