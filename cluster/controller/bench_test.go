// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"testing"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// BenchmarkBrokerStop is what a lone broker with 100,000 partitions costs the
// controller when it stops and starts: the decisions alone, and with replay.
func BenchmarkBrokerStop(b *testing.B) {
	w := newWorld(b)
	w.run("activate")
	w.run("brokers 1")
	d := image.NewDelta(w.img)
	for n := range 1000 {
		id := kafka.TopicID{byte(n), byte(n >> 8), 1}
		_ = d.Replay(&metarec.Topic{Name: fmt.Sprint("topic-", n), TopicID: id})
		for p := range kafka.PartitionID(100) {
			_ = d.Replay(&metarec.Partition{
				TopicID: id, PartitionID: p, Leader: 1, Replicas: []kafka.NodeID{1}, ISR: []kafka.NodeID{1}, Directories: []kafka.DirectoryID{uuid(1)},
			})
		}
	}
	img := d.Apply(200_000, 1)
	b.Run("decide", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if out := fence(img, &w.env, 1); len(out.Records) != 100_001 {
				b.Fatal(len(out.Records))
			}
		}
	})
	out := fence(img, &w.env, 1)
	b.Run("replay", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := image.NewDelta(img)
			for _, rec := range out.Records {
				if err := d.Replay(rec); err != nil {
					b.Fatal(err)
				}
			}
			d.Apply(300_001, 1)
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, rec := range out.Records {
				metarec.Marshal(nil, rec, MetadataVersion44IV2)
			}
		}
	})
}
