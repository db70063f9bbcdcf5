// SPDX-License-Identifier: Apache-2.0

package api

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkProduce sends 1 MiB batches of 1 KB records over loopback and
// appends them to a real file.
func BenchmarkProduce(b *testing.B) {
	n := start(b, onMachine(b))
	id := n.topic("t", 1, "max.message.bytes", "2000000")
	request := encode(produceRequest(13, "", id, 0, 1, megabyte()), 1)
	c := n.dial()
	b.SetBytes(int64(len(request)))
	repeat(b, c, request)
}

// BenchmarkFetch reads 1 MiB at a time from a real file over loopback.
func BenchmarkFetch(b *testing.B) {
	n := start(b, onMachine(b))
	id := n.topic("t", 1, "max.message.bytes", "2000000")
	c := n.dial()
	c.produce(13, "", id, 0, 1, megabyte())
	req := fetchRequest(13, place{"", id, 0, 0})
	req.Topics[0].Partitions[0].PartitionMaxBytes = 2 << 20
	request := encode(req, 1)
	b.SetBytes(int64(repeat(b, c, request)))
}

// BenchmarkSmallProduce sends one small record a request, one at a time.
func BenchmarkSmallProduce(b *testing.B) {
	n := start(b, onMachine(b))
	id := n.topic("t", 1)
	request := encode(produceRequest(13, "", id, 0, -1, records("a small value")), 1)
	c := n.dial()
	repeat(b, c, request)
}

// megabyte is a batch of 1 KB records.
func megabyte() []byte {
	values := make([]string, 1000)
	for i := range values {
		values[i] = strings.Repeat("x", 1000)
	}
	return records(values...)
}

// repeat sends one request again and again, each when the one before it is
// answered, and gives the size of an answer.
func repeat(b *testing.B, c *client, request []byte) int {
	c.write(request)
	_, reply, err := c.frame()
	if err != nil {
		b.Fatal(err)
	}
	answer := make([]byte, 8+len(reply))
	b.ReportAllocs()
	for b.Loop() {
		c.write(request)
		if _, err := io.ReadFull(c.conn, answer); err != nil {
			b.Fatal(err)
		}
	}
	return len(answer)
}
