// SPDX-License-Identifier: Apache-2.0

// Package full fills real disks under a whole node: two tmpfs of limited size,
// one for each log directory, while producers, a consumer and an operator are
// at work. It says what a full disk may cost: time, and nothing else.
//
// Mounting needs root; elsewhere the test is skipped with a line.
package full

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/config"
	"gregor/node"
)

const (
	diskBytes    = 48 << 20
	reserveBytes = 8 << 20
)

// What the log says when producers have to wait, and when that is over.
const (
	fullLine  = "log directory is full"
	againLine = "has room again"
)

// machine is a node on two disks of its own. Topic /a's partitions are the even
// ones, /b's the odd ones.
type machine struct {
	t    *testing.T
	dirs [2]string
	node *node.Node
	log  *lines
	set  []string
}

// lines is what the node has logged.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// mountAll mounts a tmpfs for each directory, or skips the test.
func mountAll(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t}
	root := t.TempDir()
	for i := range m.dirs {
		m.dirs[i] = filepath.Join(root, string(rune('a'+i)))
		if err := os.Mkdir(m.dirs[i], 0o755); err != nil {
			t.Fatal(err)
		}
		mount(t, m.dirs[i], diskBytes)
	}
	return m
}

func (m *machine) start() {
	m.t.Helper()
	c, _, err := config.Load(config.Sources{Set: append([]string{
		"listeners=PLAINTEXT://127.0.0.1:0", "gregor.admin.listener=", "log.dirs=" + strings.Join(m.dirs[:], ","),
	}, m.set...)})
	if err != nil {
		m.t.Fatal(err)
	}
	if m.log == nil {
		m.log = &lines{}
	}
	m.node = node.New(node.Options{Config: c, FS: vfs.OS{}, Net: netx.OS{}, Now: time.Now, Random: rand.Reader,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(m.log, m.t.Output()), nil)), Hostname: "127.0.0.1"})
	if err := m.node.Start(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
	n := m.node
	m.t.Cleanup(n.Kill)
}

// told counts the log's lines of this kind about a directory.
func (m *machine) told(line string, dir int) (n int) {
	for l := range strings.Lines(m.log.String()) {
		if strings.Contains(l, line) && strings.Contains(l, "dir="+m.dirs[dir]+" ") {
			n++
		}
	}
	return n
}

func (m *machine) stop() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := m.node.Close(ctx); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) client(opts ...kgo.Opt) *kgo.Client {
	m.t.Helper()
	at, _ := m.node.Addresses()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(at[0].Addr), kgo.MetadataMinAge(100 * time.Millisecond)}, opts...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.Close)
	return c
}

// producer writes numbered records to one partition, one request at a time,
// each until it is acknowledged. It notes every error that a request got.
type producer struct {
	partition int32
	enough    atomic.Int64 // with so many acknowledged it ends; 0: it goes on
	acked     atomic.Int64
	refused   atomic.Int64
	bad       atomic.Pointer[error]
}

func (p *producer) run(ctx context.Context, m *machine, pad []byte) {
	c := m.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(0), kgo.DisableIdempotentWrite(),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	defer c.Close()
	for i := int64(0); ctx.Err() == nil; {
		err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: p.partition, Key: fmt.Appendf(nil, "%d", i), Value: pad}).FirstErr()
		switch {
		case err == nil:
			i++
			p.acked.Store(i)
			if enough := p.enough.Load(); enough > 0 && i >= enough {
				return
			}
		case ctx.Err() != nil:
		case kerr.IsRetriable(err) || errors.Is(err, kgo.ErrRecordRetries):
			p.refused.Add(1)
			time.Sleep(50 * time.Millisecond)
		default:
			p.bad.Store(&err)
			return
		}
	}
}

