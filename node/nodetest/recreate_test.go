// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// A crash between the commit of a deletion and the renaming of the folders: a
// topic that was created again under the name finds them in its way.
func TestATopicCreatedAgainIsOnlineAfterACrash(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t)
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var old ledger
		old.produce(ctx, t, c, 5)
		disk.Add(vfs.Rule{Ops: vfs.OpRename, Path: "/t-", Err: syscall.ENOSPC})
		if _, err := kadm.NewClient(c).DeleteTopic(ctx, "t"); err != nil {
			t.Fatal(err)
		}
		createTopic(ctx, t, c, nil)
		c.Close()
		n.Crash()
		n.Up()
		var l ledger
		c = n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		l.produce(ctx, t, c, 5)
		l.check(ctx, t, n)
		strays := 0
		entries, err := n.Disk.ReadDir("/data")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name, "t-") && strings.HasSuffix(e.Name, "-stray") {
				strays++
			}
		}
		if strays != partitions {
			t.Errorf("%d folders of the old topic were kept, want %d", strays, partitions)
		}
		c.Close()
		n.Stop()
	})
}
