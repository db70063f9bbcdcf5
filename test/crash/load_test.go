// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
	"gregor/storage/retention"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

const (
	producerID = 4000
	// epochMs is when a bubble's clock begins: producers whose timestamps lie
	// a day back are forgotten. No record of a load is as late as lateMs.
	epochMs = 946_684_800_000
	lateMs  = epochMs + 80_000_000
)

// world is one node's storage, its model, and the place of the next cut.
type world struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	chosen map[int64]bool

	crash *vfs.Crash
	dir   *logdir.Dir
	parts []*part
	cuts  int

	looking sync.Mutex // one call at a time is looked at
	calls   int64

	// stopped: a clean stop has returned; whatever is lost now, it is clean.
	stopped bool
	doing   string
	done    []string
	written int // values, so that each is another
	ids     int
}

func newWorld(t *testing.T, seed uint64, chosen map[int64]bool) *world {
	w := &world{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), chosen: chosen}
	w.mount(vfs.NewMemory())
	plain := commitlog.Config{}
	flushing := commitlog.Config{FlushMessages: 1, SegmentBytes: 3000}
	some := commitlog.Config{FlushMessages: 7, SegmentBytes: 1500, IndexIntervalBytes: 200}
	small := commitlog.Config{SegmentBytes: 1200, IndexIntervalBytes: 100}
	for i, config := range []commitlog.Config{plain, flushing, some, small} {
		w.parts = append(w.parts, &part{tp: kafka.TopicPartition{Topic: "t", Partition: kafka.PartitionID(i)}, config: config, produces: i%2 == 1})
	}
	w.parts = append(w.parts, &part{tp: kafka.TopicPartition{Topic: "t", Partition: 4}, config: small, transacts: true})
	return w
}

func (w *world) mount(m *vfs.Memory) {
	w.crash = vfs.NewCrash(m)
	w.crash.Observe(func(_ int64, call vfs.Call) {
		// The janitor and the flusher may call at one instant.
		w.looking.Lock()
		defer w.looking.Unlock()
		w.calls++
		if w.chosen[w.calls] {
			w.cut(call)
		}
	})
}

func options(fsys vfs.FS, seed uint64) logdir.Options {
	return logdir.Options{
		FS: fsys, Path: "/data", Files: segment.NewFiles(fsys, 16), NodeID: 1, ClusterID: "c",
		Logger: slog.New(slog.DiscardHandler), Now: time.Now, Random: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}),
		// No two things happen at once, so that a seed means one load.
		Workers: 1, FlushInterval: 59_300 * time.Millisecond, HighWatermarkInterval: 4_700 * time.Millisecond,
		FileDeleteDelay: 47_123 * time.Millisecond,
	}
}

func (w *world) fatal(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("seed %d, %s, call %d: %v%s", w.seed, w.doing, w.calls, err, w.history())
	}
}

// history is the last operations, for a failure's report.
func (w *world) history() string {
	return "\nthe load so far:\n  " + strings.Join(w.done[max(0, len(w.done)-25):], "\n  ")
}

// start opens the directory and every partition.
func (w *world) start() {
	w.doing = "start"
	dir, err := logdir.Open(options(w.crash, w.seed+uint64(w.calls)))
	w.fatal(err)
	w.t.Cleanup(dir.Kill)
	w.dir = dir
	for _, p := range w.parts {
		w.openPart(p)
	}
}

func (w *world) openPart(p *part) {
	w.doing = fmt.Sprint("open ", p.tp)
	if p.id.IsZero() {
		w.ids++
		p.id = kafka.TopicID{1, byte(w.ids)}
	}
	log, err := w.dir.OpenLog(p.tp, p.id, p.config)
	w.fatal(err)
	p.log = log
	if tail := log.Tail(); tail.LogEnd != p.now.end() {
		w.t.Fatalf("seed %d, %s: ends at %d, want %d", w.seed, w.doing, tail.LogEnd, p.now.end())
	}
	log.AdvanceHighWatermark(p.now.end())
}

// step does one operation of the load.
func (w *world) step() {
	w.operate()
	line := fmt.Sprintf("until call %d: %s", w.calls, w.doing)
	for _, p := range w.parts {
		line += fmt.Sprintf(" [%d %d %d]", p.start, p.durable, p.now.end())
	}
	w.done = append(w.done, line)
}