// A disk is filled by producers until the reserve is reached: they wait, while
// readers, commits, metadata and deletions go on; then room comes back.
func TestProducersLeaveTheReserve(t *testing.T) {
	m := mountAll(t)
	m.set = []string{fmt.Sprintf("gregor.log.reserve.bytes=%d", reserveBytes), "log.segment.bytes=1048576", "log.segment.delete.delay.ms=0",
		"log.retention.check.interval.ms=1000", "log.initial.task.delay.ms=500", "offsets.topic.num.partitions=2"}
	m.start()
	fill(t, m, func() error { // room: the operator deletes records
		adm := kadm.NewClient(m.client())
		ends, err := adm.ListEndOffsets(t.Context(), "t")
		if err != nil {
			return err
		}
		_, err = adm.DeleteRecords(t.Context(), ends.Offsets())
		return err
	}, func(i int) int64 { return reserveBytes - 2<<20 })
}

// A disk is filled by somebody else to the last byte, so that writes find no
// room; then he takes his file away.
func TestNoRoomAtAll(t *testing.T) {
	m := mountAll(t)
	m.set = []string{"gregor.log.reserve.bytes=0", "log.segment.bytes=1048576"}
	m.start()
	hog := func(i int) string { return filepath.Join(m.dirs[i], "hog") }
	fill(t, m, func() error {
		for i := range m.dirs {
			if err := os.Remove(hog(i)); err != nil {
				return err
			}
		}
		return nil
	}, func(i int) int64 {
		if i < 0 { // to begin with
			for i := range m.dirs {
				takeAll(t, hog(i), 6<<20)
			}
		}
		return 0
	})
}

