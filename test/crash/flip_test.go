// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/index"
	"gregor/storage/logdir"
	"gregor/wire/batch"
)

// flipsPerLoad is how many damages are done to the directory of one load.
const flipsPerLoad = 25

// TestFlips damages files of a log directory while nobody uses it: one random
// bit of a random file of a random kind, and, every few times, a file that is
// removed, emptied, cut or zeroed. After the start everything that was written
// is served as it was written, or CORRUPT_MESSAGE if its own batch is damaged;
// look-ups by time and by epoch, the aborted transactions and the memory for
// duplicates are as they were; or the start is refused with a line that names
// the file. CRASH_FLIPS sets how many (50).
func TestFlips(t *testing.T) {
	flips := number(t, "CRASH_FLIPS", 50)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000_000)
	t.Logf("CRASH_SEED=%d", seed)
	outcomes := map[string]int{}
	for load := uint64(0); load*flipsPerLoad < flips; load++ {
		t.Run(fmt.Sprintf("seed=%d", seed+load), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { flipLoad(t, seed+load, outcomes) })
		})
	}
	for _, what := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%4d x %s", outcomes[what], what)
	}
}

// writtenBatch is one batch of the model.
type writtenBatch struct {
	h     batch.Header
	bytes []byte
	file  string // that holds it
	pos   int64
}

// flipPart is a partition and all that its log answered before the damage.
type flipPart struct {
	tp      kafka.TopicPartition
	id      kafka.TopicID
	config  commitlog.Config
	batches []writtenBatch // also those below the log start
	tail    commitlog.Tail
	flushed kafka.Offset
	epoch   kafka.LeaderEpoch
	aborted map[kafka.Offset][]commitlog.AbortedTxn // of the batch at the offset
	times   map[int64]kafka.Offset
	last    map[kafka.ProducerID]int // number of its last batch
}

func (p *flipPart) holding(off kafka.Offset) *writtenBatch {
	for i := range p.batches {
		if p.batches[i].h.LastOffset() >= off {
			return &p.batches[i]
		}
	}
	return nil
}

type flipWorld struct {
	t      *testing.T
	random *rand.Rand
	seed   uint64
	fs     *vfs.Memory
	parts  []*flipPart
	said   bytes.Buffer
}

func (w *flipWorld) options(fsys vfs.FS) logdir.Options {
	o := options(fsys, w.seed)
	w.said.Reset()
	o.Logger = slog.New(slog.NewTextHandler(&w.said, nil))
	return o
}

func (w *flipWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
}

func flipLoad(t *testing.T, seed uint64, outcomes map[string]int) {
	w := &flipWorld{t: t, random: rand.New(rand.NewPCG(seed, 2)), seed: seed, fs: vfs.NewMemory()}
	for i := range 3 {
		w.parts = append(w.parts, &flipPart{tp: kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionID(i)}, id: kafka.TopicID{1, byte(i)},
			config: []commitlog.Config{
				{SegmentBytes: 4000, IndexIntervalBytes: 300}, {SegmentBytes: 3000, IndexIntervalBytes: 200}, {IndexIntervalBytes: 500},
			}[i]})
	}
	dir, err := logdir.Open(w.options(w.fs))
	w.must(err)
	logs := make([]*commitlog.Log, len(w.parts))
	for i, p := range w.parts {
		logs[i], err = dir.OpenLog(p.tp, p.id, p.config)
		w.must(err)
		w.fill(p, logs[i], 90)
	}
	w.must(dir.Flush(t.Context()))
	for i, p := range w.parts {
		w.must(logs[i].AdvanceLogStart(kafka.Offset(5 + w.random.IntN(20))))
		p.flushed = logs[i].Tail().Flushed
	}
	stopped := w.random.IntN(2) == 0
	if !stopped {
		w.must(dir.Flush(t.Context()))
		for i, p := range w.parts {
			p.flushed = logs[i].Tail().Flushed
			w.fill(p, logs[i], w.random.IntN(20))
		}
	}
	for i, p := range w.parts {
		w.remember(p, logs[i])
	}
	if stopped {
		w.must(dir.Close(7))
		for _, p := range w.parts {
			p.flushed = p.tail.LogEnd
		}
	} else {
		dir.Kill()
	}
	for range flipsPerLoad {
		image := w.fs.CrashClone(vfs.Loss{Data: vfs.KeepAll, Entries: vfs.KeepAll})
		d := w.damage(image)
		outcome := w.judge(image, d, stopped)
		outcomes[d.kind+": "+outcome]++
		if t.Failed() {
			t.Logf("seed %d, stopped %v: %s of %s at byte %d of %d, mask %02x", seed, stopped, d.how, d.file, d.pos, d.size, d.mask)
			t.Logf("said:\n%s", w.said.String())
			return
		}
	}
}

