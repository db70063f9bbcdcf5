// SPDX-License-Identifier: Apache-2.0

package grouprec

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"testing"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// TestWriteVersions: what Kafka 4.4 has written in a log, Append writes at the
// same version and to the same byte.
func TestWriteVersions(t *testing.T) {
	log, err := os.ReadFile("../../node/testdata/offsets/kafka.log")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int16]bool{}
	for len(log) > 0 {
		h, err := batch.Parse(log)
		if err != nil {
			t.Fatal(err)
		}
		it := batch.Records(&h, log[batch.HeaderSize:h.SizeBytes()])
		for rec := (batch.Record{}); !h.Attributes.IsControl() && it.Next(&rec); {
			typ, err := TypeOf(rec.Key)
			if err != nil {
				t.Fatal(err)
			}
			k, v := NewKey(typ), NewValue(typ)
			if err := k.Decode(rec.Key); err != nil || !bytes.Equal(k.Append(nil), rec.Key) {
				t.Errorf("key of offset %d: %v", rec.Offset, err)
			}
			if rec.Value == nil {
				continue
			}
			if version, err := v.Decode(rec.Value); err != nil || !bytes.Equal(v.Append(nil), rec.Value) {
				t.Errorf("%T at offset %d, version %d: %v\ngot  %x\nwant %x", v, rec.Offset, version, err, v.Append(nil), rec.Value)
			}
			seen[typ] = true
		}
		log = log[h.SizeBytes():]
	}
	for _, typ := range []int16{TypeOffsetCommit, TypeGroupMetadata, TypeConsumerGroupMetadata, TypeConsumerGroupMemberMetadata,
		TypeConsumerGroupTargetAssignmentMetadata, TypeConsumerGroupTargetAssignmentMember, TypeConsumerGroupCurrentMemberAssignment} {
		if !seen[typ] {
			t.Errorf("no record of type %d is in the log", typ)
		}
	}
}

