// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// txnTwin is what a log with transactions is, told in the simplest way: all
// batches that were ever appended and not truncated, in a slice. What follows
// from them is computed anew each time that it is asked for.
type txnTwin struct {
	history  []txnBatch
	logStart kafka.Offset
	end, hw  kafka.Offset
	retired  map[kafka.ProducerID]bool // producers that may have been forgotten
}

type txnBatch struct {
	spec
	base, last kafka.Offset
	// dim: the records are gone since a restart, which may or may not remember
	// the batch; but the last one of a producer is kept.
	dim bool
}

// known is what the log must know of a producer.
type known struct {
	prodstate.Producer
	last []txnBatch // of the present epoch, at most five
}

func (k *known) lastBase() kafka.Offset {
	if len(k.last) == 0 {
		return kafka.NoOffset
	}
	return k.last[len(k.last)-1].base
}

func (m *txnTwin) known(pid kafka.ProducerID) (k known, ok bool) {
	k.Producer = prodstate.Producer{ID: pid, Epoch: -1, LastSequence: -1, CoordinatorEpoch: -1, TxnStart: -1}
	for _, b := range m.history {
		if b.pid != pid {
			continue
		}
		ok = true
		if b.pepoch != k.Epoch {
			k.Epoch, k.last = b.pepoch, nil
		}
		k.LastTimestampMs = b.ts
		switch {
		case b.marker != "":
			k.CoordinatorEpoch, k.TxnStart = b.coordinator, -1
			continue
		case b.txn && k.TxnStart < 0:
			k.TxnStart = b.base
		}
		k.LastTimestampMs += int64(b.n - 1)
		k.last = append(k.last, b)
		k.last = k.last[max(0, len(k.last)-twinBatchesKept):]
	}
	if n := len(k.last); n > 0 {
		k.LastSequence = k.last[n-1].lastSequence()
	}
	return k, ok
}

// twinBatchesKept is Kafka's number of batches per producer.
const twinBatchesKept = 5

func (b *txnBatch) lastSequence() int32 { return batch.AddSequence(b.seq, int32(b.n-1)) }

// verdict is what a leader says to a batch; dup is the one that it repeats.
func (m *txnTwin) verdict(s spec, version int8) (dup *txnBatch, code kafka.Code) {
	k, ok := m.known(s.pid)
	if s.marker != "" {
		switch {
		case s.pepoch < k.Epoch, version >= 2 && s.pepoch == k.Epoch && k.TxnStart >= 0:
			return nil, kafka.InvalidProducerEpoch
		case s.coordinator < k.CoordinatorEpoch:
			return nil, kafka.TransactionCoordinatorFenced
		}
		return nil, kafka.None
	}
	for i, b := range k.last {
		if s.pepoch == k.Epoch && b.seq == s.seq && b.n == s.n {
			return &k.last[i], kafka.None
		}
	}
	switch {
	case s.pepoch < k.Epoch:
		return nil, kafka.InvalidProducerEpoch
	case ok && s.pepoch > k.Epoch && s.seq != 0, ok && s.pepoch == k.Epoch && s.seq != batch.AddSequence(k.LastSequence, 1):
		return nil, kafka.OutOfOrderSequenceNumber
	case k.TxnStart >= 0 && !s.txn:
		return nil, kafka.InvalidTxnState
	}
	return nil, kafka.None
}

func (m *txnTwin) append(s spec) txnBatch {
	b := txnBatch{spec: s, base: m.end, last: m.end}
	if s.marker == "" {
		b.last += kafka.Offset(s.n - 1)
	}
	m.history, m.end = append(m.history, b), b.last+1
	return b
}

// twinTxn is a transaction; one that is open has no marker.
type twinTxn struct {
	pid         kafka.ProducerID
	first, mark kafka.Offset // mark -1: open
	abort       bool
}

func (m *txnTwin) txns() (list []twinTxn) {
	open := map[kafka.ProducerID]int{}
	for _, b := range m.history {
		at, isOpen := open[b.pid]
		switch {
		case b.marker != "" && isOpen:
			list[at].mark, list[at].abort = b.base, b.marker == "abort"
			delete(open, b.pid)
		case b.txn && b.marker == "" && !isOpen:
			open[b.pid] = len(list)
			list = append(list, twinTxn{pid: b.pid, first: b.base, mark: -1})
		}
	}
	return list
}

func (m *txnTwin) lastStable() kafka.Offset {
	lso := m.hw
	for _, x := range m.txns() {
		if x.mark < 0 || x.mark >= m.hw {
			lso = min(lso, max(x.first, m.logStart))
		}
	}
	return lso
}

