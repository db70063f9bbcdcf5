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
	"gregor/storage/logdir"
)

// The metadata log in a directory of its own: with an identity under which the
// controller votes, no place for partitions, and the node's end when it fails.
func TestMetadataLogDirectoryOfItsOwn(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t, "log.dirs=/a,/b", "metadata.log.dir=/meta")
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 5)
		c.Close()
		n.Stop()
		n.Up()
		l.check(ctx, t, n)
		ids := map[string]string{}
		for _, dir := range []string{"/a", "/b", "/meta"} {
			p, found, err := logdir.ReadProperties(n.Disk, dir)
			if err != nil || !found {
				t.Fatalf("%s: %v", dir, err)
			}
			ids[p.DirectoryID.String()] = dir
			_, err = n.Disk.Stat(dir + "/__cluster_metadata-0")
			if (err == nil) != (dir == "/meta") {
				t.Errorf("metadata log in %s: %v", dir, err)
			}
		}
		if s := stateOf(ctx, t, n); len(ids) != 3 || len(s.dirs) != 2 {
			t.Errorf("ids %v, directories %v", ids, s.dirs)
		}
		disk.Add(vfs.Rule{Ops: vfs.OpSyncData, Path: "/meta", Err: syscall.EIO})
		c = n.Client()
		short, done := context.WithTimeout(ctx, 3*time.Second)
		_, _ = kadm.NewClient(c).CreateTopic(short, 1, 1, nil, "another")
		done()
		c.Close()
		select {
		case <-n.Failed():
		case <-time.After(time.Minute):
			t.Fatal("the node goes on without its metadata log")
		}
		n.Crash()
		disk.Clear()
		n.Up()
		l.check(ctx, t, n)
		n.Stop()
	})
}

// The directory that holds the metadata log fails by a partition's write: the
// node ends, as Kafka's does.
func TestDirectoryOfTheMetadataLogFails(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n, disk := faulty(t, twoDirs...)
		c := n.Client()
		createTopic(ctx, t, c, nil)
		c.Close()
		disk.Add(vfs.Rule{Ops: vfs.OpWrite, Path: "/a/t-", Err: syscall.EIO})
		for p := range partitions {
			_ = tryProduce(ctx, n, int32(p), 0)
		}
		select {
		case err := <-n.Failed():
			if !strings.Contains(err.Error(), "the directory of the metadata log is offline") {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("the node goes on")
		}
		n.Crash()
	})
}
