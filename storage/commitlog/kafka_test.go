// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/prodstate"
	"gregor/wire/batch"
)

// kafkaFiles is a partition folder that Apache Kafka 4.4 wrote
// (testdata/kafka/Copy.java).
func kafkaFiles(t *testing.T) map[string][]byte {
	paths, err := filepath.Glob("testdata/kafka/t-0/*")
	if err != nil || len(paths) < 20 {
		t.Fatal(len(paths), err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = b
	}
	return files
}

func (b *bed) put(name string, p []byte) {
	b.t.Helper()
	if err := b.fs.MkdirAll(b.o.Dir); err != nil {
		b.t.Fatal(err)
	}
	f, err := b.fs.Open(filepath.Join(b.o.Dir, name), vfs.ReadWrite|vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(p, 0); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) get(name string) []byte {
	b.t.Helper()
	p, err := b.l.readSmall(name)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

var kafkaConfig = Config{SegmentBytes: 6000, IndexIntervalBytes: 300, IndexBytes: 4096}

// Decision 3: from the same batches come the same files, byte for byte.
// Snapshots list producers in another order: Kafka's is that of a hash map.
func TestFilesEqualKafkas(t *testing.T) {
	files := kafkaFiles(t)
	b := memoryBed(t)
	b.o.Config, b.o.TopicID = kafkaConfig, kafka.TopicID{}
	b.mustOpen()
	for _, name := range sortedLogs(files) {
		for p := files[name]; len(p) > 0; {
			h, err := batch.Parse(p)
			if err != nil {
				t.Fatal(err)
			}
			a := Append{Batches: p[:h.SizeBytes()], Origin: OriginReplica}
			b.l.Append(&a, 0)
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			b.l.AdvanceHighWatermark(a.LastOffset + 1)
			p = p[h.SizeBytes():]
		}
	}
	b.stop(false)
	infos, err := b.fs.ReadDir(b.o.Dir)
	if err != nil || len(infos) != len(files) {
		t.Fatalf("%d files, Kafka has %d; %v", len(infos), len(files), err)
	}
	for name, want := range files {
		got := b.get(name)
		if strings.HasSuffix(name, ".snapshot") {
			if diff := cmp.Diff(producersIn(t, want), producersIn(t, got)); diff != "" || len(got) != len(want) {
				t.Errorf("%s: %s", name, diff)
			}
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s differs: %d bytes, Kafka's has %d", name, len(got), len(want))
		}
	}
}

func sortedLogs(files map[string][]byte) []string {
	var names []string
	for base := kafka.Offset(0); base < 1000; base++ {
		name := filepath.Base((&Log{}).path(base, ".log"))
		if _, ok := files[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

func producersIn(t *testing.T, snapshot []byte) []prodstate.Producer {
	t.Helper()
	var s prodstate.State
	if err := s.LoadSnapshot(snapshot, 0, 1); err != nil {
		t.Fatal(err)
	}
	return s.List()
}

// A directory of Kafka's opens after a clean stop and after a crash, when its
// preallocated index files end in zeros.
func TestKafkasFolderOpens(t *testing.T) {
	files := kafkaFiles(t)
	want := producersIn(t, files["00000000000000000403.snapshot"])
	for _, clean := range []bool{true, false} {
		b := memoryBed(t)
		b.o.Config, b.o.CleanStart = kafkaConfig, clean
		for name, p := range files {
			switch {
			case !clean && name == "00000000000000000403.snapshot":
				continue // written by a clean stop only
			case !clean && (name == "00000000000000000394.index" || name == "00000000000000000394.timeindex"):
				p = make([]byte, 4096/12*12)
			}
			b.put(name, p)
		}
		b.mustOpen()
		if tail := b.l.Tail(); tail.LogEnd != 403 || tail.Epoch != 2 {
			t.Fatalf("clean %v: %+v", clean, tail)
		}
		b.l.AdvanceHighWatermark(403)
		list, err := b.readAll(0, 700, ToHighWatermark)
		if err != nil || len(list) != 143 {
			t.Fatalf("clean %v: %d batches, %v", clean, len(list), err)
		}
		got, err := b.l.Producers()
		if err != nil {
			t.Fatal(err)
		}
		// A snapshot has the time of the producer's last batch or marker; the log
		// tells that of the batch.
		for i := range min(len(want), len(got)) {
			want[i].Last.TimestampMs = got[i].Last.TimestampMs
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("clean %v: %s", clean, diff)
		}
		r, err := b.l.Read(nil, 0, 1<<20, ToLastStable, true)
		if err != nil || len(r.Aborted) != 1 || r.Aborted[0] != (AbortedTxn{ProducerID: 9, FirstOffset: 32}) {
			t.Fatalf("clean %v: aborted %v, %v", clean, r.Aborted, err)
		}
		r.File.Src.Release()
		if f, err := b.l.MaxTimestamp(); err != nil || f.Offset < 0 {
			t.Fatal(f, err)
		}
		b.stop(true)
	}
}
