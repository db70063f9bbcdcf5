// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gregor/base/kafka"
	"gregor/storage/segment"
)

// Folder is a partition's folder.
type Folder struct {
	Path      string
	Topic     string
	Partition int32
	State     string // empty, or deleted, stray, future
}

// states of folders by the ends of their names.
var states = map[string]string{"-delete": "deleted", "-stray": "stray", "-future": "future"}

// parseFolder takes the name of a partition's folder apart.
func parseFolder(path string) (f Folder, ok bool) {
	f.Path = path
	name := filepath.Base(path)
	for suffix, state := range states {
		if rest, found := strings.CutSuffix(name, suffix); found {
			if dot := strings.LastIndexByte(rest, '.'); dot > 0 {
				name, f.State = rest[:dot], state
			}
		}
	}
	dash := strings.LastIndexByte(name, '-')
	if dash <= 0 {
		return f, false
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != name[dash+1:] {
		return f, false
	}
	f.Topic, f.Partition = name[:dash], int32(n)
	return f, true
}

// Folders lists the partitions of a log directory, by topic and partition.
func Folders(dir string) ([]Folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []Folder
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if f, ok := parseFolder(filepath.Join(dir, e.Name())); ok {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b Folder) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Path, b.Path))
	})
	return list, nil
}

// Segments lists the base offsets of the segments in a folder, in order.
func Segments(folder string) ([]kafka.Offset, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var list []kafka.Offset
	for _, e := range entries {
		if base, suffix, ok := segment.ParseName(e.Name()); ok && suffix == segment.LogSuffix && e.Type().IsRegular() {
			list = append(list, base)
		}
	}
	slices.Sort(list)
	return list, nil
}

// Usage is what a partition's folder takes.
type Usage struct {
	Segments   int
	LogBytes   int64 // of the segments
	IndexBytes int64 // of their indexes
	OtherBytes int64 // snapshots, checkpoints, files that wait for their deletion
}

// Total is the sum.
func (u *Usage) Total() int64 { return u.LogBytes + u.IndexBytes + u.OtherBytes }

// Add adds another folder's.
func (u *Usage) Add(o Usage) {
	u.Segments += o.Segments
	u.LogBytes += o.LogBytes
	u.IndexBytes += o.IndexBytes
	u.OtherBytes += o.OtherBytes
}

// UsageOf adds a folder's files up. One that vanishes meanwhile is not counted.
func UsageOf(folder string) (u Usage, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return u, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		_, suffix, _ := segment.ParseName(e.Name())
		switch suffix {
		case segment.LogSuffix:
			u.Segments++
			u.LogBytes += info.Size()
		case segment.IndexSuffix, segment.TimeIndexSuffix, segment.TxnIndexSuffix:
			u.IndexBytes += info.Size()
		default:
			u.OtherBytes += info.Size()
		}
	}
	return u, nil
}
