// SPDX-License-Identifier: Apache-2.0

// Package crash cuts the power under the storage of a node, at every kind of
// call, and looks at what a restart finds.
//
// A load of random operations (appends with and without a producer, in
// transactions, chains,
// rolls, flushes, truncations, retention, DeleteRecords, deletions, clean stops, kills, power cuts) runs
// over storage/logdir and storage/commitlog on the crash file system, in
// virtual time, beside a model that knows what was written and what was
// promised. Before chosen calls the test takes the image that a crash would
// leave, starts a second node on it and compares:
//
//   - After the death of the process everything that was acknowledged is there.
//   - After a power cut everything that was flushed is there.
//   - What is there is a beginning of what was written; a truncation that has
//     returned is never undone, and old records never stand among new ones.
//   - A directory that calls itself clean misses nothing.
//   - Epochs, timestamps, producer state, last stable offset and aborted
//     transactions are what the records say, and the log can be appended to.
//
// CRASH_POINTS sets the number of cuts (1,000), CRASH_SEED the first seed; a
// failure names the seed of its load and the cut.
package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/vfs"
)

const (
	pointsPerLoad = 125
	opsPerLoad    = 120
)

func number(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func TestCuts(t *testing.T) {
	points := number(t, "CRASH_POINTS", 1000)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000_000)
	t.Logf("CRASH_SEED=%d", seed)
	for load := uint64(0); load*pointsPerLoad < points; load++ {
		t.Run(fmt.Sprintf("seed=%d", seed+load), func(t *testing.T) {
			t.Parallel()
			calls := run(t, seed+load, 0, nil)
			chosen := choose(seed+load, calls)
			run(t, seed+load, calls, chosen)
		})
	}
}

// choose draws the calls to cut at.
func choose(seed uint64, calls int64) map[int64]bool {
	random := rand.New(rand.NewPCG(seed, 1))
	chosen := map[int64]bool{}
	for len(chosen) < min(pointsPerLoad, int(calls)) {
		chosen[1+random.Int64N(calls)] = true
	}
	return chosen
}

// run plays the load of a seed and returns how many calls it made. It makes the
// same calls every time: the first run counts them, the second is cut.
func run(t *testing.T, seed uint64, calls int64, chosen map[int64]bool) (made int64) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, chosen)
		w.start()
		for range opsPerLoad {
			w.step()
			if t.Failed() {
				break
			}
		}
		w.dir.Kill()
		synctest.Wait()
		made = w.calls
	})
	if calls > 0 && made != calls && !t.Failed() {
		t.Errorf("seed %d: %d calls, then %d: the load is not repeatable", seed, calls, made)
	}
	return made
}

// losses are the crashes that are tried in turn: the death of the process, and
// power cuts that keep nothing, all of one kind, a prefix or any part of what
// was not synced. Changes of directories survive in order, as every journaling
// file system has it.
var losses = []vfs.Loss{
	{Data: vfs.KeepAll, Entries: vfs.KeepAll},
	{Data: vfs.KeepNone, Entries: vfs.KeepNone},
	{Data: vfs.KeepPrefix, Entries: vfs.KeepPrefix},
	{Data: vfs.KeepTorn, Entries: vfs.KeepNone},
	{Data: vfs.KeepNone, Entries: vfs.KeepAll},
	{Data: vfs.KeepAll, Entries: vfs.KeepNone},
	{Data: vfs.KeepTorn, Entries: vfs.KeepAll},
	{Data: vfs.KeepTorn, Entries: vfs.KeepPrefix},
}

func killed(loss vfs.Loss) bool { return loss.Data == vfs.KeepAll && loss.Entries == vfs.KeepAll }
