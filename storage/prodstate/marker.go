// SPDX-License-Identifier: Apache-2.0

package prodstate

import (
	"encoding/binary"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// Marker is the control record that ends a transaction.
type Marker struct {
	EndsTxn          bool // false: another kind of control record
	Commit           bool
	CoordinatorEpoch int32
}

// Kinds of control records that end a transaction, in the record's key:
// version int16 | kind int16. The value is version int16 | coordinator epoch int32.
const (
	kindAbort  = 0
	kindCommit = 1
)

// AppendMarker appends the control batch of a marker to dst, as Kafka builds it:
// one record, transactional, without a sequence. m.EndsTxn is taken for granted.
func AppendMarker(dst []byte, id kafka.ProducerID, epoch kafka.ProducerEpoch, m Marker, timestampMs int64) ([]byte, error) {
	var key [4]byte
	var value [6]byte
	kind := uint16(kindAbort)
	if m.Commit {
		kind = kindCommit
	}
	binary.BigEndian.PutUint16(key[2:], kind)
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	var b batch.Builder
	b.Begin(batch.Options{LeaderEpoch: kafka.NoLeaderEpoch, Transactional: true, Control: true,
		ProducerID: id, ProducerEpoch: epoch, BaseSequence: batch.NoSequence})
	b.Add(timestampMs, key[:], value[:])
	return b.Finish(dst, nil)
}

// ParseMarker reads the marker from a whole control batch. Control batches are
// not compressed and a marker is alone in its batch. A batch that holds no
// readable marker gives the zero Marker.
func ParseMarker(b []byte) Marker {
	if len(b) <= batch.HeaderSize {
		return Marker{}
	}
	r := b[batch.HeaderSize:]
	varint := func() (int64, bool) {
		v, n := binary.Varint(r)
		if n <= 0 {
			return 0, false
		}
		r = r[n:]
		return v, true
	}
	bytes := func() ([]byte, bool) {
		n, ok := varint()
		if !ok || n < 0 || n > int64(len(r)) {
			return nil, false
		}
		v := r[:n]
		r = r[n:]
		return v, true
	}
	if _, ok := varint(); !ok || len(r) == 0 { // length, attributes
		return Marker{}
	}
	r = r[1:]
	if _, ok := varint(); !ok { // timestamp delta
		return Marker{}
	}
	if _, ok := varint(); !ok { // offset delta
		return Marker{}
	}
	key, ok := bytes()
	if !ok || len(key) < 4 {
		return Marker{}
	}
	kind := binary.BigEndian.Uint16(key[2:])
	if kind != kindAbort && kind != kindCommit {
		return Marker{}
	}
	value, ok := bytes()
	if !ok || len(value) < 6 {
		return Marker{}
	}
	return Marker{EndsTxn: true, Commit: kind == kindCommit, CoordinatorEpoch: int32(binary.BigEndian.Uint32(value[2:]))}
}
