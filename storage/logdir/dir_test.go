// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
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

func TestDeletedLogsGoLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMemory()
		d := open(t, fsys)
		log := openLog(t, d, tp("orders", 0))
		appendSome(t, log, 1)
		ok(t, d.DeleteLog(log))
		if err := appendTo(log, "late"); !errors.Is(err, kafka.KafkaStorageError) {
			t.Fatal("a deleted log was written:", err)
		}
		all := names(t, fsys.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone}))
		i := slices.IndexFunc(all, func(name string) bool { return strings.HasSuffix(name, "-delete") })
		if i < 0 || slices.Contains(all, "orders-0") || !strings.HasPrefix(all[i], "orders-0.") {
			t.Fatal("the deletion is not durable:", all)
		}
		// The name is free at once, for the topic's next life.
		log, err := d.OpenLog(tp("orders", 0), kafka.TopicID{9}, commitlog.Config{})
		ok(t, err)
		if tail := log.Tail(); tail.LogEnd != 0 {
			t.Fatalf("%+v", tail)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if _, err := fsys.Stat("/data/" + all[i]); err != nil {
			t.Fatal("removed before file.delete.delay.ms:", err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, err := fsys.Stat("/data/" + all[i]); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("never removed:", err)
		}
		d.Kill()

		// What was not removed in time is found by the next start.
		ok(t, fsys.MkdirAll("/data/gone-1.abc-delete"))
		d = open(t, fsys)
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if _, err := fsys.Stat("/data/gone-1.abc-delete"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		d.Kill()
	})
}

// The checkpoint files must not speak of a deleted partition once another of its
// name is there: a crash would start that one at the old log start.
func TestNewPartitionInheritsNoCheckpoint(t *testing.T) {
	memory := vfs.NewMemory()
	fsys := vfs.NewFault(memory)
	d := open(t, fsys)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 9)
	ok(t, log.AdvanceLogStart(7))
	ok(t, d.Flush(t.Context()))
	ok(t, d.DeleteLog(log))

	fsys.Add(vfs.Rule{Ops: vfs.OpWrite, Path: recoveryPointFile, Times: 1, Err: syscall.ENOSPC})
	if _, err := d.OpenLog(tp("orders", 0), topicID, commitlog.Config{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal("opened beside an old checkpoint:", err)
	}
	log = openLog(t, d, tp("orders", 0)) // there is room again
	appendSome(t, log, 2)
	d = open(t, memory.CrashClone(vfs.Loss{}))
	if tail := openLog(t, d, tp("orders", 0)).Tail(); tail.LogStart != 0 || tail.LogEnd != 2 {
		t.Fatalf("%+v", tail)
	}
}

// Nor does one whose folder somebody removed while the node was down, cleanly.
func TestRemovedFolderLeavesNoCheckpoint(t *testing.T) {
	memory := vfs.NewMemory()
	d := open(t, memory)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 10)
	log.AdvanceHighWatermark(10)
	ok(t, log.DeleteRecords(5))
	ok(t, d.Close(1))
	ok(t, memory.RemoveAll("/data/orders-0"))

	d = open(t, memory)
	appendSome(t, openLog(t, d, tp("orders", 0)), 3)
	d.Kill()

	d = open(t, memory)
	if tail := openLog(t, d, tp("orders", 0)).Tail(); tail.LogStart != 0 || tail.LogEnd != 3 {
		t.Errorf("%+v", tail)
	}
}

// A truncation takes the recovery point back before anything is written in the
// place of what it cut.
func TestTruncationLowersTheRecoveryPoint(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 9)
	ok(t, d.Flush(t.Context()))
	ok(t, log.TruncateTo(4))
	for _, name := range []string{recoveryPointFile, highWatermarkFile} {
		if got := read(t, fsys, name); got != "0\n1\norders 0 4\n" {
			t.Fatalf("%s: %q", name, got)
		}
	}
}

