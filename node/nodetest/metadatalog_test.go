// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"path"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Each start writes two records for each partition in a few batches. However
// often a node is killed or stopped, its metadata log does not grow beyond what
// the newest checkpoint allows, and what only older ones need goes.
func TestRestartsWithoutEndKeepTheMetadataLogSmall(t *testing.T) {
	const bytesBetween = 20_000
	for name, stop := range map[string]func(*Node){"killed": (*Node).Crash, "stopped": (*Node).Stop} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 100*time.Hour, func(ctx context.Context, t *testing.T) {
				n := Start(t, Options{Set: []string{"metadata.log.max.record.bytes.between.snapshots=20000"}})
				c := n.Client()
				if _, err := kadm.NewClient(c).CreateTopic(ctx, 100, 1, nil, "t"); err != nil {
					t.Fatal(err)
				}
				c.Close()
				for range 80 {
					time.Sleep(time.Minute) // what a start leaves to do
					stop(n)
					n.Up()
				}
				time.Sleep(time.Minute)
				files, checkpoints, total := 0, 0, int64(0)
				infos, err := n.Disk.ReadDir("/data/__cluster_metadata-0")
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range infos {
					files++
					total += i.SizeBytes
					if path.Ext(i.Name) == ".checkpoint" {
						checkpoints++
					}
				}
				t.Logf("%d files, %d checkpoints, %d bytes", files, checkpoints, total)
				// 20 checkpoints of 9 KB and what was written between them.
				if checkpoints < 10 || checkpoints > 20 || files > 2*checkpoints+4 || total > 20*(10_000+2*bytesBetween) {
					t.Errorf("%d files, %d of them checkpoints, %d bytes", files, checkpoints, total)
				}
			})
		})
	}
}