// fill appends batches of several producers, transactions that commit and
// abort, new epochs and times that go back.
func (w *flipWorld) fill(p *flipPart, log *commitlog.Log, n int) {
	sequences := map[kafka.ProducerID]int32{}
	for _, b := range p.batches {
		if b.h.HasProducerID() && !b.h.Attributes.IsControl() {
			sequences[b.h.ProducerID] = b.h.BaseSequence + b.h.Count
		}
	}
	open := map[kafka.ProducerID]bool{}
	now := int64(epochMs) + int64(len(p.batches))*1000
	for i := range n {
		if w.random.IntN(25) == 0 {
			p.epoch++
			w.must(log.StartEpoch(p.epoch))
		}
		now += int64(w.random.IntN(3000)) - 700
		pid := kafka.ProducerID(10 + w.random.IntN(3))
		o := batch.NoProducer(0, 0)
		origin := commitlog.OriginClient
		var b batch.Builder
		switch k := w.random.IntN(10); {
		case k < 3 && p.tp.Partition != 2:
		case open[pid] && (k < 6 || i+6 > n):
			o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional, o.Control = pid, 0, batch.NoSequence, true, true
			origin = commitlog.OriginCoordinator
			delete(open, pid)
		default:
			o.ProducerID, o.ProducerEpoch, o.BaseSequence = pid, 0, sequences[pid]
			o.Transactional = p.tp.Partition == 1
			open[pid] = o.Transactional
		}
		b.Begin(o)
		if o.Control {
			b.Add(now, []byte{0, 0, 0, byte(w.random.IntN(2))}, make([]byte, 6))
		} else {
			records := 1 + w.random.IntN(4)
			for range records {
				now += int64(w.random.IntN(20))
				b.Add(now, []byte("k"), []byte(fmt.Sprint(p.tp, len(p.batches), strings.Repeat("v", w.random.IntN(120)))))
			}
			if o.ProducerID >= 0 {
				sequences[pid] += int32(records)
			}
		}
		raw, err := b.Finish(nil, nil)
		w.must(err)
		a := &commitlog.Append{Batches: raw, Origin: origin, ExpectedEpoch: kafka.NoLeaderEpoch}
		log.Append(a, p.epoch)
		w.must(a.Err)
		h, err := batch.Parse(a.Batches)
		w.must(err)
		at := writtenBatch{h: h, bytes: bytes.Clone(a.Batches)}
		segments, _ := log.Segments()
		s := segments[len(segments)-1]
		at.file = filepath.Join(log.Dir(), fmt.Sprintf("%020d.log", int64(s.Base)))
		at.pos = s.SizeBytes - int64(len(at.bytes))
		p.batches = append(p.batches, at)
		log.AdvanceHighWatermark(log.Tail().LogEnd)
	}
}

