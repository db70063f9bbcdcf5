// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/scrub"
)

// keepSum keeps what was found out about a segment.
func (d *Dir) keepSum(k scrub.Key, sum scrub.Sum) {
	s := &d.scrubber
	s.mu.Lock()
	s.sums[k] = sum
	s.mu.Unlock()
	d.appendSums(scrub.AppendSum(nil, k, sum))
}

func (d *Dir) noteProgress(p scrub.Progress) {
	s := &d.scrubber
	s.mu.Lock()
	s.progress = p
	s.mu.Unlock()
	d.appendSums(scrub.AppendProgress(nil, p))
}

// appendSums writes a record. Nothing depends on it, so nothing is synced, and a
// failure only costs that the work is done again.
func (d *Dir) appendSums(b []byte) {
	s := &d.scrubber
	if s.broken || d.Offline() != nil {
		return
	}
	if s.file == nil || s.atBytes == 0 || s.records > 2*len(s.sums)+sumGarbageMin {
		d.writeSums()
		return
	}
	_, err := s.file.WriteAt(b, s.atBytes)
	s.atBytes += int64(len(b))
	s.records++
	d.sumsFailed(err)
}

// writeSums writes the file anew, from what is in memory.
func (d *Dir) writeSums() {
	s := &d.scrubber
	b := scrub.AppendHead(nil)
	s.mu.Lock()
	for k, sum := range s.sums {
		b = scrub.AppendSum(b, k, sum)
	}
	b = scrub.AppendProgress(b, s.progress)
	s.records = len(s.sums) + 1
	s.mu.Unlock()
	if s.file != nil {
		_ = s.file.Close() // a cache
		s.file = nil
	}
	path := d.path(sumFile)
	f, err := d.o.FS.Open(path+".tmp", vfs.ReadWrite|vfs.Create|vfs.Truncate, 0o644)
	if err == nil {
		if _, err = f.WriteAt(b, 0); err == nil {
			err = d.o.FS.Rename(path+".tmp", path)
		}
		if err != nil {
			_ = f.Close()
		} else {
			s.file, s.atBytes = f, int64(len(b))
		}
	}
	d.sumsFailed(err)
}

func (d *Dir) sumsFailed(err error) {
	if err != nil && !d.scrubber.broken {
		d.scrubber.broken = true
		d.o.Logger.Warn("checksums of segments are not written until the next start", "file", d.path(sumFile), "err", err)
	}
}

// forgetSums drops, after a pass, what is known of segments that are gone: those
// of partitions that are gone, and those that a pass over the whole of their log
// has not met.
func (d *Dir) forgetSums(whole map[kafka.TopicPartition]bool, met map[scrub.Key]bool) {
	s := &d.scrubber
	d.mu.Lock()
	here := make(map[kafka.TopicPartition]bool, len(d.logs))
	for tp := range d.logs {
		here[tp] = true
	}
	d.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.sums {
		if !here[k.TopicPartition] || whole[k.TopicPartition] && !met[k] {
			delete(s.sums, k)
		}
	}
}
