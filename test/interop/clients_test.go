// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/test/interop/client"
	"gregor/test/interop/kafka"
)

// allClients are those whose language is here.
func allClients(t *testing.T) []*client.Client {
	t.Helper()
	var all []*client.Client
	for name, get := range map[string]func(*testing.T) []*client.Client{
		"java":         func(t *testing.T) []*client.Client { return []*client.Client{client.Java(t)} },
		"python":       func(t *testing.T) []*client.Client { return client.Python(t) },
		"kafkajs":      func(t *testing.T) []*client.Client { return []*client.Client{client.KafkaJS(t)} },
		"confluent-js": func(t *testing.T) []*client.Client { return []*client.Client{client.ConfluentJS(t)} },
	} {
		t.Run("install "+name, func(t *testing.T) { all = append(all, get(t)...) })
	}
	slices.SortFunc(all, func(a, b *client.Client) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return all
}

const (
	clientPartitions = 3
	clientRecords    = 300 // of each client in each codec
	firstTimestamp   = 1_700_000_000_000
	longValue        = 10_000 // bytes; of each client's records there are some
)

// written is what all clients have written to a topic, by partition.
type written struct {
	topic      string
	partitions [clientPartitions][]client.Record
	writers    [clientPartitions][]*client.Client // of each record
	idempotent [clientPartitions][]bool
	count      int
}

// more makes the next records and puts them where they must land.
func (w *written) more(writer *client.Client, idempotent bool) []client.Record {
	records := make([]client.Record, clientRecords)
	for i := range records {
		r := clientRecord(w.topic, writer.Name, w.count)
		r.Offset = int64(len(w.partitions[r.Partition]))
		records[i] = r
		if writer.EmptyIsNull && len(r.Value) == 0 {
			r.Value = nil
		}
		w.partitions[r.Partition] = append(w.partitions[r.Partition], r)
		w.writers[r.Partition] = append(w.writers[r.Partition], writer)
		w.idempotent[r.Partition] = append(w.idempotent[r.Partition], idempotent)
		w.count++
	}
	return records
}

// clientRecord has every kind of key, value and headers over its sequence:
// none, empty, any byte, long; and no value only with a key, as two clients
// demand.
func clientRecord(topic, writer string, sequence int) client.Record {
	r := client.Record{Partition: int32(sequence % clientPartitions), Timestamp: firstTimestamp + int64(sequence), Headers: []client.Header{}}
	if sequence%5 != 0 {
		r.Key = fmt.Appendf(nil, "key-%d", sequence)
	}
	switch {
	case sequence%7 == 3 && r.Key != nil:
	case sequence%11 == 0:
		r.Value = []byte{}
	case sequence%97 == 1:
		r.Value = bytes.Repeat(fmt.Appendf(nil, "%s %s %d ", topic, writer, sequence), 2000)
	default:
		r.Value = append(fmt.Appendf(nil, "%s from %s: %d", topic, writer, sequence), 0, 0xff, byte(sequence))
	}
	for h := range sequence % 3 {
		r.Headers = append(r.Headers, client.Header{Name: fmt.Sprintf("Überschrift-%d", h), Value: fmt.Appendf(nil, "%s\x00%d", writer, sequence)})
	}
	return r
}

// from is what a reader must see of each partition from an offset on.
func (w *written) from(offset func(partition int32) int64) (rest [clientPartitions][]client.Record, count int) {
	for p, records := range w.partitions {
		rest[p] = records[offset(int32(p)):]
		count += len(rest[p])
	}
	return rest, count
}

// since is the offset of the first record of a partition at or after a time.
func (w *written) since(timestamp int64) func(partition int32) int64 {
	return func(partition int32) int64 {
		for _, r := range w.partitions[partition] {
			if r.Timestamp >= timestamp {
				return r.Offset
			}
		}
		return int64(len(w.partitions[partition]))
	}
}

// judge holds what a client read against what it had to read.
func judge(t *testing.T, got []client.Record, want [clientPartitions][]client.Record) {
	t.Helper()
	for i, r := range got {
		if r.Partition < 0 || r.Partition >= clientPartitions || len(want[r.Partition]) == 0 {
			t.Fatalf("record %d: nothing of partition %d was left to read", i, r.Partition)
		}
		expected := want[r.Partition][0]
		want[r.Partition] = want[r.Partition][1:]
		if difference := differ(r, expected); difference != "" {
			t.Fatalf("partition %d, offset %d: %s", r.Partition, expected.Offset, difference)
		}
	}
	for p, rest := range want {
		if len(rest) > 0 {
			t.Errorf("partition %d: %d records were not read", p, len(rest))
		}
	}
}

func differ(got, want client.Record) string {
	sameBytes := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	switch {
	case got.Offset != want.Offset:
		return fmt.Sprintf("the offset is %d", got.Offset)
	case got.Timestamp != want.Timestamp:
		return fmt.Sprintf("the timestamp is %d, not %d", got.Timestamp, want.Timestamp)
	case !sameBytes(got.Key, want.Key):
		return fmt.Sprintf("the key is %s, not %s", show(got.Key), show(want.Key))
	case !sameBytes(got.Value, want.Value):
		return fmt.Sprintf("the value is %s, not %s", show(got.Value), show(want.Value))
	case len(got.Headers) != len(want.Headers):
		return fmt.Sprintf("there are %d headers, not %d", len(got.Headers), len(want.Headers))
	}
	for i := range want.Headers {
		if got.Headers[i].Name != want.Headers[i].Name || !sameBytes(got.Headers[i].Value, want.Headers[i].Value) {
			return fmt.Sprintf("header %d is %+v, not %+v", i, got.Headers[i], want.Headers[i])
		}
	}
	return ""
}

func show(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%.80q", b)
}

// TestClientsReadEachOther has every client write to one topic for each codec,
// each after the other, and then every client read all of it: from the
// beginning, from an offset, from a time. What a client wrote is also read by
// franz-go, which looks at the batches.
func TestClientsReadEachOther(t *testing.T) {
	t.Parallel() // what one of the clients needs is compiled for minutes
	all := allClients(t)
	n := startWith(t, filepath.Join(t.TempDir(), "data"), forGroups...)
	codecsOf := map[*client.Client][]string{}
	for _, c := range all {
		version, codecs := c.Describe(t)
		t.Logf("%s %s: %v", c.Name, version, codecs)
		codecsOf[c] = codecs
		if len(codecs) < 5 {
			kafka.LeftOut(t, fmt.Sprintf("%s was built with no more codecs than %v", c.Name, codecs))
		}
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			w := &written{topic: "clients-" + codec}
			createTopic(t.Context(), t, newAdmin(t, n.Address), w.topic, clientPartitions, nil)
			for i, c := range all {
				idempotent := i%2 == 0 || codec != "none"
				if slices.Contains(codecsOf[c], codec) && !t.Run(c.Name+" writes", func(t *testing.T) { write(t, n, c, w, codec, idempotent) }) {
					return // nobody knows what there is to read
				}
			}
			looksAt(t, n, w, codec)
			for _, c := range all {
				if slices.Contains(codecsOf[c], codec) {
					t.Run(c.Name+" reads", func(t *testing.T) { read(t, n, c, w) })
				}
			}
		})
	}
	n.Stop(t)
}