// remember asks everything that is to be the same behind the damage.
func (w *flipWorld) remember(p *flipPart, log *commitlog.Log) {
	p.tail = log.Tail()
	p.aborted = map[kafka.Offset][]commitlog.AbortedTxn{}
	p.times = map[int64]kafka.Offset{}
	p.last = map[kafka.ProducerID]int{}
	for i, b := range p.batches {
		if b.h.LastOffset() < p.tail.LogStart {
			continue
		}
		if b.h.HasProducerID() && !b.h.Attributes.IsControl() {
			p.last[b.h.ProducerID] = i
		}
		if r, err := log.Read(nil, max(b.h.BaseOffset, p.tail.LogStart), 1, commitlog.ToLastStable, true); err == nil && r.File.LenBytes > 0 {
			p.aborted[b.h.BaseOffset] = r.Aborted
			r.File.Src.Release()
		}
	}
	for range 12 {
		ts := p.batches[w.random.IntN(len(p.batches))].h.MaxTimestampMs - int64(w.random.IntN(3))
		f, err := log.OffsetForTime(ts)
		w.must(err)
		p.times[ts] = f.Offset
	}
}

// fileDamage is what was done to a file.
type fileDamage struct {
	kind, how, file string
	pos, size       int64
	mask            byte
}

func (w *flipWorld) damage(fs *vfs.Memory) fileDamage {
	kinds := map[string][]string{}
	add := func(path string) {
		kind := filepath.Ext(path)
		if name := filepath.Base(path); kind == "" || strings.HasPrefix(name, ".") || !strings.HasPrefix(name, "0") {
			kind = name
		}
		if info, err := fs.Stat(path); err == nil && info.SizeBytes > 0 {
			kinds[kind] = append(kinds[kind], path)
		}
	}
	infos, err := fs.ReadDir("/data")
	w.must(err)
	for _, i := range infos {
		if !i.IsDir() {
			add("/data/" + i.Name)
			continue
		}
		inner, err := fs.ReadDir("/data/" + i.Name)
		w.must(err)
		for _, j := range inner {
			add("/data/" + i.Name + "/" + j.Name)
		}
	}
	names := slices.Sorted(maps.Keys(kinds))
	names = append(names, ".log", ".log", ".index", ".timeindex", ".txnindex") // there is most to damage
	kind := names[w.random.IntN(len(names))]
	for kinds[kind] == nil {
		kind = names[w.random.IntN(len(names))]
	}
	path := kinds[kind][w.random.IntN(len(kinds[kind]))]
	info, err := fs.Stat(path)
	w.must(err)
	d := fileDamage{kind: kind, file: path, size: info.SizeBytes, pos: w.random.Int64N(info.SizeBytes), mask: 1 << w.random.IntN(8), how: "flip"}
	if kind != ".log" && w.random.IntN(4) == 0 {
		d.how = []string{"removal", "emptying", "cut", "zeroing"}[w.random.IntN(4)]
	}
	if d.how == "removal" && kind == ".txnindex" {
		d.how = "emptying" // most segments have none: a missing one is for the scrub to find
	}
	w.do(fs, d)
	return d
}

func (w *flipWorld) do(fs *vfs.Memory, d fileDamage) {
	if d.how == "removal" {
		w.must(fs.Remove(d.file))
		return
	}
	w.must(fs.Rot(d.file, func(f vfs.File) error {
		b := make([]byte, d.size)
		if _, err := f.ReadAt(b, 0); err != nil {
			return err
		}
		switch d.how {
		case "emptying":
			return f.Truncate(0)
		case "cut":
			return f.Truncate(d.pos)
		case "zeroing":
			clear(b)
		default:
			b[d.pos] ^= d.mask
		}
		_, err := f.WriteAt(b, 0)
		return err
	}))
}

