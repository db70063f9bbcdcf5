// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fate is what Kafka does with a request.
type Fate int

const (
	// Answered requests can be read: they get an answer, an error most often,
	// and the connection goes on.
	Answered Fate = iota
	// Closed are requests that cannot be read: the connection ends.
	Closed
	// Open is one or the other.
	Open
)

// Case is one bad request.
type Case struct {
	Name string
	Body []byte // behind the header
	Fate Fate
}

// Cases are all that can be wrong with req in one place. They are the same for
// the same request, and in the same order.
func Cases(req kmsg.Request) []Case {
	m := maker{req: req, whole: req.AppendTo(nil), seen: map[string]bool{}}
	m.seen[string(m.whole)] = true
	for cut := range m.whole {
		m.add(fmt.Sprintf("first %d bytes", cut), m.whole[:cut], Closed)
	}
	m.add("bytes behind it", append(bytes.Clone(m.whole), 1, 2, 3, 4, 5), Answered)
	m.walk(reflect.ValueOf(req).Elem(), nil)
	return m.cases
}

// maker makes the cases of one request. It changes the message in place, writes
// it, and puts back what was there.
type maker struct {
	req   kmsg.Request
	whole []byte
	cases []Case
	seen  map[string]bool
}

func (m *maker) add(name string, body []byte, fate Fate) {
	if m.seen[string(body)] {
		return // what the version does not have, or what was wrong elsewhere
	}
	m.seen[string(body)] = true
	m.cases = append(m.cases, Case{name, bytes.Clone(body), fate})
}

// with writes the message with v set to another value.
func (m *maker) with(v, other reflect.Value) []byte {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	v.Set(other)
	defer v.Set(old)
	return m.req.AppendTo(nil)
}

// set adds the message with v set to another value.
func (m *maker) set(path []string, what string, v reflect.Value, other any) {
	changed, fate := reflect.ValueOf(other).Convert(v.Type()), m.fateOf(path)
	if isUnknownKind(changed) {
		fate = Closed
	}
	m.add(strings.Join(path, ".")+" "+what, m.with(v, changed), fate)
}

// isUnknownKind reports a kind of an ACL that is UNKNOWN, 0, which Kafka does
// not read. What is no kind at all it reads.
func isUnknownKind(v reflect.Value) bool {
	switch v.Interface().(type) {
	case kmsg.ACLResourceType, kmsg.ACLResourcePatternType, kmsg.ACLOperation, kmsg.ACLPermissionType:
		return v.Int() == 0
	}
	return false
}

// fateOf is what becomes of a request in which kmsg wrote a field.
func (m *maker) fateOf(path []string) Fate {
	if m.req.GetVersion() < tagsFrom[kmsg.NameForKey(m.req.Key())+"."+strings.Join(path, ".")] {
		return Closed
	}
	return Answered
}

// tagsFrom are tagged fields that kmsg writes, once they are set, also in
// versions before the first that has them. They make a request malformed.
var tagsFrom = map[string]int16{
	"Fetch.ReplicaState.ID": 15, "Fetch.ReplicaState.Epoch": 15, "Fetch.ReplicaState.tags": 15,
	"Fetch.Topics.Partitions.ReplicaDirectoryID": 17, "Fetch.Topics.Partitions.HighWatermark": 18,
}

// bend adds the message with the bytes from at to end replaced.
func (m *maker) bend(path []string, what string, at, end int, by []byte, fate Fate) {
	body := append(append(bytes.Clone(m.whole[:at]), by...), m.whole[end:]...)
	m.add(strings.Join(path, ".")+" "+what, body, fate)
}

// differsAt is where writing the message another way first differs; ok is false
// if it does not, because this version does not have the field.
func (m *maker) differsAt(other []byte) (at int, ok bool) {
	if bytes.Equal(other, m.whole) {
		return 0, false
	}
	for at < len(other) && at < len(m.whole) && other[at] == m.whole[at] {
		at++
	}
	return at, true
}

func (m *maker) walk(v reflect.Value, path []string) {
	switch v.Kind() {
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := v.Type().Bits()
		m.set(path, "is the least", v, int64(math.MinInt64)>>(64-bits))
		m.set(path, "is the most", v, int64(math.MaxInt64)>>(64-bits))
		for _, n := range []int64{-2, -1, 0, 2, 100} {
			m.set(path, fmt.Sprintf("is %d", n), v, n)
		}
	case reflect.Float64:
		for _, n := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, math.MaxFloat64} {
			m.set(path, fmt.Sprintf("is %v", n), v, n)
		}
	case reflect.Array:
		m.set(path, "is zero", v, [16]byte{})
		m.set(path, "is unknown", v, [16]byte{15: 7})
	case reflect.String:
		m.text(v, path, false)
	case reflect.Pointer:
		m.pointer(v, path)
	case reflect.Slice:
		m.slice(v, path)
	case reflect.Struct:
		m.fields(v, path)
	}
}

