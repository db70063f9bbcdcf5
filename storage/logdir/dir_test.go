// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/wire/batch"
)

func TestFirstStartMakesTheDirectory(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	if d.CleanStart() || len(d.Logs()) != 0 || d.ID().IsZero() || d.PreviousBrokerEpoch() != -1 {
		t.Fatal(d.CleanStart(), d.Logs(), d.ID(), d.PreviousBrokerEpoch())
	}
	p, found, err := ReadProperties(fsys, "/data")
	if err != nil || !found || p.ClusterID != "cluster" || p.NodeID != 1 || p.DirectoryID != d.ID() {
		t.Fatalf("%+v, %v, %v", p, found, err)
	}
	if _, _, err := ReadProperties(fsys.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone}), "/data"); err != nil {
		t.Fatal("the identity is not durable:", err)
	}
}

func TestIdentityIsChecked(t *testing.T) {
	fsys := vfs.NewMemory()
	id := open(t, fsys).ID()
	other := options(fsys)
	var inUse *InUseError
	if _, err := Open(other); !errors.As(err, &inUse) || !errors.Is(err, vfs.ErrLocked) {
		t.Fatal("opened twice:", err)
	}
	fsys = fsys.CrashClone(vfs.Loss{}) // the process is gone and so is its lock
	for _, change := range []func(*Options){
		func(o *Options) { o.NodeID = 2 },
		func(o *Options) { o.ClusterID = "other" },
	} {
		other := options(fsys)
		change(&other)
		var mismatch *MismatchError
		if _, err := Open(other); !errors.As(err, &mismatch) {
			t.Fatal("the directory of another node was opened:", err)
		}
	}
	if again := open(t, fsys); again.ID() != id {
		t.Fatal("the directory changed its id")
	}
}

// A directory that an older Kafka formatted gets its directory.id; what else
// stands in the file stays.
func TestDirectoryIDIsAdded(t *testing.T) {
	fsys := vfs.NewMemory()
	write(t, fsys, propertiesFile, "version=1\ncluster.id=cluster\nnode.id=1\nunknown.key=kept\n")
	d := open(t, fsys)
	p, _, err := ReadProperties(fsys, "/data")
	if err != nil || p.DirectoryID != d.ID() || d.ID().IsZero() || p.others["unknown.key"] != "kept" {
		t.Fatalf("%+v, %v", p, err)
	}
}

func TestPartitionsWithoutIdentityStopTheStart(t *testing.T) {
	fsys := vfs.NewMemory()
	ok(t, fsys.MkdirAll("/data/orders-0"))
	if _, err := Open(options(fsys)); err == nil || !strings.Contains(err.Error(), propertiesFile) {
		t.Fatal(err)
	}
}

func TestForeignFolderStopsTheStart(t *testing.T) {
	fsys := vfs.NewMemory()
	ok(t, fsys.MkdirAll("/data/lost+found"))
	var foreign *ForeignFolderError
	if _, err := Open(options(fsys)); !errors.As(err, &foreign) || foreign.Path != "/data/lost+found" {
		t.Fatal(err)
	}
	ok(t, fsys.Remove("/data/lost+found"))
	for _, folder := range []string{"__cluster_metadata-0", "remote-log-index-cache", "a-0.abc-stray", "a-0.abc-future"} {
		ok(t, fsys.MkdirAll("/data/"+folder))
	}
	write(t, fsys, "notes.txt", "plain files are nobody's business")
	d := open(t, fsys) // also: the failed start gave the lock back
	if len(d.Logs()) != 0 {
		t.Fatal(d.Logs())
	}
}

