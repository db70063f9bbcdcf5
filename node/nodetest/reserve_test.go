// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// countLines counts what the log says.
func countLines(log *strings.Builder, text string) int { return strings.Count(log.String(), text) }

// A disk that fills up: producers wait, and lose nothing; everybody else goes
// on; with room they go on by themselves. One line is written each way.
func TestReserve(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		var log strings.Builder
		const total = 64 << 20
		n := Prepare(t, Options{Set: []string{"log.dirs=/a,/b", "gregor.log.reserve.bytes=4194304"}, Log: slog.NewTextHandler(io.MultiWriter(&log, t.Output()), nil)})
		n.Disk.SetTotalBytes(total)
		n.Up()
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 5)
		usage, err := n.Disk.Usage("/a")
		must(t, err)
		n.Disk.SetTotalBytes(total - usage.FreeBytes + 4<<20 + 100<<10) // 100 KiB beside the reserve
		time.Sleep(2 * time.Second)
		big := func(p int32) error {
			pc := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(0), kgo.DisableIdempotentWrite(), kgo.ProduceRequestTimeout(time.Second))
			defer pc.Close()
			return pc.ProduceSync(ctx, &kgo.Record{Topic: "big", Partition: p, Value: make([]byte, 60<<10)}).FirstErr()
		}
		adm := kadm.NewClient(c)
		if _, err := adm.CreateTopic(ctx, 1, 1, map[string]*string{"compression.type": kadm.StringPtr("uncompressed")}, "big"); err != nil {
			t.Fatal(err)
		}
		var full error
		wrote := 0
		for ; wrote < 20 && full == nil; wrote++ {
			full = big(0)
			time.Sleep(1100 * time.Millisecond)
		}
		if !errors.Is(full, kerr.KafkaStorageError) || wrote < 2 {
			t.Fatalf("after %d records: %v", wrote, full)
		}
		// The other directory, which nobody has written to, finds out by its
		// first write.
		for range 2 {
			for p := range partitions {
				if tryProduce(ctx, n, int32(p), l.next[p]) == nil {
					l.acked[p] = append(l.acked[p], l.next[p])
					l.next[p]++
				}
			}
			time.Sleep(2 * time.Second)
		}
		for p := range partitions {
			if err := tryProduce(ctx, n, int32(p), 999); !errors.Is(err, kerr.KafkaStorageError) {
				t.Fatalf("produce below the reserve: %v", err)
			}
		}
		// A producer with the usual retries waits.
		waiting := make(chan error, 1)
		go func() {
			waiting <- c.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: 0, Key: []byte(strconv.Itoa(l.next[0])), Value: fmt.Appendf(nil, "%d of 0", l.next[0])}).FirstErr()
		}()

		l.check(ctx, t, n) // readers
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, "during"); err != nil {
			t.Fatalf("metadata: %v", err)
		}
		if _, err := adm.DeleteRecords(ctx, kadm.Offsets{"t": {1: {Topic: "t", Partition: 1, At: 1}}}); err != nil {
			t.Fatalf("delete records: %v", err)
		}
		if s := stateOf(ctx, t, n); len(s.leaderless) > 0 || s.dirs["/a"]+s.dirs["/b"] != "" {
			t.Errorf("a full directory is not an offline one: %+v", s)
		}
		time.Sleep(30 * time.Second)
		select {
		case err := <-waiting:
			t.Fatalf("the producer's wait ended: %v", err)
		default:
		}
		if _, err := adm.DeleteTopic(ctx, "big"); err != nil {
			t.Fatalf("delete a topic: %v", err)
		}
		n.Disk.SetTotalBytes(total)
		freed := time.Now()
		if err := <-waiting; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(freed); took > 5*time.Second {
			t.Errorf("it took %v to go on", took)
		}
		l.acked[0] = append(l.acked[0], l.next[0])
		l.acked[1] = l.acked[1][1:]
		checkLogs(ctx, t, n, &l)
		c.Close()
		n.Stop()
		// The memory disk is one file system under both directories.
		if full, again := countLines(&log, "log directory is full"), countLines(&log, "has room again"); full < 1 || full > 2 || again != full {
			t.Errorf("%d lines when it was full, %d when it was not", full, again)
		}
	})
}

// A node is started after a crash while one of its disks is full to the last
// byte: what can be served is; with room everything is whole again, without
// another start.
func TestStartOnAFullDisk(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		var disk *vfs.Fault
		full := false
		n := Prepare(t, Options{Set: twoDirs, FS: func(m *vfs.Memory) vfs.FS {
			disk = vfs.NewFault(m)
			if full {
				disk.Add(vfs.Rule{Ops: vfs.OpWrite | vfs.OpCreate | vfs.OpMkdir | vfs.OpPreallocate, Path: "/b", Err: syscall.ENOSPC})
			}
			return disk
		}})
		n.Up()
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, map[string]*string{"segment.bytes": kadm.StringPtr("1048576"), "index.interval.bytes": kadm.StringPtr("1")})
		var l ledger
		l.produce(ctx, t, c, 20)
		at := within(t, n)
		c.Close()
		n.Crash()
		full = true
		n.Up()
		time.Sleep(10 * time.Second)
		l.serve(ctx, t, n, at, "/a")
		for p := range partitions {
			if at[p] == "/b" {
				if err := tryProduce(ctx, n, int32(p), 777); !errors.Is(err, kerr.KafkaStorageError) {
					t.Errorf("produce to a full disk: %v", err)
				}
			}
		}
		disk.Clear()
		time.Sleep(10 * time.Second)
		stateOf(ctx, t, n).whole(t)
		l.serve(ctx, t, n, at, "/b")
		l.check(ctx, t, n)
		n.Stop()
	})
}