func (m *maker) fields(v reflect.Value, path []string) {
	for i := range v.NumField() {
		switch f := v.Type().Field(i); f.Name {
		case "Version":
		case "UnknownTags":
			m.tags(v.Field(i), path)
		default:
			m.walk(v.Field(i), append(path[:len(path):len(path)], f.Name))
		}
	}
}

func (m *maker) pointer(v reflect.Value, path []string) {
	kind := v.Type().Elem().Kind()
	if v.IsNil() {
		there := reflect.New(v.Type().Elem())
		fill(there.Elem(), path[len(path)-1], [16]byte{1})
		m.add(strings.Join(path, ".")+" is there", m.with(v, there), Answered)
		return
	}
	if kind == reflect.String {
		m.text(v.Elem(), path, true)
		return
	}
	m.walk(v.Elem(), path)
	if at, ok := m.differsAt(m.with(v, reflect.Zero(v.Type()))); ok {
		m.add(strings.Join(path, ".")+" is null", m.with(v, reflect.Zero(v.Type())), Answered)
		m.bend(path, "is neither null nor there", at, at+1, []byte{1}, Answered)
	}
}

// text bends a string. Its bytes are found by writing another of its length.
func (m *maker) text(v reflect.Value, path []string, pointer bool) {
	old := v.String()
	set := func(what, s string, fate Fate) {
		m.add(strings.Join(path, ".")+" "+what, m.with(v, reflect.ValueOf(s)), fate)
	}
	other := []byte(old)
	if len(other) > 0 {
		other[0] ^= 1
	} else {
		other = []byte("x")
	}
	body := m.with(v, reflect.ValueOf(string(other)))
	at, ok := m.differsAt(body)
	if !ok {
		return
	}
	set("is empty", "", Answered)
	set("is not a name", "a b/\x00\n", Answered)
	set("is ..", "..", Answered)
	set("is not UTF-8", "a\xff\xfe\xc0\x80", Answered)
	set("is 300 long", strings.Repeat("a", 300), Answered)
	set("is 32767 long", strings.Repeat("a", math.MaxInt16), Answered)
	prefix := 2
	if m.req.IsFlexible() {
		prefix = 1
		set("is 32768 long", strings.Repeat("a", math.MaxInt16+1), Closed)
	}
	if len(old) > 0 {
		at -= prefix
	} else if !m.req.IsFlexible() {
		at-- // the low byte of the length differs
	}
	end := at + prefix + len(old)
	null := Closed
	if mayBeNull(m.req, path, pointer) {
		null = Answered
	}
	m.lengths(path, at, at+prefix, prefix)
	if m.req.IsFlexible() {
		m.bend(path, "is null", at, end, []byte{0}, null)
	} else {
		m.bend(path, "is null", at, end, []byte{0xff, 0xff}, null)
	}
}

// lengths puts lengths and counts before what is there that it has not.
func (m *maker) lengths(path []string, at, end, bytes int) {
	if m.req.IsFlexible() {
		m.bend(path, "claims 2 billion", at, end, []byte{0xff, 0xff, 0xff, 0xff, 0x07}, Closed)
		m.bend(path, "claims 4 billion", at, end, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, Closed)
		m.bend(path, "has a length that does not end", at, end, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Closed)
		return
	}
	most := [][]byte{2: {0x7f, 0xff}, 4: {0x7f, 0xff, 0xff, 0xff}}[bytes]
	m.bend(path, "claims the most", at, end, most, Closed)
}

func (m *maker) slice(v reflect.Value, path []string) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		m.bytes(v, path)
		return
	}
	empty := reflect.MakeSlice(v.Type(), 0, 0)
	if v.Len() == 0 {
		one := reflect.MakeSlice(v.Type(), 1, 1)
		fill(one.Index(0), path[len(path)-1], [16]byte{1})
		m.add(strings.Join(path, ".")+" is there", m.with(v, one), Answered)
		return
	}
	at, ok := m.differsAt(m.with(v, empty))
	if !ok {
		return
	}
	m.add(strings.Join(path, ".")+" is empty", m.with(v, empty), Answered)
	twice := reflect.AppendSlice(reflect.AppendSlice(empty, v), v)
	m.add(strings.Join(path, ".")+" is there twice", m.with(v, twice), Answered)
	many := empty
	for range 50 {
		many = reflect.AppendSlice(many, twice)
	}
	m.add(strings.Join(path, ".")+" is there 100 times", m.with(v, many), Answered)
	prefix := 1
	if !m.req.IsFlexible() {
		prefix = 4
		at -= 3 // the low byte of the count differs
	}
	m.lengths(path, at, at+prefix, prefix)
	null := reflect.Zero(v.Type())
	body := m.with(v, null)
	if i, _ := m.differsAt(body); i != at || !bytes.HasPrefix(body[at:], nullCount(prefix)) {
		// kmsg writes null as empty where it may not be null.
		body = m.with(v, empty)
		copy(body[at:], nullCount(prefix))
	}
	fate := Closed
	if mayBeNull(m.req, path, false) {
		fate = Answered
	}
	m.add(strings.Join(path, ".")+" is null", body, fate)
	if v.Type().Elem().Kind() != reflect.Struct {
		path = append(path[:len(path)-1:len(path)-1], path[len(path)-1]+"[0]")
	}
	m.walk(v.Index(0), path)
}