func (w *world) operate() {
	p := w.parts[w.random.IntN(len(w.parts))]
	do := func(name string, f func(*part)) {
		w.doing = fmt.Sprint(name, " ", p.tp)
		f(p)
		p.next = nil
	}
	switch n := w.random.IntN(100); {
	case n < 55:
		do("append", w.append)
	case n < 60:
		do("flush", w.flush)
	case n < 66:
		do("flush of the directory", func(*part) { w.flushAll() })
	case n < 72:
		do("truncate", w.truncate)
	case n < 74:
		do("truncate fully", w.truncateFully)
	case n < 76:
		do("advance the log start", w.advanceStart)
	case n < 78:
		do("delete records", w.deleteRecords)
	case n < 81:
		do("retention", w.retain)
	case n < 83:
		do("roll", func(p *part) { w.fatal(p.log.Roll()) })
	case n < 84:
		do("checkpoint", func(p *part) { w.fatal(p.log.Checkpoint()) })
	case n < 86:
		do("delete", w.delete)
	case n < 89:
		w.wait(time.Duration(w.random.IntN(20)) * time.Second)
	case n < 90:
		w.wait(70 * time.Second)
	case n < 93:
		w.stop()
	case n < 96:
		w.doing = "kill"
		w.dir.Kill()
		w.start()
	default:
		w.powerCut()
	}
}

// wait lets flusher and janitor work. The lock hands the model to their calls
// and takes it back.
func (w *world) wait(d time.Duration) {
	w.looking.Lock()
	w.doing = "wait"
	w.looking.Unlock()
	time.Sleep(d)
	synctest.Wait()
	w.looking.Lock()
	w.doing = fmt.Sprint("wait ", d)
	w.looking.Unlock()
}

func (w *world) append(p *part) {
	after := p.state
	var chain *commitlog.Append
	last := &chain
	for range 1 + w.random.IntN(2)*w.random.IntN(3) {
		var a *commitlog.Append
		if p.transacts {
			after, a = w.makeTransactional(p, after)
		} else {
			after, a = w.makeBatch(p, after)
		}
		*last, last = a, &a.Next
	}
	p.next = &after
	p.log.Append(chain, p.epoch)
	for a := chain; a != nil; a = a.Next {
		w.fatal(a.Err)
	}
	p.log.AdvanceHighWatermark(after.now.end())
	w.expectEnd(p, after.now.end())
	unflushed := int64(after.now.end() - max(after.durable, p.durableByLog()))
	if p.config.FlushMessages > 0 && unflushed >= p.config.FlushMessages {
		w.t.Fatalf("seed %d, %s: flush.messages=%d, and %d records are not flushed", w.seed, w.doing, p.config.FlushMessages, unflushed)
	}
	p.state = after
	p.believeLog()
}

// durableByLog is the end of what the log itself calls flushed.
func (p *part) durableByLog() kafka.Offset { return p.log.Tail().Flushed }

// believeLog takes the log at its word: what it calls flushed is promised.
func (p *part) believeLog() {
	flushed := p.durableByLog()
	if flushed > p.durable && flushed == p.now.end() {
		p.state = p.state.synced()
	}
	p.durable = max(p.durable, flushed)
}

func (w *world) makeBatch(p *part, s state) (state, *commitlog.Append) {
	var b batch.Builder
	o := batch.NoProducer(0, 0)
	count := int32(1 + w.random.IntN(4))
	info := &sent{count: count, base: s.now.end()}
	if p.produces {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = producerID, p.producerEpoch, p.sequence
		info.epoch, info.sequence = p.producerEpoch, p.sequence
		p.sequence += count
	}
	b.Begin(o)
	for range count {
		w.written++
		r := record{value: fmt.Sprint(w.written, strings.Repeat("x", w.random.IntN(150))), epoch: p.epoch, batch: info,
			timestampMs: epochMs + int64(w.written)*10 - int64(w.random.IntN(100))}
		b.Add(r.timestampMs, nil, []byte(r.value))
		s.now = s.now.add(r)
	}
	bytes, err := b.Finish(nil, nil)
	w.fatal(err)
	info.bytes = append([]byte(nil), bytes...)
	return s, &commitlog.Append{Batches: bytes, ExpectedEpoch: p.epoch}
}

func (w *world) expectEnd(p *part, end kafka.Offset) {
	w.t.Helper()
	if tail := p.log.Tail(); tail.LogEnd != end || tail.HighWatermark > end {
		w.t.Fatalf("seed %d, %s: %+v, want the end at %d", w.seed, w.doing, tail, end)
	}
}

func (w *world) flush(p *part) {
	w.fatal(p.log.Flush())
	p.state = p.state.synced()
}

func (w *world) flushAll() {
	w.fatal(w.dir.Flush(w.t.Context()))
	for _, p := range w.parts {
		p.state = p.state.synced()
	}
}

