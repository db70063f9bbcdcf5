// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/commitlog"
	"gregor/storage/retention"
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
	if err == nil {
		p.finishDeletes()
	}
	return lowWatermark, err
}

// finishDeletes renames the files of what DeleteRecords took, a few at a time so
// that appends come in between. What fails is tried again by retention.
func (p *Partition) finishDeletes() {
	var nothing retention.Rules
	for more := true; more; {
		more = false
		p.onLog(func(log *commitlog.Log) {
			if log.RetentionDue(nothing, p.now().UnixMilli()) {
				_, more, _ = log.Retain(nothing)
			}
		})
	}
}
