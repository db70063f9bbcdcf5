// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
	"gregor/storage/retention"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// fileSystems are what a drive is formatted with. With noauto_da_alloc ext4 writes
// the data of a file that is renamed over another no sooner than any other's.
// stops: it knows FS_IOC_SHUTDOWN.
var fileSystems = []struct {
	name, mkfs, options, fsck string
	stops                     bool
}{
	{"ext4", "mkfs.ext4 -q -F -b 4096", "", "e2fsck -fn", true},
	{"ext4 lazy", "mkfs.ext4 -q -F -b 4096", "noauto_da_alloc,commit=60", "e2fsck -fn", true},
	{"xfs", "mkfs.xfs -q -f", "", "xfs_repair -n -f", true},
	{"btrfs", "mkfs.btrfs -q -f -K", "", "btrfs check", false},
}

// TestPowerLossOfDrive lets a drive forget what it has not flushed, under two log
// directories with many logs in small segments that roll, flush, are truncated,
// lose their beginnings and are deleted all the time, while the directories write
// recovery points. What each log itself called flushed, before the cut, is there
// behind it, and it is a beginning of what was written; a clean stop loses nothing.
// The next round goes on with what is left. It needs root; CRASH_POWER_LOSSES (5
// rounds for each) and CRASH_SEED are as for TestPowerLoss.
func TestPowerLossOfDrive(t *testing.T) {
	rounds := 5 * number(t, "CRASH_POWER_LOSSES", 1)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000_000)
	t.Logf("CRASH_SEED=%d", seed)
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: taking a disk away needs root, to mount a file system on a loop device")
	}
	if testing.Short() {
		t.Skip("SKIPPED: it takes seconds")
	}
	for _, how := range fileSystems {
		t.Run(how.name, func(t *testing.T) {
			if _, err := exec.LookPath(strings.Fields(how.mkfs)[0]); err != nil {
				t.Skipf("SKIPPED: %v", err)
			}
			w := newDriven(t, seed, how.mkfs, how.options)
			w.stops = how.stops
			for w.round = range rounds {
				w.run()
				if t.Failed() {
					t.Fatalf("round %d\n%s", w.round, w.told.String())
				}
			}
			w.unmount()
			if out, err := exec.Command("sh", "-c", how.fsck+" "+w.drive.path).CombinedOutput(); err != nil {
				t.Errorf("the file system is damaged: %v\n%s", err, out)
			}
			t.Logf("%d rounds, %d promised records, %d written", rounds, w.promised, w.written)
		})
	}
}

// driven is two log directories on a drive.
type driven struct {
	t       *testing.T
	random  *rand.Rand
	seed    uint64
	round   uint64
	options string
	stops   bool
	shut    atomic.Bool // the present file system was shut down
	drive   *drive
	mount   string
	mounted bool
	told    lines
	dirs    [2]*logdir.Dir
	files   *segment.Files
	logs    []*driveLog

	promised, written int // for the report
}

// driveLog is a log with its model.
type driveLog struct {
	tp     kafka.TopicPartition
	config commitlog.Config
	random *rand.Rand
	dir    *logdir.Dir // of the present round
	log    *commitlog.Log

	mu       sync.Mutex // guards what follows: the model at any moment
	id       kafka.TopicID
	now      []string // values by offset
	next     []string // once the present operation is done
	promised kafka.Offset
	startMax kafka.Offset
	cutting  bool
	leaving  bool // being deleted, or made again
	failed   error

	epoch         kafka.LeaderEpoch
	producerEpoch kafka.ProducerEpoch
	sequence      int32
	values        int
}

func newDriven(t *testing.T, seed uint64, mkfs, options string) *driven {
	dir := t.TempDir()
	w := &driven{t: t, random: rand.New(rand.NewPCG(seed, 6)), seed: seed, options: options, mount: filepath.Join(dir, "mount")}
	path := filepath.Join(dir, "drive")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(w.mount, 0o700)); err != nil {
		t.Fatal(err)
	}
	w.drive = newDrive(t, path, map[int64][]byte{})
	t.Cleanup(func() {
		w.unmount()
		w.drive.unplug()
	})
	if out, err := exec.Command("sh", "-c", mkfs+" "+path).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", mkfs, err, out)
	}
	if err := w.attach(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	for i, config := range []commitlog.Config{
		{FlushMessages: 1, SegmentBytes: 700, IndexIntervalBytes: 100},
		{FlushMessages: 1, SegmentBytes: 4000},
		{FlushMessages: 1, SegmentBytes: 2000, Preallocate: true},
		{FlushMessages: 9, SegmentBytes: 900},
		{FlushMs: 3, SegmentBytes: 1500, IndexIntervalBytes: 200},
		{FlushMessages: 1, SegmentBytes: 1 << 20},
		{SegmentBytes: 1000},
		{SegmentBytes: 100_000},
	} {
		w.logs = append(w.logs, &driveLog{tp: kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionID(i)}, config: config,
			random: rand.New(rand.NewPCG(seed, uint64(7+i)))})
	}
	return w
}

