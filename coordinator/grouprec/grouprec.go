// SPDX-License-Identifier: Apache-2.0

// Package grouprec holds the records of __consumer_offsets: commits, classic
// groups, groups of the new protocol, share and streams groups. The structs and
// codecs are generated from group.recs and give Kafka's bytes; tagged fields
// that this program does not know survive a round trip.
//
//	key    int16 type · fields, never flexible
//	value  int16 version · fields, or null for a tombstone
//
// Nothing here is shared between goroutines; what was decoded keeps nothing of
// the bytes it was read from.
package grouprec

import (
	"errors"
	"fmt"

	"gregor/wire/schema"
)

//go:generate go run gregor/wire/schema/recgen -o records_gen.go group.recs

// Record is one record as it stands in the log. A nil Value is a tombstone, an
// empty one is not.
type Record struct{ Key, Value []byte }

// Key is a key, a pointer to one of this package's structs.
type Key interface {
	Type() int16
	Append(b []byte) []byte
	Decode(b []byte) error
}

// Value is a value, a pointer to one of this package's structs.
type Value interface {
	Type() int16
	Append(b []byte) []byte
	AppendVersion(b []byte, version int16) []byte
	Decode(b []byte) (version int16, err error)
}

// ErrMalformed is the error of bytes that are no record.
var ErrMalformed = schema.ErrMalformed

// ErrUnknown is the error of a type or version that this program does not know.
// When Kafka loads it skips such a type, and gives up at such a version.
var ErrUnknown = errors.New("unknown record")

// New encodes a record.
func New(k Key, v Value) Record { return Record{Key: k.Append(nil), Value: v.Append(nil)} }

// Tombstone encodes the record that deletes a key.
func Tombstone(k Key) Record { return Record{Key: k.Append(nil)} }

// TypeOf reads the type of an encoded key. Of a type that nobody knows the error
// is ErrUnknown.
func TypeOf(key []byte) (int16, error) {
	r := schema.NewReader(key)
	typ := r.Int16()
	if err := r.Err(); err != nil {
		return 0, fmt.Errorf("type of a key: %w", err)
	}
	if !knownType(typ) {
		return typ, fmt.Errorf("%w: type %d", ErrUnknown, typ)
	}
	return typ, nil
}

func unknownVersion(typ, version int16) error {
	return fmt.Errorf("%w: version %d of type %d", ErrUnknown, version, typ)
}
