// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRetention lets retention work on the same segments everywhere: a record
// for each hour, each in a segment of its own.
func TestRetention(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	own := []allowance{{step: `CreateTopics/.*`, path: `.*Configs\.(len|order)|.*Configs\[gregor\..*`, reason: "keys of gregor's own"}}
	found := &ledger{allowed: own, used: make([]bool, len(own)), failed: map[string][]string{}}
	defer found.finish(t)
	l := start(t, found, "log.retention.ms=-1", "log.retention.check.interval.ms=50", "log.initial.task.delay.ms=0")
	l.run(chapter{"retention", l.retention})
}

const hourMs = 3600_000

func (l *list) retention() {
	nowMs := time.Now().UnixMilli()
	const records = 10
	// hours fills a topic; one of the records may be of another time.
	hours := func(topic string, odd int, oddMs int64, configs ...config) {
		l.topic(topic, 1, append(configs, config{"segment.ms", "1"})...)
		for i := range records {
			ms := nowMs - (records-int64(i))*hourMs
			if i == odd {
				ms = nowMs + oddMs
			}
			l.last(topic, fmt.Sprint(i), of(spec{timestamp: ms}))
		}
	}
	alter := func(topic, key, value string) {
		l.one(fmt.Sprintf("IncrementalAlterConfigs/%s/%s=%s", topic, key, value), func(*site) kmsg.Request {
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.Version = 1
			r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: ofTopic, ResourceName: topic}
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Value: &value})
			req.Resources = append(req.Resources, r)
			return req
		})
	}
	earliest := func(topic string) *kmsg.ListOffsetsRequest {
		req := listing(-1, 0, offsetOf{topic: topic, timestamp: -2})
		req.Version = 5
		return req
	}
	// starts waits until the log begins there, and then for a few passes more.
	starts := func(topic string, at int64) {
		l.until(earliest(topic), func(r kmsg.Response) bool {
			return r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset >= at
		})
		time.Sleep(300 * time.Millisecond)
		l.one(fmt.Sprintf("ListOffsets/%s/%d", topic, at), func(*site) kmsg.Request { return earliest(topic) })
		l.until(earliest(topic), func(r kmsg.Response) bool {
			if got := r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].Offset; got != at {
				l.t.Errorf("%s begins at %d, want %d", topic, got, at)
			}
			return true
		})
	}
	look := func(topic string, at int64) {
		for _, ts := range []int64{-1, -2, -3, -4, 0, nowMs - 5*hourMs} {
			l.each(keyListOffsets, fmt.Sprintf("ListOffsets/%s/%d/time %d", topic, at, min(ts, 1)), func(*site, int16) kmsg.Request {
				return listing(-1, 0, offsetOf{topic: topic, timestamp: ts})
			})
		}
		for _, off := range []int64{0, at - 1, at, records, records + 1} {
			l.read(fmt.Sprintf("%s/%d/at %d", topic, at, off), nil, part{topic: topic, offset: off})
		}
	}

	hours("time", -1, 0)
	starts("time", 0)
	alter("time", "retention.ms", fmt.Sprint(5*hourMs+hourMs/2))
	starts("time", 5)
	look("time", 5)
	alter("time", "retention.ms", "1")
	starts("time", records)
	look("time", records)
	l.each(keyProduce, "Produce/time", func(s *site, v int16) kmsg.Request {
		return producing(v, "time", s.id("time"), 0, -1, of(spec{timestamp: nowMs + 1800_000}))
	})
	starts("time", records)

	size := int64(len(of(spec{timestamp: nowMs})))
	hours("size", -1, 0)
	for _, step := range []struct{ bytes, at int64 }{{records * size, 0}, {4*size + 1, 5}, {4 * size, 6}, {1, 9}} {
		alter("size", "retention.bytes", fmt.Sprint(step.bytes))
		starts("size", step.at)
	}
	look("size", 9)
	alter("size", "retention.bytes", "0")
	starts("size", records)

	// A record of the future holds its segment. Those behind it are older, and so
	// begin none.
	hours("future", 4, hourMs/2)
	alter("future", "retention.ms", "1")
	starts("future", 4)
	look("future", 4)

	hours("at-once", -1, 0)
	alter("at-once", "retention.ms", "0")
	starts("at-once", records)

	// What counts is the time at which a record came, whatever it was sent with.
	hours("arrived", -1, 0, config{"message.timestamp.type", "LogAppendTime"}, config{"retention.ms", fmt.Sprint(hourMs)})
	starts("arrived", 0)
	alter("arrived", "retention.ms", "1")
	starts("arrived", records)

	// Without a timestamp it is the time at which the file was last written.
	l.topic("timeless", 1, config{"segment.ms", "1"}, config{"retention.ms", fmt.Sprint(hourMs)})
	for i := range records {
		// The clock alone rolls this log, and two records may come in one millisecond.
		time.Sleep(20 * time.Millisecond)
		l.last("timeless", fmt.Sprint(i), of(spec{timestamp: -1}))
	}
	starts("timeless", 0)
	look("timeless", 0)
	alter("timeless", "retention.ms", "1")
	starts("timeless", records)

	// Nothing is tiered, so what is local is all that there is.
	hours("local", -1, 0, config{"local.retention.ms", "1"}, config{"local.retention.bytes", "1"}, config{"retention.ms", fmt.Sprint(100 * hourMs)}, config{"retention.bytes", "100000"})
	starts("local", 0)

	hours("compacted", -1, 0, config{"cleanup.policy", "compact"}, config{"retention.ms", "1"}, config{"retention.bytes", "1"}, config{"min.cleanable.dirty.ratio", "1"})
	starts("compacted", 0)
	alter("compacted", "cleanup.policy", "compact,delete")
	starts("compacted", records)

	hours("nothing", -1, 0, config{"cleanup.policy", ""}, config{"retention.ms", "1"}, config{"retention.bytes", "1"})
	starts("nothing", 0)
	l.each(keyDeleteRecords, "DeleteRecords/nothing", func(*site, int16) kmsg.Request {
		p := kmsg.DeleteRecordsRequestTopicPartition{Offset: 3}
		return &kmsg.DeleteRecordsRequest{TimeoutMillis: aMinute, Topics: []kmsg.DeleteRecordsRequestTopic{{Topic: "nothing", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{p}}}}
	})
	starts("nothing", 3)
	look("nothing", 3)
}