// takeAll writes a file that leaves so many bytes free.
func takeAll(t *testing.T, name string, leave int64) {
	t.Helper()
	u, err := vfs.OS{}.Usage(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, max(u.FreeBytes-leave, 0)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fill runs the load: producers until they are refused in both directories,
// looks at what goes on then, makes room, and looks that all goes on and all is
// there. least is what must stay free in a directory; -1 prepares.
func fill(t *testing.T, m *machine, makeRoom func() error, least func(int) int64) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	adm := kadm.NewClient(m.client())
	if _, err := adm.CreateTopic(ctx, 4, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	if err := m.client().ProduceSync(ctx, &kgo.Record{Topic: "t", Partition: 0, Key: []byte("first")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	least(-1)
	pad := make([]byte, 100<<10)
	_, _ = rand.Read(pad)
	var load sync.WaitGroup
	began := time.Now()
	producers := make([]*producer, 4)
	for i := range producers {
		producers[i] = &producer{partition: int32(i)}
		load.Go(func() { producers[i].run(ctx, m, pad) })
	}
	wait(t, ctx, "producers are refused", func() bool {
		for _, p := range producers {
			if p.refused.Load() == 0 {
				return false
			}
		}
		return true
	})
	wait(t, ctx, "both directories are told to be full", func() bool { return m.told(fullLine, 0) > 0 && m.told(fullLine, 1) > 0 })
	time.Sleep(1500 * time.Millisecond) // a look or two later it is so for good
	held := make([]int64, len(producers))
	for i, p := range producers {
		held[i] = p.acked.Load()
	}
	for i, dir := range m.dirs {
		u, err := vfs.OS{}.Usage(dir)
		if err != nil || u.FreeBytes < least(i) {
			t.Errorf("%s: %d bytes are free, %d are to be left (%v)", dir, u.FreeBytes, least(i), err)
		}
	}
	if n := readAll(ctx, t, m, producers, held); n == 0 {
		t.Error("nothing was read")
	}
	if least(0) > 0 { // what the reserve is for
		if _, err := adm.CreateTopic(ctx, 1, 1, nil, "during"); err != nil {
			t.Errorf("create a topic: %v", err)
		}
		if _, err := adm.DeleteTopic(ctx, "during"); err != nil {
			t.Errorf("delete a topic: %v", err)
		}
	}
	described, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range described[1] {
		if d.Err != nil || d.UsableBytes > 1<<20 {
			t.Errorf("%s: %v, %d bytes usable", d.Dir, d.Err, d.UsableBytes)
		}
	}
	// A producer that goes on ends with its next record: else it may fill the
	// disk again before the others, or the look at the disk, have come to it.
	for i, p := range producers {
		p.enough.Store(held[i] + 1)
	}
	if err := makeRoom(); err != nil {
		t.Fatal(err)
	}
	freed := time.Now()
	load.Wait() // at the latest until ctx is over
	for i, p := range producers {
		if p.acked.Load() <= held[i] && p.bad.Load() == nil {
			t.Errorf("partition %d: the producer does not go on", p.partition)
		}
	}
	t.Logf("producers went on %v after there was room", time.Since(freed).Round(time.Millisecond))
	wait(t, ctx, "all is well again", func() bool { // the line comes with a later look
		return m.told(fullLine, 0) == m.told(againLine, 0) && m.told(fullLine, 1) == m.told(againLine, 1)
	})
	looked, lines := time.Since(began), [2]int{m.told(fullLine, 0), m.told(fullLine, 1)}
	for _, p := range producers {
		if bad := p.bad.Load(); bad != nil {
			t.Errorf("partition %d: an error that no producer tries again: %v", p.partition, *bad)
		}
		t.Logf("partition %d: %d acknowledged, %d refused", p.partition, p.acked.Load(), p.refused.Load())
	}
	for range 2 {
		m.stop()
		m.start()
		for i, p := range producers {
			held[i] = p.acked.Load()
		}
		readAll(ctx, t, m, producers, held)
	}
	m.stop()
	// Who finds no room is let in again every few seconds. If no producer comes
	// then, that was the end of it, and the next failure is another one.
	for i, n := range lines {
		if most := 1 + int(looked/(3*time.Second)); n > most {
			t.Errorf("%s: %d lines of a full directory in %v, want %d at most", m.dirs[i], n, looked, most)
		}
		if m.told(fullLine, i) > n {
			t.Errorf("%s is full again although there is room", m.dirs[i])
		}
	}
	if strings.Contains(m.log.String(), "goes offline") {
		t.Error("a full directory went offline")
	}
}

func wait(t *testing.T, ctx context.Context, what string, done func() bool) {
	t.Helper()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// readAll reads the log of each partition and looks for a hole among what was
// acknowledged: from the log start on numbers follow each other, up to the last
// acknowledged one at least. A record that was tried again may be there twice.
func readAll(ctx context.Context, t *testing.T, m *machine, producers []*producer, acked []int64) (records int) {
	t.Helper()
	for i, p := range producers {
		c := m.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {p.partition: kgo.NewOffset().AtStart()}}))
		last := int64(-1)
		for last < acked[i]-1 {
			short, done := context.WithTimeout(ctx, 5*time.Second)
			fs := c.PollFetches(short)
			done()
			if fs.NumRecords() == 0 {
				adm := kadm.NewClient(c)
				starts, _ := adm.ListStartOffsets(ctx, "t")
				ends, _ := adm.ListEndOffsets(ctx, "t")
				s, _ := starts.Lookup("t", p.partition)
				e, _ := ends.Lookup("t", p.partition)
				if s.Offset == e.Offset && s.Offset >= acked[i] {
					break // all of it was deleted
				}
				if ctx.Err() != nil {
					t.Fatalf("partition %d: read up to record %d, acknowledged were %d; the log is %d to %d", p.partition, last, acked[i], s.Offset, e.Offset)
				}
				continue
			}
			fs.EachRecord(func(r *kgo.Record) {
				records++
				var n int64
				if _, err := fmt.Sscanf(string(r.Key), "%d", &n); err != nil {
					return // the first
				}
				if last >= 0 && n > last+1 {
					t.Fatalf("partition %d: record %d follows %d", p.partition, n, last)
				}
				last = max(last, n)
			})
		}
		c.Close()
	}
	return records
}
