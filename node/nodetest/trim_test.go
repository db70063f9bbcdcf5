// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// What DeleteRecords took stays gone over a stop, and over a power cut once the
// log start was checkpointed; what it left is there.
func TestTrimmedTopicsStayTrimmed(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 30)
		admin := kadm.NewClient(c)
		trim := func(partition int32, to int64) {
			t.Helper()
			var below kadm.Offsets
			below.AddOffset("t", partition, to, -1)
			r, err := admin.DeleteRecords(ctx, below)
			if err == nil {
				err = r.Error()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		stands := func(what string, want [partitions][2]int64) {
			t.Helper()
			starts, err := admin.ListStartOffsets(ctx, "t")
			if err != nil {
				t.Fatal(err)
			}
			ends, err := admin.ListEndOffsets(ctx, "t")
			if err != nil {
				t.Fatal(err)
			}
			for p := range int32(partitions) {
				start, _ := starts.Lookup("t", p)
				end, _ := ends.Lookup("t", p)
				if start.Offset != want[p][0] || end.Offset != want[p][1] {
					t.Errorf("%s: partition %d goes from %d to %d, want %v", what, p, start.Offset, end.Offset, want[p])
				}
			}
		}
		trim(0, 10)
		trim(1, 30)
		n.Stop()
		n.Up()
		stands("after a stop", [partitions][2]int64{{10, 30}, {30, 30}, {0, 30}})
		trim(0, 20)
		l.produce(ctx, t, c, 1)
		time.Sleep(61 * time.Second)
		n.PowerCut(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
		n.Up()
		stands("after a power cut", [partitions][2]int64{{20, 31}, {30, 31}, {0, 31}})
		n.Crash()
		n.Up()
		stands("after a crash", [partitions][2]int64{{20, 31}, {30, 31}, {0, 31}})
		c.Close()
		n.Stop()
	})
}
