// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/broker/call"
	"gregor/storage/logdir"
)

// DescribeLogDirs, versions 1 to 5: what this broker's directories hold, and
// the room that is left to producers (from version 4). A directory that is offline says so
// and nothing else. No log is ever a future one: logs are not moved between
// directories yet.

// LogDir is a log directory as clients see it.
type LogDir struct {
	Path string // absolute
	Dir  Directory
}

// Directory is what DescribeLogDirs asks of a directory.
type Directory interface {
	ID() kafka.DirectoryID
	Offline() error
	Usage() (vfs.Usage, error)
	// ReserveBytes is the room that producers leave.
	ReserveBytes() int64
	Logs() []logdir.Found
}

var _ Directory = (*logdir.Dir)(nil)

func (a *API) handleDescribeLogDirs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	wanted := wantedLogs(decoded.(*kmsg.DescribeLogDirsRequest))
	var cordoned []kafka.DirectoryID
	if b := a.image().Broker(a.d.NodeID); b != nil {
		cordoned = b.CordonedLogDirs
	}
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	for i := range a.d.Dirs {
		d := &a.d.Dirs[i]
		r := kmsg.NewDescribeLogDirsResponseDir()
		r.Dir = d.Path
		if usage, err := usage(d.Dir); err != nil {
			r.ErrorCode = int16(a.code(c, err))
		} else {
			r.TotalBytes, r.UsableBytes = usage.TotalBytes, max(usage.FreeBytes-d.Dir.ReserveBytes(), 0)
			r.Topics = a.logsIn(d.Dir, wanted)
			r.IsCordoned = slices.Contains(cordoned, d.Dir.ID())
		}
		resp.Dirs = append(resp.Dirs, r)
	}
	return a.answer(c, resp)
}

func usage(d Directory) (vfs.Usage, error) {
	if err := d.Offline(); err != nil {
		return vfs.Usage{}, err
	}
	return d.Usage()
}

// wantedLogs is the request's filter; nil is all.
func wantedLogs(req *kmsg.DescribeLogDirsRequest) map[kafka.TopicPartition]bool {
	if req.Topics == nil {
		return nil
	}
	wanted := make(map[kafka.TopicPartition]bool)
	for i := range req.Topics {
		for _, id := range req.Topics[i].Partitions {
			wanted[kafka.TopicPartition{Topic: req.Topics[i].Topic, Partition: kafka.PartitionID(id)}] = true
		}
	}
	return wanted
}

// logsIn describes the logs of a directory that are in use, by topic.
func (a *API) logsIn(d Directory, wanted map[kafka.TopicPartition]bool) []kmsg.DescribeLogDirsResponseDirTopic {
	var out []kmsg.DescribeLogDirsResponseDirTopic
	place := make(map[string]int)
	for _, f := range d.Logs() {
		if wanted != nil && !wanted[f.TopicPartition] {
			continue
		}
		p := a.d.Table.Get(f.TopicID, f.TopicPartition.Partition)
		if p == nil {
			continue // it is being deleted, or does not belong here
		}
		tail, ok := p.Tail()
		if !ok {
			continue
		}
		at, seen := place[f.TopicPartition.Topic]
		if !seen {
			at = len(out)
			place[f.TopicPartition.Topic] = at
			t := kmsg.NewDescribeLogDirsResponseDirTopic()
			t.Topic = f.TopicPartition.Topic
			out = append(out, t)
		}
		r := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		r.Partition, r.Size = int32(f.TopicPartition.Partition), tail.SizeBytes
		r.OffsetLag = max(int64(tail.HighWatermark-tail.LogEnd), 0)
		out[at].Partitions = append(out[at].Partitions, r)
	}
	return out
}
