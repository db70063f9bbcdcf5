// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"math"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// load reads the folder and brings the log into a state that can be appended
// to.
//
//	list, refuse old formats, tidy ─► segments ─► log end (clean) or recovery
//	─► log start, epochs ─► producers ─► publish
func (l *Log) load() error {
	files, err := l.list()
	if err != nil {
		return err
	}
	if err := l.checkMetadata(); err != nil {
		return err
	}
	if err := l.refuseOldFormat(files); err != nil {
		return err
	}
	again, err := l.tidy(files)
	if err != nil {
		return err
	}
	if again {
		if files, err = l.list(); err != nil {
			return err
		}
	}
	r := &recovery{l: l, clean: l.o.CleanStart, from: l.o.RecoveryPoint, nowMs: l.nowMs(), logStart: l.o.LogStart, highWatermark: l.o.HighWatermark}
	r.durable, r.promised = r.from, r.from
	if r.clean || l.o.RecoveryPointLost {
		r.durable = math.MaxInt64
	}
	r.takeHint(files)
	r.segments = l.foundSegments(files, r.nowMs)
	epochs, found, err := l.loadEpochs()
	if err != nil {
		return err
	}
	r.epochs, r.epochsFound = epochs, found
	if err := r.run(files.snapshots); err != nil {
		return err
	}
	l.publishLoaded(r)
	if t := l.Tail(); t.Flushed < t.LogEnd {
		l.lane.unflushedMs = r.nowMs
	}
	// Before a crash files may have been created that no sync of the folder followed.
	l.lane.dirUnsynced = l.lane.dirUnsynced || !r.clean
	if !r.clean {
		// The next sync may move the recovery point behind the batches that they came from.
		if err := l.saveEpochs(); err != nil {
			l.sideWriteFailed("write leader epoch checkpoint", err)
		}
	}
	if r.end < l.o.RecoveryPoint {
		l.log().Error("records that were on the disk are missing at the end of the log", "recovery_point", int64(l.o.RecoveryPoint), "log_end", int64(r.end))
		return l.lowered(r.end)
	}
	return nil
}

func (l *Log) foundSegments(files *folderFiles, nowMs int64) []*logSegment {
	size := func(base kafka.Offset, suffix string) int64 {
		if n, ok := files.sizes[segment.Name(base, suffix)]; ok {
			return n
		}
		return noBytes
	}
	var list []*logSegment
	for _, info := range files.logs {
		base := baseOf(info.Name)
		s := l.foundSegment(base, info.SizeBytes, nowMs)
		s.indexBytes, s.timeBytes, s.txnBytes = size(base, segment.IndexSuffix), size(base, segment.TimeIndexSuffix), size(base, segment.TxnIndexSuffix)
		list = append(list, s)
	}
	return list
}

// publishLoaded makes the result of a load the log's state.
func (l *Log) publishLoaded(r *recovery) {
	active := r.segments[len(r.segments)-1]
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.pub
	p.segments = r.segments
	p.txns = r.txns
	hwBefore, flushed := l.tail.HighWatermark, min(max(l.o.RecoveryPoint, l.tail.Flushed), r.end)
	if l.o.CleanStart && r.clean {
		flushed = r.end
	}
	l.tail = Tail{LogStart: r.logStart, LocalLogStart: max(r.segments[0].base, r.logStart), LogEnd: r.end, Flushed: flushed}
	for _, s := range r.segments {
		l.tail.SizeBytes += s.sizeBytes
	}
	p.epochs = r.epochs
	l.lane.epochsDirty = l.lane.epochsDirty || r.epochsChanged
	l.tail.Epoch = p.epochs.latest()
	for _, e := range p.pending {
		l.assignEpochLocked(e.Epoch, min(e.Start, r.end))
	}
	p.pending = nil
	active.shown, active.shownOK = active.top, true
	p.loaded = true
	l.setHighWatermarkLocked(min(max(r.highWatermark, hwBefore, r.logStart), r.end))
}

// recovery is one load of a log.
type recovery struct {
	l             *Log
	clean         bool
	from          kafka.Offset // recovery point: what lies below is trusted
	durable       kafka.Offset // no crash took anything from below
	promised      kafka.Offset // the recovery point that the directory gave
	nowMs         int64
	highWatermark kafka.Offset

	segments      []*logSegment
	end           kafka.Offset
	logStart      kafka.Offset
	scannedFrom   kafka.Offset // where recovery began to read; producers from an older snapshot
	epochs        epochList
	epochsFound   bool
	epochsChanged bool
	txns          prodstate.Txns
}

