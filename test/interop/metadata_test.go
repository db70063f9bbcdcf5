// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gregor/test/interop/kafka"
)

// TestSetAsideMetadataBesideKafka damages the metadata log of a stopped gregor:
// once a batch that the newest checkpoint holds, and once that checkpoint. gregor
// sets both aside and goes on; Apache Kafka starts beside what is left, with a
// hole in front of the log, and so does gregor behind it.
func TestSetAsideMetadataBesideKafka(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	all := content{"plain": {partitions: 3, count: 300, codec: variety(1)["plain"].codec}}
	n := startGregor(t, dir)
	all.create(t, n.Address)
	all.write(t, n.Address, 0)
	n.Stop(t)
	for _, kind := range []string{"*.checkpoint", "*.log"} {
		n = startGregor(t, dir) // so that there is something behind the checkpoint before it
		n.Stop(t)
		damageNewest(t, dir, kind)
		n = startGregor(t, dir)
		all.verify(t, n.Address)
		n.Stop(t)
		if kept, err := filepath.Glob(filepath.Join(dir, "__cluster_metadata-0", kind+".damaged")); err != nil || len(kept) != 1 {
			t.Fatalf("set aside: %v, %v", kept, err)
		}
	}
	identity := identifyStopped(t, dir)
	for turn, start := range []func(*testing.T, string) *kafka.Node{startKafka, startGregor, startKafka} {
		n := start(t, dir)
		if got := identify(t, n); turn == 0 && got != identity {
			t.Fatalf("%s calls itself %+v, gregor was %+v", n.Name, got, identity)
		}
		all.verify(t, n.Address)
		own := content{"turn-" + string(rune('a'+turn)): {partitions: 2, count: 100, codec: all["plain"].codec}}
		own.create(t, n.Address)
		own.write(t, n.Address, 0)
		own.verify(t, n.Address)
		n.Stop(t)
	}
	dumpMetadata(t, dir)
}

func identifyStopped(t *testing.T, dir string) identity {
	n := startGregor(t, dir)
	defer n.Stop(t)
	return identify(t, n)
}

// damageNewest flips a bit in the middle of the newest file of a kind that is
// not empty.
func damageNewest(t *testing.T, dir, kind string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "__cluster_metadata-0", kind))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, name := range slices.Backward(files) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			continue
		}
		b[len(b)/2] ^= 1
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no %s", kind)
}