func write(t *testing.T, n *kafka.Node, c *client.Client, w *written, codec string, idempotent bool) {
	records := w.more(c, idempotent)
	offsets := c.Produce(t, client.ProduceRequest{Bootstrap: n.Address, Topic: w.topic, Codec: codec, Idempotent: idempotent, Records: records})
	if len(offsets) != len(records) {
		t.Fatalf("%d offsets for %d records", len(offsets), len(records))
	}
	for i, r := range records {
		if offsets[i] != r.Offset {
			t.Fatalf("record %d is said to be at offset %d of partition %d, it must be at %d", i, offsets[i], r.Partition, r.Offset)
		}
	}
}

func read(t *testing.T, n *kafka.Node, c *client.Client, w *written) {
	reader := c.Reader(t)
	request := client.ConsumeRequest{Bootstrap: n.Address, Topic: w.topic, Partitions: []int32{0, 1, 2}, Group: "read-" + w.topic}
	rest, count := w.from(func(int32) int64 { return 0 })
	request.Count = count
	judge(t, reader.Consume(t, request), rest)

	offset := int64(len(w.partitions[0]) / 3)
	rest, count = w.from(func(int32) int64 { return offset })
	request.Count, request.Offset, request.Group = count, &offset, "read-offset-"+w.topic
	judge(t, reader.Consume(t, request), rest)

	timestamp := int64(firstTimestamp + w.count - clientRecords/2)
	rest, count = w.from(w.since(timestamp))
	request.Count, request.Offset, request.Time, request.Group = count, nil, &timestamp, "read-time-"+w.topic
	judge(t, reader.Consume(t, request), rest)
	reader.Wait(t)
}

var codecNumbers = map[string]uint8{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

// looksAt reads with franz-go: the records, and that batches have the codec
// and, of idempotent writers, the producer id that they must have.
func looksAt(t *testing.T, n *kafka.Node, w *written, codec string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), loadTimeout)
	defer cancel()
	from := map[int32]kgo.Offset{}
	for p := range int32(clientPartitions) {
		from[p] = kgo.NewOffset().At(0)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{w.topic: from}))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var got []client.Record
	for len(got) < w.count {
		fetches := reader.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatalf("%v, after %d records of %d", e.Err, len(got), w.count)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			one := client.Record{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				one.Headers = append(one.Headers, client.Header{Name: h.Key, Value: h.Value})
			}
			got = append(got, one)
			writer := w.writers[r.Partition][r.Offset]
			// How many records are in a batch is a matter of time, but one with a
			// long record always gains by compression.
			want, left := codecNumbers[codec], writer.LeavesSmall && len(r.Value) < longValue && r.Attrs.CompressionType() == 0
			if r.Attrs.CompressionType() != want && !left {
				t.Errorf("%s: offset %d of partition %d has codec %d, not %d", writer.Name, r.Offset, r.Partition, r.Attrs.CompressionType(), want)
			}
			if want := w.idempotent[r.Partition][r.Offset]; (r.ProducerID >= 0) != want {
				t.Errorf("%s: offset %d of partition %d has producer id %d, idempotent is %v", writer.Name, r.Offset, r.Partition, r.ProducerID, want)
			}
		})
	}
	rest, _ := w.from(func(int32) int64 { return 0 })
	judge(t, got, rest)
}
