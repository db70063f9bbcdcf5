// SPDX-License-Identifier: Apache-2.0

package metarec

import (
	"errors"
	"reflect"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/wire/schema"
)

// latest is metadata.version 4.4-IV2.
const latest int16 = 33

// TestWriteVersions: Kafka 4.4 writes these versions at these levels of
// metadata.version.
func TestWriteVersions(t *testing.T) {
	for _, c := range []struct {
		rec   Record
		level int16
		want  int16
	}{
		{&RegisterBroker{}, 7, 1}, {&RegisterBroker{}, 8, 2}, {&RegisterBroker{}, 16, 2}, {&RegisterBroker{}, 17, 3},
		{&RegisterBroker{}, 29, 3}, {&RegisterBroker{}, 30, 4}, {&RegisterBroker{}, latest, 4},
		{&Partition{}, 16, 0}, {&Partition{}, 17, 1}, {&Partition{}, 22, 1}, {&Partition{}, 23, 2}, {&Partition{}, latest, 2},
		{&PartitionChange{}, 16, 0}, {&PartitionChange{}, 17, 1}, {&PartitionChange{}, latest, 2},
		{&BrokerRegistrationChange{Fenced: 1}, latest, 0},
		{&BrokerRegistrationChange{InControlledShutdown: 1}, latest, 1},
		{&BrokerRegistrationChange{LogDirs: []kafka.DirectoryID{{1}}}, latest, 2},
		{&BrokerRegistrationChange{CordonedLogDirs: []kafka.DirectoryID{}}, latest, 3},
		{&FeatureLevel{}, latest, 0}, {&Topic{}, latest, 0},
	} {
		if got := c.rec.WriteVersion(c.level); got != c.want {
			t.Errorf("%T at level %d: version %d, want %d", c.rec, c.level, got, c.want)
		}
	}
	if got := (&LeaderChange{}).WriteVersion(latest); got != 0 {
		t.Errorf("LeaderChange is written at %d, Kafka 4.4 writes 0", got)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	good := Marshal(nil, &Topic{Name: "t", TopicID: kafka.TopicID{1}}, latest)
	for _, c := range []struct {
		name  string
		value []byte
		want  error
	}{
		{"nothing", nil, ErrMalformed},
		{"another frame version", append([]byte{2}, good[1:]...), ErrUnknown},
		{"an api key nobody has", []byte{1, 99, 0, 0}, ErrUnknown},
		{"an api key above int16", []byte{1, 0xff, 0xff, 0x7f, 0, 0}, ErrUnknown},
		{"a newer version", append([]byte{1, 2, 1}, good[3:]...), ErrUnknown},
		{"a byte too few", good[:len(good)-1], ErrMalformed},
		{"a byte too many", append(good[:len(good):len(good)], 0), ErrMalformed},
		{"a null topic name", append([]byte{1, 2, 0, 0}, make([]byte, 17)...), ErrMalformed},
		{"tags that do not ascend", []byte{1, 20, 0, 2, 7, 0, 7, 0}, ErrMalformed},
		{"a varint without end", []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff}, ErrMalformed},
	} {
		if _, err := Unmarshal(c.value); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestUnmarshalControlRefuses(t *testing.T) {
	for _, c := range []struct {
		name       string
		key, value []byte
		want       error
	}{
		{"a short key", []byte{0, 0, 0}, nil, ErrMalformed},
		{"a transaction marker", []byte{0, 0, 0, 1}, make([]byte, 6), ErrUnknown},
		{"a newer version", []byte{0, 0, 0, 5}, []byte{0, 1, 0, 1, 0}, ErrUnknown},
		{"a negative version", []byte{0, 0, 0, 5}, []byte{0xff, 0xff, 0, 1, 0}, ErrUnknown},
		{"a short value", []byte{0, 0, 0, 5}, []byte{0, 0, 0}, ErrMalformed},
	} {
		if _, err := UnmarshalControl(c.key, c.value); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestUnknownTags: fields of a newer writer stand where they stood, among known
// ones too. Version 1 of a PartitionChange does not know tags 6 and 7.
func TestUnknownTags(t *testing.T) {
	change := NewPartitionChange()
	change.Leader = 3
	change.Directories = []kafka.DirectoryID{{1}}
	change.Unknown = []schema.Tag{{Key: 6, Value: []byte("six")}, {Key: 10000, Value: []byte{}}}
	value := marshalVersion(nil, change, 1)
	rec, err := Unmarshal(value)
	if err != nil {
		t.Fatal(err)
	}
	got := rec.(*PartitionChange)
	if len(got.Unknown) != 2 || string(got.Unknown[0].Value) != "six" || got.Unknown[1].Key != 10000 || got.Leader != 3 {
		t.Errorf("read back: %+v", got)
	}
	if again := marshalVersion(nil, rec, 1); string(again) != string(value) {
		t.Errorf("written again:\n%x\n%x", again, value)
	}
}

// TestRoundTrip: any record survives being written at the highest version.
func TestRoundTrip(t *testing.T) {
	var keys []int16
	for key := int16(0); key < 100; key++ {
		if rec, _ := newRecord(key); rec != nil {
			keys = append(keys, key)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		rec, version := newRecord(rapid.SampledFrom(keys).Draw(t, "key"))
		fill(t, reflect.ValueOf(rec).Elem())
		got, gotVersion, err := UnmarshalVersion(marshalVersion(nil, rec, version))
		if err != nil || gotVersion != version || !reflect.DeepEqual(got, rec) {
			t.Fatalf("%v\n got %+v\nwant %+v", err, got, rec)
		}
	})
}

func fill(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if v.Type().Field(i).Name != "Unknown" && rapid.Bool().Draw(t, "set") {
			f.Set(draw(t, f.Type()))
		}
	}
}

func draw(t *rapid.T, typ reflect.Type) reflect.Value {
	v := reflect.New(typ).Elem()
	switch typ.Kind() {
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int8:
		v.SetInt(int64(rapid.Int8().Draw(t, "int8")))
	case reflect.Int16:
		v.SetInt(int64(rapid.Int16().Draw(t, "int16")))
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, "int32")))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int64"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Uint8().Draw(t, "uint8")))
	case reflect.Uint16:
		v.SetUint(uint64(rapid.Uint16().Draw(t, "uint16")))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float64"))
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "string"))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(draw(t, typ.Elem()))
		}
	case reflect.Pointer:
		v.Set(reflect.New(typ.Elem()))
		v.Elem().Set(draw(t, typ.Elem()))
	case reflect.Slice: // an empty one that is not null reads back as nil
		for range rapid.IntRange(1, 3).Draw(t, "count") {
			v = reflect.Append(v, draw(t, typ.Elem()))
		}
	case reflect.Struct:
		fill(t, v)
	}
	return v
}

