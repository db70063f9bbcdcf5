// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
)

func logDirs(version int16, topics []kmsg.DescribeLogDirsRequestTopic) *kmsg.DescribeLogDirsRequest {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version, req.Topics = version, topics
	return req
}

func logsOf(topic string, partitions ...int32) kmsg.DescribeLogDirsRequestTopic {
	t := kmsg.NewDescribeLogDirsRequestTopic()
	t.Topic, t.Partitions = topic, partitions
	return t
}

func TestDescribeLogDirs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		id := n.topic("events", 3)
		n.topic("other", 1)
		c := n.dial()
		batch := records("a", "b")
		for range 2 {
			c.produce(13, "", id, 1, -1, slices.Clone(batch))
		}
		for v := int16(1); v <= 5; v++ {
			for _, q := range []struct {
				topics []kmsg.DescribeLogDirsRequestTopic
				want   map[string]int // partitions of each topic
			}{
				{nil, map[string]int{"events": 3, "other": 1}},
				{[]kmsg.DescribeLogDirsRequestTopic{}, map[string]int{}},
				{[]kmsg.DescribeLogDirsRequestTopic{logsOf("events", 1, 2, 7, -1), logsOf("nowhere", 0), logsOf("other")}, map[string]int{"events": 2}},
			} {
				resp := c.do(logDirs(v, q.topics)).(*kmsg.DescribeLogDirsResponse)
				if resp.ErrorCode != 0 || len(resp.Dirs) != 1 || resp.Dirs[0].Dir != "/data" || resp.Dirs[0].ErrorCode != 0 || resp.Dirs[0].IsCordoned {
					t.Fatalf("v%d: %+v", v, resp)
				}
				d := resp.Dirs[0]
				if room := d.TotalBytes > 0 && d.UsableBytes > 0 && d.UsableBytes <= d.TotalBytes; room != (v >= 4) {
					t.Errorf("v%d: %d of %d bytes usable", v, d.UsableBytes, d.TotalBytes)
				}
				got := map[string]int{}
				for _, topic := range d.Topics {
					got[topic.Topic] = len(topic.Partitions)
					for _, p := range topic.Partitions {
						want := int64(0)
						if topic.Topic == "events" && p.Partition == 1 {
							want = int64(2 * len(batch))
						}
						if p.Size != want || p.OffsetLag != 0 || p.IsFuture {
							t.Errorf("v%d %s: %+v, want %d bytes", v, topic.Topic, p, want)
						}
					}
				}
				if len(got) != len(q.want) || got["events"] != q.want["events"] || got["other"] != q.want["other"] {
					t.Errorf("v%d: %v, want %v", v, got, q.want)
				}
			}
		}
		// A directory that takes no new partitions says so.
		n.publish([]metarec.Record{&metarec.BrokerRegistrationChange{BrokerID: self, CordonedLogDirs: []kafka.DirectoryID{n.dir.ID()}}})
		if d := c.do(logDirs(5, nil)).(*kmsg.DescribeLogDirsResponse).Dirs[0]; !d.IsCordoned {
			t.Errorf("%+v", d)
		}
	})
}

// An offline directory is told as such, without its logs.
func TestDescribeLogDirsOffline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		fault := vfs.NewFault(vfs.NewMemory())
		n := start(t, func(s *setup) { s.fs = fault })
		id := n.topic("events", 1)
		c := n.dial()
		fault.Add(vfs.Rule{Ops: vfs.OpWrite, Path: "events-0", Err: syscall.EIO})
		if p := c.produce(13, "", id, 0, -1, records("x")); kafka.Code(p.ErrorCode) != kafka.KafkaStorageError {
			t.Fatal(kafka.Code(p.ErrorCode))
		}
		for v := int16(1); v <= 5; v++ {
			d := c.do(logDirs(v, nil)).(*kmsg.DescribeLogDirsResponse).Dirs[0]
			if kafka.Code(d.ErrorCode) != kafka.KafkaStorageError || d.Dir != "/data" || len(d.Topics) != 0 || d.TotalBytes != -1 || d.UsableBytes != -1 {
				t.Errorf("v%d: %+v", v, d)
			}
		}
	})
}