// TestTypes: types that Kafka has retired, or does not have yet, are unknown and
// not malformed, so that a load can go on behind them.
func TestTypes(t *testing.T) {
	for _, c := range []struct {
		key  []byte
		want error
	}{
		{nil, ErrMalformed}, {[]byte{0}, ErrMalformed}, {[]byte{0, 9, 1, 2}, ErrUnknown}, {[]byte{0, 18}, ErrUnknown},
		{[]byte{0, 24}, ErrUnknown}, {[]byte{0xff, 0xff}, ErrUnknown}, {[]byte{0, 23}, nil},
	} {
		if _, err := TypeOf(c.key); !errors.Is(err, c.want) {
			t.Errorf("%x: %v, want %v", c.key, err, c.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	key := (&OffsetCommitKey{Group: "g", Topic: "t", Partition: 3}).Append(nil)
	value := (&OffsetCommitValue{Offset: 7, Metadata: "m"}).Append(nil)
	for _, c := range []struct {
		name string
		key  []byte
	}{
		{"nothing", nil}, {"another type", append([]byte{0, 2}, key[2:]...)}, {"a byte too few", key[:len(key)-1]},
		{"a byte too many", append(key[:len(key):len(key)], 0)}, {"a null group", append([]byte{0, 1, 0xff, 0xff}, key[5:]...)},
		{"a group beyond the end", []byte{0, 1, 0x7f, 0xff, 'g'}},
	} {
		if err := (&OffsetCommitKey{}).Decode(c.key); !errors.Is(err, ErrMalformed) {
			t.Errorf("key, %s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name  string
		value []byte
		want  error
	}{
		{"nothing", nil, ErrMalformed}, {"a newer version", append([]byte{0, 5}, value[2:]...), ErrUnknown},
		{"a negative version", append([]byte{0xff, 0xff}, value[2:]...), ErrUnknown}, {"a byte too few", value[:len(value)-1], ErrMalformed},
		{"a byte too many", append(value[:len(value):len(value)], 0), ErrMalformed},
	} {
		if _, err := (&OffsetCommitValue{}).Decode(c.value); !errors.Is(err, c.want) {
			t.Errorf("value, %s: %v, want %v", c.name, err, c.want)
		}
	}
	members := append((&GroupMetadataValue{}).Append(nil)[:2+2+4+2+2+8], 0x7f, 0xff, 0xff, 0xff)
	if _, err := (&GroupMetadataValue{}).Decode(members); !errors.Is(err, ErrMalformed) {
		t.Errorf("two billion members: %v", err)
	}
}

// TestNullableStruct: absent and present are told apart.
func TestNullableStruct(t *testing.T) {
	member := NewConsumerGroupMemberMetadataValue()
	member.ClassicMemberMetadata = &ClassicMemberMetadata{SessionTimeoutMs: 45000, SupportedProtocols: []ClassicProtocol{{Name: "range", Metadata: []byte{1}}}}
	var got ConsumerGroupMemberMetadataValue
	if _, err := got.Decode(member.Append(nil)); err != nil || got.ClassicMemberMetadata == nil || got.ClassicMemberMetadata.SessionTimeoutMs != 45000 ||
		string(got.ClassicMemberMetadata.SupportedProtocols[0].Metadata) != "\x01" {
		t.Errorf("%v: %+v", err, got.ClassicMemberMetadata)
	}
	member.ClassicMemberMetadata = nil
	if _, err := got.Decode(member.Append(nil)); err != nil || got.ClassicMemberMetadata != nil {
		t.Errorf("%v: %+v", err, got.ClassicMemberMetadata)
	}
}

// TestAllocations: a million commits are decoded when a coordinator loads.
func TestAllocations(t *testing.T) {
	key := (&OffsetCommitKey{Group: "group", Topic: "topic", Partition: 3}).Append(nil)
	value := (&OffsetCommitValue{Offset: 7, LeaderEpoch: 1, CommitTimestamp: 99}).Append(nil)
	var sum kafka.Offset
	if n := testing.AllocsPerRun(100, func() {
		var k OffsetCommitKey
		var v OffsetCommitValue
		if k.Decode(key) != nil {
			t.Fatal()
		}
		if _, err := v.Decode(value); err != nil {
			t.Fatal(err)
		}
		sum += v.Offset
	}); n > 3 {
		t.Errorf("%v allocations to decode a commit; two are its strings, one the reader", n)
	}
	b := make([]byte, 0, 256)
	commit := OffsetCommitKey{Group: "group", Topic: "topic", Partition: 3}
	if n := testing.AllocsPerRun(100, func() { b = commit.Append(b[:0]) }); n != 0 {
		t.Errorf("%v allocations to encode a key", n)
	}
}

// FuzzKey: no bytes make the decoder panic or allocate much more than they are,
// and what it reads, it writes again to the byte.
func FuzzKey(f *testing.F) {
	for _, v := range vectors(f) {
		if v.key {
			f.Add(v.bytes)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, err := TypeOf(b)
		if err != nil {
			return
		}
		k := NewKey(typ)
		if bounded(t, len(b), func() { err = k.Decode(b) }); err != nil {
			return
		}
		if got := k.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("%+v\ngot  %x\nwant %x", k, got, b)
		}
	})
}

// FuzzValue is FuzzKey for values. A varint may have been longer than it need be,
// so it is the second round that has to give the same bytes.
func FuzzValue(f *testing.F) {
	for _, v := range vectors(f) {
		if !v.key {
			f.Add(v.typ, v.bytes)
		}
	}
	f.Fuzz(func(t *testing.T, typ int16, b []byte) {
		v := NewValue(typ)
		if v == nil {
			return
		}
		var version int16
		var err error
		if bounded(t, len(b), func() { version, err = v.Decode(b) }); err != nil {
			return
		}
		once := v.AppendVersion(nil, version)
		again := NewValue(typ)
		if _, err := again.Decode(once); err != nil || !bytes.Equal(again.AppendVersion(nil, version), once) {
			t.Fatalf("%v\n%+v\n%+v", err, v, again)
		}
	})
}

func bounded(t *testing.T, size int, decode func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10+200*uint64(size) {
		t.Fatalf("%d bytes allocated for %d", grown, size)
	}
}