// aborted is what a reader of [from, to) must skip, by first offset.
func (m *txnTwin) aborted(from, to kafka.Offset) (list []AbortedTxn) {
	for _, x := range m.txns() {
		if x.abort && x.mark >= from && x.first < to {
			list = append(list, AbortedTxn{ProducerID: x.pid, FirstOffset: x.first})
		}
	}
	slices.SortFunc(list, func(a, b AbortedTxn) int { return int(a.FirstOffset - b.FirstOffset) })
	return list
}

func (m *txnTwin) truncate(off kafka.Offset) {
	m.history = slices.DeleteFunc(m.history, func(b txnBatch) bool { return b.last >= off })
	m.end, m.hw, m.logStart = min(m.end, off), min(m.hw, off), min(m.logStart, off)
}

// restarted dims what a restart cannot read any more.
func (m *txnTwin) restarted(first kafka.Offset) {
	for i := range m.history {
		m.history[i].dim = m.history[i].dim || m.history[i].base < first
	}
}

// txnRun is a log with transactions, and its twin.
type txnRun struct {
	*bed
	m    *txnTwin
	pids []kafka.ProducerID
	next kafka.ProducerID
	// spoiled: a producer snapshot is missing, so what it held must not go.
	spoiled bool
}

// draw is a batch that some producer may send next, or that none should.
func (r *txnRun) draw(t *rapid.T) (s spec, version int8) {
	pid := rapid.SampledFrom(r.pids).Draw(t, "producer")
	k, ok := r.m.known(pid)
	epoch := max(k.Epoch, 0)
	s = spec{n: 1, ts: r.now.UnixMilli(), size: 20, pid: pid, pepoch: epoch, seq: -1}
	if rapid.IntRange(0, 3).Draw(t, "marker") == 0 {
		s.marker = rapid.SampledFrom([]string{"commit", "abort"}).Draw(t, "kind")
		s.pepoch += kafka.ProducerEpoch(rapid.SampledFrom([]int{0, 0, 0, 1, 1, -1}).Draw(t, "epoch"))
		s.pepoch = max(s.pepoch, 0)
		s.coordinator = max(k.CoordinatorEpoch+rapid.SampledFrom([]int32{0, 0, 0, 0, 1, -1}).Draw(t, "coordinator"), 0)
		return s, rapid.SampledFrom([]int8{0, 1, 2}).Draw(t, "version")
	}
	s.n = rapid.IntRange(1, 3).Draw(t, "records")
	s.txn = k.TxnStart >= 0 || rapid.Bool().Draw(t, "transactional")
	s.seq = 0
	if ok {
		s.seq = batch.AddSequence(k.LastSequence, 1)
	}
	switch rapid.SampledFrom([]string{"", "", "", "", "", "repeat", "gap", "stale", "new epoch", "plain"}).Draw(t, "fault") {
	case "repeat":
		var own []txnBatch
		for _, b := range r.m.history {
			if b.pid == pid && b.marker == "" && (!b.dim || b.base == k.lastBase()) {
				own = append(own, b)
			}
		}
		if len(own) > 0 {
			s = own[len(own)-1-rapid.IntRange(0, min(len(own)-1, 7)).Draw(t, "back")].spec
			s.ts = r.now.UnixMilli()
		}
	case "gap":
		s.seq += rapid.Int32Range(1, 3).Draw(t, "gap")
	case "stale":
		s.pepoch = max(s.pepoch-1, 0)
	case "new epoch":
		s.pepoch, s.seq = s.pepoch+1, 0
	case "plain":
		s.txn = false
	}
	return s, 0
}

// append gives the log a chain, and compares what it says of each batch.
func (r *txnRun) append(t *rapid.T) {
	type want struct {
		base, last kafka.Offset
		ts         int64
		dup        bool
		code       kafka.Code
	}
	var chain, tail *Append
	var wants []want
	var texts []string
	for range rapid.IntRange(1, 4).Draw(t, "chain") {
		s, version := r.draw(t)
		a := &Append{Batches: s.build(), ExpectedEpoch: kafka.NoLeaderEpoch, TxnVersion: version}
		if s.marker != "" {
			a.Origin = OriginCoordinator
		}
		dup, code := r.m.verdict(s, version)
		w := want{base: -1, last: -1, ts: -1, code: code}
		switch {
		case dup != nil:
			w = want{base: dup.base, last: dup.last, ts: dup.ts + int64(dup.n-1), dup: true}
			if dup.dim {
				w.ts = anyTime
			}
		case code == kafka.None:
			b := r.m.append(s)
			w.base, w.last = b.base, b.last
		}
		wants, texts = append(wants, w), append(texts, fmt.Sprintf("%+v", s))
		if chain == nil {
			chain = a
		} else {
			tail.Next = a
		}
		tail = a
	}
	r.l.Append(chain, 0)
	for i, a := 0, chain; a != nil; i, a = i+1, a.Next {
		got := want{a.BaseOffset, a.LastOffset, a.AppendTimeMs, a.Duplicate, kafka.None}
		if a.Err != nil {
			got.code, _ = kafka.CodeOf(a.Err)
		}
		if wants[i].ts == anyTime {
			got.ts = anyTime
		}
		if got != wants[i] {
			t.Fatalf("%s: %+v, want %+v", texts[i], got, wants[i])
		}
	}
}

