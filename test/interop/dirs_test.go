// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gregor/test/interop/kafka"
)

// TestTurnsOnTwoDirectories has gregor and Apache Kafka take turns on a node of
// two log directories: each finds every partition where the other has put it,
// and puts new ones into both.
func TestTurnsOnTwoDirectories(t *testing.T) {
	t.Parallel()
	gregor := func(t *testing.T, dirs []string) *kafka.Node {
		return startWith(t, dirs[0], "log.dirs="+strings.Join(dirs, ","))
	}
	apache := func(t *testing.T, dirs []string) *kafka.Node {
		return kafka.StartApache(t, dirs[0], kafka.Options{Settings: append(slices.Clone(forever), "log.dirs="+strings.Join(dirs, ","))})
	}
	for name, starts := range map[string][]func(*testing.T, []string) *kafka.Node{
		"gregor first": {gregor, apache, gregor},
		"Kafka first":  {apache, gregor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			dirs := []string{filepath.Join(root, "a"), filepath.Join(root, "b")}
			var ids []string
			before := map[string]string{}
			all := content{"plain": variety(300)["plain"], "zstd": variety(300)["zstd"], "lz4": variety(300)["lz4"]}
			for turn, start := range starts {
				n := start(t, dirs)
				if turn == 0 {
					all.create(t, n.Address)
					all.write(t, n.Address, 0)
				} else {
					all.verify(t, n.Address)
					written := 300 * turn
					all = all.grow(written + 300)
					all.write(t, n.Address, written)
				}
				own := content{"turn-" + string(rune('a'+turn)): {partitions: 4, count: 50, codec: all["plain"].codec}}
				own.create(t, n.Address)
				own.write(t, n.Address, 0)
				own.verify(t, n.Address)
				all.verify(t, n.Address)
				if described := describedDirs(t, n); !slices.Equal(described, dirs) {
					t.Errorf("%s: directories %v, want %v", n.Name, described, dirs)
				}
				n.Stop(t)
				now := directoryIDs(t, dirs)
				if turn > 0 && !slices.Equal(now, ids) {
					t.Errorf("%s: directory ids were %v, are %v", n.Name, ids, now)
				}
				ids = now
				places := partitionPlaces(t, dirs)
				for partition, dir := range before {
					if places[partition] != dir {
						t.Errorf("%s: %s was in %s, is in %q", n.Name, partition, dir, places[partition])
					}
				}
				in := map[string]int{}
				for partition, dir := range places {
					if strings.HasPrefix(partition, "turn-"+string(rune('a'+turn))) {
						in[dir]++
					}
				}
				if len(in) != 2 || in[dirs[0]] < 1 || in[dirs[1]] < 1 {
					t.Errorf("%s: new partitions by directory %v", n.Name, in)
				}
				before = places
			}
		})
	}
}

// describedDirs are the directories that all work, by DescribeLogDirs.
func describedDirs(t *testing.T, n *kafka.Node) []string {
	t.Helper()
	described, err := newAdmin(t, n.Address).DescribeAllLogDirs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, dirs := range described {
		for _, d := range dirs {
			if d.Err != nil {
				t.Errorf("%s: %s: %v", n.Name, d.Dir, d.Err)
			}
		}
		return slices.Sorted(maps.Keys(dirs))
	}
	return nil
}

// directoryIDs are those of the meta.properties.
func directoryIDs(t *testing.T, dirs []string) (ids []string) {
	t.Helper()
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "meta.properties"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if id, ok := strings.CutPrefix(strings.TrimSpace(line), "directory.id="); ok {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) != len(dirs) || ids[0] == ids[1] {
		t.Fatalf("directory ids %v", ids)
	}
	return ids
}

// partitionPlaces finds the folder of each partition.
func partitionPlaces(t *testing.T, dirs []string) map[string]string {
	t.Helper()
	places := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() || e.Name() == "__cluster_metadata-0" {
				continue
			}
			if other, twice := places[e.Name()]; twice {
				t.Errorf("%s is in %s and in %s", e.Name(), other, dir)
			}
			places[e.Name()] = dir
		}
	}
	return places
}
