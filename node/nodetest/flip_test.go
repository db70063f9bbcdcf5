// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
	"gregor/wire/batch"
)

// bitOf names a bit of a file.
type bitOf struct {
	file string
	byte int64
	bit  int
}

// metadataFiles is a node that is down, and what its clients know.
type metadataFiles struct {
	disk   *vfs.Memory
	l      ledger
	topics []string
}

// downWithMetadata runs a node twice and stops or kills it. The commit index in
// quorum-state is that of the second start's first batches.
func downWithMetadata(ctx context.Context, t *testing.T, stopped bool) *metadataFiles {
	m := &metadataFiles{topics: []string{"t"}}
	n := Start(t, Options{Set: []string{"log.segment.bytes=1048576"}})
	c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	createTopic(ctx, t, c, nil)
	m.l.produce(ctx, t, c, 3)
	n.Crash()
	n.Up()
	admin := kadm.NewClient(c)
	for i := range 4 {
		name := fmt.Sprintf("u%d", i)
		if _, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": kadm.StringPtr("3600000")}, name); err != nil {
			t.Fatal(err)
		}
		m.topics = append(m.topics, name)
	}
	m.l.produce(ctx, t, c, 2)
	c.Close()
	if stopped {
		n.Stop()
	} else {
		n.Crash()
	}
	m.disk = n.Disk
	return m
}

// files lists what is at the top of the node's directory and in the metadata
// log's.
func (m *metadataFiles) files(t *testing.T) map[string]int64 {
	sizes := map[string]int64{}
	for _, dir := range []string{"/data", "/data/__cluster_metadata-0"} {
		infos, err := m.disk.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if !i.IsDir() && i.SizeBytes > 0 {
				sizes[path.Join(dir, i.Name)] = i.SizeBytes
			}
		}
	}
	return sizes
}

// logBits draws bits of every batch of the metadata log: of what its CRC covers,
// and of each field that lies before.
func (m *metadataFiles) logBits(t *testing.T, each int, random *rand.Rand) []bitOf {
	var out []bitOf
	sizes := m.files(t)
	for _, file := range slices.Sorted(maps.Keys(sizes)) {
		if path.Ext(file) != ".log" {
			continue
		}
		f, err := m.disk.Open(file, vfs.ReadOnly, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, sizes[file])
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		for pos := 0; pos < len(b); {
			h, err := batch.Parse(b[pos:])
			if err != nil {
				t.Fatal(err)
			}
			ends := []int{8, 12, 16, 17, 21, h.SizeBytes()} // base offset, length, epoch, magic, CRC, the rest
			for i := range each {
				part := random.IntN(len(ends))
				if i%2 == 0 {
					part = len(ends) - 1
				}
				from := 0
				if part > 0 {
					from = ends[part-1]
				}
				out = append(out, bitOf{file, int64(pos + from + random.IntN(ends[part]-from)), random.IntN(8)})
			}
			pos += h.SizeBytes()
		}
	}
	if len(out) < 10*each {
		t.Fatalf("the metadata log holds %d batches", len(out)/each)
	}
	return out
}

// anyBits draws bits of all files.
func (m *metadataFiles) anyBits(t *testing.T, count int, random *rand.Rand) []bitOf {
	sizes := m.files(t)
	names := slices.Sorted(maps.Keys(sizes))
	out := make([]bitOf, count)
	for i := range out {
		file := names[random.IntN(len(names))]
		out[i] = bitOf{file, random.Int64N(sizes[file]), random.IntN(8)}
	}
	return out
}

func flipBit(disk *vfs.Memory, at bitOf) error {
	return disk.Rot(at.file, func(f vfs.File) error {
		var b [1]byte
		if _, err := f.ReadAt(b[:], at.byte); err != nil {
			return err
		}
		b[0] ^= 1 << at.bit
		_, err := f.WriteAt(b[:], at.byte)
		return err
	})
}