func nullCount(prefix int) []byte {
	if prefix == 1 {
		return []byte{0}
	}
	return []byte{0xff, 0xff, 0xff, 0xff}
}

func (m *maker) bytes(v reflect.Value, path []string) {
	old := v.Bytes()
	if len(old) == 0 {
		return
	}
	other := bytes.Clone(old)
	other[0] ^= 1
	at, ok := m.differsAt(m.with(v, reflect.ValueOf(other)))
	if !ok {
		return
	}
	m.set(path, "are none", v, []byte{})
	m.set(path, "are noise", v, bytes.Repeat([]byte{0xa5, 0x5a, 0xff, 0}, len(old)/4+1))
	m.set(path, "are half of it", v, old[:len(old)/2])
	m.set(path, "are there twice", v, append(bytes.Clone(old), old...))
	prefix := 4
	if m.req.IsFlexible() {
		prefix = 1
		if len(old) > 126 {
			prefix = 2
		}
	}
	m.lengths(path, at-prefix, at, prefix)
	null := Closed
	if mayBeNull(m.req, path, false) {
		null = Answered
	}
	none := nullCount(4)
	if m.req.IsFlexible() {
		none = nullCount(1)
	}
	m.bend(path, "is null", at-prefix, at+len(old), none, null)
}

// tags bends the tagged fields at the end of a struct.
func (m *maker) tags(v reflect.Value, path []string) {
	tags := v.Addr().Interface().(*kmsg.Tags)
	tags.Set(1000, []byte("?"))
	body := m.req.AppendTo(nil)
	*tags = kmsg.Tags{}
	at, ok := m.differsAt(body)
	if !ok || m.whole[at] != 0 {
		return // the version has none, or the struct has some that are known
	}
	path = append(path[:len(path):len(path)], "tags")
	m.add(strings.Join(path, ".")+" unknown", body, m.fateOf(path))
	for _, c := range []struct {
		what string
		by   []byte
	}{
		{"claim 2 billion", []byte{0xff, 0xff, 0xff, 0xff, 0x07}},
		{"claim 4 billion", []byte{0xff, 0xff, 0xff, 0xff, 0x0f}},
		{"have a count that does not end", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"have a length that runs over", []byte{1, 0xe8, 7, 0xff, 0xff, 0xff, 0xff, 7}},
	} {
		m.bend(path, c.what, at, at+1, c.by, Closed)
	}
	many := []byte{0xc8, 1}
	for i := range 200 {
		many = append(many, 0xe8+byte(i%16), 7+byte(i/16), 0)
	}
	m.bend(path, "are 200", at, at+1, many, Answered)
}

// nullFrom are the arrays that may be null, with the first version; of strings,
// those that may not always be. kmsg does not tell.
var nullFrom = map[string]int16{
	"Metadata.Topics": 1, "Metadata.Topics.Topic": 10,
	"DescribeConfigs.Resources.ConfigNames": 0,
	"DescribeLogDirs.Topics":                0,
	"ElectLeaders.Topics":                   0,
	"OffsetFetch.Topics":                    2,
	"OffsetFetch.Groups.Topics":             8,
	"ListPartitionReassignments.Topics":     0,
	"DescribeUserSCRAMCredentials.Users":    0,
	"CreatePartitions.Topics.Assignment":    0,
	"Produce.Topics.Partitions.Records":     0,

	"ConsumerGroupHeartbeat.SubscribedTopicNames": 0,
	"ConsumerGroupHeartbeat.Topics":               0,

	"AlterPartitionAssignments.Topics.Partitions.Replicas": 0,
}

func mayBeNull(req kmsg.Request, path []string, pointer bool) bool {
	from, ok := nullFrom[kmsg.NameForKey(req.Key())+"."+strings.Join(path, ".")]
	if !ok {
		return pointer
	}
	return req.GetVersion() >= from
}
