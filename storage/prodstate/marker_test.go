// SPDX-License-Identifier: Apache-2.0

package prodstate

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// The bytes of MemoryRecords.withEndTransactionMarker of Apache Kafka 4.4.
func TestMarkersAreBuiltAsKafkaBuildsThem(t *testing.T) {
	for _, c := range []struct {
		m    Marker
		want string
	}{
		{Marker{EndsTxn: true, Commit: true, CoordinatorEpoch: 7}, "000000000000000000000042ffffffff02" + "e2c09fdd" +
			"0030" + "00000000" + "0000018bcfe56800" + "0000018bcfe56800" + "00000000000003e9" + "0005" + "ffffffff" + "00000001" +
			"20" + "00" + "00" + "00" + "08" + "00000001" + "0c" + "000000000007" + "00"},
		{Marker{EndsTxn: true, CoordinatorEpoch: -1}, "000000000000000000000042ffffffff02" + "d61e091a" +
			"0030" + "00000000" + "0000018bcfe56800" + "0000018bcfe56800" + "00000000000003e9" + "0005" + "ffffffff" + "00000001" +
			"20" + "00" + "00" + "00" + "08" + "00000000" + "0c" + "0000ffffffff" + "00"},
	} {
		got, err := AppendMarker([]byte("in front"), 1001, 5, c.m, 1_700_000_000_000)
		if err != nil || !bytes.HasPrefix(got, []byte("in front")) {
			t.Fatal(err)
		}
		got = got[len("in front"):]
		if text := hex.EncodeToString(got); text != c.want {
			t.Errorf("%+v:\n%s, want\n%s", c.m, text, c.want)
		}
		if m := ParseMarker(got); m != c.m {
			t.Errorf("%+v is read as %+v", c.m, m)
		}
	}
}

// A marker of transaction.version 2 has an epoch above that of its batches
// (KIP-890): one with theirs is of a transaction before. Below version 2 it has
// the epoch of its batches, or a higher one.
func TestEpochsOfMarkers(t *testing.T) {
	for _, c := range []struct {
		name    string
		epoch   kafka.ProducerEpoch // of the producer
		open    bool
		version int8
		marker  kafka.ProducerEpoch
		want    error
		ended   bool
	}{
		{"version 1, same epoch", 3, true, 1, 3, nil, true},
		{"version 1, raised by a fence", 3, true, 1, 4, nil, true},
		{"version 1, stale", 3, true, 1, 2, kafka.InvalidProducerEpoch, false},
		{"version 0, same epoch", 3, true, 0, 3, nil, true},
		{"version 2, raised", 3, true, 2, 4, nil, true},
		{"version 2, of the transaction before", 3, true, 2, 3, kafka.InvalidProducerEpoch, false},
		{"version 2, stale", 3, true, 2, 2, kafka.InvalidProducerEpoch, false},
		{"version 2, a repeat", 3, false, 2, 3, nil, false},
		{"version 2, stale with nothing open", 3, false, 2, 2, kafka.InvalidProducerEpoch, false},
		{"version 2, the greatest epoch", math.MaxInt16, true, 2, math.MaxInt16, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t: t}
			h := b.header(1, c.epoch, 0, 2)
			if c.open {
				h.Attributes = batch.AttrTransactional
			}
			if _, err := b.apply(h, Marker{}, producer); err != nil {
				t.Fatal(err)
			}
			end := b.header(1, c.marker, -1, 1)
			end.Attributes = batch.AttrTransactional | batch.AttrControl
			m := Marker{EndsTxn: true, Commit: true}
			before := b.s.List()[0]
			v, err := b.apply(end, m, Rules{Epochs: true, TxnVersion: c.version})
			if err != c.want || v.Ended != c.ended {
				t.Fatalf("%+v, %v", v, err)
			}
			after := b.s.List()[0]
			if err != nil {
				if after != before {
					t.Fatalf("what was refused changed %v into %v", before, after)
				}
				if v, err := b.apply(end, m, Rules{}); err != nil || v.Ended != c.open {
					t.Fatalf("a follower takes what its leader took: %+v, %v", v, err)
				}
				return
			}
			if after.TxnStart != kafka.NoOffset || after.Epoch != c.marker {
				t.Fatalf("%v", after)
			}
			if c.marker > c.epoch { // a new epoch begins at 0, and its first batch is no repeat
				b.refused(1, c.epoch, 2, 1, kafka.InvalidProducerEpoch)
				b.refused(1, c.marker, 2, 1, kafka.OutOfOrderSequenceNumber)
				b.ok(1, c.marker, 0, 2)
			} else {
				b.ok(1, c.marker, 2, 1)
			}
		})
	}
}

// A marker for a producer that the log does not know is taken: its batches may
// have gone with retention, or the transaction wrote nothing here. It begins
// and ends nothing, and what comes next begins at 0.
func TestMarkerOfAnUnknownProducer(t *testing.T) {
	for _, version := range []int8{1, 2} {
		b := &bench{t: t}
		end := b.header(9, 4, -1, 1)
		end.Attributes = batch.AttrTransactional | batch.AttrControl
		v, err := b.apply(end, Marker{EndsTxn: true, CoordinatorEpoch: 2}, Rules{Epochs: true, TxnVersion: version})
		if err != nil || v.Ended || v.Began || v.TxnStart != kafka.NoOffset {
			t.Fatalf("%+v, %v", v, err)
		}
		got := b.s.List()
		if len(got) != 1 || got[0].Epoch != 4 || got[0].CoordinatorEpoch != 2 || got[0].LastSequence != batch.NoSequence {
			t.Fatalf("%v", got)
		}
		var again State
		if err := again.LoadSnapshot(b.s.AppendSnapshot(nil), 0, 1); err != nil || again.List()[0] != got[0] {
			t.Fatalf("%v of a snapshot, %v", again.List(), err)
		}
		b.refused(9, 4, 1, 1, kafka.OutOfOrderSequenceNumber)
		b.ok(9, 4, 0, 1)
	}
}
