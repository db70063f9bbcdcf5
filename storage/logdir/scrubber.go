// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/scrub"
)

// sumFile holds the checksums of sealed segments and how far the scrub is, as
// package scrub describes it.
const sumFile = "gregor.checksums"

// scrubber looks through the directory's logs for bit rot. One goroutine reads
// one segment after another at ScrubBytesPerSecond; a pass goes over all of them,
// in the order of their names, and goes on after a restart where it was. Between
// passes it looks at segments that were sealed meanwhile, so that they get their
// checksums soon. A log that nobody has used since the start and that is small is
// left alone: to load it costs memory, and its first reader checks it anyway.
type scrubber struct {
	pace     scrub.Pace
	sealed   chan scrub.Key // those that find no room wait for the pass
	bytes    atomic.Int64
	bad      atomic.Int64 // ranges that were found, by readers too
	rotten   atomic.Int64 // segments that differ from their checksum
	indexes  atomic.Int64 // that were found to be wrong
	fullMs   atomic.Int64
	segments atomic.Int64

	load sync.Once

	mu       sync.Mutex // guards what follows
	sums     map[scrub.Key]scrub.Sum
	progress scrub.Progress

	// The goroutine's own.
	file    vfs.File // nil: not open yet
	atBytes int64
	records int
	broken  bool // it cannot be written; told once
}

const (
	// scrubDelay keeps the scrub away from a start.
	scrubDelay = time.Minute
	// unusedBytesMax is how large a log may be that is left alone while unused.
	unusedBytesMax = 1 << 20
	// sumGarbageMin records may be of no use before the file is written anew.
	sumGarbageMin = 1024
)

// ScrubStats is read by the metrics endpoint. The counters begin with the start.
type ScrubStats struct {
	Bytes          int64 // that were read
	Segments       int64
	BadRanges      int64 // found by the scrub, by readers or while loading
	RottenSegments int64
	WrongIndexes   int64
	LastFullPassMs int64 // when the last pass over everything ended; 0: never
	Checksums      int   // segments whose checksum is known
}

// Scrub tells what the scrub has done.
func (d *Dir) Scrub() ScrubStats {
	s := &d.scrubber
	s.mu.Lock()
	known := len(s.sums)
	s.mu.Unlock()
	return ScrubStats{Bytes: s.bytes.Load(), Segments: s.segments.Load(), BadRanges: s.bad.Load(), RottenSegments: s.rotten.Load(),
		WrongIndexes: s.indexes.Load(), LastFullPassMs: s.fullMs.Load(), Checksums: known}
}

func (s *scrubber) init() { s.sealed = make(chan scrub.Key, 256) }

// countBad is told by logs of each bad range.
func (d *Dir) countBad(commitlog.BadRange) { d.scrubber.bad.Add(1) }

// noteSealed is told by logs, on their lanes, of each segment that gets no more
// batches.
func (d *Dir) noteSealed(tp kafka.TopicPartition, base kafka.Offset) {
	select {
	case d.scrubber.sealed <- scrub.Key{TopicPartition: tp, Base: base}:
	default:
	}
}

// sumOf is what is known of a segment.
func (d *Dir) sumOf(tp kafka.TopicPartition, base kafka.Offset) (scrub.Sum, bool) {
	s := &d.scrubber
	s.load.Do(d.loadSums)
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, ok := s.sums[scrub.Key{TopicPartition: tp, Base: base}]
	return sum, ok
}

func (d *Dir) loadSums() {
	s := &d.scrubber
	b, err := vfs.ReadFile(d.o.FS, d.path(sumFile), scrub.RecordsMax)
	p := scrub.Parse(b)
	if err == nil && p.Bytes < int64(len(b)) {
		d.o.Logger.Warn("a part of the checksums of segments is of no use; they are made again", "file", d.path(sumFile), "bytes", int64(len(b))-p.Bytes)
	}
	s.atBytes, s.records = p.Bytes, p.Records
	s.fullMs.Store(p.Progress.FullMs)
	s.mu.Lock()
	s.sums, s.progress = p.Sums, p.Progress
	s.mu.Unlock()
}

