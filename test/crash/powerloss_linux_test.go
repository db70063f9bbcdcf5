// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/config"
	"gregor/node"
	"gregor/wire/batch"
)

const (
	// shutdownIoctl is FS_IOC_SHUTDOWN: the file system stops at once, and with
	// shutdownNoLogFlush nothing goes to the disk any more, the journal included.
	shutdownIoctl      = 0x8004587d
	shutdownNoLogFlush = 2

	diskBytes = 512 << 20
	flushMs   = 50
)

// TestPowerLoss takes the disk away under a whole node: an ext4 on a loop device
// is shut down while producers write, mounted again, and a node is started on
// it. Every record that was acknowledged with flush.messages=1, or before a flush
// that flush.ms asked for and that is over, is there; every topic holds a beginning of what was sent, takes
// another record, and the file system is whole. Nothing that the file system kept
// is missing. It needs root.
//
// What counts is what was acknowledged before the ioctl was called. An fdatasync
// that is under way then may return success without having kept anything: ext4
// takes a transaction that was given up, and is gone, for one that was committed.
//
// CRASH_POWER_LOSSES says how often (once), CRASH_SEED the first seed.
func TestPowerLoss(t *testing.T) {
	rounds := number(t, "CRASH_POWER_LOSSES", 1)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000_000)
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: taking a disk away needs root, to mount a file system on a loop device")
	}
	if testing.Short() {
		t.Skip("SKIPPED: it takes seconds")
	}
	for i := range rounds {
		t.Run(fmt.Sprintf("seed=%d", seed+i), func(t *testing.T) { losePower(t, seed+i) })
	}
}

// disk is an ext4 in a file.
type disk struct {
	t            *testing.T
	image, mount string
	mounted      bool
	told         lines // what the nodes on it said, for a test that fails
	files        watched
}

// lines is a log that many write to.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newDisk(t *testing.T) *disk {
	dir := t.TempDir()
	d := &disk{t: t, files: watched{began: map[string][]time.Time{}}, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskBytes), os.Mkdir(d.mount, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: mkfs.ext4: %v %s", err, out)
	}
	t.Cleanup(func() {
		d.detach()
		if t.Failed() {
			t.Log(d.told.String())
		}
	})
	d.attach()
	return d
}

func (d *disk) attach() {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput(); err != nil {
		d.t.Skipf("SKIPPED: mounting a loop device: %v %s", err, out)
	}
	d.mounted = true
}

func (d *disk) detach() {
	if !d.mounted {
		return
	}
	d.mounted = false
	var out []byte
	var err error
	for range 100 { // until the last descriptor of the node that was killed is closed
		if out, err = exec.Command("umount", d.mount).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.t.Errorf("umount: %v %s", err, out)
}

// check lets the file system's own tool look for damage.
func (d *disk) check() {
	d.detach()
	if out, err := exec.Command("e2fsck", "-fn", d.image).CombinedOutput(); err != nil {
		d.t.Errorf("the file system is damaged: %v\n%s", err, out)
	}
}

func (d *disk) shutDown() { shutDown(d.t, d.mount) }

// shutDown ends a file system at once.
func shutDown(t *testing.T, mount string) {
	dir, err := os.Open(mount)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	how := uint32(shutdownNoLogFlush)
	if _, _, no := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutdownIoctl, uintptr(unsafe.Pointer(&how))); no != 0 {
		t.Skipf("SKIPPED: this kernel's file system does not know FS_IOC_SHUTDOWN: %v", no)
	}
}

// watched notes when the syncs of log files begin, by folder.
type watched struct {
	vfs.OS
	mu    sync.Mutex // guards began
	began map[string][]time.Time
}

func (w *watched) Open(name string, flag vfs.OpenFlag, perm fs.FileMode) (vfs.File, error) {
	f, err := w.OS.Open(name, flag, perm)
	if err != nil || filepath.Ext(name) != ".log" {
		return f, err
	}
	return watchedFile{f, w, filepath.Base(filepath.Dir(name))}, nil
}

type watchedFile struct {
	vfs.File
	w      *watched
	folder string
}

func (f watchedFile) SyncData() error {
	f.w.mu.Lock()
	f.w.began[f.folder] = append(f.w.began[f.folder], time.Now())
	f.w.mu.Unlock()
	return f.File.SyncData()
}

// flushesBefore tells when the syncs began that did so before then.
func (w *watched) flushesBefore(folder string, then time.Time) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.began[folder])
	for n > 0 && !w.began[folder][n-1].Before(then) {
		n--
	}
	return w.began[folder][:n:n]
}

func (d *disk) start() *node.Node {
	d.t.Helper()
	c, _, err := config.Load(config.Sources{Set: []string{"listeners=PLAINTEXT://127.0.0.1:0", "gregor.admin.listener=", "log.dirs=" + filepath.Join(d.mount, "data"),
		"log.segment.bytes=1048576", "log.flush.offset.checkpoint.interval.ms=300", "replica.high.watermark.checkpoint.interval.ms=200"}})
	if err != nil {
		d.t.Fatal(err)
	}
	n := node.New(node.Options{Config: c, FS: &d.files, Net: netx.OS{}, Now: time.Now, Random: rand.Reader, Hostname: "127.0.0.1",
		Logger: slog.New(slog.NewTextHandler(&d.told, &slog.HandlerOptions{Level: slog.LevelInfo}))})
	if err := n.Start(d.t.Context()); err != nil {
		d.t.Fatalf("the node does not start: %v", err)
	}
	d.t.Cleanup(n.Kill)
	return n
}

