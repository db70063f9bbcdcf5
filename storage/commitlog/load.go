// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"math"

	"gregor/base/kafka"
	"gregor/storage/index"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
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
	r := &recovery{l: l, clean: l.o.CleanStart, from: l.o.RecoveryPoint, nowMs: l.nowMs(), logStart: l.o.LogStart, highWatermark: l.o.HighWatermark,
		risen: epochStart{Epoch: kafka.NoLeaderEpoch}, lastEpoch: kafka.NoLeaderEpoch}
	r.durable, r.promised, r.compacted = r.from, r.from, l.config().Compacted
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
	if err := l.settle(r); err != nil {
		closeFiles(r.segments)
		return err
	}
	if !l.publishLoaded(r) {
		closeFiles(r.segments)
		return ErrClosed
	}
	return nil
}

// settle writes what follows from a load. Nobody knows yet that the log is loaded:
// the lane would append beside it.
func (l *Log) settle(r *recovery) error {
	// Before a crash files may have been created that no sync of the folder followed.
	l.lane.dirUnsynced = l.lane.dirUnsynced || !r.clean
	l.lane.epochsDirty = l.lane.epochsDirty || r.epochsChanged
	if !r.clean {
		active := r.segments[len(r.segments)-1]
		active.stale = active.createdInFile
		// The next sync may move the recovery point behind the batches that they came from.
		if err := l.saveTheseEpochs(r.epochs); err != nil {
			l.sideWriteFailed("write leader epoch checkpoint", err)
		}
	}
	if r.end >= l.o.RecoveryPoint {
		return nil
	}
	l.log().Error("records that were on the disk are missing at the end of the log", "recovery_point", int64(l.o.RecoveryPoint), "log_end", int64(r.end))
	l.mu.Lock()
	t := &l.tail
	for _, off := range [...]*kafka.Offset{&t.LogStart, &t.LocalLogStart, &t.LogEnd, &t.HighWatermark, &t.LastStable, &t.Flushed} {
		*off = min(*off, r.end) // the directory looks at them
	}
	l.mu.Unlock()
	return l.lowered(r.end)
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

// publishLoaded makes the result of a load the log's state, unless the log was
// killed meanwhile.
func (l *Log) publishLoaded(r *recovery) bool {
	active := r.segments[len(r.segments)-1]
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.pub
	if p.closed {
		return false
	}
	p.segments = r.segments
	p.txns = r.txns
	hwBefore, flushed := l.tail.HighWatermark, min(max(l.o.RecoveryPoint, l.tail.Flushed), r.end)
	if l.o.CleanStart && r.clean {
		flushed = r.end
		p.syncedBelow = r.end
	}
	l.tail = Tail{LogStart: r.logStart, LocalLogStart: max(r.segments[0].base, r.logStart), LogEnd: r.end, Flushed: flushed}
	for _, s := range r.segments {
		l.tail.SizeBytes += s.sizeBytes
	}
	if flushed < r.end {
		l.lane.unflushedMs = r.nowMs
	}
	p.epochs = r.epochs
	l.tail.Epoch = p.epochs.latest()
	for _, e := range p.pending {
		l.assignEpochLocked(e.Epoch, min(e.Start, r.end))
	}
	p.pending = nil
	active.shown, active.shownOK = active.top, true
	p.loaded = true
	l.setHighWatermarkLocked(min(max(r.highWatermark, hwBefore, r.logStart), r.end))
	return true
}

// recovery is one load of a log.
type recovery struct {
	l             *Log
	clean         bool
	from          kafka.Offset // recovery point: what lies below is trusted
	durable       kafka.Offset // no crash took anything from below
	promised      kafka.Offset // the recovery point that the directory gave
	stopped       *Hint        // how a clean stop left the log, if it was not written to since
	nowMs         int64
	highWatermark kafka.Offset

	segments      []*logSegment
	end           kafka.Offset
	logStart      kafka.Offset
	compacted     bool         // or was once, see wasCompacted
	scannedFrom   kafka.Offset // where recovery began to read; producers from an older snapshot
	epochs        epochList
	epochsFound   bool
	epochsChanged bool
	lastEpoch     kafka.LeaderEpoch // of batches that were read; no later one has a lower
	risen         epochStart        // the epoch of the last batch, where it is new
	txns          prodstate.Txns
}

// takeHint compares the last segment with the hint: if somebody wrote to it in
// between, nothing that the clean stop promised counts.
func (r *recovery) takeHint(files *folderFiles) {
	h := r.l.o.Hint
	if h == nil || !r.clean {
		return
	}
	if n := len(files.logs); n == 0 {
		if h.LogEnd == h.LogStart && h.LastSizeBytes == 0 {
			r.logStart, r.stopped = max(r.logStart, h.LogStart), h
			return
		}
	} else if last := files.logs[n-1]; baseOf(last.Name) == h.LastBase && last.SizeBytes == h.LastSizeBytes && last.ModTimeNano == h.LastModTimeNano {
		r.logStart, r.stopped = max(r.logStart, h.LogStart), h
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
			if r.stopped != nil {
				r.promised = max(r.promised, r.stopped.LogEnd)
			}
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
	if err := r.settleEpochs(); err != nil {
		return err
	}
	r.cutEpochs()
	return r.loadProducers(snapshots)
}

// eachBatch calls do for each batch that holds from or lies behind it.
func (r *recovery) eachBatch(from kafka.Offset, do func(*segment.Scan, *logSegment) error) error {
	var scan segment.Scan
	defer scan.Done()
	for i, s := range r.segments {
		if i+1 < len(r.segments) && r.segments[i+1].base <= from {
			continue
		}
		at, err := r.batchBefore(s, from)
		if err != nil {
			return err
		}
		scan.Start(s.log, at.PosBytes, s.sizeBytes, false)
		scan.Floor(at.Offset)
		stepOver(&scan, s.log, s.sizeBytes)
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

// batchBefore is where a batch of s begins at or before from, and its base
// offset. Index entries that are wrong are passed over.
func (r *recovery) batchBefore(s *logSegment, from kafka.Offset) (index.Position, error) {
	start := index.Position{Offset: s.base}
	if from <= s.base {
		return start, nil
	}
	ix, err := r.l.indexes(s, s.sizeBytes)
	if err != nil {
		return start, err
	}
	for key, n := from, 0; n < landingsMax; n++ {
		p, err := ix.offsets.Floor(key)
		if err == nil && p.PosBytes == 0 {
			return start, nil
		}
		base := kafka.NoOffset
		if err == nil {
			base, err = r.l.landing(s, s.log, s.sizeBytes, p)
		}
		if !errors.Is(err, index.ErrCorrupt) {
			return index.Position{Offset: base, PosBytes: p.PosBytes}, err
		}
		key = p.Offset - 1
	}
	return start, nil
}