// judge starts on the damaged directory and compares.
func (w *flipWorld) judge(fs *vfs.Memory, d fileDamage, stopped bool) (outcome string) {
	dir, err := logdir.Open(w.options(fs))
	if err != nil {
		if d.kind != "meta.properties" || !strings.Contains(err.Error(), "meta.properties") {
			w.t.Errorf("the directory does not open: %v", err)
		}
		return "refused"
	}
	defer dir.Kill()
	outcome = "no difference"
	for _, p := range w.parts {
		log, err := dir.OpenLog(p.tp, p.id, p.config)
		if err != nil {
			if !refused(err, d) {
				w.t.Errorf("%s does not open: %v", p.tp, err)
			}
			outcome = "refused"
			continue
		}
		if err := log.StartEpoch(p.epoch + 1); err != nil { // a start is another leader's
			if d.kind != "partition.metadata" {
				w.t.Errorf("%s: %v", p.tp, err)
			}
			outcome = "refused"
			continue
		}
		if what := w.compare(p, log, d, stopped); what != "" {
			outcome = what
		}
		if w.t.Failed() {
			w.t.Logf("in %s", p.tp)
			return outcome
		}
	}
	if outcome == "no difference" && w.said.Len() > 0 {
		outcome = "noticed, no difference"
	}
	return outcome
}

// refused: a folder whose topic is not sure is not opened, and the error names the file.
func refused(err error, d fileDamage) bool {
	return err != nil && d.kind == "partition.metadata" && strings.Contains(err.Error(), d.file)
}

func (w *flipWorld) compare(p *flipPart, log *commitlog.Log, d fileDamage, stopped bool) (outcome string) {
	var bad *writtenBatch // the damaged batch
	for i := range p.batches {
		if b := &p.batches[i]; d.kind == ".log" && b.file == d.file && d.pos >= b.pos && d.pos < b.pos+int64(len(b.bytes)) {
			bad = b
		}
	}
	end := p.tail.LogEnd
	if bad != nil && bad.h.LastOffset() >= p.flushed {
		end = bad.h.BaseOffset // the log may be cut there
		outcome = "cut above the recovery point"
	}
	tail := log.Tail()
	if tail.LogEnd < end || tail.LogEnd > p.tail.LogEnd {
		w.t.Errorf("the log ends at %d, it ended at %d, flushed %d", tail.LogEnd, p.tail.LogEnd, p.flushed)
	}
	log.AdvanceHighWatermark(tail.LogEnd)
	if tail = log.Tail(); tail.LogStart > p.tail.LogStart {
		w.t.Errorf("the log begins at %d, it began at %d", tail.LogStart, p.tail.LogStart)
	}
	if tail.LogStart < p.tail.LogStart && d.kind != "log-start-offset-checkpoint" {
		w.t.Errorf("the log begins at %d, it began at %d", tail.LogStart, p.tail.LogStart)
	}
	for off := tail.LogStart; off < tail.LogEnd; off++ {
		want := p.holding(off)
		got, aborted, err := readBatch(log, off)
		if err == nil && want == bad && unguarded(p, d, bad, got, stopped) {
			return outcome
		}
		switch {
		case refused(err, d):
			return "refused"
		case errors.Is(err, index.ErrCorrupt) && bad != nil:
			// A wrong base offset makes the transaction contradict its marker: nothing is served of it.
			return "refused"
		case errors.Is(err, kafka.CorruptMessage) && want == bad:
			outcome = "quarantined"
			continue
		case err != nil:
			w.t.Errorf("read of offset %d, in the batch %d to %d: %v", off, want.h.BaseOffset, want.h.LastOffset(), err)
			return outcome
		case !bytes.Equal(got, want.bytes):
			w.t.Errorf("read of offset %d gives other bytes than the batch %d to %d of bytes %d to %d", off, want.h.BaseOffset, want.h.LastOffset(), want.pos, want.pos+int64(len(want.bytes)))
			return outcome
		}
		if e, err := log.EpochAt(off); err != nil || e != want.h.LeaderEpoch {
			w.t.Errorf("the epoch of offset %d is %d, want %d; %v", off, e, want.h.LeaderEpoch, err)
			return outcome
		}
		if was, ok := p.aborted[want.h.BaseOffset]; ok && off == want.h.BaseOffset && off >= p.tail.LogStart && bad == nil && !slices.Equal(aborted, was) {
			w.t.Errorf("aborted transactions of offset %d are %v, were %v", off, aborted, was)
			return outcome
		}
	}
	if bad == nil && tail.LastStable < p.tail.LastStable {
		w.t.Errorf("the last stable offset is %d, it was %d", tail.LastStable, p.tail.LastStable)
	}
	for ts, was := range p.times {
		f, err := log.OffsetForTime(ts)
		if bad != nil && (was >= end || was >= bad.h.BaseOffset && was <= bad.h.LastOffset()) {
			continue
		}
		if err != nil || f.Offset != was {
			if tail.LogStart < p.tail.LogStart && f.Offset < p.tail.LogStart {
				continue
			}
			w.t.Errorf("offset for time %d is %d, was %d; %v", ts, f.Offset, was, err)
		}
	}
	w.repeat(p, log, bad, tail.LogEnd)
	return outcome
}

