// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gregor/base/vfs"
	"gregor/cluster/metalog"
)

// TestPowerLossOfMetadata takes the disk away under appends to the metadata log,
// several times. Each start then needs nobody: what the file system has kept of
// the last append is a torn one, and all that was acknowledged is there. It needs
// root; CRASH_POWER_LOSSES and CRASH_SEED are as for TestPowerLoss.
func TestPowerLossOfMetadata(t *testing.T) {
	rounds := 5 * number(t, "CRASH_POWER_LOSSES", 1)
	seed := number(t, "CRASH_SEED", uint64(time.Now().UnixNano())%1_000_000_000)
	t.Logf("CRASH_SEED=%d", seed)
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: taking a disk away needs root, to mount a file system on a loop device")
	}
	if testing.Short() {
		t.Skip("SKIPPED: it takes seconds")
	}
	random := mathrand.New(mathrand.NewPCG(seed, 4))
	d := newDisk(t)
	open := func() *metalog.Log {
		l, err := metalog.Open(metalog.Options{FS: vfs.OS{}, Dir: d.mount, Logger: slog.New(slog.NewTextHandler(&d.told, nil)), SegmentBytesMax: 1 << 20})
		if err != nil {
			t.Fatalf("the log does not open: %v", err)
		}
		return l
	}
	l := open()
	if err := l.Form(nil, []byte("conf"), nil, 33, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveQuorum(metalog.QuorumState{Leader: 1, Epoch: 1, Voted: 1, Commit: 1, HasCommit: true}); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		var acked atomic.Uint64
		acked.Store(l.LastIndex())
		failed, sizes := make(chan error), random.Uint64()
		go func() { failed <- appendUntilItFails(l, mathrand.New(mathrand.NewPCG(sizes, 5)), &acked) }()
		time.Sleep(time.Duration(20+random.IntN(200)) * time.Millisecond)
		promised := acked.Load() // an fdatasync that is under way may claim what it has not done
		d.shutDown()
		err := <-failed
		_ = l.Close() // its disk is gone
		d.detach()
		d.attach()
		began := d.told.String()
		l = open()
		torn := strings.Contains(d.told.String()[len(began):], "torn tail")
		t.Logf("round %d: %d promised, %d acknowledged, %d there, torn tail: %v; %v", round, promised, acked.Load(), l.LastIndex(), torn, err)
		if l.LastIndex() < promised {
			t.Fatalf("index %d is the last, %d was promised", l.LastIndex(), promised)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	d.check()
}

// appendUntilItFails appends one to four batches of up to 30 KB at a time.
func appendUntilItFails(l *metalog.Log, random *mathrand.Rand, acked *atomic.Uint64) error {
	for {
		var es []metalog.Entry
		for range 1 + random.IntN(4) {
			values := make([][]byte, 1+random.IntN(300))
			for i := range values {
				values[i] = fmt.Appendf(nil, "%0*d", 1+random.IntN(200), i+1)
			}
			es = append(es, metalog.Entry{Index: l.LastIndex() + 1 + uint64(len(es)), Epoch: 1, Batch: metalog.DataBatch(1, values)})
		}
		if err := l.Append(es); err != nil {
			return err
		}
		acked.Store(l.LastIndex())
	}
}
