// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"strings"
	"testing"

	"gregor/base/kafka"
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
