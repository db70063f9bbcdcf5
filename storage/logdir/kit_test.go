// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"fmt"
	"log/slog"
	"path"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

var topicID = kafka.TopicID{1, 2, 3}

func options(fsys vfs.FS) Options {
	return Options{
		FS: fsys, Path: "/data", Files: segment.NewFiles(fsys, 100), NodeID: 1, ClusterID: "cluster",
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}
}

func open(t *testing.T, fsys vfs.FS) *Dir {
	t.Helper()
	d, err := Open(options(fsys))
	ok(t, err)
	t.Cleanup(d.Kill)
	return d
}

func tp(topic string, partition int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionID(partition)}
}

func openLog(t *testing.T, d *Dir, p kafka.TopicPartition) *commitlog.Log {
	t.Helper()
	log, err := d.OpenLog(p, topicID, commitlog.Config{})
	ok(t, err)
	return log
}

func appendTo(log *commitlog.Log, value string) error { return appendValue(log, value, 0) }

func appendIn(t *testing.T, log *commitlog.Log, epoch kafka.LeaderEpoch) {
	t.Helper()
	ok(t, appendValue(log, "value", epoch))
}

func appendValue(log *commitlog.Log, value string, epoch kafka.LeaderEpoch) error {
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	b.Add(1000, []byte("key"), []byte(value))
	bytes, err := b.Finish(nil, nil)
	if err != nil {
		return err
	}
	a := &commitlog.Append{Batches: bytes, ExpectedEpoch: kafka.NoLeaderEpoch}
	log.Append(a, epoch)
	log.AdvanceHighWatermark(log.Tail().LogEnd)
	return a.Err
}

func appendSome(t *testing.T, log *commitlog.Log, n int) {
	t.Helper()
	for i := range n {
		ok(t, appendTo(log, fmt.Sprint("value ", i)))
	}
}

// use makes the folder of a new log.
func use(t *testing.T, log *commitlog.Log) {
	t.Helper()
	if _, err := log.Segments(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, fsys vfs.FS) []string {
	t.Helper()
	infos, err := fsys.ReadDir("/data")
	ok(t, err)
	var all []string
	for _, i := range infos {
		all = append(all, i.Name)
	}
	return all
}

func fill(t testing.TB, fsys vfs.FS, partitions int) {
	t.Helper()
	d, err := Open(options(fsys))
	if err != nil {
		t.Fatal(err)
	}
	for i := range partitions {
		log, err := d.OpenLog(tp("orders", i), topicID, commitlog.Config{})
		if err == nil {
			err = appendTo(log, "x")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
}

// copyLog copies the files of orders-0 and the checkpoints.
func copyLog(t *testing.T, from, to vfs.FS) {
	t.Helper()
	for _, dir := range []string{"/data/orders-0", "/data"} {
		infos, err := from.ReadDir(dir)
		ok(t, err)
		for _, info := range infos {
			if info.IsDir() || info.Name == manifestFile || info.Name == markerFile || info.Name == lockFile {
				continue
			}
			b, err := vfs.ReadFile(from, path.Join(dir, info.Name), 1<<20)
			ok(t, err)
			ok(t, vfs.WriteFileAtomic(to, path.Join(dir, info.Name), b))
		}
	}
}