func TestCleanStopIsRemembered(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 5)
	use(t, openLog(t, d, tp("empty", 3)))
	ok(t, d.Close(77))

	if got := read(t, fsys, markerFile); got != `{"version":0,"brokerEpoch":77}` {
		t.Fatal(got)
	}
	for name, want := range map[string]string{
		recoveryPointFile: "0\n2\norders 0 5\nempty 3 0\n",
		highWatermarkFile: "0\n2\norders 0 5\nempty 3 0\n",
		logStartFile:      "0\n0\n",
	} {
		if got := read(t, fsys, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// All of it was durable before Close returned.
	fsys = fsys.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})

	d = open(t, fsys)
	if !d.CleanStart() || d.PreviousBrokerEpoch() != 77 {
		t.Fatal(d.CleanStart(), d.PreviousBrokerEpoch())
	}
	if all := names(t, fsys); slices.Contains(all, markerFile) || slices.Contains(all, manifestFile) {
		t.Fatal("a running node's directory calls itself clean:", all)
	}
	found := d.Logs()
	if len(found) != 2 || found[0].TopicPartition != tp("empty", 3) || found[1].TopicID != topicID || found[1].Folder != "/data/orders-0" {
		t.Fatalf("%+v", found)
	}
	log = openLog(t, d, tp("orders", 0))
	if tail := log.Tail(); tail.LogEnd != 5 || tail.HighWatermark != 5 || tail.Flushed != 5 {
		t.Fatalf("%+v", tail)
	}
	appendSome(t, log, 1)
	if tail := log.Tail(); tail.LogEnd != 6 {
		t.Fatalf("%+v", tail)
	}
}

// A start after a clean stop opens nothing but the directory's own files,
// however many partitions there are, and a stop opens none that was not used.
func TestStartAfterACleanStopOpensNoPartition(t *testing.T) {
	memory := vfs.NewMemory()
	const partitions = 300
	fill(t, memory, partitions)

	fault := vfs.NewFault(memory)
	d := open(t, fault)
	for i := range partitions {
		openLog(t, d, tp("orders", i))
	}
	ok(t, d.Close(2))
	if n := fault.Count(vfs.OpOpen | vfs.OpCreate | vfs.OpRead); n > 30 {
		t.Fatalf("%d files were opened and read", n)
	}

	d = open(t, memory)
	for i := range partitions {
		if tail := openLog(t, d, tp("orders", i)).Tail(); tail.LogEnd != 1 || tail.HighWatermark != 1 {
			t.Fatalf("partition %d: %+v", i, tail)
		}
	}
}

// Whoever used the directory in between has replaced the marker, and with it
// disowned the manifest: what it says about the logs is old.
func TestManifestOfAnEarlierStopIsNotBelieved(t *testing.T) {
	for name, meddle := range map[string]func(t *testing.T, fsys vfs.FS){
		"other content": func(t *testing.T, fsys vfs.FS) { write(t, fsys, markerFile, `{"version":0,"brokerEpoch":9}`) },
		"same content":  func(t *testing.T, fsys vfs.FS) { write(t, fsys, markerFile, `{"version":0,"brokerEpoch":1}`) },
		"rewritten in place": func(t *testing.T, fsys vfs.FS) {
			f, err := fsys.Open("/data/"+markerFile, vfs.ReadWrite, 0)
			ok(t, err)
			_, err = f.WriteAt([]byte("{"), 0)
			ok(t, err)
			ok(t, f.Close())
		},
		"manifest damaged": func(t *testing.T, fsys vfs.FS) { write(t, fsys, manifestFile, "GREGMANI and then nothing") },
		"manifest removed": func(t *testing.T, fsys vfs.FS) { ok(t, fsys.Remove("/data/"+manifestFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			fsys := vfs.NewMemory()
			fill(t, fsys, 1)
			// The other program appends a second record.
			other := fsys.CrashClone(vfs.Loss{})
			d := open(t, other)
			appendSome(t, openLog(t, d, tp("orders", 0)), 1)
			ok(t, d.Close(1))
			copyLog(t, other, fsys)

			meddle(t, fsys)
			d = open(t, fsys)
			if !d.CleanStart() {
				t.Fatal("the stop was clean all the same")
			}
			if tail := openLog(t, d, tp("orders", 0)).Tail(); tail.LogEnd != 2 {
				t.Fatalf("the manifest was believed: %+v", tail)
			}
		})
	}
}

func TestUncleanStopRecovers(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	appendSome(t, openLog(t, d, tp("orders", 0)), 3)
	ok(t, d.Flush(t.Context()))
	appendSome(t, d.logs[tp("orders", 0)].log.Load(), 2)
	if got := read(t, fsys, recoveryPointFile); got != "0\n1\norders 0 3\n" {
		t.Fatalf("%q", got)
	}
	killed := fsys.CrashClone(vfs.Loss{})
	cut := fsys.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})

	d = open(t, killed)
	if d.CleanStart() {
		t.Fatal("a killed node left a clean directory")
	}
	if tail := openLog(t, d, tp("orders", 0)).Tail(); tail.LogEnd != 5 {
		t.Fatalf("a killed process loses nothing that it wrote: %+v", tail)
	}
	d = open(t, cut)
	if tail := openLog(t, d, tp("orders", 0)).Tail(); tail.LogEnd != 3 {
		t.Fatalf("a power cut loses what was not flushed, and only that: %+v", tail)
	}
}

