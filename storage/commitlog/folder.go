// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
)

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
			return nil, l.notCreated(dir, err)
		}
		l.lane.dirUnsynced = true
	} else if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	l.mu.Lock()
	l.pub.made = true
	l.mu.Unlock()
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

// removeFiles renames the files of a segment that left the log to Kafka's
// .deleted names and hands them over for removal. Readers that hold them read
// on; one that opens its indexes is waited for.
func (l *Log) removeFiles(s *logSegment) error {
	names := []string{segment.LogSuffix, segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix, segment.SnapshotSuffix}
	dir := l.dir()
	_ = s.opening.alone(func() error {
		if s.retired { // this is another try
			return nil
		}
		for _, f := range s.files() {
			f.Retire(f.Path() + segment.DeletedSuffix)
		}
		s.retired = true
		return nil
	})
	delayMs := l.config().FileDeleteDelayMs
	var errs []error
	for _, suffix := range names {
		path := filepath.Join(dir, segment.Name(s.base, suffix))
		to := path + segment.DeletedSuffix
		err := l.o.FS.Rename(path, to)
		if missing(err) {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete segment: %w", err))
			break // the log file comes first: it is there as long as anything is
		}
		if l.o.DeleteLater != nil {
			l.o.DeleteLater(to, time.Duration(delayMs)*time.Millisecond)
		} else if err := l.o.FS.Remove(to); err != nil {
			errs = append(errs, fmt.Errorf("delete segment: %w", err))
		}
	}
	errs = append(errs, s.log.Close())
	if ix := s.ix.Load(); ix != nil {
		for _, f := range ix.files() {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