// TestNoAllocationToEncode: a controller encodes thousands of records at once.
func TestNoAllocationToEncode(t *testing.T) {
	b := make([]byte, 0, 1024)
	change := NewPartitionChange()
	change.ISR = []kafka.NodeID{1, 2, 3}
	if n := testing.AllocsPerRun(100, func() { b = Marshal(b[:0], change, latest) }); n != 0 {
		t.Errorf("%v allocations to encode a record", n)
	}
}

// FuzzUnmarshal: no bytes make the decoder panic or allocate much more than they
// are, and what it reads, it writes and reads again the same.
func FuzzUnmarshal(f *testing.F) {
	for _, v := range vectors(f) {
		if !v.control {
			f.Add(v.value)
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rec, version, err := UnmarshalVersion(value)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10+64*uint64(len(value)) {
			t.Fatalf("%d bytes allocated for %d", grown, len(value))
		}
		if err != nil {
			return
		}
		again, _, err := UnmarshalVersion(marshalVersion(nil, rec, version))
		if err != nil || !equalBytes(marshalVersion(nil, again, version), marshalVersion(nil, rec, version)) {
			t.Fatalf("%v\n%+v\n%+v", err, rec, again)
		}
	})
}

// FuzzUnmarshalControl is FuzzUnmarshal for control records.
func FuzzUnmarshalControl(f *testing.F) {
	for _, v := range vectors(f) {
		if v.control {
			f.Add(byte(v.name[0]-'0'), v.value)
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, value []byte) {
		rec, err := UnmarshalControl([]byte{0, 0, 0, typ}, value)
		if err != nil {
			return
		}
		version := int16(value[0])<<8 | int16(value[1])
		body := rec.AppendTo(nil, version)
		if err := rec.Decode(body, version); err != nil || !equalBytes(rec.AppendTo(nil, version), body) {
			t.Fatalf("%v: %+v", err, rec)
		}
	})
}

func equalBytes(a, b []byte) bool { return string(a) == string(b) }
