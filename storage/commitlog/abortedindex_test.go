// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// A transaction index that is damaged is built again, byte for byte as Kafka
// wrote it, whether a reader or the load finds it; and no reader is given what
// was aborted meanwhile.
func TestDamagedTransactionIndexesAreRebuilt(t *testing.T) {
	files := kafkaFiles(t)
	for _, damage := range []struct {
		name string
		do   func(b []byte) []byte
	}{
		{"torn", func(b []byte) []byte { return b[:len(b)-1] }},
		{"of another version", func(b []byte) []byte { return append([]byte{9}, b[1:]...) }},
		{"zeros", func(b []byte) []byte { return make([]byte, 2*len(b)) }},
		{"out of order", func(b []byte) []byte { return append(bytes.Clone(b), b...) }},
	} {
		for _, clean := range []bool{true, false} {
			for _, snapshots := range []bool{true, false} {
				b := memoryBed(t)
				b.o.Config, b.o.CleanStart = kafkaConfig, clean
				b.o.RecoveryPoint = 300 // a crash leaves the segments below it unread
				for name, p := range files {
					if strings.HasSuffix(name, segment.TxnIndexSuffix) {
						p = damage.do(p)
					}
					if snapshots || !strings.HasSuffix(name, segment.SnapshotSuffix) {
						b.put(name, p)
					}
				}
				b.mustOpen()
				b.l.AdvanceHighWatermark(403)
				var got []AbortedTxn
				for from := kafka.Offset(0); from < b.l.Tail().LastStable; {
					r, err := b.l.Read(nil, from, 700, ToLastStable, true)
					if err != nil {
						t.Fatalf("%s, clean %v: %v", damage.name, clean, err)
					}
					r.File.Src.Release()
					got, from = append(got, r.Aborted...), r.Next
				}
				if len(got) == 0 {
					t.Fatalf("%s, clean %v: nothing was aborted", damage.name, clean)
				}
				b.stop(false)
				for name, want := range files {
					if strings.HasSuffix(name, segment.TxnIndexSuffix) && !bytes.Equal(b.get(name), want) {
						t.Errorf("%s, clean %v, with snapshots %v: %s differs", damage.name, clean, snapshots, name)
					}
				}
			}
		}
	}
}

// A log may know more producers than fit into any small file.
func TestManyProducersSurvive(t *testing.T) {
	const producers = 400_000
	b := memoryBed(t).mustOpen()
	b.mustAppend(plain(1, b.now.UnixMilli()))
	var s prodstate.State
	for id := range kafka.ProducerID(producers) {
		h := batch.Header{ProducerID: id, Count: 1, MaxTimestampMs: b.now.UnixMilli()}
		if _, err := s.Apply(&h, prodstate.Marker{}, prodstate.Rules{}); err != nil {
			t.Fatal(err)
		}
		s.Keep()
	}
	b.stop(false)
	b.put(segment.Name(1, segment.SnapshotSuffix), s.AppendSnapshot(nil))
	b.mustOpen()
	b.stop(true)
	b.mustOpen()
	if list, err := b.l.Producers(); err != nil || len(list) != producers {
		t.Errorf("%d producers, %v", len(list), err)
	}
}

// A producer snapshot that ends in front of the first segment knows nothing of
// the markers between: the transactions that it holds open were ended long ago.
func TestSnapshotInFrontOfTheLogIsOfNoUse(t *testing.T) {
	for _, crash := range []bool{true, false} {
		b := memoryBed(t).mustOpen()
		s := plain(1, b.now.UnixMilli())
		s.pid, s.pepoch, s.seq, s.txn = 7, 0, 0, true
		b.mustAppend(s)
		b.stop(false)
		old := b.get(segment.Name(1, segment.SnapshotSuffix))
		b.mustOpen()
		if a := b.append(spec{pid: 7, seq: -1, marker: "abort", ts: s.ts}, 0, OriginCoordinator); a.Err != nil {
			t.Fatal(a.Err)
		}
		if err := b.l.Roll(); err != nil {
			t.Fatal(err)
		}
		b.mustAppend(plain(1, s.ts))
		b.l.AdvanceHighWatermark(3)
		if n, err := b.l.DropSegments(2); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if crash {
			b.crash()
		} else {
			b.stop(false)
		}
		for _, at := range []kafka.Offset{2, 3} {
			_ = b.fs.Remove(filepath.Join(b.o.Dir, segment.Name(at, segment.SnapshotSuffix)))
		}
		b.put(segment.Name(1, segment.SnapshotSuffix), old)
		b.mustOpen()
		if tail := b.l.Tail(); tail.LastStable != 3 || tail.LogStart != 2 {
			t.Errorf("crash %v: %+v", crash, tail)
		}
	}
}

// Once older segments are gone, the producers that wrote to them, and what they
// left open, are known from a snapshot alone: a power cut must not take it.
func TestDroppedSegmentsLeaveTheirProducers(t *testing.T) {
	memory := diskWithData(t)
	b := newBed(t, memory, "/data/t-0").mustOpen()
	s := plain(1, b.now.UnixMilli())
	s.pid, s.pepoch, s.seq, s.txn = 7, 3, 0, true
	b.mustAppend(s)
	if err := b.l.Roll(); err != nil {
		t.Fatal(err)
	}
	b.mustAppend(plain(1, s.ts))
	b.l.AdvanceHighWatermark(2)
	if err := b.l.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.l.DropSegments(1); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	b.l.Kill()
	after := newBed(t, memory.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone}), "/data/t-0")
	after.o.RecoveryPoint, after.o.HighWatermark, after.o.LogStart = 2, 2, 1
	after.mustOpen()
	list, err := after.l.Producers()
	if err != nil || len(list) != 1 || list[0].Epoch != 3 || list[0].TxnStart != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	if tail := after.l.Tail(); tail.LastStable != 1 {
		t.Errorf("%+v", tail)
	}
}

// While several segments go, a power cut may leave the log at any of them, and
// may take what lies behind.
func TestSegmentsThatGoTogetherLeaveTheirProducers(t *testing.T) {
	crash := vfs.NewCrash(diskWithData(t))
	b := newBed(t, crash, "/data/t-0").mustOpen()
	s := plain(1, b.now.UnixMilli())
	s.pid, s.pepoch, s.seq, s.txn = 7, 3, 0, true
	b.mustAppend(s)
	if err := b.l.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.l.Roll(); err != nil {
			t.Fatal(err)
		}
		if b.l.Tail().LogEnd == 1 {
			b.mustAppend(plain(1, s.ts))
		}
	}
	b.l.AdvanceHighWatermark(2)
	halfway := 0
	crash.Observe(func(call int64, _ vfs.Call) {
		for _, loss := range []vfs.Loss{{Data: vfs.KeepNone, Entries: vfs.KeepAll}, {Data: vfs.KeepNone, Entries: vfs.KeepPrefix, Seed: uint64(call)}} {
			after := newBed(t, crash.Image(loss), "/data/t-0")
			after.o.RecoveryPoint, after.o.HighWatermark = 1, 1
			after.mustOpen()
			if after.l.Tail().LogStart == 1 {
				halfway++
			}
			if list, err := after.l.Producers(); err != nil || len(list) != 1 || list[0].Epoch != 3 || list[0].TxnStart != 0 {
				t.Errorf("before call %d, %+v: %v, %v; %+v", call, loss, list, err, after.l.Tail())
			}
			after.l.Kill()
		}
	})
	if n, err := b.l.DropSegments(2); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	crash.Observe(nil)
	if halfway == 0 {
		t.Error("no log began at the second segment")
	}
}