// flip damages a copy of the disk and starts a node on it.
func (m *metadataFiles) flip(ctx context.Context, t *testing.T, at bitOf) (outcome string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	n := Prepare(t, Options{Set: []string{"log.segment.bytes=1048576"}})
	n.Disk = m.disk.CrashClone(vfs.Loss{Data: vfs.KeepAll, Entries: vfs.KeepAll})
	if err := flipBit(n.Disk, at); err != nil {
		t.Fatal(err)
	}
	if err := n.TryUp(); err != nil {
		if !strings.Contains(err.Error(), path.Base(at.file)) && !strings.Contains(err.Error(), "/data") &&
			!strings.Contains(err.Error(), "none of the metadata quorum's voters") { // that names the directory.id
			t.Errorf("the error names no file: %v", err)
		}
		n.Kill()
		m.checkFolders(t, n)
		return "refused"
	}
	c := n.Client()
	topics, err := kadm.NewClient(c).ListTopics(ctx, m.topics...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range m.topics {
		if topics[name].Err != nil {
			t.Errorf("topic %s: %v", name, topics[name].Err)
		}
	}
	c.Close()
	m.l.check(ctx, t, n)
	m.checkFolders(t, n)
	n.Crash()
	return "no difference"
}

func (m *metadataFiles) checkFolders(t *testing.T, n *Node) {
	infos, err := n.Disk.ReadDir("/data")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if strings.HasSuffix(i.Name, "-stray") || strings.HasSuffix(i.Name, "-delete") {
			t.Errorf("folder %s", i.Name)
		}
	}
}

// R13: a bit that flips in the metadata log, its checkpoints, the quorum's state
// or the identity of a directory, while the node is down, is refused at the next
// start by a line that names what is damaged, or it changes nothing: no topic
// goes, and no record. So it is behind a clean stop and behind a kill, for every
// batch of the log. CRASH_FLIPS sets how many bits (20).
func TestFlipsInMetadata(t *testing.T) {
	flips := 20
	if n, err := strconv.Atoi(os.Getenv("CRASH_FLIPS")); err == nil {
		flips = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped=%v", stopped), func(t *testing.T) {
			outcomes := map[string]int{}
			synctest.Test(t, func(t *testing.T) {
				m := downWithMetadata(t.Context(), t, stopped)
				bits := slices.Concat(m.logBits(t, 1+flips/100, random), m.anyBits(t, flips/2, random))
				for _, at := range bits {
					outcomes[path.Base(at.file)+" "+m.flip(t.Context(), t, at)]++
					if t.Failed() {
						t.Fatalf("bit %d of byte %d of %s", at.bit, at.byte, at.file)
					}
				}
			})
			t.Log(outcomes)
		})
	}
}

// A start that is refused names the offset from which metadata may be given up;
// with that offset, and with no other, the node starts, with what was before it.
func TestDamagedMetadataMayBeGivenUp(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		m := downWithMetadata(ctx, t, false)
		bits := m.logBits(t, 1, rand.New(rand.NewPCG(1, 1)))
		last := bits[len(bits)-1] // of the last topic's batch
		var set []string
		n := Prepare(t, Options{})
		n.Disk = m.disk
		if err := flipBit(n.Disk, last); err != nil {
			t.Fatal(err)
		}
		up := func() error {
			n.o.Set = slices.Concat([]string{"log.segment.bytes=1048576"}, set)
			return n.TryUp()
		}
		err := up()
		if err == nil {
			t.Fatal("the damage was not noticed")
		}
		_, offset, found := strings.Cut(err.Error(), "gregor.metadata.cut.offset=")
		offset, _, _ = strings.Cut(offset, ";")
		at, convErr := strconv.Atoi(offset)
		if !found || convErr != nil {
			t.Fatalf("no offset in %v", err)
		}
		n.Kill()
		set = []string{fmt.Sprintf("gregor.metadata.cut.offset=%d", at-1)}
		if err := up(); err == nil {
			t.Fatal("another offset will do")
		}
		n.Kill()
		set = []string{fmt.Sprintf("gregor.metadata.cut.offset=%d", at)}
		if err := up(); err != nil {
			t.Fatal(err)
		}
		c := n.Client()
		topics, err := kadm.NewClient(c).ListTopics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if want := m.topics[:len(m.topics)-1]; !slices.Equal(topics.Names(), slices.Sorted(slices.Values(want))) {
			t.Errorf("topics %v, want %v", topics.Names(), want)
		}
		m.l.check(ctx, t, n)
		n.Stop()
		set = nil
		if err := up(); err != nil { // the damage is gone
			t.Fatal(err)
		}
	})
}