// takeHint compares the last segment with the hint: if somebody wrote to it in
// between, nothing that the clean stop promised counts (decision 4).
func (r *recovery) takeHint(files *folderFiles) {
	h := r.l.o.Hint
	if h == nil || !r.clean {
		return
	}
	if n := len(files.logs); n == 0 {
		if h.LogEnd == h.LogStart && h.LastSizeBytes == 0 {
			r.logStart = max(r.logStart, h.LogStart)
			return
		}
	} else if last := files.logs[n-1]; baseOf(last.Name) == h.LastBase && last.SizeBytes == h.LastSizeBytes && last.ModTimeNano == h.LastModTimeNano {
		r.logStart = max(r.logStart, h.LogStart)
		return
	}
	r.l.log().Warn("the log is not as the last clean stop left it; it is loaded as after a crash", "folder", r.l.dir())
	r.clean = false
	if n := len(files.logs); n > 0 {
		r.from = min(r.from, baseOf(files.logs[n-1].Name))
	}
}

// run finds the log end, then all that follows from it.
func (r *recovery) run(snapshots []kafka.Offset) error {
	if len(r.segments) == 0 {
		r.segments = []*logSegment{r.l.newSegment(r.logStart, r.nowMs)}
	}
	r.scannedFrom = -1
	err := error(nil)
	if r.clean {
		err = r.findEnd()
		if errors.Is(err, kafka.CorruptMessage) {
			r.l.log().Warn("a log that was stopped cleanly is damaged; it is recovered", "reason", err)
			r.clean = false
			last := len(r.segments) - 1
			if last > 0 && r.segments[last].sizeBytes == 0 {
				last--
			}
			r.from, r.end = min(r.from, r.segments[last].base), 0
		}
	}
	if !r.clean {
		err = r.recover()
	}
	if err != nil {
		return err
	}
	if r.end < r.logStart {
		// The log start was moved beyond what survived: nothing of it is left to keep.
		r.l.log().Warn("the log ends before its start; it begins again there", "log_end", int64(r.end), "log_start", int64(r.logStart))
		for _, s := range r.segments {
			if err := r.l.removeFiles(s); err != nil {
				return err
			}
		}
		r.segments = []*logSegment{r.l.newSegment(r.logStart, r.nowMs)}
		r.end = r.logStart
	}
	r.logStart = max(r.logStart, r.segments[0].base)
	if !r.epochsFound {
		if err := r.scanEpochs(); err != nil {
			return err
		}
	} else if !r.clean {
		if err := r.fillEpochs(); err != nil {
			return err
		}
	}
	r.cutEpochs()
	return r.loadProducers(snapshots)
}

func (r *recovery) cutEpochs() {
	list, a := r.epochs.truncateEnd(r.end)
	list, b := list.truncateStart(r.logStart)
	r.epochs, r.epochsChanged = list, r.epochsChanged || a || b
}

// scanEpochs takes the epochs from the batches, where the checkpoint is gone.
func (r *recovery) scanEpochs() error {
	return r.eachBatch(0, func(s *segment.Scan, _ *logSegment) error {
		r.noteEpoch(&s.Header)
		return nil
	})
}

// fillEpochs takes the epochs in front of the checkpoint's first from the
// batches. They are missing when a log start that was advanced, and the
// checkpoint with it, was not yet durable itself.
func (r *recovery) fillEpochs() error {
	if r.end <= r.logStart || (len(r.epochs) > 0 && r.epochs[0].Start <= r.logStart) {
		return nil
	}
	known := r.epochs
	r.epochs = nil
	err := r.eachBatch(r.logStart, func(s *segment.Scan, _ *logSegment) error {
		if len(known) > 0 && s.Header.BaseOffset >= known[0].Start {
			return errEnough
		}
		r.noteEpoch(&s.Header)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	for _, e := range known {
		if e.Epoch > r.epochs.latest() {
			r.epochs, _ = r.epochs.assign(e.Epoch, e.Start)
		}
	}
	r.epochsChanged = true
	return nil
}

var errEnough = errors.New("enough")

func (r *recovery) noteEpoch(h *batch.Header) {
	if h.LeaderEpoch >= 0 && h.LeaderEpoch > r.epochs.latest() {
		list, changed := r.epochs.assign(h.LeaderEpoch, h.BaseOffset)
		r.epochs, r.epochsChanged = list, r.epochsChanged || changed
	}
}

// eachBatch calls do for each batch that holds from or lies behind it.
func (r *recovery) eachBatch(from kafka.Offset, do func(*segment.Scan, *logSegment) error) error {
	var scan segment.Scan
	defer scan.Done()
	for i, s := range r.segments {
		if i+1 < len(r.segments) && r.segments[i+1].base <= from {
			continue
		}
		pos := int64(0)
		if from > s.base {
			ix, err := r.l.indexes(s, s.sizeBytes)
			if err != nil {
				return err
			}
			p, err := ix.offsets.Floor(from)
			if err != nil && !errors.Is(err, index.ErrCorrupt) {
				return err
			}
			pos = p.PosBytes
		}
		scan.Start(s.log, pos, s.sizeBytes, false)
		r.passOver(&scan, s)
		for scan.Next() {
			if scan.Header.LastOffset() < from {
				continue
			}
			if err := do(&scan, s); err != nil {
				return err
			}
		}
		if err := scan.Err(); err != nil {
			return err
		}
	}
	return nil
}
