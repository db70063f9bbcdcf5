// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/batch"
)

// inFlight is the Produce request of a producer's batch number seq, of a third
// of the least segment.bytes.
func inFlight(t *testing.T, id kadm.TopicID, seq int32) *kmsg.ProduceRequest {
	var b batch.Builder
	b.Begin(batch.Options{ProducerID: 4711, ProducerEpoch: 0, BaseSequence: seq})
	b.Add(time.Now().UnixMilli(), nil, make([]byte, 340<<10))
	records, err := b.Finish(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = records
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = "t", id, append(topic.Partitions, p)
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis, r.Topics = -1, 1000, append(r.Topics, topic)
	return r
}

// Five batches of a producer are in the log when the node ends, and its answers
// are lost: all five come again, and get the offsets that they have, although
// a segment was rolled, and a snapshot written, between them.
func TestFiveBatchesInFlightAreNeitherDoubledNorRefused(t *testing.T) {
	for name, end := range map[string]func(*Node){"killed": (*Node).Crash, "stopped": (*Node).Stop} {
		t.Run(name, func(t *testing.T) {
			bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
				n := Start(t, Options{Set: []string{"log.segment.bytes=1048576"}})
				c := n.Client()
				created, err := kadm.NewClient(c).CreateTopic(ctx, 1, 1, nil, "t")
				if err != nil {
					t.Fatal(err)
				}
				seq := int32(0)
				for range 4 {
					for again := range 2 {
						for i := range int32(5) {
							want := int64(seq + i)
							r, err := inFlight(t, created.ID, seq+i).RequestWith(ctx, c.Broker(1))
							if err != nil {
								t.Fatal(err)
							}
							p := r.Topics[0].Partitions[0]
							if err := kerr.ErrorForCode(p.ErrorCode); err != nil || p.BaseOffset != want {
								t.Fatalf("batch %d, time %d: offset %d, %v", want, again+1, p.BaseOffset, err)
							}
						}
						if again == 0 {
							end(n)
							n.Up()
						}
					}
					seq += 5
				}
				c.Close()
				n.Stop()
			})
		})
	}
}
