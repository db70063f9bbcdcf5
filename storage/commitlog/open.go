// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/index"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

const (
	defaultProducerExpirationMs = 24 * 3600 * 1000
)

// Open opens a log; a missing folder is created with partition.metadata. With
// a Hint of a clean stop nothing is read until the first use.
func Open(o Options) (*Log, error) {
	l := &Log{o: o, folder: o.Dir, cfg: o.Config}
	if l.o.Logger == nil {
		l.o.Logger = slog.New(slog.DiscardHandler)
	}
	if l.o.Now == nil {
		return nil, errors.New("commitlog: Options.Now is missing")
	}
	if l.o.ProducerIDExpirationMs == 0 {
		l.o.ProducerIDExpirationMs = defaultProducerExpirationMs
	}
	l.cfg.setDefaults()
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

// ready loads the log at its first use.
func (l *Log) ready() error {
	err := l.loading.pass(func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pub.loaded || l.pub.closed
	}, func() error {
		start := time.Time{}
		if l.o.Hint == nil {
			start = l.o.Now()
		}
		err := l.load()
		if err == nil && !start.IsZero() && !l.o.CleanStart {
			l.log().Debug("log was loaded", "log_end", int64(l.Tail().LogEnd), "took", l.o.Now().Sub(start))
		}
		return err
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pub.closed {
		return ErrClosed
	}
	return nil
}

// folderFiles is what a partition's folder holds, by kind.
type folderFiles struct {
	logs      []vfs.FileInfo // by base offset
	sizes     map[string]int64
	snapshots []kafka.Offset // ascending
	leftovers []string       // to be removed
	swaps     []string       // to be renamed
	orphans   []string       // indexes without a log file
}

func (l *Log) list() (*folderFiles, error) {
	dir := l.dir()
	infos, err := l.o.FS.ReadDir(dir)
	if missing(err) {
		if err := l.o.FS.MkdirAll(dir); err != nil {
			return nil, fmt.Errorf("create %s: %w", dir, err)
		}
		l.lane.dirUnsynced = true
	} else if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	return sortFiles(infos), nil
}

func sortFiles(infos []vfs.FileInfo) *folderFiles {
	f := &folderFiles{sizes: make(map[string]int64)}
	hasLog := make(map[kafka.Offset]bool)
	var indexes []string
	for _, i := range infos {
		base, suffix, ok := segment.ParseName(i.Name)
		switch {
		case i.IsDir():
		case strings.HasSuffix(i.Name, segment.DeletedSuffix), strings.HasSuffix(i.Name, segment.CutSuffix),
			strings.HasSuffix(i.Name, segment.CleanedSuffix), strings.HasSuffix(i.Name, tmpSuffix):
			f.leftovers = append(f.leftovers, i.Name)
		case strings.HasSuffix(i.Name, segment.SwapSuffix):
			f.swaps = append(f.swaps, i.Name)
		case !ok:
		case suffix == segment.LogSuffix:
			f.logs = append(f.logs, i)
			hasLog[base] = true
		case suffix == segment.SnapshotSuffix:
			f.snapshots = append(f.snapshots, base)
		case suffix == segment.IndexSuffix, suffix == segment.TimeIndexSuffix, suffix == segment.TxnIndexSuffix:
			indexes = append(indexes, i.Name)
			f.sizes[i.Name] = i.SizeBytes
		}
	}
	slices.SortFunc(f.logs, func(a, b vfs.FileInfo) int { return cmp.Compare(baseOf(a.Name), baseOf(b.Name)) })
	slices.Sort(f.snapshots)
	for _, name := range indexes {
		if base := baseOf(name); !hasLog[base] {
			f.orphans = append(f.orphans, name)
		}
	}
	return f
}

func baseOf(name string) kafka.Offset {
	base, _, _ := segment.ParseName(name)
	return base
}

// refuseOldFormat looks at the first and the last segment before anything in
// the folder is changed.
func (l *Log) refuseOldFormat(f *folderFiles) error {
	for i, info := range f.logs {
		if i != 0 && i != len(f.logs)-1 {
			continue
		}
		file := l.o.Files.File(filepath.Join(l.dir(), info.Name), false)
		magic, found, err := segment.OldFormat(file, info.SizeBytes)
		_ = file.Close()
		if err != nil {
			return err
		}
		if found {
			return &OldFormatError{File: file.Path(), Magic: magic}
		}
	}
	return nil
}

// tidy removes and finishes what a crash or a running compaction left behind,
// as Kafka's LogLoader does. It reports whether the folder must be listed
// again.
func (l *Log) tidy(f *folderFiles) (changed bool, err error) {
	remove := slices.Concat(f.leftovers, f.orphans)
	minCleaned := kafka.Offset(1<<63 - 1)
	for _, name := range f.leftovers {
		if strings.HasSuffix(name, segment.CleanedSuffix) {
			minCleaned = min(minCleaned, baseOf(name))
		}
	}
	var finish []string
	for _, name := range f.swaps {
		// A cleaned file beside it: the group of swaps was not complete.
		if baseOf(name) >= minCleaned {
			remove = append(remove, name)
		} else {
			finish = append(finish, name)
		}
	}
	for _, name := range finish {
		plain := strings.TrimSuffix(name, segment.SwapSuffix)
		if !strings.HasSuffix(plain, segment.LogSuffix) {
			continue
		}
		end, err := l.endOfFile(name)
		if err != nil {
			return true, err
		}
		for _, info := range f.logs {
			if base := baseOf(info.Name); base >= baseOf(name) && base < end {
				remove = append(remove, info.Name, segment.Name(base, segment.IndexSuffix),
					segment.Name(base, segment.TimeIndexSuffix), segment.Name(base, segment.TxnIndexSuffix))
			}
		}
	}
	dir := l.dir()
	for _, name := range remove {
		if err := l.o.FS.Remove(filepath.Join(dir, name)); err != nil && !missing(err) {
			return true, fmt.Errorf("remove leftover: %w", err)
		}
	}
	for _, name := range finish {
		path := filepath.Join(dir, name)
		if err := l.o.FS.Rename(path, strings.TrimSuffix(path, segment.SwapSuffix)); err != nil {
			return true, fmt.Errorf("finish compaction: %w", err)
		}
	}
	return len(finish) > 0, nil
}

// endOfFile is the offset behind the last good batch of a log file.
func (l *Log) endOfFile(name string) (kafka.Offset, error) {
	file := l.o.Files.File(filepath.Join(l.dir(), name), false)
	defer file.Close()
	size, err := file.SizeBytes()
	if err != nil {
		return 0, err
	}
	end := baseOf(name)
	var scan segment.Scan
	scan.Start(file, 0, size, false)
	defer scan.Done()
	for scan.Next() {
		end = scan.Header.NextOffset()
	}
	if err := scan.Err(); err != nil && !errors.Is(err, kafka.CorruptMessage) {
		return 0, err
	}
	return end, nil
}

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
	// Before a crash files may have been created that no sync of the folder followed.
	l.lane.dirUnsynced = l.lane.dirUnsynced || !r.clean
	if !r.clean {
		// The next sync may move the recovery point behind the batches that they came from.
		if err := l.saveEpochs(); err != nil {
			l.sideWriteFailed("write leader epoch checkpoint", err)
		}
	}
	if r.end < l.o.RecoveryPoint {
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
			r.from, r.end = min(r.from, r.segments[max(len(r.segments)-2, 0)].base), 0
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
