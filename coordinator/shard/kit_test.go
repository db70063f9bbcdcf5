// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/coordinator/grouprec"
	"gregor/wire/batch"
)

// memLog is a partition in memory whose high watermark the test moves.
type memLog struct {
	mu       sync.Mutex
	epoch    kafka.LeaderEpoch
	batches  [][]byte
	start    kafka.Offset
	end      kafka.Offset
	hw       kafka.Offset
	lag      bool // the high watermark stays where it is
	appendEr error
	markerEr error
	readEr   error
	offline  error // what Committed says
	reads    int
	appends  int
	slow     time.Duration // of a read
	limit    int
	waiters  park.List
}

func newMemLog() *memLog { return &memLog{epoch: 1, limit: 1 << 20} }

func (l *memLog) Append(b []byte, epoch kafka.LeaderEpoch) (kafka.Offset, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appendEr != nil {
		return -1, l.appendEr
	}
	if epoch != l.epoch {
		return -1, kafka.NotLeaderForPartition
	}
	l.appends++
	l.put(b)
	if !l.lag {
		l.hw = l.end
	}
	return l.end - 1, nil
}

func (l *memLog) AppendMarker(b []byte, _ int8, epoch kafka.LeaderEpoch) (kafka.Offset, error) {
	l.mu.Lock()
	refused := l.markerEr
	l.mu.Unlock()
	if refused != nil {
		return -1, refused
	}
	return l.Append(b, epoch)
}

func (l *memLog) put(b []byte) {
	for b = slices.Clone(b); len(b) > 0; {
		h, err := batch.Parse(b)
		if err != nil {
			panic(err)
		}
		batch.SetBaseOffset(b, l.end)
		l.end += h.NextOffset() - h.BaseOffset
		l.batches = append(l.batches, b[:h.SizeBytes()])
		b = b[h.SizeBytes():]
	}
}

func (l *memLog) Read(buf []byte, from kafka.Offset, bytesMax int) ([]byte, error) {
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	time.Sleep(slow)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.readEr != nil {
		return nil, l.readEr
	}
	for _, b := range l.batches {
		h, _ := batch.Parse(b)
		if h.NextOffset() <= from {
			continue
		}
		if len(buf) > 0 && len(buf)+len(b) > bytesMax {
			break
		}
		buf = append(buf, b...)
	}
	return buf, nil
}

func (l *memLog) Bounds() (kafka.Offset, kafka.Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.end
}

func (l *memLog) Committed(last kafka.Offset, epoch kafka.LeaderEpoch) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline != nil {
		return false, l.offline
	}
	if epoch != l.epoch {
		return false, kafka.NotLeaderForPartition
	}
	return l.hw > last, nil
}

func (l *memLog) Await(e *park.Entry, at kafka.Offset) { l.waiters.Add(e, int64(at)) }
func (l *memLog) Forget(e *park.Entry)                 { l.waiters.Remove(e) }
func (l *memLog) BatchBytesMax() int                   { return l.limit }

// set changes the log and wakes whom it concerns.
func (l *memLog) set(change func()) {
	l.mu.Lock()
	change()
	hw := l.hw
	l.mu.Unlock()
	l.waiters.Wake(int64(hw))
}

func (l *memLog) lead(epoch kafka.LeaderEpoch) {
	l.mu.Lock()
	l.epoch = epoch
	l.mu.Unlock()
	l.waiters.WakeAll()
}

// tally is a machine that counts under names. Its records are name -> count;
// pending counts of transactions are kept apart until their marker.
type tally struct {
	counts  map[string]int
	open    map[kafka.ProducerID]map[string]int
	waiters []Token // who waits for "open"
	dueMs   int64
	ticks   int
	loaded  int
	missed  int // Refresh calls
}

type replies struct {
	to   Token
	resp kmsg.Response
}

type output struct {
	records []grouprec.Record
	of      *Producer
	replies []replies
}

func (o *output) Reset() { *o = output{} }

func (o *output) Records() ([]grouprec.Record, Producer, bool) {
	if o.of != nil {
		return o.records, *o.of, true
	}
	return o.records, Producer{}, false
}

func (o *output) Replies(yield func(Token, kmsg.Response) bool) {
	for _, r := range o.replies {
		if !yield(r.to, r.resp) {
			return
		}
	}
}

func (o *output) reply(to Token, text string) {
	o.replies = append(o.replies, replies{to, answer(text)})
}

// answer is a response whose text tests look at.
func answer(text string) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ApiKeys = nil
	resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{Name: text}}
	return resp
}

func text(resp kmsg.Response) string {
	return resp.(*kmsg.ApiVersionsResponse).FinalizedFeatures[0].Name
}

func newTally() *tally {
	return &tally{counts: map[string]int{}, open: map[kafka.ProducerID]map[string]int{}}
}