// replicate appends as a follower what a leader would have taken, in one piece.
func (r *txnRun) replicate(t *rapid.T) {
	var bytes []byte
	for range rapid.IntRange(1, 5).Draw(t, "batches") {
		s, version := r.draw(t)
		if dup, code := r.m.verdict(s, version); dup != nil || code != kafka.None {
			continue
		}
		s.base = r.m.end
		bytes = append(bytes, s.build()...)
		r.m.append(s)
	}
	if len(bytes) == 0 {
		return
	}
	a := &Append{Batches: bytes, Origin: OriginReplica}
	if r.l.Append(a, 0); a.Err != nil {
		t.Fatal(a.Err)
	}
}

func (r *txnRun) commitAll() {
	r.l.AdvanceHighWatermark(r.m.end)
	r.m.hw = r.m.end
}

// firstBase is where the first segment begins.
func (r *txnRun) firstBase(t *rapid.T) kafka.Offset {
	list, err := r.l.Segments()
	if err != nil {
		t.Fatal(err)
	}
	return list[0].Base
}

// restart stops or crashes, damages files that can be made anew, and opens.
func (r *txnRun) restart(t *rapid.T, crash bool) {
	r.commitAll()
	first := r.firstBase(t)
	if crash {
		if rapid.Bool().Draw(t, "flushed") {
			if err := r.l.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		r.crash()
	} else {
		r.stop(rapid.Bool().Draw(t, "hinted"))
	}
	infos, err := r.fs.ReadDir(r.o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		path := filepath.Join(r.o.Dir, i.Name)
		switch {
		case strings.HasSuffix(i.Name, segment.TxnIndexSuffix) && i.SizeBytes > 0 && rapid.IntRange(0, 3).Draw(t, "damage") == 0:
			size := i.SizeBytes - 1
			if rapid.Bool().Draw(t, "torn") { // else a version that does not exist
				err = r.change(path, func(f vfs.File) error { return f.Truncate(size) })
			} else {
				err = r.change(path, func(f vfs.File) error { _, err := f.WriteAt([]byte{7}, 0); return err })
			}
		case strings.HasSuffix(i.Name, segment.SnapshotSuffix) && first == 0 && rapid.IntRange(0, 3).Draw(t, "lose") == 0:
			err, r.spoiled = r.fs.Remove(path), true
		case strings.HasSuffix(i.Name, segment.SnapshotSuffix) && first == 0 && rapid.IntRange(0, 5).Draw(t, "spoil") == 0:
			err, r.spoiled = r.change(path, func(f vfs.File) error { _, err := f.WriteAt([]byte{1}, 3); return err }), true
		case strings.HasSuffix(i.Name, segment.IndexSuffix) && rapid.IntRange(0, 5).Draw(t, "unindexed") == 0:
			err = r.fs.Remove(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r.m.restarted(first)
	r.mustOpen()
}

func (r *txnRun) change(path string, do func(vfs.File) error) error {
	f, err := r.fs.Open(path, vfs.ReadWrite, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

// idle lets time pass. Whoever has been silent for long may be forgotten at any
// roll from now on, so that nothing is said of it any more.
func (r *txnRun) idle(t *rapid.T) {
	r.now = r.now.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "minutes")) * time.Minute)
	r.retire()
}

// retire puts others in the place of producers that may be forgotten.
func (r *txnRun) retire() {
	for i, pid := range r.pids {
		k, ok := r.m.known(pid)
		if ok && k.TxnStart < 0 && r.now.UnixMilli()-k.LastTimestampMs >= twinExpirationMs {
			r.m.retired[pid] = true
			r.next++
			r.pids[i] = r.next
		}
	}
}

const (
	twinExpirationMs = 3600_000
	// anyTime: a snapshot holds the time of a producer's last batch or marker.
	anyTime = -2
)

func (r *txnRun) compare(t *rapid.T) {
	tail := r.l.Tail()
	lso := r.m.lastStable()
	if tail.LogEnd != r.m.end || tail.HighWatermark != r.m.hw || tail.LogStart != r.m.logStart || tail.LastStable != lso {
		t.Fatalf("%+v, want start %d end %d high watermark %d stable %d of %+v", tail, r.m.logStart, r.m.end, r.m.hw, lso, r.m.txns())
	}
	got, err := r.l.Producers()
	if err != nil {
		t.Fatal(err)
	}
	var want []prodstate.Producer
	for _, pid := range r.pids {
		if k, ok := r.m.known(pid); ok {
			want = append(want, k.Producer)
		}
	}
	slices.SortFunc(want, func(a, b prodstate.Producer) int { return int(a.ID - b.ID) })
	got = slices.DeleteFunc(got, func(p prodstate.Producer) bool { return r.m.retired[p.ID] })
	for i := range got {
		got[i].Last = prodstate.Batch{}
	}
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Fatal(diff)
	}
	if lso <= r.m.logStart {
		return
	}
	from := r.m.logStart + kafka.Offset(rapid.Int64Range(0, int64(lso-r.m.logStart)-1).Draw(t, "from"))
	for from < lso {
		read, err := r.l.Read(nil, from, rapid.IntRange(1, 1000).Draw(t, "bytes"), ToLastStable, true)
		if err != nil {
			t.Fatal(err)
		}
		if read.File.LenBytes == 0 || read.Next > lso {
			t.Fatalf("read from %d: %d bytes up to %d, stable is %d", from, read.File.LenBytes, read.Next, lso)
		}
		read.File.Src.Release()
		if want := r.m.aborted(from, read.Next); !slices.Equal(read.Aborted, want) {
			t.Fatalf("read from %d to %d: aborted %v, want %v", from, read.Next, read.Aborted, want)
		}
		from = read.Next
	}
}

// TestRandomTransactionsAgainstASlice: producers, their faults and markers,
// followers, truncations, deletions, stops, crashes and damaged indexes at
// random; last stable offset, aborted transactions, duplicates and the producers
// themselves are those of the slice.
func TestRandomTransactionsAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBed(failer{t: t}, vfs.NewMemory(), "/data/t-0")
		b.o.Config = Config{SegmentBytes: rapid.Int32Range(200, 3000).Draw(t, "segment bytes"),
			IndexIntervalBytes: rapid.Int32Range(1, 300).Draw(t, "index interval"), ProducerIDExpirationMs: twinExpirationMs}
		b.mustOpen()
		r := &txnRun{bed: b, m: &txnTwin{retired: map[kafka.ProducerID]bool{}}, pids: []kafka.ProducerID{1, 2, 3}, next: 3}
		t.Repeat(map[string]func(*rapid.T){
			"append":       r.append,
			"append more":  r.append,
			"append again": r.append,
			"replicate":    r.replicate,
			"commit": func(t *rapid.T) {
				off := r.m.hw + kafka.Offset(rapid.Int64Range(0, int64(r.m.end-r.m.hw)).Draw(t, "by"))
				for _, b := range r.m.history {
					if b.base < off && b.last >= off {
						off = b.base // it lies between batches
					}
				}
				r.l.AdvanceHighWatermark(off)
				r.m.hw = max(r.m.hw, off)
			},
			"truncate": func(t *rapid.T) {
				r.commitAll()
				first := r.firstBase(t)
				n := len(r.m.history)
				if n == 0 {
					return
				}
				at := r.m.history[n-1-rapid.IntRange(0, min(n-1, 8)).Draw(t, "batches")]
				if at.base <= first {
					return // then nothing is left that tells of what was deleted
				}
				if err := r.l.TruncateTo(kafka.Offset(rapid.Int64Range(int64(at.base), int64(at.last)).Draw(t, "to"))); err != nil {
					t.Fatal(err)
				}
				r.m.truncate(at.base)
				r.m.restarted(first) // producers are loaded again
				r.retire()
			},
			"roll": func(t *rapid.T) {
				if err := r.l.Roll(); err != nil {
					t.Fatal(err)
				}
			},
			"delete": func(t *rapid.T) {
				off := r.m.logStart + kafka.Offset(rapid.Int64Range(0, int64(max(r.m.hw, r.m.logStart)-r.m.logStart)).Draw(t, "below"))
				if err := r.l.AdvanceLogStart(off); err != nil {
					t.Fatal(err)
				}
				r.m.logStart = off
				if !r.spoiled && rapid.Bool().Draw(t, "drop") {
					if _, err := r.l.DropSegments(off); err != nil {
						t.Fatal(err)
					}
				}
			},
			"stop":  func(t *rapid.T) { r.restart(t, false) },
			"crash": func(t *rapid.T) { r.restart(t, true) },
			"idle":  r.idle,
			"sweep": func(t *rapid.T) {
				if err := r.l.Checkpoint(); err != nil {
					t.Fatal(err)
				}
			},
			"": r.compare,
		})
	})
}
