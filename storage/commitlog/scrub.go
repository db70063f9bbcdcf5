// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"io"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/index"
	"gregor/storage/scrub"
	"gregor/storage/segment"
)

// Scrub is how a log is looked through for bit rot, a segment at a time.
type Scrub struct {
	After kafka.Offset // the segment behind the one that begins here; kafka.NoOffset: the first
	// Sum is what is known of a segment.
	Sum func(base kafka.Offset) (scrub.Sum, bool)
	// Read is told of bytes that were read and returns when more may be; false
	// ends the scrub.
	Read func(bytes int64) bool
}

// Scrubbed is what a scrub found out about one segment.
type Scrubbed struct {
	Base  kafka.Offset
	Sum   scrub.Sum
	Whole bool // Sum is of a sealed segment whose files fit to each other
	// Indexes says what is wrong with the indexes; the log is mended by its next
	// Checkpoint. Bad ranges go where those go that readers find.
	Indexes error
	// Rotten: the log file is not what its checksum was made of, whether or not
	// its batches show it.
	Rotten bool
}

// ErrScrubEnds is returned by a scrub that was told to end.
var ErrScrubEnds = errors.New("the scrub was told to end")

// scrubChunkBytes is read between two payments, and kept in the page cache or
// not as it was found there.
const scrubChunkBytes = 1 << 20

// Scrub reads one segment whole, whoever wrote it, and compares its indexes with
// it; with a checksum that still belongs to the files that is all it compares.
// done is false where there is no segment behind o.After. It may be called from
// anywhere; a segment that leaves the log meanwhile is given up without an error.
func (l *Log) Scrub(o *Scrub) (found Scrubbed, done bool, err error) {
	if err := l.ready(); err != nil {
		return Scrubbed{}, false, err
	}
	v, sealed, ok := l.scrubView(o.After)
	if !ok {
		return Scrubbed{}, false, nil
	}
	defer v.file.Release()
	found.Base = v.seg.base
	if v.sizeBytes > 0 {
		c := scrubbing{l: l, o: o, v: &v, found: &found}
		if err = v.file.Opened(); err == nil {
			err = c.run(sealed)
		}
		doubt := errors.Join(err, found.Indexes)
		switch {
		case l.changed(v.seg, v.file, doubt):
			found, err = Scrubbed{Base: v.seg.base}, nil // of other files, maybe
		case doubt != nil && !errors.Is(err, ErrScrubEnds) && errors.Is(l.ended(doubt), ErrClosed):
			found, err = Scrubbed{Base: v.seg.base}, ErrClosed
		}
	}
	return found, true, err
}

// scrubView references the first segment behind after.
func (l *Log) scrubView(after kafka.Offset) (v view, sealed, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.pub.segments {
		if s.base <= after {
			continue
		}
		v = view{seg: s, file: s.log, sizeBytes: s.sizeBytes, end: l.tail.LogEnd}
		if sealed = i+1 < len(l.pub.segments); sealed {
			v.end = l.pub.segments[i+1].base
		}
		v.file.Ref()
		return v, sealed, true
	}
	return v, false, false
}

// scrubbing is one segment at work.
type scrubbing struct {
	l     *Log
	o     *Scrub
	v     *view
	found *Scrubbed
	buf   []byte
	crc   uint32
	at    int64 // up to here crc goes
	hot   bool  // the chunk from at on was in the page cache before the scrub came
}

func (c *scrubbing) run(sealed bool) error {
	known, some := scrub.Sum{}, false
	if sealed {
		known, some = c.o.Sum(c.v.seg.base)
	}
	before, err := c.identify()
	if err != nil {
		return err
	}
	c.buf = make([]byte, min(c.v.sizeBytes, scrubChunkBytes)) // most segments of most partitions are small
	if some && known[scrub.Log].Same(before[scrub.Log]) {
		if err := errors.Join(c.probe(), c.stream(c.v.sizeBytes)); err != nil {
			return err
		}
		if c.crc == known[scrub.Log].CRC {
			c.v.seg.verified.add(0, c.v.sizeBytes)
			return c.judgeIndexes(known, before, true)
		}
		c.found.Rotten = true
		c.crc, c.at = 0, 0
	}
	if !sealed {
		return c.walk(nil)
	}
	return c.judgeIndexes(scrub.Sum{}, before, false)
}