func (m *tally) Replay(rec grouprec.Record, from Origin) error {
	name := string(rec.Key)
	if name == "poison" {
		return fmt.Errorf("no such name: %w", grouprec.ErrMalformed)
	}
	n := int(binary.BigEndian.Uint32(rec.Value))
	if from.Transactional {
		if m.open[from.ProducerID] == nil {
			m.open[from.ProducerID] = map[string]int{}
		}
		m.open[from.ProducerID][name] = n
		return nil
	}
	m.counts[name] = n
	return nil
}

func (m *tally) ReplayMarker(id kafka.ProducerID, _ kafka.ProducerEpoch, commit bool) error {
	for name, n := range m.open[id] {
		if commit {
			m.counts[name] = n
		}
	}
	delete(m.open, id)
	return nil
}

func (m *tally) Loaded(int64, *output) { m.loaded++ }

func (m *tally) Tick(nowMs int64, out *output) {
	m.ticks++
	if nowMs >= m.dueMs {
		m.dueMs = 0
		for _, to := range m.waiters {
			out.reply(to, "due")
		}
		m.waiters = nil
	}
}

func (m *tally) NextDueMs() (int64, bool) { return m.dueMs, m.dueMs != 0 }

func (m *tally) Abandon(out *output) {
	for _, to := range m.waiters {
		out.reply(to, "farewell")
	}
}

func record(name string, n int) grouprec.Record {
	return grouprec.Record{Key: []byte(name), Value: binary.BigEndian.AppendUint32(nil, uint32(n))}
}

// add is the event that counts.
func add(name string) func(*tally, int64, Token, *output) {
	return func(m *tally, _ int64, to Token, out *output) {
		m.counts[name]++
		out.records = append(out.records, record(name, m.counts[name]))
		out.reply(to, fmt.Sprintf("%s=%d", name, m.counts[name]))
	}
}

// get is the event that reads.
func get(name string) func(*tally, int64, Token, *output) {
	return func(m *tally, _ int64, to Token, out *output) {
		out.reply(to, fmt.Sprintf("%s=%d", name, m.counts[name]))
	}
}

// wait is the event whose reply comes when it is due, if ever.
func wait(after time.Duration) func(*tally, int64, Token, *output) {
	return func(m *tally, nowMs int64, to Token, _ *output) {
		m.waiters = append(m.waiters, to)
		if after > 0 {
			m.dueMs = nowMs + after.Milliseconds()
		}
	}
}

// rig is one set of shards over one log.
type rig struct {
	t      *testing.T
	log    *memLog
	shards *Shards[*tally, *output]
	lines  *lines
}

// lines keeps what was logged.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t *testing.T, change ...func(*Options[*tally, *output])) *rig {
	r := &rig{t: t, log: newMemLog(), lines: &lines{}}
	o := Options[*tally, *output]{
		Name: "__test", New: func(kafka.PartitionID) *tally { return newTally() }, NewOutput: func() *output { return &output{} },
		Open:    func(context.Context, kafka.PartitionID, kafka.LeaderEpoch) (Log, error) { return r.log, nil },
		Refresh: func(m *tally, _ int64, _ *output) { m.missed++ },
		Logger:  slog.New(slog.NewTextHandler(r.lines, nil)), Now: time.Now,
	}
	for _, f := range change {
		f(&o)
	}
	r.shards = New(o)
	return r
}

// inRig runs a test on virtual time.
func inRig(t *testing.T, run func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.shards.Close()
		run(t, r)
	})
}

// elect elects partition 0 in the log's epoch and lets it load.
func (r *rig) elect() {
	r.t.Helper()
	r.shards.Elect(0, r.log.epoch)
	synctest.Wait()
	if st := r.shards.State(0); st != Active {
		r.t.Fatalf("state %d after the election\n%s", st, r.lines)
	}
}

func (r *rig) do(event func(*tally, int64, Token, *output)) *Ticket {
	t := &Ticket{}
	if err := r.shards.Do(0, t, event); err != nil {
		t.fail(err)
	}
	return t
}

// says is what a ticket holds: the reply, an error's text, or "-" while it
// waits.
func says(t *Ticket) string {
	resp, err, done := t.Result()
	switch {
	case !done:
		return "-"
	case err != nil:
		if code, ok := kafka.CodeOf(err); ok {
			return code.Error()
		}
		return err.Error()
	}
	return text(resp)
}

func (r *rig) expect(want string, tickets ...*Ticket) {
	r.t.Helper()
	synctest.Wait()
	got := make([]string, len(tickets))
	for i, t := range tickets {
		got[i] = says(t)
	}
	if s := strings.Join(got, " "); s != want {
		r.t.Errorf("replies %q, want %q\n%s", s, want, r.lines)
	}
}
