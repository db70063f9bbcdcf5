// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"gregor/base/kafka"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// Problem is something that is not as it should be.
type Problem struct {
	File     string `json:"file"`
	PosBytes int64  `json:"position"`
	Reason   string `json:"reason"`
}

// Report is what a verification saw.
type Report struct {
	Segments, Batches int
	Records, Bytes    int64
	Problems          []Problem
}

func (r *Report) add(file string, posBytes int64, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{file, posBytes, fmt.Sprintf(format, args...)})
}

// addError notes damage, and passes on what is no damage.
func (r *Report) addError(err error) error {
	if c, ok := isCorrupt(err); ok {
		r.add(c.File, c.PosBytes, "%s", c.Reason)
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Verify reads the segments of a partition's folder whole: sizes, CRCs and
// offsets of the batches, what the indexes say of them, producer snapshots and
// checkpoints. The error is what kept it from reading, not what it found.
func (r *Report) Verify(folder string) error {
	segments, err := Segments(folder)
	if err != nil {
		return err
	}
	for i, base := range segments {
		end := kafka.Offset(math.MaxInt64)
		if i+1 < len(segments) {
			end = segments[i+1]
		}
		if err := r.segment(folder, base, end); err != nil {
			return err
		}
	}
	return r.snapshots(folder)
}

// at is where a batch begins.
type at struct {
	first, last kafka.Offset
	posBytes    int64
}

func (r *Report) segment(folder string, base, end kafka.Offset) error {
	path := filepath.Join(folder, segment.Name(base, segment.LogSuffix))
	r.Segments++
	var batches []at
	err := Walk(path, func(b *Batch) error {
		r.crc(path, b)
		if b.BaseOffset < base || b.LastOffset() >= end {
			r.add(path, b.PosBytes, "offsets %d to %d do not belong into the segment from %d to %d", b.BaseOffset, b.LastOffset(), base, end)
		}
		batches = append(batches, at{b.BaseOffset, b.LastOffset(), b.PosBytes})
		return nil
	})
	if err := r.addError(err); err != nil {
		return err
	}
	return errors.Join(r.offsetIndex(folder, base, batches), r.timeIndex(folder, base, batches), r.txnIndex(folder, base))
}

// crc counts a batch and checks it.
func (r *Report) crc(path string, b *Batch) {
	r.Batches++
	r.Records += int64(b.Count)
	r.Bytes += int64(len(b.Bytes))
	if err := batch.VerifyCRC(b.Bytes); err != nil {
		r.add(path, b.PosBytes, "%v", err)
	}
}

func (r *Report) offsetIndex(folder string, base kafka.Offset, batches []at) error {
	path := filepath.Join(folder, segment.Name(base, segment.IndexSuffix))
	list, err := Offsets(path, base)
	if err != nil {
		return r.addError(err)
	}
	for i, e := range list {
		pos := int64(i) * 8
		found := sort.Search(len(batches), func(k int) bool { return batches[k].posBytes >= e.Position })
		switch {
		case i > 0 && (e.Offset <= list[i-1].Offset || e.Position <= list[i-1].Position):
			r.add(path, pos, "entry %d (offset %d, position %d) does not rise", i, e.Offset, e.Position)
		case found == len(batches) || batches[found].posBytes != e.Position:
			r.add(path, pos, "entry %d: no batch begins at position %d", i, e.Position)
		case e.Offset < batches[found].first:
			r.add(path, pos, "entry %d: offset %d lies before the batch at position %d, which begins at %d", i, e.Offset, e.Position, batches[found].first)
		}
	}
	return nil
}

func (r *Report) timeIndex(folder string, base kafka.Offset, batches []at) error {
	path := filepath.Join(folder, segment.Name(base, segment.TimeIndexSuffix))
	list, err := Times(path, base)
	if err != nil {
		return r.addError(err)
	}
	last := base - 1
	if n := len(batches); n > 0 {
		last = batches[n-1].last
	}
	for i, e := range list {
		switch {
		case i > 0 && (e.Timestamp <= list[i-1].Timestamp || e.Offset < list[i-1].Offset):
			r.add(path, int64(i)*12, "entry %d (timestamp %d, offset %d) does not rise", i, e.Timestamp, e.Offset)
		case e.Offset > last && e.Timestamp >= 0:
			r.add(path, int64(i)*12, "entry %d: offset %d lies behind the segment's last, %d", i, e.Offset, last)
		}
	}
	return nil
}

func (r *Report) txnIndex(folder string, base kafka.Offset) error {
	_, err := Aborted(filepath.Join(folder, segment.Name(base, segment.TxnIndexSuffix)), base)
	return r.addError(err)
}

// snapshotBytesMax bounds a producer snapshot: some ten million producers.
const snapshotBytesMax = 1 << 30

func (r *Report) snapshots(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if strings.HasSuffix(e.Name(), ".checkpoint") { // of the metadata log
			if err := r.addError(Walk(path, func(b *Batch) error { r.crc(path, b); return nil })); err != nil {
				return err
			}
			continue
		}
		if _, suffix, ok := segment.ParseName(e.Name()); !ok || suffix != segment.SnapshotSuffix {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() > snapshotBytesMax {
			r.add(path, 0, "a snapshot of %d bytes", info.Size())
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var s prodstate.State
		if err := s.LoadSnapshot(b, 0, math.MaxInt64); err != nil {
			r.add(path, 0, "%v", err)
		}
	}
	return nil
}