// A log that is emptied, to begin again behind its old end, is either the old one
// or begins there, whenever the process dies: the directory knows the new log start
// before the first file goes.
func TestDeathWhileALogIsEmptied(t *testing.T) {
	memory := vfs.NewMemory()
	fsys := vfs.NewCrash(memory)
	d := open(t, fsys)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 9)
	ok(t, log.Roll())
	appendSome(t, log, 9)
	ok(t, d.Flush(t.Context()))
	cuts := 0
	fsys.Observe(func(int64, vfs.Call) {
		cuts++
		after := openLog(t, open(t, fsys.Image(vfs.Loss{})), tp("orders", 0)).Tail()
		if (after.LogStart != 0 || after.LogEnd != 18) && (after.LogStart != 30 || after.LogEnd != 30) {
			t.Errorf("cut %d: the log holds %d to %d", cuts, after.LogStart, after.LogEnd)
		}
	})
	ok(t, log.TruncateFullyAndStartAt(30))
	fsys.Observe(nil)
	if cuts < 10 {
		t.Fatalf("only %d cuts", cuts)
	}
}

func TestLongTopicNamesFitWhenDeleted(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	log := openLog(t, d, tp(strings.Repeat("n", 249), 99999))
	ok(t, d.DeleteLog(log))
	for _, name := range names(t, fsys) {
		if len(name) > 255 {
			t.Fatal(len(name))
		}
		if strings.HasSuffix(name, "-delete") {
			if p, suffix, err := parseFolder(name); err != nil || suffix != "-delete" || p.Partition != 99999 {
				t.Fatal(p, suffix, err)
			}
		}
	}
}

func TestSetAside(t *testing.T) {
	fsys := vfs.NewMemory()
	fill(t, fsys, 2)
	d := open(t, fsys)
	openLog(t, d, tp("orders", 1))
	if err := d.SetAside(tp("orders", 1)); !errors.Is(err, ErrOpen) {
		t.Fatal(err)
	}
	ok(t, d.SetAside(tp("orders", 0)))
	if err := d.SetAside(tp("missing", 0)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if found := d.Logs(); len(found) != 1 {
		t.Fatal(found)
	}
	ok(t, d.Close(1))
	d = open(t, fsys)
	if found := d.Logs(); len(found) != 1 || found[0].TopicPartition != tp("orders", 1) {
		t.Fatal(found)
	}
	if !slices.ContainsFunc(names(t, fsys), func(n string) bool { return strings.HasSuffix(n, "-stray") }) {
		t.Fatal("the data is gone:", names(t, fsys))
	}
}

func TestOpenLogTwiceIsRefused(t *testing.T) {
	d := open(t, vfs.NewMemory())
	openLog(t, d, tp("orders", 0))
	if _, err := d.OpenLog(tp("orders", 0), topicID, commitlog.Config{}); !errors.Is(err, ErrOpen) {
		t.Fatal(err)
	}
	ok(t, d.Close(1))
	if _, err := d.OpenLog(tp("orders", 1), topicID, commitlog.Config{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := d.Close(1); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// A segment of message format 0 or 1 keeps its partition offline and its bytes
// and checkpoints as they are; the others work.
func TestOldMessageFormatIsLeftAlone(t *testing.T) {
	fsys := vfs.NewMemory()
	d := open(t, fsys)
	use(t, openLog(t, d, tp("new", 0)))
	ok(t, d.Close(1))
	old := make([]byte, 34) // offset, size, crc, magic 1, attributes, …
	old[11], old[16] = 22, 1
	binary.BigEndian.PutUint32(old[12:], crc32.ChecksumIEEE(old[16:]))
	ok(t, fsys.MkdirAll("/data/old-0"))
	ok(t, vfs.WriteFileAtomic(fsys, "/data/old-0/00000000000000000000.log", old))
	write(t, fsys, recoveryPointFile, "0\n2\nnew 0 0\nold 0 17\n")
	ok(t, fsys.Remove("/data/"+manifestFile))

	d = open(t, fsys)
	var oldFormat *commitlog.OldFormatError
	if _, err := d.OpenLog(tp("old", 0), kafka.TopicID{}, commitlog.Config{}); !errors.As(err, &oldFormat) {
		t.Fatal(err)
	}
	openLog(t, d, tp("new", 0))
	ok(t, d.Close(1))
	b, err := vfs.ReadFile(fsys, "/data/old-0/00000000000000000000.log", 1000)
	if err != nil || string(b) != string(old) {
		t.Fatalf("%x, %v", b, err)
	}
	if got := read(t, fsys, recoveryPointFile); got != "0\n2\nnew 0 0\nold 0 17\n" {
		t.Fatalf("%q", got)
	}
}

func TestCheckpointsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := vfs.NewMemory()
		fsys := vfs.NewFault(memory)
		d := open(t, fsys)
		log := openLog(t, d, tp("orders", 0))
		appendSome(t, log, 2)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := read(t, fsys, highWatermarkFile); got != "0\n1\norders 0 2\n" {
			t.Fatalf("%q", got)
		}
		if tail := log.Tail(); tail.Flushed != 0 {
			t.Fatalf("flushed before its time: %+v", tail)
		}
		time.Sleep(55 * time.Second)
		synctest.Wait()
		if got := read(t, fsys, recoveryPointFile); got != "0\n1\norders 0 2\n" {
			t.Fatalf("%q", got)
		}
		if tail := log.Tail(); tail.Flushed != 2 {
			t.Fatalf("the log was not told: %+v", tail)
		}
		// An idle directory writes nothing.
		before := fsys.Count(vfs.OpChanges | vfs.OpSyncs)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := fsys.Count(vfs.OpChanges|vfs.OpSyncs) - before; n != 0 {
			t.Fatalf("%d changes while idle", n)
		}
		d.Kill()
	})
}

func TestFlushByVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMemory()
		o := options(fsys)
		o.FlushBytes = 1000
		d, err := Open(o)
		ok(t, err)
		defer d.Kill()
		log := openLog(t, d, tp("orders", 0))
		appendSome(t, log, 3)
		synctest.Wait()
		if tail := log.Tail(); tail.Flushed != 0 {
			t.Fatalf("flushed after %d bytes: %+v", tail.SizeBytes, tail)
		}
		ok(t, appendTo(log, strings.Repeat("x", 1000)))
		synctest.Wait()
		if tail := log.Tail(); tail.Flushed != 4 {
			t.Fatalf("not flushed after %d bytes: %+v", tail.SizeBytes, tail)
		}
	})
}