func (w *world) truncate(p *part) {
	if p.now.end() == p.now.base {
		return
	}
	off := max(p.start, p.now.end()-kafka.Offset(w.random.IntN(12)))
	end := p.now.batchStart(off) // a batch goes whole
	after := p.state
	after.now, after.durable, after.start = p.now.cut(end), min(p.durable, end), min(p.start, end)
	p.next = &after
	if w.random.IntN(2) == 0 {
		defer w.readAt(p, p.now.end()-1)() // what it cuts goes on under another name
	}
	w.fatal(p.log.TruncateTo(off))
	w.expectEnd(p, end)
	p.state = after
	p.newLeader(w)
}

// readAt begins to read at an offset, and gives how to end that.
func (w *world) readAt(p *part, off kafka.Offset) (end func()) {
	if off < p.log.Tail().LogStart {
		return func() {}
	}
	var c commitlog.Cursor
	read, err := p.log.Read(&c, off, 1, commitlog.ToLogEnd, true)
	w.fatal(err)
	return read.File.Src.Release
}

// batchStart is where the batch of an offset begins.
func (c content) batchStart(off kafka.Offset) kafka.Offset {
	if off < c.end() && off >= c.base {
		return c.at(off).batch.base
	}
	return off
}

// newLeader goes on behind a truncation: another leader epoch, and a producer
// that begins again with another epoch of its own.
func (p *part) newLeader(w *world) {
	p.epoch++
	p.restartProducer()
	p.next = nil
	w.fatal(p.log.StartEpoch(p.epoch))
}

func (p *part) restartProducer() {
	p.producerEpoch++
	p.sequence = 0
}

func (w *world) truncateFully(p *part) {
	off := p.now.end() + kafka.Offset(w.random.IntN(50))
	after := p.state
	// That the log begins at off is not durable before the next sync.
	after.now, after.start, after.durable, after.mayBeEmpty = content{base: off}, off, 0, true
	p.next = &after
	w.fatal(p.log.TruncateFullyAndStartAt(off))
	w.expectEnd(p, off)
	p.state = after
	p.newLeader(w)
}

func (w *world) advanceStart(p *part) {
	after := p.state
	after.start = min(p.now.end(), p.start+kafka.Offset(w.random.IntN(8)))
	p.next = &after
	w.fatal(p.log.AdvanceLogStart(after.start))
	_, err := p.log.DropSegments(after.start)
	w.fatal(err)
	p.state = after
}

func (w *world) deleteRecords(p *part) {
	after := p.state
	after.start = min(p.now.end(), p.start+kafka.Offset(w.random.IntN(30)))
	p.next = &after
	w.fatal(p.log.DeleteRecords(after.start))
	w.expectStart(p, after.start)
	p.state = after
}

// retain lets retention.ms, retention.bytes or both take a part of the log.
func (w *world) retain(p *part) {
	rules := retention.Rules{Delete: true, Ms: -1, Bytes: -1}
	choice := w.random.IntN(3)
	if segments, err := p.log.Segments(); err != nil || segments[0].Base < p.now.base {
		w.fatal(err)
		choice = 1 // how old its records are is not known, of those that adopt has left out
	}
	if choice != 1 && p.now.end() > p.now.base {
		newest := p.now.at(p.now.base + kafka.Offset(w.random.Int64N(int64(p.now.end()-p.now.base)))).timestampMs
		rules.Ms = max(0, time.Now().UnixMilli()-newest)
	}
	if choice != 0 {
		rules.Bytes = w.random.Int64N(4000)
	}
	after := p.state
	start := w.retained(p, rules)
	after.start = max(p.start, start)
	p.next = &after
	_, _, err := p.log.Retain(rules)
	w.fatal(err)
	w.expectStart(p, start)
	p.state = after
}

// retained is where the log begins after retention, by the model's records and
// the places where segments begin. It may begin before the model's start: a
// crash takes back a log start that no checkpoint has.
func (w *world) retained(p *part, r retention.Rules) kafka.Offset {
	segments, err := p.log.Segments()
	w.fatal(err)
	var sizeBytes int64
	for _, s := range segments {
		sizeBytes += s.SizeBytes
	}
	first := p.log.Tail().LogStart
	start := first
	for i, s := range segments {
		if s.SizeBytes == 0 {
			break
		}
		newest := int64(-1)
		for off := max(s.Base, p.now.base); off < s.End; off++ {
			newest = max(newest, p.now.at(off).timestampMs)
		}
		below := i+1 < len(segments) && s.End <= first
		large := r.Bytes >= 0 && sizeBytes-s.SizeBytes >= r.Bytes
		old := r.Ms >= 0 && time.Now().UnixMilli()-newest > r.Ms
		if !below && !large && !old {
			break
		}
		start, sizeBytes = max(start, s.End), sizeBytes-s.SizeBytes
	}
	return start
}

