// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"cmp"
	"path/filepath"
	"slices"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// Lost is a partition that held records at the last clean stop, and whose folder
// is gone. Only a manifest tells: whoever removes a folder leaves no other trace.
type Lost struct {
	TopicPartition kafka.TopicPartition
	Folder         string
	// LogEnd is the end of what was there.
	LogEnd kafka.Offset

	topicID kafka.TopicID
}

// LostSince looks for lost partitions in a directory that nobody uses, without
// changing it. It finds none where the last stop was not clean.
func LostSince(o Options) ([]Lost, error) {
	d := newDir(o)
	marker, err := readMarker(o.FS, o.Path)
	if err != nil {
		return nil, err
	}
	all, err := d.readManifest(marker)
	if err != nil {
		return nil, err
	}
	names, err := o.FS.ReadDir(o.Path)
	if err != nil {
		return nil, err
	}
	there := map[string]vfs.FileInfo{}
	for _, n := range names {
		there[n.Name] = n
	}
	var lost []Lost
	for tp, r := range all {
		if l, had := r.lost(o.Path, tp); had && !there[tp.String()].IsDir() {
			lost = append(lost, l)
		}
	}
	slices.SortFunc(lost, func(a, b Lost) int {
		x, y := a.TopicPartition, b.TopicPartition
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	return lost, nil
}

// lost is what is lost with a partition; none if it was never used.
func (r *remembered) lost(dir string, tp kafka.TopicPartition) (Lost, bool) {
	end := max(r.kept.recoveryPoint, r.kept.highWatermark)
	if r.hint != nil {
		end = max(end, r.hint.LogEnd)
	}
	return Lost{TopicPartition: tp, Folder: filepath.Join(dir, tp.String()), LogEnd: end, topicID: r.topicID}, end > 0
}

// tellLost says that a log begins anew although there was one of this topic. A
// topic that was deleted meanwhile, or created again under its name, is not
// missed.
func (d *Dir) tellLost(tp kafka.TopicPartition, topicID kafka.TopicID) {
	d.mu.Lock()
	l, found := d.lost[tp]
	delete(d.lost, tp)
	d.mu.Unlock()
	if found && (l.topicID == topicID || l.topicID == kafka.TopicID{}) {
		d.o.Logger.Error("the folder of a partition was removed since the last clean stop, and its records with it: it begins anew",
			"partition", tp.String(), "dir", d.o.Path, "lost_log_end", int64(l.LogEnd))
	}
}