func (w *driven) attach() error {
	options := "loop"
	if w.options != "" {
		options += "," + w.options
	}
	if out, err := exec.Command("mount", "-o", options, w.drive.path, w.mount).CombinedOutput(); err != nil {
		return fmt.Errorf("mounting the drive: %w %s", err, out)
	}
	w.mounted = true
	return nil
}

func (w *driven) unmount() {
	if !w.mounted {
		return
	}
	w.mounted = false
	var out []byte
	var err error
	for range 1500 {
		if out, err = exec.Command("umount", w.mount).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.t.Errorf("umount: %v %s", err, out)
}

func (w *driven) start() {
	w.files = segment.NewFiles(vfs.OS{}, 24)
	for i := range w.dirs {
		path := filepath.Join(w.mount, "disk", "of", fmt.Sprint("broker", i))
		d, err := logdir.Open(logdir.Options{FS: vfs.OS{}, Path: path, Files: w.files, NodeID: 1, ClusterID: "c",
			Logger: slog.New(slog.NewTextHandler(&w.told, nil)), Now: time.Now, FlushInterval: 13 * time.Millisecond,
			HighWatermarkInterval: 7 * time.Millisecond, FileDeleteDelay: 5 * time.Millisecond, ReserveBytes: 1, ScrubBytesPerSecond: 1 << 20, ScrubInterval: time.Millisecond})
		if err != nil {
			w.t.Fatalf("the directory does not open: %v", err)
		}
		w.dirs[i] = d
	}
}

// run is one round: a load, a cut in it, and a look at what it left.
func (w *driven) run() {
	fmt.Fprintln(&w.told, "round", w.round)
	w.start()
	for i, p := range w.logs {
		p.dir, p.failed = w.dirs[i%2], nil
		if err := p.open(); err != nil {
			w.t.Fatalf("%v does not open: %v", p.tp, err)
		}
	}
	if w.t.Failed() {
		return
	}
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	var running sync.WaitGroup
	for _, p := range w.logs {
		running.Go(func() { p.run(ctx) })
	}
	for _, d := range w.dirs {
		random := rand.New(rand.NewPCG(w.seed, w.random.Uint64()))
		running.Go(func() { w.flushNowAndThen(ctx, d, random) })
	}
	time.Sleep(time.Duration(10+w.random.IntN(150)) * time.Millisecond)
	clean := w.random.IntN(4) == 0
	if clean {
		stop()
		running.Wait()
		for _, d := range w.dirs {
			if err := d.Close(1); err != nil {
				w.t.Fatalf("clean stop: %v", err)
			}
		}
		for _, p := range w.logs {
			p.promised = kafka.Offset(len(p.now))
		}
	}
	stopped := w.stops && w.random.IntN(3) == 0
	keep := []string{"none", "all", "prefix", "torn", "torn", "torn"}[w.random.IntN(6)]
	for _, p := range w.logs {
		p.mu.Lock()
	}
	var image map[int64][]byte
	fresh := 0 // writes of the drive that the cut may take
	if stopped {
		keep = "what came before the shutdown"
		w.shut.Store(true)
		shutDown(w.t, w.mount)
	} else {
		image, fresh = w.drive.cut(keep, w.random)
	}
	type model struct {
		now, next []string
		id        kafka.TopicID
		promised  kafka.Offset
		startMax  kafka.Offset
		leaving   bool
		failed    error
	}
	models := make([]model, len(w.logs))
	for i, p := range w.logs {
		models[i] = model{p.now, p.next, p.id, p.promised, p.startMax, p.leaving, p.failed}
		p.mu.Unlock()
	}
	stop()
	running.Wait()
	w.kill()
	w.unmount()
	path := w.drive.path
	w.drive.unplug()
	if stopped {
		image = w.drive.pages
	}
	w.drive = newDrive(w.t, path, image)
	if err := w.attach(); err != nil {
		w.t.Fatal(err)
	}
	w.shut.Store(false)
	fmt.Fprintln(&w.told, "the power is back; kept:", keep, "of", fresh, "writes")
	w.start()
	for i, p := range w.logs {
		m := models[i]
		if m.failed != nil { // not by the shutdown, which came later
			w.t.Errorf("%v: %v", p.tp, m.failed)
		}
		p.dir = w.dirs[i%2]
		if clean && !p.dir.CleanStart() {
			w.t.Errorf("%v: a clean stop, and its directory is not clean", p.tp)
		}
		p.now, p.next, p.id, p.promised, p.startMax, p.leaving = m.now, m.next, m.id, m.promised, m.startMax, m.leaving
		w.promised += int(m.promised)
		w.written += len(m.now)
		if err := p.judge(); err != nil {
			w.t.Errorf("%v, keep %s of %d writes, clean %v: %v", p.tp, keep, fresh, clean, err)
		}
	}
	w.kill() // so that the next round recovers once more
}

func (w *driven) kill() {
	for _, d := range w.dirs {
		d.Kill()
	}
	if err := w.files.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *driven) flushNowAndThen(ctx context.Context, d *logdir.Dir, random *rand.Rand) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		if err := d.Flush(ctx); err != nil && ctx.Err() == nil && !w.shut.Load() {
			w.t.Errorf("flush of a directory: %v", err)
			return
		}
		for i, p := range w.logs {
			if w.dirs[i%2] == d {
				p.believe()
			}
		}
	}
}

