// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"errors"
	"fmt"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
	"gregor/wire/batch"
)

// finding is what a restart found of one partition, and which content it was.
type finding struct {
	found
	gone    bool
	content content
}

// cut looks at what a crash before this call would leave.
func (w *world) cut(call vfs.Call) {
	w.cuts++
	loss := losses[w.cuts%len(losses)]
	loss.Seed = uint64(w.calls)
	image := w.crash.Image(loss)
	doing := w.doing
	defer func() {
		if w.t.Failed() {
			w.t.Logf("seed %d: cut before call %d (op %b on %s) while %s, loss %+v%s", w.seed, w.calls, call.Op, call.Path, doing, loss, w.history())
		}
	}()
	w.inspect(image, loss)
}

// inspect starts a second node on an image, compares it with the model, works
// on it, and throws it away.
func (w *world) inspect(image *vfs.Memory, loss vfs.Loss) []finding {
	findings := make([]finding, len(w.parts))
	dir, err := logdir.Open(options(image, w.seed))
	if err != nil {
		w.t.Errorf("the directory does not open: %v", err)
		return findings
	}
	defer dir.Kill()
	if w.stopped && !dir.CleanStart() {
		w.t.Error("the stop was clean and has returned, yet the directory is not")
	}
	folders := map[kafka.TopicPartition]logdir.Found{}
	for _, f := range dir.Logs() {
		folders[f.TopicPartition] = f
	}
	for i, p := range w.parts {
		folder, there := folders[p.tp]
		findings[i], err = w.inspectPart(dir, p, folder, there, killed(loss))
		if err != nil {
			w.t.Errorf("%s: %v", p.tp, err)
		}
	}
	return findings
}

func (w *world) inspectPart(dir *logdir.Dir, p *part, folder logdir.Found, there, killed bool) (finding, error) {
	creating := p.log == nil
	if !there {
		neverUsed := p.now.end() == 0 && p.start == 0
		if p.leaving || creating || neverUsed || (!killed && p.durable == 0) {
			return finding{gone: true}, nil
		}
		return finding{}, errors.New("its folder is gone")
	}
	if !folder.TopicID.IsZero() && folder.TopicID != p.id {
		return finding{}, fmt.Errorf("the topic's last life is back: %v, want %v", folder.TopicID, p.id)
	}
	log, err := dir.OpenLog(p.tp, p.id, p.config)
	if err != nil {
		return finding{}, err
	}
	f, err := readAll(log)
	if err != nil {
		return finding{}, err
	}
	c, err := p.judge(f, killed, dir.CleanStart() && !creating)
	if err != nil {
		return finding{}, err
	}
	for _, check := range []func(*testing.T, *part, *commitlog.Log, found, content) error{
		checkEpochs, checkTimes, checkProducer, checkTransactions, checkWorks,
	} {
		if err := check(w.t, p, log, f, c); err != nil {
			return finding{}, err
		}
	}
	return finding{found: f, content: c}, nil
}

// checkEpochs: the leader epoch of every record is that of its batch.
func checkEpochs(_ *testing.T, _ *part, log *commitlog.Log, f found, _ content) error {
	for i, r := range f.records {
		off := f.start + kafka.Offset(i)
		epoch, err := log.EpochAt(off)
		if err != nil {
			return err
		}
		if epoch != r.epoch {
			return fmt.Errorf("the epoch checkpoint says %d of offset %d, its batch says %d", epoch, off, r.epoch)
		}
	}
	return nil
}

// checkTimes: a look-up by time gives what a walk gives.
func checkTimes(_ *testing.T, _ *part, log *commitlog.Log, f found, _ content) error {
	for i := 0; i < len(f.records); i += 1 + len(f.records)/7 {
		wanted := f.records[i].timestampMs - int64(i%3)
		want := kafka.NoOffset
		for k, r := range f.records {
			if r.timestampMs >= wanted {
				want = f.start + kafka.Offset(k)
				break
			}
		}
		got, err := log.OffsetForTime(wanted)
		if err != nil {
			return fmt.Errorf("offset for time %d: %w", wanted, err)
		}
		if got.Offset != want {
			return fmt.Errorf("offset for time %d is %d, a walk finds %d", wanted, got.Offset, want)
		}
	}
	return nil
}

// checkProducer: the last batch that survived is known when it is sent again,
// and the one behind it is taken.
func checkProducer(_ *testing.T, p *part, log *commitlog.Log, f found, c content) error {
	if !p.produces || len(f.records) == 0 {
		return nil
	}
	last := c.at(f.end - 1).batch
	if last.base < f.start {
		return nil // its beginning was deleted
	}
	again := &commitlog.Append{Batches: append([]byte(nil), last.bytes...), ExpectedEpoch: kafka.NoLeaderEpoch}
	log.Append(again, p.epoch+1)
	if again.Err != nil || !again.Duplicate || again.BaseOffset != last.base {
		return fmt.Errorf("the producer's last batch, of offset %d, was taken again: offset %d, duplicate %v, %w",
			last.base, again.BaseOffset, again.Duplicate, again.Err)
	}
	var b batch.Builder
	o := batch.NoProducer(0, 0)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence = producerID, last.epoch, last.sequence+last.count
	b.Begin(o)
	b.Add(lateMs, nil, []byte("the producer goes on"))
	bytes, err := b.Finish(nil, nil)
	if err != nil {
		return err
	}
	next := &commitlog.Append{Batches: bytes, ExpectedEpoch: kafka.NoLeaderEpoch}
	log.Append(next, p.epoch+1)
	if next.Err != nil || next.Duplicate || next.BaseOffset != f.end {
		return fmt.Errorf("the producer cannot go on behind offset %d: %w", f.end-1, next.Err)
	}
	return nil
}

// checkWorks: the log takes and gives back another record, durably.
func checkWorks(_ *testing.T, p *part, log *commitlog.Log, f found, _ content) error {
	end := log.Tail().LogEnd
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	b.Add(lateMs, nil, []byte("another record"))
	bytes, err := b.Finish(nil, nil)
	if err != nil {
		return err
	}
	a := &commitlog.Append{Batches: bytes, ExpectedEpoch: kafka.NoLeaderEpoch}
	log.Append(a, p.epoch+1)
	if a.Err != nil || a.BaseOffset != end {
		return fmt.Errorf("append behind a recovery: offset %d, want %d, %w", a.BaseOffset, end, a.Err)
	}
	if err := log.Flush(); err != nil {
		return err
	}
	again, err := readAll(log)
	if err != nil {
		return fmt.Errorf("read behind a recovery: %w", err)
	}
	if again.end != end+1 || again.records[len(again.records)-1].value != "another record" {
		return fmt.Errorf("the record behind a recovery is not there: %d to %d", again.start, again.end)
	}
	return nil
}