func (d *Dir) runScrubber() {
	defer d.goroutines.Done()
	s := &d.scrubber
	defer func() {
		if s.file != nil {
			_ = s.file.Close() // a cache
		}
	}()
	s.load.Do(d.loadSums)
	timer := time.NewTimer(scrubDelay)
	defer timer.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-d.offline.c:
			return
		case k := <-s.sealed:
			if !d.scrubOne(k) {
				return
			}
		case <-timer.C:
			if s.progress.NextPass(d.o.ScrubInterval, d.o.Now()) == 0 && !d.scrubAll() {
				return
			}
			timer.Reset(max(s.progress.NextPass(d.o.ScrubInterval, d.o.Now()), time.Second))
		}
	}
}

// paid returns once more may be read, and is false when the directory closes.
func (d *Dir) paid(bytes int64) bool {
	d.scrubber.bytes.Add(bytes)
	wait := d.scrubber.pace.Read(bytes, d.o.Now())
	if wait == 0 {
		select {
		case <-d.stop:
			return false
		case <-d.offline.c:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-d.stop:
		return false
	case <-d.offline.c:
		return false
	case <-timer.C:
		return true
	}
}

// scrubOne looks at a segment that was just sealed. It is false when the
// directory closes.
func (d *Dir) scrubOne(k scrub.Key) bool {
	d.mu.Lock()
	e := d.logs[k.TopicPartition]
	d.mu.Unlock()
	if e == nil {
		return true
	}
	_, _, open := d.scrubSegment(e, k.Base-1)
	return open
}

// scrubAll is one pass, or the rest of one. It is false when the directory
// closes.
func (d *Dir) scrubAll() bool {
	s := &d.scrubber
	d.mu.Lock()
	entries := slices.Clone(d.inOrder)
	d.mu.Unlock()
	slices.SortFunc(entries, func(a, b *entry) int { return comparePartitions(a.tp, b.tp) })
	p := s.progress
	if p.StartedMs == 0 {
		p = scrub.Progress{StartedMs: d.o.Now().UnixMilli(), FullMs: p.FullMs}
	}
	resumed := p.Last.Topic != ""
	whole, met := map[kafka.TopicPartition]bool{}, map[scrub.Key]bool{}
	for _, e := range entries {
		after, skipped := kafka.NoOffset, false
		if resumed {
			switch c := comparePartitions(e.tp, p.Last.TopicPartition); {
			case c < 0:
				continue
			case c == 0:
				after, skipped = p.Last.Base, true
			}
		}
		for {
			base, more, open := d.scrubSegment(e, after)
			if !open {
				return false
			}
			if !more {
				break
			}
			after = base
			p.Last = scrub.Key{TopicPartition: e.tp, Base: base}
			met[p.Last], whole[e.tp] = true, whole[e.tp] || !skipped
			d.noteProgress(p)
		}
	}
	p = scrub.Progress{FullMs: d.o.Now().UnixMilli()}
	s.fullMs.Store(p.FullMs)
	d.noteProgress(p)
	d.forgetSums(whole, met)
	return true
}

func comparePartitions(a, b kafka.TopicPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// scrubSegment looks at the segment behind after. more is false where there is
// none, open when the directory closes.
func (d *Dir) scrubSegment(e *entry, after kafka.Offset) (base kafka.Offset, more, open bool) {
	log := e.log.Load()
	if log == nil || log.Unused(unusedBytesMax) {
		return 0, false, true
	}
	s := &d.scrubber
	found, more, err := log.Scrub(&commitlog.Scrub{After: after, Read: d.paid,
		Sum: func(base kafka.Offset) (scrub.Sum, bool) { return d.sumOf(e.tp, base) }})
	switch {
	case errors.Is(err, commitlog.ErrScrubEnds):
		return 0, false, false
	case errors.Is(err, commitlog.ErrClosed):
		return 0, false, true
	case err != nil:
		d.o.Logger.Error("a segment cannot be read", "partition", e.tp.String(), "base_offset", int64(found.Base), "err", err)
		return found.Base, more, true
	case !more:
		return 0, false, true
	}
	s.segments.Add(1)
	if found.Rotten {
		s.rotten.Add(1)
		d.o.Logger.Error("a log file is not what its checksum was made of", "partition", e.tp.String(), "base_offset", int64(found.Base))
	}
	if found.Indexes != nil {
		s.indexes.Add(1)
		d.o.Logger.Warn("indexes do not fit their log file; they will be built again", "partition", e.tp.String(), "base_offset", int64(found.Base), "reason", found.Indexes)
	}
	if found.Whole {
		d.keepSum(scrub.Key{TopicPartition: e.tp, Base: found.Base}, found.Sum)
	}
	return found.Base, true, true
}
