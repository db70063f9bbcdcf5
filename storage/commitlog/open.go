// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"log/slog"

	"gregor/base/kafka"
)

const (
	defaultProducerExpirationMs = 24 * 3600 * 1000
)

// Open opens a log; a missing folder is created with partition.metadata. With
// a Hint of a clean stop nothing is read until the first use, and a New log
// has no folder until then.
func Open(o Options) (*Log, error) {
	if o.New {
		o.CleanStart, o.Hint = true, &Hint{Epoch: kafka.NoLeaderEpoch, StartEpoch: kafka.NoLeaderEpoch}
	}
	l := &Log{o: o, folder: o.Dir, cfg: o.Config}
	if l.o.Logger == nil {
		l.o.Logger = slog.New(slog.DiscardHandler)
	}
	if l.o.Now == nil {
		return nil, errors.New("commitlog: Options.Now is missing")
	}
	l.cfg.setDefaults()
	l.pub.made = !o.New
	l.lane.snapshot = kafka.NoOffset
	if h := o.Hint; h != nil && o.CleanStart {
		l.tail = Tail{LogStart: h.LogStart, LocalLogStart: h.LocalLogStart, LogEnd: h.LogEnd,
			Flushed: h.LogEnd, Epoch: h.Epoch, SizeBytes: h.SizeBytes}
		l.tail.HighWatermark = min(max(o.HighWatermark, h.LogStart), h.LogEnd)
		l.tail.LastStable = min(l.tail.HighWatermark, h.lastStable())
		return l, nil
	}
	if err := l.ready(); err != nil {
		return nil, fmt.Errorf("open log of %s: %w", o.TopicPartition, err)
	}
	return l, nil
}

func (l *Log) nowMs() int64 { return l.o.Now().UnixMilli() }

// idleLocked: nobody has used the log yet, and its tail is what it was
// opened with.
func (l *Log) idleLocked() bool { return !l.pub.loaded && !l.pub.closed && l.o.Hint != nil }

// ready loads the log at its first use.
func (l *Log) ready() error {
	err := l.loading.pass(func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pub.loaded || l.pub.closed
	}, l.load)
	switch {
	case errors.Is(err, ErrClosed):
		return ErrClosed
	case err != nil:
		return coded(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pub.closed {
		return ErrClosed
	}
	return nil
}
