// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

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

// Whoever removes the folder of a log that is in use has not taken its name.
func TestDeleteLogWithoutAFolder(t *testing.T) {
	memory := vfs.NewMemory()
	d := open(t, memory)
	log := openLog(t, d, tp("orders", 0))
	use(t, log)
	ok(t, memory.RemoveAll(log.Dir()))
	ok(t, d.DeleteLog(log))
	use(t, openLog(t, d, tp("orders", 0)))
	ok(t, d.Offline())
	ok(t, d.Close(1))
}

// A deletion that found no room for the new name does not cost the directory its
// clean stop.
func TestCleanStopAfterADeletionThatFailed(t *testing.T) {
	for name, used := range map[string]bool{"in use": true, "not used since the start": false} {
		t.Run(name, func(t *testing.T) {
			memory := vfs.NewMemory()
			fill(t, memory, 2)
			fsys := vfs.NewFault(memory)
			d := open(t, fsys)
			gone, kept := openLog(t, d, tp("orders", 0)), openLog(t, d, tp("orders", 1))
			appendSome(t, kept, 1)
			if used {
				appendSome(t, gone, 1)
			}
			fsys.Add(vfs.Rule{Ops: vfs.OpRename, Path: "/orders-0", Err: syscall.ENOSPC})
			if err := d.DeleteLog(gone); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			fsys.Clear()
			ok(t, d.Close(2))
			if !slices.Contains(names(t, memory), markerFile) {
				t.Error("no marker")
			}

			d = open(t, memory)
			if tail := openLog(t, d, tp("orders", 1)).Tail(); tail.LogEnd != 2 {
				t.Errorf("%+v", tail)
			}
			// What is left of the topic goes away with it.
			if used {
				ok(t, d.SetAside(tp("orders", 0)))
			} else {
				ok(t, d.DeleteLog(openLog(t, d, tp("orders", 0))))
			}
			ok(t, d.Close(3))
		})
	}
}