// walk checks all batches, and takes the checksum of the file as it goes.
func (c *scrubbing) walk(judge *scrub.Judge) error {
	var w walker
	w.begin(c.l, c.v.seg, c.v.file, c.v.sizeBytes, 0, c.v.sizeBytes, c.v.seg.base, c.v.end)
	w.all = true
	defer w.done()
	if err := c.probe(); err != nil {
		return err
	}
	for w.next() {
		if judge != nil {
			judge.Batch(&w.Header, w.PosBytes)
		}
		if w.NextPos()-c.at >= scrubChunkBytes {
			w.note()
			if err := c.stream(w.NextPos()); err != nil {
				return err
			}
			if err := c.probe(); err != nil {
				return err
			}
		}
	}
	if w.err != nil {
		return w.err
	}
	return c.stream(c.v.sizeBytes)
}

// stream goes on with the checksum of the log file.
func (c *scrubbing) stream(to int64) error {
	return c.v.file.With(func(f vfs.File) error {
		for c.at < to {
			n := min(to-c.at, scrubChunkBytes)
			m, err := f.ReadAt(c.buf[:n], c.at)
			if int64(m) < n {
				if err == nil || errors.Is(err, io.EOF) {
					err = &CorruptError{File: c.v.file.Path(), PosBytes: c.at + int64(m), Reason: "the file is shorter than the log", Torn: true}
				}
				return err
			}
			c.crc = scrub.Update(c.crc, c.buf[:n])
			if !c.hot {
				_ = f.Advise(c.at, n, vfs.AdviseDontNeed) // a hint
			}
			c.at += n
			if c.at < to {
				c.hot = vfs.Cached(f, c.at, min(to-c.at, scrubChunkBytes))
			}
			if !c.o.Read(n) {
				return ErrScrubEnds
			}
		}
		return nil
	})
}

// probe looks whether the next chunk is in the page cache, before anything of it
// is read.
func (c *scrubbing) probe() error {
	return c.v.file.With(func(f vfs.File) error {
		c.hot = vfs.Cached(f, c.at, scrubChunkBytes)
		return nil
	})
}

var scrubSuffixes = [scrub.FileKinds]string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix}

// identify tells which versions of the segment's files there are.
func (c *scrubbing) identify() (sum scrub.Sum, err error) { return c.l.identify(c.v.seg.base) }

func (l *Log) identify(base kafka.Offset) (sum scrub.Sum, err error) {
	for kind, suffix := range scrubSuffixes {
		info, err := l.o.FS.Stat(l.path(base, suffix))
		switch {
		case err == nil:
			sum[kind] = scrub.FileSum{Inode: info.Inode, SizeBytes: info.SizeBytes, ModTimeNano: info.ModTimeNano}
		case missing(err):
			sum[kind].SizeBytes = scrub.Missing
		default:
			return sum, err
		}
	}
	return sum, nil
}

// judgeIndexes compares the indexes with their checksums, or with the log, which
// is read for it unless that is known to be good.
func (c *scrubbing) judgeIndexes(known, before scrub.Sum, good bool) error {
	l, s := c.l, c.v.seg
	var content [scrub.FileKinds][]byte
	sum, same := before, good
	for _, kind := range [...]int{scrub.OffsetIndex, scrub.TimeIndex, scrub.TxnIndex} {
		if before[kind].SizeBytes == scrub.Missing {
			same = same && known[kind].SizeBytes == scrub.Missing
			continue
		}
		b, err := l.readWhole(segment.Name(s.base, scrubSuffixes[kind]), indexBytesMax)
		if err != nil {
			return err
		}
		content[kind], sum[kind].CRC = b, scrub.Update(0, b)
		same = same && known[kind].Same(before[kind]) && known[kind].CRC == sum[kind].CRC
		if !c.o.Read(int64(len(b))) {
			return ErrScrubEnds
		}
	}
	if same {
		return nil
	}
	judge := scrub.NewJudge(s.base, content[scrub.OffsetIndex], content[scrub.TimeIndex])
	if err := c.batches(judge, good); err != nil {
		return err
	}
	sum[scrub.Log].CRC = c.crc
	bad := len(s.bad.all()) > 0 // the indexes were made when the batches there were good
	if !bad {
		c.found.Indexes = errors.Join(judge.Done(), c.judgeAborted(content[scrub.TxnIndex]))
	}
	if c.found.Indexes != nil {
		s.mend.Store(true)
		return nil
	}
	after, err := c.identify()
	c.found.Sum, c.found.Whole = sum, err == nil && !bad && !c.found.Rotten
	for kind := range after {
		c.found.Whole = c.found.Whole && after[kind].Same(before[kind])
	}
	return err
}

// batches shows the judge the batches: by their headers alone where the file is
// known to be good.
func (c *scrubbing) batches(judge *scrub.Judge, good bool) error {
	if !good {
		return c.walk(judge)
	}
	var w walker
	w.begin(c.l, c.v.seg, c.v.file, c.v.sizeBytes, 0, c.v.sizeBytes, c.v.seg.base, c.v.end)
	w.headers = true
	defer w.done()
	for w.next() {
		judge.Batch(&w.Header, w.PosBytes)
	}
	return w.err
}