func TestFailedFlushTakesTheDirectoryOffline(t *testing.T) {
	memory := vfs.NewMemory()
	fsys := vfs.NewFault(memory)
	d := open(t, fsys)
	log := openLog(t, d, tp("orders", 0))
	appendSome(t, log, 2)
	ok(t, d.Offline())
	fsys.Add(vfs.Rule{Ops: vfs.OpSyncFS, Times: 1, Err: syscall.EIO})
	if err := d.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	<-d.WentOffline()
	var offline *OfflineError
	if err := d.Offline(); !errors.As(err, &offline) || !errors.Is(err, kafka.KafkaStorageError) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context()); !errors.Is(err, kafka.KafkaStorageError) {
		t.Fatal("a second flush claimed success:", err)
	}
	if tail := log.Tail(); tail.Flushed != 0 {
		t.Fatalf("%+v", tail)
	}
	if _, err := d.OpenLog(tp("orders", 1), topicID, commitlog.Config{}); !errors.Is(err, kafka.KafkaStorageError) {
		t.Fatal(err)
	}
	if err := d.Close(1); !errors.Is(err, kafka.KafkaStorageError) {
		t.Fatal(err)
	}
	if all := names(t, memory); slices.Contains(all, markerFile) || slices.Contains(all, highWatermarkFile) {
		t.Fatal("an offline directory was written to:", all)
	}
	if b, err := vfs.ReadFile(memory, "/data/"+recoveryPointFile, 100); err != nil || string(b) != "0\n0\n" {
		t.Fatalf("an offline directory was written to: %q, %v", b, err)
	}
	open(t, memory) // the lock was given back
}

func TestFullDiskPasses(t *testing.T) {
	fsys := vfs.NewFault(vfs.NewMemory())
	d := open(t, fsys)
	appendSome(t, openLog(t, d, tp("orders", 0)), 2)
	fsys.Add(vfs.Rule{Ops: vfs.OpWrite, Path: recoveryPointFile, Times: 1, Err: syscall.ENOSPC})
	if err := d.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	ok(t, d.Offline())
	ok(t, d.Flush(t.Context()))
	if got := read(t, fsys, recoveryPointFile); got != "0\n1\norders 0 2\n" {
		t.Fatalf("%q", got)
	}
	if all := names(t, fsys); slices.Contains(all, recoveryPointFile+".tmp") {
		t.Fatal(all)
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
