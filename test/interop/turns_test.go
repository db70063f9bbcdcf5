// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"path/filepath"
	"testing"

	"gregor/test/interop/kafka"
)

// TestKafkaAndGregorTakeTurns has gregor begin a directory, Apache Kafka go
// on with it, gregor again, Kafka again: each serves all that was written
// before it, at the same offsets, and writes more.
func TestKafkaAndGregorTakeTurns(t *testing.T) {
	t.Parallel()
	takeTurns(t, startGregor, startKafka)
}

// TestGregorTakesOverFromKafka is the way in: Kafka formatted and filled the
// directory.
func TestGregorTakesOverFromKafka(t *testing.T) {
	t.Parallel()
	takeTurns(t, startKafka, startGregor)
}

func takeTurns(t *testing.T, first, second func(*testing.T, string) *kafka.Node) {
	dir := filepath.Join(t.TempDir(), "data")
	all := variety(2000)
	n := first(t, dir)
	all.create(t, n.Address)
	all.write(t, n.Address, 0)
	all.verify(t, n.Address)
	identity := identify(t, n)
	n.Stop(t)
	for turn, start := range []func(*testing.T, string) *kafka.Node{second, first, second} {
		n := start(t, dir)
		t.Logf("turn %d: %s", turn+2, n.Name)
		if got := identify(t, n); got != identity {
			t.Fatalf("%s calls itself %+v, the first one was %+v", n.Name, got, identity)
		}
		all.verify(t, n.Address)
		before := 2000 + 300*turn
		all = all.grow(before + 300)
		all.write(t, n.Address, before)
		all.verify(t, n.Address)
		// A topic of each turn's own: metadata is written by both as well.
		own := content{"turn-" + string(rune('a'+turn)): {partitions: 2, count: 100, codec: all["plain"].codec}}
		own.create(t, n.Address)
		own.write(t, n.Address, 0)
		own.verify(t, n.Address)
		n.Stop(t)
	}
	dumpMetadata(t, dir)
}

// TestPartitionsThatNobodyUsedTakeTurns: gregor makes no folder for a partition
// before its first record, and Apache Kafka goes on with it all the same.
func TestPartitionsThatNobodyUsedTakeTurns(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	idle := content{"idle": {partitions: 3, count: 300, codec: variety(1)["plain"].codec}}
	n := startGregor(t, dir)
	idle.create(t, n.Address)
	n.Stop(t)
	n = startKafka(t, dir)
	idle.write(t, n.Address, 0)
	idle.verify(t, n.Address)
	n.Stop(t)
	n = startGregor(t, dir)
	idle.verify(t, n.Address)
	n.Stop(t)
}

// identity is what a cluster must keep through all of it.
type identity struct {
	cluster string
	node    int32
	topic   string // an id
}

func identify(t *testing.T, n *kafka.Node) identity {
	t.Helper()
	metadata, err := newAdmin(t, n.Address).Metadata(t.Context(), "plain")
	if err != nil {
		t.Fatal(err)
	}
	return identity{cluster: metadata.Cluster, node: metadata.Brokers[0].NodeID, topic: metadata.Topics["plain"].ID.String()}
}

// dumpMetadata reads the metadata log that both have written to.
func dumpMetadata(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "__cluster_metadata-0", "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no metadata log: %v", err)
	}
	checkpoints, err := filepath.Glob(filepath.Join(dir, "__cluster_metadata-0", "*.checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	reportComplaints(t, dump(t, append(files, checkpoints...), []string{"--cluster-metadata-decoder"}))
}
