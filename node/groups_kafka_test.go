// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/config"
	"gregor/coordinator/group"
	"gregor/coordinator/shard"
)

// TestLogOfKafka loads testdata/offsets/kafka.log, which Apache Kafka 4.4 has
// written for groups of all kinds (test/interop, TestOffsetsLogOfKafka), and
// gives the offsets that Kafka gave.
func TestLogOfKafka(t *testing.T) {
	written, err := os.ReadFile("testdata/offsets/kafka.log")
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile("testdata/offsets/said.txt")
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := shard.New(shard.Options[groupMachine, *groupOut]{
			Name: kafka.OffsetsTopic, NewOutput: func() *groupOut { return &groupOut{} },
			New: func(kafka.PartitionID) groupMachine {
				return groupMachine{group.New(groupOptions(c, 1, image.Empty, &uuids{}))}
			},
			Open: func(context.Context, kafka.PartitionID, kafka.LeaderEpoch) (shard.Log, error) {
				return &chunkLog{chunks: [][]byte{written}}, nil
			},
			Logger: logger(t), Now: time.Now,
		})
		defer s.Close()
		s.Elect(0, 1)
		synctest.Wait()
		for line := range strings.Lines(string(said)) {
			id, rest, _ := strings.Cut(line, ": ")
			var partition int32
			var want int64
			if _, err := fmt.Sscanf(rest, "in-%d %d", &partition, &want); err != nil {
				t.Fatal(err)
			}
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Version = 9
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.Topics = id, []kmsg.OffsetFetchRequestGroupTopic{{Topic: "in", Partitions: []int32{partition}}}
			req.Groups = append(req.Groups, g)
			ticket := &shard.Ticket{}
			if err := s.Do(0, ticket, func(m groupMachine, nowMs int64, to shard.Token, out *groupOut) {
				m.OffsetFetch(nowMs, group.Caller{}, req, group.Token(to), &out.out)
			}); err != nil {
				t.Fatal(err)
			}
			resp, err, done := ticket.Result()
			if err != nil || !done {
				t.Fatalf("%s: %v", id, err)
			}
			if got := resp.(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Partitions[0].Offset; got != want {
				t.Errorf("%s: in-%d is at %d, Kafka says %d", id, partition, got, want)
			}
		}
	})
}
