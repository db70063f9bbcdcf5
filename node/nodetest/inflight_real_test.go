// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/config"
	"gregor/node"
	"gregor/wire/batch"
)

// onDisk is a node on a real disk and behind real sockets.
func onDisk(t *testing.T, dir string) (addr string) {
	t.Helper()
	c, _, err := config.Load(config.Sources{Set: []string{"listeners=PLAINTEXT://127.0.0.1:0", "gregor.admin.listener=", "log.dirs=" + dir, "log.segment.delete.delay.ms=0"}})
	if err != nil {
		t.Fatal(err)
	}
	n := node.New(node.Options{Config: c, FS: vfs.OS{}, Net: netx.OS{}, Now: time.Now, Random: rand.Reader, Hostname: "127.0.0.1", Logger: slog.New(slog.DiscardHandler)})
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	at, _ := n.Addresses()
	return at[0].Addr
}

// fetchFrame is a Fetch of version 11 for topic t from offset 0, as it goes over
// the wire.
func fetchFrame() []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 11, 100, 1, 1<<30, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<30, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("slow")).AppendRequest(nil, req, 7)
}

// An answer that is on its way while its segments are deleted, and their files
// removed, arrives whole; who asks again at that offset is told that it is gone.
func TestFetchOnItsWayOutlivesItsSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	addr := onDisk(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	admin := kadm.NewClient(c)
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"segment.bytes": kadm.StringPtr("67108864")}, "t"); err != nil {
		t.Fatal(err)
	}
	const records, valueBytes = 128, 256 << 10 // more than the buffers of a connection take
	for i := range records {
		c.Produce(ctx, &kgo.Record{Value: bytes.Repeat([]byte{byte(i)}, valueBytes)}, nil)
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}

	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	frame := fetchFrame()
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer[:100_000]); err != nil { // it has begun, and does not fit
		t.Fatal(err)
	}

	all := kadm.Offsets{}
	all.AddOffset("t", 0, -1, -1)
	if deleted, err := admin.DeleteRecords(ctx, all); err != nil || deleted.Error() != nil {
		t.Fatal(err, deleted.Error())
	}
	for left := 1; left > 0; time.Sleep(10 * time.Millisecond) {
		left = 0
		files, err := os.ReadDir(filepath.Join(dir, "t-0"))
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, files)
		}
		for _, f := range files {
			if info, err := f.Info(); err == nil && info.Size() > 1<<20 {
				left++
			}
		}
	}

	if _, err := io.ReadFull(conn, answer[100_000:]); err != nil {
		t.Fatal(err)
	}
	var resp kmsg.FetchResponse
	resp.Version = 11
	if err := resp.ReadFrom(answer[4:]); err != nil { // behind the correlation id
		t.Fatal(err)
	}
	next := 0
	for b := resp.Topics[0].Partitions[0].RecordBatches; len(b) > 0; {
		h, err := batch.Parse(b)
		if err != nil || int(h.BaseOffset) != next || batch.VerifyCRC(b[:h.SizeBytes()]) != nil {
			t.Fatalf("at offset %d: %+v, %v", next, h, err)
		}
		if want := bytes.Repeat([]byte{byte(next)}, valueBytes); !bytes.Contains(b[:h.SizeBytes()], want) {
			t.Fatalf("the record at offset %d is another", next)
		}
		next, b = int(h.NextOffset()), b[h.SizeBytes():]
	}
	if next != records {
		t.Fatalf("%d records, want %d", next, records)
	}

	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	answer = make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	if err := resp.ReadFrom(answer[4:]); err != nil {
		t.Fatal(err)
	}
	if p := &resp.Topics[0].Partitions[0]; p.ErrorCode != kerr.OffsetOutOfRange.Code || p.LogStartOffset != -1 && p.LogStartOffset != records {
		t.Fatalf("a fetch at an offset that was deleted: error %d, log start %d", p.ErrorCode, p.LogStartOffset)
	}
}
