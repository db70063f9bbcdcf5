// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/wire/compress"
)

// flatten makes a list of paths and values of an answer. What is the broker's
// own (ids, ports, times) gets a name that is the same everywhere.
func flatten(at *site, resp kmsg.Response) []field {
	f := flattener{at: at, key: resp.Key()}
	if r, ok := resp.(*kmsg.FetchResponse); ok {
		f.join(r)
	}
	f.value("", "", reflect.ValueOf(resp).Elem())
	return f.fields
}

// join puts the partitions of a topic together: a Fetch answers in the order in
// which it reads, and names a topic each time that it comes back to it.
func (f *flattener) join(r *kmsg.FetchResponse) {
	var order []string
	var topics []kmsg.FetchResponseTopic
	for _, t := range r.Topics {
		name := f.keyOf(reflect.ValueOf(t), 0)
		for _, p := range t.Partitions {
			order = append(order, fmt.Sprintf("%s-%d", name, p.Partition))
		}
		same := func(o kmsg.FetchResponseTopic) bool { return o.Topic == t.Topic && o.TopicID == t.TopicID }
		if i := slices.IndexFunc(topics, same); i >= 0 {
			topics[i].Partitions = append(topics[i].Partitions, t.Partitions...)
		} else {
			topics = append(topics, t)
		}
	}
	slices.SortStableFunc(topics, func(a, b kmsg.FetchResponseTopic) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(f.id(a.TopicID), f.id(b.TopicID)))
	})
	for i := range topics {
		slices.SortStableFunc(topics[i].Partitions, func(a, b kmsg.FetchResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	}
	r.Topics = topics
	f.add("order", strings.Join(order, " "))
}

type flattener struct {
	at     *site
	key    int16
	fields []field
}

func (f *flattener) add(path, value string) { f.fields = append(f.fields, field{path, value}) }

func (f *flattener) value(path, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			f.add(path, "null")
			return
		}
		f.value(path, name, v.Elem())
	case reflect.Struct:
		if tags, ok := v.Addr().Interface().(*kmsg.Tags); ok {
			if tags.Len() > 0 {
				f.add(path, fmt.Sprintf("%d unknown tags", tags.Len()))
			}
			return
		}
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Name == "Version" && path == "" {
				continue
			}
			f.value(strings.TrimPrefix(path+"."+field.Name, "."), field.Name, v.Field(i))
		}
	case reflect.Slice:
		f.slice(path, name, v)
	case reflect.Array:
		f.add(path, f.id(v.Interface().([16]byte)))
	case reflect.String:
		f.add(path, f.text(name, v.String()))
	case reflect.Bool:
		f.add(path, fmt.Sprint(v.Bool()))
	case reflect.Float64:
		f.add(path, fmt.Sprint(v.Float()))
	case reflect.Uint16:
		f.add(path, f.number(name, int64(v.Uint())))
	default:
		f.add(path, f.number(name, v.Int()))
	}
}

func (f *flattener) slice(path, name string, v reflect.Value) {
	if b, ok := v.Interface().([]byte); ok {
		if name == "RecordBatches" {
			f.batches(path, b)
			return
		}
		f.add(path, fmt.Sprintf("%x", b))
		return
	}
	if v.IsNil() {
		f.add(path, "null")
		return
	}
	f.add(path+".len", fmt.Sprint(v.Len()))
	// Elements go by what they are, so that one that lacks does not make all
	// others differ; the order is compared by itself.
	var order []string
	seen := map[string]int{}
	for i := range v.Len() {
		key := f.keyOf(v.Index(i), i)
		if seen[key]++; seen[key] > 1 {
			key += fmt.Sprintf("#%d", seen[key])
		}
		order = append(order, key)
		f.value(path+"["+key+"]", name, v.Index(i))
	}
	if len(order) > 1 {
		f.add(path+".order", strings.Join(order, " "))
	}
}

// keyOf is what an element is known by.
func (f *flattener) keyOf(v reflect.Value, i int) string {
	if v.Kind() != reflect.Struct {
		return fmt.Sprint(i)
	}
	if key, ok := quotaKeyOf(v); ok {
		return key
	}
	if name, kind := v.FieldByName("Name"), v.FieldByName("Type"); name.IsValid() && kind.IsValid() {
		return fmt.Sprintf("%d %s", kind.Int(), name.String())
	}
	for _, name := range []string{"Group", "MemberID", "Topic", "TopicID", "Name", "Partition", "ApiKey", "NodeID", "BatchIndex", "ProducerID"} {
		field := v.FieldByName(name)
		if !field.IsValid() {
			continue
		}
		if field.Kind() == reflect.Pointer {
			if field.IsNil() {
				continue
			}
			field = field.Elem()
		}
		switch field.Kind() {
		case reflect.String:
			if field.String() != "" {
				return f.name(name, field.String())
			}
			if id := v.FieldByName("TopicID"); !id.IsValid() || id.IsZero() {
				return "(no name)"
			}
		case reflect.Array:
			if id := field.Interface().([16]byte); id != [16]byte{} {
				return f.id(id)
			}
		default:
			return fmt.Sprint(field.Int())
		}
	}
	if v.FieldByName("Topic").IsValid() {
		return "(no name)"
	}
	return fmt.Sprint(i)
}

