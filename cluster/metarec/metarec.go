// SPDX-License-Identifier: Apache-2.0

// Package metarec holds the records of __cluster_metadata: those that carry
// the metadata, and the control records of its raft. The structs and codecs
// are generated from metadata.recs; tagged fields that this program does not
// know survive a round trip. This file frames them.
//
//	metadata record: key null, value
//	    uvarint frame version (1) · uvarint api key · uvarint version · body
//	control record:
//	    key   int16 version (0) · int16 type
//	    value int16 version · body
//
// Nothing here is shared between goroutines; a decoded record keeps nothing of
// the bytes it was read from.
package metarec

import (
	"errors"
	"fmt"

	"gregor/wire/schema"
)

//go:generate go run gregor/wire/schema/recgen -o records_gen.go metadata.recs

// Record is one metadata record, a pointer to one of this package's structs.
type Record interface {
	APIKey() int16
	// WriteVersion is the version that Kafka writes at a level of
	// metadata.version.
	WriteVersion(metadataVersion int16) int16
	AppendTo(b []byte, version int16) []byte
	Decode(b []byte, version int16) error
}

// Control is one control record, a pointer to one of this package's structs.
type Control interface {
	Type() int16
	WriteVersion(metadataVersion int16) int16
	AppendTo(b []byte, version int16) []byte
	Decode(b []byte, version int16) error
}

// ErrMalformed is the error of bytes that are no record.
var ErrMalformed = schema.ErrMalformed

// ErrUnknown is the error of a record whose key or version is newer than this
// program. Metadata must not be applied past it.
var ErrUnknown = errors.New("unknown record")

const frameVersion = 1

// Marshal appends a metadata record's value at the version for the level of
// metadata.version.
func Marshal(b []byte, rec Record, metadataVersion int16) []byte {
	return marshalVersion(b, rec, rec.WriteVersion(metadataVersion))
}

// marshalVersion is Marshal at a version of the caller's choice.
func marshalVersion(b []byte, rec Record, version int16) []byte {
	b = append(b, frameVersion)
	b = schema.AppendUvarint(b, uint32(rec.APIKey()))
	b = schema.AppendUvarint(b, uint32(version))
	return rec.AppendTo(b, version)
}

// Unmarshal reads a metadata record's value.
func Unmarshal(value []byte) (Record, error) {
	rec, _, err := UnmarshalVersion(value)
	return rec, err
}

// UnmarshalVersion is Unmarshal that also tells the version.
func UnmarshalVersion(value []byte) (rec Record, version int16, err error) {
	r := schema.NewReader(value)
	frame, key, ver := r.Uvarint(), r.Uvarint(), r.Uvarint()
	if err := r.Err(); err != nil {
		return nil, 0, err
	}
	if frame != frameVersion {
		return nil, 0, fmt.Errorf("%w: frame version %d", ErrUnknown, frame)
	}
	if key > 1<<15-1 {
		return nil, 0, fmt.Errorf("%w: api key %d", ErrUnknown, key)
	}
	rec, versionMax := newRecord(int16(key))
	if rec == nil {
		return nil, 0, fmt.Errorf("%w: api key %d", ErrUnknown, key)
	}
	if ver > uint32(versionMax) {
		return nil, 0, fmt.Errorf("%w: version %d of %T, known are 0 to %d", ErrUnknown, ver, rec, versionMax)
	}
	if err := rec.Decode(r.Rest(), int16(ver)); err != nil {
		return nil, 0, fmt.Errorf("%T version %d: %w", rec, ver, err)
	}
	return rec, int16(ver), nil
}

// Types of control records, which stand in their keys.
const (
	TypeLeaderChange   int16 = 2
	TypeSnapshotHeader int16 = 3
	TypeSnapshotFooter int16 = 4
	TypeKRaftVersion   int16 = 5
	TypeKRaftVoters    int16 = 6
)

// ControlKey appends a control record's key.
func ControlKey(b []byte, rec Control) []byte {
	return schema.AppendInt16(schema.AppendInt16(b, 0), rec.Type())
}

// MarshalControl appends a control record's value at the version that Kafka
// 4.4 writes.
func MarshalControl(b []byte, rec Control) []byte {
	version := rec.WriteVersion(0)
	return rec.AppendTo(schema.AppendInt16(b, version), version)
}

// ControlType reads a control record's key.
func ControlType(key []byte) (int16, error) {
	r := schema.NewReader(key)
	_ = r.Int16()
	typ := r.Int16()
	if err := r.Err(); err != nil {
		return 0, fmt.Errorf("key of a control record: %w", err)
	}
	return typ, nil
}

// UnmarshalControl reads a control record. Of a type that is no raft control
// record the error is ErrUnknown.
func UnmarshalControl(key, value []byte) (Control, error) {
	typ, err := ControlType(key)
	if err != nil {
		return nil, err
	}
	rec, versionMax := newControl(typ)
	if rec == nil {
		return nil, fmt.Errorf("%w: control type %d", ErrUnknown, typ)
	}
	r := schema.NewReader(value)
	version := r.Int16()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%T: %w", rec, err)
	}
	if version < 0 || version > versionMax {
		return nil, fmt.Errorf("%w: version %d of %T, known are 0 to %d", ErrUnknown, version, rec, versionMax)
	}
	if err := rec.Decode(r.Rest(), version); err != nil {
		return nil, fmt.Errorf("%T version %d: %w", rec, version, err)
	}
	return rec, nil
}
