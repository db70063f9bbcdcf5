// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
)

// TestTreeTwin: a tree is a map that is ordered, stays balanced, and whose
// earlier versions do not change.
func TestTreeTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			tree tree[int, int]
			twin map[int]int
		}
		cur := newTree[int, int](cmp.Compare[int])
		twin := map[int]int{}
		var versions []version
		var tok *token
		for range rapid.IntRange(1, 200).Draw(t, "ops") {
			key := rapid.IntRange(0, 60).Draw(t, "key")
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0, 1, 2:
				v := rapid.Int().Draw(t, "value")
				cur.set(tok, key, v)
				twin[key] = v
			case 3, 4:
				cur.delete(tok, key)
				delete(twin, key)
			case 5: // an image is made, and another edit starts
				versions = append(versions, version{cur, maps.Clone(twin)})
				tok = &token{}
			}
		}
		for _, v := range append(versions, version{cur, twin}) {
			checkTree(t, v.tree, v.twin)
		}
	})
}

func checkTree(t *rapid.T, tr tree[int, int], twin map[int]int) {
	if tr.len() != len(twin) {
		t.Fatalf("%d keys, want %d", tr.len(), len(twin))
	}
	keys := slices.Sorted(maps.Keys(twin))
	var got []int
	for k, v := range tr.all() {
		got = append(got, k)
		if v != twin[k] {
			t.Fatalf("%d: %d, want %d", k, v, twin[k])
		}
	}
	if !slices.Equal(got, keys) {
		t.Fatalf("keys %v, want %v", got, keys)
	}
	for k := -1; k < 62; k++ {
		v, ok := tr.get(k)
		if want, in := twin[k]; ok != in || v != want {
			t.Fatalf("get(%d) = %d, %v", k, v, ok)
		}
	}
	from := rapid.IntRange(-1, 62).Draw(t, "from")
	i, _ := slices.BinarySearch(keys, from)
	for k := range tr.from(from) {
		if k != keys[i] {
			t.Fatalf("from(%d) gives %d, want %d", from, k, keys[i])
		}
		i++
	}
	if i != len(keys) {
		t.Fatalf("from(%d) ends after %d of %d", from, i, len(keys))
	}
	if d := depth(tr.root); float64(d) > 2.5*math.Log2(float64(len(twin)+2)) {
		t.Fatalf("%d keys make a depth of %d", len(twin), d)
	}
}

func depth[K, V any](n *node[K, V]) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

// TestTreeAscending: keys in order, the worst case of an unbalanced tree.
func TestTreeAscending(t *testing.T) {
	tr := newTree[int, int](cmp.Compare[int])
	tok := &token{}
	for i := range 100_000 {
		tr.set(tok, i, i)
	}
	if d := depth(tr.root); d > 40 {
		t.Errorf("depth %d", d)
	}
	for i := range 99_990 {
		tr.delete(nil, i)
	}
	if d := depth(tr.root); tr.len() != 10 || d > 6 {
		t.Errorf("%d keys in depth %d", tr.len(), d)
	}
}

// TestPartitionsTwin: the radix tree is a map, for wild ids too.
func TestPartitionsTwin(t *testing.T) {
	ids := []kafka.PartitionID{0, 1, 2, 63, 64, 65, 4095, 4096, 262143, 262144, math.MaxInt32 - 1, math.MaxInt32}
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			parts partitions
			twin  map[kafka.PartitionID]*Partition
		}
		var cur partitions
		twin := map[kafka.PartitionID]*Partition{}
		var versions []version
		var tok *token
		for range rapid.IntRange(1, 60).Draw(t, "ops") {
			if rapid.IntRange(0, 5).Draw(t, "op") == 0 {
				versions = append(versions, version{cur, maps.Clone(twin)})
				tok = &token{}
				continue
			}
			id, p := rapid.SampledFrom(ids).Draw(t, "id"), &Partition{}
			cur.set(tok, id, p)
			twin[id] = p
		}
		for _, v := range append(versions, version{cur, twin}) {
			var got []kafka.PartitionID
			for id, p := range v.parts.all() {
				got = append(got, id)
				if p != v.twin[id] {
					t.Fatalf("partition %d is another", id)
				}
			}
			if want := slices.Sorted(maps.Keys(v.twin)); !slices.Equal(got, want) || v.parts.count != len(want) {
				t.Fatalf("%d: %v, want %v", v.parts.count, got, want)
			}
			for _, id := range append(ids, -1, 3, 5000) {
				if v.parts.get(id) != v.twin[id] {
					t.Fatalf("get(%d)", id)
				}
			}
		}
	})
}