// name is a text in a path.
func (f *flattener) name(of, s string) string {
	if of == "MemberID" {
		s, _ = strconv.Unquote(f.text(of, s))
	}
	return fmt.Sprintf("%.60s", s)
}

func (f *flattener) id(id [16]byte) string {
	if id == [16]byte{} {
		return "zero"
	}
	if name, ok := f.at.names[id]; ok {
		return "id of " + name
	}
	switch f.key {
	case keyCreateTopics:
		return "a new id"
	case keyDescribeQuorum:
		return "a directory's id"
	}
	return fmt.Sprintf("%x", id)
}

func (f *flattener) text(name, s string) string {
	if name == "ClusterID" && s == f.at.cluster && s != "" {
		return "the cluster's id"
	}
	if name == "Dir" && s != "" {
		return "the log directory"
	}
	for member, id := range f.at.members {
		s = strings.ReplaceAll(s, id, member)
	}
	if name == "MemberID" && memberID.MatchString(s) {
		s = "a new member"
	}
	for id, topic := range f.at.names {
		if text := uuidText(id); strings.Contains(s, text) {
			s = strings.ReplaceAll(s, text, "id of "+topic)
		}
	}
	return fmt.Sprintf("%q", s)
}

// memberID is how Kafka makes one up.
var memberID = regexp.MustCompile(`^.*-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (f *flattener) number(name string, n int64) string {
	switch {
	case name == "Port" && int32(n) == f.at.port:
		return "the broker's port"
	case name == "SessionID" && n != 0:
		return "a session"
	case name == "FinalizedFeaturesEpoch" && n >= 0:
		return "an epoch"
	case name == "ProducerID" && f.key == keyInitProducerID && n >= 0:
		return "a producer id"
	case (name == "TotalBytes" || name == "UsableBytes") && n > 0:
		return "bytes of a disk"
	case f.key == keyDescribeQuorum && (name == "LogEndOffset" || name == "HighWatermark") && n > 0:
		return "an offset"
	case f.key == keyDescribeQuorum && name == "Port" && n > 0:
		return "a port"
	case f.key == keyDescribeQuorum && name == "LeaderEpoch" && n > 0:
		return "an epoch"
	}
	return moment(n)
}

// moment names times of the run, however long it takes: the list's own timestamps
// are older, by an hour at least.
func moment(n int64) string {
	if d := time.Since(time.UnixMilli(n)); d > -2*time.Minute && d < 50*time.Minute {
		return "now"
	}
	return fmt.Sprint(n)
}

// batches takes record batches apart.
func (f *flattener) batches(path string, b []byte) {
	if b == nil {
		f.add(path, "null")
		return
	}
	for n := 0; ; n++ {
		if len(b) == 0 {
			f.add(path+".len", fmt.Sprint(n))
			return
		}
		if len(b) < 61 {
			f.add(path+".len", fmt.Sprint(n))
			f.add(path+".part", fmt.Sprintf("%d bytes", len(b)))
			return
		}
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if size < 61 || size > len(b) {
			f.add(path+".len", fmt.Sprint(n))
			f.add(path+".part", fmt.Sprintf("%d bytes of %d", len(b), size))
			return
		}
		f.batch(fmt.Sprintf("%s[%d]", path, n), b[:size])
		b = b[size:]
	}
}

func (f *flattener) batch(at string, b []byte) {
	var h kmsg.RecordBatch
	if err := h.ReadFrom(b); err != nil {
		f.add(at, err.Error())
		return
	}
	maxTimestamp := moment(h.MaxTimestamp)
	crc := fmt.Sprint(uint32(h.CRC) == crc32.Checksum(b[21:], castagnoli))
	f.add(at, fmt.Sprintf("offset %d epoch %d magic %d crc right %s attributes %d last delta %d timestamps %d..%s producer %d/%d/%d count %d",
		h.FirstOffset, h.PartitionLeaderEpoch, h.Magic, crc, h.Attributes, h.LastOffsetDelta, h.FirstTimestamp, maxTimestamp,
		h.ProducerID, h.ProducerEpoch, h.FirstSequence, h.NumRecords))
	codec := compress.Codec(h.Attributes & 7)
	records := h.Records
	if codec != compress.None {
		var coder compress.Coder
		plain, err := coder.Decompress(nil, codec, records, frameBytesMax)
		if err != nil {
			f.add(at+".records", "not to be decompressed: "+err.Error())
			return
		}
		records = plain
	}
	f.add(at+".records", fmt.Sprintf("%d bytes, crc %08x", len(records), crc32.Checksum(records, castagnoli)))
	if codec == compress.None || maxTimestamp != "now" {
		f.add(at+".payload", fmt.Sprintf("%d bytes, crc %08x", len(h.Records), crc32.Checksum(h.Records, castagnoli)))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// uuidText is how Kafka writes an id.
func uuidText(id [16]byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var out []byte
	bits, n := uint32(0), 0
	for _, b := range id {
		bits, n = bits<<8|uint32(b), n+8
		for n >= 6 {
			n -= 6
			out = append(out, digits[bits>>n&63])
		}
	}
	return string(append(out, digits[bits<<(6-n)&63]))
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// byName goes through a map in the order of its keys.
func byName[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, k := range sorted(m) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
