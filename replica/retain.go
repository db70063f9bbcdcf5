// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gregor/storage/commitlog"
	"gregor/storage/retention"
)

// Retention makes retention.ms and retention.bytes true for the partitions of a
// node.
//
//	tick ─► every partition: is something due? (no file, no lane)
//	      ─► those for which it is, by log directory ─► lane: delete, wake the readers
//
// A pass costs nanoseconds for a partition that has nothing due, opened or not,
// so 100,000 of them cost milliseconds.
//
// Rejected: a heap of the times at which segments become due, which every
// append, roll and configuration would have to keep right.
type Retention struct {
	table  *Table
	now    func() time.Time
	logger *slog.Logger
	dirs   byDirectory
}

// NewRetention makes a Retention of the partitions of a table.
func NewRetention(table *Table, now func() time.Time, logger *slog.Logger) *Retention {
	return &Retention{table: table, now: now, logger: logger, dirs: newByDirectory()}
}

// Run makes the first pass after delay (log.initial.task.delay.ms) and another
// at every interval (log.retention.check.interval.ms), until ctx ends, and
// returns when no deletion is under way.
func (r *Retention) Run(ctx context.Context, delay, interval time.Duration) {
	defer r.dirs.work.Wait()
	first := time.NewTimer(delay)
	defer first.Stop()
	select {
	case <-ctx.Done():
		return
	case <-first.C:
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		r.pass(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pass looks at all partitions once, and sees to it that what is due is deleted.
func (r *Retention) pass(ctx context.Context) {
	nowMs := r.now().UnixMilli()
	due := make(map[string][]*Partition)
	r.table.All(func(p *Partition) bool {
		if log := p.Log(); log != nil && log.RetentionDue(p.Rules().Retention, nowMs) {
			dir := directoryOf(log)
			due[dir] = append(due[dir], p)
		}
		return ctx.Err() == nil
	})
	r.dirs.each(due, func(p *Partition) {
		for more := true; more && ctx.Err() == nil; {
			more = p.retain(r.logger)
		}
	})
}

// retain deletes what is due by the rules that hold now, and reports whether
// there is more to do. Appends that wait meanwhile come in between.
func (p *Partition) retain(logger *slog.Logger) (more bool) {
	p.onLog(func(log *commitlog.Log) {
		var plan retention.Plan
		var err error
		plan, more, err = log.Retain(p.Rules().Retention)
		if plan.Count() > 0 {
			p.wakeAll() // those who stand below the log start learn it now
			p.scheduleFlush(log)
			for why := range retention.Reasons {
				if n := plan.Segments[why]; n > 0 {
					logger.Info("segments were deleted", "partition", p.tp.String(), "reason", why.String(), "segments", n,
						"bytes", plan.Bytes[why], "log_start", int64(plan.Start))
				}
			}
		}
		if err != nil && !errors.Is(err, commitlog.ErrFailed) && !errors.Is(err, commitlog.ErrClosed) {
			logger.Warn("retention of a log failed; the next pass tries again", "partition", p.tp.String(), "err", err)
		}
	})
	return more
}