// After a crash, a partition that nobody opened may have a torn tail. A marker
// would make the next start trust it.
func TestUnopenedPartitionKeepsTheDirectoryUnclean(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	appendSome(t, openLog(t, d, tp("orders", 0)), 3)
	appendSome(t, openLog(t, d, tp("orders", 1)), 3)
	fsys = fsys.CrashClone(vfs.Loss{})

	d = open(t, fsys)
	openLog(t, d, tp("orders", 0))
	ok(t, d.Close(1))
	d = open(t, fsys)
	if d.CleanStart() {
		t.Fatal("marked clean, although orders-1 was never looked at")
	}
	openLog(t, d, tp("orders", 0))
	openLog(t, d, tp("orders", 1))
	ok(t, d.Close(1))
	if d = open(t, fsys); !d.CleanStart() {
		t.Fatal("all was recovered")
	}
	// After a clean stop an unopened partition stays as clean as it was.
	openLog(t, d, tp("orders", 0))
	ok(t, d.Close(1))
	if d = open(t, fsys); !d.CleanStart() {
		t.Fatal("nothing happened to orders-1")
	}
	if tail := openLog(t, d, tp("orders", 1)).Tail(); tail.LogEnd != 3 {
		t.Fatalf("%+v", tail)
	}
}

// The real file system, from an empty directory through a clean and an unclean
// stop.
func TestOnTheRealDisk(t *testing.T) {
	root := t.TempDir()
	start := func() *Dir {
		o := options(vfs.OS{})
		o.Path = path.Join(root, "nested", "data")
		d, err := Open(o)
		ok(t, err)
		t.Cleanup(d.Kill)
		return d
	}
	d := start()
	appendSome(t, openLog(t, d, tp("orders", 0)), 3)
	ok(t, d.Close(5))
	d = start()
	log := openLog(t, d, tp("orders", 0))
	if tail := log.Tail(); !d.CleanStart() || tail.LogEnd != 3 {
		t.Fatalf("%+v", tail)
	}
	appendSome(t, log, 1)
	ok(t, d.Flush(t.Context()))
	d.Kill()
	d = start()
	log = openLog(t, d, tp("orders", 0))
	if tail := log.Tail(); d.CleanStart() || tail.LogEnd != 4 {
		t.Fatalf("%+v", tail)
	}
	read, err := log.Read(&commitlog.Cursor{}, 0, 1<<20, commitlog.ToLogEnd, true)
	ok(t, err)
	b := make([]byte, read.File.LenBytes)
	if _, err := read.File.Src.ReadAt(b, read.File.PosBytes); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	read.File.Src.Release()
	h, err := batch.Parse(b)
	if err != nil || h.BaseOffset != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
}

// What a start costs with 10,000 partitions, from the manifest and without it.
func BenchmarkStart(b *testing.B) {
	const partitions = 10_000
	for _, manifest := range []bool{true, false} {
		b.Run(fmt.Sprintf("manifest=%v", manifest), func(b *testing.B) {
			root := b.TempDir()
			o := options(vfs.OS{})
			o.Path = path.Join(root, "data")
			d, err := Open(o)
			if err != nil {
				b.Fatal(err)
			}
			for i := range partitions {
				if _, err := d.OpenLog(tp("orders", i), topicID, commitlog.Config{}); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				b.StopTimer()
				if err := d.Close(1); err != nil {
					b.Fatal(err)
				}
				if !manifest {
					if err := (vfs.OS{}).Remove(path.Join(o.Path, manifestFile)); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				if d, err = Open(o); err != nil {
					b.Fatal(err)
				}
				for i := range partitions {
					if _, err := d.OpenLog(tp("orders", i), topicID, commitlog.Config{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			d.Kill()
		})
	}
}