// open opens the log of the present life.
func (p *driveLog) open() error {
	p.mu.Lock()
	if p.id.IsZero() {
		p.id = kafka.TopicID{1, byte(p.tp.Partition), byte(p.random.Uint32()), byte(p.random.Uint32()), 1}
	}
	p.mu.Unlock()
	log, err := p.dir.OpenLog(p.tp, p.id, p.config)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.log, p.leaving = log, false
	p.mu.Unlock()
	p.epoch++
	p.producerEpoch++
	p.sequence = 0
	log.AdvanceHighWatermark(log.Tail().LogEnd)
	return log.StartEpoch(p.epoch)
}

// believe takes the log at its word about what is flushed.
func (p *driveLog) believe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log == nil || p.cutting || p.leaving {
		return
	}
	p.promised = max(p.promised, min(p.log.Tail().Flushed, kafka.Offset(len(p.now))))
}

func (p *driveLog) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.step()
		if err != nil {
			p.mu.Lock()
			p.failed = err
			p.mu.Unlock()
			return
		}
		p.mu.Lock()
		p.next = nil
		p.mu.Unlock()
		p.believe()
		time.Sleep(time.Duration(p.random.IntN(400)) * time.Microsecond)
	}
}

func (p *driveLog) step() error {
	switch n := p.random.IntN(200); {
	case n < 150:
		return p.append()
	case n < 160:
		return p.log.Flush()
	case n < 165:
		return p.log.Roll()
	case n < 168:
		return p.log.Checkpoint()
	case n < 180:
		return p.log.FlushDue()
	case n < 188:
		return p.truncate()
	case n < 192:
		p.mu.Lock()
		to := min(kafka.Offset(len(p.now)), p.log.Tail().LogStart+kafka.Offset(p.random.IntN(40)))
		p.startMax = max(p.startMax, to)
		p.mu.Unlock()
		return p.log.DeleteRecords(to)
	case n < 198:
		p.mu.Lock()
		p.startMax = kafka.Offset(len(p.now))
		p.mu.Unlock()
		_, _, err := p.log.Retain(retention.Rules{Delete: true, Ms: -1, Bytes: int64(p.random.IntN(6000))})
		return err
	case n < 199:
		return p.delete()
	}
	return nil
}