func (c *scrubbing) judgeAborted(content []byte) error {
	list, err := index.DecodeAborted(content, c.v.seg.base)
	if err != nil {
		return err
	}
	w, err := c.l.findAborted(c.v.seg, c.v.sizeBytes)
	if err != nil {
		return nil // there is nothing to compare it with
	}
	return w.differs(list)
}

// indexBytesMax is what an index of a segment of 2 GiB can need.
const indexBytesMax = 1 << 30

// Unused reports whether nobody has used the log since it was opened and it is
// smaller than bytes.
func (l *Log) Unused(bytes int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.idleLocked() && l.tail.SizeBytes < bytes
}

// proven compares the index files of a closed segment with their checksums. known
// is false where there are none of these very files; the error is
// index.ErrCorrupt. A file that somebody removed is built again too.
func (l *Log) proven(s *logSegment) (known bool, err error) {
	if l.o.Sum == nil {
		return false, nil
	}
	sum, ok := l.o.Sum(s.base)
	if !ok {
		return false, nil
	}
	now, err := l.identify(s.base)
	if err != nil || !sum[scrub.Log].Same(now[scrub.Log]) {
		return false, nil // whoever needs it will tell
	}
	known = true
	for kind := scrub.OffsetIndex; kind < scrub.FileKinds; kind++ {
		name := segment.Name(s.base, scrubSuffixes[kind])
		switch {
		case now[kind].SizeBytes == scrub.Missing && sum[kind].SizeBytes == scrub.Missing:
		case now[kind].SizeBytes == scrub.Missing:
			return false, fmt.Errorf("%s is missing: %w", name, index.ErrCorrupt)
		case !sum[kind].Same(now[kind]):
			known = false
		default:
			b, err := l.readWhole(name, indexBytesMax)
			if err != nil {
				return false, err
			}
			if crc := scrub.Update(0, b); crc != sum[kind].CRC {
				return false, fmt.Errorf("%s has checksum %08x, and %08x was written: %w", name, crc, sum[kind].CRC, index.ErrCorrupt)
			}
		}
	}
	return known, nil
}

// hadAborted reports whether a segment had a transaction index when its
// checksums were made.
func (l *Log) hadAborted(s *logSegment) bool {
	if l.o.Sum == nil {
		return false
	}
	sum, ok := l.o.Sum(s.base)
	return ok && sum[scrub.TxnIndex].SizeBytes > 0
}

// mendIndexes builds those indexes of closed segments again that a scrub found to
// be wrong. It runs on the lane.
func (l *Log) mendIndexes() {
	for i, s := range l.pub.segments {
		if i+1 == len(l.pub.segments) || !s.mend.Load() {
			continue
		}
		err := s.opening.pass(func() bool { return !s.mend.Load() }, func() error {
			s.mend.Store(false) // one try
			ix, err := l.openIndexes(s)
			if err != nil && !errors.Is(err, index.ErrCorrupt) {
				return err
			}
			old := s.ix.Load()
			if old != nil {
				ix.aborted = old.aborted // how large it is was told when the folder was listed, and it has grown
			}
			if err := l.rebuildIndexes(s, ix, s.sizeBytes); err != nil {
				return err
			}
			if err := l.compareAborted(s, ix, s.sizeBytes); err != nil {
				return err
			}
			if err := l.rewriteAborted(s, ix); err != nil {
				return err
			}
			s.ix.Store(ix)
			if old != nil {
				_ = errors.Join(old.offsets.File().Close(), old.times.File().Close()) // their readers read on
			}
			s.doubted.Store(false)
			return nil
		})
		if passing(err) {
			s.mend.Store(true)
		}
		var unreadable *unreadableError
		switch {
		case err == nil:
			l.log().Warn("indexes were rebuilt: they did not fit their log file", "segment", s.log.Path())
		case errors.As(err, &unreadable):
			l.log().Error("indexes that do not fit their log file cannot be rebuilt: it cannot be read", "segment", s.log.Path(), "reason", err)
		default:
			l.sideWriteFailed("rebuild indexes of "+s.log.Path(), err)
		}
	}
}

// rewriteAborted makes the file of a transaction index what is known of it.
func (l *Log) rewriteAborted(s *logSegment, ix *indexes) error {
	list, err := ix.aborted.List()
	if err != nil {
		return err
	}
	if _, err := l.o.FS.Stat(ix.aborted.File().Path()); len(list) == 0 && missing(err) {
		return nil
	}
	return l.replaceAborted(s, ix, list)
}
