// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// folder makes a partition's folder of two segments with whole indexes.
func folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "orders-0")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, base := range []kafka.Offset{0, 4} {
		var log, offsets, times []byte
		for i := range 2 {
			first := base + kafka.Offset(2*i)
			offsets = binary.BigEndian.AppendUint32(offsets, uint32(first+1-base))
			offsets = binary.BigEndian.AppendUint32(offsets, uint32(len(log)))
			times = binary.BigEndian.AppendUint64(times, uint64(1000+int64(first)))
			times = binary.BigEndian.AppendUint32(times, uint32(first-base))
			var b batch.Builder
			b.Begin(batch.NoProducer(first, 0))
			b.Add(1000+int64(first), nil, []byte("a"))
			b.Add(1000+int64(first), nil, []byte("b"))
			var err error
			if log, err = b.Finish(log, nil); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(dir, "0000000000000000000"+string(byte('0'+base)))
		for suffix, b := range map[string][]byte{".log": log, ".index": offsets, ".timeindex": times} {
			if err := os.WriteFile(name+suffix, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// Each kind of damage is found, and told with its file and place.
func TestVerifyFinds(t *testing.T) {
	edit := func(name string, f func([]byte) []byte) func(string) error {
		return func(dir string) error {
			path := filepath.Join(dir, name)
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, f(b), 0o644)
		}
	}
	const log, index, times = "00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.timeindex"
	for what, c := range map[string]struct {
		damage func(dir string) error
		want   string // empty: nothing
	}{
		"nothing":              {func(string) error { return nil }, ""},
		"no indexes":           {func(dir string) error { return os.Remove(filepath.Join(dir, index)) }, ""},
		"preallocated index":   {edit(index, func(b []byte) []byte { return append(b, make([]byte, 80)...) }), ""},
		"a flipped bit":        {edit(log, func(b []byte) []byte { b[65] ^= 1; return b }), "log 0 corrupt record batch"},
		"a torn batch":         {edit(log, func(b []byte) []byte { return b[:len(b)-3] }), "the batch claims"},
		"zeros behind":         {edit(log, func(b []byte) []byte { return append(b, make([]byte, 100)...) }), "zeros, as preallocation"},
		"another magic":        {edit(log, func(b []byte) []byte { b[16] = 7; return b }), "log 0 "},
		"a huge length":        {edit(log, func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 0x7fffffff); return b }), "the batch claims"},
		"offsets of the next":  {edit(log, func(b []byte) []byte { batch.SetBaseOffset(b[len(b)/2:], 3); return b }), "do not belong into the segment from 0 to 4"},
		"offsets that go back": {edit(log, func(b []byte) []byte { batch.SetBaseOffset(b[len(b)/2:], 1); return b }), "base offset 1, want 2 or more"},
		"half an index entry":  {edit(index, func(b []byte) []byte { return b[:12] }), "12 bytes, not a multiple of 8"},
		"a position between":   {edit(index, func(b []byte) []byte { b[15]++; return b }), "no batch begins at position"},
		"entries that fall":    {edit(index, func(b []byte) []byte { copy(b[8:], b[:8]); return b }), "does not rise"},
		"an offset too low":    {edit(index, func(b []byte) []byte { copy(b, []byte{0, 0, 0, 0}); b[11] = 1; return b }), "lies before the batch"},
		"a time behind":        {edit(times, func(b []byte) []byte { b[23] = 9; return b }), "lies behind the segment's last, 3"},
		"a bad snapshot": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "00000000000000000004.snapshot"), []byte("no snapshot at all"), 0o644)
		}, "snapshot"},
		"a bad checkpoint": {func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, log))
			if err != nil {
				return err
			}
			b[70] ^= 1
			return os.WriteFile(filepath.Join(dir, "00000000000000000004-0000000001.checkpoint"), b, 0o644)
		}, "checkpoint 0 corrupt record batch"},
		"a bad transaction index": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "00000000000000000004.txnindex"), make([]byte, 35), 0o644)
		}, "txnindex"},
	} {
		dir := folder(t)
		if err := c.damage(dir); err != nil {
			t.Fatal(err)
		}
		var r Report
		if err := r.Verify(dir); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		var told strings.Builder
		for _, p := range r.Problems {
			told.WriteString(strings.TrimPrefix(filepath.Ext(p.File), ".") + " " + string(rune('0'+p.PosBytes%10)) + " " + p.Reason + "\n")
		}
		if (c.want == "") != (len(r.Problems) == 0) || !strings.Contains(told.String(), c.want) {
			t.Errorf("%s: %q, want %q", what, told.String(), c.want)
		}
	}
}

// What Kafka wrote is whole.
func TestVerifyKafka(t *testing.T) {
	for dir, batches := range map[string]bool{"../../../cluster/raftnode/testdata/kafka/dynamic/__cluster_metadata-0": true,
		"../../../cluster/raftnode/testdata/kafka/formatted/__cluster_metadata-0": true, "../../../storage/commitlog/testdata/kafka/t-0": true} {
		var r Report
		if err := r.Verify(dir); err != nil || len(r.Problems) > 0 || (r.Batches > 0) != batches {
			t.Errorf("%s: %d batches, %+v, %v", dir, r.Batches, r.Problems, err)
		}
	}
}

func TestParseFolder(t *testing.T) {
	for name, want := range map[string]Folder{
		"orders-0":   {Topic: "orders"},
		"a-b.c_d-12": {Topic: "a-b.c_d", Partition: 12},
		"orders-3.0123456789abcdef0123456789abcdef-delete": {Topic: "orders", Partition: 3, State: "deleted"},
		"orders-3.0123456789abcdef0123456789abcdef-stray":  {Topic: "orders", Partition: 3, State: "stray"},
	} {
		got, ok := parseFolder("/d/" + name)
		want.Path = "/d/" + name
		if !ok || got != want {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"orders", "-1", "orders-", "orders-01", "orders-x", "orders--delete", "orders-99999999999"} {
		if got, ok := parseFolder("/d/" + name); ok && got.Topic == "orders" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Any bytes are walked without a panic, and without more memory than they are.
func FuzzWalk(f *testing.F) {
	b, err := os.ReadFile(filepath.Join(folder(f), "00000000000000000000.log"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Reader
		total := 0
		err := walk("file", bufio.NewReader(bytes.NewReader(b)), int64(len(b)), func(x *Batch) error {
			if total += len(x.Bytes); cap(x.Bytes) > len(b) {
				t.Fatalf("%d bytes for a batch of a file of %d", cap(x.Bytes), len(b))
			}
			_ = r.Records(x, func(*batch.Record) error { return nil })
			return nil
		})
		if _, corrupt := isCorrupt(err); err != nil && !corrupt {
			t.Fatal(err)
		}
		if err == nil && total != len(b) {
			t.Fatalf("walked %d bytes of %d", total, len(b))
		}
	})
}