// unguarded: where a process died, nothing but the batch behind it bears out the
// leader epoch of a batch, and the last of its file has none behind it.
func unguarded(p *flipPart, d fileDamage, bad *writtenBatch, got []byte, stopped bool) bool {
	at := d.pos - bad.pos
	return !stopped && at >= 12 && at < 16 && bad.pos+int64(len(bad.bytes)) == d.size &&
		bytes.Equal(got[:12], bad.bytes[:12]) && bytes.Equal(got[16:], bad.bytes[16:])
}

// repeat sends the last batch of each producer again.
func (w *flipWorld) repeat(p *flipPart, log *commitlog.Log, bad *writtenBatch, end kafka.Offset) {
	for pid, i := range p.last {
		b := &p.batches[i]
		if bad != nil && (bad.h.ProducerID == pid || bad.h.BaseOffset <= b.h.BaseOffset) {
			continue
		}
		a := &commitlog.Append{Batches: bytes.Clone(b.bytes), ExpectedEpoch: kafka.NoLeaderEpoch}
		batch.SetBaseOffset(a.Batches, 0)
		log.Append(a, p.epoch+1)
		if a.Err != nil || !a.Duplicate || a.BaseOffset != b.h.BaseOffset {
			w.t.Errorf("the last batch of producer %d, of offset %d, was taken again: %d, %v, %v", pid, b.h.BaseOffset, a.BaseOffset, a.Duplicate, a.Err)
		}
	}
	var next batch.Builder
	next.Begin(batch.NoProducer(0, 0))
	next.Add(lateMs, nil, []byte("another"))
	raw, err := next.Finish(nil, nil)
	w.must(err)
	a := &commitlog.Append{Batches: raw, ExpectedEpoch: kafka.NoLeaderEpoch}
	log.Append(a, p.epoch+1)
	if a.Err != nil || a.BaseOffset != end {
		w.t.Errorf("the next record gets offset %d, want %d: %v", a.BaseOffset, end, a.Err)
	}
}

// readBatch reads the batch of an offset, as a consumer would accept it: with
// its CRC.
func readBatch(log *commitlog.Log, off kafka.Offset) ([]byte, []commitlog.AbortedTxn, error) {
	bound := commitlog.ToHighWatermark
	if off < log.Tail().LastStable {
		bound = commitlog.ToLastStable
	}
	r, err := log.Read(nil, off, 1, bound, true)
	if err != nil {
		return nil, nil, err
	}
	if r.File.Src == nil {
		return nil, nil, errors.New("there is nothing")
	}
	defer r.File.Src.Release()
	b := make([]byte, r.File.LenBytes)
	if _, err := r.File.Src.ReadAt(b, r.File.PosBytes); err != nil {
		return nil, nil, err
	}
	return b, r.Aborted, nil
}
