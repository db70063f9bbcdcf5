// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
	"gregor/wire/batch"
)

// commits is a machine that keeps the newest commit of each partition.
type commits struct {
	tally
	offsets map[grouprec.OffsetCommitKey]grouprec.OffsetCommitValue
}

func (m *commits) Replay(rec grouprec.Record, _ Origin) error {
	var k grouprec.OffsetCommitKey
	var v grouprec.OffsetCommitValue
	if err := k.Decode(rec.Key); err != nil {
		return err
	}
	if _, err := v.Decode(rec.Value); err != nil {
		return err
	}
	m.offsets[k] = v
	return nil
}

// chunks is a log of chunks that are read as they are.
type chunks struct {
	*memLog
	chunks [][]byte
	at     int
}

func (l *chunks) Read([]byte, kafka.Offset, int) ([]byte, error) {
	if l.at == len(l.chunks) {
		return nil, nil
	}
	l.at++
	return l.chunks[l.at-1], nil
}

// BenchmarkLoad loads 1,000,000 commits of 100 groups in 1,000 partitions, in
// batches of ten.
func BenchmarkLoad(b *testing.B) {
	const records, each = 1_000_000, 10
	log := &chunks{memLog: newMemLog()}
	var build batch.Builder
	var chunk []byte
	for i := 0; i < records; i += each {
		build.Begin(batch.NoProducer(kafka.Offset(i), 1))
		for j := i; j < i+each; j++ {
			k := grouprec.OffsetCommitKey{Group: fmt.Sprintf("a-group-of-some-length-%d", j%100), Topic: "a-topic-of-some-length", Partition: kafka.PartitionID(j / 100 % 1000)}
			v := grouprec.OffsetCommitValue{Offset: kafka.Offset(j), LeaderEpoch: 1, CommitTimestamp: int64(j)}
			build.Add(1000, k.Append(nil), v.Append(nil))
		}
		chunk, _ = build.Finish(chunk, nil)
		if len(chunk) > 5<<20 || i+each == records {
			log.chunks, chunk = append(log.chunks, chunk), nil
		}
	}
	for b.Loop() {
		log.at = 0
		loaded := make(chan struct{})
		s := New(Options[*commits, *output]{
			Name: "__test", NewOutput: func() *output { return &output{} },
			New: func(kafka.PartitionID) *commits {
				return &commits{offsets: map[grouprec.OffsetCommitKey]grouprec.OffsetCommitValue{}}
			},
			Open:    func(context.Context, kafka.PartitionID, kafka.LeaderEpoch) (Log, error) { return log, nil },
			Refresh: func(*commits, int64, *output) { close(loaded) },
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

// BenchmarkRead is an event that changes nothing: a heartbeat.
func BenchmarkRead(b *testing.B) {
	log := newMemLog()
	loaded := make(chan struct{})
	s := New(Options[*tally, *output]{
		Name: "__test", New: func(kafka.PartitionID) *tally { return newTally() }, NewOutput: func() *output { return &output{} },
		Open:    func(context.Context, kafka.PartitionID, kafka.LeaderEpoch) (Log, error) { return log, nil },
		Refresh: func(*tally, int64, *output) { close(loaded) },
		Logger:  slog.New(slog.DiscardHandler), Now: time.Now,
	})
	defer s.Close()
	s.Elect(0, 1)
	<-loaded
	resp := answer("")
	b.ReportAllocs()
	for b.Loop() {
		t := &Ticket{}
		if err := s.Do(0, t, func(_ *tally, _ int64, to Token, out *output) { out.replies = append(out.replies, replies{to, resp}) }); err != nil {
			b.Fatal(err)
		}
		if _, _, done := t.Result(); !done {
			b.Fatal("no reply")
		}
	}
}
