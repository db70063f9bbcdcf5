// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"gregor/storage/commitlog"
)

// Sweep goes over all partitions of a node at every interval until ctx ends:
// logs forget the producers that have expired, whether or not they are written
// to, and write what they hold in memory only. A log that nobody has used since
// the start is not opened for it. It returns when nothing of it is under way.
func Sweep(ctx context.Context, table *Table, interval time.Duration, logger *slog.Logger) {
	dirs := newByDirectory()
	defer dirs.work.Wait()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all := make(map[string][]*Partition)
		table.All(func(p *Partition) bool {
			if log := p.Log(); log != nil {
				dir := directoryOf(log)
				all[dir] = append(all[dir], p)
			}
			return ctx.Err() == nil
		})
		dirs.each(all, func(p *Partition) {
			if ctx.Err() == nil {
				p.checkpoint(logger)
			}
		})
	}
}

func (p *Partition) checkpoint(logger *slog.Logger) {
	p.onLog(func(log *commitlog.Log) {
		err := log.Checkpoint()
		if err != nil && !errors.Is(err, commitlog.ErrFailed) && !errors.Is(err, commitlog.ErrClosed) {
			logger.Warn("checkpoint of a log failed; the next sweep tries again", "partition", p.tp.String(), "err", err)
		}
	})
}
