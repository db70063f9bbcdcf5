// SPDX-License-Identifier: Apache-2.0

package loader

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// fakeLog holds one feature for each offset from start on, and a checkpoint of
// those before.
type fakeLog struct {
	start, end kafka.Offset
	checkpoint metalog.Checkpoint
	// vanish is what a checkpoint gives way to while it is read.
	vanish *metalog.Checkpoint
	bad    error
}

func feature(o kafka.Offset) metarec.Record {
	return &metarec.FeatureLevel{Name: string(rune('a' + o)), Level: 1}
}

func (l *fakeLog) Checkpoint() (metalog.Checkpoint, bool) {
	return l.checkpoint, l.checkpoint.End > 0
}

func (l *fakeLog) ReadCheckpoint(c metalog.Checkpoint, fn func(metarec.Record) error) error {
	if l.vanish != nil {
		l.checkpoint, l.start, l.vanish = *l.vanish, l.vanish.End, nil
		return fs.ErrNotExist
	}
	for o := range c.End {
		if err := fn(feature(o)); err != nil {
			return err
		}
	}
	return l.bad
}

func (l *fakeLog) Replay(from kafka.Offset, fn func(metalog.Batch) error) (kafka.Offset, error) {
	if from < l.start {
		return from, &metalog.NotInLogError{From: from, LogStart: l.start}
	}
	for ; from < l.end; from++ {
		if err := fn(metalog.Batch{Base: from, Last: from, Epoch: 3, Records: []metarec.Record{feature(from)}}); err != nil {
			return from, err
		}
	}
	return from, nil
}

func names(img *image.Image) (out []string) {
	for name := range img.Features() {
		out = append(out, name)
	}
	return out
}

func check(t *testing.T, l *Loader, want ...string) {
	t.Helper()
	delta, moved, err := l.Load()
	if err != nil || !moved {
		t.Fatalf("moved %v, %v", moved, err)
	}
	if got := names(l.Image()); !slices.Equal(got, want) {
		t.Errorf("features %v, want %v", got, want)
	}
	if l.Image().Offset()+1 != l.Next() {
		t.Errorf("image of offset %d, next is %d", l.Image().Offset(), l.Next())
	}
	if got := names(delta.Apply(l.Image().Offset(), 3)); !slices.Equal(got, want) {
		t.Errorf("the delta leads to %v, want %v", got, want)
	}
}

func TestLoadFollowsTheLog(t *testing.T) {
	log := &fakeLog{end: 2}
	l := New(log)
	check(t, l, "a", "b")
	if _, moved, err := l.Load(); moved || err != nil {
		t.Errorf("moved %v, %v though there is nothing new", moved, err)
	}
	log.end = 4
	check(t, l, "a", "b", "c", "d")
}

func TestLoadBeginsWithTheCheckpoint(t *testing.T) {
	check(t, New(&fakeLog{checkpoint: metalog.Checkpoint{End: 2}, start: 2, end: 3}), "a", "b", "c")
}

// A checkpoint that was installed from another node, and the log dropped.
func TestLoadJumpsToAnInstalledCheckpoint(t *testing.T) {
	log := &fakeLog{end: 1}
	l := New(log)
	check(t, l, "a")
	log.checkpoint, log.start, log.end = metalog.Checkpoint{End: 4}, 4, 5
	check(t, l, "a", "b", "c", "d", "e")
}

// The checkpoint goes away for a newer one while it is read.
func TestLoadTakesTheNewerCheckpoint(t *testing.T) {
	log := &fakeLog{checkpoint: metalog.Checkpoint{End: 2}, start: 2, end: 5, vanish: &metalog.Checkpoint{End: 4}}
	check(t, New(log), "a", "b", "c", "d", "e")
}

func TestLoadFailsWhereNothingHelps(t *testing.T) {
	broken := errors.New("broken")
	if _, _, err := New(&fakeLog{checkpoint: metalog.Checkpoint{End: 2}, bad: broken}).Load(); !errors.Is(err, broken) {
		t.Errorf("load: %v", err)
	}
	var gone *metalog.NotInLogError
	if _, _, err := New(&fakeLog{start: 2, end: 3}).Load(); !errors.As(err, &gone) {
		t.Errorf("load: %v", err)
	}
}

func TestAdoptTakesAnImageInPlaceOfReading(t *testing.T) {
	log := &fakeLog{end: 1}
	l := New(log)
	check(t, l, "a")
	delta := image.NewDelta(l.Image())
	if err := delta.Replay(feature(1)); err != nil {
		t.Fatal(err)
	}
	l.Adopt(delta.Apply(1, 3), 2)
	log.end = 3
	check(t, l, "a", "b", "c")
}