func (w *world) expectStart(p *part, start kafka.Offset) {
	w.t.Helper()
	if tail := p.log.Tail(); tail.LogStart != start {
		w.t.Fatalf("seed %d, %s: starts at %d, want %d", w.seed, w.doing, tail.LogStart, start)
	}
}

func (w *world) delete(p *part) {
	p.leaving = true
	w.fatal(w.dir.DeleteLog(p.log))
	p.leaving = false
	*p = part{tp: p.tp, config: p.config, produces: p.produces, transacts: p.transacts}
	w.openPart(p)
}

func (w *world) stop() {
	w.doing = "clean stop"
	w.fatal(w.dir.Close(kafka.BrokerEpoch(w.calls)))
	for _, p := range w.parts {
		p.state = p.state.synced()
	}
	w.stopped = true
	for _, loss := range losses {
		loss.Seed = w.random.Uint64()
		w.inspect(w.crash.Image(loss), loss)
		if w.t.Failed() {
			w.t.Fatalf("seed %d, call %d: after a clean stop, loss %+v%s", w.seed, w.calls, loss, w.history())
		}
	}
	w.stopped = false
	w.start()
}

// powerCut goes on with what a crash left, so that the load has a history of
// crashes.
func (w *world) powerCut() {
	w.doing = "power cut"
	w.dir.Kill()
	loss := losses[w.random.IntN(len(losses))]
	loss.Seed = w.random.Uint64()
	image := w.crash.Image(loss)
	findings := w.inspect(image.CrashClone(vfs.Loss{}), loss)
	if w.t.Failed() {
		w.t.Fatalf("seed %d, call %d: power cut, loss %+v%s", w.seed, w.calls, loss, w.history())
	}
	w.mount(image)
	for i, p := range w.parts {
		p.adopt(findings[i], w)
	}
	w.start()
}

// adopt takes over what a crash has left; it is on the disk and must stay there.
func (p *part) adopt(f finding, w *world) {
	if f.gone {
		*p = part{tp: p.tp, config: p.config, produces: p.produces, transacts: p.transacts, id: p.id}
		return
	}
	p.now = f.content.cut(f.end)
	if base := p.now.batchStart(f.start); base > p.now.base {
		// What lies below the batch of the start may be gone with its segment.
		p.now = content{base: base, records: p.now.records[base-p.now.base:]}
	}
	p.start, p.durable, p.next = f.start, f.end, nil
	p.epoch++ // a restarted leader has a new epoch
	p.restartProducer()
}

// readAll reads a log record by record.
func readAll(log *commitlog.Log) (found, error) {
	tail := log.Tail()
	f := found{start: tail.LogStart, end: tail.LogEnd}
	var cursor commitlog.Cursor
	for at := tail.LogStart; at < tail.LogEnd; {
		read, err := log.Read(&cursor, at, 700, commitlog.ToLogEnd, true)
		if err != nil {
			return f, fmt.Errorf("read from %d: %w", at, err)
		}
		if read.File.LenBytes == 0 {
			return f, fmt.Errorf("nothing at %d, the log ends at %d", at, tail.LogEnd)
		}
		b := make([]byte, read.File.LenBytes)
		n, err := read.File.Src.ReadAt(b, read.File.PosBytes)
		read.File.Src.Release()
		if n < len(b) {
			return f, fmt.Errorf("read from %d: %d bytes of %d: %w", at, n, len(b), err)
		}
		if at, err = f.addBatches(b, at); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *found) addBatches(b []byte, at kafka.Offset) (kafka.Offset, error) {
	for len(b) > 0 {
		h, err := batch.Parse(b)
		if err != nil {
			return at, err
		}
		one := b[:h.SizeBytes()]
		if err := batch.VerifyCRC(one); err != nil {
			return at, fmt.Errorf("batch at %d: %w", h.BaseOffset, err)
		}
		b = b[len(one):]
		records := batch.Records(&h, one[batch.HeaderSize:])
		var r batch.Record
		for records.Next(&r) {
			if r.Offset >= at {
				f.records = append(f.records, record{value: string(r.Value), timestampMs: r.TimestampMs, epoch: h.LeaderEpoch})
				at = r.Offset + 1
			}
		}
		if err := records.Err(); err != nil {
			return at, err
		}
	}
	return at, nil
}
