// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/cluster/image"
	"gregor/config"
	"gregor/coordinator/group"
	"gregor/coordinator/grouprec"
	"gregor/coordinator/shard"
	"gregor/wire/batch"
)

// chunkLog is a log in memory that is read in chunks and never written.
type chunkLog struct {
	chunks [][]byte
	at     int
}

func (l *chunkLog) Append([]byte, kafka.LeaderEpoch) (kafka.Offset, error) { return 0, nil }
func (l *chunkLog) AppendMarker([]byte, int8, kafka.LeaderEpoch) (kafka.Offset, error) {
	return 0, nil
}

func (l *chunkLog) Read(buf []byte, _ kafka.Offset, _ int) ([]byte, error) {
	if l.at == len(l.chunks) {
		return nil, nil
	}
	l.at++
	return append(buf, l.chunks[l.at-1]...), nil
}

func (l *chunkLog) Bounds() (start, end kafka.Offset)                       { return 0, 0 }
func (l *chunkLog) Committed(kafka.Offset, kafka.LeaderEpoch) (bool, error) { return true, nil }
func (l *chunkLog) Await(*park.Entry, kafka.Offset)                         {}
func (l *chunkLog) Forget(*park.Entry)                                      {}
func (l *chunkLog) BatchBytesMax() int                                      { return 1 << 20 }

// BenchmarkGroupsLoad loads 1,000,000 commits, of 100 groups in 1,000 partitions
// each ten times over, into the group coordinator.
func BenchmarkGroupsLoad(b *testing.B) {
	const records, each = 1_000_000, 10
	c, _, err := config.Load(config.Sources{})
	if err != nil {
		b.Fatal(err)
	}
	log := &chunkLog{}
	var build batch.Builder
	var chunk []byte
	for i := 0; i < records; i += each {
		build.Begin(batch.NoProducer(kafka.Offset(i), 1))
		for j := i; j < i+each; j++ {
			k := grouprec.OffsetCommitKey{Group: fmt.Sprintf("a-group-of-some-length-%d", j%100), Topic: "a-topic-of-some-length", Partition: kafka.PartitionID(j / 100 % 1000)}
			v := grouprec.OffsetCommitValue{Offset: kafka.Offset(j), LeaderEpoch: 1, CommitTimestamp: int64(j)}
			build.Add(1000, k.Append(nil), v.Append(nil))
		}
		if chunk, err = build.Finish(chunk, nil); err != nil {
			b.Fatal(err)
		}
		if len(chunk) > 5<<20 || i+each == records {
			log.chunks, chunk = append(log.chunks, chunk), nil
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		log.at = 0
		loaded := make(chan struct{})
		s := shard.New(shard.Options[groupMachine, *groupOut]{
			Name: kafka.OffsetsTopic, NewOutput: func() *groupOut { return &groupOut{} },
			New: func(kafka.PartitionID) groupMachine {
				return groupMachine{group.New(groupOptions(c, 1, image.Empty, &uuids{}))}
			},
			Open:    func(context.Context, kafka.PartitionID, kafka.LeaderEpoch) (shard.Log, error) { return log, nil },
			Refresh: func(groupMachine, int64, *groupOut) { close(loaded) },
			Logger:  slog.New(slog.DiscardHandler), Now: time.Now,
		})
		s.Elect(0, 1)
		<-loaded
		if n := s.Stats().LoadedRecordsTotal; n != records {
			b.Fatalf("%d records", n)
		}
		s.Close()
	}
}