// records counts the records of a topic's only partition that are in its files,
// as far as they are whole.
func (d *disk) records(topic string) (n int) {
	folder := filepath.Join(d.mount, "data", topic+"-0")
	files, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil {
		d.t.Fatal(err)
	}
	slices.Sort(files)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			d.t.Fatal(err)
		}
		fmt.Fprintln(&d.told, "file", filepath.Base(name), "bytes", len(b))
		for len(b) > 0 {
			h, err := batch.Parse(b)
			if err != nil || h.SizeBytes() > len(b) || batch.VerifyCRC(b[:h.SizeBytes()]) != nil || int(h.BaseOffset) != n {
				return n
			}
			n, b = int(h.NextOffset()), b[h.SizeBytes():]
		}
	}
	return n
}

func clientOf(t *testing.T, n *node.Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	at, _ := n.Addresses()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(at[0].Addr), kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(3 * time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// sender writes 0, 1, 2, … to a topic and notes when each was acknowledged.
type sender struct {
	topic string
	acked []time.Time
}

func (s *sender) run(ctx context.Context, c *kgo.Client) {
	for i := 0; ctx.Err() == nil; i++ {
		if c.ProduceSync(ctx, &kgo.Record{Topic: s.topic, Value: []byte(strconv.Itoa(i))}).FirstErr() != nil {
			return
		}
		s.acked = append(s.acked, time.Now())
	}
}

// ackedBefore counts the records that were acknowledged by then.
func (s *sender) ackedBefore(then time.Time) int {
	n := 0
	for n < len(s.acked) && s.acked[n].Before(then) {
		n++
	}
	return n
}

// flushesUnderWay: a flush may sync two files, after a roll, and then their folder. It
// is over when another has begun.
const flushesUnderWay = 2

func losePower(t *testing.T, seed uint64) {
	random := mathrand.New(mathrand.NewPCG(seed, 3))
	d := newDisk(t)
	n := d.start()
	admin := kadm.NewClient(clientOf(t, n))
	settings := map[string]map[string]*string{
		"each": {"flush.messages": kadm.StringPtr("1")},
		"soon": {"flush.ms": kadm.StringPtr(strconv.Itoa(flushMs))},
		"none": {},
	}
	var senders []*sender
	for topic, configs := range settings {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, configs, topic); err != nil {
			t.Fatal(err)
		}
		senders = append(senders, &sender{topic: topic})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	for _, s := range senders {
		c := clientOf(t, n)
		running.Go(func() { s.run(ctx, c) })
	}
	time.Sleep(time.Duration(500+random.IntN(1500)) * time.Millisecond)
	for range 600 { // a disk with other work takes its time
		if len(d.files.flushesBefore("soon-0", time.Now())) > flushesUnderWay && len(d.files.flushesBefore("each-0", time.Now())) > flushesUnderWay {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	lost := time.Now()
	d.shutDown()
	cancel()
	running.Wait()
	n.Kill()
	d.detach()
	d.attach()
	kept := map[string]int{} // by the file system, whatever the node makes of it
	for _, s := range senders {
		kept[s.topic] = d.records(s.topic)
	}
	fmt.Fprintln(&d.told, "the power is back")
	n = d.start()
	for _, s := range senders {
		promised := 0
		switch s.topic {
		case "each":
			promised = s.ackedBefore(lost)
		case "soon":
			if began := d.files.flushesBefore("soon-0", lost); len(began) > flushesUnderWay {
				promised = s.ackedBefore(began[len(began)-1-flushesUnderWay])
			}
		}
		there := inspectTopic(t, n, s.topic)
		t.Logf("%s: %d acknowledged, %d promised, %d kept by the file system, %d there", s.topic, len(s.acked), promised, kept[s.topic], there)
		if there < kept[s.topic] {
			t.Errorf("%s holds %d records of %d that are in its files", s.topic, there, kept[s.topic])
		}
		if there < promised {
			t.Errorf("%s holds %d records, %d were synced", s.topic, there, promised)
		}
		if promised == 0 && s.topic != "none" {
			t.Errorf("%s: nothing was acknowledged in time", s.topic)
		}
	}
	stop, done := context.WithTimeout(context.Background(), 30*time.Second)
	defer done()
	if err := n.Close(stop); err != nil {
		t.Error(err)
	}
	d.check()
}

// inspectTopic reads a topic, which holds a beginning of 0, 1, 2, …, and writes
// one more record to it.
func inspectTopic(t *testing.T, n *node.Node, topic string) (there int) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := clientOf(t, n, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	r, err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("more")}).First()
	if err != nil {
		t.Fatalf("%s takes no record: %v", topic, err)
	}
	for next := int64(0); next <= r.Offset; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s, offset %d: %v", topic, next, err)
		}
		fetches.EachRecord(func(got *kgo.Record) {
			want := strconv.FormatInt(next, 10)
			if got.Offset == r.Offset {
				want = "more"
			}
			if got.Offset != next || string(got.Value) != want {
				t.Fatalf("%s holds %q at offset %d, want %q at %d", topic, got.Value, got.Offset, want, next)
			}
			next++
		})
	}
	return int(r.Offset)
}
