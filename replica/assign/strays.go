// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/storage/logdir"
)

// straysOf gives logs that the image does not place on this broker: their topic
// was deleted, or given to others, while this broker was away.
func straysOf(found []logdir.Found, img *image.Image, self kafka.NodeID) []logdir.Found {
	var strays []logdir.Found
	for _, f := range found {
		t, p := placed(f.TopicPartition, img, self)
		if p == nil || !f.TopicID.IsZero() && f.TopicID != t.ID {
			strays = append(strays, f)
		}
	}
	return strays
}

// placed finds a partition by name, if the image places it on this broker.
func placed(tp kafka.TopicPartition, img *image.Image, self kafka.NodeID) (*image.Topic, *image.Partition) {
	t := img.Topic(tp.Topic)
	if t == nil {
		return nil, nil
	}
	if p := t.Partition(tp.Partition); p != nil && p.HasReplica(self) {
		return t, p
	}
	return nil, nil
}

// SetAside frees the names of the logs in a directory that the image does not
// place here. Their data is kept: metadata that is missing is no reason to lose
// data. Where a topic was deleted and created again just before a crash, the
// new one has found its name taken, and its partitions are opened now.
func (x *Executor) SetAside(dir int, found []logdir.Found, img *image.Image) {
	x.homes.settled = true
	var again Plan
	for _, s := range straysOf(found, img, x.o.Self) {
		x.homes.aside(s.TopicPartition, dir)
		x.post(dir, s.TopicPartition, func() {
			x.o.Logger.Warn("the metadata does not place this log here, its folder is set aside",
				"partition", s.TopicPartition.String(), "topic_id", s.TopicID.String(), "folder", s.Folder)
			if err := x.o.Dirs[dir].SetAside(s.TopicPartition); err != nil {
				x.o.Logger.Error("set a stray log aside", "partition", s.TopicPartition.String(), "err", err)
			}
		})
		if t, p := placed(s.TopicPartition, img, x.o.Self); p != nil {
			again.place(t.ID, s.TopicPartition, p, x.o.Self)
		}
	}
	x.Follow(again.Follow, img)
	x.Lead(again.Lead, img)
}