func (p *driveLog) append() error {
	var chain *commitlog.Append
	last := &chain
	after := append([]string(nil), p.now...)
	for range 1 + p.random.IntN(2)*p.random.IntN(3) {
		var b batch.Builder
		o := batch.NoProducer(0, 0)
		count := int32(1 + p.random.IntN(4))
		if p.tp.Partition%2 == 1 {
			o.ProducerID, o.ProducerEpoch, o.BaseSequence = producerID, p.producerEpoch, p.sequence
			p.sequence += count
		}
		b.Begin(o)
		for range count {
			p.values++
			v := fmt.Sprint(p.values, strings.Repeat("x", p.random.IntN(150)))
			b.Add(time.Now().UnixMilli(), nil, []byte(v))
			after = append(after, v)
		}
		bytes, err := b.Finish(nil, nil)
		if err != nil {
			return err
		}
		a := &commitlog.Append{Batches: append([]byte(nil), bytes...), ExpectedEpoch: p.epoch}
		*last, last = a, &a.Next
	}
	p.mu.Lock()
	p.next = after
	p.mu.Unlock()
	p.log.Append(chain, p.epoch)
	for a := chain; a != nil; a = a.Next {
		if a.Err != nil {
			return fmt.Errorf("append: %w", a.Err)
		}
	}
	tail := p.log.Tail()
	if int(tail.LogEnd) != len(after) {
		return fmt.Errorf("the log ends at %d, want %d", tail.LogEnd, len(after))
	}
	if every := p.config.FlushMessages; every > 0 && int64(tail.LogEnd-tail.Flushed) >= every {
		return fmt.Errorf("flush.messages=%d, and %d to %d are not flushed", every, tail.Flushed, tail.LogEnd)
	}
	p.log.AdvanceHighWatermark(tail.LogEnd)
	p.mu.Lock()
	p.now = after
	p.mu.Unlock()
	return nil
}

// truncate cuts the end off, every other time while somebody reads there.
func (p *driveLog) truncate() error {
	tail := p.log.Tail()
	if tail.LogEnd == tail.LogStart {
		return nil
	}
	off := max(tail.LogStart, tail.LogEnd-kafka.Offset(p.random.IntN(12)))
	if p.random.IntN(2) == 0 {
		var c commitlog.Cursor
		if read, err := p.log.Read(&c, max(tail.LogStart, off-1), 100, commitlog.ToLogEnd, true); err == nil && read.File.Src != nil {
			defer read.File.Src.Release()
		}
	}
	p.mu.Lock()
	p.cutting = true
	// A batch goes whole, so what the log calls flushed may fall below off.
	p.promised, p.next = min(p.promised, max(0, off-8)), p.now[:off]
	p.startMax = max(p.startMax, tail.LogStart)
	p.mu.Unlock()
	if err := p.log.TruncateTo(off); err != nil {
		return fmt.Errorf("truncate: %w", err)
	}
	p.epoch++
	if err := p.log.StartEpoch(p.epoch); err != nil {
		return err
	}
	p.producerEpoch++
	p.sequence = 0
	p.mu.Lock()
	p.now, p.next, p.cutting = p.now[:p.log.Tail().LogEnd:p.log.Tail().LogEnd], nil, false
	p.mu.Unlock()
	return nil
}

func (p *driveLog) delete() error {
	p.mu.Lock()
	p.leaving = true
	p.mu.Unlock()
	if err := p.dir.DeleteLog(p.log); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	p.mu.Lock()
	p.now, p.next, p.promised, p.startMax, p.id = nil, nil, 0, 0, kafka.TopicID{}
	p.mu.Unlock()
	if err := p.open(); err != nil {
		return fmt.Errorf("make again: %w", err)
	}
	return nil
}

// judge looks at what a cut has left, and adopts it.
func (p *driveLog) judge() error {
	if p.leaving {
		p.now, p.next, p.promised, p.startMax, p.id, p.leaving = nil, nil, 0, 0, kafka.TopicID{}, false
		// Whichever life is there ends here.
		for _, f := range p.dir.Logs() {
			if f.TopicPartition == p.tp {
				return p.dir.SetAside(p.tp)
			}
		}
		return nil
	}
	log, err := p.dir.OpenLog(p.tp, p.id, p.config)
	if err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	f, err := readAll(log)
	if err != nil {
		return err
	}
	if f.end < p.promised {
		return fmt.Errorf("ends at %d, %d was flushed", f.end, p.promised)
	}
	if f.start > p.startMax {
		return fmt.Errorf("starts at %d, its start was never beyond %d", f.start, p.startMax)
	}
	err = begins(p.now, f)
	if err != nil && p.next != nil {
		if begins(p.next, f) == nil {
			p.now, err = p.next, nil
		}
	}
	if err != nil {
		return err
	}
	p.now, p.next = p.now[:f.end:f.end], nil
	p.startMax = f.start
	return errors.Join(checkEpochs(nil, nil, log, f, content{}), checkTimes(nil, nil, log, f, content{}))
}

func begins(c []string, f found) error {
	if int(f.end) > len(c) || int(f.end-f.start) != len(f.records) {
		return fmt.Errorf("holds %d records from %d to %d, %d were written", len(f.records), f.start, f.end, len(c))
	}
	for i, r := range f.records {
		if off := int(f.start) + i; r.value != c[off] {
			return fmt.Errorf("offset %d holds %.30q, want %.30q", off, r.value, c[off])
		}
	}
	return nil
}
